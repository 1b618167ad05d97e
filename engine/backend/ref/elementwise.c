/* Element-wise operations. */
#include "backend/ref/ref.h"

#include <math.h>

static float sigmoid(float x) {
  return 1 / (1 + expf(-x));
}

/* Standard normal distribution and density. erfc keeps the small values on the left that 1 + erf would cancel. */
static float normal_cdf(float x) {
  return 0.5f * erfcf(-x * 0.70710678f);
}

static float normal_pdf(float x) {
  return 0.39894228f * expf(-0.5f * x * x);
}

/* torch.nn.functional.silu, gelu (erf form), and transformers' QuickGELUActivation. */
float ref_act_value(float x, enum activation kind) {
  switch (kind) {
    case ACT_SILU:
      return x * sigmoid(x);
    case ACT_GELU:
      return x * normal_cdf(x);
    case ACT_QUICK_GELU:
      return x * sigmoid(1.702f * x);
  }
  return x;
}

float ref_act_slope(float x, enum activation kind) {
  float k = kind == ACT_QUICK_GELU ? 1.702f : 1;
  if (kind == ACT_GELU) return normal_cdf(x) + x * normal_pdf(x);
  float s = sigmoid(k * x);
  return s + k * x * s * (1 - s);
}

void ref_fill(struct backend *b, struct tensor *y, float value) {
  (void)b;
  int64_t n = tensor_count(y);
  for (int64_t i = 0; i < n; i++) ref_set(y, i, value);
}

void ref_cast(struct backend *b, struct tensor *y, const struct tensor *x) {
  (void)b;
  int64_t n = tensor_count(y);
  for (int64_t i = 0; i < n; i++) ref_set(y, i, ref_get(x, i));
}

/* y is not read where beta is 0: it may hold anything, NaN included. */
void ref_axpby(struct backend *b, struct tensor *y, float alpha, const struct tensor *x, float beta) {
  (void)b;
  int64_t n = tensor_count(y);
  for (int64_t i = 0; i < n; i++) ref_set(y, i, alpha * ref_get(x, i) + (beta != 0 ? beta * ref_get(y, i) : 0));
}

void ref_add(struct backend *b, struct tensor *y, const struct tensor *a, const struct tensor *c) {
  (void)b;
  int64_t n = tensor_count(y);
  for (int64_t i = 0; i < n; i++) ref_set(y, i, ref_get(a, i) + ref_get(c, i));
}

void ref_act(struct backend *b, struct tensor *y, const struct tensor *x, enum activation kind) {
  (void)b;
  int64_t n = tensor_count(y);
  for (int64_t i = 0; i < n; i++) ref_set(y, i, ref_act_value(ref_get(x, i), kind));
}

void ref_act_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x, enum activation kind) {
  (void)b;
  int64_t n = tensor_count(dx);
  for (int64_t i = 0; i < n; i++) ref_set(dx, i, ref_get(dy, i) * ref_act_slope(ref_get(x, i), kind));
}

/* diffusers' GEGLU: hidden, gate = x.chunk(2, dim=-1); y = hidden * gelu(gate) */
void ref_geglu(struct backend *b, struct tensor *y, const struct tensor *x) {
  (void)b;
  int64_t m = tensor_rows(x), c = tensor_last(x) / 2;
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < c; j++) {
      float hidden = ref_get(x, i * 2 * c + j), gate = ref_get(x, i * 2 * c + c + j);
      ref_set(y, i * c + j, hidden * ref_act_value(gate, ACT_GELU));
    }
}

void ref_geglu_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x) {
  (void)b;
  int64_t m = tensor_rows(x), c = tensor_last(x) / 2;
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < c; j++) {
      float hidden = ref_get(x, i * 2 * c + j), gate = ref_get(x, i * 2 * c + c + j), d = ref_get(dy, i * c + j);
      ref_set(dx, i * 2 * c + j, d * ref_act_value(gate, ACT_GELU));
      ref_set(dx, i * 2 * c + c + j, d * hidden * ref_act_slope(gate, ACT_GELU));
    }
}
