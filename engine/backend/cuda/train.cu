/* Diffusion and training: posterior, loss, norm, optimiser.
 *
 * Bytes per element: posterior 2 s + 8, mse 8 (F32) read for the loss, 12 for dpred; sum_squares 4; adamw 28 (16 + 4 s of the moments, F32). Bound by memory.
 * Sums: each block adds up a fixed share in a fixed order, in double from the thread's sum on; then one block adds up the blocks' sums. */
#include "kernel.h"

/* out [m, z] = scale (mean + exp(logvar / 2) noise) of moments [m, 2 z] */
__global__ void posterior_kernel(void *out, int to, const void *moments, int from, const void *noise, int64_t count, int64_t z, float scale) {
  int64_t i = thread_index();
  if (i >= count) return;
  int64_t at = i + quotient(i, z) * z;
  float mean = load(moments, at, from), logvar = fminf(fmaxf(load(moments, at + z, from), -30.f), 20.f);
  if (noise) mean += expf(0.5f * logvar) * load(noise, i, DT_F32);
  store(out, i, to, scale * mean);
}

/* --- loss -------------------------------------------------------------------------------------------------------------------------- */

enum { SHARE = 8192 }; /* elements of a block, about */

struct loss {
  int64_t rows, c, piece, pieces; /* pred [n, rows, c]; rows of a piece */
  int type;
};

/* part [n, pieces, 2] = sum of squares and number of selected rows of each piece */
__global__ void mse_part_kernel(double *part, const void *pred, const float *target, const float *mask, struct loss p) {
  SHARED(double, sums, [BLOCK / WARP]);
  int64_t i = blockIdx.x, n = quotient(i, p.pieces), first = n * p.rows + (i - n * p.pieces) * p.piece, last = first + p.piece;
  if (last > (n + 1) * p.rows) last = (n + 1) * p.rows;
  double sum = 0, selected = 0;
  for (int64_t r = first + threadIdx.x; r < last; r += BLOCK) selected += !mask || mask[r] != 0;
  for (int64_t k = first * p.c + threadIdx.x; k < last * p.c; k += BLOCK) {
    float d = load(pred, k, p.type) - target[k];
    if (!mask || mask[quotient(k, p.c)] != 0) sum += (double)d * d;
  }
  sum = block_sum(sum, sums);
  selected = block_sum(selected, sums);
  if (threadIdx.x == 0) part[2 * i] = sum, part[2 * i + 1] = selected;
}

/* loss [n] = mean of the squares; used [n]: how many there were */
__global__ void mse_loss_kernel(double *loss, double *used, const double *part, int64_t n, struct loss p) {
  int64_t i = thread_index();
  if (i >= n) return;
  double sum = 0, selected = 0;
  for (int64_t k = 0; k < p.pieces; k++) sum += part[2 * (i * p.pieces + k)], selected += part[2 * (i * p.pieces + k) + 1];
  loss[i] = selected > 0 ? sum / (selected * (double)p.c) : 0;
  used[i] = selected * (double)p.c;
}

__global__ void mse_bwd_kernel(void *dpred, const void *pred, const float *target, const float *mask, const double *used, const float *weight,
                               int64_t count, struct loss p) {
  int64_t i = thread_index();
  if (i >= count) return;
  int64_t row = quotient(i, p.c), n = quotient(row, p.rows);
  bool counts = !mask || MISTAKE(6, mask[row] != 0, true);
  store(dpred, i, p.type, counts ? (float)(2.0 * weight[n] / used[n]) * (load(pred, i, p.type) - target[i]) : 0.f);
}

/* Scratch: the partial sums, then how many elements each example's loss is the mean of. */
void cuda_mse(struct backend *b, double *loss, struct tensor *dpred, const struct tensor *pred, const struct tensor *target,
              const struct tensor *mask, const float *weight) {
  int64_t n = pred->dim[0], count = tensor_count(pred);
  struct loss p;
  p.c = tensor_last(pred), p.rows = tensor_rows(pred) / n, p.type = pred->type;
  p.piece = SHARE / p.c > 0 ? SHARE / p.c : 1, p.pieces = pieces(p.rows, p.piece);
  double *part = (double *)cuda_scratch(b, (size_t)(2 * n * p.pieces + n) * sizeof *part);
  if (!part || cuda_idle(b)) return;
  double *used = part + 2 * n * p.pieces; // [n]
  const float *select = mask ? (const float *)mask->data : NULL, *want = (const float *)target->data;
  RUN(b, mse_part_kernel, n * p.pieces, BLOCK, part, pred->data, want, select, p);
  RUN(b, mse_loss_kernel, pieces(n, BLOCK), BLOCK, loss, used, part, n, p);
  if (dpred) RUN(b, mse_bwd_kernel, pieces(count, BLOCK), BLOCK, dpred->data, pred->data, want, select, used, weight, count, p);
}

/* --- norm ------------------------------------------------------------------------------------------------------------------------------ */

/* sums [block] = the sum of its share: of every gridDim.x-th run of BLOCK elements */
__global__ void square_part_kernel(double *sums, const float *x, int64_t n) {
  SHARED(double, part, [BLOCK / WARP]);
  double sum = 0;
  for (int64_t i = thread_index(); i < n; i += (int64_t)gridDim.x * BLOCK) sum += (double)x[i] * x[i];
  sum = block_sum(sum, part);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void square_sum_kernel(double *total, const double *sums, int64_t blocks) {
  SHARED(double, part, [BLOCK / WARP]);
  double sum = 0;
  for (int64_t i = threadIdx.x; i < blocks; i += BLOCK) sum += sums[i];
  sum = block_sum(sum, part);
  if (threadIdx.x == 0) *total += sum;
}

void cuda_sum_squares(struct backend *b, double *sum, const float *x, int64_t n) {
  int64_t blocks = pieces(n, 16 * BLOCK) < CUDA_SUMS ? pieces(n, 16 * BLOCK) : (int64_t)CUDA_SUMS;
  if (cuda_idle(b) || n == 0) return;
  RUN(b, square_part_kernel, blocks, BLOCK, cuda_of(b)->sums, x, n);
  RUN(b, square_sum_kernel, 1, BLOCK, sum, cuda_of(b)->sums, blocks);
}

/* --- optimiser ----------------------------------------------------------------------------------------------------------------------------- */

struct adamw_step {
  float beta1, beta2, eps, keep, step_size, root, grad_scale;
};

__global__ void adamw_kernel(float *w, const float *g, void *m, int m_type, void *v, int v_type, int64_t n, int wide, struct adamw_step a) {
  int64_t i = first_of_four();
  if (i >= n) return;
  struct four weight = load4(w, i, n, DT_F32, wide), grad = load4(g, i, n, DT_F32, wide), mean = load4(m, i, n, m_type, wide),
              square = load4(v, i, n, v_type, wide);
  for (int j = 0; j < 4; j++) {
    float d = a.grad_scale * grad.v[j];
    mean.v[j] = a.beta1 * mean.v[j] + (1 - a.beta1) * d;
    square.v[j] = a.beta2 * square.v[j] + (1 - a.beta2) * d * d;
    weight.v[j] = a.keep * weight.v[j] - a.step_size * mean.v[j] / (sqrtf(square.v[j]) / a.root + a.eps);
  }
  store4(w, i, n, DT_F32, wide, weight);
  store4(m, i, n, m_type, wide, mean);
  store4(v, i, n, v_type, wide, square);
}

void cuda_adamw(struct backend *b, float *w, const float *g, struct tensor *m, struct tensor *v, int64_t n, const struct adamw *a) {
  struct adamw_step s;
  s.beta1 = a->beta1, s.beta2 = a->beta2, s.eps = a->eps, s.grad_scale = a->grad_scale;
  s.keep = (float)(1 - (double)a->lr * a->weight_decay);
  s.step_size = (float)(a->lr / (1 - pow((double)a->beta1, a->step)));
  s.root = (float)sqrt(1 - pow((double)a->beta2, a->step));
  if (cuda_idle(b)) return;
  int wide = is_wide(w, DT_F32) && is_wide(g, DT_F32) && is_wide(m->data, m->type) && is_wide(v->data, v->type);
  RUN(b, adamw_kernel, pieces(n, 4 * BLOCK), BLOCK, w, g, m->data, m->type, v->data, v->type, n, wide, s);
}

void cuda_posterior(struct backend *b, struct tensor *out, const struct tensor *moments, const struct tensor *noise, float scale) {
  int64_t count = tensor_count(out);
  if (cuda_idle(b)) return;
  RUN(b, posterior_kernel, pieces(count, BLOCK), BLOCK, out->data, out->type, moments->data, moments->type,
      (const void *)(noise ? noise->data : NULL), count, tensor_last(out), scale);
}
