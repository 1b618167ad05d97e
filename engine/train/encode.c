#include "train/encode.h"

#include <stdlib.h>
#include <string.h>

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
static struct tensor moments_of(struct ctx *c, struct model *m, const struct tensor *pixels) {
  enum dtype act = c->act;
  c->act = DT_F32;
  struct tensor y = vae_encode(c, m->vae, pixels);
  c->act = act;
  return y;
}

bool encode_pixels(struct ctx *c, struct model *m, const float *pixels, int width, int height, float *moments) {
  struct tensor x = ctx_upload(c, DT_F32, 4, (int64_t[]){1, height, width, 3}, pixels), y = moments_of(c, m, &x);
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

/* out = scaling factor * (mean + exp(logvar / 2) noise - shift) */
static void sample(struct ctx *c, struct model *m, const struct tensor *moments, const struct tensor *noise, struct tensor *out) {
  const struct vae_config *v = vae_config(m->vae);
  if (!c->failed) c->b->op->posterior(c->b, out, moments, noise->data ? noise : NULL, v->scaling_factor);
  if (v->shift_factor == 0) return;
  struct tensor one = ctx_like(c, out);
  if (!c->failed) c->b->op->fill(c->b, &one, 1);
  if (!c->failed) c->b->op->axpby(c->b, out, -(v->shift_factor * v->scaling_factor), &one, 1);
  ctx_free(c, &one);
}

static struct tensor upload_noise(struct ctx *c, const float *noise, const struct tensor *out) {
  return noise ? ctx_upload(c, DT_F32, 4, out->dim, noise) : (struct tensor){0};
}

bool latents_of_moments(struct ctx *c, struct model *m, const float *moments, const float *noise, struct tensor *out) {
  struct tensor in = ctx_upload(c, DT_F32, 4, (int64_t[]){1, out->dim[1], out->dim[2], 2 * out->dim[3]}, moments);
  struct tensor n = upload_noise(c, noise, out);
  sample(c, m, &in, &n, out);
  ctx_free(c, &n);
  ctx_free(c, &in);
  return ctx_ok(c);
}

struct encoding {
  struct model *m;
  struct tensor pixels, noise, z; /* noise empty: none */
};

static void encode(struct ctx *c, void *user) {
  struct encoding *k = user;
  struct tensor moments = moments_of(c, k->m, &k->pixels);
  sample(c, k->m, &moments, &k->noise, &k->z);
  ctx_free(c, &moments);
}

/* What the calls of encode depend on. */
struct part_key {
  const char *what;
  const struct model *m;
  const void *base, *pixels, *noise, *z;
  uint64_t pool, frozen;
  int64_t width, height;
};

static void encode_part(struct ctx *c, struct encoding *k) {
  struct part_key key;
  memset(&key, 0, sizeof key);
  key.what = "encode";
  key.m = k->m;
  key.base = pool_base(c->pool), key.pixels = k->pixels.data, key.noise = k->noise.data, key.z = k->z.data;
  key.pool = pool_fingerprint(c->pool);
  key.frozen = param_set_frozen(vae_params(k->m->vae));
  key.height = k->pixels.dim[1], key.width = k->pixels.dim[2];
  ctx_part(c, &key, sizeof key, encode, k);
}

/* Through memory of its own, so that it is the same part for every picture. */
bool latents_of_pixels(struct ctx *c, struct model *m, const float *pixels, int width, int height, const float *noise, struct tensor *out) {
  struct encoding k = {.m = m};
  k.z = ctx_like(c, out);
  k.noise = upload_noise(c, noise, out);
  k.pixels = ctx_upload(c, DT_F32, 4, (int64_t[]){1, height, width, 3}, pixels);
  encode_part(c, &k);
  if (ctx_ok(c)) c->b->op->move(c->b, out->data, k.z.data, tensor_bytes(out));
  ctx_free(c, &k.pixels);
  ctx_free(c, &k.noise);
  ctx_free(c, &k.z);
  return ctx_ok(c);
}

bool moments_to_latents(struct ctx *c, struct model *m, const float *moments, const float *noise, const struct latent_size *s, float *out) {
  struct tensor z = ctx_new_4d(c, DT_F32, 1, s->h, s->w, s->channels);
  bool ok = ctx_ok(c) && latents_of_moments(c, m, moments, noise, &z);
  if (ok) ctx_download(c, out, &z);
  ctx_free(c, &z);
  return ok && ctx_ok(c);
}
