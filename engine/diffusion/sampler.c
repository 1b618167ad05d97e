/* What the samplers share: names, timesteps, sigmas, life. The formulas are in sampler_*.c. */
#include "diffusion/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "diffusion/sampler_kind.h"

const char *const sampler_names[SAMPLER_KINDS] = {
    [SAMPLER_PNDM] = "pndm", [SAMPLER_DDIM] = "ddim", [SAMPLER_DPMPP_2M] = "dpmpp_2m", [SAMPLER_EULER] = "euler"};

static const struct sampler_ops *const sampler_table[SAMPLER_KINDS] = {[SAMPLER_PNDM] = &sampler_pndm,
                                                                       [SAMPLER_DDIM] = &sampler_ddim,
                                                                       [SAMPLER_DPMPP_2M] = &sampler_dpmpp_2m,
                                                                       [SAMPLER_EULER] = &sampler_euler};

bool sampler_by_name(const char *name, enum sampler_kind *out) {
  for (int i = 0; i < SAMPLER_KINDS; i++)
    if (strcmp(name, sampler_names[i]) == 0) {
      *out = (enum sampler_kind)i;
      return true;
    }
  return false;
}

/* The three spacings of arXiv 2305.08891, table 2, with numpy's arithmetic (double, rounding to even):
   linspace: round(i (T - 1) / (of - 1)); leading: i (T / of) + offset; trailing: round(T - i T / steps) - 1. n of them, from the top. */
void timesteps_fill(struct sampler *s, const char *spacing, int n, int of) {
  int all = s->schedule->steps;
  s->n = n;
  for (int i = 0; i < n; i++) {
    int up = of - 1 - i; /* position in the ascending list */
    if (strcmp(spacing, "leading") == 0)
      s->t[i] = (float)(up * (all / of) + s->schedule->steps_offset);
    else if (strcmp(spacing, "trailing") == 0)
      s->t[i] = (float)(rint(all - i * ((double)all / s->steps)) - 1);
    else
      s->t[i] = of > 1 ? (float)rint(up * ((double)(all - 1) / (of - 1))) : 0;
  }
}

/* sigma = sqrt((1 - abar) / abar) in float32. A rescaled schedule ends in abar 0: diffusers puts 2^-24 there. */
static float schedule_sigma(const struct schedule *s, int t) {
  float abar = s->abar[t] > 0 ? (float)s->abar[t] : 0x1p-24f;
  return sqrtf((1 - abar) / abar);
}

/* numpy.interp over the integer timesteps. */
static float sigma_between(const struct schedule *s, float t) {
  int low = (int)t;
  double a = schedule_sigma(s, low);
  return low + 1 < s->steps ? (float)((schedule_sigma(s, low + 1) - a) * (t - low) + a) : (float)a;
}

static bool timesteps_check(const struct sampler *s, struct err *e) {
  int all = s->schedule->steps;
  for (int i = 0; i < s->n; i++) {
    bool repeats = i > 0 && s->t[i] >= s->t[i - 1] && !(s->op == &sampler_pndm && i == 2);
    if (s->t[i] < 0 || s->t[i] > (float)(all - 1) || repeats)
      return err_set(e, ERR_USAGE, "%d steps are too many for this sampler and a schedule of %d timesteps: ask for fewer", s->steps, all);
  }
  return true;
}

static bool prepare(struct sampler *s, struct err *e) {
  const struct schedule *schedule = s->schedule;
  const char *spacing = schedule->spacing[0] != '\0' ? schedule->spacing : s->op->spacing;
  if (s->steps < 1 || s->steps > schedule->steps)
    return err_set(e, ERR_USAGE, "%d sampling steps: the model's schedule allows 1 to %d", s->steps, schedule->steps);
  bool to_one = schedule->set_alpha_given ? schedule->set_alpha_to_one : s->op->alpha_to_one;
  s->final_abar = to_one ? 1 : schedule->abar[0];
  s->init_sigma = 1;
  if (!s->op->timesteps(s, spacing, e) || !timesteps_check(s, e)) return false;
  for (int i = 0; s->op->sigmas && i < s->n; i++) s->sigma[i] = sigma_between(schedule, s->t[i]);
  if (s->op == &sampler_euler) /* EulerDiscreteScheduler.init_noise_sigma */
    s->init_sigma = strcmp(spacing, "leading") == 0 ? sqrt((double)s->sigma[0] * s->sigma[0] + 1) : s->sigma[0];
  return true;
}

struct sampler *sampler_new(enum sampler_kind kind, const struct schedule *schedule, int steps, struct err *e) {
  struct sampler *s = calloc(1, sizeof *s);
  if (s == NULL) {
    err_set(e, ERR_FIT, "out of memory for a sampler");
    return NULL;
  }
  s->op = sampler_table[kind];
  s->schedule = schedule;
  s->steps = steps;
  if (prepare(s, e)) return s;
  free(s);
  return NULL;
}

void sampler_delete(struct sampler *s, struct ctx *c) {
  if (s == NULL) return;
  for (int i = SAMPLER_HISTORY - 1; i >= 0; i--) ctx_free(c, &s->history[i]);
  ctx_free(c, &s->kept);
  free(s);
}

int sampler_evaluations(const struct sampler *s) {
  return s->n;
}

float sampler_timestep(const struct sampler *s, int i) {
  return s->t[i];
}

double sampler_init_sigma(const struct sampler *s) {
  return s->init_sigma;
}

float sampler_sigma(const struct sampler *s, int i) {
  return s->sigma[i];
}

void sampler_input(struct sampler *s, struct ctx *c, int i, struct tensor *out, const struct tensor *x) {
  double scale = s->op == &sampler_euler ? 1 / sqrt((double)s->sigma[i] * s->sigma[i] + 1) : 1;
  blend(c, out, scale, x, 0);
}

void sampler_step(struct sampler *s, struct ctx *c, int i, struct tensor *x, struct tensor *prediction) {
  if (!c->failed) s->op->step(s, c, i, x, prediction);
}

void blend(struct ctx *c, struct tensor *y, double alpha, const struct tensor *x, double beta) {
  if (!c->failed) c->b->op->axpby(c->b, y, (float)alpha, x, (float)beta);
}

double abar_at(const struct sampler *s, int t) {
  return t < 0 ? s->final_abar : s->schedule->abar[t];
}

void history_push(struct sampler *s, struct ctx *c, const struct tensor *x, int keep) {
  struct tensor last = s->history[keep - 1];
  memmove(s->history + 1, s->history, (size_t)(keep - 1) * sizeof *s->history);
  s->history[0] = last.rank > 0 ? last : ctx_like(c, x);
  blend(c, &s->history[0], 1, x, 0);
}
