/* Pictures from prompts (picture.h): StableDiffusionPipeline.__call__ of diffusers, written out.
 *
 *   text   the negative prompt and each distinct prompt embedded once
 *   x      noise of the seed times the sampler's first sigma; F32 throughout, the UNet casts its input
 *   e      uncond + guidance (cond - uncond), both halves in one pass of 2n
 *   pixels vae_decode(x / scaling factor), one picture at a time, in F32 */
#include "train/picture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/dataset.h"
#include "train/encode.h"

struct pictures {
  struct model *m;
  const struct picture_job *j;
  const char *const *prompts;
  int n;
  bool guided;
  struct latent_size size;
  const float *noise;    /* [n, h, w, c] */
  float *latents;        /* [n, h, w, c]: the result */
  float *pixels;         /* [H, W, 3] */
  float *t;              /* [2n]: timesteps of a pass */
  const char **distinct; /* [n + 1]: prompts to embed */
  int *row;              /* [2n]: which of them an item of the pass wants */
  int rows;
  struct image *out;
  int (*stop)(void *);
  void *stop_user;
};

static int passes(const struct pictures *p) {
  return p->guided ? 2 * p->n : p->n;
}

static int find_prompt(struct pictures *p, const char *text) {
  int i = 0;
  while (i < p->rows && strcmp(p->distinct[i], text) != 0) i++;
  if (i == p->rows) p->distinct[p->rows++] = text;
  return i;
}

static void plan_text(struct pictures *p) {
  int first = passes(p) - p->n; /* of the conditional half */
  for (int i = 0; i < first; i++) p->row[i] = find_prompt(p, p->j->negative);
  for (int i = 0; i < p->n; i++) p->row[first + i] = find_prompt(p, p->prompts[i]);
}

/* [passes, 77, width]: each distinct prompt computed once, its rows copied to every item that wants it. */
static struct tensor embed(struct ctx *c, const struct pictures *p) {
  struct tensor once = model_embed(c, p->m, p->distinct, p->rows), text = {0};
  if (!c->failed) text = ctx_new_3d(c, once.type, passes(p), once.dim[1], once.dim[2]);
  for (int i = 0; !c->failed && i < passes(p); i++) {
    struct tensor from = tensor_slice(once, p->row[i], 1), to = tensor_slice(text, i, 1);
    c->b->op->move(c->b, to.data, from.data, tensor_bytes(&from));
  }
  ctx_free(c, &once);
  return text;
}

static struct tensor latent_tensor(struct ctx *c, const struct pictures *p, int n) {
  return ctx_new_4d(c, DT_F32, n, p->size.h, p->size.w, p->size.channels);
}

static struct tensor start(struct ctx *c, const struct pictures *p, const struct sampler *s) {
  int64_t dim[] = {p->n, p->size.h, p->size.w, p->size.channels};
  struct tensor noise = ctx_upload(c, DT_F32, 4, dim, p->noise), x = ctx_like(c, &noise);
  if (!c->failed) c->b->op->axpby(c->b, &x, (float)sampler_init_sigma(s), &noise, 0);
  ctx_free(c, &noise);
  return x;
}

/* The UNet's prediction for both halves, F32. */
static struct tensor predict(struct ctx *c, struct pictures *p, struct sampler *s, int i, const struct tensor *x,
                             const struct tensor *text) {
  struct tensor in = latent_tensor(c, p, passes(p));
  if (c->failed) return in;
  struct tensor first = tensor_slice(in, 0, p->n), second = tensor_slice(in, passes(p) - p->n, p->n);
  sampler_input(s, c, i, &first, x);
  if (p->guided) c->b->op->move(c->b, second.data, first.data, tensor_bytes(&first));
  for (int k = 0; k < passes(p); k++) p->t[k] = sampler_timestep(s, i);
  struct tensor y = unet_forward(c, p->m->unet, &in, p->t, text, NULL, NULL, NULL);
  if (!c->failed) c->b->op->cast(c->b, &in, &y);
  ctx_free(c, &y);
  return in;
}

/* uncond <- uncond + guidance (cond - uncond); in this order, as diffusers rounds it. */
static void guide(struct ctx *c, const struct pictures *p, struct tensor *uncond, struct tensor *cond) {
  c->b->op->axpby(c->b, cond, -1, uncond, 1);
  c->b->op->axpby(c->b, uncond, (float)p->j->guidance, cond, 1);
}

static void evaluate(struct ctx *c, struct pictures *p, struct sampler *s, int i, struct tensor *x, const struct tensor *text) {
  struct tensor both = predict(c, p, s, i, x, text);
  if (!c->failed) {
    struct tensor first = tensor_slice(both, 0, p->n), second = tensor_slice(both, passes(p) - p->n, p->n);
    if (p->guided) guide(c, p, &first, &second);
    sampler_step(s, c, i, x, &first);
  }
  ctx_free(c, &both);
}

/* Nobody is asked while memory is planned. */
static bool goes_on(struct ctx *c, const struct pictures *p) {
  int code = p->stop != NULL && !c->failed && !planning(c) ? p->stop(p->stop_user) : 0;
  if (code != 0) {
    err_set(c->err, (enum err_code)code, "stopped while pictures were made");
    c->failed = true;
  }
  return ctx_ok(c);
}

static void decode_one(struct ctx *c, struct pictures *p, struct tensor *x, int i) {
  const struct vae_config *v = vae_config(p->m->vae);
  struct tensor item = tensor_slice(*x, i, 1), z = ctx_like(c, &item), y = {0};
  if (!c->failed) {
    if (v->shift_factor != 0) c->b->op->fill(c->b, &z, v->shift_factor);
    c->b->op->axpby(c->b, &z, 1 / v->scaling_factor, &item, v->shift_factor != 0 ? 1 : 0);
    y = vae_decode(c, p->m->vae, &z);
  }
  ctx_free(c, &z);
  ctx_download(c, p->pixels, &y);
  ctx_free(c, &y);
  if (ctx_ok(c) && !planning(c) && !picture_from_floats(&p->out[i], p->pixels, p->j->width, p->j->height)) {
    err_set(c->err, ERR_FIT, "out of memory for a picture");
    c->failed = true;
  }
}

/* The VAE runs in F32 whatever the UNet's type is. */
static void decode(struct ctx *c, struct pictures *p, struct tensor *x) {
  enum dtype act = c->act;
  c->act = DT_F32;
  for (int i = 0; i < p->n && goes_on(c, p); i++) decode_one(c, p, x, i);
  c->act = act;
}

static bool make(struct ctx *c, void *user) {
  struct pictures *p = user;
  struct sampler *s = sampler_new(p->j->sampler, &p->m->schedule, p->j->steps, c->err);
  if (s == NULL) return false;
  struct tensor text = embed(c, p), x = start(c, p, s);
  for (int i = 0; i < sampler_evaluations(s) && goes_on(c, p); i++) evaluate(c, p, s, i, &x, &text);
  ctx_free(c, &text);
  sampler_delete(s, c);
  ctx_download(c, p->latents, &x);
  if (p->out != NULL) decode(c, p, &x);
  ctx_free(c, &x);
  return ctx_ok(c);
}

static bool check(const struct model *m, const struct picture_job *j, int n, struct err *e) {
  int f = vae_factor(m->vae);
  if (n < 1 || j->width < f || j->height < f || j->width % f != 0 || j->height % f != 0)
    return err_set(e, ERR_USAGE, "pictures of %d x %d: width and height must be multiples of %d", j->width, j->height, f);
  return true;
}

static float *seed_noise(const uint64_t *seeds, int n, const struct latent_size *s) {
  float *noise = malloc((size_t)n * (size_t)s->count * sizeof *noise);
  for (int i = 0; noise != NULL && i < n; i++) picture_noise(seeds[i], s->h, s->w, s->channels, noise + i * s->count);
  return noise;
}

static void release_pictures(struct image *out, int n) {
  for (int i = 0; out != NULL && i < n; i++) image_release(&out[i]);
}

/* noise and latents are given by the caller. */
static bool begin(struct pictures *p) {
  size_t n = (size_t)p->n;
  p->guided = p->j->guidance > 1;
  p->pixels = malloc((size_t)p->j->width * (size_t)p->j->height * 3 * sizeof *p->pixels);
  p->t = malloc(2 * n * sizeof *p->t);
  p->distinct = malloc((n + 1) * sizeof *p->distinct);
  p->row = malloc(2 * n * sizeof *p->row);
  if (p->pixels == NULL || p->t == NULL || p->distinct == NULL || p->row == NULL) return false;
  plan_text(p);
  return true;
}

static void end(struct pictures *p) {
  free(p->row);
  free(p->distinct);
  free(p->t);
  free(p->pixels);
}

bool pictures_make(struct model *m, enum dtype act, const struct picture_job *j, const char *const *prompts, const uint64_t *seeds, int n,
                   const float *noise, struct image *out, float *latents, int (*stop)(void *), void *stop_user, struct err *e) {
  if (!check(m, j, n, e)) return false;
  struct pictures p = {.m = m, .j = j, .prompts = prompts, .n = n, .out = out, .stop = stop, .stop_user = stop_user};
  p.size = latent_size_of(m, j->width, j->height);
  float *own_noise = noise == NULL ? seed_noise(seeds, n, &p.size) : NULL;
  float *own_latents = latents == NULL ? malloc((size_t)n * (size_t)p.size.count * sizeof *own_latents) : NULL;
  p.noise = noise != NULL ? noise : own_noise;
  p.latents = latents != NULL ? latents : own_latents;
  if (out != NULL) memset(out, 0, (size_t)n * sizeof *out);
  bool ok = begin(&p) && p.noise != NULL && p.latents != NULL;
  if (ok)
    ok = workspace_run(&m->work, m->b, act, make, &p, NULL, e);
  else
    err_set(e, ERR_FIT, "out of memory for %d pictures", n);
  if (!ok) release_pictures(out, n);
  end(&p);
  free(own_latents);
  free(own_noise);
  return ok;
}

bool pictures_plan(struct ctx *c, struct model *m, const struct picture_job *j, const char *const *prompts, int n) {
  struct image *none = calloc((size_t)n, sizeof *none); /* its presence asks for decoding; a planning run makes no picture */
  struct pictures p = {.m = m, .j = j, .prompts = prompts, .n = n, .out = none, .size = latent_size_of(m, j->width, j->height)};
  p.latents = malloc((size_t)n * (size_t)p.size.count * sizeof *p.latents);
  p.noise = p.latents;
  bool ok = begin(&p) && none != NULL && p.latents != NULL;
  ok = ok ? make(c, &p) : err_set(c->err, ERR_FIT, "out of memory for %d pictures", n);
  end(&p);
  free(p.latents);
  free(none);
  return ok;
}

void picture_noise(uint64_t seed, int h, int w, int channels, float *out) {
  struct rng_counter c = {.seed = seed, .stream = RNG_SAMPLE};
  rng_normal(&c, out, 0, (int64_t)h * w * channels);
}

/* numpy's round: half to even, as rintf. A value that is not a number becomes black. */
bool picture_from_floats(struct image *im, const float *x, int w, int h) {
  if (!image_new(im, w, h, 3)) return false;
  for (int64_t i = 0; i < (int64_t)w * h * 3; i++) {
    float v = x[i] / 2 + 0.5f;
    im->px[i] = (unsigned char)rintf((v > 0 ? v < 1 ? v : 1 : 0) * 255);
  }
  return true;
}

struct encoding {
  struct model *m;
  const struct image *im;
  int n;
  struct latent_size size;
  const float *noise;
  float *pixels, *moments, *out;
};

static bool encode(struct ctx *c, void *user) {
  struct encoding *p = user;
  int w = p->im->w, h = p->im->h;
  bool ok = true;
  c->act = DT_F32;
  for (int i = 0; ok && i < (planning(c) ? 1 : p->n); i++) {
    const float *noise = p->noise != NULL ? p->noise + i * p->size.count : NULL;
    crop_pixels(&p->im[i], 0, 0, w, h, false, p->pixels);
    ok = encode_pixels(c, p->m, p->pixels, w, h, p->moments) &&
         moments_to_latents(c, p->m, p->moments, noise, &p->size, p->out + i * p->size.count);
  }
  return ok;
}

bool pictures_encode(struct model *m, enum dtype act, const struct image *im, int n, const float *noise, float *out, struct err *e) {
  if (n < 1) return true;
  struct encoding p = {.m = m, .im = im, .n = n, .noise = noise, .out = out, .size = latent_size_of(m, im->w, im->h)};
  for (int i = 1; i < n; i++)
    if (im[i].w != im->w || im[i].h != im->h) return err_set(e, ERR_FAILED, "pictures of different sizes to encode");
  p.pixels = malloc((size_t)im->w * (size_t)im->h * 3 * sizeof *p.pixels);
  p.moments = malloc((size_t)p.size.count * 2 * sizeof *p.moments);
  bool ok = p.pixels != NULL && p.moments != NULL ? workspace_run(&m->work, m->b, act, encode, &p, NULL, e)
                                                  : err_set(e, ERR_FIT, "out of memory to encode pictures");
  free(p.moments);
  free(p.pixels);
  return ok;
}
