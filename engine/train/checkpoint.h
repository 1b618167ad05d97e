/* The checkpoints that other programs read: RUN/checkpoints/step-NNNNNN/ and RUN/checkpoints/final/, each a diffusers directory (full), or
 * pytorch_lora_weights.safetensors in one (LoRA). Made under a temporary name, renamed when complete. */
#ifndef PDMBOOTH_TRAIN_CHECKPOINT_H
#define PDMBOOTH_TRAIN_CHECKPOINT_H

#include "nets/model.h"
#include "train/state.h"

struct checkpoint_want {
  bool lora, averaged; /* averaged: the EMA weights where there are some */
  enum dtype dtype;
  int step;
};
/* Writes dir, replacing what this run had put there. */
bool checkpoint_write(struct model *m, const struct optimizer *o, const char *const *names, const char *dir,
                      const struct checkpoint_want *w, struct err *e);
int64_t checkpoint_bytes(const struct model *m, const struct optimizer *o,
                         const struct checkpoint_want *w); /* what that takes on disk, about */
void checkpoint_path(const char *run_dir, int step, bool final, char *out, size_t n);
/* Removes all but the last `keep` checkpoints in s (0: none is removed) and the `best` ones with the lowest probe loss. */
void checkpoint_prune(const char *run_dir, struct run_state *s, int keep, int best);
int checkpoint_best(const struct run_state *s); /* step of the one with the lowest probe loss, -1: none has one */
/* Removes checkpoints of steps after the state's: a killed run made them and did not note them, they will be made again. */
void checkpoint_forget_later(const char *run_dir, const struct run_state *s);

/* Samples and probes with the averaged weights: the parameters point at them until it is called again. */
void swap_averaged(struct optimizer *o);

#endif
