/* What the stand-ins for cuBLASLt and cuDNN share. They know nothing of the engine. */
#ifndef CUDASIM_STANDIN_H
#define CUDASIM_STANDIN_H

#include <vector>

#include "sim.hpp"

namespace cudasim {

/* Handles and descriptors that exist, by address; counted as leaks at a reset, which then releases them. */
void library_add(void *made, const char *kind, void (*release)(void *));
/* False and a violation where the object is not one of this kind, or was destroyed. */
bool library_has(const void *object, const char *kind, const char *function);
bool library_remove(const void *object, const char *kind, const char *function);

/* cudasim_refuse */
bool refuses_shapes();
bool refuses_calls();
/* cudasim_time: what was said of this function and algorithm passes on the clock that events see */
void pass_time(const char *function, int algorithm);

enum class number { f32, f16, bf16 };
static inline size_t size_of(number n) { return n == number::f32 ? 4 : 2; }
/* to[i] = from[i * stride] */
void read_numbers(float *to, const void *from, number type, size_t n, size_t stride);
/* Rounded once. */
void write_number(void *to, number type, size_t at, float value);
float read_number(const void *from, number type, size_t at);
/* Factors of a product that tensor cores take: rounded to 10 bits behind the point. */
void round_to_tf32(float *x, size_t n);

/* c [m, n] += a [m, k] b [k, n], rows without gaps */
void multiply(size_t m, size_t n, size_t k, const float *a, const float *b, float *c);

/* Every byte is 0. Products of such memory are known: measuring, which is done on it, is then possible for shapes that take minutes here. */
bool all_zero(const void *p, size_t bytes);

/* [p, p + bytes) device memory, aligned to `align`. */
bool expect_operand(const void *p, size_t bytes, size_t align, const char *what);
/* What a library does with memory that it was given to work in. */
void spoil_workspace(void *p, size_t bytes);
/* A violation where an input of a product holds memory never written. */
void expect_written(const void *p, size_t bytes, const char *what);

}  // namespace cudasim

#endif
