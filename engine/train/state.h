/* The state of a run that is not finished: all that a later process needs to go on bit for bit.
 *
 * RUN/state/step-NNNNNN/   info.json and the flat blocks of each trained network (weights, both moments, averaged weights) in pieces.
 *                          Made under a temporary name, renamed when complete. The one before stays until a step from the new one was sound.
 * RUN/state/done           the run is finished; written before the last state goes. */
#ifndef PDMBOOTH_TRAIN_STATE_H
#define PDMBOOTH_TRAIN_STATE_H

#include "train/health.h"
#include "train/optimizer.h"
#include "train/precision.h"

struct kept_checkpoint {
  int step;
  double probe; /* NAN: not measured */
};

struct run_state {
  int step;       /* optimiser steps done */
  int sampled;    /* last step whose samples are complete, -1: none */
  int pictures;   /* of the samples of `step`: so many are given already */
  char round[65]; /* hash of what those depend on beside the weights: other prompts begin again */
  double last_loss;
  char identity[65];      /* hash of what the run is made from: a state of another one is refused */
  struct metrics pending; /* step 0: none; else the row of `step`, told once its probe is measured */
  struct health health;
  struct loss_scale loss_scale;
  int kept;                           /* checkpoints that this run made and that are still there */
  struct kept_checkpoint *checkpoint; /* [kept] oldest first; owned: run_state_release */
};
void run_state_release(struct run_state *s);
bool run_state_made(struct run_state *s, int step, double probe, struct err *e); /* notes a checkpoint */

/* names: of the groups of o, "unet" or "text_encoder". */
bool state_save(const char *run_dir, const struct run_state *s, const struct optimizer *o, const char *const *names, struct err *e);
int64_t state_bytes(const struct optimizer *o); /* what state_save writes */
/* Reads info.json of the newest complete state. *found false: there is none. */
bool state_find(const char *run_dir, struct run_state *s, bool *found, struct err *e);
bool state_peek(const char *run_dir, int *step); /* step of the newest complete state; false where there is none. Touches nothing. */
/* Weights, moments and step count of the state that state_find found. */
bool state_load(const char *run_dir, const struct run_state *s, struct optimizer *o, const char *const *names, struct err *e);
void state_keep_from(const char *run_dir, int step); /* those of earlier steps go */
/* The state of `step` is no good: removes it where an older one is there, or last_too. Returns the step of the newest that is left, -1: none. */
int state_drop(const char *run_dir, int step, bool last_too);

/* The run is finished: text is written to RUN/state/done, then everything else in RUN/state goes. */
bool state_done(const char *run_dir, const char *text, struct err *e);
/* The text of RUN/state/done; false: the run is not finished. */
bool state_is_done(const char *run_dir, char *text, size_t n);

#endif
