/* PDM target features Q* (method.md section 5): the queries that the untrained network has for a photograph at a noise level.
 *
 * The photographs are inverted and reconstructed as one batch with the class prompt. The latents of the reconstruction at all levels
 * visited are kept in the cache directory, under a key made of everything that they depend on; what training will ask for, Q of the pairs
 * (photograph, t), is computed from those by one pass a pair (always of batch size 1, so that a run does not depend on whether the
 * cache existed) and kept as half-precision rows in the run's state directory. */
#ifndef PDMBOOTH_TRAIN_PDM_H
#define PDMBOOTH_TRAIN_PDM_H

#include "nets/model.h"
#include "train/dataset.h"
#include "train/draw.h"
#include "train/room.h"
#include "train/tell.h"

struct pdm_job {
  struct model *m;
  struct dataset *d;
  const char *class_prompt;
  const char *layer; /* full name, and its handle: unet_pdm_layer */
  int handle;
  enum dtype act;
  const char *engine; /* name of the backend that computes: kept latents of another one are not the same bits; NULL: m's */
  int steps;          /* of the inversion; as many as there are levels (999): all of them */
  int batch;          /* photographs in one pass, 0: all */
  bool masked;        /* keep only the rows inside the mask */
  const char *cache_dir, *state_dir;
  const struct draw_pair *pair; /* sorted, each once: draw_pairs */
  int pairs;
  const struct sink *sink;
  struct room *room; /* NULL: a full disk is an error */
};

struct pdm_targets;

/* Finds or computes everything. Uses the weights as they are: before training. Stopped on the way it goes on from the last chunk when called again. */
struct pdm_targets *pdm_make(const struct pdm_job *j, struct err *e);
void pdm_close(struct pdm_targets *t);

int pdm_tokens(const struct pdm_targets *t);
int pdm_channels(const struct pdm_targets *t);
const float *pdm_mask(const struct pdm_targets *t, int photograph); /* [tokens] of 0 and 1; NULL: all */
/* Q* of a pair that was asked for: out [tokens, channels], rows outside the mask 0. False: not among the pairs. */
bool pdm_read(const struct pdm_targets *t, int photograph, int timestep, float *out);

/* What is missing now, for the plan. */
struct pdm_work {
  int64_t levels, pictures; /* full passes, and pictures in all of them */
  int64_t passes;           /* pairs: one pass up to the layer each, and one more where t lies between two levels */
  int64_t cache_bytes, state_bytes;
};
bool pdm_work(const struct pdm_job *j, struct pdm_work *w, struct err *e);
/* The passes of pdm_make on the counting backend: one level up and one down for n photographs; one pair. */
bool pdm_plan_inversion(struct ctx *c, const struct pdm_job *j, int n);
bool pdm_plan_rows(struct ctx *c, const struct pdm_job *j);
/* Bytes of host memory that they hold beside the workspace. */
int64_t pdm_inversion_buffers(const struct pdm_job *j, int n);
int64_t pdm_buffers(const struct pdm_job *j);
int pdm_at_once(const struct pdm_job *j);       /* pairs in one pass */
int64_t pdm_row_count(const struct pdm_job *j); /* tokens of the layer */

#endif
