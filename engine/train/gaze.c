#include "train/gaze.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/encode.h"

/* Of the schedule's steps: low enough that the picture is seen, high enough that the network asks the text. */
static const double level_share[GAZE_LEVELS] = {0.1, 0.25, 0.4, 0.55};

struct gazing {
  const struct gaze_job *j;
  struct gaze *out;
  struct latent_size size;
  int width, height; /* pixels */
  const float *pixels;
  int32_t ids[77];
  struct unet_watch watch;
  int handle;
  float *moments, *latents, *noise, *noisy; /* [size] each, moments twice */
  float *q;                                 /* [h, w, channels] of one pass */
  float *sum;                               /* [h, w] */
};

/* --- the word ---------------------------------------------------------------------------------------------------------------- */

/* Tokens of word in the prompt's ids: *first and how many; 0: not there. The last place, as the class stands behind other words. */
static int find_tokens(const int32_t *ids, const int32_t *word, int n, int *first) {
  for (int i = 77 - n; i > 0 && n > 0; i--)
    if (memcmp(ids + i, word, (size_t)n * sizeof *ids) == 0) {
      *first = i;
      return n;
    }
  return 0;
}

static const char *last_word(const char *prompt) {
  const char *p = strrchr(prompt, ' ');
  return p ? p + 1 : prompt;
}

static bool find_word(struct gazing *k, struct err *e) {
  const struct gaze_job *j = k->j;
  const char *name = j->class_name && *j->class_name ? j->class_name : last_word(j->prompt);
  int32_t word[64];
  char prompt[700];
  int n = tokenizer_encode(j->m->tokenizer, name, word, 64);
  snprintf(prompt, sizeof prompt, "a photo of a %.600s", name);
  if (n < 0 || tokenizer_prompt(j->m->tokenizer, prompt, k->ids, 77, NULL) < 0) return err_set(e, ERR_FIT, "out of memory for a prompt");
  k->watch.count = find_tokens(k->ids, word, n > 64 ? 64 : n, &k->watch.first);
  return k->watch.count > 0 ||
         err_set(e, ERR_INPUT,
                 "masks cannot be derived without a word for what is on the photographs: name a class in [subject], or "
                 "give masks");
}

/* --- sizes ------------------------------------------------------------------------------------------------------------------- */

static int rounded(double x, int unit) {
  int n = (int)(x / unit + 0.5);
  return (n < 1 ? 1 : n) * unit;
}

void gaze_size(const struct gaze_job *j, int w, int h, int *out_w, int *out_h) {
  int unit = vae_factor(j->m->vae) << (unet_config(j->m->unet)->levels - 1);
  double area = (double)j->width * j->height, aspect = (double)w / h;
  if (aspect > 4) aspect = 4;
  if (aspect < 0.25) aspect = 0.25;
  *out_w = rounded(sqrt(area * aspect), unit);
  *out_h = rounded(sqrt(area / aspect), unit);
}

/* --- maps -------------------------------------------------------------------------------------------------------------------- */

/* Bilinear with pixel centres, added to out; scaled so that the map's mean is 1. */
static void add_map(const float *map, int w, int h, float *out, int ow, int oh) {
  double mean = 0;
  for (int i = 0; i < w * h; i++) mean += map[i];
  mean /= w * h;
  float scale = mean > 1e-20 ? (float)(1 / mean) : 0;
  for (int y = 0; y < oh; y++) {
    float fy = ((float)y + 0.5f) * (float)h / (float)oh - 0.5f;
    int y0 = fy < 0 ? 0 : (int)fy, y1 = y0 + 1 < h ? y0 + 1 : h - 1;
    float ty = fy < 0 ? 0 : fy - (float)y0;
    for (int x = 0; x < ow; x++) {
      float fx = ((float)x + 0.5f) * (float)w / (float)ow - 0.5f;
      int x0 = fx < 0 ? 0 : (int)fx, x1 = x0 + 1 < w ? x0 + 1 : w - 1;
      float tx = fx < 0 ? 0 : fx - (float)x0;
      float top = map[y0 * w + x0] * (1 - tx) + map[y0 * w + x1] * tx, bottom = map[y1 * w + x0] * (1 - tx) + map[y1 * w + x1] * tx;
      out[y * ow + x] += scale * (top * (1 - ty) + bottom * ty);
    }
  }
}

/* The decoder's grids of a half and a quarter of the latent; its finest follows texture, the middle of the network has hardly a place. */
static bool wanted(const struct gazing *k, bool up, int level) {
  const struct unet_config *c = unet_config(k->j->m->unet);
  if (c->levels < 3) return up;
  return up && (level == 1 || level == 2);
}

static void map_seen(void *user, bool up, int level, int h, int w, int64_t n, const float *share) {
  struct gazing *k = user;
  if (!wanted(k, up, level)) return;
  for (int64_t i = 0; i < n; i++) add_map(share + i * h * w, w, h, k->sum, k->out->w, k->out->h);
}

static void add_queries(struct gazing *k) {
  int64_t n = (int64_t)k->out->w * k->out->h * k->out->channels;
  for (int64_t i = 0; i < n; i++) k->out->q[i] += k->q[i];
}

/* --- passes ------------------------------------------------------------------------------------------------------------------ */

static bool one_pass(struct ctx *c, struct gazing *k, const struct tensor *text, int level, int index) {
  const struct schedule *s = &k->j->m->schedule;
  int t = (int)(level_share[level] * s->steps);
  struct rng_counter counter = {.seed = 0, .stream = RNG_GAZE, .step = (uint32_t)t, .index = (uint32_t)index};
  float signal = (float)sqrt(s->abar[t]), spread = (float)sqrt(1 - s->abar[t]), told = (float)t;
  rng_normal(&counter, k->noise, 0, k->size.count);
  for (int64_t i = 0; i < k->size.count; i++) k->noisy[i] = signal * k->latents[i] + spread * k->noise[i];
  struct tensor x = ctx_upload(c, DT_F32, 4, (int64_t[]){1, k->size.h, k->size.w, k->size.channels}, k->noisy);
  struct unet_tap tap = {.handle = k->handle, .stop = true, .watch = &k->watch};
  struct unet_options plain = {0};
  struct tensor none = unet_forward(c, k->j->m->unet, &x, &told, text, &tap, &plain, NULL);
  if (!c->failed && !planning(c)) {
    ctx_download(c, k->q, &tap.q);
    add_queries(k);
  }
  ctx_free(c, &tap.q);
  ctx_free(c, &none);
  ctx_free(c, &x);
  return ctx_ok(c);
}

static bool gaze_passes(struct ctx *c, void *user) {
  struct gazing *k = user;
  if (!encode_pixels(c, k->j->m, k->pixels, k->width, k->height, k->moments) ||
      !moments_to_latents(c, k->j->m, k->moments, NULL, &k->size, k->latents))
    return false;
  struct tensor text = clip_forward(c, k->j->m->text, k->ids, 1, 77, NULL);
  for (int i = 0; i < GAZE_LEVELS * GAZE_NOISES && !c->failed; i++) {
    if (!planning(c) && !tell_goes_on(k->j->sink, c->err)) c->failed = true;
    if (c->failed || !one_pass(c, k, &text, i / GAZE_NOISES, i % GAZE_NOISES)) break;
  }
  ctx_free(c, &text);
  return ctx_ok(c);
}

static void finish_gaze(struct gazing *k) {
  struct gaze *o = k->out;
  int n = o->w * o->h;
  double mean = 0;
  for (int i = 0; i < n; i++) mean += k->sum[i] / n;
  for (int i = 0; i < n; i++) o->attention[i] = mean > 1e-20 ? (float)(k->sum[i] / mean) : 1;
  for (int i = 0; i < n; i++) {
    float *row = o->q + (int64_t)i * o->channels;
    double length = 0;
    for (int c = 0; c < o->channels; c++) length += (double)row[c] * row[c];
    length = length > 0 ? 1 / sqrt(length) : 0;
    for (int c = 0; c < o->channels; c++) row[c] = (float)(row[c] * length);
  }
}

static bool gazing_init(struct gazing *k, struct err *e) {
  const struct gaze_job *j = k->j;
  char name[256];
  if (!find_word(k, e) || !unet_pdm_layer(j->m->unet, NULL, name, sizeof name, &k->handle, e)) return false;
  struct gaze *o = k->out;
  k->size = latent_size_of(j->m, k->width, k->height);
  k->watch.user = k;
  k->watch.seen = map_seen;
  unet_pdm_grid(j->m->unet, k->handle, k->size.h, k->size.w, &o->h, &o->w);
  o->channels = (int)unet_pdm_channels(j->m->unet, k->handle);
  size_t cells = (size_t)o->w * (size_t)o->h, count = (size_t)k->size.count;
  o->attention = calloc(cells, sizeof *o->attention);
  o->q = calloc(cells * (size_t)o->channels, sizeof *o->q);
  k->q = calloc(cells * (size_t)o->channels, sizeof *k->q);
  k->sum = calloc(cells, sizeof *k->sum);
  k->moments = calloc(2 * count, sizeof *k->moments);
  k->latents = calloc(count, sizeof *k->latents);
  k->noise = calloc(count, sizeof *k->noise);
  k->noisy = calloc(count, sizeof *k->noisy);
  return (o->attention && o->q && k->q && k->sum && k->moments && k->latents && k->noise && k->noisy) ||
         err_set(e, ERR_FIT, "out of memory for the features of a photograph");
}

static void gazing_release(struct gazing *k) {
  free(k->q);
  free(k->sum);
  free(k->moments);
  free(k->latents);
  free(k->noise);
  free(k->noisy);
}

bool gaze_at(const struct gaze_job *j, const struct image *rgb, struct gaze *out, struct err *e) {
  struct gazing k = {.j = j, .out = out};
  struct image small = {0};
  *out = (struct gaze){0};
  gaze_size(j, rgb->w, rgb->h, &k.width, &k.height);
  float *pixels = calloc((size_t)k.width * (size_t)k.height * 3, sizeof *pixels);
  bool ok = pixels || err_set(e, ERR_FIT, "out of memory for a photograph");
  ok = ok && image_resize(rgb, k.width, k.height, FILTER_BILINEAR, &small, e);
  if (ok) crop_pixels(&small, 0, 0, k.width, k.height, false, pixels);
  k.pixels = pixels;
  ok = ok && gazing_init(&k, e) && workspace_run(&j->m->work, j->m->b, j->act, gaze_passes, &k, NULL, e);
  if (ok) finish_gaze(&k);
  gazing_release(&k);
  image_release(&small);
  free(pixels);
  if (!ok) gaze_release(out);
  return ok;
}

bool gaze_count(struct ctx *c, const struct gaze_job *j, int w, int h) {
  struct gaze none = {0};
  struct gazing k = {.j = j, .out = &none};
  gaze_size(j, w, h, &k.width, &k.height);
  float *pixels = calloc((size_t)k.width * (size_t)k.height * 3, sizeof *pixels);
  k.pixels = pixels;
  bool ok = (pixels || err_set(c->err, ERR_FIT, "out of memory for a photograph")) && gazing_init(&k, c->err) && gaze_passes(c, &k);
  gazing_release(&k);
  gaze_release(&none);
  free(pixels);
  return ok;
}

void gaze_release(struct gaze *k) {
  free(k->attention);
  free(k->q);
  *k = (struct gaze){0};
}

void gaze_key(const struct gaze_job *j, const char *what, struct sha256 *h) {
  char text[256];
  int n = snprintf(text, sizeof text, "%s\n%s\n%s %s %dx%d\n", what, j->m->hash, j->engine ? j->engine : j->m->b->op->name,
                   dtype_name(j->act), j->width, j->height);
  sha256_begin(h);
  sha256_add(h, text, (size_t)n);
  sha256_add(h, j->class_name, strlen(j->class_name) + 1);
  sha256_add(h, j->prompt, strlen(j->prompt) + 1);
}
