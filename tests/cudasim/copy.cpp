/* Copies and fills. Pageable sources are read at the call, pinned ones when the stream gets there. */
#include <string.h>
#include <vector>

#include "stream.hpp"

namespace cudasim {

static bool check_unwritten = true;

void set_check_unwritten(bool on) { check_unwritten = on; }

struct copy {
  char *to;
  const char *from;
  size_t to_pitch, from_pitch, width, height;
  enum cudaMemcpyKind kind;
  const char *name;
};

static size_t extent(size_t pitch, const copy &c) { return c.height ? (c.height - 1) * pitch + c.width : 0; }

static enum cudaMemcpyKind kind_of(const copy &c) {
  size_t left;
  bool from = place_of(c.from, &left) == place::device, to = place_of(c.to, &left) == place::device;
  return from ? to ? cudaMemcpyDeviceToDevice : cudaMemcpyDeviceToHost : to ? cudaMemcpyHostToDevice : cudaMemcpyHostToHost;
}

static bool expect(const void *p, size_t bytes, bool on_device, const copy &c, const char *which) {
  std::string what = std::string(c.name) + ": " + which;
  return on_device ? expect_device(p, bytes, what.c_str()) : expect_host(p, bytes, what.c_str());
}

static bool from_device(const copy &c) { return c.kind == cudaMemcpyDeviceToHost || c.kind == cudaMemcpyDeviceToDevice; }
static bool to_device(const copy &c) { return c.kind == cudaMemcpyHostToDevice || c.kind == cudaMemcpyDeviceToDevice; }

static bool check(const copy &c) {
  if (c.width > c.to_pitch || c.width > c.from_pitch) {
    violation("%s: a row of %zu bytes is longer than the distance of rows", c.name, c.width);
    return false;
  }
  size_t to = extent(c.to_pitch, c), from = extent(c.from_pitch, c);
  bool ok = expect(c.from, from, from_device(c), c, "the source") & expect(c.to, to, to_device(c), c, "the destination");
  if (ok && to && c.from < c.to + to && c.to < c.from + from) {
    violation("%s: source and destination overlap", c.name);
    ok = false;
  }
  return ok;
}

static void perform(const copy &c) {
  open_memory o;
  size_t at;
  for (size_t i = 0; i < c.height; i++) {
    const char *from = c.from + i * c.from_pitch;
    if (check_unwritten && c.kind == cudaMemcpyDeviceToHost && unwritten(from, c.width, &at))
      violation("%s: memory that was never written is copied to the host (byte %zu of %zu)", c.name, i * c.from_pitch + at,
                extent(c.from_pitch, c));
    memmove(c.to + i * c.to_pitch, from, c.width);
  }
}

/* The caller's memory may change as soon as the call has returned: a copy of it is taken. */
static std::function<void()> staged(copy c) {
  auto bytes = std::make_shared<std::vector<char>>(c.from, c.from + extent(c.from_pitch, c));
  return [c, bytes]() {
    copy late = c;
    late.from = bytes->data();
    perform(late);
  };
}

/* What is on its way to pinned memory may be there in part: until it has arrived, nothing useful is. */
static void spoil(const copy &c) {
  size_t bytes = extent(c.to_pitch, c);
  if (source_pending(c.to, bytes)) return;
  for (size_t i = 0; i < c.height; i++) memset(c.to + i * c.to_pitch, 0xff, c.width);
}

static cudaError_t queue_copy(copy c, cudaStream_t stream) {
  size_t left;
  if (c.kind == cudaMemcpyDefault) c.kind = kind_of(c);
  if (c.kind < cudaMemcpyHostToHost || c.kind > cudaMemcpyDeviceToDevice) return cudaErrorInvalidMemcpyDirection;
  if (!check(c)) return cudaErrorInvalidValue;
  cudaStream_t s = resolve(stream);
  if (!s) return cudaErrorInvalidResourceHandle;
  bool pinned_from = place_of(c.from, &left) == place::pinned, pinned_to = place_of(c.to, &left) == place::pinned;
  if ((!from_device(c) && !pinned_from) || (!to_device(c) && !pinned_to)) count_wait();
  if (s->capture) return enqueue(s, {c.name, [c]() { perform(c); }, NULL, 0});
  if (!from_device(c) && !pinned_from) return enqueue(s, {c.name, staged(c), NULL, 0});
  if (!to_device(c) && pinned_to) spoil(c);
  cudaError_t e = enqueue(s, {c.name, [c]() { perform(c); }, from_device(c) ? NULL : c.from, extent(c.from_pitch, c)});
  if (!to_device(c) && !pinned_to) drain_stream(s); /* pageable memory: the call waits */
  return e != cudaSuccess ? e : sticky();
}

static cudaError_t queue_fill(void *p, int value, size_t bytes, cudaStream_t stream, const char *name) {
  if (!expect_device(p, bytes, name)) return cudaErrorInvalidValue;
  return enqueue(stream, {name, [p, value, bytes]() {
                            open_memory o;
                            memset(p, value, bytes);
                          }, NULL, 0});
}

/* Nothing may be implied about a stream that is being captured. */
static bool legacy_in_capture() {
  for (cudaStream_t s : streams())
    if (s->capture) {
      violation("a call that waits for the legacy stream while a stream is being captured");
      s->capture->invalid = true;
      return true;
    }
  return false;
}

}  // namespace cudasim

using namespace cudasim;

extern "C" {

cudaError_t cudaMemcpy(void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind) {
  API;
  if (legacy_in_capture()) return failed(cudaErrorStreamCaptureImplicit);
  cudaError_t e = queue_copy({(char *)dst, (const char *)src, bytes, bytes, bytes, 1, kind, __func__}, NULL);
  if (e == cudaSuccess) drain_stream(resolve(NULL));
  return failed(e != cudaSuccess ? e : sticky());
}
cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream) {
  API;
  return failed(queue_copy({(char *)dst, (const char *)src, bytes, bytes, bytes, 1, kind, __func__}, stream));
}
cudaError_t cudaMemcpy2DAsync(void *dst, size_t dpitch, const void *src, size_t spitch, size_t width, size_t height, enum cudaMemcpyKind kind,
                              cudaStream_t stream) {
  API;
  return failed(queue_copy({(char *)dst, (const char *)src, dpitch, spitch, width, height, kind, __func__}, stream));
}
cudaError_t cudaMemset(void *p, int value, size_t bytes) {
  API;
  if (legacy_in_capture()) return failed(cudaErrorStreamCaptureImplicit);
  return failed(queue_fill(p, value, bytes, NULL, __func__));
}
cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream) {
  API;
  return failed(queue_fill(p, value, bytes, stream, __func__));
}
}
