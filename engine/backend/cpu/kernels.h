/* Inner loops of the cpu backend, written once (the *.inc files, GCC vector extensions) and compiled for several
 * instruction sets (kernels_*.c); open() picks one table. None of them starts threads: the callers share out the work. */
#ifndef PDMBOOTH_BACKEND_CPU_KERNELS_H
#define PDMBOOTH_BACKEND_CPU_KERNELS_H

#include <string.h>

#include "backend/backend.h"

/* The conversions of base/tensor.h: those of BF16 here for the compiler to inline. type: DT_BF16 or DT_F16. */
static inline float wide(uint16_t x, enum dtype type) {
  if (type == DT_F16) return f16_to_f32(x);
  uint32_t u = (uint32_t)x << 16;
  float y;
  memcpy(&y, &u, sizeof y);
  return y;
}
static inline uint16_t narrow(float x, enum dtype type) {
  if (type == DT_F16) return f32_to_f16(x);
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40);
  return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

enum { KERNEL_MAX_MR = 8, KERNEL_MAX_NR = 32 };

/* What happens to a block of products on its way to memory: c = alpha t + beta c + bias. */
struct tile_out {
  void *c;
  enum dtype type; /* F32, BF16 or F16 */
  int64_t ldc;
  float alpha, beta;
  const float *bias; /* NULL: none */
};

/* struct adamw with what depends on the step worked out. */
struct adamw_step {
  float beta1, beta2, eps, grad_scale, step_size, inverse_root, keep;
};

/* Group norm's statistics and parameters, one of each for a channel. */
struct norm_columns {
  float *mean, *rstd, *mean_dh, *mean_dhh;
  const float *gamma, *beta;
};

struct kernels {
  const char *name;
  int mr, nr; /* rows and columns of a tile */

  /* t [mr, nr] (+)= sum over k of a[row][k] * b[k, nr]; first: overwrite t */
  void (*tile)(const float *const *a, int64_t k, const float *b, float *t, bool first);
  /* Row r of t [rows, nr] goes to row map[r] (NULL: r) of o->c, columns col .. col + cols. */
  void (*tile_store)(const struct tile_out *o, const float *t, int64_t rows, const int64_t *map, int64_t col, int cols);

  /* attention.inc */
  void (*attn_softmax)(float *s, int64_t keys, float *m, float *l, float *o, int64_t d);
  void (*attn_gradient)(float *s, float *ds, float *copy, int64_t ld, int64_t rows, const float *lse, const float *delta,
                        const int32_t *limit);
  /* sum over i of a[i, lane] c[i, lane], i < d, for n lanes, rows ld apart; in the order in which a tile sums */
  void (*attn_delta)(float *delta, const float *a, const float *c, int64_t ld, int64_t d, int64_t n);

  /* elementwise.inc; results may take the place of an operand */
  void (*widen)(float *y, const uint16_t *x, int64_t n, enum dtype type);
  void (*narrow)(uint16_t *y, const float *x, int64_t n, enum dtype type);
  void (*axpby)(float *y, float alpha, const float *x, float beta, int64_t n);
  void (*add)(float *y, const float *a, const float *c, int64_t n);
  void (*act)(float *y, const float *x, int64_t n, enum activation kind);
  void (*act_bwd)(float *dx, const float *dy, const float *x, int64_t n, enum activation kind);
  void (*geglu)(float *y, const float *h, const float *gate, int64_t n);
  void (*geglu_bwd)(float *dh, float *dgate, const float *dy, const float *h, const float *gate, int64_t n);
  double (*sum_squares)(const float *x, int64_t n);
  void (*adamw)(float *w, const float *g, float *m, float *v, int64_t n, const struct adamw_step *a);

  /* norm.inc */
  void (*norm_sums)(float *sum, const float *x, const float *mean, int64_t rows, int64_t c);
  void (*norm_apply)(float *y, const float *x, const struct norm_columns *n, int64_t rows, int64_t c, bool silu);
  void (*norm_bwd_sums)(float *sums, const float *dy, const float *x, const struct norm_columns *n, int64_t rows, int64_t c, bool silu);
  void (*norm_bwd_apply)(float *dx, const float *dy, const float *x, const struct norm_columns *n, int64_t rows, int64_t c, bool silu);
  void (*layer_rows)(float *y, float *stats, const float *x, const float *gamma, const float *beta, int64_t rows, int64_t c, float eps);
  void (*layer_bwd_rows)(float *dx, float *sums, const float *dy, const float *x, const float *stats, const float *gamma, int64_t rows,
                         int64_t c);
};

extern const struct kernels kernels_sse2, kernels_avx2, kernels_avx512;

#endif
