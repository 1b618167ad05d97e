/* The Subjects screen's state, shared between what it does (subjects.c, subjects_add.c) and how it looks (subjects_draw.c). */
#ifndef PDMBOOTH_UI_SCREENS_SUBJECTS_H
#define PDMBOOTH_UI_SCREENS_SUBJECTS_H

#include "ui/app.h"
#include "ui/list.h"
#include "ui/subject_facts.h"

struct subjects_state {
  struct list list;
  char filter[100];
  bool archived;                                           /* shown as well */
  char images[3000], name[128], class_name[64], token[64]; /* of a new one, while it is asked for */
  struct facts facts;
};

struct subjects_state *subjects_state(struct app *a); /* NULL: out of memory */
/* Index in the store of row i of the list; -1: none. */
int subject_at(const struct app *a, const struct subjects_state *s, int row);
int subject_rows(const struct app *a, const struct subjects_state *s);
void subjects_follow(struct app *a); /* the list follows the subject that the screens are about */
void subjects_failed_or_chosen(struct app *a, bool ok, const struct err *e, const char *name);
void subjects_ask_facts(struct app *a); /* of the subject that is looked at */
bool subjects_check_name(struct app *a, const char *text, char *why, size_t n);
void subjects_add(struct app *a, const char *argument);
void subjects_draw(struct app *a, struct rect r);
struct rect subjects_list_rect(struct rect r);
int subjects_row_height(struct rect r); /* lines of a row of the list: with a thumbnail where there is room */

#endif
