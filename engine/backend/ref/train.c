/* Diffusion and training: noise, posterior, loss, norm, optimiser. */
#include "backend/ref/ref.h"

#include <math.h>

void ref_normal(struct backend *b, struct tensor *out, const struct rng_counter *c) {
  (void)b;
  rng_normal(c, out->data, 0, tensor_count(out));
}

/* diffusers' DiagonalGaussianDistribution: moments [.., 2z] = mean, logvar; out [.., z] = scale (mean + exp(logvar / 2) noise) */
void ref_posterior(struct backend *b, struct tensor *out, const struct tensor *moments, const struct tensor *noise, float scale) {
  (void)b;
  int64_t m = tensor_rows(out), z = tensor_last(out);
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < z; j++) {
      float mean = ref_get(moments, i * 2 * z + j), logvar = fminf(fmaxf(ref_get(moments, i * 2 * z + z + j), -30), 20);
      float deviation = noise ? expf(0.5f * logvar) * ref_get(noise, i * z + j) : 0;
      ref_set(out, i * z + j, scale * (mean + deviation));
    }
}

/* loss = sum mask (pred - target)^2 / k, dpred = weight 2 mask (pred - target) / k, k = c * selected rows; for example n */
static double mse_one(int64_t n, struct tensor *dpred, const struct tensor *pred, const struct tensor *target, const struct tensor *mask,
                      float weight) {
  int64_t c = tensor_last(pred), rows = tensor_rows(pred) / pred->dim[0], selected = 0;
  for (int64_t r = n * rows; r < (n + 1) * rows; r++) selected += !mask || ref_get(mask, r) != 0;
  double sum = 0, k = (double)(selected * c);
  for (int64_t r = n * rows; r < (n + 1) * rows; r++) {
    bool used = !mask || ref_get(mask, r) != 0;
    for (int64_t i = r * c; i < (r + 1) * c; i++) {
      double d = used ? (double)ref_get(pred, i) - ref_get(target, i) : 0;
      sum += d * d;
      if (dpred) ref_set(dpred, i, used ? (float)(2 * weight * d / k) : 0);
    }
  }
  return selected ? sum / k : 0;
}

void ref_mse(struct backend *b, double *loss, struct tensor *dpred, const struct tensor *pred, const struct tensor *target,
             const struct tensor *mask, const float *weight) {
  (void)b;
  for (int64_t n = 0; n < pred->dim[0]; n++) loss[n] = mse_one(n, dpred, pred, target, mask, dpred ? weight[n] : 0);
}

void ref_sum_squares(struct backend *b, double *sum, const float *x, int64_t n) {
  (void)b;
  enum { CHUNK = 1 << 16 };
  double total = 0;
  for (int64_t first = 0; first < n; first += CHUNK) {
    double part = 0;
    for (int64_t i = first; i < n && i < first + CHUNK; i++) part += (double)x[i] * x[i];
    total += part;
  }
  *sum += total;
}

/* torch.optim.AdamW (torch/optim/adamw.py, _single_tensor_adamw). Moments kept in BF16 are rounded after their use. */
void ref_adamw(struct backend *b, float *w, const float *g, struct tensor *m, struct tensor *v, int64_t n, const struct adamw *a) {
  (void)b;
  double correction1 = 1 - pow(a->beta1, a->step), correction2 = 1 - pow(a->beta2, a->step);
  float step_size = (float)(a->lr / correction1), root = (float)sqrt(correction2);
  float keep = (float)(1 - (double)a->lr * a->weight_decay);
  for (int64_t i = 0; i < n; i++) {
    float grad = a->grad_scale * g[i];
    float mean = a->beta1 * ref_get(m, i) + (1 - a->beta1) * grad;
    float square = a->beta2 * ref_get(v, i) + (1 - a->beta2) * grad * grad;
    w[i] = keep * w[i] - step_size * mean / (sqrtf(square) / root + a->eps);
    ref_set(m, i, mean);
    ref_set(v, i, square);
  }
}
