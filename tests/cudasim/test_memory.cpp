/* Device memory, pinned memory, errors, the environment; and mistakes with pointers. */
#include "test.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

__global__ static void put(float *y, long at, float v) { y[at] = v; }
__global__ static void get(float *to, const float *x, long at) { *to = x[at]; }

static void accounting() {
  size_t free_bytes, total;
  float *a = device_memory<float>(1000), *b = device_memory<float>(3);
  EXPECT(cudasim_bytes() == 4012 && cudasim_is_device(a + 999, 4) && !cudasim_is_device(a + 999, 8) && !cudasim_is_device(&a, 1));
  EXPECT((size_t)a % 256 == 0 && (size_t)b % 256 == 0);
  cudaFree(a);
  EXPECT(cudasim_bytes() == 12 && cudasim_peak() == 4012);
  EXPECT(cudaMemGetInfo(&free_bytes, &total) == cudaSuccess && total == 24ull << 30 && free_bytes == total - 12);
  EXPECT(cudaMalloc(&a, 24ull << 30) == cudaErrorMemoryAllocation && a == NULL && cudaGetLastError() == cudaErrorMemoryAllocation);
  cudaFree(b);
  EXPECT(cudaMalloc(&a, 20ull << 30) == cudaSuccess); /* touched nowhere: costs nothing */
  LAUNCH(put, 1, 1, 0, 0, a, (5l << 30) - 1, 3);
  float h;
  EXPECT(cudaMemcpy(&h, a + (5l << 30) - 1, 4, cudaMemcpyDeviceToHost) == cudaSuccess && h == 3);
  cudaFree(a);
}

static void copies() {
  std::vector<int> v(100);
  for (int i = 0; i < 100; i++) v[i] = i;
  int *a = on_device(v), *b = device_memory<int>(100);
  EXPECT(cudaMemcpyAsync(b, a, 400, cudaMemcpyDeviceToDevice, 0) == cudaSuccess);
  EXPECT(cudaMemset(a, 0, 400) == cudaSuccess);
  EXPECT(on_host(b, 100) == v && on_host(a, 100)[50] == 0);
  EXPECT(cudaMemcpy2DAsync(b, 8, a, 4, 4, 50, cudaMemcpyDeviceToDevice, 0) == cudaSuccess);
  std::vector<int> w = on_host(b, 100);
  for (int i = 0; i < 100; i++) EXPECT(w[i] == (i % 2 ? i : 0));
  EXPECT(cudaMemcpy(b, a, 400, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
  FOUND("device memory where host memory is due");
  EXPECT(cudaMemcpy(a, v.data(), 404, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  FOUND("404 bytes where the block has 400 left");
  EXPECT(cudaMemcpyAsync(a + 1, a, 8, cudaMemcpyDeviceToDevice, 0) == cudaErrorInvalidValue);
  FOUND("overlap");
  EXPECT(cudaMemset(v.data(), 0, 400) == cudaErrorInvalidValue);
  FOUND("host memory where device memory is due");
  cudaFree(a), cudaFree(b);
}

static void host_touches_device() {
  float *a = on_device(std::vector<float>(100, 2.0f));
  volatile float *p = a;
  EXPECT(p[3] == 2);
  FOUND("host code reads device memory");
  cudaMemset(a, 0, 400);
  cudaDeviceSynchronize();
  p[4] = 1;
  FOUND("host code");
  cudaFree(a);
}

static void out_of_bounds() {
  float *a = on_device(std::vector<float>(100)), *to = device_memory<float>(1);
  LAUNCH(put, 1, 1, 0, 0, a, 1 << 12, 1);
  EXPECT(cudaDeviceSynchronize() == cudaErrorIllegalAddress && cudaMalloc(&to, 4) == cudaErrorIllegalAddress);
  FOUND("kernel put, block (0,0,0), thread (0,0,0): ");
  LAUNCH(get, 1, 1, 0, 0, to = device_memory<float>(1), a, -5000);
  cudaDeviceSynchronize();
  FOUND("memory out of bounds (block");
  if (!UNDER_ASAN) {
    LAUNCH(put, 1, 1, 0, 0, a, 100, 1);
    EXPECT(cudasim_check() == 1);
    FOUND("memory behind block");
    LAUNCH(put, 1, 1, 0, 0, a, -1, 1);
    EXPECT(cudaFree(a) == cudaSuccess);
    FOUND("memory before block");
  }
  cudaDeviceReset();
}

static void use_after_free() {
  float *a = device_memory<float>(100), *b = device_memory<float>(1), **list = device_memory<float *>(1);
  cudaFree(a);
  LAUNCH(put, 1, 1, 0, 0, a, 0, 1);
  EXPECT(cudaDeviceSynchronize() == cudaErrorIllegalAddress);
  EXPECT(cudasim_found("argument 1 points to memory that was freed"));
  FOUND("memory after it was freed");
  EXPECT(cudaMemset(a, 0, 4) == cudaErrorInvalidValue);
  FOUND("memory used after it was freed");
  EXPECT(cudaFree(a) == cudaErrorInvalidValue);
  FOUND("freed twice");
  EXPECT(cudaFree(b + 1) == cudaErrorInvalidValue);
  FOUND("not what was taken");
  cudaFree(b), cudaFree(list);
}

static void host_pointer_to_kernel() {
  float h = 0;
  LAUNCH(put, 1, 1, 0, 0, &h, 0, 1);
  cudaDeviceSynchronize();
  FOUND("argument 1 points to host memory");
}

static void never_written() {
  float *a = device_memory<float>(10), h[10];
  cudaMemset(a, 0, 16);
  EXPECT(cudaMemcpy(h, a, 40, cudaMemcpyDeviceToHost) == cudaSuccess && h[0] == 0 && h[9] != h[9]);
  FOUND("memory that was never written is copied to the host (byte 16 of 40)");
  cudaFree(a);
}

static void leaks() {
  void *d = device_memory<char>(10), *p = NULL;
  cudaStream_t s;
  cudaEvent_t e;
  cublasLtMatmulPreference_t pref;
  cudaMallocHost(&p, 5);
  cudaStreamCreate(&s), cudaEventCreate(&e), cublasLtMatmulPreferenceCreate(&pref);
  (void)d;
  cudasim_reset();
  EXPECT(cudasim_found("1 blocks of device memory") && cudasim_found("1 blocks of pinned memory") && cudasim_found("1 streams"));
  EXPECT(cudasim_found("1 events"));
  FOUND("1 handles and descriptors");
}

static void injected() {
  float *p = NULL;
  cudasim_fail(2, cudaErrorMemoryAllocation);
  long calls = cudasim_calls();
  EXPECT(cudaMalloc(&p, 4) == cudaSuccess);
  float *q = NULL;
  EXPECT(cudaMalloc(&q, 4) == cudaErrorMemoryAllocation && cudaGetLastError() == cudaErrorMemoryAllocation);
  EXPECT(cudaMalloc(&q, 4) == cudaSuccess && cudasim_calls() == calls + 3 && cudasim_calls_of("cudaMalloc") == 3);
  cudaFree(p), cudaFree(q);
  cudasim_fail(1, cudaErrorECCUncorrectable);
  EXPECT(cudaMalloc(&p, 4) == cudaErrorECCUncorrectable && cudaMalloc(&p, 4) == cudaErrorECCUncorrectable);
  EXPECT(cudaGetLastError() == cudaErrorECCUncorrectable && cudaGetLastError() == cudaErrorECCUncorrectable);
  cublasLtHandle_t h;
  EXPECT(cublasLtCreate(&h) == CUBLAS_STATUS_EXECUTION_FAILED);
  cudaDeviceReset();
  EXPECT(cudaMalloc(&p, 4) == cudaSuccess);
  cudaFree(p);
  cudasim_fail(1, cudaErrorMemoryAllocation);
  EXPECT(cublasLtCreate(&h) == CUBLAS_STATUS_ALLOC_FAILED);
}

static void devices() {
  int n = -1, version = -1;
  cudnnHandle_t dnn;
  cudasim_device("0", 0, NULL);
  EXPECT(cudaGetDeviceCount(&n) == cudaErrorNoDevice && n == 0);
  cudasim_device("nodriver", 0, NULL);
  EXPECT(cudaGetDeviceCount(&n) == cudaErrorInsufficientDriver && cudaDriverGetVersion(&version) == cudaSuccess && version == 0);
  EXPECT(cudnnCreate(&dnn) == CUDNN_STATUS_NOT_INITIALIZED);
  cudasim_device("3", 1 << 20, "9.0");
  EXPECT(cudaGetDeviceCount(&n) == cudaSuccess && n == 3 && cudaSetDevice(2) == cudaSuccess && cudaSetDevice(3) == cudaErrorInvalidDevice);
  struct cudaDeviceProp p;
  EXPECT(cudaGetDeviceProperties(&p, 2) == cudaSuccess && p.major == 9 && p.minor == 0 && p.totalGlobalMem == 1 << 20);
  setenv("CUDA_VISIBLE_DEVICES", "2,0", 1);
  cudasim_device("3", 0, NULL);
  EXPECT(cudaGetDeviceCount(&n) == cudaSuccess && n == 2);
  setenv("CUDA_VISIBLE_DEVICES", "", 1);
  cudasim_device("3", 0, NULL);
  EXPECT(cudaGetDeviceCount(&n) == cudaErrorNoDevice);
  unsetenv("CUDA_VISIBLE_DEVICES");
}

/* In a child: a violation under CUDASIM_STRICT is the program's status, and what was wrong is said. */
static void strict() {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    int null = open("/dev/null", O_WRONLY);
    dup2(null, 2);
    setenv("CUDASIM_STRICT", "1", 1);
    cudaMemset(&child, 0, 4);
    exit(0);
  }
  int status = 0;
  EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 86);
}

static void from_environment() {
  setenv("CUDASIM_DEVICES", "2", 1), setenv("CUDASIM_MEMORY", "4096", 1), setenv("CUDASIM_ARCH", "12.0", 1), setenv("CUDASIM_FAIL", "4:2", 1);
  cudasim_reset();
  int n = 0;
  void *p = NULL;
  struct cudaDeviceProp d;
  EXPECT(cudaGetDeviceCount(&n) == cudaSuccess && n == 2 && cudaGetDeviceProperties(&d, 1) == cudaSuccess && d.major == 12);
  EXPECT(cudaMalloc(&p, 5000) == cudaErrorMemoryAllocation && cudaMalloc(&p, 1) == cudaErrorMemoryAllocation);
  EXPECT(cudaMalloc(&p, 4000) == cudaSuccess);
  cudaFree(p);
  for (const char *name : {"CUDASIM_DEVICES", "CUDASIM_MEMORY", "CUDASIM_ARCH", "CUDASIM_FAIL"}) unsetenv(name);
}

const std::vector<test> memory_tests = {
    {"accounting, a block larger than this machine", accounting},
    {"copies and fills; wrong ones are found", copies},
    {"host code in device memory is found", host_touches_device},
    {"accesses out of bounds are found", out_of_bounds},
    {"use after free is found", use_after_free},
    {"a kernel's host pointer is found", host_pointer_to_kernel},
    {"memory never written is found", never_written},
    {"leaks are found", leaks},
    {"failures on demand", injected},
    {"devices and drivers", devices},
    {"the environment", from_environment},
    {"a strict program's end", strict},
};
