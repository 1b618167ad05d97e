/* Launches: their limits, and the blocks of a grid one after the other. */
#include <stdlib.h>
#include <string.h>
#include <algorithm>
#include <map>
#include <vector>

#include "block.hpp"
#include "sim.hpp"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cudasim {

enum : size_t { SHARED_PLAIN = 48 << 10, SHARED_MOST = 227 << 10 };

static enum cudasim_order order;
static unsigned order_seed;
static const char *running_kernel;

static std::map<const void *, size_t> &allowed() { /* by cudaFuncSetAttribute */
  static auto *m = new std::map<const void *, size_t>;
  return *m;
}

void set_order(enum cudasim_order o, unsigned seed) {
  order = o;
  order_seed = seed;
}

std::vector<unsigned> in_order(unsigned n, random_numbers *r) {
  std::vector<unsigned> v(n);
  for (unsigned i = 0; i < n; i++) v[i] = order == CUDASIM_REVERSE ? n - 1 - i : i;
  if (order == CUDASIM_SHUFFLE)
    for (unsigned i = n; i > 1; i--) std::swap(v[i - 1], v[r->next() % i]);
  return v;
}

void kernels_reset() { allowed().clear(); }

std::string where_in_kernel() {
  char text[200];
  snprintf(text, sizeof text, "kernel %s, block (%u,%u,%u), thread (%u,%u,%u):", running_kernel ? running_kernel : "?", blockIdx.x, blockIdx.y,
           blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
  return text;
}

const char *kernel_name() { return running_kernel; }

/* --- one grid ----------------------------------------------------------------------------------------------------------------------------- */

struct grid_launch {
  const char *name;
  dim3 grid, block;
  size_t dynamic, allowed;
  std::function<void()> thread;
};

static void check_shared(const grid_launch &g, size_t fixed) {
  if (fixed > SHARED_PLAIN)
    violation("kernel %s: %zu bytes of fixed shared memory, %zu at most", g.name, fixed, (size_t)SHARED_PLAIN);
  else if (fixed + g.dynamic > (g.allowed > SHARED_PLAIN ? g.allowed + fixed : (size_t)SHARED_PLAIN) || fixed + g.dynamic > SHARED_MOST)
    violation("kernel %s: %zu bytes of shared memory, %zu of them fixed, are more than a block may have", g.name, fixed + g.dynamic, fixed);
}

static void run_grid(const grid_launch &g) {
  open_memory o;
  gridDim = g.grid;
  blockDim = g.block;
  running_kernel = g.name;
  set_running(where_in_kernel);
  random_numbers r = {order_seed};
  unsigned blocks = g.grid.x * g.grid.y * g.grid.z, threads = g.block.x * g.block.y * g.block.z;
  std::vector<unsigned> turn = in_order(threads, &r);
  block_runner b(g.thread, threads, g.dynamic, turn);
  for (unsigned i = 0; i < blocks && sticky() == cudaSuccess; i++) {
    unsigned at = order == CUDASIM_REVERSE ? blocks - 1 - i : i;
    blockIdx = {at % g.grid.x, at / g.grid.x % g.grid.y, at / g.grid.x / g.grid.y};
    size_t fixed = b.run();
    if (i == 0) check_shared(g, fixed);
  }
  set_running(nullptr);
  running_kernel = NULL;
}

/* --- the call ------------------------------------------------------------------------------------------------------------------------------- */

static cudaError_t check_limits(const char *name, dim3 g, dim3 b, size_t dynamic, size_t dynamic_allowed) {
  unsigned long long threads = (unsigned long long)b.x * b.y * b.z;
  if (threads == 0 || threads > 1024 || b.x > 1024 || b.y > 1024 || b.z > 64) {
    violation("kernel %s: a block of %u x %u x %u threads; 1 to 1024 may be", name, b.x, b.y, b.z);
    return cudaErrorInvalidConfiguration;
  }
  if (g.x == 0 || g.y == 0 || g.z == 0 || g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535) {
    violation("kernel %s: a grid of %u x %u x %u blocks; 1 to 2147483647 x 65535 x 65535 may be", name, g.x, g.y, g.z);
    return cudaErrorInvalidConfiguration;
  }
  if (dynamic > std::max((size_t)SHARED_PLAIN, dynamic_allowed)) {
    violation("kernel %s: %zu bytes of dynamic shared memory, %zu allowed (cudaFuncSetAttribute)", name, dynamic,
              std::max((size_t)SHARED_PLAIN, dynamic_allowed));
    return cudaErrorInvalidValue;
  }
  return cudaSuccess;
}

void check_pointers(const char *name, const void *const *p, int n) {
  size_t left;
  for (int i = 0; i < n; i++) {
    if (!p[i]) continue;
    place where = place_of(p[i], &left);
    if (where == place::host) violation("kernel %s: argument %d points to host memory", name, i + 1);
    if (where == place::freed) violation("kernel %s: argument %d points to memory that was freed, or to none", name, i + 1);
  }
}

static cudaError_t checked_launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t dynamic, cudaStream_t stream,
                                  std::function<void()> thread) {
  call c("launch", true);
  if (c.error != cudaSuccess) return c.error;
  auto a = allowed().find(kernel);
  size_t dynamic_allowed = a == allowed().end() ? 0 : a->second;
  if (!stream_exists(stream)) {
    violation("kernel %s: no such stream", name);
    return cudaErrorInvalidResourceHandle;
  }
  cudaError_t e = check_limits(name, grid, block, dynamic, dynamic_allowed);
  if (e != cudaSuccess) return e;
  count_launch(name);
  grid_launch g = {name, grid, block, dynamic, dynamic_allowed, thread};
  return enqueue(stream, {name, [g]() { run_grid(g); }, NULL, 0});
}

void launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t dynamic, cudaStream_t stream, std::function<void()> thread) {
  failed(checked_launch(name, kernel, grid, block, dynamic, stream, thread));
}

}  // namespace cudasim

using namespace cudasim;

extern "C" {

cudaError_t cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute attr, int value) {
  API;
  if (!kernel) return failed(cudaErrorInvalidDeviceFunction);
  if (attr == cudaFuncAttributePreferredSharedMemoryCarveout) return cudaSuccess;
  if (attr != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || (size_t)value > SHARED_MOST) {
    violation("cudaFuncSetAttribute: %d bytes of dynamic shared memory, %zu at most", value, (size_t)SHARED_MOST);
    return failed(cudaErrorInvalidValue);
  }
  allowed()[kernel] = (size_t)value;
  return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attr, const void *kernel) {
  API;
  if (!attr || !kernel) return failed(cudaErrorInvalidValue);
  memset(attr, 0, sizeof *attr);
  auto a = allowed().find(kernel);
  attr->maxThreadsPerBlock = 1024;
  attr->numRegs = 32;
  attr->maxDynamicSharedSizeBytes = (int)(a == allowed().end() ? (size_t)SHARED_PLAIN : a->second);
  attr->binaryVersion = attr->ptxVersion = device.major * 10 + device.minor;
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *kernel, int threads, size_t shared_bytes) {
  API;
  if (!blocks || !kernel || threads < 1 || threads > 1024 || shared_bytes > SHARED_MOST) return failed(cudaErrorInvalidValue);
  *blocks = std::min(16, 1536 / threads);
  if (shared_bytes) *blocks = std::min(*blocks, (int)((228 << 10) / (shared_bytes + 1024)));
  return cudaSuccess;
}
}
