/* A matrix product for shapes and alignments that the library refuses: c [m, n] = alpha op(a) op(b) + bias + beta c.
 *
 * A block of 16 x 16 threads makes a tile of 64 x 64 of c, 4 x 4 a thread, from DEPTH columns of a and rows of b at a time in shared memory.
 * 2 m n k flops; reads m k n / 64 elements each of a and b: 16 flops a byte of F32. Sums in fp32, in the order of k. */
#include "kernel.h"

enum { TILE = 64, DEPTH = 16 };

struct product {
  int64_t m, n, k, lda, ldb, ldc, col_tiles;
  int ta, tb, type, out;
  float alpha, beta;
};

__global__ void __launch_bounds__(BLOCK) gemm_kernel(void *c, const void *a, const void *b, const void *bias, struct product p) {
  SHARED(float, left, [DEPTH][TILE + 1]);
  SHARED(float, right, [DEPTH][TILE + 1]);
  int64_t row0 = quotient(blockIdx.x, p.col_tiles), col0 = (blockIdx.x - row0 * p.col_tiles) * TILE;
  int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  float sum[4][4];
  row0 *= TILE;
  UNROLL
  for (int i = 0; i < 4; i++)
    UNROLL
    for (int j = 0; j < 4; j++) sum[i][j] = 0;
  for (int64_t k0 = 0; k0 < p.k; k0 += DEPTH) {
    __syncthreads();
    for (int i = threadIdx.x; i < TILE * DEPTH; i += BLOCK) { /* neighbours read neighbours, whichever way the matrix lies */
      int64_t row = p.ta ? i % TILE : i / DEPTH, k = p.ta ? i / TILE : i % DEPTH;
      bool there = row0 + row < p.m && k0 + k < p.k;
      left[k][row] = there ? load(a, p.ta ? (k0 + k) * p.lda + row0 + row : (row0 + row) * p.lda + k0 + k, p.type) : 0;
      int64_t col = p.tb ? i / DEPTH : i % TILE;
      k = p.tb ? i % DEPTH : i / TILE;
      there = col0 + col < p.n && k0 + k < p.k;
      right[k][col] = there ? load(b, p.tb ? (col0 + col) * p.ldb + k0 + k : (k0 + k) * p.ldb + col0 + col, p.type) : 0;
    }
    __syncthreads();
    UNROLL_SOME
    for (int k = 0; k < DEPTH; k++) {
      float x[4], y[4];
      UNROLL
      for (int i = 0; i < 4; i++) x[i] = left[k][ty + 16 * i], y[i] = right[k][tx + 16 * i];
      UNROLL
      for (int i = 0; i < 4; i++)
        UNROLL
        for (int j = 0; j < 4; j++) sum[i][j] += x[i] * y[j];
    }
  }
  UNROLL
  for (int i = 0; i < 4; i++)
    UNROLL
    for (int j = 0; j < 4; j++) {
      int64_t row = row0 + ty + 16 * i, col = col0 + tx + 16 * j, at = row * p.ldc + col;
      if (row >= p.m || col >= p.n) continue;
      float value = p.alpha * sum[i][j];
      if (bias) value += load(bias, col, p.out);
      if (p.beta != 0) value += p.beta * load(c, at, p.out);
      store(c, at, p.out, value);
    }
}

void cuda_matmul_plain(struct backend *b, const struct matmul *p) {
  struct product k;
  k.m = p->m, k.n = p->n, k.k = p->k, k.lda = p->lda, k.ldb = p->ldb, k.ldc = p->ldc, k.col_tiles = pieces(p->n, TILE);
  k.ta = p->ta, k.tb = p->tb, k.type = p->type, k.out = p->out, k.alpha = p->alpha, k.beta = p->beta;
  if (cuda_idle(b)) return;
  RUN(b, gemm_kernel, pieces(p->m, TILE) * k.col_tiles, BLOCK, p->c, p->a, p->b, p->bias, k);
}
