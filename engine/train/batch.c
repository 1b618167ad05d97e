#include "train/batch.h"

#include <stdlib.h>
#include <string.h>

#include "train/mask.h"

static bool tokens(const struct batch *b, const char *prompt, int32_t *ids, struct err *e) {
  return tokenizer_prompt(b->m->tokenizer, prompt, ids, 77, NULL) >= 0 || err_set(e, ERR_FIT, "out of memory while reading a prompt");
}

static bool slot_init(struct batch *b, int i, enum slot_kind kind, int example, struct err *e) {
  struct slot_data *d = b->data + i;
  size_t n = (size_t)b->size.count, q = kind == SLOT_PDM ? (size_t)pdm_tokens(b->pdm) * (size_t)pdm_channels(b->pdm) : 0;
  d->pixels = calloc((size_t)b->d->width * (size_t)b->d->height * 3, sizeof *d->pixels);
  d->posterior = calloc(n, sizeof *d->posterior);
  d->latents = calloc(n, sizeof *d->latents);
  d->noise = calloc(n, sizeof *d->noise);
  d->mask = calloc((size_t)b->size.w * (size_t)b->size.h, sizeof *d->mask);
  d->qstar = calloc(q + 1, sizeof *d->qstar);
  if (!d->pixels || !d->posterior || !d->latents || !d->noise || !d->mask || !d->qstar)
    return err_set(e, ERR_FIT, "out of memory for the pictures of a step");
  b->slot[i] = (struct slot){.kind = kind,
                             .example = example,
                             .noise = d->noise,
                             .ids = kind == SLOT_PRIOR ? b->class_ids : b->instance_ids,
                             .qstar = kind == SLOT_PDM ? d->qstar : NULL};
  return true;
}

bool batch_init(struct batch *b, struct err *e) {
  bool on[SLOT_KINDS] = {[SLOT_INSTANCE] = b->want.instance, [SLOT_PRIOR] = b->want.prior, [SLOT_PDM] = b->want.pdm};
  int kinds = on[0] + on[1] + on[2], at = 0;
  b->size = latent_size_of(b->m, b->d->width, b->d->height);
  b->slots = kinds * b->draw->batch;
  b->slot = calloc((size_t)b->slots + 1, sizeof *b->slot);
  b->data = calloc((size_t)b->slots + 1, sizeof *b->data);
  bool ok = (b->slot && b->data) || err_set(e, ERR_FIT, "out of memory for the pictures of a step");
  ok = ok && tokens(b, b->want.instance_prompt, b->instance_ids, e) && tokens(b, b->want.class_prompt, b->class_ids, e);
  for (int k = 0; k < SLOT_KINDS; k++)
    for (int i = 0; ok && on[k] && i < b->draw->batch; i++) ok = slot_init(b, at++, (enum slot_kind)k, i, e);
  if (!ok) batch_release(b);
  return ok;
}

void batch_release(struct batch *b) {
  for (int i = 0; b->data && i < b->slots; i++) {
    struct slot_data *d = b->data + i;
    float *all[] = {d->pixels, d->posterior, d->latents, d->noise, d->mask, d->qstar};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) free(all[k]);
  }
  free(b->slot);
  free(b->data);
  b->slot = NULL;
  b->data = NULL;
}

/* eps, offset noise added: eps[.., k] += strength * N(0, 1) of channel k. */
static void fill_noise(const struct batch *b, const struct draw_example *x, enum slot_kind kind, float *out) {
  rng_normal(x->noise + kind, out, 0, b->size.count);
  if (b->want.noise_offset == 0) return;
  int channels = b->size.channels;
  for (int k = 0; k < channels; k++) {
    float offset;
    rng_normal(x->offset + kind, &offset, k, 1);
    for (int64_t i = k; i < b->size.count; i += channels) out[i] += (float)b->want.noise_offset * offset;
  }
}

static void draw_posterior(struct batch *b, struct slot_data *d, const struct rng_counter *posterior) {
  rng_normal(posterior, d->posterior, 0, b->size.count);
  d->from_pixels = true;
}

/* Posterior sample of the slot's pixels. */
static bool encode_latents(struct batch *b, struct ctx *c, int i, const struct rng_counter *posterior) {
  struct tensor z = tensor_slice(b->latents, i, 1);
  draw_posterior(b, b->data + i, posterior);
  return latents_of_pixels(c, b->m, b->data[i].pixels, b->d->width, b->d->height, b->data[i].posterior, &z);
}

static bool center_latents(struct batch *b, struct ctx *c, int i, struct photograph *p, bool flip, const struct rng_counter *posterior) {
  struct slot_data *d = b->data + i;
  struct tensor z = tensor_slice(b->latents, i, 1);
  int x, y;
  photograph_center(b->d, p, &x, &y);
  const float *moments = center_moments(c, b->m, b->d, p, flip, d->pixels);
  crop_pixels(&p->rgb, x, y, b->d->width, b->d->height, flip, d->pixels); /* also where the moments were known: the dump shows them */
  draw_posterior(b, d, posterior);
  return moments && latents_of_moments(c, b->m, moments, d->posterior, &z);
}

struct crop {
  int step, micro, example;
};

/* A crop whose latent mask is not empty, up to DRAW_REDRAWS redraws; the mask in d->mask. */
static bool choose_crop(struct batch *b, const struct crop *k, const struct photograph *p, struct slot_data *d, bool flip, int *x, int *y) {
  bool fixed = b->want.center_crop || (p->rgb.w == b->d->width && p->rgb.h == b->d->height);
  int selected = 0;
  photograph_center(b->d, p, x, y);
  for (int attempt = 0; attempt <= (fixed ? 0 : DRAW_REDRAWS) && selected == 0; attempt++) {
    if (!fixed) draw_crop(b->draw, k->step, k->micro, k->example, attempt, p->rgb.w - b->d->width, p->rgb.h - b->d->height, x, y);
    selected = b->want.mask_dm ? photograph_mask(b->d, p, *x, *y, flip, b->size.w, b->size.h, d->mask) : 1;
  }
  return selected >= 0;
}

static bool fill_instance(struct batch *b, struct ctx *c, const struct crop *k, const struct draw_example *x, int i) {
  struct photograph *p = b->d->photograph + x->photograph;
  struct slot_data *d = b->data + i;
  int left, top, cx, cy;
  if (!choose_crop(b, k, p, d, x->flip, &left, &top)) return err_set(c->err, ERR_FIT, "out of memory for the mask of %s", p->name);
  b->slot[i].mask = b->want.mask_dm ? d->mask : NULL;
  photograph_center(b->d, p, &cx, &cy);
  if (left == cx && top == cy) return center_latents(b, c, i, p, x->flip, x->posterior + SLOT_INSTANCE);
  crop_pixels(&p->rgb, left, top, b->d->width, b->d->height, x->flip, d->pixels);
  return encode_latents(b, c, i, x->posterior + SLOT_INSTANCE);
}

/* Mask of the centre crop of a class picture on the latent's grid. */
static bool class_mask(struct batch *b, int picture, float *out, struct err *e) {
  struct image mask = {0};
  int w, h, selected = -1;
  if (!b->classes->mask(b->classes->user, picture, &mask, e)) return false;
  cover_size(mask.w, mask.h, b->d->width, b->d->height, &w, &h);
  bool ok = image_resize_to(&mask, w, h, FILTER_BICUBIC, e);
  if (ok) {
    mask_binarise(&mask);
    selected = mask_to_grid(&mask, center_offset(w, b->d->width), center_offset(h, b->d->height), b->d->width, b->d->height, false,
                            b->size.w, b->size.h, out);
  }
  image_release(&mask);
  return ok && (selected >= 0 || err_set(e, ERR_FAILED, "out of memory for the mask of a class image"));
}

static bool kept_latents(struct batch *b, struct ctx *c, const struct draw_example *x, int i) {
  struct slot_data *d = b->data + i;
  struct tensor z = tensor_slice(b->latents, i, 1);
  d->from_pixels = false;
  if (!b->classes->latents(b->classes->user, x->class_image, d->latents, c->err)) return false;
  c->b->op->upload(c->b, z.data, d->latents, tensor_bytes(&z));
  return true;
}

/* A class picture, centre-cropped where it is larger. */
static bool fill_prior(struct batch *b, struct ctx *c, const struct draw_example *x, int i) {
  struct slot_data *d = b->data + i;
  if (b->want.mask_prior && b->classes->mask) {
    if (!class_mask(b, x->class_image, d->mask, c->err)) return false;
    b->slot[i].mask = d->mask;
  }
  if (b->classes->latents) return kept_latents(b, c, x, i);
  struct image im = {0};
  int w, h;
  bool ok = b->classes->picture(b->classes->user, x->class_image, &im, c->err);
  if (ok) cover_size(im.w, im.h, b->d->width, b->d->height, &w, &h);
  ok = ok && image_resize_to(&im, w, h, FILTER_BILINEAR, c->err);
  if (ok)
    crop_pixels(&im, center_offset(im.w, b->d->width), center_offset(im.h, b->d->height), b->d->width, b->d->height, false, d->pixels);
  image_release(&im);
  return ok && encode_latents(b, c, i, x->posterior + SLOT_PRIOR);
}

static bool fill_pdm(struct batch *b, struct ctx *c, const struct draw_example *x, int i) {
  if (!pdm_read(b->pdm, x->photograph, x->t[SLOT_PDM], b->data[i].qstar))
    return err_set(c->err, ERR_FAILED, "no PDM target of photograph %s at timestep %d: delete the run's state/qstar, it will be made again",
                   b->d->photograph[x->photograph].name, x->t[SLOT_PDM]);
  b->slot[i].mask = pdm_mask(b->pdm, x->photograph);
  return center_latents(b, c, i, b->d->photograph + x->photograph, false, x->posterior + SLOT_PDM);
}

static bool fill_slot(struct batch *b, struct ctx *c, const struct crop *k, const struct draw_example *x, int i) {
  struct slot *s = b->slot + i;
  s->t = x->t[s->kind];
  fill_noise(b, x, s->kind, b->data[i].noise);
  if (s->kind == SLOT_INSTANCE) return fill_instance(b, c, k, x, i);
  return s->kind == SLOT_PRIOR ? fill_prior(b, c, x, i) : fill_pdm(b, c, x, i);
}

bool batch_fill(struct batch *b, struct ctx *c, int step, int micro, struct err *e) {
  c->err = e;
  b->latents = ctx_new_4d(c, DT_F32, b->slots, b->size.h, b->size.w, b->size.channels);
  if (c->failed) return false;
  for (int i = 0; i < b->slots; i++) {
    struct draw_example x;
    b->slot[i].device_latents = tensor_slice(b->latents, i, 1).data;
    struct crop k = {step, micro, b->slot[i].example};
    draw_example(b->draw, step, micro, k.example, &x);
    if (!fill_slot(b, c, &k, &x, i)) return err_set(e, ERR_FAILED, "the pictures of step %d could not be prepared", step + 1);
  }
  return ctx_ok(c);
}

void batch_end(struct batch *b, struct ctx *c) {
  ctx_free(c, &b->latents);
}

bool batch_read(struct batch *b, struct ctx *c) {
  for (int i = 0; i < b->slots; i++) {
    struct tensor z = tensor_slice(b->latents, i, 1);
    ctx_download(c, b->data[i].latents, &z);
  }
  return ctx_ok(c);
}
