/* Planning a run: shared by plan*.c and the trainer. What a stage takes is found by running its own code on the counting backend. */
#ifndef PDMBOOTH_TRAIN_PLAN_H
#define PDMBOOTH_TRAIN_PLAN_H

#include "train/trainer.h"

enum plan_stage_index {
  STAGE_LOADING,
  STAGE_MASKS,
  STAGE_CLASSES,
  STAGE_PDM,
  STAGE_ENCODING,
  STAGE_TRAINING,
  STAGE_SAMPLES,
  STAGE_PROBE,
  STAGE_SAVING
};

/* --- plan_pass.c: one pass, or one batch of pictures from noise to pixels ---------------------------------------------------------------- */

enum pass_kind {
  PASS_MASKS,     /* all that masks ask the model about photograph n; n -1: about a class image */
  PASS_CLASSES,   /* n class images at once, all sampling steps */
  PASS_INVERSION, /* n photographs, two levels */
  PASS_ROWS,      /* PDM targets, as many as are made at once */
  PASS_ENCODE,    /* one photograph through the VAE */
  PASS_STEP,      /* forward and backward of a micro-batch; n blocks are computed again */
  PASS_SAMPLES,   /* n samples at once */
  PASS_PROBE,     /* a micro-batch without gradients */
};

struct pass_need {
  size_t work; /* highest byte of the region in use */
  double flops, bytes;
};

/* evaluations: sampling steps that are looked at, 0: all; memory is the same from the sixth on. */
bool plan_pass(struct trainer *t, enum pass_kind kind, int n, int evaluations, struct pass_need *out, struct err *e);
void plan_rehearse(struct trainer *t); /* from here on t->b->need adds up what passes take; packs noted before are forgotten */
void plan_forget(struct trainer *t);   /* after the last pass */

struct op_profile;
/* Adds the pass's operations to *out. Nothing is rehearsed. */
bool plan_profile(struct trainer *t, enum pass_kind kind, int n, struct op_profile *out, struct err *e);

/* --- plan_memory.c ------------------------------------------------------------------------------------------------------------------------ */

/* Fills t->plan but for seconds and disk; chooses what to compute again and how many pictures to make at once so that it fits, and writes that
   into t->own and t->options. ERR_FIT with remedies. */
bool plan_memory(struct trainer *t, struct err *e);
/* Memory of all stages with the settings as they are now, to t->plan. evaluations: as for plan_pass; PLAN_SHORT while searching. */
enum { PLAN_SHORT = 6 };
bool plan_evaluate(struct trainer *t, int evaluations, struct err *e);

/* --- plan_offload.c ------------------------------------------------------------------------------------------------------------------------ */

int64_t plan_moments(const struct trainer *t, int64_t count); /* plan_memory.c: what both moments of so many weights take of the engine's memory */
void plan_offload_set(struct trainer *t, bool on); /* decides it, until it is called again */
bool plan_offload_helps(const struct trainer *t);  /* it may be tried where the run does not fit */
void plan_offload_parts(struct trainer *t);        /* corrects the plan's weights, gradients, moments, averages; home and away */

/* --- plan_refuse.c ------------------------------------------------------------------------------------------------------------------------ */

struct size_text {
  char s[32];
};
struct size_text plan_size(int64_t bytes); /* "1.23 GiB", "45.6 MiB" */
/* Sets *e and returns false. */
bool plan_refuse(struct trainer *t, struct err *e);

/* --- plan_disk.c -------------------------------------------------------------------------------------------------------------------------- */

/* Bytes of each stage and place; ERR_FIT where there is too little room, a warning where it may become tight. */
bool plan_disk(struct trainer *t, struct err *e);

/* --- plan_operations.c -------------------------------------------------------------------------------------------------------------------- */

/* The operations of a micro-batch's forward and backward pass, each to o->operation. */
bool plan_operations(struct trainer *t, const struct plan_options *o, struct err *e);

/* --- plan_time.c -------------------------------------------------------------------------------------------------------------------------- */

/* Seconds of each stage. measure: by calling operations, a fiftieth of the run's time but at most 20 seconds. */
bool plan_time(struct trainer *t, bool measure, struct err *e);

#endif
