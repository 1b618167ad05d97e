/* Element-wise operations: each thread four elements, each element read and written once.
 *
 * Bytes per element of type size s: fill s, cast and act 2 s, axpby, add and act_bwd 3 s, geglu 3 s (per output), geglu_bwd 5 s. Flops: 1 to 30,
 * far below what the memory allows (10 flops a byte and more): all are bound by memory. */
#include "kernel.h"

__global__ void fill_kernel(void *y, int64_t n, int type, int wide, float value) {
  int64_t i = first_of_four();
  struct four v;
  for (int j = 0; j < 4; j++) v.v[j] = value;
  if (i < n) store4(y, i, n, type, wide, v);
}

__global__ void cast_kernel(void *y, int to, const void *x, int from, int64_t n, int wide) {
  int64_t i = first_of_four();
  if (i < n) store4(y, i, n, to, wide, load4(x, i, n, from, wide));
}

/* y is not read where beta is 0: it may hold anything */
__global__ void axpby_kernel(void *y, int to, const void *x, int from, int64_t n, int wide, float alpha, float beta) {
  int64_t i = first_of_four();
  if (i >= n) return;
  struct four v = load4(x, i, n, from, wide), old;
  for (int j = 0; j < 4; j++) v.v[j] *= alpha;
  if (beta != 0) {
    old = load4(y, i, n, to, wide);
    for (int j = 0; j < 4; j++) v.v[j] += beta * old.v[j];
  }
  store4(y, i, n, to, wide, v);
}

__global__ void add_kernel(void *y, const void *a, const void *c, int64_t n, int type, int wide) {
  int64_t i = first_of_four();
  if (i >= n) return;
  struct four v = load4(a, i, n, type, wide), w = load4(c, i, n, type, wide);
  for (int j = 0; j < 4; j++) v.v[j] += w.v[j];
  store4(y, i, n, type, wide, v);
}

__global__ void act_kernel(void *y, const void *x, int64_t n, int type, int wide, int kind) {
  int64_t i = first_of_four();
  if (i >= n) return;
  struct four v = load4(x, i, n, type, wide);
  for (int j = 0; j < 4; j++) v.v[j] = act_value(v.v[j], kind);
  store4(y, i, n, type, wide, v);
}

__global__ void act_bwd_kernel(void *dx, const void *dy, const void *x, int64_t n, int type, int wide, int kind) {
  int64_t i = first_of_four();
  if (i >= n) return;
  struct four v = load4(x, i, n, type, wide), d = load4(dy, i, n, type, wide);
  for (int j = 0; j < 4; j++) d.v[j] *= act_slope(v.v[j], kind);
  store4(dx, i, n, type, wide, d);
}

/* y [m, c]: element i of y is hidden element at(i) and gate element at(i) + c of x [m, 2c] */
__device__ static inline int64_t hidden_at(int64_t i, int64_t c) {
  return i + quotient(i, c) * c;
}

/* wide: c is a multiple of 4, too; so four elements of y lie in one row */
__global__ void geglu_kernel(void *y, const void *x, int64_t m, int64_t c, int type, int wide) {
  int64_t i = first_of_four(), n = m * c;
  if (i >= n) return;
  struct four v;
  if (wide) {
    int64_t at = hidden_at(i, c);
    struct four hidden = load4(x, at, 2 * n, type, 1), gate = load4(x, at + c, 2 * n, type, 1);
    for (int j = 0; j < 4; j++) v.v[j] = hidden.v[j] * act_value(gate.v[j], ACT_GELU);
  } else
    for (int j = 0; j < 4; j++) {
      int64_t at = hidden_at(i + j < n ? i + j : i, c);
      v.v[j] = load(x, at, type) * act_value(load(x, at + c, type), ACT_GELU);
    }
  store4(y, i, n, type, wide, v);
}

__global__ void geglu_bwd_kernel(void *dx, const void *dy, const void *x, int64_t m, int64_t c, int type, int wide) {
  int64_t i = first_of_four(), n = m * c;
  if (i >= n) return;
  if (wide) {
    int64_t at = hidden_at(i, c);
    struct four hidden = load4(x, at, 2 * n, type, 1), gate = load4(x, at + c, 2 * n, type, 1), d = load4(dy, i, n, type, 1), dh, dg;
    for (int j = 0; j < 4; j++) {
      dh.v[j] = d.v[j] * act_value(gate.v[j], ACT_GELU);
      dg.v[j] = d.v[j] * hidden.v[j] * act_slope(gate.v[j], ACT_GELU);
    }
    store4(dx, at, 2 * n, type, 1, dh);
    store4(dx, at + c, 2 * n, type, 1, dg);
    return;
  }
  for (int j = 0; j < 4 && i + j < n; j++) {
    int64_t at = hidden_at(i + j, c);
    float hidden = load(x, at, type), gate = load(x, at + c, type), d = load(dy, i + j, type);
    store(dx, at, type, d * act_value(gate, ACT_GELU));
    store(dx, at + c, type, d * hidden * act_slope(gate, MISTAKE(2, ACT_GELU, ACT_QUICK_GELU)));
  }
}

/* --- slots ---------------------------------------------------------------------------------------------------------------------- */

static int64_t blocks_for(int64_t n) {
  return pieces(n, 4 * BLOCK);
}

void cuda_fill(struct backend *b, struct tensor *y, float value) {
  int64_t n = tensor_count(y);
  if (cuda_idle(b)) return;
  RUN(b, fill_kernel, blocks_for(n), BLOCK, y->data, n, y->type, is_wide(y->data, y->type), value);
}

void cuda_cast(struct backend *b, struct tensor *y, const struct tensor *x) {
  int64_t n = tensor_count(y);
  if (cuda_idle(b)) return;
  RUN(b, cast_kernel, blocks_for(n), BLOCK, y->data, y->type, x->data, x->type, n, is_wide(y->data, y->type) && is_wide(x->data, x->type));
}

static int all_wide(const struct tensor *a, const struct tensor *b, const struct tensor *c) {
  return is_wide(a->data, a->type) && is_wide(b->data, b->type) && is_wide(c->data, c->type);
}

void cuda_axpby(struct backend *b, struct tensor *y, float alpha, const struct tensor *x, float beta) {
  int64_t n = tensor_count(y);
  if (cuda_idle(b)) return;
  RUN(b, axpby_kernel, blocks_for(n), BLOCK, y->data, y->type, x->data, x->type, n, all_wide(y, x, x), alpha, beta);
}

void cuda_add(struct backend *b, struct tensor *y, const struct tensor *a, const struct tensor *c) {
  int64_t n = tensor_count(y);
  if (cuda_idle(b)) return;
  RUN(b, add_kernel, blocks_for(n), BLOCK, y->data, a->data, c->data, n, y->type, all_wide(y, a, c));
}

void cuda_act(struct backend *b, struct tensor *y, const struct tensor *x, enum activation kind) {
  int64_t n = tensor_count(y);
  if (cuda_idle(b)) return;
  RUN(b, act_kernel, blocks_for(n), BLOCK, y->data, x->data, n, y->type, all_wide(y, x, x), kind);
}

void cuda_act_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x, enum activation kind) {
  int64_t n = tensor_count(dx);
  if (cuda_idle(b)) return;
  RUN(b, act_bwd_kernel, blocks_for(n), BLOCK, dx->data, dy->data, x->data, n, dx->type, all_wide(dx, dy, x), kind);
}

void cuda_geglu(struct backend *b, struct tensor *y, const struct tensor *x) {
  int64_t m = tensor_rows(y), c = tensor_last(y);
  if (cuda_idle(b)) return;
  RUN(b, geglu_kernel, blocks_for(m * c), BLOCK, y->data, x->data, m, c, y->type, all_wide(y, x, x) && c % 4 == 0);
}

void cuda_geglu_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x) {
  int64_t m = tensor_rows(dy), c = tensor_last(dy);
  if (cuda_idle(b)) return;
  RUN(b, geglu_bwd_kernel, blocks_for(m * c), BLOCK, dx->data, dy->data, x->data, m, c, dx->type, all_wide(dx, dy, x) && c % 4 == 0);
}

/* x [m, c] += bias [c] */
__global__ void add_bias_kernel(void *x, const float *bias, int64_t count, int64_t c, int type) {
  int64_t i = thread_index();
  if (i < count) store(x, i, type, load(x, i, type) + bias[i - quotient(i, c) * c]);
}

void cuda_add_bias(struct backend *b, struct tensor *x, const float *bias) {
  int64_t count = tensor_count(x);
  if (cuda_idle(b)) return;
  RUN(b, add_bias_kernel, pieces(count, BLOCK), BLOCK, x->data, bias, count, tensor_last(x), x->type);
}
