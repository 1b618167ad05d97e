/* The device: how many, how large, which architecture; names of errors. */
#include <stdlib.h>
#include <string.h>

#include "sim.hpp"

namespace cudasim {

device_settings device;

enum { DRIVER = 13000, MULTIPROCESSORS = 82 };

/* CUDA_VISIBLE_DEVICES: numbers up to the first that does not exist. */
static int visible_of(int count) {
  const char *s = getenv("CUDA_VISIBLE_DEVICES");
  if (!s) return count;
  int n = 0;
  while (*s) {
    char *end;
    long i = strtol(s, &end, 10);
    if (end == s || i < 0 || i >= count) break;
    n++;
    s = *end == ',' ? end + 1 : end;
  }
  return n;
}

static void set_device(const char *devices, size_t memory, const char *arch) {
  if (devices) {
    device.no_driver = strcmp(devices, "nodriver") == 0;
    device.count = device.no_driver ? 0 : atoi(devices);
    device.visible = visible_of(device.count);
  }
  if (memory) device.memory = memory;
  if (arch) sscanf(arch, "%d.%d", &device.major, &device.minor);
}

void device_reset() {
  const char *devices = getenv("CUDASIM_DEVICES"), *memory = getenv("CUDASIM_MEMORY"), *arch = getenv("CUDASIM_ARCH");
  device.current = 0;
  set_device(devices ? devices : "1", memory ? strtoull(memory, NULL, 10) : 24ull << 30, arch ? arch : "8.6");
}

static const char *const error_names[][2] = {
#define TEXT(name, value) {#name, #value},
    CUDASIM_ERRORS(TEXT)
#undef TEXT
};

static const char *name_of(cudaError_t error) {
  for (auto &e : error_names)
    if (atoi(e[1]) == (int)error) return e[0];
  return NULL;
}

static void limits(struct cudaDeviceProp *p) {
  p->sharedMemPerBlock = 48 << 10;
  p->sharedMemPerBlockOptin = 227 << 10;
  p->sharedMemPerMultiprocessor = 228 << 10;
  p->reservedSharedMemPerBlock = 1 << 10;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536;
  p->warpSize = 32;
  p->maxThreadsPerBlock = p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
  p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 0x7fffffff;
  p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->maxThreadsPerMultiProcessor = 1536;
  p->maxBlocksPerMultiProcessor = 16;
  p->totalConstMem = 64 << 10;
  p->l2CacheSize = 6 << 20;
  p->memoryBusWidth = 384;
}

}  // namespace cudasim

using namespace cudasim;

extern "C" {

void cudasim_device(const char *devices, size_t memory, const char *arch) {
  (void)cudasim_calls_of(""); /* the environment is read first */
  set_device(devices, memory, arch);
}

cudaError_t cudaGetDeviceCount(int *count) {
  if (count) *count = 0;
  API;
  if (!count) return failed(cudaErrorInvalidValue);
  *count = device.visible;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int d) {
  API;
  if (d < 0 || d >= device.visible) return failed(cudaErrorInvalidDevice);
  device.current = d;
  return cudaSuccess;
}
/* Not counted: it does nothing, and is asked for at every operation. */
cudaError_t cudaGetDevice(int *d) {
  (void)cudasim_calls_of(""); /* the environment is read first */
  if (!d) return failed(cudaErrorInvalidValue);
  *d = device.current;
  return cudaSuccess;
}
cudaError_t cudaSetDeviceFlags(unsigned) {
  API;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int d) {
  API;
  if (!p) return failed(cudaErrorInvalidValue);
  if (d < 0 || d >= device.visible) return failed(cudaErrorInvalidDevice);
  memset(p, 0, sizeof *p);
  snprintf(p->name, sizeof p->name, "Simulated GPU %d", d);
  p->totalGlobalMem = device.memory;
  p->major = device.major;
  p->minor = device.minor;
  p->multiProcessorCount = MULTIPROCESSORS;
  p->concurrentKernels = p->canMapHostMemory = p->unifiedAddressing = p->ECCEnabled = p->streamPrioritiesSupported = 1;
  p->asyncEngineCount = 2;
  p->pciBusID = d + 1;
  limits(p);
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attr, int d) {
  struct cudaDeviceProp p;
  API;
  if (!value) return failed(cudaErrorInvalidValue);
  if (d < 0 || d >= device.visible) return failed(cudaErrorInvalidDevice);
  memset(&p, 0, sizeof p);
  limits(&p);
  switch (attr) {
    case cudaDevAttrComputeCapabilityMajor: *value = device.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = device.minor; break;
    case cudaDevAttrMultiProcessorCount: *value = MULTIPROCESSORS; break;
    case cudaDevAttrMaxThreadsPerBlock: *value = p.maxThreadsPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = (int)p.sharedMemPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = (int)p.sharedMemPerBlockOptin; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = (int)p.sharedMemPerMultiprocessor; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = p.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrMaxRegistersPerBlock: *value = p.regsPerBlock; break;
    case cudaDevAttrMaxGridDimX: *value = p.maxGridSize[0]; break;
    case cudaDevAttrMaxGridDimY: *value = p.maxGridSize[1]; break;
    case cudaDevAttrMaxGridDimZ: *value = p.maxGridSize[2]; break;
    case cudaDevAttrWarpSize: *value = 32; break;
    case cudaDevAttrL2CacheSize: *value = p.l2CacheSize; break;
    case cudaDevAttrClockRate: *value = 1695000; break;
    case cudaDevAttrMemoryClockRate: *value = 9751000; break;
    case cudaDevAttrGlobalMemoryBusWidth: *value = p.memoryBusWidth; break;
    case cudaDevAttrEccEnabled: case cudaDevAttrConcurrentKernels: case cudaDevAttrUnifiedAddressing: *value = 1; break;
    case cudaDevAttrAsyncEngineCount: *value = 2; break;
    default: *value = 0;
  }
  return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char *id, int len, int d) {
  API;
  if (!id || len < 13) return failed(cudaErrorInvalidValue);
  if (d < 0 || d >= device.visible) return failed(cudaErrorInvalidDevice);
  snprintf(id, (size_t)len, "0000:%02X:00.0", (unsigned)(d + 1) & 0xff);
  return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
  API;
  if (least) *least = 0;
  if (greatest) *greatest = -5;
  return cudaSuccess;
}

/* These two work without a driver. */
cudaError_t cudaDriverGetVersion(int *version) {
  cudasim::call c(__func__, false);
  if (!version) return failed(cudaErrorInvalidValue);
  *version = device.no_driver ? 0 : DRIVER;
  return failed(c.error);
}
cudaError_t cudaRuntimeGetVersion(int *version) {
  cudasim::call c(__func__, false);
  if (!version) return failed(cudaErrorInvalidValue);
  *version = CUDART_VERSION;
  return failed(c.error);
}
cudaError_t cudaDeviceSynchronize(void) {
  API;
  count_wait();
  drain_all();
  return failed(sticky());
}

const char *cudaGetErrorName(cudaError_t error) {
  const char *name = name_of(error);
  return name ? name : "unrecognized error code";
}
const char *cudaGetErrorString(cudaError_t error) {
  switch ((int)error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorLaunchFailure: return "unspecified launch failure";
    case cudaErrorNotReady: return "device not ready";
    default: return cudaGetErrorName(error);
  }
}
}
