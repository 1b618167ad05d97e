/* The Prompts screen's state, shared between what is done with one prompt (prompts.c) and with sets of them (prompts_sets.c). */
#ifndef PDMBOOTH_UI_SCREENS_PROMPTS_SETS_H
#define PDMBOOTH_UI_SCREENS_PROMPTS_SETS_H

#include "ui/app.h"
#include "ui/list.h"

enum { PROMPTS_BYTES = 65536 };

struct prompts_state {
  struct list list;
  char text[PROMPTS_BYTES]; /* one prompt a line, as the profile has them */
};

struct prompts_state *prompts_state(struct app *a); /* NULL: out of memory */
int prompts_count(const struct prompts_state *s);
/* Prompt i into buf; false: there is none. */
bool prompt_at(const struct prompts_state *s, int i, char *buf, size_t n);
/* All prompts of a file, or of a section of one inside the program, instead of those that are there. */
void prompts_replace_by(struct app *a, const char *path, const char *section);
void prompts_keep(struct app *a, const char *argument); /* as a set of the subject */
void prompts_take(struct app *a, const char *argument); /* another set */

#endif
