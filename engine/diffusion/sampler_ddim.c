/* DDIM, eta 0 (arXiv 2010.02502, formulas 12 and 16): diffusers' scheduling_ddim.py. With a = abar at t, p = abar at the level before,
 *   eps:  z = (x - sqrt(1-a) e) / sqrt(a)                                   x' = sqrt(p) z + sqrt(1-p) e
 *   v:    z = sqrt(a) x - sqrt(1-a) v,  e = sqrt(a) v + sqrt(1-a) x */
#include <math.h>

#include "diffusion/sampler_kind.h"

static bool timesteps(struct sampler *s, const char *spacing, struct err *e) {
  (void)e;
  timesteps_fill(s, spacing, s->steps, s->steps);
  return true;
}

static void step(struct sampler *s, struct ctx *c, int i, struct tensor *x, struct tensor *prediction) {
  int t = (int)s->t[i], before = t - s->schedule->steps / s->steps;
  double a = abar_at(s, t), p = abar_at(s, before);
  double on_x, on_prediction;
  if (s->schedule->prediction == PREDICT_V) {
    on_x = sqrt(p * a) + sqrt((1 - p) * (1 - a));
    on_prediction = sqrt((1 - p) * a) - sqrt(p * (1 - a));
  } else {
    on_x = sqrt(p / a);
    on_prediction = sqrt(1 - p) - sqrt(p * (1 - a) / a);
  }
  blend(c, x, on_prediction, prediction, on_x);
}

const struct sampler_ops sampler_ddim = {.spacing = "leading", .alpha_to_one = true, .timesteps = timesteps, .step = step};
