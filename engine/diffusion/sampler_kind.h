/* Inside of the samplers: what the four kinds share. Every step of every kind is a linear combination of x, the prediction and
 * earlier predictions; its coefficients are computed in double and applied in fp32. */
#ifndef PDMBOOTH_DIFFUSION_SAMPLER_KIND_H
#define PDMBOOTH_DIFFUSION_SAMPLER_KIND_H

#include "diffusion/sampler.h"

enum { SAMPLER_HISTORY = 4 };

struct sampler_ops {
  const char *spacing;                                                      /* the class's default of timestep_spacing */
  bool alpha_to_one;                                                        /* the class's default of set_alpha_to_one */
  bool sigmas;                                                              /* has sigma */
  bool (*timesteps)(struct sampler *s, const char *spacing, struct err *e); /* fills t, n */
  void (*step)(struct sampler *s, struct ctx *c, int i, struct tensor *x, struct tensor *prediction);
};

struct sampler {
  const struct sampler_ops *op;
  const struct schedule *schedule;
  int steps; /* as asked */
  int n;     /* evaluations */
  float t[SCHEDULE_MAX + 1];
  float sigma[SCHEDULE_MAX + 1]; /* [n + 1] */
  double init_sigma;
  double final_abar;                      /* what stands for abar at a timestep below 0 */
  struct tensor history[SAMPLER_HISTORY]; /* newest first; empty: not there yet */
  struct tensor kept;                     /* PNDM: x before the first step */
};

extern const struct sampler_ops sampler_pndm, sampler_ddim, sampler_dpmpp_2m, sampler_euler;

/* s->t[0..n) from the noisiest down, as numpy computes them. n: how many; leading: the spacing's integer stride is steps / of. */
void timesteps_fill(struct sampler *s, const char *spacing, int n, int of);
/* y = alpha x + beta y, unless the context has failed. */
void blend(struct ctx *c, struct tensor *y, double alpha, const struct tensor *x, double beta);
double abar_at(const struct sampler *s, int t); /* final_abar for t < 0 */
/* Moves the history down by one and puts a copy of x in front; the oldest beyond keep is overwritten. */
void history_push(struct sampler *s, struct ctx *c, const struct tensor *x, int keep);

#endif
