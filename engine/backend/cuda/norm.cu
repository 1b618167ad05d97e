/* Group norm (with SiLU) and layer norm.
 *
 *   h = (x - mean) rstd, z = gamma h + beta, y = z or silu(z)
 *   dz = dy or dy silu'(z); dgamma = sum dz h; dbeta = sum dz; dh = gamma dz; dx = rstd (dh - mean(dh) - h mean(dh h))
 *
 * The mean is known before deviations are squared. Group norm does so by pieces of rows: each gives its own mean and the sum of squares around it, which
 * are then joined exactly (Chan, Golub, LeVeque 1979): M2 = M2a + M2b + d^2 na nb / (na + nb). Layer norm: a warp a row.
 *
 * Bytes per element of size s: group norm forward 3 s (the second reading of a piece comes from L1 or L2) + s written; backward 2 s for the sums,
 * 2 s + s for dx. Layer norm forward s + s, backward 2 s + s for dx and 2 s for the parameters. Flops: about 10 an element (30 with SiLU): bound by memory. */
#include "kernel.h"

/* --- group norm forward ------------------------------------------------------------------------------------------------------------ */

enum { PIECE = 8192 }; /* elements of a piece, about */

struct groups {
  int64_t rows, c;        /* x [n, rows, c] */
  int64_t groups, cols;   /* c / groups */
  int64_t piece, pieces;  /* rows of a piece; pieces of a picture */
  float eps;
  int silu, type;
};

/* part [n, groups, pieces, 2] = mean and M2 of each piece; a block each */
__global__ void group_part_kernel(float *part, const void *x, struct groups p) {
  SHARED(double, sums, [BLOCK / WARP]);
  int64_t i = blockIdx.x, set = quotient(i, p.pieces), piece = i - set * p.pieces, n = quotient(set, p.groups), group = set - n * p.groups;
  int64_t first = piece * p.piece, rows = p.rows - first < p.piece ? p.rows - first : p.piece, count = rows * p.cols;
  int64_t base = (n * p.rows + first) * p.c + group * p.cols;
  float sum = 0, square = 0;
  for (int64_t k = threadIdx.x; k < count; k += BLOCK) {
    int64_t row = quotient(k, p.cols);
    sum += load(x, base + row * p.c + k - row * p.cols, p.type);
  }
  float mean = (float)(block_sum(sum, sums) / (double)count), rest = 0;
  for (int64_t k = threadIdx.x; k < count; k += BLOCK) {
    int64_t row = quotient(k, p.cols);
    float d = load(x, base + row * p.c + k - row * p.cols, p.type) - mean;
    square += d * d;
    rest += d;
  }
  double m2 = block_sum(square, sums), more = block_sum(rest, sums); /* what the rounding of the mean left over */
  if (threadIdx.x != 0) return;
  part[2 * i] = mean;
  part[2 * i + 1] = (float)(m2 - more * more / (double)count);
}

/* stats [n, groups, 2]; a thread each */
__global__ void group_stats_kernel(float *stats, const float *part, int64_t count, struct groups p) {
  int64_t set = thread_index();
  if (set >= count) return;
  double n = 0, mean = 0, m2 = 0;
  for (int64_t k = 0; k < p.pieces; k++) {
    int64_t left = p.rows - k * p.piece, rows = left < p.piece ? left : p.piece;
    double more = (double)(rows * p.cols), d = part[2 * (set * p.pieces + k)] - mean;
    m2 += part[2 * (set * p.pieces + k) + 1] + MISTAKE(4, d * d * n * more / (n + more), 0);
    mean += d * more / (n + more);
    n += more;
  }
  stats[2 * set] = (float)mean;
  stats[2 * set + 1] = (float)(1 / sqrt(m2 / n + (double)p.eps));
}

__global__ void group_norm_kernel(void *y, const void *x, const float *stats, const float *gamma, const float *beta, int64_t count,
                                  struct groups p) {
  int64_t i = thread_index();
  if (i >= count) return;
  int64_t row = quotient(i, p.c), col = i - row * p.c;
  const float *s = stats + 2 * (quotient(row, p.rows) * p.groups + quotient(col, p.cols));
  float z = (load(x, i, p.type) - s[0]) * s[1] * gamma[col] + beta[col];
  store(y, i, p.type, p.silu ? z * sigmoid(z) : z);
}

/* --- backward -------------------------------------------------------------------------------------------------------------------------- */

enum { ROWS = 64, LANES = BLOCK / WARP };

/* part [n, pieces, 2, c] = sums over ROWS rows of dz h and of dz; by_row: statistics belong to rows (layer norm), not to groups */
__global__ void norm_part_kernel(float *part, const void *dy, const void *x, const float *stats, const float *gamma, const float *beta,
                                 int64_t row_pieces, int64_t col_pieces, int by_row, struct groups p) {
  SHARED(float, sums, [2][LANES][WARP]);
  int64_t block = blockIdx.x, group = quotient(block, col_pieces), lane = threadIdx.x / WARP;
  int64_t col = (block - group * col_pieces) * WARP + threadIdx.x % WARP, n = quotient(group, row_pieces);
  int64_t first = (group - n * row_pieces) * ROWS, last = first + ROWS < p.rows ? first + ROWS : p.rows;
  float dz_h = 0, dz = 0;
  for (int64_t r = first + lane; col < p.c && r < last; r += LANES) {
    int64_t i = (n * p.rows + r) * p.c + col;
    const float *s = stats + 2 * (by_row ? n * p.rows + r : n * p.groups + quotient(col, p.cols));
    float h = (load(x, i, p.type) - s[0]) * s[1], d = load(dy, i, p.type);
    if (p.silu) d *= act_slope(gamma[col] * h + beta[col], ACT_SILU);
    dz_h += d * h;
    dz += d;
  }
  sums[0][lane][threadIdx.x % WARP] = dz_h;
  sums[1][lane][threadIdx.x % WARP] = dz;
  __syncthreads();
  if (lane != 0 || col >= p.c) return;
  dz_h = dz = 0;
  for (int k = 0; k < LANES; k++) dz_h += sums[0][k][threadIdx.x], dz += sums[1][k][threadIdx.x];
  part[(2 * group + 0) * p.c + col] = dz_h;
  part[(2 * group + 1) * p.c + col] = dz;
}

/* gamma and beta g [c] += the sums over all pieces; either may be NULL */
__global__ void norm_param_kernel(float *dgamma, float *dbeta, const float *part, int64_t all_pieces, int64_t c) {
  int64_t col = thread_index();
  if (col >= c) return;
  double dz_h = 0, dz = 0;
  for (int64_t k = 0; k < all_pieces; k++) dz_h += part[2 * k * c + col], dz += part[(2 * k + 1) * c + col];
  if (dgamma) dgamma[col] += (float)dz_h;
  if (dbeta) dbeta[col] += (float)dz;
}

/* mean [n, groups, 2] = mean of dh h and of dh: a block each */
__global__ void group_mean_kernel(float *mean, const float *part, const float *gamma, int64_t row_pieces, struct groups p) {
  SHARED(double, sums, [BLOCK / WARP]);
  int64_t set = blockIdx.x, n = quotient(set, p.groups), group = set - n * p.groups, count = row_pieces * p.cols;
  double dh_h = 0, dh = 0;
  for (int64_t k = threadIdx.x; k < count; k += BLOCK) {
    int64_t piece = quotient(k, p.cols), col = group * p.cols + k - piece * p.cols;
    const float *from = part + 2 * (n * row_pieces + piece) * p.c + col;
    dh_h += (double)gamma[col] * from[0];
    dh += (double)gamma[col] * from[p.c];
  }
  dh_h = block_sum(dh_h, sums);
  dh = block_sum(dh, sums);
  if (threadIdx.x != 0) return;
  mean[2 * set] = (float)(dh_h / (double)(p.rows * p.cols));
  mean[2 * set + 1] = (float)(dh / (double)(p.rows * p.cols));
}

__global__ void group_dx_kernel(void *dx, const void *dy, const void *x, const float *stats, const float *mean, const float *gamma,
                                const float *beta, int64_t count, struct groups p) {
  int64_t i = thread_index();
  if (i >= count) return;
  int64_t row = quotient(i, p.c), col = i - row * p.c, set = quotient(row, p.rows) * p.groups + quotient(col, p.cols);
  float h = (load(x, i, p.type) - stats[2 * set]) * stats[2 * set + 1], d = load(dy, i, p.type);
  if (p.silu) d *= act_slope(gamma[col] * h + beta[col], ACT_SILU);
  store(dx, i, p.type, stats[2 * set + 1] * (gamma[col] * d - mean[2 * set + 1] - MISTAKE(5, h * mean[2 * set], 0)));
}

/* --- layer norm ---------------------------------------------------------------------------------------------------------------------------- */

/* x [m, c], stats [m, 2]; a warp a row */
__global__ void layer_norm_kernel(void *y, float *stats, const void *x, const float *gamma, const float *beta, int64_t m, int64_t c, float eps,
                                  int type) {
  int64_t row = thread_index() / WARP, base = row * c;
  int lane = threadIdx.x % WARP;
  if (row >= m) return;
  float sum = 0, square = 0, rest = 0;
  for (int64_t j = lane; j < c; j += WARP) sum += load(x, base + j, type);
  float mean = warp_sum(sum) / (float)c;
  for (int64_t j = lane; j < c; j += WARP) {
    float d = load(x, base + j, type) - mean;
    square += d * d;
    rest += d;
  }
  float more = warp_sum(rest) / (float)c, rstd = 1 / sqrtf(warp_sum(square) / (float)c - more * more + eps);
  mean += more;
  for (int64_t j = lane; j < c; j += WARP) store(y, base + j, type, (load(x, base + j, type) - mean) * rstd * gamma[j] + beta[j]);
  if (lane == 0) stats[2 * row] = mean, stats[2 * row + 1] = rstd;
}

__global__ void layer_dx_kernel(void *dx, const void *dy, const void *x, const float *stats, const float *gamma, int64_t m, int64_t c, int type) {
  int64_t row = thread_index() / WARP, base = row * c;
  int lane = threadIdx.x % WARP;
  if (row >= m) return;
  float mean = stats[2 * row], rstd = stats[2 * row + 1], dh = 0, dh_h = 0;
  for (int64_t j = lane; j < c; j += WARP) {
    float d = gamma[j] * load(dy, base + j, type);
    dh += d;
    dh_h += d * (load(x, base + j, type) - mean) * rstd;
  }
  dh = warp_sum(dh) / (float)c;
  dh_h = warp_sum(dh_h) / (float)c;
  for (int64_t j = lane; j < c; j += WARP) {
    float h = (load(x, base + j, type) - mean) * rstd;
    store(dx, base + j, type, rstd * (gamma[j] * load(dy, base + j, type) - dh - h * dh_h));
  }
}

/* --- slots ------------------------------------------------------------------------------------------------------------------------------------ */

static struct groups groups_of(const struct tensor *x, int groups, float eps, bool silu) {
  struct groups p;
  p.c = tensor_last(x), p.rows = tensor_rows(x) / x->dim[0], p.groups = groups, p.cols = p.c / groups;
  p.piece = PIECE / p.cols > 0 ? PIECE / p.cols : 1, p.pieces = pieces(p.rows, p.piece);
  p.eps = eps, p.silu = silu, p.type = x->type;
  return p;
}

void cuda_group_norm(struct backend *b, struct tensor *y, struct tensor *stats, const struct tensor *x, const struct param *gamma,
                     const struct param *beta, int groups, float eps, bool silu) {
  struct groups p = groups_of(x, groups, eps, silu);
  int64_t sets = x->dim[0] * groups, count = tensor_count(x);
  float *part = (float *)cuda_scratch(b, (size_t)(2 * sets * p.pieces) * sizeof *part); // [n, groups, pieces, 2]
  if (!part || cuda_idle(b)) return;
  RUN(b, group_part_kernel, sets * p.pieces, BLOCK, part, x->data, p);
  RUN(b, group_stats_kernel, pieces(sets, BLOCK), BLOCK, (float *)stats->data, part, sets, p);
  RUN(b, group_norm_kernel, pieces(count, BLOCK), BLOCK, y->data, x->data, (const float *)stats->data, gamma->w, beta->w, count, p);
}

void cuda_group_norm_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x, const struct tensor *stats,
                         struct param *gamma, struct param *beta, int groups, bool silu) {
  struct groups p = groups_of(x, groups, 0, silu);
  int64_t n = x->dim[0], count = tensor_count(x), row_pieces = pieces(p.rows, ROWS), col_pieces = pieces(p.c, WARP);
  float *part = (float *)cuda_scratch(b, (size_t)(2 * n * row_pieces * p.c + 2 * n * groups) * sizeof *part); // [n, row_pieces, 2, c]
  if (!part || cuda_idle(b)) return;
  float *mean = part + 2 * n * row_pieces * p.c; // [n, groups, 2]
  const float *s = (const float *)stats->data;
  RUN(b, norm_part_kernel, n * row_pieces * col_pieces, BLOCK, part, dy->data, x->data, s, gamma->w, beta->w, row_pieces, col_pieces, 0, p);
  RUN(b, group_mean_kernel, n * groups, BLOCK, mean, part, gamma->w, row_pieces, p);
  RUN(b, group_dx_kernel, pieces(count, BLOCK), BLOCK, dx->data, dy->data, x->data, s, mean, gamma->w, beta->w, count, p);
  if (!cuda_trained(gamma) && !cuda_trained(beta)) return;
  RUN(b, norm_param_kernel, pieces(p.c, BLOCK), BLOCK, cuda_trained(gamma) ? gamma->g : NULL, cuda_trained(beta) ? beta->g : NULL, part,
      n * row_pieces, p.c);
}

void cuda_layer_norm(struct backend *b, struct tensor *y, struct tensor *stats, const struct tensor *x, const struct param *gamma,
                     const struct param *beta, float eps) {
  int64_t m = tensor_rows(x);
  if (cuda_idle(b)) return;
  RUN(b, layer_norm_kernel, pieces(m * WARP, BLOCK), BLOCK, y->data, (float *)stats->data, x->data, gamma->w, beta->w, m, tensor_last(x), eps,
      x->type);
}

void cuda_layer_norm_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x, const struct tensor *stats,
                         struct param *gamma, struct param *beta) {
  int64_t m = tensor_rows(x), c = tensor_last(x), row_pieces = pieces(m, ROWS);
  const float *s = (const float *)stats->data;
  if (!cuda_idle(b)) RUN(b, layer_dx_kernel, pieces(m * WARP, BLOCK), BLOCK, dx->data, dy->data, x->data, s, gamma->w, m, c, x->type);
  if (!cuda_wants_gradient(b, gamma) && !cuda_wants_gradient(b, beta)) return;
  struct groups p;
  p.rows = m, p.c = c, p.groups = 1, p.cols = c, p.piece = p.pieces = 0, p.eps = 0, p.silu = 0, p.type = x->type;
  float *part = (float *)cuda_scratch(b, (size_t)(2 * row_pieces * c) * sizeof *part); // [row_pieces, 2, c]
  if (!part || cuda_idle(b)) return;
  RUN(b, norm_part_kernel, row_pieces * pieces(c, WARP), BLOCK, part, dy->data, x->data, s, gamma->w, beta->w, row_pieces, pieces(c, WARP), 1, p);
  RUN(b, norm_param_kernel, pieces(c, BLOCK), BLOCK, cuda_trained(gamma) ? gamma->g : NULL, cuda_trained(beta) ? beta->g : NULL, part, row_pieces, c);
}
