/* Operations that move, repeat, gather or add up along rows: a thread an element of the output, neighbours beside each other in memory.
 *
 * Bytes per element of type size s: add_rows 2 s, concat and split 2 s, upsample s + s / 4, upsample_bwd s + s / 4 (of the larger), embed 8 + s,
 * column sums s read (the partial sums are 1 / ROWS of that). Bound by memory. */
#include "kernel.h"

/* y [n, rows, c] = x + e [n, c] */
__global__ void add_rows_kernel(void *y, const void *x, const void *e, int64_t count, int64_t rows, int64_t c, int type) {
  int64_t i = thread_index();
  if (i >= count) return;
  int64_t row = quotient(i, c);
  store(y, i, type, load(x, i, type) + load(e, quotient(row, rows) * c + i - row * c, type));
}

/* y [m, c1 + c2] = x1 [m, c1], x2 [m, c2]; back: the reverse, and a part that is NULL is left out */
__global__ void concat_kernel(void *y, void *x1, void *x2, int64_t count, int64_t c1, int64_t c2, int type, int back) {
  int64_t i = thread_index();
  if (i >= count) return;
  int64_t row = quotient(i, c1 + c2), col = i - row * (c1 + c2);
  void *x = col < c1 ? x1 : x2;
  int64_t at = col < c1 ? row * c1 + col : row * c2 + col - c1;
  if (!x) return;
  if (back)
    store(x, at, type, load(y, i, type));
  else
    store(y, i, type, load(x, at, type));
}

/* --- nearest neighbour ----------------------------------------------------------------------------------------------------------- */

struct pictures {
  int64_t h, w, c;           /* small */
  int64_t large_h, large_w;
};

__global__ void upsample_kernel(void *y, const void *x, int64_t count, struct pictures p, int type) {
  int64_t i = thread_index();
  if (i >= count) return;
  int64_t pixel = quotient(i, p.c), c = i - pixel * p.c, line = quotient(pixel, p.large_w), col = pixel - line * p.large_w;
  int64_t n = quotient(line, p.large_h), row = line - n * p.large_h;
  int64_t from = (n * p.h + quotient(row * p.h, p.large_h)) * p.w + quotient(col * p.w, p.large_w);
  store(y, i, type, load(x, from * p.c + c, type));
}

/* The first of the `large` places whose source is i: those from ceil(i large / small) on. */
__device__ static inline int64_t first_copy(int64_t i, int64_t large, int64_t small_) {
  return quotient(i * large + small_ - 1, small_);
}

/* dx = sum of dy over the places that x was copied to */
__global__ void upsample_bwd_kernel(void *dx, const void *dy, int64_t count, struct pictures p, int type) {
  int64_t i = thread_index();
  if (i >= count) return;
  int64_t pixel = quotient(i, p.c), c = i - pixel * p.c, line = quotient(pixel, p.w), col = pixel - line * p.w;
  int64_t n = quotient(line, p.h), row = line - n * p.h;
  float sum = 0;
  for (int64_t y = first_copy(row, p.large_h, p.h); y < first_copy(row + 1, p.large_h, p.h); y++)
    for (int64_t x = first_copy(col, p.large_w, p.w); x < first_copy(col + 1, p.large_w, p.w); x++)
      sum += load(dy, ((n * p.large_h + y) * p.large_w + x) * p.c + c, type);
  store(dx, i, type, sum);
}

/* --- embedding ---------------------------------------------------------------------------------------------------------------------- */

__global__ void embed_kernel(void *y, const int32_t *id, const float *table, const float *position, int64_t count, int64_t t, int64_t c, int type) {
  int64_t i = thread_index();
  if (i >= count) return;
  int64_t token = quotient(i, c), col = i - token * c;
  store(y, i, type, table[id[token] * c + col] + position[token % t * c + col]);
}

/* A block a token: the first of its id adds up all of that id in their order, so no two blocks write the same row. */
__global__ void embed_table_kernel(float *g, const int32_t *id, const void *dy, int64_t m, int64_t c, int type) {
  int64_t token = blockIdx.x;
  int32_t mine = id[token];
  for (int64_t k = 0; k < token; k++)
    if (id[k] == mine) return;
  for (int64_t col = threadIdx.x; col < c; col += blockDim.x) {
    float sum = 0;
    for (int64_t k = token; k < m; k++)
      if (id[k] == mine) sum += load(dy, k * c + col, type);
    g[mine * c + col] += sum;
  }
}

/* g [t, c] += sum over n of dy [n, t, c] */
__global__ void embed_position_kernel(float *g, const void *dy, int64_t n, int64_t tc, int type) {
  int64_t i = thread_index();
  if (i >= tc) return;
  float sum = 0;
  for (int64_t k = 0; k < n; k++) sum += load(dy, k * tc + i, type);
  g[i] += sum;
}

/* --- sums of columns ------------------------------------------------------------------------------------------------------------------ */

enum { ROWS = 64, LANES = BLOCK / WARP }; /* rows of a piece; of them LANES at a time */

/* part [n, pieces, c] = sums over the rows of each piece of x [n, rows, c]; a block is one piece of WARP columns */
__global__ void column_part_kernel(float *part, const void *x, int64_t rows, int64_t c, int64_t row_pieces, int64_t col_pieces, int type) {
  SHARED(float, sums, [LANES][WARP]);
  int64_t block = blockIdx.x, col = quotient(block, col_pieces), group = col;
  col = (block - col * col_pieces) * WARP + threadIdx.x % WARP;
  int64_t n = quotient(group, row_pieces), first = (group - n * row_pieces) * ROWS, last = first + ROWS < rows ? first + ROWS : rows;
  int lane = threadIdx.x / WARP;
  float sum = 0;
  for (int64_t r = first + lane; col < c && r < last; r += LANES) sum += load(x, (n * rows + r) * c + col, type);
  sums[lane][threadIdx.x % WARP] = sum;
  __syncthreads();
  if (lane != 0 || col >= c) return;
  sum = 0;
  for (int k = 0; k < MISTAKE(3, LANES, LANES - 1); k++) sum += sums[k][threadIdx.x];
  part[group * c + col] = sum;
}

/* y [n, c] = (add: y +) the sums over pieces of part [n, pieces, c] */
__global__ void column_sum_kernel(void *y, const float *part, int64_t count, int64_t c, int64_t row_pieces, int type, int add) {
  int64_t i = thread_index();
  if (i >= count) return;
  int64_t n = quotient(i, c), col = i - n * c;
  double sum = 0;
  for (int64_t k = 0; k < row_pieces; k++) sum += part[(n * row_pieces + k) * c + col];
  store(y, i, type, add ? load(y, i, type) + (float)sum : (float)sum);
}

/* y [n, c] of to = or += sums over rows of x [n, rows, c] of from */
static void sum_columns(struct backend *b, void *y, enum dtype to, const void *x, enum dtype from, int64_t n, int64_t rows, int64_t c, int add) {
  int64_t row_pieces = pieces(rows, ROWS), col_pieces = pieces(c, WARP);
  float *part = (float *)cuda_scratch(b, (size_t)(n * row_pieces * c) * sizeof *part); // [n, row_pieces, c]
  if (!part || cuda_idle(b)) return;
  RUN(b, column_part_kernel, n * row_pieces * col_pieces, BLOCK, part, x, rows, c, row_pieces, col_pieces, from);
  RUN(b, column_sum_kernel, pieces(n * c, BLOCK), BLOCK, y, part, n * c, c, row_pieces, to, add);
}

void cuda_add_column_sums(struct backend *b, struct param *p, const struct tensor *x) {
  if (cuda_wants_gradient(b, p)) sum_columns(b, p->g, DT_F32, x->data, x->type, 1, tensor_rows(x), tensor_last(x), 1);
}

/* --- slots ------------------------------------------------------------------------------------------------------------------------------ */

void cuda_add_rows(struct backend *b, struct tensor *y, const struct tensor *x, const struct tensor *e) {
  int64_t count = tensor_count(y), c = tensor_last(e), rows = count / tensor_count(e);
  if (cuda_idle(b)) return;
  RUN(b, add_rows_kernel, pieces(count, BLOCK), BLOCK, y->data, x->data, e->data, count, rows, c, y->type);
}

void cuda_sum_rows(struct backend *b, struct tensor *de, const struct tensor *dy) {
  int64_t n = tensor_rows(de), c = tensor_last(de);
  sum_columns(b, de->data, de->type, dy->data, dy->type, n, tensor_count(dy) / (n * c), c, 0);
}

void cuda_concat(struct backend *b, struct tensor *y, const struct tensor *x1, const struct tensor *x2) {
  int64_t count = tensor_count(y);
  if (cuda_idle(b)) return;
  RUN(b, concat_kernel, pieces(count, BLOCK), BLOCK, y->data, x1->data, x2->data, count, tensor_last(x1), tensor_last(x2), y->type, 0);
}

void cuda_split(struct backend *b, struct tensor *x1, struct tensor *x2, const struct tensor *y) {
  int64_t count = tensor_count(y), c = tensor_last(y), c1 = x1 ? tensor_last(x1) : c - tensor_last(x2);
  void *to1 = x1 ? x1->data : NULL, *to2 = x2 ? x2->data : NULL;
  if (cuda_idle(b)) return;
  RUN(b, concat_kernel, pieces(count, BLOCK), BLOCK, y->data, to1, to2, count, c1, c - c1, y->type, 1);
}

static struct pictures pictures_of(const struct tensor *small_, const struct tensor *large) {
  struct pictures p;
  p.h = small_->dim[1], p.w = small_->dim[2], p.c = small_->dim[3], p.large_h = large->dim[1], p.large_w = large->dim[2];
  return p;
}

void cuda_upsample(struct backend *b, struct tensor *y, const struct tensor *x) {
  int64_t count = tensor_count(y);
  if (cuda_idle(b)) return;
  RUN(b, upsample_kernel, pieces(count, BLOCK), BLOCK, y->data, x->data, count, pictures_of(x, y), y->type);
}

void cuda_upsample_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy) {
  int64_t count = tensor_count(dx);
  if (cuda_idle(b)) return;
  RUN(b, upsample_bwd_kernel, pieces(count, BLOCK), BLOCK, dx->data, dy->data, count, pictures_of(dx, dy), dx->type);
}

void cuda_embed(struct backend *b, struct tensor *y, const struct tensor *ids, const struct param *table, const struct param *position) {
  int64_t count = tensor_count(y);
  if (cuda_idle(b)) return;
  RUN(b, embed_kernel, pieces(count, BLOCK), BLOCK, y->data, (const int32_t *)ids->data, table->w, position->w, count, tensor_last(ids),
      tensor_last(y), y->type);
}

void cuda_embed_bwd(struct backend *b, struct param *table, struct param *position, const struct tensor *ids, const struct tensor *dy) {
  int64_t m = tensor_count(ids), t = tensor_last(ids), c = tensor_last(dy);
  if (cuda_idle(b)) return;
  if (cuda_trained(table)) RUN(b, embed_table_kernel, m, BLOCK, table->g, (const int32_t *)ids->data, dy->data, m, c, dy->type);
  if (cuda_trained(position)) RUN(b, embed_position_kernel, pieces(t * c, BLOCK), BLOCK, position->g, dy->data, m / t, t * c, dy->type);
}
