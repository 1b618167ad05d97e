/* Several steps of training with everything on the device, or with weights, gradients and moments in the host's memory: what comes out of
 * both, to be compared. For tests on the host's backends and on the simulated device. Include after cmocka.h. */
#ifndef PDMBOOTH_TESTS_OFFLOAD_H
#define PDMBOOTH_TESTS_OFFLOAD_H

#include <math.h>

#include "train/checkpoint.h"
#include "train/offload.h"
#include "train/step.h"
#include "training.h"

enum { OFFLOAD_SIDE = 6, OFFLOAD_SLOTS = 2, OFFLOAD_TOKENS = OFFLOAD_SIDE * OFFLOAD_SIDE };

struct offload_case {
  const char *backend, *model;
  enum dtype act, moments;
  bool text, recompute, ema;
  bool frozen, lora; /* two parameters of the UNet are not trained; adapters alone are */
  int accumulation, steps, threads;
  const struct backend_ops *op;      /* in place of the backend's table; NULL: that */
  void (*opened)(struct backend *b); /* called with the backend before anything is read; NULL: nothing */
};

struct offload_result {
  float *w[2], *m[2], *v[2], *ema[2];
  int64_t n[2];
  int sets;
  double norm[8], loss[8], probe[8];
  int steps;
};

struct offload_bench {
  const struct offload_case *k;
  struct backend *b, *count;
  struct model *m;
  struct optimizer opt;
  struct step_options o;
  struct slot slot[OFFLOAD_SLOTS];
  float latents[OFFLOAD_SLOTS][OFFLOAD_TOKENS * 4], noise[OFFLOAD_SLOTS][OFFLOAD_TOKENS * 4];
  int32_t ids[77];
  struct step_loss loss;
  bool train;
};

static inline void offload_open(struct offload_bench *f, bool away) {
  const struct offload_case *k = f->k;
  struct err e = {0};
  struct source s;
  char path[4096], relative[64];
  snprintf(relative, sizeof relative, "data/%s", k->model);
  source_dir(&s, tests_path(relative, path, sizeof path));
  f->b = backend_open(k->backend, k->threads, &e);
  f->count = backend_open_ops(&backend_count, 1, &e);
  if (!f->b || !f->count) fail_msg("%s", e.text);
  if (k->op && away) f->b->op = k->op;
  if (k->opened) k->opened(f->b);
  struct lora_spec unet = {2, 3, 4, {"to_q", "to_k", "to_v", "to_out.0"}}, text = {2, 3, 2, {"q_proj", "v_proj"}};
  struct model_want w = {.train_unet = !k->lora, .train_text = !k->lora && k->text};
  if (k->lora) w.unet_lora = &unet;
  if (k->lora && k->text) w.text_lora = &text;
  f->m = model_open_headers(f->count, &s, &w, &e);
  if (!f->m) fail_msg("%s", e.text);
  struct param_set *set[2] = {unet_params(f->m->unet), clip_params(f->m->text)};
  if (k->lora) set[0] = unet_lora(f->m->unet)->params;
  if (k->lora && k->text) set[1] = clip_lora(f->m->text)->params;
  if (k->frozen) set[0]->p[20]->frozen = set[0]->p[21]->frozen = true;
  if (away) model_lodge(f->m, f->b, k->act, true);
  if (!model_read(f->m, f->b, 0, &e)) fail_msg("%s", e.text);
  if (!optimizer_init(&f->opt, f->b, set, 1 + k->text, k->moments, k->ema, 0, &e)) fail_msg("%s", e.text);
  f->opt.ema_decay = k->ema ? 0.9f : 0;
  optimizer_zero_grad(&f->opt);
  assert_int_equal(tokenizer_prompt(f->m->tokenizer, "a photo of sks dog", f->ids, 77, NULL), 0);
  f->o = (struct step_options){
      .train_text = k->text, .recompute = k->recompute, .pdm_handle = -1, .grad_scale = 1.0f / (float)k->accumulation};
}

static inline void offload_slots(struct offload_bench *f, int n) {
  for (int i = 0; i < OFFLOAD_SLOTS; i++) {
    struct rng_counter c = {.seed = 7, .stream = 1, .index = (uint32_t)(4 * n + 2 * i)}, d = c;
    d.index++;
    rng_normal(&c, f->latents[i], 0, OFFLOAD_TOKENS * 4);
    rng_normal(&d, f->noise[i], 0, OFFLOAD_TOKENS * 4);
    f->slot[i] = (struct slot){.kind = SLOT_INSTANCE,
                               .example = i,
                               .t = (100 + 37 * n + 500 * i) % 1000,
                               .ids = f->ids,
                               .latents = f->latents[i],
                               .noise = f->noise[i]};
  }
}

static inline bool offload_pass(struct ctx *c, void *user) {
  struct offload_bench *f = user;
  return (f->train ? train_step : eval_step)(c, f->m, f->slot, OFFLOAD_SLOTS, OFFLOAD_SLOTS, OFFLOAD_SIDE, OFFLOAD_SIDE, &f->o, &f->loss,
                                             c->err);
}

static inline double offload_run(struct offload_bench *f, bool train) {
  struct err e = {0};
  f->train = train;
  if (!workspace_run(&f->m->work, f->b, f->k->act, offload_pass, f, NULL, &e)) fail_msg("%s", e.text);
  return f->loss.total;
}

/* Like the trainer's loop: micro-batches, norm, update; sometimes a probe, with averaged weights where there are some. */
static inline void offload_steps(struct offload_bench *f, struct offload_result *r) {
  const struct offload_case *k = f->k;
  struct err e = {0};
  for (int i = 0; i < k->steps; i++) {
    r->loss[i] = 0;
    for (int micro = 0; micro < k->accumulation; micro++) {
      offload_slots(f, i * k->accumulation + micro);
      r->loss[i] += offload_run(f, true);
    }
    r->norm[i] = optimizer_norm(&f->opt);
    if (!optimizer_step(&f->opt, 1e-3, r->norm[i], &e)) {
      if (!k->op) fail_msg("%s", e.text);
      r->loss[i] = NAN; /* of a planted mistake */
      return;
    }
    if (i % 2 == 0) continue;
    offload_slots(f, 1000);
    swap_averaged(&f->opt);
    r->probe[i] = offload_run(f, false);
    swap_averaged(&f->opt);
  }
}

static inline float *offload_take(struct backend *b, const void *p, enum dtype type, int64_t n) {
  float *out = calloc((size_t)n, sizeof *out);
  uint16_t *half = calloc((size_t)n, sizeof *half);
  if (p && type == DT_F32) b->op->download(b, out, p, (size_t)n * sizeof *out);
  if (p && type != DT_F32) {
    b->op->download(b, half, p, (size_t)n * sizeof *half);
    for (int64_t i = 0; i < n; i++) out[i] = bf16_to_f32(half[i]);
  }
  free(half);
  return out;
}

static inline void offload_results(struct offload_bench *f, struct offload_result *r) {
  r->sets = f->opt.groups;
  r->steps = f->k->steps;
  for (int i = 0; i < r->sets; i++) {
    const struct opt_group *g = &f->opt.group[i];
    struct backend *b = optimizer_backend(&f->opt, i);
    r->n[i] = g->set->count;
    r->w[i] = offload_take(b, optimizer_weights(&f->opt, i), DT_F32, r->n[i]);
    r->m[i] = offload_take(b, g->m.data, g->m.type, r->n[i]);
    r->v[i] = offload_take(b, g->v.data, g->v.type, r->n[i]);
    r->ema[i] = offload_take(b, g->ema, DT_F32, r->n[i]);
  }
}

static inline void offload_close(struct offload_bench *f) {
  assert_int_equal(f->b->fault.code, ERR_OK);
  optimizer_release(&f->opt);
  model_close(f->m);
  backend_close(f->count);
  backend_close(f->b);
}

static inline void offload_do(const struct offload_case *k, bool away, struct offload_result *r) {
  struct offload_bench *f = calloc(1, sizeof *f);
  *r = (struct offload_result){0};
  f->k = k;
  offload_open(f, away);
  offload_steps(f, r);
  offload_results(f, r);
  offload_close(f);
  free(f);
}

static inline void offload_free(struct offload_result *r) {
  for (int i = 0; i < r->sets; i++) {
    free(r->w[i]);
    free(r->m[i]);
    free(r->v[i]);
    free(r->ema[i]);
  }
}

/* Largest |a - b| over the root mean square of a. */
static inline double offload_distance(const float *a, const float *b, int64_t n) {
  double most = 0, sum = 0;
  for (int64_t i = 0; i < n; i++) {
    double d = fabs((double)a[i] - b[i]);
    if (!(d <= most)) most = d;
    sum += (double)a[i] * a[i];
  }
  return most > 0 ? most / (sqrt(sum / (double)n) + 1e-30) : 0;
}

/* Weights, moments, average, losses of the two; the greatest distance of any. Norms are sums in double of other pieces: to the thirteenth digit. */
static inline double offload_compare(const struct offload_result *a, const struct offload_result *b) {
  double most = 0, d;
  for (int i = 0; i < a->sets; i++) {
    const float *const x[] = {a->w[i], a->m[i], a->v[i], a->ema[i]}, *const y[] = {b->w[i], b->m[i], b->v[i], b->ema[i]};
    for (int k = 0; k < 4; k++)
      if ((d = offload_distance(x[k], y[k], a->n[i])) > most || isnan(d)) most = d;
  }
  for (int i = 0; i < a->steps; i++) {
    const double x[] = {a->norm[i], a->loss[i], a->probe[i]}, y[] = {b->norm[i], b->loss[i], b->probe[i]};
    if (getenv("OFFLOAD_SHOW"))
      printf("step %d: norm %.17g %.17g, loss %.9g %.9g, probe %.9g %.9g\n", i, x[0], y[0], x[1], y[1], x[2], y[2]);
    for (int k = 0; k < 3; k++)
      if ((d = fabs(x[k] - y[k]) / (fabs(x[k]) + 1e-30)) > (k == 0 ? fmax(most, 1e-13) : most) || isnan(d)) most = d;
  }
  return most;
}

#endif
