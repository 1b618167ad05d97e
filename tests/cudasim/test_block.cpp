/* Blocks, threads, shared memory, warps, launches; and mistakes in kernels. */
#include "test.hpp"

__global__ static void add(float *y, const float *x, float a, long n) {
  long i = (long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = a * x[i] + y[i];
}

static void plain() {
  std::vector<float> x(1000), y(1000);
  for (int i = 0; i < 1000; i++) x[i] = (float)i, y[i] = 1;
  float *dx = on_device(x), *dy = on_device(y);
  LAUNCH(add, 4, 256, 0, 0, dy, dx, 2, 1000);
  y = on_host(dy, 1000);
  for (int i = 0; i < 1000; i++) EXPECT(y[i] == 2.0f * (float)i + 1);
  EXPECT(cudasim_launches("add") == 1 && cudasim_launches(NULL) == 1);
  cudaFree(dx), cudaFree(dy);
}

__global__ static void indices(int *y) {
  int thread = (int)(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
  int block = (int)(blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z));
  y[block * 24 + thread] = block * 24 + thread;
}

static void three_dimensions() {
  int *y = device_memory<int>(24 * 30);
  LAUNCH(indices, dim3(2, 3, 5), dim3(4, 3, 2), 0, 0, y);
  std::vector<int> h = on_host(y, 24 * 30);
  for (int i = 0; i < 24 * 30; i++) EXPECT(h[i] == i);
  cudaFree(y);
}

/* The sum of a block, by shuffles and shared memory; mistake 1 lacks the barrier. */
__global__ static void sum(float *y, const float *x, int mistake) {
  SHARED(float, part, [32]);
  DYN_SHARED(float, copy);
  copy[threadIdx.x] = x[threadIdx.x];
  if (mistake != 1) __syncthreads();
  float v = copy[blockDim.x - 1 - threadIdx.x];
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(0xffffffffu, v, o);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
  __syncthreads();
  if (threadIdx.x == 0)
    for (unsigned w = 1; w < blockDim.x / 32; w++) v += part[w];
  if (threadIdx.x == 0) *y = v;
}

static void reduction() {
  std::vector<float> x(256);
  for (int i = 0; i < 256; i++) x[i] = (float)i;
  float *dx = on_device(x), *dy = device_memory<float>(1);
  LAUNCH(sum, 1, 256, 256 * sizeof(float), 0, dy, dx, 0);
  EXPECT(on_host(dy, 1)[0] == 255 * 128);
  LAUNCH(sum, 1, 256, 256 * sizeof(float), 0, dy, dx, 1); /* what was not yet written is NaN */
  cudasim_check_unwritten(false);
  float y = on_host(dy, 1)[0];
  EXPECT(y != y);
  cudaFree(dx), cudaFree(dy);
}

__global__ static void warp_words(unsigned *y) {
  unsigned l = threadIdx.x;
  y[l] = __ballot_sync(0xffffffffu, l % 3 == 0);
  y[32 + l] = (unsigned)__shfl_up_sync(0xffffffffu, l, 1) + 100 * __shfl_down_sync(0xffffffffu, l, 2) + 10000 * __shfl_sync(0xffffffffu, l, 5);
  y[64 + l] = (unsigned)__any_sync(0xffffffffu, l == 7) + 2 * (unsigned)__all_sync(0xffffffffu, l < 31) + 4 * (unsigned)__all_sync(0xffffffffu, l < 32);
  if (l < 16) y[96 + l] = __shfl_xor_sync(0x0000ffffu, l, 1, 8);
  else y[96 + l] = __shfl_xor_sync(0xffff0000u, l, 2);
  __syncwarp();
}

static void warps() {
  unsigned *d = device_memory<unsigned>(128);
  LAUNCH(warp_words, 1, 32, 0, 0, d);
  std::vector<unsigned> y = on_host(d, 128);
  for (unsigned l = 0; l < 32; l++) {
    EXPECT(y[l] == 0x49249249u);
    EXPECT(y[32 + l] == (l ? l - 1 : 0) + 100 * (l < 30 ? l + 2 : l) + 50000);
    EXPECT(y[64 + l] == 5);
    EXPECT(y[96 + l] == (l < 16 ? l ^ 1 : l ^ 2));
  }
  cudaFree(d);
}

__global__ static void count(int *n, float *f, unsigned *most) {
  atomicAdd(n, 1);
  atomicAdd(f, 0.5f);
  atomicMax(most, threadIdx.x);
}

static void atomics() {
  int *n = on_device(std::vector<int>(1));
  float *f = on_device(std::vector<float>(1));
  unsigned *m = on_device(std::vector<unsigned>(1));
  LAUNCH(count, 3, 100, 0, 0, n, f, m);
  EXPECT(on_host(n, 1)[0] == 300 && on_host(f, 1)[0] == 150 && on_host(m, 1)[0] == 99);
  cudaFree(n), cudaFree(f), cudaFree(m);
}

static void small_numbers() {
  EXPECT(__bfloat16_as_ushort(__float2bfloat16(1.00390625f)) == 0x3f80); /* halfway: to even */
  EXPECT(__bfloat16_as_ushort(__float2bfloat16(1.01171875f)) == 0x3f82);
  EXPECT(__bfloat162float(__ushort_as_bfloat16(0xc0a0)) == -5);
  EXPECT(__half_as_ushort(__float2half_rn(65504.0f)) == 0x7bff && __half_as_ushort(__float2half_rn(65520.0f)) == 0x7c00);
  EXPECT(__half_as_ushort(__float2half_rn(0x1p-24f)) == 1 && __half_as_ushort(__float2half_rn(0x1p-25f)) == 0);
  EXPECT(__half_as_ushort(__float2half_rn(-0x1.8p-24f)) == 0x8002);
  for (unsigned i = 0; i < 65536; i++) {
    float h = __half2float(__ushort_as_half((unsigned short)i)), b = __bfloat162float(__ushort_as_bfloat16((unsigned short)i));
    EXPECT(h != h || __half_as_ushort(__float2half_rn(h)) == i);
    EXPECT(b != b || __bfloat16_as_ushort(__float2bfloat16(b)) == i);
  }
  EXPECT(__umulhi(0xd2511f53u, 0x12345678u) == (unsigned)((0xd2511f53ull * 0x12345678u) >> 32));
  EXPECT(max(1u, 2) == 2 && min(-1, 2) == -1 && rsqrtf(4) == 0.5f);
}

/* --- mistakes ------------------------------------------------------------------------------------------------------------------------------- */

__global__ static void divergent(int kind) {
  if (kind == 0 && threadIdx.x < 40) __syncthreads();
  if (kind == 1) {
    if (threadIdx.x < 40) __syncthreads();
    else __syncthreads(); /* another one */
  }
  if (kind == 2) { /* half waits for what never comes */
    if (threadIdx.x < 16) __syncthreads();
    else __shfl_sync(0xffffffffu, 1, 0);
  }
  if (kind == 3) __shfl_sync(2u, 1, 1);
}

static void barriers() {
  LAUNCH(divergent, 1, 64, 0, 0, 0);
  cudaDeviceSynchronize();
  FOUND("is not reached by 24 threads");
  LAUNCH(divergent, 1, 64, 0, 0, 1);
  cudaDeviceSynchronize();
  FOUND("meet at different __syncthreads");
  LAUNCH(divergent, 1, 32, 0, 0, 2);
  EXPECT(cudaDeviceSynchronize() == cudaErrorLaunchFailure);
  FOUND("deadlock: 16 threads wait in __syncthreads");
  LAUNCH(divergent, 1, 32, 0, 0, 3);
  cudaDeviceSynchronize();
  FOUND("whose mask 00000002 lacks it");
}

__global__ static void stray_shared(int at, int dynamic) {
  SHARED(float, fixed, [20]);
  if (dynamic) {
    DYN_SHARED(float, d);
    d[at] = 1;
  } else {
    fixed[at] = 1;
  }
}

static void shared_bounds() {
  volatile int far = 2000; /* the compiler is not to see it */
  if (!UNDER_ASAN) { /* nearer than the sanitizer's own margins it ends the program */
    LAUNCH(stray_shared, 1, 1, 0, 0, 20 + 4, 0);
    EXPECT(cudaDeviceSynchronize() == cudaErrorIllegalAddress);
    FOUND("shared memory fixed out of bounds");
    LAUNCH(stray_shared, 1, 1, 0, 0, -3, 0);
    cudaDeviceSynchronize();
    FOUND("before fixed was written");
    LAUNCH(stray_shared, 1, 1, 50, 0, 13, 1);
    EXPECT(cudaDeviceSynchronize() == cudaSuccess);
    FOUND("behind the dynamic part was written");
  }
  LAUNCH(stray_shared, 1, 1, 1000, 0, far, 1);
  EXPECT(cudaDeviceSynchronize() == cudaErrorIllegalAddress);
  FOUND("dynamic shared memory out of bounds");
}

__global__ static void nothing() {}
__global__ static void much_shared(float *y) {
  SHARED(float, large, [10000]);
  DYN_SHARED(float, more);
  large[0] = more[0] = 1;
  *y = large[0] + more[0];
}

static void limits() {
  LAUNCH(nothing, 1, 1025, 0, 0);
  EXPECT(cudaGetLastError() == cudaErrorInvalidConfiguration);
  FOUND("1 to 1024 may be");
  LAUNCH(nothing, dim3(1, 65536), 32, 0, 0);
  EXPECT(cudaGetLastError() == cudaErrorInvalidConfiguration && cudaGetLastError() == cudaSuccess);
  FOUND("a grid of 1 x 65536");
  LAUNCH(nothing, 0, 32, 0, 0);
  EXPECT(cudaGetLastError() == cudaErrorInvalidConfiguration);
  FOUND("a grid of 0");
  LAUNCH(nothing, 1, 32, 49153, 0);
  EXPECT(cudaGetLastError() == cudaErrorInvalidValue);
  FOUND("49153 bytes of dynamic shared memory");
  EXPECT(cudaFuncSetAttribute(nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, 100000) == cudaSuccess);
  LAUNCH(nothing, 1, 32, 100000, 0);
  EXPECT(cudaGetLastError() == cudaSuccess);
  EXPECT(cudaFuncSetAttribute(nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, 227 * 1024 + 1) == cudaErrorInvalidValue);
  FOUND("232448 at most");
  float *y = device_memory<float>(1);
  LAUNCH(much_shared, 1, 1, 40000, 0, y);
  cudaDeviceSynchronize();
  FOUND("more than a block may have");
  cudaFree(y);
}

const std::vector<test> block_tests = {
    {"a plain kernel", plain},
    {"three dimensions", three_dimensions},
    {"a reduction; a missing __syncthreads shows", reduction},
    {"warp operations", warps},
    {"atomics", atomics},
    {"bf16 and fp16 of every value", small_numbers},
    {"barriers not reached, deadlocks, wrong masks are found", barriers},
    {"shared memory out of bounds is found", shared_bounds},
    {"launches over the limits are found", limits},
};
