/* Learning-rate schedules: diffusers' optimization.py, get_scheduler. w = warm-up steps, N = all steps, p = (step - w) / (N - w). */
#include <math.h>

#include "train/optimizer.h"

static const double PI = 3.14159265358979323846;

const char *const lr_names[LR_KINDS] = {
    [LR_CONSTANT] = "constant", [LR_CONSTANT_WITH_WARMUP] = "constant_with_warmup", [LR_LINEAR] = "linear",
    [LR_COSINE] = "cosine",     [LR_COSINE_WITH_RESTARTS] = "cosine_with_restarts", [LR_POLYNOMIAL] = "polynomial"};

static double cosine(double turns) {
  return fmax(0, 0.5 * (1 + cos(PI * turns)));
}

/* ((lr - end) (1 - p)^power + end); the end rate beyond the last step. */
static double polynomial(const struct lr_schedule *s, int step, double p) {
  if (step > s->steps) return s->end;
  return (s->base - s->end) * pow(1 - p, s->power) + s->end;
}

double lr_at(const struct lr_schedule *s, int step) {
  int after = s->steps > s->warmup ? s->steps - s->warmup : 1;
  double p = (double)(step - s->warmup) / after;
  if (s->kind != LR_CONSTANT && step < s->warmup) return s->base * step / s->warmup;
  switch (s->kind) {
    case LR_LINEAR:
      return s->base * fmax(0, (double)(s->steps - step) / after);
    case LR_COSINE:
      return s->base * cosine(2 * s->cycles * p);
    case LR_COSINE_WITH_RESTARTS:
      return p >= 1 ? 0 : s->base * cosine(fmod(s->cycles * p, 1));
    case LR_POLYNOMIAL:
      return polynomial(s, step, p);
    default:
      return s->base;
  }
}
