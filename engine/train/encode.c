#include "train/encode.h"

#include <stdlib.h>

struct latent_size latent_size_of(const struct model *m, int width, int height) {
  int f = vae_factor(m->vae);
  struct latent_size s = {.w = width / f, .h = height / f, .channels = vae_config(m->vae)->latent_channels};
  s.count = (int64_t)s.w * s.h * s.channels;
  return s;
}

bool planning(const struct ctx *c) {
  return pool_base(c->pool) == NULL;
}

/* The VAE runs in fp32 whatever the UNet's type is: its moments enter everything. */
static struct tensor moments_of(struct ctx *c, struct model *m, const float *pixels, int width, int height) {
  enum dtype act = c->act;
  c->act = DT_F32;
  struct tensor x = ctx_upload(c, DT_F32, 4, (int64_t[]){1, height, width, 3}, pixels);
  struct tensor y = vae_encode(c, m->vae, &x);
  c->act = act;
  ctx_free(c, &x);
  return y;
}

bool encode_pixels(struct ctx *c, struct model *m, const float *pixels, int width, int height, float *moments) {
  struct tensor y = moments_of(c, m, pixels, width, height);
  if (!c->failed) ctx_download(c, moments, &y);
  ctx_free(c, &y);
  return ctx_ok(c);
}

const float *center_moments(struct ctx *c, struct model *m, const struct dataset *d, struct photograph *p, bool flip, float *pixels) {
  if (p->moments[flip]) return p->moments[flip];
  struct latent_size s = latent_size_of(m, d->width, d->height);
  float *moments = calloc((size_t)s.count * 2, sizeof *moments);
  if (!moments) {
    c->failed = true;
    err_set(c->err, ERR_FIT, "out of memory while encoding %s", p->name);
    return NULL;
  }
  int x, y;
  photograph_center(d, p, &x, &y);
  crop_pixels(&p->rgb, x, y, d->width, d->height, flip, pixels);
  if (!encode_pixels(c, m, pixels, d->width, d->height, moments)) {
    free(moments);
    return NULL;
  }
  return p->moments[flip] = moments;
}

/* out = scaling factor * (mean + exp(logvar / 2) noise - shift); gives moments back. */
static bool sample(struct ctx *c, struct model *m, struct tensor *moments, const float *noise, struct tensor *out) {
  const struct vae_config *v = vae_config(m->vae);
  struct tensor n = {0};
  if (noise) n = ctx_upload(c, DT_F32, 4, out->dim, noise);
  if (!c->failed) c->b->op->posterior(c->b, out, moments, noise ? &n : NULL, v->scaling_factor);
  ctx_free(c, &n);
  ctx_free(c, moments);
  if (v->shift_factor != 0) {
    struct tensor one = ctx_like(c, out);
    if (!c->failed) c->b->op->fill(c->b, &one, 1);
    if (!c->failed) c->b->op->axpby(c->b, out, -(v->shift_factor * v->scaling_factor), &one, 1);
    ctx_free(c, &one);
  }
  return ctx_ok(c);
}

bool latents_of_moments(struct ctx *c, struct model *m, const float *moments, const float *noise, struct tensor *out) {
  struct tensor in = ctx_upload(c, DT_F32, 4, (int64_t[]){1, out->dim[1], out->dim[2], 2 * out->dim[3]}, moments);
  return sample(c, m, &in, noise, out);
}

bool latents_of_pixels(struct ctx *c, struct model *m, const float *pixels, int width, int height, const float *noise, struct tensor *out) {
  struct tensor in = moments_of(c, m, pixels, width, height);
  return sample(c, m, &in, noise, out);
}

bool moments_to_latents(struct ctx *c, struct model *m, const float *moments, const float *noise, const struct latent_size *s, float *out) {
  struct tensor z = ctx_new_4d(c, DT_F32, 1, s->h, s->w, s->channels);
  bool ok = ctx_ok(c) && latents_of_moments(c, m, moments, noise, &z);
  if (ok) ctx_download(c, out, &z);
  ctx_free(c, &z);
  return ok && ctx_ok(c);
}
