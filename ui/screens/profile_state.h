/* The Profile screen's state, shared between its actions (profile.c), the comparison with other profiles and what makes a run fit (profile_against.c), and how it looks
 * (profile_draw.c). */
#ifndef PDMBOOTH_UI_SCREENS_PROFILE_STATE_H
#define PDMBOOTH_UI_SCREENS_PROFILE_STATE_H

#include "ui/list.h"
#include "ui/screens/profile.h"

enum { MAX_PROFILE_ROWS = 256, MAX_REMEDIES = 8 };

struct profile_state {
  struct profile_doc doc;
  struct list list;
  int row[MAX_PROFILE_ROWS]; /* index of a key, or -1 - the index of a key whose section begins here */
  int rows;
  bool only_set; /* what is not the default */
  char filter[100];
  const struct key *edited;
  struct profile against; /* what it is compared with, where against_loaded */
  bool against_loaded;
  char against_name[300];
};

struct profile_state *profile_state(struct app *a); /* NULL: out of memory */
void profile_rows(struct profile_state *s);         /* which keys are shown */
const struct key *profile_selected(struct app *a);  /* NULL: none */
void profile_set(struct app *a, const struct key *k, const char *text);
void profile_draw(struct app *a, struct rect r);
struct rect profile_list_rect(struct rect r);

/* --- another profile (profile_against.c) ------------------------------------------------------------------------------------------ */

bool profile_same(const struct profile_state *s, const struct key *k); /* the key has one value in both */
/* The other one's value, a list joined by new lines. Returns buf. */
const char *profile_other(const struct profile_state *s, const struct key *k, char *buf, size_t n);
void profile_forget_other(struct profile_state *s);
void profile_against(struct app *a, const char *argument);
void profile_take(struct app *a, const char *argument);

/* --- what makes it fit ------------------------------------------------------------------------------------------------------------- */

/* A change of one key that the planner tried, where a run does not fit. */
struct remedy {
  char name[64], value[64], takes[32]; /* "batch", "1", "3.10 GiB" */
  bool fits;
};
int remedies_of(const char *refusal, struct remedy out[MAX_REMEDIES]); /* read from the planner's sentence */
void profile_fit(struct app *a, const char *argument);
void profile_remedies(struct app *a, const char *argument);

#endif
