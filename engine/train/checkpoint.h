/* What a run leaves on disk: the state to go on from, and the checkpoints that other programs read.
 *
 * RUN/state/step-NNNNNN/     info.json and the flat blocks of each trained network (weights, both moments, averaged weights) in pieces.
 *                            Made under a temporary name, renamed when complete; the one before is removed only then.
 * RUN/checkpoints/step-NNNNNN/ and RUN/checkpoints/final/     a diffusers directory (full), or pytorch_lora_weights.safetensors in it (LoRA). */
#ifndef PDMBOOTH_TRAIN_CHECKPOINT_H
#define PDMBOOTH_TRAIN_CHECKPOINT_H

#include "nets/model.h"
#include "train/optimizer.h"

struct run_state {
  int step;    /* optimiser steps done */
  int sampled; /* last step whose samples are complete, -1: none */
  double last_loss;
  char identity[65]; /* hash of what the run is made from: a state of another one is refused */
  int kept;          /* checkpoints that this run made and that are still there */
  int *checkpoint;   /* [kept] their steps, oldest first; owned: run_state_release */
};
void run_state_release(struct run_state *s);
bool run_state_made(struct run_state *s, int step, struct err *e); /* notes a checkpoint */

/* names: of the groups of o, "unet" or "text_encoder". */
bool state_save(const char *run_dir, const struct run_state *s, const struct optimizer *o, const char *const *names, struct err *e);
/* Step of the newest complete state; false where there is none. Touches nothing. */
bool state_peek(const char *run_dir, int *step);
/* Reads info.json of the newest complete state. *found false: there is none. */
bool state_find(const char *run_dir, struct run_state *s, bool *found, struct err *e);
/* Weights, moments and step count of the state that state_find found. */
bool state_load(const char *run_dir, const struct run_state *s, struct optimizer *o, const char *const *names, struct err *e);

struct checkpoint_want {
  bool lora, averaged; /* averaged: the EMA weights where there are some */
  enum dtype dtype;
  int step;
};
/* Writes dir, replacing what this run had put there. */
bool checkpoint_write(struct model *m, const struct optimizer *o, const char *const *names, const char *dir,
                      const struct checkpoint_want *w, struct err *e);
void checkpoint_path(const char *run_dir, int step, bool final, char *out, size_t n);
/* Removes what a run that was killed while saving left half-written. */
void checkpoint_tidy(const char *run_dir);
/* Removes all but the last `keep` checkpoints in s (0: none is removed). */
void checkpoint_prune(const char *run_dir, struct run_state *s, int keep);

/* Removes a directory and all in it; follows no links. */
void remove_tree(const char *path);

/* Samples and probes with the averaged weights: the parameters point at them until it is called again. */
void swap_averaged(struct optimizer *o);

#endif
