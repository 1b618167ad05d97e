/* Draws (draw.h). Streams and counters are those of base/rng.h:
 *   e = micro * batch + example          index of an example inside its step
 *   timestep, posterior, offset          index e * SLOT_KINDS + kind
 *   noise                                one stream a kind, index e
 *   crop, flip                           index e * 16 + attempt: numbers 0, 1 the corner, 2 (attempt 0) the flip
 *   photograph, class picture            position g = (step * accumulation + micro) * batch + example in permutations drawn anew each epoch */
#include "train/draw.h"

#include <stdlib.h>

enum { PHOTOGRAPHS, CLASS_IMAGES, CROP_ATTEMPTS = 16 };

bool draw_init(struct draw *d, struct err *e) {
  d->epoch[PHOTOGRAPHS] = d->epoch[CLASS_IMAGES] = -1;
  d->order[PHOTOGRAPHS] = calloc((size_t)d->photographs + 1, sizeof(int));
  d->order[CLASS_IMAGES] = calloc((size_t)d->class_images + 1, sizeof(int));
  if (d->order[PHOTOGRAPHS] && d->order[CLASS_IMAGES]) return true;
  draw_release(d);
  return err_set(e, ERR_FIT, "out of memory while preparing the order of the photographs");
}

void draw_release(struct draw *d) {
  free(d->order[PHOTOGRAPHS]);
  free(d->order[CLASS_IMAGES]);
  d->order[PHOTOGRAPHS] = d->order[CLASS_IMAGES] = NULL;
}

/* Entry g of the endless sequence of permutations of n things. */
static int drawn(struct draw *d, int which, enum rng_stream stream, int n, int64_t g) {
  if (n <= 0) return -1;
  if (d->epoch[which] != g / n) {
    d->epoch[which] = g / n;
    rng_permutation(&(struct rng_counter){.seed = d->seed, .stream = stream, .step = (uint32_t)(g / n)}, d->order[which], n);
  }
  return d->order[which][g % n];
}

static struct rng_counter counter(const struct draw *d, enum rng_stream stream, int step, uint32_t index) {
  return (struct rng_counter){.seed = d->seed, .stream = stream, .step = (uint32_t)step, .index = index};
}

void draw_example(struct draw *d, int step, int micro, int example, struct draw_example *out) {
  uint32_t e = (uint32_t)(micro * d->batch + example);
  int64_t g = ((int64_t)step * d->accumulation + micro) * d->batch + example;
  *out = (struct draw_example){.photograph = drawn(d, PHOTOGRAPHS, RNG_SHUFFLE, d->photographs, g),
                               .class_image = drawn(d, CLASS_IMAGES, RNG_SHUFFLE_PRIOR, d->class_images, g)};
  static const enum rng_stream noise[SLOT_KINDS] = {
      [SLOT_INSTANCE] = RNG_NOISE_INSTANCE, [SLOT_PRIOR] = RNG_NOISE_PRIOR, [SLOT_PDM] = RNG_NOISE_PDM};
  for (int k = 0; k < SLOT_KINDS; k++) {
    uint32_t slot = e * SLOT_KINDS + (uint32_t)k;
    struct rng_counter t = counter(d, RNG_TIMESTEP, step, slot);
    out->t[k] = (int)rng_below(&t, 0, (uint32_t)d->timesteps);
    out->noise[k] = counter(d, noise[k], step, e);
    out->offset[k] = counter(d, RNG_OFFSET, step, slot);
    out->posterior[k] = counter(d, RNG_POSTERIOR, step, slot);
  }
  struct rng_counter crop = counter(d, RNG_CROP, step, e * CROP_ATTEMPTS);
  out->flip = d->flip && rng_below(&crop, 2, 2) == 1;
}

void draw_crop(const struct draw *d, int step, int micro, int example, int attempt, int free_x, int free_y, int *x, int *y) {
  uint32_t e = (uint32_t)(micro * d->batch + example);
  struct rng_counter c = counter(d, RNG_CROP, step, e * CROP_ATTEMPTS + (uint32_t)attempt);
  *x = (int)rng_below(&c, 0, (uint32_t)free_x + 1);
  *y = (int)rng_below(&c, 1, (uint32_t)free_y + 1);
}

static int compare_pairs(const void *a, const void *b) {
  const struct draw_pair *p = a, *q = b;
  if (p->photograph != q->photograph) return p->photograph < q->photograph ? -1 : 1;
  return p->t < q->t ? -1 : p->t > q->t;
}

struct draw_pair *draw_pairs(struct draw *d, int steps, int *n, struct err *e) {
  size_t all = (size_t)steps * (size_t)d->accumulation * (size_t)d->batch, k = 0;
  struct draw_pair *p = calloc(all + 1, sizeof *p);
  if (!p) {
    err_set(e, ERR_FIT, "out of memory while listing the timesteps of %d steps", steps);
    return NULL;
  }
  for (int s = 0; s < steps; s++)
    for (int i = 0; i < d->accumulation * d->batch; i++) {
      struct draw_example x;
      draw_example(d, s, i / d->batch, i % d->batch, &x);
      p[k++] = (struct draw_pair){x.photograph, x.t[SLOT_PDM]};
    }
  qsort(p, all, sizeof *p, compare_pairs);
  size_t kept = 0;
  for (size_t i = 0; i < all; i++)
    if (kept == 0 || compare_pairs(p + kept - 1, p + i) != 0) p[kept++] = p[i];
  *n = (int)kept;
  return p;
}
