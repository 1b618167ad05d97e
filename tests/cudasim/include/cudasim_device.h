/* The device language in C++: what nvcc knows by itself and g++ has to be told. Included by cuda_runtime.h.
 *
 * A kernel's threads are run one after the other; a thread that must wait for others leaves its stack and comes back to it (block.cpp). */
#ifndef CUDASIM_DEVICE_H
#define CUDASIM_DEVICE_H
#ifdef __cplusplus

#include <math.h>
#include <string.h>
#include <cmath>
#include <functional>
#include <tuple>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __ldg(p) (*(p))
#define __shared__ _Pragma("GCC error \"declare shared memory with SHARED(type, name, dims) or DYN_SHARED(type, name)\"")
constexpr int warpSize = 32;

/* Where the running thread is. */
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

/* --- launches and shared memory -------------------------------------------------------------------------------------------- */

namespace cudasim {

/* Queues a kernel; its failures are cudaGetLastError's. name is what statistics and violations call it. */
void launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, std::function<void()> thread);

/* Arguments that are pointers must point to memory that the device reaches. */
void check_pointers(const char *name, const void *const *p, int n);
template <class T> const void *pointer_of(T *p) { return (const void *)p; }
template <class T> std::enable_if_t<!std::is_pointer<T>::value, const void *> pointer_of(const T &) { return nullptr; }

/* Holds where to launch until the arguments come: they are converted to the kernel's parameters now, as the real launch does. */
template <class... P> struct launcher {
  const char *name;
  void (*kernel)(P...);
  dim3 grid, block;
  size_t shared_bytes;
  cudaStream_t stream;
  void operator()(P... arguments) const {
    static_assert((std::is_trivially_copyable<P>::value && ...), "arguments of kernels are copied as bytes");
    void (*f)(P...) = kernel;
    const void *pointers[] = {pointer_of(arguments)..., nullptr};
    check_pointers(name, pointers, (int)sizeof...(P));
    std::tuple<P...> values(arguments...);
    launch(name, (const void *)f, grid, block, shared_bytes, stream, [f, values]() { std::apply(f, values); });
  }
};
template <class... P>
launcher<P...> at(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream) {
  return {name, kernel, grid, block, shared_bytes, stream};
}

/* A SHARED variable: where it lies in the running block. */
struct shared_variable {
  const char *name;
  unsigned long long block; /* p is right while this is the running block's number */
  void *p;
  void *memory; /* the library's */
};
extern unsigned long long block_number;
void *shared_slow(struct shared_variable *v, size_t bytes, size_t align);
inline void *shared(struct shared_variable *v, size_t bytes, size_t align) {
  return v->block == block_number ? v->p : shared_slow(v, bytes, align);
}
void *dynamic_shared(size_t align);

/* --- waiting for other threads ---------------------------------------------------------------------------------------------- */

void block_barrier(const char *file, int line);
/* Every lane of mask must come. What lane `source` brought (*value, at most 8 bytes) replaces *value; ballot of predicate. */
unsigned warp_exchange(unsigned mask, void *value, size_t bytes, int source, bool predicate, const char *file, int line);

template <class T> T shuffle(unsigned mask, T value, int source, const char *file, int line) {
  static_assert(sizeof(T) <= 8, "shuffles move at most 8 bytes");
  warp_exchange(mask, &value, sizeof value, source, false, file, line);
  return value;
}
inline int lane(void) {
  return (int)((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) & 31);
}

}  // namespace cudasim

#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  (cudasim::at(#kernel, kernel, grid, block, (size_t)(shared_bytes), stream)(__VA_ARGS__))
#define SHARED(type, name, dims)                                      \
  typedef type name##_shared dims;                                    \
  static cudasim::shared_variable name##_at = {#name, 0, nullptr, nullptr}; \
  name##_shared &name = *(name##_shared *)cudasim::shared(&name##_at, sizeof(name##_shared), alignof(name##_shared))
#define SHARED_TILE(type, name, dims)                                 \
  typedef type name##_shared dims;                                    \
  static cudasim::shared_variable name##_at = {#name, 0, nullptr, nullptr}; \
  name##_shared &name = *(name##_shared *)cudasim::shared(&name##_at, sizeof(name##_shared), 32)
#define DYN_SHARED(type, name) type *name = (type *)cudasim::dynamic_shared(16)

/* The place of the call comes in as an argument's default. */
#define CUDASIM_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

static inline void __syncthreads(CUDASIM_HERE) { cudasim::block_barrier(file, line); }
static inline void __syncwarp(unsigned mask = 0xffffffffu, CUDASIM_HERE) { cudasim::warp_exchange(mask, nullptr, 0, -1, false, file, line); }
template <class T> T __shfl_sync(unsigned mask, T v, int source, int width = 32, CUDASIM_HERE) {
  int group = cudasim::lane() & ~(width - 1);
  return cudasim::shuffle(mask, v, group | (source & (width - 1)), file, line);
}
template <class T> T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32, CUDASIM_HERE) {
  int l = cudasim::lane(), s = l ^ bits;
  return cudasim::shuffle(mask, v, s >= (l & ~(width - 1)) + width ? l : s, file, line);
}
template <class T> T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32, CUDASIM_HERE) {
  int l = cudasim::lane(), s = l + (int)delta;
  return cudasim::shuffle(mask, v, s >= (l & ~(width - 1)) + width ? l : s, file, line);
}
template <class T> T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32, CUDASIM_HERE) {
  int l = cudasim::lane(), s = l - (int)delta;
  return cudasim::shuffle(mask, v, s < (l & ~(width - 1)) ? l : s, file, line);
}
static inline unsigned __ballot_sync(unsigned mask, int predicate, CUDASIM_HERE) {
  return cudasim::warp_exchange(mask, nullptr, 0, -1, predicate != 0, file, line);
}
static inline int __any_sync(unsigned mask, int predicate, CUDASIM_HERE) {
  return cudasim::warp_exchange(mask, nullptr, 0, -1, predicate != 0, file, line) != 0;
}
static inline int __all_sync(unsigned mask, int predicate, CUDASIM_HERE) {
  return cudasim::warp_exchange(mask, nullptr, 0, -1, predicate == 0, file, line) == 0;
}
static inline unsigned __activemask(void) { return 1u << cudasim::lane(); }
static inline void __threadfence(void) {}
static inline void __threadfence_block(void) {}

/* --- atomics: threads are not interrupted, so plain code is atomic ------------------------------------------------------------ */

namespace cudasim {
template <class T> struct same {
  typedef T type;
};
template <class T, class F> T replace(T *p, F f) {
  T old = *p;
  *p = f(old);
  return old;
}
}  // namespace cudasim
template <class T> T atomicAdd(T *p, typename cudasim::same<T>::type v) {
  return cudasim::replace(p, [v](T old) { return (T)(old + v); });
}
template <class T> T atomicMax(T *p, typename cudasim::same<T>::type v) {
  return cudasim::replace(p, [v](T old) { return v > old ? v : old; });
}
template <class T> T atomicMin(T *p, typename cudasim::same<T>::type v) {
  return cudasim::replace(p, [v](T old) { return v < old ? v : old; });
}
template <class T> T atomicExch(T *p, typename cudasim::same<T>::type v) {
  return cudasim::replace(p, [v](T) { return v; });
}
template <class T> T atomicOr(T *p, typename cudasim::same<T>::type v) {
  return cudasim::replace(p, [v](T old) { return (T)(old | v); });
}
template <class T> T atomicCAS(T *p, typename cudasim::same<T>::type expected, typename cudasim::same<T>::type v) {
  return cudasim::replace(p, [expected, v](T old) { return old == expected ? v : old; });
}

/* --- numbers: the C library owns some of the names, so they are macros -------------------------------------------------------- */

namespace cudasim {
static inline float rsqrt_f(float x) { return 1.0f / sqrtf(x); }
static inline double rsqrt_d(double x) { return 1.0 / sqrt(x); }
static inline void sincos_f(float x, float *s, float *c) {
  *s = sinf(x);
  *c = cosf(x);
}
}  // namespace cudasim
#define rsqrtf cudasim::rsqrt_f
#define rsqrt cudasim::rsqrt_d
#define __expf expf
#define __exp10f exp10f
#define __logf logf
#define __log2f log2f
#define __powf powf
#define __sinf sinf
#define __cosf cosf
#define __sincosf cudasim::sincos_f
#define __tanhf tanhf

static inline float __fdividef(float a, float b) { return a / b; }
static inline float __frcp_rn(float a) { return 1.0f / a; }
static inline float __fsqrt_rn(float a) { return sqrtf(a); }
static inline float __frsqrt_rn(float a) { return (float)(1.0 / sqrt((double)a)); }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
/* never part of a fused multiply-add: the compiler is kept from seeing both operations */
static inline float __fmul_rn(float a, float b) {
  volatile float r = a * b;
  return r;
}
static inline float __fadd_rn(float a, float b) {
  volatile float r = a + b;
  return r;
}
static inline float __fsub_rn(float a, float b) {
  volatile float r = a - b;
  return r;
}
static inline double __dmul_rn(double a, double b) {
  volatile double r = a * b;
  return r;
}
static inline double __dadd_rn(double a, double b) {
  volatile double r = a + b;
  return r;
}
static inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; }

static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((unsigned long long)a * b) >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
static inline int __ffs(int x) { return __builtin_ffs(x); }

namespace cudasim {
template <class To, class From> To bits(From v) {
  static_assert(sizeof(To) == sizeof(From), "the same bits");
  To r;
  memcpy(&r, &v, sizeof r);
  return r;
}
/* round to nearest, halves to even; NaN and what does not fit as the device does */
template <class To> To rounded(double x, double lowest, double beyond, To low, To high) {
  if (x != x) return 0;
  double r = nearbyint(x);
  return r < lowest ? low : r >= beyond ? high : (To)r;
}
}  // namespace cudasim
static inline float __uint_as_float(unsigned v) { return cudasim::bits<float>(v); }
static inline unsigned __float_as_uint(float v) { return cudasim::bits<unsigned>(v); }
static inline float __int_as_float(int v) { return cudasim::bits<float>(v); }
static inline int __float_as_int(float v) { return cudasim::bits<int>(v); }
static inline double __longlong_as_double(long long v) { return cudasim::bits<double>(v); }
static inline long long __double_as_longlong(double v) { return cudasim::bits<long long>(v); }
static inline int __float2int_rn(float x) { return cudasim::rounded<int>(x, -2147483648.0, 2147483648.0, -2147483647 - 1, 2147483647); }
static inline int __float2int_rz(float x) { return __float2int_rn(truncf(x)); }
static inline int __float2int_rd(float x) { return __float2int_rn(floorf(x)); }
static inline unsigned __float2uint_rn(float x) { return cudasim::rounded<unsigned>(x, 0.0, 4294967296.0, 0u, 4294967295u); }
static inline float __int2float_rn(int x) { return (float)x; }
static inline float __uint2float_rn(unsigned x) { return (float)x; }
static inline float __double2float_rn(double x) { return (float)x; }

/* min and max as overloads: mixed signs and widths follow the usual conversions, NaN the functions of C */
namespace cudasim {
template <class A, class B> using integers = std::enable_if_t<std::is_integral<A>::value && std::is_integral<B>::value, std::common_type_t<A, B>>;
}
template <class A, class B> constexpr cudasim::integers<A, B> min(A a, B b) {
  typedef std::common_type_t<A, B> T;
  return (T)b < (T)a ? (T)b : (T)a;
}
template <class A, class B> constexpr cudasim::integers<A, B> max(A a, B b) {
  typedef std::common_type_t<A, B> T;
  return (T)a < (T)b ? (T)b : (T)a;
}
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }

#endif
#endif
