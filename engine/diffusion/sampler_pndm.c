/* PLMS, i.e. PNDM without Runge-Kutta steps (arXiv 2202.09778, formulas 9 and 12): diffusers' scheduling_pndm.py with skip_prk_steps.
 * The first two evaluations make one step of Heun's method, then a linear multistep rule over up to four predictions. */
#include <math.h>
#include <string.h>

#include "diffusion/sampler_kind.h"

/* The second timestep comes twice. */
static bool timesteps(struct sampler *s, const char *spacing, struct err *e) {
  (void)e;
  timesteps_fill(s, spacing, s->steps, s->steps);
  if (s->steps < 2) return true;
  memmove(s->t + 2, s->t + 1, (size_t)(s->steps - 1) * sizeof *s->t);
  s->n++;
  return true;
}

/* prediction <- the rule's combination of it and the earlier ones. history[0] is the prediction of this evaluation, but not at
   evaluation 1, whose prediction is averaged with the first one and forgotten. */
static void combine(const struct sampler *s, struct ctx *c, int i, struct tensor *prediction) {
  static const double rule[4][4] = {
      {1}, {3 / 2.0, -1 / 2.0}, {23 / 12.0, -16 / 12.0, 5 / 12.0}, {55 / 24.0, -59 / 24.0, 37 / 24.0, -9 / 24.0}};
  if (i == 1) {
    blend(c, prediction, 0.5, &s->history[0], 0.5);
    return;
  }
  int known = i == 0 ? 1 : i < 4 ? i : 4;
  for (int k = known - 1; k > 0; k--) blend(c, prediction, rule[known - 1][k], &s->history[k], k == known - 1 ? rule[known - 1][0] : 1);
}

/* Formula 9: x' = sqrt(p / a) x - (p - a) e / (a sqrt(1-p) + sqrt(a (1-a) p)); v is turned into e at the level of x. */
static void transfer(const struct sampler *s, struct ctx *c, int t, int before, struct tensor *x, const struct tensor *prediction) {
  double a = abar_at(s, t), p = abar_at(s, before);
  double on_x = sqrt(p / a), on_e = -(p - a) / (a * sqrt(1 - p) + sqrt(a * (1 - a) * p));
  if (s->schedule->prediction == PREDICT_V)
    blend(c, x, on_e * sqrt(a), prediction, on_x + on_e * sqrt(1 - a));
  else
    blend(c, x, on_e, prediction, on_x);
}

static void step(struct sampler *s, struct ctx *c, int i, struct tensor *x, struct tensor *prediction) {
  int stride = s->schedule->steps / s->steps, t = (int)s->t[i], before = t - stride;
  if (i == 0) {
    s->kept = ctx_like(c, x);
    blend(c, &s->kept, 1, x, 0);
  }
  if (i != 1) {
    history_push(s, c, prediction, 4);
  } else {
    t += stride;
    before += stride;
    blend(c, x, 1, &s->kept, 0);
    ctx_free(c, &s->kept);
  }
  combine(s, c, i, prediction);
  transfer(s, c, t, before, x, prediction);
}

const struct sampler_ops sampler_pndm = {.spacing = "leading", .timesteps = timesteps, .step = step};
