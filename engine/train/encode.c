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

bool encode_pixels(struct ctx *c, struct model *m, const float *pixels, int width, int height, float *moments) {
  enum dtype act = c->act;
  c->act = DT_F32; /* the VAE runs in fp32 whatever the UNet's type is: its moments enter everything */
  struct tensor x = ctx_upload(c, DT_F32, 4, (int64_t[]){1, height, width, 3}, pixels);
  struct tensor y = vae_encode(c, m->vae, &x);
  c->act = act;
  ctx_free(c, &x);
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

bool moments_to_latents(struct ctx *c, struct model *m, const float *moments, const float *noise, const struct latent_size *s, float *out) {
  const struct vae_config *v = vae_config(m->vae);
  struct tensor in = ctx_upload(c, DT_F32, 4, (int64_t[]){1, s->h, s->w, 2 * s->channels}, moments), n = {0};
  if (noise) n = ctx_upload(c, DT_F32, 4, (int64_t[]){1, s->h, s->w, s->channels}, noise);
  struct tensor z = ctx_new_4d(c, DT_F32, 1, s->h, s->w, s->channels);
  if (!c->failed) c->b->op->posterior(c->b, &z, &in, noise ? &n : NULL, v->scaling_factor);
  if (!c->failed) ctx_download(c, out, &z);
  ctx_free(c, &z);
  ctx_free(c, &n);
  ctx_free(c, &in);
  if (v->shift_factor != 0)
    for (int64_t i = 0; i < s->count; i++) out[i] -= v->shift_factor * v->scaling_factor;
  return ctx_ok(c);
}
