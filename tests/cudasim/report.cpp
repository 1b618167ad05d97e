/* Violations, errors that stay, counted calls and failures on demand. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <map>
#include <mutex>

#include "sim.hpp"

namespace cudasim {

enum { KEPT = 256, LONGEST = 400 };

/* Violations are written by a signal handler too: no memory is taken for them. */
static char kept[KEPT][LONGEST];
static int violations;
static cudaError_t sticky_error, last_error;
static long calls, waits, fail_at;
static cudaError_t fail_code;
static std::string fail_in; /* only calls of this function count; empty: all */
static std::recursive_mutex lock;
static bool started;

/* Never destroyed: exit's handlers come late. */
static std::map<std::string, long> &calls_by_name() {
  static auto *m = new std::map<std::string, long>;
  return *m;
}
static std::map<std::string, long> &launches_by_name() {
  static auto *m = new std::map<std::string, long>;
  return *m;
}

void violation(const char *format, ...) {
  char text[LONGEST];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  for (int i = 0; i < violations && i < KEPT; i++)
    if (strcmp(kept[i], text) == 0) return; /* the same again */
  if (violations < KEPT) memcpy(kept[violations], text, sizeof text);
  violations++;
}

void count_wait() { waits++; }

/* --- errors ----------------------------------------------------------------------------------------------------------------------- */

static bool stays(cudaError_t e) {
  switch ((int)e) {
    case cudaErrorECCUncorrectable: case cudaErrorNvlinkUncorrectable: case cudaErrorIllegalAddress: case cudaErrorLaunchTimeout:
    case cudaErrorAssert: case cudaErrorHardwareStackError: case cudaErrorIllegalInstruction: case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace: case cudaErrorInvalidPc: case cudaErrorLaunchFailure: case cudaErrorExternalDevice:
    case cudaErrorDevicesUnavailable:
      return true;
    default: return false;
  }
}

void set_sticky(cudaError_t error) {
  if (sticky_error == cudaSuccess) sticky_error = error;
}

cudaError_t sticky() { return sticky_error; }

cudaError_t failed(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

/* --- calls -------------------------------------------------------------------------------------------------------------------------- */

static bool strict_wanted() {
  const char *strict = getenv("CUDASIM_STRICT");
  return strict && strict[0] && strcmp(strict, "0") != 0;
}

/* CUDASIM_REPORT=FILE: what cudasim_report says, when the program ends. */
static void write_report() {
  const char *path = getenv("CUDASIM_REPORT");
  FILE *f = path && path[0] ? fopen(path, "w") : NULL;
  if (!f) return;
  cudasim_report(f);
  fclose(f);
}

static void at_exit() {
  write_report();
  if (!strict_wanted()) return;
  int n = cudasim_check();
  if (n == 0) return;
  cudasim_report(stderr);
  fflush(NULL);
  _exit(86);
}

static void read_environment() {
  const char *fail = getenv("CUDASIM_FAIL"), *seed = getenv("CUDASIM_SEED"), *order = getenv("CUDASIM_ORDER");
  char *rest = NULL;
  fail_at = 0;
  fail_in.clear();
  if (fail) fail_at = strtol(fail, &rest, 10); /* N or N:CODE */
  fail_code = (cudaError_t)(rest && *rest == ':' ? atoi(rest + 1) : (int)cudaErrorUnknown);
  unsigned s = seed ? (unsigned)strtoul(seed, NULL, 10) : 0;
  set_interleave(s);
  set_order(order && strcmp(order, "reverse") == 0   ? CUDASIM_REVERSE
            : order && strcmp(order, "shuffle") == 0 ? CUDASIM_SHUFFLE
                                                     : CUDASIM_FORWARD, s);
  set_eager(false);
  set_check_unwritten(true);
  device_reset();
}

static void start() {
  if (started) return;
  started = true;
  read_environment();
  atexit(at_exit);
}

static cudaError_t injected(const char *name) {
  if (fail_at == 0 || (!fail_in.empty() && fail_in != name && !(fail_in == "capture" && anything_captured())) || --fail_at > 0) return cudaSuccess;
  if (stays(fail_code)) set_sticky(fail_code);
  return fail_code;
}

call::call(const char *name, bool needs_device) : error(cudaSuccess) {
  lock.lock();
  start();
  calls++;
  calls_by_name()[name]++;
  error = injected(name);
  if (error == cudaSuccess) error = sticky_error;
  if (error != cudaSuccess || !needs_device) return;
  if (device.no_driver) error = cudaErrorInsufficientDriver;
  else if (device.visible == 0) error = cudaErrorNoDevice;
}

call::~call() { lock.unlock(); }

void count_launch(const char *kernel) { launches_by_name()[kernel]++; }

static void check_leaks(const char *what, long n) {
  if (n) violation("leak: %ld %s left at the reset", n, what);
}

static void report_map(FILE *to, const char *title, const std::map<std::string, long> &m) {
  fprintf(to, "%s\n", title);
  for (auto &e : m) fprintf(to, "  %8ld %s\n", e.second, e.first.c_str());
}

static long sum(const std::map<std::string, long> &m) {
  long n = 0;
  for (auto &e : m) n += e.second;
  return n;
}

struct locked {
  locked() {
    lock.lock();
    start();
  }
  ~locked() { lock.unlock(); }
};

}  // namespace cudasim

using namespace cudasim;

extern "C" {

void cudasim_fail(long n, int code) {
  locked l;
  fail_at = n;
  fail_code = (cudaError_t)code;
  fail_in.clear();
}
void cudasim_fail_in(const char *function, long n, int code) {
  locked l;
  fail_at = n;
  fail_code = (cudaError_t)code;
  fail_in = function;
}
void cudasim_order(enum cudasim_order order, unsigned seed) {
  locked l;
  set_order(order, seed);
}
void cudasim_interleave(unsigned seed) {
  locked l;
  set_interleave(seed);
}
void cudasim_eager(bool on) {
  locked l;
  drain_all();
  set_eager(on);
}
void cudasim_check_unwritten(bool on) {
  locked l;
  set_check_unwritten(on);
}
void cudasim_reset(void) {
  locked l;
  drain_all();
  check_margins();
  violations = 0;
  sticky_error = last_error = cudaSuccess;
  calls = waits = 0;
  calls_by_name().clear();
  launches_by_name().clear();
  check_leaks("blocks of device memory", (long)device_leaks());
  check_leaks("blocks of pinned memory", (long)pinned_leaks());
  check_leaks("handles and descriptors of libraries", library_leaks());
  graphs_reset();
  streams_reset();
  library_reset();
  memory_reset();
  kernels_reset();
  read_environment();
}

int cudasim_check(void) {
  locked l;
  drain_all();
  check_margins();
  return violations;
}
int cudasim_violations(void) { return violations; }
const char *cudasim_violation(int i) { return i >= 0 && i < violations && i < KEPT ? kept[i] : NULL; }
bool cudasim_found(const char *text) {
  for (int i = 0; cudasim_violation(i); i++)
    if (strstr(kept[i], text)) return true;
  return false;
}
void cudasim_forgive(void) {
  locked l;
  violations = 0;
  sticky_error = last_error = cudaSuccess;
}
long cudasim_calls(void) { return calls; }
long cudasim_waits(void) { return waits; }
long cudasim_calls_of(const char *function) {
  locked l;
  auto i = calls_by_name().find(function);
  return i == calls_by_name().end() ? 0 : i->second;
}
long cudasim_launches(const char *kernel) {
  locked l;
  if (!kernel) return sum(launches_by_name());
  auto i = launches_by_name().find(kernel);
  return i == launches_by_name().end() ? 0 : i->second;
}

void cudasim_report(FILE *to) {
  locked l;
  fprintf(to, "cudasim: %d violations, %ld calls, %ld launches, device memory %zu bytes at most, pinned %zu\n", violations, calls,
          sum(launches_by_name()), cudasim_peak(), cudasim_pinned_peak());
  for (int i = 0; cudasim_violation(i); i++) fprintf(to, "  violation: %s\n", kept[i]);
  if (violations > KEPT) fprintf(to, "  and %d more\n", violations - KEPT);
  report_map(to, "calls", calls_by_name());
  report_map(to, "launches", launches_by_name());
}

cudaError_t cudaGetLastError(void) {
  locked l;
  cudaError_t e = sticky_error != cudaSuccess ? sticky_error : last_error;
  last_error = cudaSuccess;
  return e;
}
cudaError_t cudaPeekAtLastError(void) {
  locked l;
  return sticky_error != cudaSuccess ? sticky_error : last_error;
}
cudaError_t cudaDeviceReset(void) {
  locked l;
  drain_all();
  streams_reset();
  memory_reset();
  sticky_error = last_error = cudaSuccess;
  return cudaSuccess;
}
}
