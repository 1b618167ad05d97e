#include "train/palette.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

enum { SAMPLES = 12000, ROUNDS = 10 };

static float distance2(const float *a, const float *b, int n) {
  float sum = 0;
  for (int i = 0; i < n; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

static int nearest(const struct palette *p, const float *row, float *d2) {
  int best = 0;
  *d2 = FLT_MAX;
  for (int k = 0; k < p->kinds; k++) {
    float d = distance2(row, p->centre + (int64_t)k * p->channels, p->channels);
    if (d < *d2) {
      *d2 = d;
      best = k;
    }
  }
  return best;
}

struct samples {
  const float *rows;
  int64_t n, count; /* rows, rows looked at */
  float *d2;        /* [count] distance to the centres so far */
};

static const float *sample(const struct samples *s, const struct palette *p, int64_t i) {
  return s->rows + i * s->n / s->count * p->channels;
}

/* k-means++ (Arthur and Vassilvitskii, 2007): the next centre is drawn with a chance in proportion to the squared distance. */
static void seed(struct palette *p, struct samples *s) {
  struct rng_counter c = {.stream = RNG_GAZE, .step = UINT32_MAX};
  memcpy(p->centre, sample(s, p, s->count / 2), (size_t)p->channels * sizeof *p->centre);
  for (int64_t i = 0; i < s->count; i++) s->d2[i] = FLT_MAX;
  for (int k = 1; k < p->kinds; k++) {
    double sum = 0;
    for (int64_t i = 0; i < s->count; i++) {
      float d = distance2(sample(s, p, i), p->centre + (int64_t)(k - 1) * p->channels, p->channels);
      if (d < s->d2[i]) s->d2[i] = d;
      sum += s->d2[i];
    }
    double left = sum * (double)rng_uniform(&c, (uint32_t)k);
    int64_t i = 0;
    while (i + 1 < s->count && (left -= s->d2[i]) > 0) i++;
    memcpy(p->centre + (int64_t)k * p->channels, sample(s, p, i), (size_t)p->channels * sizeof *p->centre);
  }
}

/* One round of Lloyd's: kinds without a row stay where they are. */
static void improve(struct palette *p, const struct samples *s, double *sum, int64_t *count) {
  double all = 0;
  memset(sum, 0, (size_t)p->kinds * (size_t)p->channels * sizeof *sum);
  memset(count, 0, (size_t)p->kinds * sizeof *count);
  for (int64_t i = 0; i < s->count; i++) {
    float d2;
    const float *row = sample(s, p, i);
    int k = nearest(p, row, &d2);
    for (int c = 0; c < p->channels; c++) sum[(int64_t)k * p->channels + c] += row[c];
    count[k]++;
    all += d2;
  }
  for (int k = 0; k < p->kinds; k++)
    for (int c = 0; count[k] > 0 && c < p->channels; c++)
      p->centre[(int64_t)k * p->channels + c] = (float)(sum[(int64_t)k * p->channels + c] / (double)count[k]);
  p->spread = (float)sqrt(all / (double)s->count) + 1e-6f;
}

bool palette_make(struct palette *p, const float *rows, int64_t n, int channels, int kinds) {
  *p = (struct palette){.kinds = kinds < n ? kinds : (int)n, .channels = channels};
  struct samples s = {.rows = rows, .n = n, .count = n < SAMPLES ? n : SAMPLES};
  double *sum = calloc((size_t)p->kinds * (size_t)channels + 1, sizeof *sum);
  int64_t *count = calloc((size_t)p->kinds + 1, sizeof *count);
  p->centre = calloc((size_t)p->kinds * (size_t)channels + 1, sizeof *p->centre);
  s.d2 = calloc((size_t)s.count + 1, sizeof *s.d2);
  bool ok = sum && count && p->centre && s.d2 && p->kinds > 0;
  if (ok) seed(p, &s);
  for (int r = 0; ok && r < ROUNDS; r++) improve(p, &s, sum, count);
  free(sum);
  free(count);
  free(s.d2);
  if (!ok) palette_release(p);
  return ok;
}

void palette_release(struct palette *p) {
  free(p->centre);
  *p = (struct palette){0};
}

/* The nearest kinds, weighted by exp(-d^2 / 2 spread^2). */
static void read_row(const struct palette *p, const float *row, struct palette_row *out) {
  float d2[PALETTE_NEAR], sum = 0;
  for (int i = 0; i < PALETTE_NEAR; i++) d2[i] = FLT_MAX, out->kind[i] = 0;
  for (int k = 0; k < p->kinds; k++) {
    float d = distance2(row, p->centre + (int64_t)k * p->channels, p->channels);
    int at = PALETTE_NEAR;
    while (at > 0 && d < d2[at - 1]) at--;
    for (int i = PALETTE_NEAR - 1; i > at; i--) d2[i] = d2[i - 1], out->kind[i] = out->kind[i - 1];
    if (at < PALETTE_NEAR) d2[at] = d, out->kind[at] = (uint16_t)k;
  }
  for (int i = 0; i < PALETTE_NEAR; i++) sum += out->share[i] = i < p->kinds ? expf((d2[0] - d2[i]) / (2 * p->spread * p->spread)) : 0;
  for (int i = 0; i < PALETTE_NEAR; i++) out->share[i] /= sum;
}

void palette_read(const struct palette *p, const float *rows, int64_t n, struct palette_row *out) {
  for (int64_t i = 0; i < n; i++) read_row(p, rows + i * p->channels, out + i);
}
