/* Attention of 16-bit types on tensor cores (nvcuda::wmma, tiles of 16 x 16 x 16, sums in fp32), for heads of up to 160 columns. The formulas are attention.cu's.
 *
 * A block of WARPS warps owns 16 rows a warp of one head (queries, or keys for dk and dv) and goes through the other side in tiles of OTHER rows. Where the elements of a
 * fragment lie is the hardware's affair, so scores go through shared memory, each warp's for itself; results stay in fragments. That is why the forward pass goes through the
 * keys twice, for lse first: with it probabilities are final when they are made, and no sum has to be rescaled. Backward needs lse anyway.
 * Probabilities and their gradients are rounded to the type, as everybody's tensor-core attention does. Nothing is added up by two blocks, so a call repeated gives the same bits.
 *
 * Flops per pair of query and key: forward 6 d (4 d would do), dq 6 d, dk and dv 8 d. Shared memory at most 39 kB. Bytes as in attention.cu, tiles of 64 (32) rows. */
#include "kernel.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>

struct mma_shape {
  int64_t tq, tk, heads, c, d; /* q [n, tq, c], k [n, tk, c], c = heads d */
  int64_t tiles;               /* of the rows that blocks own */
  int causal, wide;            /* wide: rows can be read eight elements at a time */
  float scale;
};

/* What a block works on: its first row; where its head begins in q and in k, in elements; and in lse and delta [n, heads, tq]. */
struct mma_place {
  int64_t first, q, k, lse;
};

__device__ static inline struct mma_place mma_place_of(struct mma_shape f, int rows) {
  struct mma_place p;
  int64_t i = blockIdx.x, set = i / f.tiles, n = set / f.heads, head = set - n * f.heads;
  p.first = (i - set * f.tiles) * rows;
  p.q = n * f.tq * f.c + head * f.d;
  p.k = n * f.tk * f.c + head * f.d;
  p.lse = set * f.tq;
  return p;
}

#define FRAGMENT_A(T) nvcuda::wmma::fragment<nvcuda::wmma::matrix_a, 16, 16, 16, T, nvcuda::wmma::row_major>
#define FRAGMENT_B(T) nvcuda::wmma::fragment<nvcuda::wmma::matrix_b, 16, 16, 16, T, nvcuda::wmma::row_major>
#define FRAGMENT_B_TURNED(T) nvcuda::wmma::fragment<nvcuda::wmma::matrix_b, 16, 16, 16, T, nvcuda::wmma::col_major>
#define FRAGMENT_C nvcuda::wmma::fragment<nvcuda::wmma::accumulator, 16, 16, 16, float>

/* The sum, and the largest, of the two lanes that share a row. */
__device__ static inline float pair_sum(float x) {
  return x + __shfl_xor_sync(0xffffffffu, x, 1);
}
__device__ static inline float pair_max(float x) {
  return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
}

#define T __half
#define TO_T(x) __float2half_rn(x)
#define TYPE_NAME f16
#define ENOUGH 750
#include "attention_mma_sizes.inc"
#undef T
#undef TO_T
#undef TYPE_NAME
#undef ENOUGH
#define T __nv_bfloat16
#define TO_T(x) __float2bfloat16_rn(x)
#define TYPE_NAME bf16
#define ENOUGH 800
#include "attention_mma_sizes.inc"
#undef T
#undef TO_T
#undef TYPE_NAME
#undef ENOUGH

/* --- slots ---------------------------------------------------------------------------------------------------------------------- */

enum { MMA_WIDEST = 160 };

bool cuda_attention_has_mma(const struct backend *b, enum dtype type, int64_t d) {
  int capability = cuda_of(b)->capability;
  return d <= MMA_WIDEST && ((type == DT_F16 && capability >= 75) || (type == DT_BF16 && capability >= 80));
}

static bool in_eights(const void *p) {
  return (uintptr_t)p % 16 == 0;
}

static struct mma_shape mma_shape_of(const struct tensor *q, const struct tensor *k, const struct tensor *v, const struct attention_shape *s) {
  struct mma_shape f;
  f.tq = q->dim[1], f.tk = k->dim[1], f.c = q->dim[2], f.heads = s->heads, f.d = f.c / s->heads;
  f.causal = s->causal, f.scale = s->scale, f.tiles = 0;
  f.wide = f.d % 8 == 0 && in_eights(q->data) && in_eights(k->data) && in_eights(v->data);
  return f;
}

/* Rows that a block owns: 16 a warp. */
static int rows_of_block(int64_t d) {
  return d <= 80 ? 64 : 32;
}

#define BY_SIZE(b, kernel, type, f, grid, ...)                                  \
  do {                                                                          \
    if ((f).d <= 48)                                                            \
      RUN(b, kernel##_##type##_48, grid, 128, __VA_ARGS__);                     \
    else if ((f).d <= 64)                                                       \
      RUN(b, kernel##_##type##_64, grid, 128, __VA_ARGS__);                     \
    else if ((f).d <= 80)                                                       \
      RUN(b, kernel##_##type##_80, grid, 128, __VA_ARGS__);                     \
    else                                                                        \
      RUN(b, kernel##_##type##_160, grid, 64, __VA_ARGS__);                     \
  } while (0)
#define BY_TYPE(b, kernel, tensor, f, grid, ...)              \
  do {                                                        \
    if ((tensor)->type == DT_BF16)                            \
      BY_SIZE(b, kernel, bf16, f, grid, __VA_ARGS__);         \
    else                                                      \
      BY_SIZE(b, kernel, f16, f, grid, __VA_ARGS__);          \
  } while (0)

void cuda_attention_mma(struct backend *b, struct tensor *o, struct tensor *lse, const struct tensor *q, const struct tensor *k,
                        const struct tensor *v, const struct attention_shape *s) {
  struct mma_shape f = mma_shape_of(q, k, v, s);
  f.tiles = pieces(f.tq, rows_of_block(f.d));
  BY_TYPE(b, attention_mma, q, f, q->dim[0] * f.heads * f.tiles, o->data, lse ? (float *)lse->data : NULL, q->data, k->data, v->data, f);
}

void cuda_attention_bwd_mma(struct backend *b, struct tensor *dq, struct tensor *dk, struct tensor *dv, const struct tensor *d_o,
                            const struct tensor *lse, const float *delta, const struct tensor *q, const struct tensor *k, const struct tensor *v,
                            const struct attention_shape *s) {
  struct mma_shape f = mma_shape_of(q, k, v, s), g;
  const float *sums = (const float *)lse->data;
  f.wide = f.wide && in_eights(d_o->data);
  g = f;
  f.tiles = pieces(f.tq, rows_of_block(f.d));
  g.tiles = pieces(g.tk, rows_of_block(g.d));
  BY_TYPE(b, attention_dq_mma, q, f, q->dim[0] * f.heads * f.tiles, dq->data, d_o->data, sums, delta, q->data, k->data, v->data, f);
  BY_TYPE(b, attention_dkv_mma, q, g, q->dim[0] * g.heads * g.tiles, dk->data, dv->data, d_o->data, sums, delta, q->data, k->data, v->data, g);
}
