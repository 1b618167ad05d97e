/* __half: IEEE 754 binary16. Host files in C11 see the type only. */
#ifndef CUDASIM_CUDA_FP16_H
#define CUDASIM_CUDA_FP16_H

#include "cuda_runtime.h"

#ifndef __cplusplus
typedef struct {
  unsigned short x;
} __half;
typedef struct __align__(4) {
  __half x, y;
} __half2;
#else
namespace cudasim {
static inline unsigned short half_of(float f) { /* nearest, halves to even; too large is infinite */
  unsigned u = bits<unsigned>(f), sign = u >> 16 & 0x8000u, magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return 0x7fff; /* NaN as the device writes it */
  if (magnitude >= 0x477ff000u) return (unsigned short)(sign | 0x7c00u);
  if (magnitude < 0x38800000u) { /* below 2^-14: a multiple of 2^-24, added to a number whose last place that is */
    float r = bits<float>(magnitude) + 0.5f;
    return (unsigned short)(sign | (bits<unsigned>(r) - 0x3f000000u));
  }
  return (unsigned short)(sign | ((magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1)) >> 13));
}
static inline float float_of_half(unsigned short h) {
  unsigned sign = (h & 0x8000u) << 16, magnitude = h & 0x7fffu;
  if (magnitude >= 0x7c00u) return bits<float>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  float m = magnitude < 0x400u ? (float)magnitude * 0x1p-24f : bits<float>((magnitude << 13) + 0x38000000u);
  return sign ? -m : m;
}
}  // namespace cudasim

struct __half {
  unsigned short __x;
  __half() = default;
  __half(float f) : __x(cudasim::half_of(f)) {}
  operator float() const { return cudasim::float_of_half(__x); }
};
struct __align__(4) __half2 {
  __half x, y;
};
static_assert(sizeof(__half) == 2 && std::is_trivially_copyable<__half>::value, "two bytes");

static inline __half __float2half(float f) { return __half(f); }
static inline __half __float2half_rn(float f) { return __half(f); }
static inline float __half2float(__half h) { return cudasim::float_of_half(h.__x); }
static inline __half __ushort_as_half(unsigned short u) {
  __half h;
  h.__x = u;
  return h;
}
static inline unsigned short __half_as_ushort(__half h) { return h.__x; }
static inline __half2 __halves2half2(__half x, __half y) { return __half2{x, y}; }
static inline __half2 __floats2half2_rn(float x, float y) { return __half2{__half(x), __half(y)}; }
static inline float2 __half22float2(__half2 v) { return make_float2(v.x, v.y); }
static inline float __low2float(__half2 v) { return v.x; }
static inline float __high2float(__half2 v) { return v.y; }
#endif
typedef __half half;
typedef __half2 half2;

#endif
