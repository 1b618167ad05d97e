/* Ten AdamW steps from given inputs, full fine-tune and LoRA, against tests/reference/dump_training.py. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity.h"
#include "train/optimizer.h"
#include "train/step.h"

enum { TOKENS = 77, STEPS = 10, NAME = 256, MAX_SLOTS = 12 };

struct run {
  struct rig g;
  struct st_file *f;
  const char *name;
  struct optimizer opt;
  struct lora_spec unet_spec, text_spec;
  int batch, accumulation, kinds, h, w, channels, handle;
  enum slot_kind kind[SLOT_KINDS];
  bool lora, text;
  double min_snr;
};

static double number(const struct st_file *f, const char *key, double fallback) {
  if (!dump_has(f, "config.%s", key)) return fallback;
  float *x = dump_floats(f, NULL, "config.%s", key);
  double v = x[0];
  free(x);
  return v;
}

static bool any_named(const struct st_file *f, const char *prefix) {
  for (int i = 0; i < st_count(f); i++)
    if (strncmp(st_at(f, i)->name, prefix, strlen(prefix)) == 0) return true;
  return false;
}

static void read_config(struct run *q, const char *model, struct model_want *want) {
  static const char *const names[SLOT_KINDS] = {"instance", "prior", "pdm"};
  const int64_t *d = dump_shape(q->f, "step.0.latents");
  q->batch = (int)number(q->f, "batch", 1);
  q->accumulation = (int)number(q->f, "accumulation", 1);
  q->min_snr = number(q->f, "snr_gamma", 0);
  q->channels = (int)d[2], q->h = (int)d[3], q->w = (int)d[4];
  for (int k = 0; k < SLOT_KINDS; k++)
    if (dump_has(q->f, "loss.%s", names[k])) q->kind[q->kinds++] = (enum slot_kind)k;
  q->lora = dump_has(q->f, "config.rank");
  q->text = any_named(q->f, "final.text_encoder.");
  int rank = (int)number(q->f, "rank", 0);
  float alpha = (float)number(q->f, "alpha", 0);
  q->unet_spec = (struct lora_spec){rank, alpha, 4, {"to_q", "to_k", "to_v", "to_out.0"}};
  q->text_spec = (struct lora_spec){rank, alpha, 4, {"q_proj", "k_proj", "v_proj", "out_proj"}};
  *want = (struct model_want){.train_unet = !q->lora, .train_text = !q->lora && q->text};
  if (q->lora) want->unet_lora = &q->unet_spec;
  if (q->lora && q->text) want->text_lora = &q->text_spec;
  (void)model;
}

static void set_adapters(struct run *q, struct lora_set *s, const char *network) {
  float *w = calloc((size_t)s->params->count, sizeof *w);
  for (int i = 0; i < s->n; i++) {
    const struct param *a = s->module[i].a;
    float *x = dump_floats(q->f, NULL, "init.%s.%s", network, a->name);
    memcpy(w + a->offset, x, (size_t)a->count * sizeof *w);
    free(x);
  }
  q->g.b->op->upload(q->g.b, s->params->w, w, (size_t)s->params->count * sizeof *w);
  param_set_changed(s->params);
  free(w);
}

static int trained_sets(struct run *q, struct param_set *sets[2]) {
  struct model *m = q->g.m;
  sets[0] = q->lora ? unet_lora(m->unet)->params : unet_params(m->unet);
  if (!q->text) return 1;
  sets[1] = q->lora ? clip_lora(m->text)->params : clip_params(m->text);
  return 2;
}

static bool prepare(struct run *q, struct report *r, const char *model) {
  struct model_want want;
  struct param_set *sets[2];
  char layer[NAME];
  read_config(q, model, &want);
  if (!rig_open(&q->g, r, model, &want)) return false;
  if (q->lora) set_adapters(q, unet_lora(q->g.m->unet), "unet");
  if (q->lora && q->text) set_adapters(q, clip_lora(q->g.m->text), "text_encoder");
  if (!unet_pdm_layer(q->g.m->unet, NULL, layer, sizeof layer, &q->handle, &q->g.err)) return false;
  int n = trained_sets(q, sets);
  if (!optimizer_init(&q->opt, q->g.b, sets, n, DT_F32, false, 0, &q->g.err)) return false;
  q->opt.beta1 = 0.9f, q->opt.beta2 = 0.999f, q->opt.eps = 1e-8f, q->opt.weight_decay = 1e-2f;
  q->opt.max_norm = (float)number(q->f, "max_grad_norm", 1);
  return true;
}

/* Host arrays of one micro-batch. */
struct inputs {
  float *latents, *noise, *t, *qstar, *mask_dm, *mask_pdm;
  int32_t *ids;
  struct slot slot[MAX_SLOTS];
  int n;
};

static float *pictures(const struct run *q, int i, const char *what) {
  int64_t n;
  float *x = dump_floats(q->f, &n, "step.%d.%s", i, what), *y = malloc((size_t)n * sizeof *y);
  to_nhwc(y, x, q->kinds * q->batch, q->channels, q->h, q->w);
  free(x);
  return y;
}

static void read_inputs(const struct run *q, int i, struct inputs *in) {
  int64_t elements = (int64_t)q->h * q->w * q->channels, n_q;
  *in = (struct inputs){.latents = pictures(q, i, "latents"),
                        .noise = pictures(q, i, "noise"),
                        .t = dump_floats(q->f, NULL, "step.%d.timesteps", i),
                        .ids = dump_ints(q->f, NULL, "step.%d.ids", i),
                        .qstar = dump_floats(q->f, &n_q, "step.%d.qstar", i)};
  if (dump_has(q->f, "step.%d.mask_dm", i)) in->mask_dm = dump_floats(q->f, NULL, "step.%d.mask_dm", i);
  if (dump_has(q->f, "step.%d.mask_pdm", i)) in->mask_pdm = dump_floats(q->f, NULL, "step.%d.mask_pdm", i);
  for (int k = 0; k < q->kinds; k++)
    for (int b = 0; b < q->batch; b++) {
      int64_t at = k * q->batch + b, hw = (int64_t)q->h * q->w;
      struct slot *s = &in->slot[in->n++];
      *s = (struct slot){.kind = q->kind[k],
                         .example = b,
                         .t = (int)in->t[at],
                         .ids = in->ids + at * TOKENS,
                         .latents = in->latents + at * elements,
                         .noise = in->noise + at * elements};
      if (s->kind == SLOT_INSTANCE && in->mask_dm) s->mask = in->mask_dm + b * hw;
      if (s->kind == SLOT_PDM && in->mask_pdm) s->mask = in->mask_pdm + b * hw;
      if (s->kind == SLOT_PDM) s->qstar = in->qstar + b * (n_q / q->batch);
    }
}

static void free_inputs(struct inputs *in) {
  free(in->latents);
  free(in->noise);
  free(in->t);
  free(in->ids);
  free(in->qstar);
  free(in->mask_dm);
  free(in->mask_pdm);
}

struct history {
  float loss[SLOT_KINDS + 1][4 * STEPS], norm[STEPS];
};

static bool micro_batch(struct run *q, int i, struct history *h) {
  struct inputs in;
  struct step_loss loss;
  struct step_options o = {.prior_weight = 1,
                           .pdm_weight = 0.1,
                           .min_snr = q->min_snr,
                           .train_text = q->text,
                           .pdm_handle = q->handle,
                           .grad_scale = 1.0f / (float)q->accumulation};
  read_inputs(q, i, &in);
  bool ok = train_step(&q->g.c, q->g.m, in.slot, in.n, q->batch, q->h, q->w, &o, &loss, &q->g.err);
  h->loss[SLOT_INSTANCE][i] = (float)loss.instance;
  h->loss[SLOT_PRIOR][i] = (float)loss.prior;
  h->loss[SLOT_PDM][i] = (float)loss.pdm;
  h->loss[SLOT_KINDS][i] = (float)loss.total;
  free_inputs(&in);
  return ok;
}

static bool steps(struct run *q, struct history *h) {
  float *lr = dump_floats(q->f, NULL, "lr");
  bool ok = true;
  for (int s = 0; ok && s < STEPS; s++) {
    for (int a = 0; ok && a < q->accumulation; a++) ok = micro_batch(q, s * q->accumulation + a, h);
    double norm = ok ? optimizer_norm(&q->opt) : 0;
    h->norm[s] = (float)norm;
    ok = ok && optimizer_step(&q->opt, lr[s], norm, &q->g.err);
  }
  free(lr);
  return ok;
}

/* Largest relative error of a sequence, element by element. */
static void sequence(struct report *r, const char *name, const float *have, const float *want, int n, double tolerance) {
  double max = 0, relative = 0;
  for (int i = 0; i < n; i++) {
    double d = fabs((double)have[i] - want[i]), rel = want[i] != 0 ? d / fabs(want[i]) : d;
    if (!(d <= max)) max = d;
    if (!(rel <= relative)) relative = rel;
  }
  row(r, name, max, relative, tolerance);
}

/* Parameters after the ten steps: the difference, over the distance that all have moved. What rounding alone does to a parameter whose gradient is
   mathematically zero (Adam divides rounding noise by itself) is allowed for: the dump has it from a run in fp64. */
static void finals(struct report *r, struct run *q) {
  int64_t n_params;
  float *change = dump_floats(q->f, &n_params, "final_change"), *spread = dump_floats(q->f, NULL, "final_spread");
  double moved = norm_of(change, n_params), noise = norm_of(spread, n_params), diff = 0, max = 0;
  struct param_set *sets[2];
  int n = trained_sets(q, sets);
  for (int k = 0; k < n; k++) {
    float *w = model_weights(q->g.b, sets[k], &q->g.err);
    for (int i = 0; i < sets[k]->n; i++) {
      const struct param *p = sets[k]->p[i];
      const char *network = k ? "text_encoder" : "unet";
      if (!dump_has(q->f, "final.%s.%s", network, p->name)) continue;
      float *want = dump_floats(q->f, NULL, "final.%s.%s", network, p->name);
      for (int64_t e = 0; e < p->count; e++) {
        double d = (double)w[p->offset + e] - want[e];
        diff += d * d;
        if (fabs(d) > max) max = fabs(d);
      }
      free(want);
    }
    free(w);
  }
  char name[NAME];
  snprintf(name, sizeof name, "%s parameters after 10 steps", q->name);
  row(r, name, max, sqrt(diff) / moved, 1e-3 + 2 * noise / moved);
  free(change);
  free(spread);
}

void parity_training(struct report *r, const char *case_name) {
  static const struct {
    const char *name, *model;
  } models[] = {{"full", "sd1"}, {"full_batch", "sd2"}, {"lora", "sd1"}, {"lora_text", "sd2"}};
  static const char *const terms[SLOT_KINDS + 1] = {"instance", "prior", "pdm", "total"};
  const char *model = "sd1";
  for (size_t i = 0; i < sizeof models / sizeof *models; i++)
    if (strcmp(models[i].name, case_name) == 0) model = models[i].model;
  char file[NAME], name[NAME];
  snprintf(file, sizeof file, "training_%s.safetensors", case_name);
  struct run q = {.name = case_name, .f = dump_open(file)};
  struct history h = {0};
  if (prepare(&q, r, model) && steps(&q, &h)) {
    for (int k = 0; k <= SLOT_KINDS; k++) {
      if (!dump_has(q.f, "loss.%s", terms[k])) continue;
      float *want = dump_floats(q.f, NULL, "loss.%s", terms[k]);
      snprintf(name, sizeof name, "%s: 10 AdamW steps, %s loss", case_name, terms[k]);
      sequence(r, name, h.loss[k], want, STEPS * q.accumulation, 1e-4);
      free(want);
    }
    float *norm = dump_floats(q.f, NULL, "grad_norm");
    snprintf(name, sizeof name, "%s: 10 AdamW steps, gradient norm", case_name);
    sequence(r, name, h.norm, norm, STEPS, 1e-3);
    free(norm);
    finals(r, &q);
  } else {
    row_error(r, case_name, &q.g.err);
  }
  optimizer_release(&q.opt);
  rig_close(&q.g);
  st_close(q.f);
}
