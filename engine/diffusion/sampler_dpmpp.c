/* DPM-Solver++ 2M, midpoint (arXiv 2211.01095): diffusers' scheduling_dpmsolver_multistep.py with its defaults. With
 * alpha = 1 / sqrt(sigma^2 + 1), s = sigma alpha, lambda = log(alpha) - log(s) = -log(sigma), m = prediction of the picture,
 * h = lambda' - lambda, r = (lambda - lambda_before) / h:
 *   eps:  m = (x - s e) / alpha          v:  m = alpha x - s v
 *   x' = (s' / s) x - alpha' (exp(-h) - 1) (m + (m - m_before) / (2 r))
 * The first step, and the last one to sigma 0, leave the second-order term out. */
#include <math.h>
#include <string.h>

#include "diffusion/sampler_kind.h"

/* One more than asked for is laid out, and the one nearest 0 left away. */
static bool timesteps(struct sampler *s, const char *spacing, struct err *e) {
  (void)e;
  timesteps_fill(s, spacing, s->steps, strcmp(spacing, "trailing") == 0 ? s->steps : s->steps + 1);
  return true;
}

static double alpha_of(double sigma) {
  return 1 / sqrt(sigma * sigma + 1);
}

/* prediction <- m, what the network thinks the picture is. */
static void to_picture(const struct sampler *s, struct ctx *c, int i, const struct tensor *x, struct tensor *prediction) {
  double sigma = s->sigma[i], alpha = alpha_of(sigma);
  if (s->schedule->prediction == PREDICT_V)
    blend(c, prediction, alpha, x, -sigma * alpha);
  else
    blend(c, prediction, 1 / alpha, x, -sigma);
}

static void step(struct sampler *s, struct ctx *c, int i, struct tensor *x, struct tensor *prediction) {
  to_picture(s, c, i, x, prediction);
  history_push(s, c, prediction, 2);
  double from = s->sigma[i], to = s->sigma[i + 1];
  double on_picture = alpha_of(to) * (1 - to / from); /* exp(-h) = sigma' / sigma */
  if (i > 0 && i + 1 < s->n) {
    double r = (log(s->sigma[i - 1]) - log(from)) / (log(from) - log(to));
    blend(c, prediction, -0.5 / r, &s->history[1], 1 + 0.5 / r);
  }
  blend(c, x, on_picture, prediction, to * alpha_of(to) / (from * alpha_of(from)));
}

const struct sampler_ops sampler_dpmpp_2m = {.spacing = "linspace", .sigmas = true, .timesteps = timesteps, .step = step};
