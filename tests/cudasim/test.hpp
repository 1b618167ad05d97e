/* The tests of the simulator: each starts with a fresh device and prints a line of TAP. */
#ifndef CUDASIM_TEST_H
#define CUDASIM_TEST_H

#include <string.h>
#include <vector>

#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <cudnn.h>

#include "cudasim.h"

struct test {
  const char *name;
  void (*run)();
};
extern const std::vector<test> block_tests, memory_tests, stream_tests, library_tests;

void expect(bool holds, const char *text, int line);
#define EXPECT(holds) expect(holds, #holds, __LINE__)
/* A planted mistake: exactly this is found. Forgotten afterwards, so that a test ends without violations. */
void expect_found(const char *text, int line);
#define FOUND(text) expect_found(text, __LINE__)

#if defined(__SANITIZE_ADDRESS__)
enum { UNDER_ASAN = 1 };
#else
enum { UNDER_ASAN = 0 };
#endif

template <class T> T *device_memory(size_t n) {
  T *p = nullptr;
  EXPECT(cudaMalloc(&p, n * sizeof(T)) == cudaSuccess);
  return p;
}
template <class T> T *on_device(const std::vector<T> &v) {
  T *p = device_memory<T>(v.size());
  EXPECT(cudaMemcpy(p, v.data(), v.size() * sizeof(T), cudaMemcpyHostToDevice) == cudaSuccess);
  return p;
}
template <class T> std::vector<T> on_host(const T *p, size_t n) {
  std::vector<T> v(n);
  EXPECT(cudaMemcpy(v.data(), p, n * sizeof(T), cudaMemcpyDeviceToHost) == cudaSuccess);
  return v;
}

#endif
