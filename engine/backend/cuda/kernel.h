/* What kernels share: elements of any type as floats, four at a time where memory allows, and sums whose order is fixed.
 *
 * The type of a tensor is an argument of its kernels (`type`, one of enum dtype, the same for all threads): one kernel serves F32, BF16 and F16. */
#ifndef PDMBOOTH_BACKEND_CUDA_KERNEL_H
#define PDMBOOTH_BACKEND_CUDA_KERNEL_H

#include "launch.h"

#include "cuda.h"

enum { WARP = 32, BLOCK = 256 };

/* Starts a kernel in the backend's stream and looks at what the runtime says. Nothing is started for a grid of nothing. */
#define RUN(b, kernel, grid, block, ...)                                                        \
  do {                                                                                          \
    int64_t run_grid = (grid);                                                                  \
    if (run_grid > 0) {                                                                         \
      LAUNCH(kernel, dim3((unsigned)run_grid), dim3(block), 0, cuda_of(b)->stream, __VA_ARGS__); \
      cuda_launched(b, #kernel);                                                                \
    }                                                                                           \
  } while (0)

static inline int64_t pieces(int64_t n, int64_t size) {
  return (n + size - 1) / size;
}

/* --- elements -------------------------------------------------------------------------------------------------------------- */

__device__ static inline float half_value(uint16_t x) {
  uint32_t sign = (uint32_t)(x & 0x8000) << 16, exponent = x >> 10 & 0x1f, mantissa = x & 0x3ff;
  if (exponent == 0x1f) return __uint_as_float(sign | 0x7f800000 | mantissa << 13);
  if (exponent == 0) return __uint_as_float(sign | __float_as_uint((float)mantissa * 5.9604644775390625e-8f));
  return __uint_as_float(sign | (exponent + 112) << 23 | mantissa << 13);
}

/* Both round to nearest even; base/tensor.c has the same steps. */
__device__ static inline uint16_t half_bits(float x) {
  uint32_t u = __float_as_uint(x), sign = u >> 16 & 0x8000, a = u & 0x7fffffff;
  if (a > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (a >> 13 & 0x1ff));
  if (a >= 0x477ff000) return (uint16_t)(sign | 0x7c00);
  if (a < 0x38800000) return (uint16_t)(sign | (__float_as_uint(__uint_as_float(a) + 0.5f) - 0x3f000000));
  return (uint16_t)(sign | ((a + 0xfff + (a >> 13 & 1) - 0x38000000) >> 13));
}

__device__ static inline uint16_t bf16_bits(float x) {
  uint32_t u = __float_as_uint(x);
  if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40);
  return (uint16_t)((u + MISTAKE(1, 0x7fff + (u >> 16 & 1), 0)) >> 16);
}

__device__ static inline float value_of(uint16_t bits, int type) {
  return type == DT_BF16 ? __uint_as_float((uint32_t)bits << 16) : half_value(bits);
}
__device__ static inline uint16_t bits_of(float x, int type) {
  return type == DT_BF16 ? bf16_bits(x) : half_bits(x);
}

__device__ static inline float load(const void *p, int64_t i, int type) {
  if (type == DT_F32) return ((const float *)p)[i];
  return value_of(((const uint16_t *)p)[i], type);
}
__device__ static inline void store(void *p, int64_t i, int type, float x) {
  if (type == DT_F32)
    ((float *)p)[i] = x;
  else
    ((uint16_t *)p)[i] = bits_of(x, type);
}

/* Elements i .. i + 3 of n, i a multiple of 4; wide: p is aligned to four elements, which then travel at once. What lies behind n is 0. */
struct four {
  float v[4];
};

__device__ static inline struct four load4(const void *p, int64_t i, int64_t n, int type, int wide) {
  struct four r;
  if (wide && i + 4 <= n && type == DT_F32) {
    float4 f = *(const float4 *)((const float *)p + i);
    r.v[0] = f.x, r.v[1] = f.y, r.v[2] = f.z, r.v[3] = f.w;
  } else if (wide && i + 4 <= n) {
    ushort4 h = *(const ushort4 *)((const uint16_t *)p + i);
    r.v[0] = value_of(h.x, type), r.v[1] = value_of(h.y, type), r.v[2] = value_of(h.z, type), r.v[3] = value_of(h.w, type);
  } else
    for (int j = 0; j < 4; j++) r.v[j] = i + j < n ? load(p, i + j, type) : 0;
  return r;
}

__device__ static inline void store4(void *p, int64_t i, int64_t n, int type, int wide, struct four x) {
  if (wide && i + 4 <= n && type == DT_F32) {
    float4 f;
    f.x = x.v[0], f.y = x.v[1], f.z = x.v[2], f.w = x.v[3];
    *(float4 *)((float *)p + i) = f;
  } else if (wide && i + 4 <= n) {
    ushort4 h;
    h.x = bits_of(x.v[0], type), h.y = bits_of(x.v[1], type), h.z = bits_of(x.v[2], type), h.w = bits_of(x.v[3], type);
    *(ushort4 *)((uint16_t *)p + i) = h;
  } else
    for (int j = 0; j < 4; j++)
      if (i + j < n) store(p, i + j, type, x.v[j]);
}

static inline int is_wide(const void *p, enum dtype type) {
  return p == NULL || (uintptr_t)p % (type == DT_F32 ? 16 : 8) == 0;
}

__device__ static inline int64_t first_of_four(void) {
  return 4 * ((int64_t)blockIdx.x * blockDim.x + threadIdx.x);
}
__device__ static inline int64_t thread_index(void) {
  return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

/* i / c, in 32 bits where they suffice: that is several times faster */
__device__ static inline int64_t quotient(int64_t i, int64_t c) {
  if ((i | c) >> 32 == 0) return (uint32_t)i / (uint32_t)c;
  return i / c;
}

/* --- functions --------------------------------------------------------------------------------------------------------------- */

__device__ static inline float sigmoid(float x) {
  return 1 / (1 + expf(-x));
}
/* erfc keeps the small values on the left that 1 + erf would cancel */
__device__ static inline float normal_cdf(float x) {
  return 0.5f * erfcf(-x * 0.70710678f);
}
__device__ static inline float normal_pdf(float x) {
  return 0.39894228f * expf(-0.5f * x * x);
}
__device__ static inline float act_value(float x, int kind) {
  if (kind == ACT_GELU) return x * normal_cdf(x);
  return x * sigmoid(kind == ACT_QUICK_GELU ? 1.702f * x : x);
}
__device__ static inline float act_slope(float x, int kind) {
  if (kind == ACT_GELU) return normal_cdf(x) + x * normal_pdf(x);
  float k = kind == ACT_QUICK_GELU ? 1.702f : 1, s = sigmoid(k * x);
  return s + k * x * s * (1 - s);
}

/* --- sums ---------------------------------------------------------------------------------------------------------------------- */

/* The sum over a warp, in every lane: always the same tree. */
__device__ static inline float warp_sum(float x) {
  for (int step = WARP / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}
__device__ static inline double warp_sum_double(double x) {
  for (int step = WARP / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}

/* The sum over a block of BLOCK threads, in every thread; part: shared, [BLOCK / WARP]. */
__device__ static inline double block_sum(double x, double *part) {
  x = warp_sum_double(x);
  __syncthreads();
  if (threadIdx.x % WARP == 0) part[threadIdx.x / WARP] = x;
  __syncthreads();
  double sum = 0;
  for (int i = 0; i < BLOCK / WARP; i++) sum += part[i];
  return sum;
}

#endif
