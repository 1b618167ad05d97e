/* A tensor is a pointer, a type and dims; it owns nothing. Row-major, last dim contiguous. */
#ifndef PDMBOOTH_BASE_TENSOR_H
#define PDMBOOTH_BASE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dtype { DT_F32, DT_BF16, DT_F16, DT_I32, DT_U8 };
enum { TENSOR_MAX_RANK = 4 };

/* data: memory of the backend in use (NULL in a planning run). Pictures are [n, h, w, c], sequences [n, tokens, c]:
   a picture and the sequence of its pixels are the same memory. */
struct tensor {
  void *data;
  enum dtype type;
  int rank;
  int64_t dim[TENSOR_MAX_RANK];
};

size_t dtype_size(enum dtype type);
const char *dtype_name(enum dtype type); /* "F32", ... as in safetensors */

int64_t tensor_count(const struct tensor *t); /* number of elements */
size_t tensor_bytes(const struct tensor *t);
int64_t tensor_last(const struct tensor *t); /* last dim: channels */
int64_t tensor_rows(const struct tensor *t); /* count / last dim */
bool tensor_same_shape(const struct tensor *a, const struct tensor *b);

/* A view of data that somebody else owns. */
struct tensor tensor_of(void *data, enum dtype type, int rank, const int64_t *dim);
struct tensor tensor_1d(void *data, enum dtype type, int64_t a);
struct tensor tensor_2d(void *data, enum dtype type, int64_t a, int64_t b);
struct tensor tensor_3d(void *data, enum dtype type, int64_t a, int64_t b, int64_t c);
struct tensor tensor_4d(void *data, enum dtype type, int64_t a, int64_t b, int64_t c, int64_t d);
/* Same memory, other dims (same count). */
struct tensor tensor_reshape(struct tensor t, int rank, const int64_t *dim);
/* Items [first, first + n) along dim 0. */
struct tensor tensor_slice(struct tensor t, int64_t first, int64_t n);

/* bf16 and f16 conversions, round to nearest even; NaN stays NaN. */
uint16_t f32_to_bf16(float x);
float bf16_to_f32(uint16_t x);
uint16_t f32_to_f16(float x);
float f16_to_f32(uint16_t x);

#endif
