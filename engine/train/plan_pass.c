/* The passes of a run, one at a time, on the counting backend. */
#include <stdlib.h>
#include <string.h>

#include "backend/count/profile.h"
#include "train/picture.h"
#include "train/plan.h"

struct job {
  struct trainer *t;
  enum pass_kind kind;
  int n, evaluations;
};

static struct latent_size size_of(const struct trainer *t) {
  return latent_size_of(t->m, t->s->train.width, t->s->train.height);
}

/* --- pictures ------------------------------------------------------------------------------------------------------------------------- */

static int fewer(int steps, int evaluations) {
  return evaluations > 0 && evaluations < steps ? evaluations : steps;
}

static bool classes(struct ctx *c, const struct job *k) {
  const struct settings *s = k->t->s;
  struct picture_job j = {.sampler = (enum sampler_kind)s->prior.sampler,
                          .steps = fewer(s->prior.steps, k->evaluations),
                          .guidance = s->prior.guidance,
                          .negative = s->prompts.negative,
                          .width = s->train.width,
                          .height = s->train.height};
  const char **prompt = malloc((size_t)k->n * sizeof *prompt);
  if (!prompt) return err_set(c->err, ERR_FIT, "out of memory");
  for (int i = 0; i < k->n; i++) prompt[i] = s->prompts.class_prompt;
  bool ok = pictures_plan(c, k->t->m, &j, prompt, k->n);
  free(prompt);
  return ok;
}

/* The first batch: none is larger. */
static bool samples(struct ctx *c, const struct job *k) {
  const struct settings *s = k->t->s;
  struct picture_job j = {.sampler = (enum sampler_kind)s->samples.sampler,
                          .steps = fewer(s->samples.steps, k->evaluations),
                          .guidance = s->samples.guidance,
                          .negative = s->prompts.negative ? s->prompts.negative : "",
                          .width = s->train.width,
                          .height = s->train.height};
  const char **prompt = malloc((size_t)k->n * sizeof *prompt);
  if (!prompt) return err_set(c->err, ERR_FIT, "out of memory");
  for (int i = 0; i < k->n; i++) prompt[i] = s->prompts.test[i / s->samples.count];
  bool ok = pictures_plan(c, k->t->m, &j, prompt, k->n);
  free(prompt);
  return ok;
}

/* --- training ------------------------------------------------------------------------------------------------------------------------- */

/* Of a micro-batch. */
static struct tensor all_latents(struct ctx *c, const struct job *k) {
  struct latent_size z = size_of(k->t);
  return ctx_new_4d(c, DT_F32, trainer_slots(k->t), z.h, z.w, z.channels);
}

/* A photograph's moments; and a picture of a step. */
static bool encode(struct ctx *c, const struct job *k) {
  struct latent_size z = size_of(k->t);
  const struct settings *s = k->t->s;
  struct tensor all = all_latents(c, k), one = tensor_slice(all, 0, 1);
  float *moments = calloc((size_t)z.count * 2, sizeof *moments);
  bool ok = moments || err_set(c->err, ERR_FIT, "out of memory");
  ok = ok && encode_pixels(c, k->t->m, NULL, s->train.width, s->train.height, moments) &&
       latents_of_pixels(c, k->t->m, NULL, s->train.width, s->train.height, moments, &one);
  free(moments);
  ctx_free(c, &all);
  return ok;
}

/* Slots of a micro-batch with nothing in them but what memory depends on: kinds, prompts, masks. */
struct micro {
  int32_t instance[77], class_ids[77];
  struct slot slot[3 * 256];
  int n;
};

static bool fill_micro(const struct trainer *t, struct micro *m, struct err *e) {
  static const float mask = 1; /* only its presence counts */
  const struct settings *s = t->s;
  const bool on[SLOT_KINDS] = {[SLOT_INSTANCE] = s->losses.instance, [SLOT_PRIOR] = s->losses.prior, [SLOT_PDM] = s->losses.pdm};
  const bool masked[SLOT_KINDS] = {
      [SLOT_INSTANCE] = s->losses.mask_dm, [SLOT_PRIOR] = s->losses.mask_prior, [SLOT_PDM] = s->losses.mask_pdm};
  if (tokenizer_prompt(t->m->tokenizer, s->prompts.instance, m->instance, 77, NULL) < 0 ||
      tokenizer_prompt(t->m->tokenizer, s->prompts.class_prompt, m->class_ids, 77, NULL) < 0)
    return err_set(e, ERR_FIT, "out of memory while reading a prompt");
  for (int k = 0; k < SLOT_KINDS; k++)
    for (int i = 0; on[k] && i < s->train.batch; i++)
      m->slot[m->n++] = (struct slot){
          .kind = (enum slot_kind)k, .example = i, .ids = k == SLOT_PRIOR ? m->class_ids : m->instance, .mask = masked[k] ? &mask : NULL};
  return true;
}

static bool step(struct ctx *c, const struct job *k, const struct micro *m) {
  struct step_options o = k->t->options;
  struct latent_size z = size_of(k->t);
  double none;
  struct tensor all = all_latents(c, k);
  o.recompute_blocks = k->n;
  bool ok = train_step_later(c, k->t->m, m->slot, m->n, k->t->s->train.batch, z.h, z.w, &o, &none, c->err);
  ctx_free(c, &all);
  return ok;
}

static bool probe(struct ctx *c, const struct job *k, struct micro *m) {
  struct step_options o = {.pdm_handle = -1, .grad_scale = 1};
  struct step_loss l;
  struct latent_size z = size_of(k->t);
  int n = m->n < PROBE_PAIRS ? m->n : PROBE_PAIRS;
  for (int i = 0; i < n; i++) {
    static const float mask = 1;
    m->slot[i] = (struct slot){.kind = SLOT_INSTANCE, .example = i, .ids = m->instance, .mask = &mask};
  }
  return eval_step(c, k->t->m, m->slot, n, n, z.h, z.w, &o, &l, c->err);
}

static bool micro_pass(struct ctx *c, const struct job *k) {
  struct micro *m = calloc(1, sizeof *m);
  bool ok = m || err_set(c->err, ERR_FIT, "out of memory");
  ok = ok && fill_micro(k->t, m, c->err) && (k->kind == PASS_STEP ? step(c, k, m) : probe(c, k, m));
  free(m);
  return ok;
}

/* --- one of them ---------------------------------------------------------------------------------------------------------------------- */

static bool masks(struct ctx *c, const struct job *k) {
  struct gaze_job gaze = trainer_gaze(k->t);
  const struct photograph *p = k->n >= 0 ? k->t->data.photograph + k->n : NULL;
  return gaze_count(c, &gaze, p ? p->rgb.w : k->t->s->train.width, p ? p->rgb.h : k->t->s->train.height);
}

static bool run(struct ctx *c, const struct job *k) {
  struct pdm_job pdm = plan_pdm_job(k->t, NULL, 0);
  switch (k->kind) {
    case PASS_MASKS:
      return masks(c, k);
    case PASS_CLASSES:
      return classes(c, k);
    case PASS_INVERSION:
      return pdm_plan_inversion(c, &pdm, k->n);
    case PASS_ROWS:
      return pdm_plan_rows(c, &pdm);
    case PASS_ENCODE:
      return encode(c, k);
    case PASS_STEP:
    case PASS_PROBE:
      return micro_pass(c, k);
    case PASS_SAMPLES:
      return samples(c, k);
  }
  return false;
}

static bool count_pass(struct trainer *t, const struct job *k, bool rehearse, struct op_profile *profile, struct pass_need *out,
                       struct err *e) {
  struct backend *count = backend_open_ops(&backend_count, 1, e);
  if (!count) return false;
  if (rehearse && t->b->op->rehearse) count->like = t->b;
  if (profile) count_profile(count, profile);
  struct pool *pool = pool_new(NULL, SIZE_MAX);
  struct ctx c = {.b = count, .pool = pool, .act = t->act, .err = e};
  bool ok = pool ? run(&c, k) && ctx_ok(&c) : err_set(e, ERR_FIT, "out of memory");
  if (ok && count->like && t->b->fault.code != ERR_OK) ok = err_set(e, t->b->fault.code, "%s", t->b->fault.text);
  if (ok) *out = (struct pass_need){.work = pool_peak(pool), .flops = count->flops, .bytes = count->bytes};
  pool_delete(pool);
  backend_close(count);
  return ok;
}

bool plan_pass(struct trainer *t, enum pass_kind kind, int n, int evaluations, struct pass_need *out, struct err *e) {
  return count_pass(t, &(struct job){t, kind, n, evaluations}, true, NULL, out, e);
}

bool plan_profile(struct trainer *t, enum pass_kind kind, int n, struct op_profile *out, struct err *e) {
  struct pass_need ignored;
  return count_pass(t, &(struct job){t, kind, n, 0}, false, out, &ignored, e) &&
         (!out->failed || err_set(e, ERR_FIT, "out of memory while planning"));
}

static void drop_packs(struct trainer *t) {
  const struct param_set *set[MODEL_SETS];
  model_sets(t->m, set);
  for (int i = 0; i < MODEL_SETS; i++) backend_drop_packs(t->b, set[i]);
}

void plan_rehearse(struct trainer *t) {
  t->b->need = (struct backend_need){0};
  if (!t->b->op->rehearse) return;
  drop_packs(t);
  t->b->op->rehearse(t->b, true);
}

void plan_forget(struct trainer *t) {
  if (!t->b->op->rehearse) return;
  drop_packs(t);
  t->b->op->rehearse(t->b, false);
}
