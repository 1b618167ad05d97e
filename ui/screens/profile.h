/* The profile that is being changed: the Profile and the Prompts screen work on the same. */
#ifndef PDMBOOTH_UI_SCREENS_PROFILE_H
#define PDMBOOTH_UI_SCREENS_PROFILE_H

#include "ui/app.h"
#include "ui/profile_doc.h"

struct profile_doc *profile_doc_of(struct app *a); /* of the subject; NULL: out of memory */
void profile_forecast(struct app *a);              /* what it takes, found out anew */
void profile_save(struct app *a, const char *argument);
int profile_unsaved(const struct app *a); /* how many changes */
void profile_leave(struct app *a);        /* asks what to do with changes */

#endif
