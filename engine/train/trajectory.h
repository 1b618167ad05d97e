/* The DDIM inversion of some photographs and the latents of its reconstruction, on disk: used by pdm.c only.
 *
 * Levels visited: level(k) = round(k T / steps), k = 0 .. steps, T = 999. In DIR:
 *   inversion.safetensors       latents [n, h, w, c] F32 at the level reached so far (metadata "k"); gone when all is done
 *   levels-part.safetensors     the upper levels of a chunk that a stopped run had (metadata "k": the lowest)
 *   levels-JJJJ.safetensors     latents [levels, n, h, w, c] F32 of the reconstruction at k = 100 JJJJ and up
 * Chunks are written from the highest level down; each appears whole. */
#ifndef PDMBOOTH_TRAIN_TRAJECTORY_H
#define PDMBOOTH_TRAIN_TRAJECTORY_H

#include "train/pdm.h"

/* Some photographs that are inverted as one batch. */
struct trajectory {
  const struct pdm_job *j;
  const int *photograph; /* indices in j->d */
  int n;
  char key[65]; /* hash of model, prompt, sizes, steps, precision, engine and pictures: two runs with one key have the same latents */
  char dir[4096];
};

bool trajectory_init(struct trajectory *t, const struct pdm_job *j, const int *photograph, int n, struct err *e);
int trajectory_level(const struct pdm_job *j, int k);
bool trajectory_complete(const struct trajectory *t);
int64_t trajectory_missing(const struct trajectory *t); /* passes of the network still to do */
/* Computes what is missing. done: passes of earlier groups, for progress out of total. */
bool trajectory_make(const struct trajectory *t, int64_t done, int64_t total, struct err *e);
/* One level up and one down for n photographs on the counting backend. */
bool trajectory_plan(struct ctx *c, const struct pdm_job *j, int n);
int64_t trajectory_buffers(const struct pdm_job *j, int n); /* bytes of host memory beside the workspace */
int64_t trajectory_disk(const struct pdm_job *j, int n);    /* bytes of a complete one */
/* Latents of the i-th photograph at k: out [h, w, c]. */
bool trajectory_read(const struct trajectory *t, int i, int k, float *out, struct err *e);

/* One step of DDIM in place: x [n, h, w, c] F32 from level `from` to level `to` (indices of abar), given the network's prediction for x. */
void ddim_move(struct ctx *c, const struct schedule *s, struct tensor *x, struct tensor *prediction, int from, int to);
/* Class prompt for n pictures: [n, 77, width]. */
struct tensor class_text(struct ctx *c, const struct pdm_job *j, int n);

#endif
