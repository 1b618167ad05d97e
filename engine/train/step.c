/* One training step on explicit inputs (step.h): method.md section 4.
 *
 * All slots of all examples go through the UNet as one batch; each has a timestep of its own. A prompt that several slots share is
 * embedded once and its rows copied; on the way back the gradients of equal rows are summed.
 *
 *   x_t = sqrt(abar_t) z + sqrt(1 - abar_t) eps                  target: eps, or v = sqrt(abar_t) eps - sqrt(1 - abar_t) z
 *   L   = mean over examples of (w_snr L_inst + prior_weight w_snr L_prior + pdm_weight L_pdm)
 *
 * The pdm slots have no noise loss: their rows of the prediction's gradient are zero, and only their rows of Q enter L_pdm.
 *
 * First everything that comes from the host goes to the device (inputs), then all of it is computed (compute) without a word from the host, and the
 * losses stay on the device until somebody reads them. */
#include "train/step.h"

#include <math.h>
#include <string.h>

enum { STEP_TOKENS = 77 };

struct pass {
  struct ctx *c;
  struct model *m;
  const struct slot *slot;
  int n, examples, h, w;
  const struct step_options *o;
  bool train;

  int row[STEP_MAX_SLOTS]; /* slot -> row of ids */
  int rows;                /* distinct prompts */
  int pdm;                 /* slots with a pdm loss */

  /* Inputs, there from before compute until after it. */
  struct tensor ids, time;    /* [rows, 77] I32; unet_time_input */
  struct tensor x, target;    /* [n, h, w, c] F32 */
  struct tensor mask;         /* [n, h w] F32, empty: every element counts */
  struct tensor weight;       /* [2, n] F32: of the gradients of a slot's noise loss, of its pdm loss */
  struct tensor qstar, qmask; /* [pdm, tokens, channels], [pdm, tokens] F32 */
  struct tensor loss;         /* [n] numbers of 64 bits: of the noise, or of Q in a pdm slot */

  struct tensor text;        /* [rows, 77, width] activations' type */
  struct tensor text_slots;  /* [n, 77, width]: rows of text, one a slot */
  struct tensor pred, dpred; /* [n, h, w, c] activations' type */
  struct tensor dtext_slots; /* [n, 77, width] F32 */
  struct unet_tap tap;
  struct clip_tape *clip_tape;
  struct unet_tape *unet_tape;
};

/* --- inputs --------------------------------------------------------------------------------------------------------------------------- */

/* Distinct prompts: row[] and the ids of each in ids [rows, 77]. */
static void find_rows(struct pass *p, int32_t *ids) {
  for (int i = 0; i < p->n; i++) {
    int r = 0;
    while (r < p->rows && memcmp(ids + (ptrdiff_t)r * STEP_TOKENS, p->slot[i].ids, STEP_TOKENS * sizeof *ids) != 0) r++;
    if (r == p->rows) memcpy(ids + (ptrdiff_t)p->rows++ * STEP_TOKENS, p->slot[i].ids, STEP_TOKENS * sizeof *ids);
    p->row[i] = r;
  }
}

static void upload_ids(struct pass *p) {
  int32_t ids[STEP_MAX_SLOTS * STEP_TOKENS];
  find_rows(p, ids);
  p->ids = ctx_new_2d(p->c, DT_I32, p->rows, STEP_TOKENS);
  if (!p->c->failed) p->c->b->op->upload(p->c->b, p->ids.data, ids, tensor_bytes(&p->ids));
}

static void upload_times(struct pass *p) {
  float t[STEP_MAX_SLOTS];
  for (int i = 0; i < p->n; i++) t[i] = (float)p->slot[i].t;
  p->time = unet_time_input(p->c, p->m->unet, t, p->n);
}

/* Fills row i of x with the noisy latents, row i of target with what the network should say. z: a buffer for one picture. */
static void noisy_slot(struct pass *p, int i, struct tensor *z) {
  const struct slot *s = p->slot + i;
  struct backend *b = p->c->b;
  struct tensor x = tensor_slice(p->x, i, 1), target = tensor_slice(p->target, i, 1);
  float abar = (float)p->m->schedule.abar[s->t], signal = sqrtf(abar), noise = sqrtf(1 - abar);
  struct tensor from = *z;
  if (s->device_latents)
    from.data = s->device_latents;
  else
    b->op->upload(b, z->data, s->latents, tensor_bytes(z));
  b->op->upload(b, target.data, s->noise, tensor_bytes(&target));
  b->op->axpby(b, &x, signal, &from, 0);
  b->op->axpby(b, &x, noise, &target, 1);
  if (p->m->schedule.prediction == PREDICT_V) b->op->axpby(b, &target, -noise, &from, signal);
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

/* Weight of a slot's term in L, without the gradient's scale. */
static double slot_weight(const struct pass *p, const struct slot *s) {
  double snr = p->o->min_snr > 0 && s->kind != SLOT_PDM ? schedule_min_snr(&p->m->schedule, s->t, p->o->min_snr) : 1;
  double of_kind = s->kind == SLOT_PRIOR ? p->o->prior_weight : s->kind == SLOT_PDM ? p->o->pdm_weight : 1;
  return snr * of_kind / p->examples;
}

static void upload_weights(struct pass *p) {
  float weight[2 * STEP_MAX_SLOTS] = {0};
  for (int i = 0; i < p->n; i++) {
    const struct slot *s = p->slot + i;
    weight[s->kind == SLOT_PDM ? p->n + i : i] = (float)(slot_weight(p, s) * p->o->grad_scale);
  }
  p->weight = ctx_new_2d(p->c, DT_F32, 2, p->n);
  if (!p->c->failed) p->c->b->op->upload(p->c->b, p->weight.data, weight, tensor_bytes(&p->weight));
}

/* The i-th pdm slot: number k in qstar and qmask. */
static void upload_pdm_slot(struct pass *p, const struct slot *s, int k) {
  struct backend *b = p->c->b;
  struct tensor target = tensor_slice(p->qstar, k, 1), mask = tensor_slice(p->qmask, k, 1);
  b->op->upload(b, target.data, s->qstar, tensor_bytes(&target));
  if (s->mask) b->op->upload(b, mask.data, s->mask, tensor_bytes(&mask));
}

static void upload_pdm(struct pass *p) {
  int gh, gw, k = 0;
  for (int i = 0; i < p->n; i++) p->pdm += p->slot[i].kind == SLOT_PDM && p->o->pdm_handle >= 0;
  if (p->pdm == 0) return;
  unet_pdm_grid(p->m->unet, p->o->pdm_handle, p->h, p->w, &gh, &gw);
  p->qstar = ctx_new_3d(p->c, DT_F32, p->pdm, (int64_t)gh * gw, unet_pdm_channels(p->m->unet, p->o->pdm_handle));
  p->qmask = ctx_new_2d(p->c, DT_F32, p->pdm, (int64_t)gh * gw);
  for (int i = 0; i < p->n && !p->c->failed; i++)
    if (p->slot[i].kind == SLOT_PDM) upload_pdm_slot(p, p->slot + i, k++);
}

static void inputs(struct pass *p) {
  make_noisy(p);
  upload_masks(p);
  upload_weights(p);
  upload_pdm(p);
  upload_ids(p);
  upload_times(p);
}

static void inputs_end(struct pass *p) {
  struct tensor *const all[] = {&p->time, &p->ids, &p->qmask, &p->qstar, &p->weight, &p->mask, &p->target, &p->x};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) ctx_free(p->c, all[i]);
}

/* --- forward -------------------------------------------------------------------------------------------------------------------------- */

static void embed_prompts(struct pass *p) {
  bool graph = p->train && p->o->train_text;
  p->text = clip_forward_ids(p->c, p->m->text, &p->ids, graph ? &p->clip_tape : NULL);
  p->text_slots = ctx_new_3d(p->c, p->text.type, p->n, p->text.dim[1], p->text.dim[2]);
  if (p->c->failed) return;
  for (int i = 0; i < p->n; i++) {
    struct tensor from = tensor_slice(p->text, p->row[i], 1), to = tensor_slice(p->text_slots, i, 1);
    p->c->b->op->move(p->c->b, to.data, from.data, tensor_bytes(&from));
  }
  ctx_free(p->c, &p->text);
}

static void forward(struct pass *p) {
  embed_prompts(p);
  struct unet_options options = {.recompute = p->o->recompute, .recompute_blocks = p->o->recompute_blocks};
  p->tap = (struct unet_tap){.handle = p->pdm > 0 ? p->o->pdm_handle : -1};
  p->pred = unet_forward_at(p->c, p->m->unet, &p->x, &p->time, &p->text_slots, &p->tap, &options, p->train ? &p->unet_tape : NULL);
  if (!p->train) ctx_free(p->c, &p->text_slots);
}

/* L_inst and L_prior; dpred, where training. */
static void noise_loss(struct pass *p) {
  if (p->train) p->dpred = ctx_like(p->c, &p->pred);
  if (p->c->failed) return;
  struct tensor *mask = p->mask.rank > 0 ? &p->mask : NULL;
  p->c->b->op->mse(p->c->b, p->loss.data, p->train ? &p->dpred : NULL, &p->pred, &p->target, mask, p->weight.data);
  ctx_free(p->c, &p->pred);
}

/* One pdm slot, number k of them: its rows of Q against Q*. */
static void pdm_slot(struct pass *p, int i, int k) {
  struct backend *b = p->c->b;
  struct tensor q = tensor_slice(p->tap.q, i, 1), dq = {0}, target = tensor_slice(p->qstar, k, 1), mask = tensor_slice(p->qmask, k, 1);
  if (p->train) dq = tensor_slice(p->tap.dq, i, 1);
  b->op->mse(b, (double *)p->loss.data + i, p->train ? &dq : NULL, &q, &target, p->slot[i].mask ? &mask : NULL,
             (const float *)p->weight.data + p->n + i);
}

static void pdm_loss(struct pass *p) {
  int k = 0;
  if (p->pdm == 0) return;
  if (p->train) p->tap.dq = ctx_like(p->c, &p->tap.q);
  if (p->train && !p->c->failed) p->c->b->op->fill(p->c->b, &p->tap.dq, 0);
  for (int i = 0; i < p->n && !p->c->failed; i++)
    if (p->slot[i].kind == SLOT_PDM) pdm_slot(p, i, k++);
  ctx_free(p->c, &p->tap.q);
}

/* --- backward ------------------------------------------------------------------------------------------------------------------------- */

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

/* Everything between the inputs and the losses. What it takes from the pool it gives back. */
static void compute(struct ctx *c, void *user) {
  struct pass *p = user;
  (void)c;
  forward(p);
  noise_loss(p);
  pdm_loss(p);
  if (p->train) backward(p);
}

/* --- as a part (backend.h) ------------------------------------------------------------------------------------------------------------ */

/* What the calls of compute depend on. */
struct part_key {
  const char *what;
  const struct model *m;
  const void *base, *input[9];
  uint64_t pool, frozen;
  float strength[2]; /* of the adapters */
  int32_t n, h, w, act, train, train_text, recompute, recompute_blocks, handle, rows;
  struct {
    uint8_t pdm, masked, row;
  } slot[STEP_MAX_SLOTS];
};

static void make_key(const struct pass *p, struct part_key *k) {
  struct model *m = p->m;
  const struct lora_set *lora[2] = {unet_lora(m->unet), clip_lora(m->text)};
  const struct tensor *const input[9] = {&p->ids, &p->time, &p->x, &p->target, &p->mask, &p->weight, &p->qstar, &p->qmask, &p->loss};
  memset(k, 0, sizeof *k);
  k->what = "step";
  k->m = m;
  k->base = pool_base(p->c->pool);
  k->pool = pool_fingerprint(p->c->pool);
  k->frozen = param_set_frozen(unet_params(m->unet)) * 31 + param_set_frozen(clip_params(m->text));
  for (int i = 0; i < 9; i++) k->input[i] = input[i]->data;
  for (int i = 0; i < 2; i++) k->strength[i] = lora[i] ? lora[i]->strength : 0;
  k->n = p->n, k->h = p->h, k->w = p->w, k->act = (int32_t)p->c->act, k->train = p->train, k->train_text = p->o->train_text;
  k->recompute = p->o->recompute, k->recompute_blocks = p->o->recompute_blocks, k->handle = p->o->pdm_handle, k->rows = p->rows;
  for (int i = 0; i < p->n; i++) {
    k->slot[i].pdm = p->slot[i].kind == SLOT_PDM;
    k->slot[i].masked = p->slot[i].mask != NULL;
    k->slot[i].row = (uint8_t)p->row[i];
  }
}

/* Whoever keeps weights elsewhere brings them in the middle of a pass: that is none. */
static void compute_part(struct pass *p) {
  struct part_key k;
  if (unet_params(p->m->unet)->keeper || clip_params(p->m->text)->keeper) {
    compute(p->c, p);
    return;
  }
  make_key(p, &k);
  ctx_part(p->c, &k, sizeof k, compute, p);
}

/* --- losses --------------------------------------------------------------------------------------------------------------------------- */

void step_terms(const struct model *m, const struct slot *slots, int n, int examples, const struct step_options *o,
                struct step_terms *out) {
  *out = (struct step_terms){.n = n < STEP_MAX_SLOTS ? n : STEP_MAX_SLOTS, .examples = examples};
  out->prior_weight = o->prior_weight;
  out->pdm_weight = o->pdm_weight;
  for (int i = 0; i < out->n; i++) {
    const struct slot *s = slots + i;
    bool none = s->kind == SLOT_PDM && o->pdm_handle < 0;
    bool weighted = s->kind != SLOT_PDM && o->min_snr > 0;
    out->slot[i] = (struct step_term){none ? SLOT_KINDS : s->kind, weighted ? schedule_min_snr(&m->schedule, s->t, o->min_snr) : 1};
  }
}

void step_losses(const struct step_terms *t, const double *loss, struct step_loss *out) {
  double term[SLOT_KINDS + 1] = {0};
  for (int i = 0; i < t->n; i++) term[t->slot[i].kind] += t->slot[i].snr * loss[i] / t->examples;
  *out = (struct step_loss){.instance = term[SLOT_INSTANCE], .prior = term[SLOT_PRIOR], .pdm = term[SLOT_PDM]};
  out->total = out->instance + t->prior_weight * out->prior + t->pdm_weight * out->pdm;
}

/* --- a step --------------------------------------------------------------------------------------------------------------------------- */

static bool run(struct pass *p, struct err *e) {
  if (p->n < 1 || p->n > STEP_MAX_SLOTS)
    return err_set(e, ERR_USAGE, "%d pictures in one pass: at most %d are possible, choose a smaller batch", p->n, (int)STEP_MAX_SLOTS);
  p->c->err = e;
  p->loss = ctx_new_2d(p->c, DT_F32, p->n, sizeof(double) / sizeof(float));
  inputs(p);
  compute_part(p);
  inputs_end(p);
  return ctx_ok(p->c);
}

static bool run_and_read(struct pass *p, struct step_loss *out, struct err *e) {
  struct step_terms t;
  double loss[STEP_MAX_SLOTS] = {0};
  step_terms(p->m, p->slot, p->n, p->examples, p->o, &t);
  bool ok = run(p, e);
  if (ok) p->c->b->op->download(p->c->b, loss, p->loss.data, (size_t)p->n * sizeof *loss);
  ctx_free(p->c, &p->loss);
  step_losses(&t, loss, out);
  return ok && ctx_ok(p->c);
}

bool train_step_later(struct ctx *c, struct model *m, const struct slot *slots, int n, int examples, int h, int w,
                      const struct step_options *o, double *loss, struct err *e) {
  struct pass p = {.c = c, .m = m, .slot = slots, .n = n, .examples = examples, .h = h, .w = w, .o = o, .train = true};
  bool ok = run(&p, e);
  if (ok) c->b->op->move(c->b, loss, p.loss.data, (size_t)n * sizeof *loss);
  ctx_free(c, &p.loss);
  return ok && ctx_ok(c);
}

bool train_step(struct ctx *c, struct model *m, const struct slot *slots, int n, int examples, int h, int w, const struct step_options *o,
                struct step_loss *out, struct err *e) {
  struct pass p = {.c = c, .m = m, .slot = slots, .n = n, .examples = examples, .h = h, .w = w, .o = o, .train = true};
  return run_and_read(&p, out, e);
}

bool eval_step(struct ctx *c, struct model *m, const struct slot *slots, int n, int examples, int h, int w, const struct step_options *o,
               struct step_loss *out, struct err *e) {
  struct pass p = {.c = c, .m = m, .slot = slots, .n = n, .examples = examples, .h = h, .w = w, .o = o};
  return run_and_read(&p, out, e);
}
