/* What the simulator's files share. One lock protects everything; kernels run under it, in the thread that waits for them. */
#ifndef CUDASIM_SIM_H
#define CUDASIM_SIM_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <functional>
#include <memory>
#include <string>

#include "cudasim.h"
#include <cuda_runtime.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define CUDASIM_ASAN 1
#else
#define CUDASIM_ASAN 0
#endif

namespace cudasim {

/* --- report.cpp: violations, errors, counted calls ------------------------------------------------------------------------------ */

void violation(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* An error that the device does not survive: every later call returns it; queued work is dropped. */
void set_sticky(cudaError_t error);
cudaError_t sticky();
/* Notes error for cudaGetLastError and hands it back. */
cudaError_t failed(cudaError_t error);

/* At the head of every call: takes the lock, counts, and says whether the call has to fail: an injected failure, a sticky error, no device. */
struct call {
  cudaError_t error;
  call(const char *name, bool needs_device);
  ~call();
  call(const call &) = delete;
};
/* The call has the name of the function that this stands in. */
#define API                                    \
  cudasim::call api_call(__func__, true);      \
  if (api_call.error != cudaSuccess) return cudasim::failed(api_call.error)

void count_launch(const char *kernel);
void count_wait(); /* in this call the host waits for the device */

/* --- device.cpp ------------------------------------------------------------------------------------------------------------------ */

struct device_settings {
  int count;      /* before CUDA_VISIBLE_DEVICES */
  int visible;    /* after it */
  bool no_driver;
  size_t memory;
  int major, minor;
  int current;
};
extern device_settings device;
void device_reset(); /* from the environment */

/* --- memory.cpp ------------------------------------------------------------------------------------------------------------------ */

enum class place { host, pinned, device, freed };
/* Where p lies; *left: bytes from p to the end of its block (device and pinned). */
place place_of(const void *p, size_t *left);
/* False and a violation where [p, p + bytes) is not within one block of device memory; what: "cudaMemsetAsync: dst". */
bool expect_device(const void *p, size_t bytes, const char *what);
/* Host or pinned memory; device memory is a violation. */
bool expect_host(const void *p, size_t bytes, const char *what);

/* Device memory is accessible while one of these lives. */
struct open_memory {
  open_memory();
  ~open_memory();
};
/* What violations say of the moment: empty on the host, "kernel f, block (..), thread (..)" in a kernel, or the stand-in's name. */
void set_running(std::function<std::string()> describe);
void check_margins();
void memory_reset();
size_t pinned_leaks(), device_leaks();
/* Guarded pages for kernel.cpp: usable bytes [p, p + bytes), a page behind which nothing is; what names it in violations. Never freed. */
void *guarded_pages(size_t bytes, const char *what);
/* Whether [p, p + bytes) holds aligned words of 0xff: memory never written. */
bool unwritten(const void *p, size_t bytes, size_t *at);

/* --- stream.cpp ------------------------------------------------------------------------------------------------------------------ */

struct work {
  const char *name;
  std::function<void()> run;
  const void *host_source; /* pinned memory that is read late, or NULL */
  size_t host_bytes;
};
/* Queues; runs at once where streams are eager. */
cudaError_t enqueue(cudaStream_t stream, work w);
bool stream_exists(cudaStream_t stream);
void drain_stream(cudaStream_t stream);
void drain_all();
bool source_pending(const void *p, size_t bytes); /* queued work reads this pinned memory */
void streams_reset();
void graphs_reset();
bool anything_captured();
void streams_drop(); /* forgets queued work, after a sticky error */
void set_interleave(unsigned seed);
void set_eager(bool on);
/* A clock for events that only advance_clock moves, in place of the machine's. */
void make_up_clock(bool on);
void advance_clock(double ms);
/* graph.cpp: what a stream captures goes there in place of the queue. */
struct graph_recorder;

/* --- kernel.cpp ------------------------------------------------------------------------------------------------------------------- */

void set_order(enum cudasim_order order, unsigned seed);
void kernels_reset();

/* --- copy.cpp ----------------------------------------------------------------------------------------------------------------------- */

void set_check_unwritten(bool on);

/* --- library.cpp -------------------------------------------------------------------------------------------------------------------- */

long library_leaks(); /* handles and descriptors that were not destroyed */
void library_reset();

/* A generator that is the same everywhere. */
struct random_numbers {
  uint64_t state;
  unsigned next() {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(state >> 33);
  }
};

}  // namespace cudasim

#endif
