/* Linear layers: torch.nn.functional.linear and its gradients, in slices of SLICE rows so that scratch stays small. */
#include "backend/ref/ref.h"

#include <stdlib.h>
#include <string.h>

enum { SLICE = 256 };

static int64_t slice_rows(int64_t rows, int64_t first) {
  return rows - first < SLICE ? rows - first : SLICE;
}

/* out [m, n] = alpha x [m, k] weights [k, n] + bias [n] + beta out */
static void product(struct backend *b, struct tensor *out, const struct tensor *x, struct ref_matrix weights, const float *bias,
                    float alpha, float beta) {
  int64_t m = tensor_rows(out), n = tensor_last(out), k = tensor_last(x);
  float *in = ref_floats(b, SLICE * k), *sum = ref_floats(b, SLICE * n);
  for (int64_t first = 0; in && sum && first < m; first += SLICE) {
    int64_t rows = slice_rows(m, first);
    ref_load(in, x, first * k, rows * k);
    memset(sum, 0, (size_t)(rows * n) * sizeof *sum);
    ref_gemm(rows, n, k, (struct ref_matrix){in, k, 1}, weights, sum, n);
    for (int64_t i = 0; i < rows * n; i++) {
      float old = beta != 0 ? beta * ref_get(out, first * n + i) : 0; /* not read where beta is 0 */
      sum[i] = alpha * sum[i] + (bias ? bias[i % n] : 0) + old;
    }
    ref_store(out, first * n, rows * n, sum);
  }
  free(in);
  free(sum);
}

/* y [m, n] = alpha x [m, k] w^T + bias + beta y, w [n, k] */
void ref_linear(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, struct param *bias, float alpha, float beta) {
  float *owned;
  const float *weights = ref_weights(b, w, x->type, &owned);
  if (weights) product(b, y, x, (struct ref_matrix){weights, 1, tensor_last(x)}, bias ? bias->w : NULL, alpha, beta);
  free(owned);
}

/* dx [m, k] = alpha dy [m, n] w + beta dx */
void ref_linear_dx(struct backend *b, struct tensor *dx, const struct tensor *dy, struct param *w, float alpha, float beta) {
  float *owned;
  const float *weights = ref_weights(b, w, dy->type, &owned);
  if (weights) product(b, dx, dy, (struct ref_matrix){weights, tensor_last(dx), 1}, NULL, alpha, beta);
  free(owned);
}

/* w->g [n, k] += alpha dy^T x; bias->g [n] += column sums of dy */
void ref_linear_dw(struct backend *b, struct param *w, struct param *bias, const struct tensor *x, const struct tensor *dy, float alpha) {
  if (!ref_trained(w) && !ref_trained(bias)) return;
  int64_t m = tensor_rows(dy), n = tensor_last(dy), k = ref_trained(w) ? tensor_last(x) : 0;
  float *in = ref_floats(b, SLICE * k), *d = ref_floats(b, SLICE * n);
  for (int64_t first = 0; in && d && first < m; first += SLICE) {
    int64_t rows = slice_rows(m, first);
    ref_load(d, dy, first * n, rows * n);
    if (ref_trained(bias)) ref_add_column_sums(bias, d, rows, n);
    if (!ref_trained(w)) continue;
    ref_load(in, x, first * k, rows * k);
    for (int64_t i = 0; i < rows * n; i++) d[i] *= alpha;
    ref_gemm(n, k, rows, (struct ref_matrix){d, 1, n}, (struct ref_matrix){in, k, 1}, w->g, k);
  }
  free(in);
  free(d);
}
