#include "base/tensor.h"

#include <string.h>

size_t dtype_size(enum dtype type) {
  static const unsigned char size[] = {[DT_F32] = 4, [DT_BF16] = 2, [DT_F16] = 2, [DT_I32] = 4, [DT_U8] = 1};
  return size[type];
}

const char *dtype_name(enum dtype type) {
  static const char *const name[] = {[DT_F32] = "F32", [DT_BF16] = "BF16", [DT_F16] = "F16", [DT_I32] = "I32", [DT_U8] = "U8"};
  return name[type];
}

int64_t tensor_count(const struct tensor *t) {
  int64_t n = 1;
  for (int i = 0; i < t->rank; i++) n *= t->dim[i];
  return n;
}

size_t tensor_bytes(const struct tensor *t) {
  return (size_t)tensor_count(t) * dtype_size(t->type);
}

int64_t tensor_last(const struct tensor *t) {
  return t->rank > 0 ? t->dim[t->rank - 1] : 1;
}

int64_t tensor_rows(const struct tensor *t) {
  int64_t n = 1;
  for (int i = 0; i + 1 < t->rank; i++) n *= t->dim[i];
  return n;
}

bool tensor_same_shape(const struct tensor *a, const struct tensor *b) {
  if (a->rank != b->rank) return false;
  for (int i = 0; i < a->rank; i++)
    if (a->dim[i] != b->dim[i]) return false;
  return true;
}

struct tensor tensor_of(void *data, enum dtype type, int rank, const int64_t *dim) {
  struct tensor t = {.data = data, .type = type, .rank = rank};
  for (int i = 0; i < rank && i < TENSOR_MAX_RANK; i++) t.dim[i] = dim[i];
  return t;
}

struct tensor tensor_1d(void *data, enum dtype type, int64_t a) {
  return tensor_of(data, type, 1, (const int64_t[]){a});
}

struct tensor tensor_2d(void *data, enum dtype type, int64_t a, int64_t b) {
  return tensor_of(data, type, 2, (const int64_t[]){a, b});
}

struct tensor tensor_3d(void *data, enum dtype type, int64_t a, int64_t b, int64_t c) {
  return tensor_of(data, type, 3, (const int64_t[]){a, b, c});
}

struct tensor tensor_4d(void *data, enum dtype type, int64_t a, int64_t b, int64_t c, int64_t d) {
  return tensor_of(data, type, 4, (const int64_t[]){a, b, c, d});
}

struct tensor tensor_reshape(struct tensor t, int rank, const int64_t *dim) {
  return tensor_of(t.data, t.type, rank, dim);
}

struct tensor tensor_slice(struct tensor t, int64_t first, int64_t n) {
  size_t item = t.dim[0] > 0 ? tensor_bytes(&t) / (size_t)t.dim[0] : 0;
  if (t.data != NULL) /* a planning run has no memory to point into */
    t.data = (char *)t.data + (size_t)first * item;
  t.dim[0] = n;
  return t;
}

static uint32_t bits_of(float x) {
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}

static float float_of(uint32_t u) {
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}

uint16_t f32_to_bf16(float x) {
  uint32_t u = bits_of(x);
  if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40); /* quiet, and never rounded into infinity */
  return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

float bf16_to_f32(uint16_t x) {
  return float_of((uint32_t)x << 16);
}

uint16_t f32_to_f16(float x) {
  uint32_t u = bits_of(x), sign = u >> 16 & 0x8000, a = u & 0x7fffffff;
  if (a > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (a >> 13 & 0x1ff));
  if (a >= 0x477ff000) /* 65520 and above round to infinity */
    return (uint16_t)(sign | 0x7c00);
  if (a < 0x38800000) { /* subnormal: adding 0.5 aligns the mantissa to 2^-24 and rounds to even in hardware */
    uint32_t half = bits_of(float_of(a) + 0.5f);
    return (uint16_t)(sign | (half - 0x3f000000));
  }
  uint32_t rounded = a + 0xfff + (a >> 13 & 1);
  return (uint16_t)(sign | ((rounded - 0x38000000) >> 13));
}

float f16_to_f32(uint16_t x) {
  uint32_t sign = (uint32_t)(x & 0x8000) << 16, exponent = x >> 10 & 0x1f, mantissa = x & 0x3ff;
  if (exponent == 0x1f) return float_of(sign | 0x7f800000 | mantissa << 13);
  if (exponent == 0) { /* zero and subnormals: mantissa * 2^-24 is exact */
    float a = (float)mantissa * 0x1p-24f;
    return float_of(sign | bits_of(a));
  }
  return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
}
