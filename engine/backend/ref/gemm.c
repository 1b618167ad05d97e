/* c += a b: the one matrix product behind linear, conv and attention of this backend.
 *
 * b is packed in panels of DEPTH x COLS, a in slices of DEPTH x ROWS, both padded with zeros, so that the inner loops have
 * constant length and vectorise without reordering any sum. Sums run in fp32 over DEPTH products at most before they are added
 * to c: that keeps the rounding error of long sums near that of short ones. */
#include "backend/ref/ref.h"

enum { ROWS = 4, COLS = 16, DEPTH = 256 };

static int64_t at_most(int64_t x, int64_t limit) {
  return x < limit ? x : limit;
}

/* out [k][width] = the k x used elements of x from (i0, j0), zero beyond; element [p][q] is x[i0 + p, j0 + q]. */
static void pack(float *out, int width, struct ref_matrix x, int64_t i0, int64_t j0, int64_t k, int64_t used) {
  const float *from = x.p + i0 * x.row + j0 * x.col;
  for (int64_t p = 0; p < k; p++) {
    for (int64_t q = 0; q < used; q++) out[p * width + q] = from[p * x.row + q * x.col];
    for (int64_t q = used; q < width; q++) out[p * width + q] = 0;
  }
}

static void kernel(float sum[ROWS][COLS], const float *restrict a, const float *restrict b, int64_t k) {
  float s0[COLS] = {0}, s1[COLS] = {0}, s2[COLS] = {0}, s3[COLS] = {0};
  for (int64_t p = 0; p < k; p++, a += ROWS, b += COLS) {
    for (int j = 0; j < COLS; j++) s0[j] += a[0] * b[j];
    for (int j = 0; j < COLS; j++) s1[j] += a[1] * b[j];
    for (int j = 0; j < COLS; j++) s2[j] += a[2] * b[j];
    for (int j = 0; j < COLS; j++) s3[j] += a[3] * b[j];
  }
  for (int j = 0; j < COLS; j++) sum[0][j] = s0[j], sum[1][j] = s1[j], sum[2][j] = s2[j], sum[3][j] = s3[j];
}

void ref_gemm(int64_t m, int64_t n, int64_t k, struct ref_matrix a, struct ref_matrix b, float *c, int64_t ldc) {
  float panel[DEPTH * COLS], slice[DEPTH * ROWS], sum[ROWS][COLS];
  struct ref_matrix at = {a.p, a.col, a.row}; /* transposed: [k, m] */
  for (int64_t j = 0; j < n; j += COLS) {
    int64_t cols = at_most(n - j, COLS);
    for (int64_t p = 0; p < k; p += DEPTH) {
      int64_t depth = at_most(k - p, DEPTH);
      pack(panel, COLS, b, p, j, depth, cols);
      for (int64_t i = 0; i < m; i += ROWS) {
        int64_t rows = at_most(m - i, ROWS);
        pack(slice, ROWS, at, p, i, depth, rows);
        kernel(sum, slice, panel, depth);
        for (int64_t r = 0; r < rows; r++)
          for (int64_t q = 0; q < cols; q++) c[(i + r) * ldc + j + q] += sum[r][q];
      }
    }
  }
}
