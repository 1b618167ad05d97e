/* What was changed while a run was under way: RUN/journal.csv, one row a change, "step,what,value,id"; with a fifth field, the
 * prompt (base/percent.h), where samples of a prompt of their own are asked for.
 *
 * A change counts from the boundary after `step` optimiser steps; it is on the disk before it takes effect, and a resumed run replays it at
 * the same boundary. The whole file is written anew each time: it is small and appears whole or not at all. */
#ifndef PDMBOOTH_TRAIN_JOURNAL_H
#define PDMBOOTH_TRAIN_JOURNAL_H

#include "pdmbooth.h"

struct journal_entry {
  int step;
  struct engine_message message;
};
struct journal {
  char path[4200];
  struct journal_entry *entry; /* [n] in the order of the file, owned */
  int n, cap;
};

/* Reads RUN/journal.csv; none: empty. ERR_INPUT: a row that is not understood. */
bool journal_open(struct journal *j, const char *run_dir, struct err *e);
void journal_release(struct journal *j);
/* Adds a row and puts it on the disk; on failure nothing is added. */
bool journal_add(struct journal *j, int step, const struct engine_message *m, struct err *e);
bool journal_has(const struct journal *j, uint64_t id); /* a message that was taken already; id 0 never is */

/* What counts at the boundary after `step` steps: settings with all changes up to there, and what was asked for at this very boundary. */
struct in_effect {
  double lr;
  int samples_every, checkpoints_every;
  bool sample, checkpoint; /* sample: of the test prompts */
};
struct in_effect journal_in_effect(const struct journal *j, const struct settings *s, int step);

/* The i-th prompt whose samples are asked for at the boundary after `step` steps; NULL: there are not so many. *number: its place among all different prompts
   of the journal. */
const char *journal_prompt(const struct journal *j, int step, int i, int *number);

/* After a divergence the run goes back to `step` and on with another rate: changes of the rate after that step are dropped, this is added. */
bool journal_halve(struct journal *j, int step, double lr, struct err *e);
int journal_halvings(const struct journal *j);
/* A new run in a directory that had one. */
void journal_clear(struct journal *j);

/* "lr", "samples.every", "checkpoints.every", "checkpoint", "sample": as in the file and in requests. */
extern const char *const engine_message_names[ENGINE_MESSAGES];

#endif
