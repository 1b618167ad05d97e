/* Euler's method on the probability flow ODE (arXiv 2206.00364), x in units where the picture has scale 1 and the noise sigma:
 * diffusers' scheduling_euler_discrete.py without churn. d = (x - z) / sigma, x' = x + d (sigma' - sigma), with
 *   eps:  z = x - sigma e                          d = e
 *   v:    z = x / (sigma^2 + 1) - v sigma / sqrt(sigma^2 + 1)      d = x sigma / (sigma^2 + 1) + v / sqrt(sigma^2 + 1) */
#include <math.h>
#include <string.h>

#include "diffusion/sampler_kind.h"

/* Here alone linspace is not rounded: fractional timesteps, sigma interpolated between two. */
static bool timesteps(struct sampler *s, const char *spacing, struct err *e) {
  (void)e;
  timesteps_fill(s, spacing, s->steps, s->steps);
  if (strcmp(spacing, "linspace") != 0) return true;
  for (int i = 0; i < s->n && s->n > 1; i++) s->t[i] = (float)((s->n - 1 - i) * ((double)(s->schedule->steps - 1) / (s->n - 1)));
  return true;
}

static void step(struct sampler *s, struct ctx *c, int i, struct tensor *x, struct tensor *prediction) {
  double sigma = s->sigma[i], dt = s->sigma[i + 1] - sigma, square = sigma * sigma + 1;
  if (s->schedule->prediction == PREDICT_V)
    blend(c, x, dt / sqrt(square), prediction, 1 + dt * sigma / square);
  else
    blend(c, x, dt, prediction, 1);
}

const struct sampler_ops sampler_euler = {.spacing = "linspace", .sigmas = true, .timesteps = timesteps, .step = step};
