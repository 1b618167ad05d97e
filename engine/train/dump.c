#include "train/dump.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dump_entry {
  char name[320];
  enum dtype type;
  int rank;
  int64_t dim[8];
  void *data; /* owned */
};

/* A new tensor; its memory, zeroed, or NULL. */
static void *add(struct dump *d, enum dtype type, int rank, const int64_t *dim, struct err *e, const char *fmt, ...) {
  if (d->n == d->cap) {
    int cap = d->cap ? 2 * d->cap : 256;
    struct dump_entry *p = realloc(d->entry, (size_t)cap * sizeof *p);
    if (!p) {
      err_set(e, ERR_FIT, "out of memory for the dump");
      return NULL;
    }
    d->entry = p;
    d->cap = cap;
  }
  struct dump_entry *x = d->entry + d->n;
  int64_t count = 1;
  *x = (struct dump_entry){.type = type, .rank = rank};
  for (int i = 0; i < rank; i++) count *= x->dim[i] = dim[i];
  va_list a;
  va_start(a, fmt);
  vsnprintf(x->name, sizeof x->name, fmt, a);
  va_end(a);
  x->data = calloc((size_t)count + 1, dtype_size(type));
  if (x->data)
    d->n++;
  else
    err_set(e, ERR_FIT, "out of memory for the dump");
  return x->data;
}

/* [h, w, c] -> [c, h, w] */
static void planes(float *out, const float *x, int64_t h, int64_t w, int64_t c) {
  for (int64_t i = 0; i < h * w; i++)
    for (int64_t k = 0; k < c; k++) out[k * h * w + i] = x[i * c + k];
}

static void bytes(unsigned char *out, const float *x, int64_t n) { /* x NULL: all ones */
  for (int64_t i = 0; i < n; i++) out[i] = !x || x[i] > 0;
}

static bool dump_numbers(struct dump *d, const struct batch *b, int m, struct err *e) {
  int64_t n = b->slots;
  int32_t *kind = add(d, DT_I32, 1, &n, e, "input.%d.kind", m), *example = kind ? add(d, DT_I32, 1, &n, e, "input.%d.example", m) : NULL;
  int32_t *t = example ? add(d, DT_I32, 1, &n, e, "input.%d.timesteps", m) : NULL;
  int32_t *ids = t ? add(d, DT_I32, 2, (int64_t[]){n, 77}, e, "input.%d.ids", m) : NULL;
  unsigned char *from = ids ? add(d, DT_U8, 1, &n, e, "input.%d.from_pixels", m) : NULL;
  if (!from) return false;
  for (int i = 0; i < b->slots; i++) {
    kind[i] = (int32_t)b->slot[i].kind;
    example[i] = b->slot[i].example;
    t[i] = b->slot[i].t;
    memcpy(ids + i * 77, b->slot[i].ids, 77 * sizeof *ids);
    from[i] = b->data[i].from_pixels;
  }
  return true;
}

static bool dump_pictures(struct dump *d, const struct batch *b, int m, struct err *e) {
  int64_t n = b->slots, h = b->size.h, w = b->size.w, c = b->size.channels, H = b->d->height, W = b->d->width;
  const int64_t small[] = {n, c, h, w}, large[] = {n, 3, H, W};
  float *px = add(d, DT_F32, 4, large, e, "input.%d.pixels", m), *post = px ? add(d, DT_F32, 4, small, e, "input.%d.posterior", m) : NULL;
  float *z = post ? add(d, DT_F32, 4, small, e, "input.%d.latents", m) : NULL;
  float *noise = z ? add(d, DT_F32, 4, small, e, "input.%d.noise", m) : NULL;
  unsigned char *mask = noise ? add(d, DT_U8, 3, (int64_t[]){n, h, w}, e, "input.%d.mask", m) : NULL;
  if (!mask) return false;
  for (int64_t i = 0; i < n; i++) {
    planes(px + i * 3 * H * W, b->data[i].pixels, H, W, 3);
    planes(post + i * b->size.count, b->data[i].posterior, h, w, c);
    planes(z + i * b->size.count, b->data[i].latents, h, w, c);
    planes(noise + i * b->size.count, b->data[i].noise, h, w, c);
    bytes(mask + i * h * w, b->slot[i].kind == SLOT_PDM ? NULL : b->slot[i].mask, h * w);
  }
  return true;
}

static bool dump_pdm(struct dump *d, const struct batch *b, int m, struct err *e) {
  int64_t n = 0, tokens = b->pdm ? pdm_tokens(b->pdm) : 0, channels = b->pdm ? pdm_channels(b->pdm) : 0, k = 0;
  for (int i = 0; i < b->slots; i++) n += b->slot[i].kind == SLOT_PDM;
  if (n == 0) return true;
  unsigned char *mask = add(d, DT_U8, 2, (int64_t[]){n, tokens}, e, "input.%d.mask_pdm", m);
  float *q = mask ? add(d, DT_F32, 3, (int64_t[]){n, tokens, channels}, e, "input.%d.qstar", m) : NULL;
  if (!q) return false;
  for (int i = 0; i < b->slots; i++) {
    if (b->slot[i].kind != SLOT_PDM) continue;
    bytes(mask + k * tokens, b->slot[i].mask, tokens);
    memcpy(q + k++ * tokens * channels, b->slot[i].qstar, (size_t)(tokens * channels) * sizeof *q);
  }
  return true;
}

static bool dump_number(struct dump *d, double x, const char *name, struct err *e) {
  float *p = add(d, DT_F32, 1, (int64_t[]){1}, e, "%s", name);
  if (p) *p = (float)x;
  return p != NULL;
}

static bool dump_losses(struct dump *d, const struct batch *b, int m, const struct step_loss *loss, struct err *e) {
  const double value[] = {loss->instance, loss->prior, loss->pdm, loss->total};
  const bool on[] = {b->want.instance, b->want.prior, b->want.pdm, true};
  static const char *const term[] = {"instance", "prior", "pdm", "total"};
  for (int i = 0; i < 4; i++) {
    char name[64];
    snprintf(name, sizeof name, "loss.%d.%s", m, term[i]);
    if (on[i] && !dump_number(d, value[i], name, e)) return false;
  }
  return true;
}

bool dump_inputs(struct dump *d, const struct batch *b, int micro, const struct step_loss *loss, struct err *e) {
  return dump_numbers(d, b, micro, e) && dump_pictures(d, b, micro, e) && dump_pdm(d, b, micro, e) && dump_losses(d, b, micro, loss, e);
}

static bool download_half(struct backend *b, float *out, const struct param *p, struct err *e) {
  uint16_t *half = malloc((size_t)p->count * sizeof *half);
  if (!half) return err_set(e, ERR_FIT, "out of memory for the dump");
  b->op->download(b, half, p->g16, (size_t)p->count * sizeof *half);
  for (int64_t i = 0; i < p->count; i++) out[i] = bf16_to_f32(half[i]);
  free(half);
  return true;
}

/* Every trained parameter's values, or gradients. */
static bool dump_params(struct dump *d, const char *prefix, bool gradients, struct err *e) {
  for (int i = 0; i < d->o->groups; i++) {
    const struct param_set *s = d->o->group[i].set;
    struct backend *b = optimizer_backend(d->o, i);
    const float *from = gradients ? optimizer_gradients(d->o, i) : optimizer_weights(d->o, i);
    for (int k = 0; k < s->n; k++) {
      const struct param *p = s->p[k];
      if (p->frozen) continue;
      float *x = add(d, DT_F32, p->rank, p->dim, e, "%s.%s.%s", prefix, d->names[i], p->name);
      if (!x) return false;
      if (gradients && p->half && !download_half(b, x, p, e)) return false;
      if (!gradients || !p->half) b->op->download(b, x, from + p->offset, (size_t)p->count * sizeof *x);
      for (int64_t j = 0; gradients && d->o->loss_scale != 1 && j < p->count; j++) x[j] = (float)(x[j] / d->o->loss_scale);
    }
  }
  return true;
}

bool dump_gradients(struct dump *d, double lr, double norm, struct err *e) {
  return dump_params(d, "grad", true, e) && dump_number(d, lr, "lr", e) && dump_number(d, norm, "grad_norm", e);
}

bool dump_parameters(struct dump *d, struct err *e) {
  return dump_params(d, "param", false, e);
}

static void forget(struct dump *d) {
  for (int i = 0; i < d->n; i++) free(d->entry[i].data);
  d->n = 0;
}

bool dump_write(struct dump *d, int step, struct err *e) {
  char path[4400];
  struct st_entry *t = calloc((size_t)d->n + 1, sizeof *t);
  for (int i = 0; t && i < d->n; i++) {
    const struct dump_entry *x = d->entry + i;
    t[i] = (struct st_entry){.name = x->name, .type = x->type, .data_type = x->type, .rank = x->rank, .data = x->data};
    memcpy(t[i].dim, x->dim, sizeof t[i].dim);
  }
  snprintf(path, sizeof path, "%s/step-%06d.safetensors", d->dir, step);
  bool ok = t ? make_dirs(d->dir, e) && st_write(path, t, d->n, d->meta, d->n_meta, e) : err_set(e, ERR_FIT, "out of memory for the dump");
  free(t);
  forget(d);
  return ok;
}

void dump_release(struct dump *d) {
  forget(d);
  free(d->entry);
  d->entry = NULL;
  d->cap = 0;
}
