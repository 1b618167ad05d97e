/* What a run will take, from the very same forward and backward code on the counting backend: peak memory of each stage before
 * anything is reserved, and hours from the FLOPs and a rate that is measured on one small pass. */
#include <stdio.h>
#include <stdlib.h>

#include "base/thread.h"
#include "train/trainer.h"

struct pass_plan {
  struct trainer *t;
  int pictures;   /* forward passes: of how many at once */
  bool stop;      /* only as far as the PDM layer */
  bool recompute; /* training */
  struct slot *slot;
  int slots;
};

static bool counted(struct trainer *t, bool (*fn)(struct ctx *, void *), void *user, size_t *peak, double *flops, struct err *e) {
  struct backend *count = backend_open_ops(&backend_count, 1, e);
  if (!count) return false;
  struct pool *pool = pool_new(NULL, SIZE_MAX);
  struct ctx c = {.b = count, .pool = pool, .act = t->act, .err = e};
  bool ok = pool ? fn(&c, user) && ctx_ok(&c) : err_set(e, ERR_FIT, "out of memory");
  if (ok && peak && pool_peak(pool) > *peak) *peak = pool_peak(pool);
  if (ok && flops) *flops = count->flops;
  if (pool) pool_delete(pool);
  backend_close(count);
  return ok;
}

/* One pass of the UNet without gradients, whatever the prompt. */
static bool count_pass(struct ctx *c, void *user) {
  struct pass_plan *p = user;
  struct latent_size s = latent_size_of(p->t->m, p->t->s->train.width, p->t->s->train.height);
  float *time = calloc((size_t)p->pictures, sizeof *time);
  if (!time) return err_set(c->err, ERR_FIT, "out of memory");
  struct tensor x = ctx_new_4d(c, DT_F32, p->pictures, s.h, s.w, s.channels);
  struct tensor text = ctx_new_3d(c, c->act, p->pictures, 77, unet_config(p->t->m->unet)->cross_dim);
  if (!c->failed && !planning(c)) {
    c->b->op->fill(c->b, &x, 0.5f);
    c->b->op->fill(c->b, &text, 0.5f);
  }
  struct unet_tap tap = {.handle = p->stop ? p->t->pdm_handle : -1, .stop = p->stop};
  struct unet_options plain = {0};
  struct tensor y = unet_forward(c, p->t->m->unet, &x, time, &text, &tap, &plain, NULL);
  ctx_free(c, &tap.q);
  ctx_free(c, &y);
  ctx_free(c, &text);
  ctx_free(c, &x);
  free(time);
  return ctx_ok(c);
}

static bool count_vae(struct ctx *c, void *user) {
  struct pass_plan *p = user;
  struct latent_size s = latent_size_of(p->t->m, p->t->s->train.width, p->t->s->train.height);
  c->act = DT_F32;
  struct tensor x = ctx_new_4d(c, DT_F32, 1, p->t->s->train.height, p->t->s->train.width, 3), y = vae_encode(c, p->t->m->vae, &x);
  ctx_free(c, &x);
  ctx_free(c, &y);
  struct tensor z = ctx_new_4d(c, DT_F32, p->pictures, s.h, s.w, s.channels), one = tensor_slice(z, 0, 1), px = {0};
  if (!c->failed) px = vae_decode(c, p->t->m->vae, &one);
  ctx_free(c, &px);
  ctx_free(c, &z);
  return ctx_ok(c);
}

static bool count_train(struct ctx *c, void *user) {
  struct pass_plan *p = user;
  struct step_options o = p->t->options;
  struct step_loss l;
  struct latent_size s = latent_size_of(p->t->m, p->t->s->train.width, p->t->s->train.height);
  o.recompute = p->recompute;
  return train_step(c, p->t->m, p->slot, p->slots, p->t->s->train.batch, s.h, s.w, &o, &l, c->err);
}

/* Slots of a micro-batch with nothing in them but what memory depends on: kinds, prompts, masks. */
static struct slot *fake_slots(const struct trainer *t, int *n) {
  static const int32_t instance[77] = {0}, class_ids[77] = {1};
  static const float mask = 1; /* only its presence counts */
  const struct settings *s = t->s;
  const bool on[SLOT_KINDS] = {[SLOT_INSTANCE] = s->losses.instance, [SLOT_PRIOR] = s->losses.prior, [SLOT_PDM] = s->losses.pdm};
  const bool masked[SLOT_KINDS] = {[SLOT_INSTANCE] = s->losses.mask_dm, [SLOT_PDM] = s->losses.mask_pdm};
  struct slot *slot = calloc((size_t)s->train.batch * SLOT_KINDS, sizeof *slot);
  *n = 0;
  for (int k = 0; slot && k < SLOT_KINDS; k++)
    for (int i = 0; on[k] && i < s->train.batch; i++)
      slot[(*n)++] = (struct slot){
          .kind = (enum slot_kind)k, .example = i, .ids = k == SLOT_PRIOR ? class_ids : instance, .mask = masked[k] ? &mask : NULL};
  return slot;
}

/* Peak and FLOPs of a micro-batch. */
static bool plan_step(struct trainer *t, bool recompute, size_t *peak, double *flops, struct err *e) {
  struct pass_plan p = {.t = t, .pictures = 1, .recompute = recompute};
  p.slot = fake_slots(t, &p.slots);
  bool ok = p.slot || err_set(e, ERR_FIT, "out of memory");
  *peak = 0;
  ok = ok && counted(t, count_train, &p, peak, flops, e) && counted(t, count_vae, &p, peak, NULL, e);
  free(p.slot);
  return ok;
}

/* --- memory ------------------------------------------------------------------------------------------------------------------------- */

/* Weights and gradients that are there already. */
static size_t resident(const struct trainer *t) {
  const struct lora_set *ul = unet_lora(t->m->unet), *tl = clip_lora(t->m->text);
  const struct param_set *all[] = {unet_params(t->m->unet), clip_params(t->m->text), vae_params(t->m->vae), ul ? ul->params : NULL,
                                   tl ? tl->params : NULL};
  size_t bytes = 0;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (all[i]) bytes += (size_t)all[i]->count * sizeof(float) * (all[i]->g ? 2 : 1);
  return bytes;
}

/* Photographs that are inverted at once: all, or as many as fit beside the weights. */
static bool plan_inversion(struct trainer *t, size_t room, size_t *peak, struct err *e) {
  struct pass_plan p = {.t = t};
  for (int n = t->data.photographs;; n = (n + 1) / 2) {
    size_t bytes = 0;
    p.pictures = t->pdm_batch = n;
    if (!counted(t, count_pass, &p, &bytes, NULL, e)) return false;
    if (bytes > room && n > 1) continue;
    if (bytes > *peak) *peak = bytes;
    return true;
  }
}

/* Peak of the stages beside training: samples, class pictures, inversion. */
static bool plan_stages(struct trainer *t, size_t room, size_t *peak, struct err *e) {
  const struct settings *s = t->s;
  int samples = s->prompts.tests > 0 ? s->samples.batch : 0, classes = s->losses.prior ? s->prior.batch : 0;
  struct pass_plan p = {.t = t, .pictures = 2 * (samples > classes ? samples : classes)};
  if (p.pictures < 1) p.pictures = 1;
  *peak = 0;
  return counted(t, count_pass, &p, peak, NULL, e) && counted(t, count_vae, &p, peak, NULL, e) &&
         (!s->losses.pdm || plan_inversion(t, room, peak, e));
}

static bool refuse(const struct trainer *t, size_t have, size_t moments, size_t work, size_t budget, struct err *e) {
  const struct settings *s = t->s;
  const double gib = 1.0 / (1 << 30);
  return err_set(
      e, ERR_FIT,
      "this run needs %.2f GiB of memory (weights and gradients %.2f, optimiser %.2f, passes %.2f), %.2f GiB are allowed: choose %s%s"
      "a smaller resolution%s, or raise memory in [engine]",
      (double)(have + moments + work) * gib, (double)have * gib, (double)moments * gib, (double)work * gib, (double)budget * gib,
      s->train.batch > 1 ? "a smaller batch, " : "", s->train.mode == MODE_FULL && !s->train.moments_bf16 ? "moments = bf16, " : "",
      s->train.mode == MODE_FULL ? ", mode = lora" : "");
}

bool plan_memory(struct trainer *t, struct err *e) {
  const struct settings *s = t->s;
  size_t stages, step, budget = s->engine.memory > 0 ? (size_t)s->engine.memory : machine_memory();
  size_t have = resident(t);
  size_t moments =
      optimizer_bytes((const struct param_set *const *)t->set, t->sets, s->train.moments_bf16 ? DT_BF16 : DT_F32, s->train.ema_decay > 0);
  t->options.recompute = s->train.recompute;
  if (!plan_stages(t, budget > have ? budget - have : 0, &stages, e) || !plan_step(t, t->options.recompute, &step, NULL, e)) return false;
  size_t work = step > stages ? step : stages;
  if (have + moments + work > budget && !t->options.recompute && step > stages) {
    if (!plan_step(t, true, &step, NULL, e)) return false;
    work = step > stages ? step : stages;
    t->options.recompute = true;
    if (have + moments + work <= budget)
      tell(t->sink, LOG_WARN, "activations do not fit into memory: they are computed again in the backward pass");
  }
  if (have + moments + work > budget) return refuse(t, have, moments, work, budget, e);
  t->step_bytes = step;
  tell(t->sink, LOG_INFO, "memory: %.1f MiB of weights and gradients, %.1f of optimiser state, %.1f for passes (training %.1f)",
       (double)have / (1 << 20), (double)moments / (1 << 20), (double)work / (1 << 20), (double)step / (1 << 20));
  return true;
}

/* --- time ------------------------------------------------------------------------------------------------------------------------------- */

struct draw_pair *plan_pairs(struct trainer *t, int *n, struct err *e) {
  return draw_pairs(&t->draw, t->s->train.steps, n, e);
}

struct pdm_job plan_pdm_job(struct trainer *t, const struct draw_pair *pair, int pairs) {
  return (struct pdm_job){.m = t->m,
                          .d = &t->data,
                          .class_prompt = t->s->prompts.class_prompt,
                          .layer = t->pdm_layer,
                          .handle = t->pdm_handle,
                          .act = t->act,
                          .steps = t->s->losses.pdm_steps,
                          .batch = t->pdm_batch,
                          .masked = t->s->losses.mask_pdm,
                          .cache_dir = t->cache_dir,
                          .state_dir = t->state_dir,
                          .pair = pair,
                          .pairs = pairs,
                          .sink = t->sink};
}

/* FLOPs of what is missing of the PDM targets. */
static bool pdm_flops(struct trainer *t, double *flops, struct err *e) {
  int pairs;
  int64_t pictures, taps;
  double pass = 0, tap = 0;
  struct pass_plan one = {.t = t, .pictures = 1}, stop = {.t = t, .pictures = 1, .stop = true};
  *flops = 0;
  if (!t->s->losses.pdm) return true;
  struct draw_pair *pair = plan_pairs(t, &pairs, e);
  if (!pair) return false;
  struct pdm_job job = plan_pdm_job(t, pair, pairs);
  pdm_work(&job, &pictures, &taps);
  bool ok = counted(t, count_pass, &one, NULL, &pass, e) && counted(t, count_pass, &stop, NULL, &tap, e);
  *flops = (double)pictures * pass + (double)taps * tap;
  free(pair);
  return ok;
}

/* FLOPs a second: one picture first, which packs weights, then as many as a training step has. flops: of one picture's pass. */
static bool measure(struct trainer *t, double flops, double *rate, struct err *e) {
  const struct settings *s = t->s;
  int slots = s->train.batch * (s->losses.instance + s->losses.prior + s->losses.pdm);
  struct pass_plan p = {.t = t, .pictures = 1};
  double seconds = 1;
  for (int i = 0; i < 2; i++, p.pictures = slots) {
    struct ctx c;
    if (!trainer_ctx(t, &c, e)) return false;
    double begin = now_seconds();
    bool ok = count_pass(&c, &p);
    seconds = now_seconds() - begin;
    trainer_ctx_end(&c);
    if (!ok) return false;
  }
  *rate = flops * slots / (seconds > 1e-6 ? seconds : 1e-6);
  return true;
}

struct duration {
  char text[32];
};

static struct duration duration(double seconds) {
  struct duration d;
  if (seconds >= 3600)
    snprintf(d.text, sizeof d.text, "%.1f hours", seconds / 3600);
  else if (seconds >= 60)
    snprintf(d.text, sizeof d.text, "%.1f minutes", seconds / 60);
  else
    snprintf(d.text, sizeof d.text, "%.1f seconds", seconds);
  return d;
}

bool plan_forecast(struct trainer *t, struct err *e) {
  const struct settings *s = t->s;
  struct pass_plan one = {.t = t, .pictures = 1};
  size_t ignored;
  double step = 0, pass = 0, pdm = 0, rate = 1;
  if (!plan_step(t, t->options.recompute, &ignored, &step, e) || !counted(t, count_pass, &one, NULL, &pass, e) || !pdm_flops(t, &pdm, e) ||
      !measure(t, pass, &rate, e))
    return false;
  int left = s->train.steps - t->state.step, rounds = 1 + (s->samples.every > 0 ? left / s->samples.every + 1 : 0);
  int missing = s->losses.prior ? prior_missing(t->m, t->act, s, e) : 0;
  if (missing < 0) return false;
  double classes = (double)missing * s->prior.steps * (s->prior.guidance > 1 ? 2 : 1) * pass;
  double training = (double)left * s->train.accumulation * step;
  double samples = (double)rounds * s->prompts.tests * s->samples.count * s->samples.steps * (s->samples.guidance > 1 ? 2 : 1) * pass;
  tell(t->sink, LOG_INFO,
       "expected on %s at %.1f GFLOPS: %s in all: class images %s, PDM targets %s, training %s (%.2f s a step), samples %s",
       backend_describe(t->b), rate * 1e-9, duration((classes + pdm + training + samples) / rate).text, duration(classes / rate).text,
       duration(pdm / rate).text, duration(training / rate).text, s->train.accumulation * step / rate, duration(samples / rate).text);
  return true;
}
