/* A run under way: what the files of the trainer share. Nobody else includes this. */
#ifndef PDMBOOTH_TRAIN_TRAINER_H
#define PDMBOOTH_TRAIN_TRAINER_H

#include "train/automask.h"
#include "train/batch.h"
#include "train/checkpoint.h"
#include "train/dump.h"
#include "train/forecast.h"
#include "train/journal.h"
#include "train/optimizer.h"
#include "train/precision.h"
#include "train/prior.h"
#include "train/room.h"
#include "train/tell.h"

enum { TRAINER_PATH = 4300, PROBE_PAIRS = 64, MOST_HALVINGS = 8 };
/* Without state_every the state is saved when both have gone by: so many seconds, and so many times what saving it took. */
enum { STATE_SECONDS = 300, STATE_SHARE = 20 };

/* What is still to be done: a stopped run, or one before, has done a part. */
struct plan_todo {
  int classes;         /* class images to be made */
  int masks;           /* photographs and class images to be looked at for masks */
  struct pdm_work pdm; /* PDM targets to be made */
  int steps, rounds;   /* optimiser steps; how often samples are made */
};

struct trainer {
  const struct settings *s; /* &own */
  struct settings own;      /* as given, but for what the plan changed: pictures at once, the moments' type */
  const struct embedded_file *embedded;
  const struct sink *sink;
  struct run_result *out;

  struct backend *b, *count; /* the one that computes; the counting one, on which the model's headers are opened */
  struct model *m;
  int64_t opened;    /* bytes of a card that b took when it was opened */
  bool choices_kept; /* with the run: nothing is measured any more */
  enum dtype act;
  struct dataset data;
  struct dataset_want want; /* as data was opened */
  struct draw draw;
  struct prior *prior;
  struct class_pictures classes;
  int pdm_handle, pdm_batch; /* photographs inverted at once */
  char pdm_layer[256], cache_dir[TRAINER_PATH], state_dir[TRAINER_PATH];
  struct pdm_targets *pdm;
  struct batch batch;
  struct step_terms *terms; /* [accumulation]: of the micro-batches of this step */

  struct param_set *set[2]; /* what is trained */
  const char *name[2];      /* "unet", "text_encoder" */
  int sets;
  struct optimizer opt;
  struct lr_schedule lr;
  struct step_options options;
  size_t step_bytes; /* of the workspace that a training step takes */

  struct plan_todo todo;
  struct run_plan plan;
  struct forecast forecast; /* sink is &forecast.sink in a run */

  struct run_state state;
  bool resumed, finished, training; /* finished: an earlier call had done everything */
  struct journal journal;
  struct in_effect now; /* settings that may change while it runs, as of this boundary */
  struct room room;
  int saved_step;             /* of the state on disk, -1: none */
  bool sound;                 /* a step from it was sound */
  double saved_at, save_cost; /* when it was saved, or the loop began; seconds that saving took */
  int probe_step;             /* of `probe`, -1: not measured yet */
  double probe;

  float *probe_latents, *probe_noise, *probe_mask; /* [held out][h, w, c]; [slots][h, w, c]; [held out][h, w] */
  struct dump dump;
  char dump_text[8][32];
  struct st_pair dump_meta[12];
  double started;
};

/* --- trainer.c --- */
bool trainer_open_model(struct trainer *t, struct err *e); /* its headers, on t->count; sets t->m, t->set */

void trainer_begin(struct trainer *t, const struct settings *s, const struct embedded_file *embedded, const struct sink *sink,
                   struct run_result *out);
void trainer_release(struct trainer *t);
void trainer_source(const struct settings *s, const struct embedded_file *embedded, struct source *out);
enum dtype moments_type(const struct settings *s); /* of the optimiser's */
int trainer_slots(const struct trainer *t);        /* pictures in a micro-batch */
int trainer_losses(const struct trainer *t);       /* numbers that the passes of a step leave */
bool trainer_resolution(const struct trainer *t, struct err *e);
void trainer_note_work(struct trainer *t); /* how much of the region of the passes was touched, for the result */

/* --- trainer_masks.c --- */
struct gaze_job trainer_gaze(const struct trainer *t);
bool masks_derived(const struct trainer *t);         /* those that no file gives are */
bool masks_recall(struct trainer *t, struct err *e); /* those that this run made before it was stopped */
bool masks_make(struct trainer *t, struct err *e);
/* Masks of files by what is in them; derived ones by what they depend on beside photographs, model and sizes. */
void masks_hash(const struct trainer *t, struct sha256 *h);

/* --- plan.c: memory, disk and time before anything long begins --- */
bool plan_todo(struct trainer *t, struct err *e);
bool plan_run(struct trainer *t, bool measure, struct err *e); /* fills t->plan; may change t->own; ERR_FIT with the remedy */
/* What a run that was begun planned stays as it is, since pictures made in other batches differ in their last bits: kept in the run's state. */
bool plan_keep(const struct trainer *t, struct err *e);
bool plan_recall(struct trainer *t, struct err *e); /* nothing to recall is fine */
struct draw_pair *plan_pairs(struct trainer *t, int *n, struct err *e);
struct pdm_job plan_pdm_job(struct trainer *t, const struct draw_pair *pair, int pairs);

/* --- choices.c: which algorithms the backend found the fastest --- */
void choices_recall(struct trainer *t); /* those that this run began with, or else those of earlier runs; none is fine */
/* In the cache directory, for other runs; where that cannot be written to, a warning is told. */
bool choices_note(struct trainer *t, struct err *e);
bool choices_keep(struct trainer *t, struct err *e); /* with the run, and there */

/* --- loop.c: the steps --- */
bool train_loop(struct trainer *t, struct err *e);
/* A context over the model's workspace for one pass of training, encoding or probing. */
bool trainer_ctx(struct trainer *t, struct ctx *c, struct err *e);
void trainer_ctx_end(struct ctx *c);

/* --- outputs.c --- */
bool output_samples(struct trainer *t, int step, struct err *e);
bool output_asked(struct trainer *t, struct err *e); /* of prompts that were asked for at this step */
bool output_checkpoint(struct trainer *t, bool final, struct err *e);
bool output_state(struct trainer *t, struct err *e);
bool output_probe(struct trainer *t, double *loss, struct err *e); /* NAN without a held-out photograph */
bool probe_init(struct trainer *t, struct err *e);

#endif
