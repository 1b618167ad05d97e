/* AdamW with moments in 8 bits: ref/adamw8.c bit for bit, with the nearest number looked up instead of searched.
 *
 * The upper 16 bits of a ratio in 0..1 name a bucket no wider than the numbers lie apart (128 a binade), so that in each at most one tie lies: the number
 * for the bucket's lower end, or the next. */
#include "backend/moments8.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "backend/cpu/cpu.h"

static const float map_m[MOMENT_LAST_M + 1] = MOMENT_MAP_M, map_v[MOMENT_LAST_V + 1] = MOMENT_MAP_V;

static void fill_lookup(struct moment_lookup *l, const float *map, int last) {
  for (int k = 0; k < last; k++) l->tie[k] = 0.5f * (map[k] + map[k + 1]);
  l->tie[last] = INFINITY;
  for (int i = 0; i < MOMENT_BUCKETS; i++) {
    uint32_t bits = (uint32_t)(MOMENT_FIRST_BUCKET + i) << 16;
    float low;
    memcpy(&low, &bits, sizeof low);
    l->first[i] = (uint8_t)(i == 0 ? 0 : moment_nearest(map, last, low));
  }
}

void cpu_moments_open(struct cpu *c) {
  fill_lookup(&c->lookup_m, map_m, MOMENT_LAST_M);
  fill_lookup(&c->lookup_v, map_v, MOMENT_LAST_V);
  for (int i = 0; i < 256; i++) c->value_m[i] = moment_value_m(map_m, (uint8_t)i, 1);
}

static inline int32_t bits_of(float x) {
  int32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

/* Signs and sizes are as good as random: no branches. */
static inline int nearest(const struct moment_lookup *l, int bucket, float a) {
  int k = l->first[bucket];
  return k + (a > l->tie[k]);
}

/* a = x / scale without its sign, and the buckets of that; what is no number counts as 0. */
static void ratios(float *restrict a, int32_t *restrict bucket, const float *restrict x, int n, float scale) {
  float by = scale > 0 ? scale : 1; /* then all x are 0 */
  for (int i = 0; i < n; i++) {
    float ratio = fabsf(x[i]) / by;
    a[i] = ratio == ratio ? ratio : 0;
  }
  for (int i = 0; i < n; i++) {
    int32_t at = (bits_of(a[i]) >> 16) - MOMENT_FIRST_BUCKET;
    at = at > 0 ? at : 0;
    bucket[i] = at < MOMENT_BUCKETS ? at : MOMENT_BUCKETS - 1;
  }
}

struct block {
  float m[MOMENT_BLOCK], r[MOMENT_BLOCK]; /* the first moments, the roots of the second */
  int n;
};

/* Elements [from, to) of the block; the division by the root is ref's, not a product with its inverse. */
static void update(struct block *k, float *restrict w, const float *restrict g, int from, int to, const struct adamw_step *a, float root) {
  for (int i = from; i < to; i++) {
    float grad = a->grad_scale * g[i];
    k->m[i] = a->beta1 * k->m[i] + (1 - a->beta1) * grad;
    k->r[i] = sqrtf(a->beta2 * (k->r[i] * k->r[i]) + (1 - a->beta2) * grad * grad);
    w[i] = a->keep * w[i] - a->step_size * k->m[i] / (k->r[i] / root + a->eps);
  }
}

static float largest(const float *x, int n) {
  float most = 0;
  for (int i = 0; i < n; i++) most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
  return most < FLT_MAX ? most : FLT_MAX;
}

static void store(const struct cpu *c, const struct block *k, uint8_t *restrict m, uint8_t *restrict v, float m_scale, float v_scale) {
  float a[MOMENT_BLOCK];
  int32_t bucket[MOMENT_BLOCK];
  ratios(a, bucket, k->m, k->n, m_scale);
  for (int i = 0; i < k->n; i++) {
    int negative = k->m[i] < 0, code = nearest(&c->lookup_m, bucket[i], a[i]);
    code -= negative & (code == MOMENT_LAST_M); /* minus one has no byte */
    m[i] = (uint8_t)(code + ((negative & (code > 0)) << 7));
  }
  ratios(a, bucket, k->r, k->n, v_scale);
  for (int i = 0; i < k->n; i++) {
    int code = nearest(&c->lookup_v, bucket[i], a[i]);
    v[i] = (uint8_t)(code + ((code == 0) & (k->r[i] > 0)));
  }
}

void cpu_adamw8(struct backend *b, float *w, const float *g, const struct moments8 *s, int64_t from, int64_t to, const struct adamw *a) {
  const struct cpu *c = cpu_of(b);
  struct adamw_step step = {.beta1 = a->beta1, .beta2 = a->beta2, .eps = a->eps, .grad_scale = a->grad_scale};
  step.step_size = (float)(a->lr / (1 - pow(a->beta1, a->step)));
  step.keep = (float)(1 - (double)a->lr * a->weight_decay);
  float root = (float)sqrt(1 - pow(a->beta2, a->step));
  int64_t begin = from / MOMENT_BLOCK, end = (to + MOMENT_BLOCK - 1) / MOMENT_BLOCK;
#pragma omp parallel for num_threads(to - from < CPU_SERIAL ? 1 : b->threads)
  for (int64_t i = begin; i < end; i++) {
    int64_t at = i * MOMENT_BLOCK, first = from > at ? from - at : 0, rest = s->count - at, last = to - at;
    struct block k;
    k.n = rest < MOMENT_BLOCK ? (int)rest : MOMENT_BLOCK;
    for (int j = 0; j < k.n; j++) k.m[j] = c->value_m[s->m[at + j]] * s->m_scale[i];
    for (int j = 0; j < k.n; j++) k.r[j] = map_v[s->v[at + j]] * s->v_scale[i];
    update(&k, w + at, g + at, (int)first, last < k.n ? (int)last : k.n, &step, root);
    s->m_scale[i] = largest(k.m, k.n);
    s->v_scale[i] = largest(k.r, k.n);
    store(c, &k, s->m + at, s->v + at, s->m_scale[i], s->v_scale[i]);
  }
}
