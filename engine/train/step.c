/* One training step on explicit inputs (step.h): method.md section 4.
 *
 * All slots of all examples go through the UNet as one batch; each has a timestep of its own. A prompt that several slots share is
 * embedded once and its rows copied; on the way back the gradients of equal rows are summed.
 *
 *   x_t = sqrt(abar_t) z + sqrt(1 - abar_t) eps                  target: eps, or v = sqrt(abar_t) eps - sqrt(1 - abar_t) z
 *   L   = mean over examples of (w_snr L_inst + prior_weight w_snr L_prior + pdm_weight L_pdm)
 *
 * The pdm slots have no noise loss: their rows of the prediction's gradient are zero, and only their rows of Q enter L_pdm. */
#include "train/step.h"

#include <math.h>
#include <string.h>

enum { STEP_MAX_SLOTS = 192, STEP_TOKENS = 77 };

struct pass {
  struct ctx *c;
  struct model *m;
  const struct slot *slot;
  int n, examples, h, w;
  const struct step_options *o;
  bool train;

  int row[STEP_MAX_SLOTS];   /* slot -> row of text */
  int rows;                  /* distinct prompts */
  struct tensor x, target;   /* [n, h, w, c] F32 */
  struct tensor mask;        /* [n, h w] F32, empty: every element counts */
  struct tensor text;        /* [rows, 77, width] activations' type */
  struct tensor text_slots;  /* [n, 77, width]: rows of text, one a slot */
  struct tensor pred, dpred; /* [n, h, w, c] activations' type */
  struct tensor dtext_slots; /* [n, 77, width] F32 */
  struct unet_tap tap;
  struct clip_tape *clip_tape;
  struct unet_tape *unet_tape;
  double term[SLOT_KINDS];
};

/* Distinct prompts: row[] and the ids of each in ids [rows, 77]. */
static void find_rows(struct pass *p, int32_t *ids) {
  for (int i = 0; i < p->n; i++) {
    int r = 0;
    while (r < p->rows && memcmp(ids + (ptrdiff_t)r * STEP_TOKENS, p->slot[i].ids, STEP_TOKENS * sizeof *ids) != 0) r++;
    if (r == p->rows) memcpy(ids + (ptrdiff_t)p->rows++ * STEP_TOKENS, p->slot[i].ids, STEP_TOKENS * sizeof *ids);
    p->row[i] = r;
  }
}

static void embed_prompts(struct pass *p) {
  int32_t ids[STEP_MAX_SLOTS * STEP_TOKENS];
  find_rows(p, ids);
  bool graph = p->train && p->o->train_text;
  p->text = clip_forward(p->c, p->m->text, ids, p->rows, STEP_TOKENS, graph ? &p->clip_tape : NULL);
  p->text_slots = ctx_new_3d(p->c, p->text.type, p->n, p->text.dim[1], p->text.dim[2]);
  if (p->c->failed) return;
  for (int i = 0; i < p->n; i++) {
    struct tensor from = tensor_slice(p->text, p->row[i], 1), to = tensor_slice(p->text_slots, i, 1);
    p->c->b->op->move(p->c->b, to.data, from.data, tensor_bytes(&from));
  }
  ctx_free(p->c, &p->text);
}

/* Fills row i of x with the noisy latents, row i of target with what the network should say. z: a buffer for one picture. */
static void noisy_slot(struct pass *p, int i, struct tensor *z) {
  const struct slot *s = p->slot + i;
  struct backend *b = p->c->b;
  struct tensor x = tensor_slice(p->x, i, 1), target = tensor_slice(p->target, i, 1);
  float abar = (float)p->m->schedule.abar[s->t], signal = sqrtf(abar), noise = sqrtf(1 - abar);
  b->op->upload(b, z->data, s->latents, tensor_bytes(z));
  b->op->upload(b, target.data, s->noise, tensor_bytes(&target));
  b->op->axpby(b, &x, signal, z, 0);
  b->op->axpby(b, &x, noise, &target, 1);
  if (p->m->schedule.prediction == PREDICT_V) b->op->axpby(b, &target, -noise, z, signal);
}

static void make_noisy(struct pass *p) {
  int64_t channels = unet_config(p->m->unet)->in_channels;
  p->x = ctx_new_4d(p->c, DT_F32, p->n, p->h, p->w, channels);
  p->target = ctx_like(p->c, &p->x);
  struct tensor z = ctx_new_4d(p->c, DT_F32, 1, p->h, p->w, channels);
  for (int i = 0; i < p->n && !p->c->failed; i++) noisy_slot(p, i, &z);
  ctx_free(p->c, &z);
}

/* Masks of the noise loss; a slot without one counts everywhere. */
static void upload_masks(struct pass *p) {
  bool any = false;
  for (int i = 0; i < p->n; i++) any |= p->slot[i].kind != SLOT_PDM && p->slot[i].mask != NULL;
  if (!any) return;
  p->mask = ctx_new_2d(p->c, DT_F32, p->n, (int64_t)p->h * p->w);
  struct backend *b = p->c->b;
  for (int i = 0; i < p->n && !p->c->failed; i++) {
    struct tensor row = tensor_slice(p->mask, i, 1);
    bool own = p->slot[i].kind != SLOT_PDM && p->slot[i].mask != NULL;
    if (own)
      b->op->upload(b, row.data, p->slot[i].mask, tensor_bytes(&row));
    else
      b->op->fill(b, &row, 1);
  }
}

static void forward(struct pass *p) {
  float t[STEP_MAX_SLOTS];
  for (int i = 0; i < p->n; i++) t[i] = (float)p->slot[i].t;
  embed_prompts(p);
  make_noisy(p);
  struct unet_options options = {.recompute = p->o->recompute, .recompute_blocks = p->o->recompute_blocks};
  p->tap = (struct unet_tap){.handle = -1};
  for (int i = 0; i < p->n; i++)
    if (p->slot[i].kind == SLOT_PDM) p->tap.handle = p->o->pdm_handle;
  p->pred = unet_forward(p->c, p->m->unet, &p->x, t, &p->text_slots, &p->tap, &options, p->train ? &p->unet_tape : NULL);
  ctx_free(p->c, &p->x);
  if (!p->train) ctx_free(p->c, &p->text_slots);
}

/* Weight of a slot's term in L, without the gradient's scale. */
static double slot_weight(const struct pass *p, const struct slot *s) {
  double snr = p->o->min_snr > 0 && s->kind != SLOT_PDM ? schedule_min_snr(&p->m->schedule, s->t, p->o->min_snr) : 1;
  double of_kind = s->kind == SLOT_PRIOR ? p->o->prior_weight : s->kind == SLOT_PDM ? p->o->pdm_weight : 1;
  return snr * of_kind / p->examples;
}

/* L_inst and L_prior; dpred, where training. */
static void noise_loss(struct pass *p) {
  double loss[STEP_MAX_SLOTS] = {0};
  float weight[STEP_MAX_SLOTS];
  for (int i = 0; i < p->n; i++) {
    bool has_loss = p->slot[i].kind != SLOT_PDM;
    weight[i] = has_loss ? (float)(slot_weight(p, p->slot + i) * p->o->grad_scale) : 0;
  }
  upload_masks(p);
  if (p->train) p->dpred = ctx_like(p->c, &p->pred);
  if (p->c->failed) return;
  struct tensor mask = p->mask.rank > 0 ? p->mask : (struct tensor){0};
  p->c->b->op->mse(p->c->b, loss, p->train ? &p->dpred : NULL, &p->pred, &p->target, mask.rank > 0 ? &mask : NULL, weight);
  for (int i = 0; i < p->n; i++) {
    const struct slot *s = p->slot + i;
    if (s->kind == SLOT_PDM) continue;
    double snr = p->o->min_snr > 0 ? schedule_min_snr(&p->m->schedule, s->t, p->o->min_snr) : 1;
    p->term[s->kind] += snr * loss[i] / p->examples;
  }
}

/* One pdm slot: its rows of Q against Q*. target, mask: buffers for one picture. */
static void pdm_slot(struct pass *p, int i, struct tensor *target, struct tensor *mask) {
  const struct slot *s = p->slot + i;
  struct backend *b = p->c->b;
  struct tensor q = tensor_slice(p->tap.q, i, 1), dq = {0};
  if (p->train) dq = tensor_slice(p->tap.dq, i, 1);
  b->op->upload(b, target->data, s->qstar, tensor_bytes(target));
  if (s->mask) b->op->upload(b, mask->data, s->mask, tensor_bytes(mask));
  double loss = 0;
  float weight = (float)(slot_weight(p, s) * p->o->grad_scale);
  b->op->mse(b, &loss, p->train ? &dq : NULL, &q, target, s->mask ? mask : NULL, &weight);
  p->term[SLOT_PDM] += loss / p->examples;
}

static void pdm_loss(struct pass *p) {
  if (p->tap.handle < 0) return;
  struct tensor target = ctx_new_3d(p->c, DT_F32, 1, p->tap.q.dim[1], p->tap.q.dim[2]);
  struct tensor mask = ctx_new_2d(p->c, DT_F32, 1, p->tap.q.dim[1]);
  if (p->train) p->tap.dq = ctx_like(p->c, &p->tap.q);
  if (p->train && !p->c->failed) p->c->b->op->fill(p->c->b, &p->tap.dq, 0);
  for (int i = 0; i < p->n && !p->c->failed; i++)
    if (p->slot[i].kind == SLOT_PDM) pdm_slot(p, i, &target, &mask);
  ctx_free(p->c, &mask);
  ctx_free(p->c, &target);
  ctx_free(p->c, &p->tap.q);
}

/* Sums the gradients of slots that share a prompt and sends them through the text encoder. */
static void backward_text(struct pass *p) {
  if (!p->dtext_slots.rank) return;
  struct tensor d = ctx_new_3d(p->c, DT_F32, p->rows, p->dtext_slots.dim[1], p->dtext_slots.dim[2]);
  if (p->c->failed) return;
  p->c->b->op->fill(p->c->b, &d, 0);
  for (int i = 0; i < p->n; i++) {
    struct tensor to = tensor_slice(d, p->row[i], 1), from = tensor_slice(p->dtext_slots, i, 1);
    p->c->b->op->axpby(p->c->b, &to, 1, &from, 1);
  }
  ctx_free(p->c, &p->dtext_slots);
  clip_backward(p->c, p->m->text, p->clip_tape, &d);
  p->clip_tape = NULL;
}

static void backward(struct pass *p) {
  if (p->clip_tape) {
    p->dtext_slots = ctx_new_3d(p->c, DT_F32, p->n, p->text_slots.dim[1], p->text_slots.dim[2]);
    if (!p->c->failed) p->c->b->op->fill(p->c->b, &p->dtext_slots, 0);
  }
  unet_backward(p->c, p->m->unet, p->unet_tape, &p->dpred, &p->tap, p->clip_tape ? &p->dtext_slots : NULL);
  p->unet_tape = NULL;
  ctx_free(p->c, &p->tap.dq);
  ctx_free(p->c, &p->text_slots);
  backward_text(p);
}

static void report(const struct pass *p, struct step_loss *out) {
  *out = (struct step_loss){.instance = p->term[SLOT_INSTANCE], .prior = p->term[SLOT_PRIOR], .pdm = p->term[SLOT_PDM]};
  out->total = out->instance + p->o->prior_weight * out->prior + p->o->pdm_weight * out->pdm;
}

static bool run(struct pass *p, struct step_loss *out, struct err *e) {
  if (p->n < 1 || p->n > STEP_MAX_SLOTS)
    return err_set(e, ERR_USAGE, "%d pictures in one pass: at most %d are possible, choose a smaller batch", p->n, (int)STEP_MAX_SLOTS);
  p->c->err = e;
  forward(p);
  noise_loss(p);
  ctx_free(p->c, &p->mask);
  ctx_free(p->c, &p->target);
  ctx_free(p->c, &p->pred);
  pdm_loss(p);
  if (p->train) backward(p);
  report(p, out);
  return ctx_ok(p->c);
}

bool train_step(struct ctx *c, struct model *m, const struct slot *slots, int n, int examples, int h, int w, const struct step_options *o,
                struct step_loss *out, struct err *e) {
  struct pass p = {.c = c, .m = m, .slot = slots, .n = n, .examples = examples, .h = h, .w = w, .o = o, .train = true};
  return run(&p, out, e);
}

bool eval_step(struct ctx *c, struct model *m, const struct slot *slots, int n, int examples, int h, int w, const struct step_options *o,
               struct step_loss *out, struct err *e) {
  struct pass p = {.c = c, .m = m, .slot = slots, .n = n, .examples = examples, .h = h, .w = w, .o = o};
  return run(&p, out, e);
}
