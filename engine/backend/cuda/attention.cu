/* Attention without the score matrix (Dao et al. 2022, "FlashAttention"), forward and backward, any head size, causal or not.
 *
 *   s = scale q k^T, p = exp(s - lse), o = p v
 *   delta = rowsum(do o), dp = do v^T, ds = scale p (dp - delta), dq = ds k, dk = ds^T q, dv = p^T do
 *
 * A block of 16 x 16 threads owns TILE = 64 rows of one head: queries, in forward and for dq; keys, for dk and dv. It goes through the tiles of the other side. Of each
 * 64 x 64 tile of scores a thread has 4 x 4 in registers (rows 4 ty + i, columns tx + 16 j); the factors come through shared memory, STEP dims of a head at
 * a time. The probabilities are then laid down in shared memory and multiplied with the values, DEEP rows of them at a time; the sums stay in registers, 4 rows by COLS
 * columns a thread (attention.inc is compiled for each number of COLS). A head wider than WIDTH columns is done in slabs of so many: its scores are computed once a slab.
 * Nothing is added up by two blocks: dq has kernels of its own, and the scores are computed anew there. A call repeated gives the same bits.
 *
 * Per pair of query and key: forward 4 d flops, backward 8 d for dk and dv, 6 d for dq (14 d; 10 d would do with atomics), all in fp32. Bytes: each tile of keys and values is read once
 * for each 64 queries: (s d / 16) bytes a pair, from L2 as a rule; per 64 x 64 tile and head of 40: 0.65 Mflop against 20 kB. Shared memory: 34 kB.
 * Tensor cores are not used: 16-bit types with heads of up to 160 columns go to attention_mma.cu, which does. */
#include "kernel.h"

enum { TILE = 64, STEP = 32, DEEP = 16, WIDTH = 160, SPACE = 2 * TILE * (STEP + 1) };

struct flash {
  int64_t tq, tk, heads, c, d; /* q [n, tq, c], k [n, tk, c], c = heads d */
  int64_t tiles;               /* of the rows that blocks own */
  int slabs, causal, type;     /* slabs of WIDTH columns */
  float scale;
};

/* What a block works on. */
struct place {
  int64_t first, rows; /* its first row; how many of TILE there are */
  int64_t q, k;        /* where its head begins in q and in k, in elements */
  int64_t lse;         /* and in lse [n, heads, tq] */
  int64_t col;         /* first column of its slab */
};

__device__ static inline struct place place_of(struct flash f, int64_t count) {
  struct place p;
  int64_t i = blockIdx.x, slab = i % f.slabs;
  i /= f.slabs;
  int64_t tile = i % f.tiles, set = i / f.tiles, n = set / f.heads, head = set - n * f.heads;
  p.first = tile * TILE;
  p.rows = count - p.first < TILE ? count - p.first : (int64_t)TILE;
  p.q = n * f.tq * f.c + head * f.d;
  p.k = n * f.tk * f.c + head * f.d;
  p.lse = set * f.tq;
  p.col = slab * WIDTH;
  return p;
}

/* Rows first.. of x, dims d0 .. d0 + STEP, into tile [TILE][STEP + 1]; 0 where there is nothing. */
__device__ static inline void load_step(float *tile, const void *x, int64_t base, int64_t first, int64_t rows, int64_t d0, struct flash f) {
  for (int i = threadIdx.x; i < TILE * STEP; i += BLOCK) {
    int row = i / STEP, col = i % STEP;
    float v = first + row < rows && d0 + col < f.d ? load(x, base + (first + row) * f.c + d0 + col, f.type) : 0;
    tile[row * (STEP + 1) + col] = v;
  }
}

/* s [4][4] = products of rows a0 + 4 ty + i of a and rows b0 + tx + 16 j of b. space: shared, 2 tiles */
__device__ static inline void tile_products(float s[4][4], float *space, const void *a, int64_t a_base, int64_t a0, int64_t a_rows, const void *b,
                                            int64_t b_base, int64_t b0, int64_t b_rows, struct flash f) {
  int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  float *ta = space, *tb = space + TILE * (STEP + 1);
  UNROLL
  for (int i = 0; i < 4; i++)
    UNROLL
    for (int j = 0; j < 4; j++) s[i][j] = 0;
  for (int64_t d0 = 0; d0 < f.d; d0 += STEP) {
    __syncthreads();
    load_step(ta, a, a_base, a0, a_rows, d0, f);
    load_step(tb, b, b_base, b0, b_rows, d0, f);
    __syncthreads();
    UNROLL_SOME
    for (int k = 0; k < STEP; k++) {
      float x[4], y[4];
      UNROLL
      for (int i = 0; i < 4; i++) x[i] = ta[(4 * ty + i) * (STEP + 1) + k], y[i] = tb[(tx + 16 * i) * (STEP + 1) + k];
      UNROLL
      for (int i = 0; i < 4; i++)
        UNROLL
        for (int j = 0; j < 4; j++) s[i][j] += x[i] * y[j];
    }
  }
}

/* Lays a thread's 4 x 4 down in p [TILE][TILE + 1]. */
__device__ static inline void lay_down(float *p, float s[4][4]) {
  int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  UNROLL
  for (int i = 0; i < 4; i++)
    UNROLL
    for (int j = 0; j < 4; j++) p[(4 * ty + i) * (TILE + 1) + tx + 16 * j] = s[i][j];
}

/* The sum, and the largest, over the 16 threads that share rows: half a warp. */
__device__ static inline float half_sum(float x) {
  for (int step = 8; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}
__device__ static inline float half_max(float x) {
  for (int step = 8; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
  return x;
}

/* delta [n, heads, tq] = sums over a head of do o; a thread a query and head, in the order in which tile_products adds up dp: where a query sees one key, dp - delta is 0 */
__global__ void attention_delta_kernel(float *delta, const void *d_o, const void *o, int64_t count, struct flash f) {
  int64_t i = thread_index();
  if (i >= count) return;
  int64_t set = i / f.tq, row = i - set * f.tq, n = set / f.heads, base = (n * f.tq + row) * f.c + (set - n * f.heads) * f.d;
  float sum = 0;
  for (int64_t j = 0; j < f.d; j++) sum += load(d_o, base + j, f.type) * load(o, base + j, f.type);
  delta[i] = sum;
}

#define COLS 3
#include "attention.inc"
#undef COLS
#define COLS 5
#include "attention.inc"
#undef COLS
#define COLS 10
#include "attention.inc"
#undef COLS

/* --- slots ---------------------------------------------------------------------------------------------------------------------- */

static struct flash flash_of(const struct tensor *q, const struct tensor *k, const struct attention_shape *s) {
  struct flash f;
  f.tq = q->dim[1], f.tk = k->dim[1], f.c = q->dim[2], f.heads = s->heads, f.d = f.c / s->heads;
  f.slabs = (int)pieces(f.d, WIDTH), f.causal = s->causal, f.scale = s->scale, f.type = q->type;
  f.tiles = pieces(f.tq, TILE);
  return f;
}

/* Calls one of the three of a kind by the head's size. */
#define BY_WIDTH(b, kernel, f, grid, ...)                    \
  do {                                                       \
    if ((f).d <= 48)                                         \
      RUN(b, kernel##_3, grid, BLOCK, __VA_ARGS__);          \
    else if ((f).d <= 80)                                    \
      RUN(b, kernel##_5, grid, BLOCK, __VA_ARGS__);          \
    else                                                     \
      RUN(b, kernel##_10, grid, BLOCK, __VA_ARGS__);         \
  } while (0)

void cuda_attention(struct backend *b, struct tensor *o, struct tensor *lse, const struct tensor *q, const struct tensor *k,
                    const struct tensor *v, const struct attention_shape *s) {
  struct flash f = flash_of(q, k, s);
  int64_t sets = q->dim[0] * f.heads;
  float *sums = lse ? (float *)lse->data : NULL;
  if (cuda_idle(b)) return;
  if (cuda_attention_has_mma(b, q->type, f.d)) {
    cuda_attention_mma(b, o, lse, q, k, v, s);
    return;
  }
  BY_WIDTH(b, attention_kernel, f, sets * f.tiles * f.slabs, o->data, sums, q->data, k->data, v->data, f);
}

void cuda_attention_bwd(struct backend *b, struct tensor *dq, struct tensor *dk, struct tensor *dv, const struct tensor *d_o,
                        const struct tensor *o, const struct tensor *lse, const struct tensor *q, const struct tensor *k,
                        const struct tensor *v, const struct attention_shape *s) {
  struct flash f = flash_of(q, k, s), g = f;
  int64_t sets = q->dim[0] * f.heads;
  float *delta = (float *)cuda_scratch(b, (size_t)(sets * f.tq) * sizeof *delta); // [n, heads, tq]
  if (!delta || cuda_idle(b)) return;
  const float *sums = (const float *)lse->data;
  g.tiles = pieces(f.tk, TILE);
  RUN(b, attention_delta_kernel, pieces(sets * f.tq, BLOCK), BLOCK, delta, d_o->data, o->data, sets * f.tq, f);
  if (cuda_attention_has_mma(b, q->type, f.d)) {
    cuda_attention_bwd_mma(b, dq, dk, dv, d_o, lse, delta, q, k, v, s);
    return;
  }
  BY_WIDTH(b, attention_dq_kernel, f, sets * f.tiles * f.slabs, dq->data, d_o->data, sums, delta, q->data, k->data, v->data, f);
  BY_WIDTH(b, attention_dkv_kernel, g, sets * g.tiles * g.slabs, dk->data, dv->data, d_o->data, sums, delta, q->data, k->data, v->data, g);
}
