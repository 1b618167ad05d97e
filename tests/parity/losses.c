/* Loss terms with masks, their gradients, and masks at latent size, against tests/reference/dump_losses.py; weights in other dialects. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity.h"
#include "train/mask.h"

enum { NAME = 256 };

struct terms {
  struct report *r;
  struct rig g;
  struct st_file *f;
  int64_t n, c, h, w;
};

/* NCHW of the dump as [n, h w, c] in the pool. */
static struct tensor upload(struct terms *q, const float *nchw) {
  float *x = malloc((size_t)(q->n * q->c * q->h * q->w) * sizeof *x);
  to_nhwc(x, nchw, q->n, q->c, q->h, q->w);
  struct tensor t = ctx_upload(&q->g.c, DT_F32, 3, (int64_t[]){q->n, q->h * q->w, q->c}, x);
  free(x);
  return t;
}

/* Noise or v of the dump's inputs, with offset noise where asked for. */
static float *goal(struct terms *q, bool v, bool offset) {
  int64_t count, per = q->c * q->h * q->w, plane = q->h * q->w;
  float *eps = dump_floats(q->f, &count, "loss.noise"), *z = dump_floats(q->f, NULL, "loss.z"),
        *off = dump_floats(q->f, NULL, "loss.offset");
  float *t = dump_floats(q->f, NULL, "loss.timesteps");
  for (int64_t i = 0; i < count; i++) {
    double abar = q->g.m->schedule.abar[(int)t[i / per]];
    if (offset) eps[i] += 0.1f * off[i / plane];
    if (v) eps[i] = (float)(sqrt(abar) * eps[i] - sqrt(1 - abar) * z[i]);
  }
  free(z);
  free(off);
  free(t);
  return eps;
}

static void weights(struct terms *q, bool v, bool snr, float *out) {
  float *t = dump_floats(q->f, NULL, "loss.timesteps");
  struct schedule s = q->g.m->schedule;
  s.prediction = v ? PREDICT_V : PREDICT_EPSILON;
  for (int i = 0; i < q->n; i++) out[i] = (snr ? (float)schedule_min_snr(&s, (int)t[i], 5) : 1.0f) / (float)q->n;
  free(t);
}

/* mse with weights and losses [n] of the host. */
static void loss_of(struct terms *q, double *loss, struct tensor *d, const struct tensor *p, const struct tensor *t, const struct tensor *mask,
                    const float *weight) {
  struct backend *b = q->g.b;
  struct tensor w = ctx_upload(&q->g.c, DT_F32, 1, p->dim, weight), l = ctx_new_2d(&q->g.c, DT_F32, p->dim[0], 2);
  b->op->mse(b, l.data, d, p, t, mask, w.data);
  b->op->download(b, loss, l.data, tensor_bytes(&l));
  ctx_free(&q->g.c, &l);
  ctx_free(&q->g.c, &w);
}

static void one_term(struct terms *q, bool v, bool masked, bool snr, bool offset) {
  char key[NAME], name[NAME];
  int64_t count;
  double loss[8], sum = 0;
  float weight[8];
  snprintf(key, sizeof key, "loss.%s.mask%d.snr%d.offset%d", v ? "v" : "epsilon", masked, snr, offset);
  float *want = dump_floats(q->f, NULL, "%s.value", key), *grad = dump_floats(q->f, &count, "%s.gradient", key);
  float *pred = dump_floats(q->f, NULL, "loss.pred"), *mask = dump_floats(q->f, NULL, "loss.mask"), *target = goal(q, v, offset);
  float *have = malloc((size_t)count * sizeof *have), *nchw = malloc((size_t)count * sizeof *nchw);
  weights(q, v, snr, weight);
  struct tensor p = upload(q, pred), t = upload(q, target), d = ctx_like(&q->g.c, &p),
                m = ctx_upload(&q->g.c, DT_F32, 2, (int64_t[]){q->n, q->h * q->w}, mask);
  loss_of(q, loss, &d, &p, &t, masked ? &m : NULL, weight);
  for (int i = 0; i < q->n; i++) sum += weight[i] * loss[i];
  ctx_download(&q->g.c, have, &d);
  to_nchw(nchw, have, q->n, q->c, q->h, q->w);
  snprintf(name, sizeof name, "%s value", key);
  row(q->r, name, fabs(sum - want[0]), fabs(sum - want[0]) / fabs(want[0]), 1e-5);
  snprintf(name, sizeof name, "%s gradient", key);
  row_compare(q->r, name, nchw, grad, count, 0, 1e-5);
  struct tensor *all[4] = {&p, &t, &d, &m};
  for (int i = 0; i < 4; i++) ctx_free(&q->g.c, all[i]);
  free(want), free(grad), free(pred), free(mask), free(target), free(have), free(nchw);
}

static void pdm_term(struct terms *q, bool masked) {
  char name[NAME];
  int64_t count;
  const int64_t *d = dump_shape(q->f, "pdm.q");
  double loss[8], sum = 0;
  float weight[8];
  float *x = dump_floats(q->f, &count, "pdm.q"), *s = dump_floats(q->f, NULL, "pdm.qstar"), *mask = dump_floats(q->f, NULL, "pdm.mask");
  float *want = dump_floats(q->f, NULL, "pdm.mask%d.value", masked), *grad = dump_floats(q->f, NULL, "pdm.mask%d.gradient", masked),
        *have = malloc((size_t)count * sizeof *have);
  struct tensor p = ctx_upload(&q->g.c, DT_F32, 3, d, x), t = ctx_upload(&q->g.c, DT_F32, 3, d, s), g = ctx_like(&q->g.c, &p),
                m = ctx_upload(&q->g.c, DT_F32, 2, d, mask);
  for (int i = 0; i < d[0]; i++) weight[i] = 1.0f / (float)d[0];
  loss_of(q, loss, &g, &p, &t, masked ? &m : NULL, weight);
  for (int i = 0; i < d[0]; i++) sum += weight[i] * loss[i];
  ctx_download(&q->g.c, have, &g);
  snprintf(name, sizeof name, "pdm.mask%d value", masked);
  row(q->r, name, fabs(sum - want[0]), fabs(sum - want[0]) / fabs(want[0]), 1e-5);
  snprintf(name, sizeof name, "pdm.mask%d gradient", masked);
  row_compare(q->r, name, have, grad, count, 0, 1e-5);
  struct tensor *all[4] = {&p, &t, &g, &m};
  for (int i = 0; i < 4; i++) ctx_free(&q->g.c, all[i]);
  free(x), free(s), free(mask), free(want), free(grad), free(have);
}

/* Masks brought to the grid of the latents: every element equal. */
static void masks(struct terms *q) {
  static const char *const names[] = {"blob64", "rect48x80", "thin64", "sparse32", "same8", "sparse40x24", "sparse96", "up6"};
  int different = 0;
  for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
    const int64_t *in = dump_shape(q->f, "mask.%s.in", names[k]), *out = dump_shape(q->f, "mask.%s.out", names[k]);
    int64_t n;
    float *px = dump_floats(q->f, &n, "mask.%s.in", names[k]), *want = dump_floats(q->f, NULL, "mask.%s.out", names[k]),
          *have = malloc((size_t)(out[0] * out[1]) * sizeof *have);
    struct image im;
    if (!image_new(&im, (int)in[1], (int)in[0], 1)) return;
    for (int64_t i = 0; i < n; i++) im.px[i] = (unsigned char)px[i];
    mask_to_grid(&im, 0, 0, im.w, im.h, false, (int)out[1], (int)out[0], have);
    for (int64_t i = 0; i < out[0] * out[1]; i++) different += have[i] != want[i];
    image_release(&im);
    free(px), free(want), free(have);
  }
  row(q->r, "masks at latent size, elements that differ", different, different, 0);
}

void parity_losses(struct report *r) {
  struct terms q = {.r = r, .f = dump_open("losses.safetensors")};
  const int64_t *d = dump_shape(q.f, "loss.z");
  q.n = d[0], q.c = d[1], q.h = d[2], q.w = d[3];
  if (rig_open(&q.g, r, "sd1", NULL)) {
    for (int i = 0; i < 16; i++) one_term(&q, i & 8, i & 4, i & 2, i & 1);
    pdm_term(&q, false);
    pdm_term(&q, true);
    masks(&q);
  } else {
    row_error(r, "losses", &q.g.err);
  }
  rig_close(&q.g);
  st_close(q.f);
}

/* --- dialects: other names, shards and dtypes must load to the same floats --------------------------------------------------------- */

/* Largest difference between two loads of one network's parameters; -1 and the error's row when one cannot be loaded. */
static void dialect(struct report *r, struct rig *g, struct param_set *p, const char *folder, const char *base, const char *network,
                    double tolerance) {
  char name[NAME];
  struct source s;
  snprintf(name, sizeof name, "dialects/%s loads to the same weights", folder);
  source_dir(&s, data_path("dialects"));
  float *want = model_weights(g->b, p, &g->err), *have = NULL;
  struct st_set *files = st_set_open(&s, folder, base, &g->err);
  bool ok = files && model_load_params(g->b, p, files, network, &g->err) && (have = model_weights(g->b, p, &g->err)) != NULL;
  if (ok)
    row_compare(r, name, have, want, p->count, 0, tolerance);
  else
    row_error(r, name, &g->err);
  if (files) st_set_close(files);
  free(want);
  free(have);
}

void parity_dialects(struct report *r) {
  static const struct {
    const char *folder;
    bool vae;
    double tolerance;
  } all[] = {{"text_encoder_other", false, 0},
             {"text_encoder_bf16", false, 4e-3},
             {"vae_old_conv", true, 0},
             {"vae_old_linear", true, 0},
             {"vae_sharded", true, 0}};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    struct rig g;
    if (!rig_open(&g, r, "sd1", NULL))
      row_error(r, all[i].folder, &g.err);
    else if (all[i].vae)
      dialect(r, &g, vae_params(g.m->vae), all[i].folder, "diffusion_pytorch_model", "VAE", all[i].tolerance);
    else
      dialect(r, &g, clip_params(g.m->text), all[i].folder, "model", "text encoder", all[i].tolerance);
    rig_close(&g);
  }
}
