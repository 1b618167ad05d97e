/* Elements of any type as floats. */
#include "backend/ref/ref.h"

#include <stdlib.h>
#include <string.h>

float ref_get(const struct tensor *t, int64_t i) {
  switch (t->type) {
    case DT_F32:
      return ((const float *)t->data)[i];
    case DT_BF16:
      return bf16_to_f32(((const uint16_t *)t->data)[i]);
    case DT_F16:
      return f16_to_f32(((const uint16_t *)t->data)[i]);
    case DT_I32:
      return (float)((const int32_t *)t->data)[i];
    case DT_U8:
      return ((const uint8_t *)t->data)[i];
  }
  return 0;
}

void ref_set(struct tensor *t, int64_t i, float value) {
  switch (t->type) {
    case DT_F32:
      ((float *)t->data)[i] = value;
      break;
    case DT_BF16:
      ((uint16_t *)t->data)[i] = f32_to_bf16(value);
      break;
    case DT_F16:
      ((uint16_t *)t->data)[i] = f32_to_f16(value);
      break;
    case DT_I32:
      ((int32_t *)t->data)[i] = (int32_t)value;
      break;
    case DT_U8:
      ((uint8_t *)t->data)[i] = (uint8_t)value;
      break;
  }
}

void ref_load(float *out, const struct tensor *t, int64_t first, int64_t n) {
  if (t->type == DT_F32) {
    memcpy(out, (const float *)t->data + first, (size_t)n * sizeof *out);
    return;
  }
  for (int64_t i = 0; i < n; i++) out[i] = ref_get(t, first + i);
}

void ref_store(struct tensor *t, int64_t first, int64_t n, const float *x) {
  if (t->type == DT_F32) {
    memcpy((float *)t->data + first, x, (size_t)n * sizeof *x);
    return;
  }
  for (int64_t i = 0; i < n; i++) ref_set(t, first + i, x[i]);
}

float *ref_floats(struct backend *b, int64_t n) {
  float *p = calloc(n > 0 ? (size_t)n : 1, sizeof *p);
  if (!p) err_set(&b->fault, ERR_FIT, "out of memory: %lld bytes of scratch for an operation", (long long)n * (long long)sizeof *p);
  return p;
}

const float *ref_read(struct backend *b, const struct tensor *t, float **owned) {
  *owned = NULL;
  if (t->type == DT_F32) return t->data;
  *owned = ref_floats(b, tensor_count(t));
  if (*owned) ref_load(*owned, t, 0, tensor_count(t));
  return *owned;
}

const float *ref_weights(struct backend *b, const struct param *w, enum dtype type, float **owned) {
  *owned = NULL;
  if (type == DT_F32) return w->w;
  *owned = ref_floats(b, w->count);
  if (!*owned) return NULL;
  for (int64_t i = 0; i < w->count; i++) (*owned)[i] = type == DT_F16 ? f16_to_f32(f32_to_f16(w->w[i])) : bf16_to_f32(f32_to_bf16(w->w[i]));
  return *owned;
}

bool ref_trained(const struct param *p) {
  return p && p->g && !p->frozen;
}

void ref_add_column_sums(struct param *p, const float *x, int64_t rows, int64_t c) {
  for (int64_t j = 0; j < c; j++) {
    double sum = 0;
    for (int64_t i = 0; i < rows; i++) sum += x[i * c + j];
    p->g[j] += (float)sum;
  }
}
