/* Forward passes of the three networks and the gradient of every parameter, against tests/reference/dump_nets.py. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nets/layer.h"
#include "parity.h"

enum { TOKENS = 77, NAME = 256 };

static const char *label(char out[NAME], const char *model, const char *what) {
  return snprintf(out, NAME, "%s %s", model, what), out;
}

static struct st_file *nets_dump(const char *model) {
  char name[64];
  snprintf(name, sizeof name, "nets_%s.safetensors", model);
  return dump_open(name);
}

static float *downloaded(struct rig *g, struct tensor *t) {
  float *x = calloc((size_t)tensor_count(t) + 1, sizeof *x);
  if (ctx_ok(&g->c)) ctx_download(&g->c, x, t);
  ctx_free(&g->c, t);
  return x;
}

/* [n, c, h, w] of the dump as a picture in the pool. */
static struct tensor uploaded(struct rig *g, const float *nchw, const int64_t *d) {
  float *x = malloc((size_t)(d[0] * d[1] * d[2] * d[3]) * sizeof *x);
  to_nhwc(x, nchw, d[0], d[1], d[2], d[3]);
  struct tensor t = ctx_upload(&g->c, DT_F32, 4, (int64_t[]){d[0], d[2], d[3], d[1]}, x);
  free(x);
  return t;
}

/* Downloads a picture as NCHW and compares. */
static void compare_picture(struct report *r, struct rig *g, const char *name, struct tensor *y, const float *want, double tolerance) {
  int64_t d[4] = {y->dim[0], y->dim[1], y->dim[2], y->dim[3]}, n = tensor_count(y);
  float *have = downloaded(g, y), *nchw = malloc((size_t)n * sizeof *nchw);
  if (!ctx_ok(&g->c)) {
    row_error(r, name, &g->err);
  } else {
    to_nchw(nchw, have, d[0], d[3], d[1], d[2]);
    row_compare(r, name, nchw, want, n, 0, tolerance);
  }
  free(have);
  free(nchw);
}

void parity_text(struct report *r, const char *model) {
  struct rig g;
  struct st_file *f = nets_dump(model);
  int64_t n, count;
  int32_t *ids = dump_ints(f, &n, "text.ids");
  float *want = dump_floats(f, &count, "text.states");
  char name[NAME];
  label(name, model, "text encoder");
  if (rig_open(&g, r, model, NULL)) {
    struct tensor y = clip_forward(&g.c, g.m->text, ids, (int)(n / TOKENS), TOKENS, NULL);
    float *have = downloaded(&g, &y);
    if (ctx_ok(&g.c))
      row_compare(r, name, have, want, count, 0, 1e-5);
    else
      row_error(r, name, &g.err);
    free(have);
  } else {
    row_error(r, name, &g.err);
  }
  rig_close(&g);
  free(ids);
  free(want);
  st_close(f);
}

static void vae_size(struct report *r, struct rig *g, const struct st_file *f, const char *model, const char *size) {
  char name[NAME], what[64];
  int64_t n;
  float *px = dump_floats(f, NULL, "vae.%s.pixels", size), *mean = dump_floats(f, &n, "vae.%s.mean", size),
        *logvar = dump_floats(f, NULL, "vae.%s.logvar", size);
  const int64_t *pd = dump_shape(f, "vae.%s.pixels", size), *md = dump_shape(f, "vae.%s.mean", size);
  struct tensor x = uploaded(g, px, pd), y = vae_encode(&g->c, g->m->vae, &x);
  ctx_free(&g->c, &x);
  /* mean and logvar side by side, as the encoder gives them; the distribution's clamp is applied to logvar */
  float *both = malloc((size_t)(2 * n) * sizeof *both);
  for (int64_t i = 0; i < md[0]; i++) {
    int64_t half = n / md[0];
    memcpy(both + 2 * i * half, mean + i * half, (size_t)half * sizeof *both);
    memcpy(both + (2 * i + 1) * half, logvar + i * half, (size_t)half * sizeof *both);
  }
  snprintf(what, sizeof what, "VAE encode %s", size);
  compare_picture(r, g, label(name, model, what), &y, both, 2e-5);
  free(both);
  free(px);
  free(mean);
  free(logvar);
  float *z = dump_floats(f, NULL, "vae.%s.z", size), *want = dump_floats(f, NULL, "vae.%s.decoded", size);
  x = uploaded(g, z, dump_shape(f, "vae.%s.z", size));
  y = vae_decode(&g->c, g->m->vae, &x);
  ctx_free(&g->c, &x);
  snprintf(what, sizeof what, "VAE decode %s", size);
  compare_picture(r, g, label(name, model, what), &y, want, 2e-5);
  free(z);
  free(want);
}

void parity_vae(struct report *r, const char *model) {
  static const char *const sizes[] = {"8x8", "8x12", "5x7"};
  struct rig g;
  struct st_file *f = nets_dump(model);
  char name[NAME];
  if (rig_open(&g, r, model, NULL))
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) vae_size(r, &g, f, model, sizes[i]);
  else
    row_error(r, label(name, model, "VAE"), &g.err);
  rig_close(&g);
  st_close(f);
}

static struct tensor text_states(struct rig *g, const struct st_file *f, const char *key, enum dtype type) {
  float *h = dump_floats(f, NULL, "%s", key);
  const int64_t *d = dump_shape(f, "%s", key);
  struct tensor t = ctx_upload(&g->c, type, 3, d, h);
  free(h);
  return t;
}

static void unet_size(struct report *r, struct rig *g, const struct st_file *f, const char *model, const char *size, int handle) {
  char name[NAME], what[64];
  int64_t nt;
  float *x = dump_floats(f, NULL, "unet.%s.x", size), *want = dump_floats(f, NULL, "unet.%s.y", size),
        *wantq = dump_floats(f, NULL, "unet.%s.q", size);
  float *t = dump_floats(f, &nt, "unet.%s.timesteps", size);
  struct unet_tap tap = {.handle = handle};
  struct tensor in = uploaded(g, x, dump_shape(f, "unet.%s.x", size)), h = text_states(g, f, "text.states", g->c.act);
  struct tensor y = unet_forward(&g->c, g->m->unet, &in, t, &h, &tap, NULL, NULL);
  ctx_free(&g->c, &in);
  ctx_free(&g->c, &h);
  snprintf(what, sizeof what, "UNet forward %s", size);
  compare_picture(r, g, label(name, model, what), &y, want, 2e-5);
  int64_t n = tensor_count(&tap.q);
  float *q = downloaded(g, &tap.q);
  snprintf(what, sizeof what, "Q of the PDM layer %s", size);
  row_compare(r, label(name, model, what), q, wantq, n, 0, 2e-5);
  free(q);
  free(x);
  free(want);
  free(wantq);
  free(t);
}

void parity_unet(struct report *r, const char *model) {
  static const char *const sizes[] = {"8x8", "8x12", "6x10", "9x7"};
  struct rig g;
  struct st_file *f = nets_dump(model);
  char name[NAME], layer[256];
  int handle;
  if (rig_open(&g, r, model, NULL) && unet_pdm_layer(g.m->unet, NULL, layer, sizeof layer, &handle, &g.err)) {
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) unet_size(r, &g, f, model, sizes[i], handle);
    row(r, label(name, model, "memory given back after the passes"), (double)pool_used(g.c.pool), (double)pool_used(g.c.pool), 0);
  } else {
    row_error(r, label(name, model, "UNet"), &g.err);
  }
  rig_close(&g);
  st_close(f);
}

/* --- gradients ---------------------------------------------------------------------------------------------------------------- */

struct grads {
  struct rig g;
  float *unet, *text; /* host copies of the flat blocks */
  float *y, *dx;
  double loss;
};

/* The gradient as it comes back, over the scale. */
static float *flat_gradient(struct rig *g, const struct param_set *s, float scale) {
  float *x = malloc((size_t)s->count * sizeof *x);
  g->b->op->download(g->b, x, s->g, (size_t)s->count * sizeof *x);
  for (int64_t i = 0; i < s->count; i++) x[i] /= scale;
  return x;
}

/* loss = sum(unet(x, t, text(ids)) * cotangent), through UNet and text encoder. */
static bool backward_all(struct grads *q, const struct report *r, const struct st_file *f, const char *model, bool recompute) {
  struct model_want want = {.train_unet = true, .train_text = true};
  struct rig *g = &q->g;
  if (!rig_open(g, r, model, &want)) return false;
  int32_t *ids = dump_ints(f, NULL, "grad.ids");
  float *x = dump_floats(f, NULL, "grad.x"), *t = dump_floats(f, NULL, "grad.timesteps"), *cot = dump_floats(f, NULL, "grad.cotangent");
  const int64_t *d = dump_shape(f, "grad.x");
  struct unet_options o = {.recompute = recompute};
  struct unet_tape *tape;
  struct clip_tape *text_tape;
  struct tensor h = clip_forward(&g->c, g->m->text, ids, (int)d[0], TOKENS, &text_tape);
  struct tensor in = uploaded(g, x, d);
  struct tensor y = unet_forward(&g->c, g->m->unet, &in, t, &h, NULL, &o, &tape);
  float scale = r->loss_scale > 0 ? r->loss_scale : 1;
  struct tensor wide = uploaded(g, cot, d), dy = cast_to(&g->c, &wide, g->c.act);
  if (!g->c.failed) g->b->op->axpby(g->b, &dy, scale, &wide, 0);
  ctx_free(&g->c, &wide);
  struct tensor dh = ctx_new(&g->c, DT_F32, 3, h.dim);
  if (!g->c.failed) g->b->op->fill(g->b, &dh, 0);
  int64_t n = tensor_count(&y);
  q->y = downloaded(g, &y);
  float *cot_nhwc = malloc((size_t)n * sizeof *cot_nhwc);
  to_nhwc(cot_nhwc, cot, d[0], d[1], d[2], d[3]);
  for (int64_t i = 0; i < n; i++) q->loss += (double)q->y[i] * cot_nhwc[i];
  free(cot_nhwc);
  unet_backward(&g->c, g->m->unet, tape, &dy, NULL, &dh);
  clip_backward(&g->c, g->m->text, text_tape, &dh);
  ctx_free(&g->c, &h);
  ctx_free(&g->c, &in);
  free(ids);
  free(x);
  free(t);
  free(cot);
  if (!ctx_ok(&g->c)) return false;
  q->unet = flat_gradient(g, unet_params(g->m->unet), scale);
  q->text = flat_gradient(g, clip_params(g->m->text), scale);
  return true;
}

static void grads_release(struct grads *q) {
  rig_close(&q->g);
  free(q->unet);
  free(q->text);
  free(q->y);
}

/* How much of the gradient the dump keeps: names sorted by bytes give the index of grad.strides. */
static int by_name(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct names {
  char **full; /* "grad.unet.conv_in.bias" */
  int n;
};

static void add_names(struct names *s, const char *network, const struct param_set *p) {
  s->full = realloc(s->full, (size_t)(s->n + p->n) * sizeof *s->full);
  for (int i = 0; i < p->n; i++) {
    char name[NAME];
    snprintf(name, sizeof name, "grad.%s.%s", network, p->p[i]->name);
    s->full[s->n++] = strdup(name);
  }
}

static struct names sorted_names(struct grads *q) {
  struct names s = {0};
  add_names(&s, "unet", unet_params(q->g.m->unet));
  add_names(&s, "text_encoder", clip_params(q->g.m->text));
  qsort(s.full, (size_t)s.n, sizeof *s.full, by_name);
  return s;
}

static void names_free(struct names *s) {
  for (int i = 0; i < s->n; i++) free(s->full[i]);
  free(s->full);
}

/* The parameter and its gradient for a dump's name. */
static const float *gradient_of(struct grads *q, const char *full, const struct param **p) {
  bool unet = strncmp(full, "grad.unet.", 10) == 0;
  struct param_set *s = unet ? unet_params(q->g.m->unet) : clip_params(q->g.m->text);
  *p = param_find(s, full + (unet ? 10 : 18));
  return (unet ? q->unet : q->text) + (*p)->offset;
}

struct worst {
  double error, size;
  char name[NAME];
};

/* |have - want| of one parameter over what the dump keeps of it: everything, every k-th element, or the token rows that occur. */
static double difference(struct grads *q, const struct st_file *f, const char *full, int stride, const int32_t *rows, int64_t n_rows) {
  const struct param *p;
  const float *have = gradient_of(q, full, &p);
  int64_t n, width = p->rank > 1 ? p->dim[p->rank - 1] : 1;
  float *want = dump_floats(f, &n, "%s", full);
  bool table = strstr(full, "token_embedding") != NULL;
  double sum = 0;
  for (int64_t i = 0; i < n; i++) {
    int64_t flat = i * stride;
    int64_t at = table ? rows[flat / width] * width + flat % width : flat;
    double d = (double)have[at] - want[i];
    sum += d * d;
  }
  (void)n_rows;
  free(want);
  return sqrt(sum * stride);
}

static void gradient_rows(struct report *r, struct grads *q, const struct st_file *f, const char *model, const char *how,
                          double tolerance) {
  struct names s = sorted_names(q);
  int32_t *strides = dump_has(f, "grad.strides") ? dump_ints(f, NULL, "grad.strides") : NULL;
  int64_t n_rows, n_norm;
  int32_t *rows = dump_ints(f, &n_rows, "grad.token_rows");
  float *norms = dump_floats(f, &n_norm, "bf16.norm");
  double all = norm_of(norms, n_norm), sum = 0;
  struct worst w = {0};
  for (int i = 0; i < s.n; i++) {
    double d = difference(q, f, s.full[i], strides ? strides[i] : 1, rows, n_rows);
    sum += d * d;
    if (!(d <= w.error)) {
      w.error = d;
      snprintf(w.name, sizeof w.name, "%s", s.full[i]);
    }
  }
  char name[NAME];
  snprintf(name, sizeof name, "%s gradients of %d tensors%s, together", model, s.n, how);
  row(r, name, w.error, sqrt(sum) / all, tolerance);
  snprintf(name, sizeof name, "%s worst: %.44s", model, w.name + 5);
  row(r, name, w.error, w.error / all, tolerance);
  names_free(&s);
  free(strides);
  free(rows);
  free(norms);
}

static void gradients(struct report *r, const char *model, bool recompute) {
  struct grads q = {0};
  struct st_file *f = nets_dump(model);
  char name[NAME];
  const char *how = recompute ? " (recomputed)" : "";
  if (backward_all(&q, r, f, model, recompute)) {
    float *loss = dump_floats(f, NULL, "grad.loss");
    snprintf(name, sizeof name, "%s loss of the gradient test%s", model, how);
    row(r, name, fabs(q.loss - loss[0]), fabs(q.loss - loss[0]) / fabs(loss[0]), 1e-4);
    free(loss);
    gradient_rows(r, &q, f, model, how, 5e-5);
    row(r, label(name, model, "memory given back after backward"), (double)pool_used(q.g.c.pool), (double)pool_used(q.g.c.pool), 0);
  } else {
    row_error(r, label(name, model, "gradients"), &q.g.err);
  }
  grads_release(&q);
  st_close(f);
}

void parity_gradients(struct report *r, const char *model) {
  gradients(r, model, false);
  gradients(r, model, true);
}

/* What PyTorch's autocast does in a type of 16 bits against fp32: 1 - cosine and relative error of the gradient, relative error of the output. */
struct autocast {
  const char *name;
  double cosine, relative, y;
  double slack; /* ours may be so many times as far off */
};

static void half_rows(struct report *r, const struct grads *q, const struct grads *exact, const char *model, const struct autocast *t,
                      int64_t count) {
  char name[NAME];
  int64_t n[2] = {unet_params(q->g.m->unet)->count, clip_params(q->g.m->text)->count};
  const float *a[2] = {q->unet, q->text}, *b[2] = {exact->unet, exact->text};
  double ab = 0, aa = 0, bb = 0;
  for (int k = 0; k < 2; k++)
    for (int64_t i = 0; i < n[k]; i++) ab += (double)a[k][i] * b[k][i], aa += (double)a[k][i] * a[k][i], bb += (double)b[k][i] * b[k][i];
  double cosine = ab / sqrt(aa * bb), relative = isfinite(ab + aa) ? sqrt(fmax(0, aa - 2 * ab + bb) / bb) : NAN;
  snprintf(name, sizeof name, "%s %s gradient: 1 - cosine (autocast %.1e)", model, t->name, t->cosine);
  row(r, name, 1 - cosine, 1 - cosine, t->slack * t->slack * t->cosine + 1e-5);
  snprintf(name, sizeof name, "%s %s gradient: relative (autocast %.1e)", model, t->name, t->relative);
  row(r, name, relative, relative, t->slack * t->relative);
  snprintf(name, sizeof name, "%s %s output against fp32 (autocast %.1e)", model, t->name, t->y);
  row_compare(r, name, q->y, exact->y, count, 0, 1.5 * t->y);
}

/* Compute in 16 bits against the fp32 reference, beside PyTorch's autocast on the same network: the output may be half as far off again, at most. */
static void parity_half(struct report *r, const struct report *half, const char *model, const struct autocast *t) {
  struct grads exact = {0}, q = {0};
  struct st_file *f = nets_dump(model);
  char name[NAME];
  if (backward_all(&exact, r, f, model, false) && backward_all(&q, half, f, model, false)) {
    int64_t count = 1;
    for (int k = 0; k < 4; k++) count *= dump_shape(f, "grad.y")[k];
    half_rows(r, &q, &exact, model, t, count);
  } else {
    row_error(r, label(name, model, t->name), q.g.err.code ? &q.g.err : &exact.g.err);
  }
  grads_release(&exact);
  grads_release(&q);
  st_close(f);
}

void parity_bf16(struct report *r, const char *model) {
  struct report half = *r;
  struct st_file *f = nets_dump(model);
  float *whole = dump_floats(f, NULL, "bf16.whole");
  half.act = DT_BF16;
  parity_half(r, &half, model, &(struct autocast){"bf16", 1 - whole[0], whole[1], whole[2], 1.5});
  free(whole);
  st_close(f);
}

/* With the scale of the loss that PyTorch's scaler comes down to. These random networks are ill-conditioned (the deepest group norms see one or two pixels): two computations that
   round equally often, ref and cpu, are 1.3e-2 and 3.4e-2 off on sd2, 1.5e-2 and 0.5e-2 on sd1. */
void parity_fp16(struct report *r, const char *model) {
  struct report half = *r;
  struct st_file *f = dump_open("fp16.safetensors");
  float *whole = dump_floats(f, NULL, "%s.whole", model);
  half.act = DT_F16;
  half.loss_scale = whole[3];
  parity_half(r, &half, model, &(struct autocast){"fp16", whole[0], whole[1], whole[2], 2});
  free(whole);
  st_close(f);
}
