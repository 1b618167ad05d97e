/* Streams and events. Work is queued, and runs when somebody waits for it: with seed 0 nothing but what the wait depends on, else streams at
 * random as their dependencies allow. */
#include "stream.hpp"

#include <time.h>

namespace cudasim {

static unsigned seed;
static bool eager;
static random_numbers chance;
static CUstream_st &legacy_stream = *new CUstream_st{{}, true, true, nullptr, false, 0}; /* never destroyed */
static std::set<cudaEvent_t> &events() {
  static std::set<cudaEvent_t> *s = new std::set<cudaEvent_t>;
  return *s;
}
std::set<cudaStream_t> &streams() {
  static std::set<cudaStream_t> *s = new std::set<cudaStream_t>;
  return *s;
}

void set_interleave(unsigned s) {
  seed = s;
  chance.state = s;
}
void set_eager(bool on) { eager = on; }

static bool made_up; /* the clock */
static double clock_ms;
void make_up_clock(bool on) { made_up = on; }
void advance_clock(double ms) { clock_ms += ms; }

static double now_ms() {
  if (made_up) return clock_ms;
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

bool stream_exists(cudaStream_t s) {
  return s == NULL || s == cudaStreamLegacy || s == cudaStreamPerThread || s == &legacy_stream || streams().count(s) > 0;
}

cudaStream_t resolve(cudaStream_t s) {
  if (s == NULL || s == cudaStreamLegacy || s == cudaStreamPerThread || s == &legacy_stream) return &legacy_stream;
  if (streams().count(s)) return s;
  violation("a stream that does not exist, or was destroyed");
  return NULL;
}

/* --- queues --------------------------------------------------------------------------------------------------------------------------- */

static mark put_mark(cudaStream_t s) {
  mark m = std::make_shared<marker>(marker{s, false, 0});
  s->queue.push_back({{}, nullptr, m});
  return m;
}

/* The legacy stream and those that are not cudaStreamNonBlocking wait for each other. */
static void order_with_legacy(cudaStream_t s) {
  if (s->legacy) {
    for (cudaStream_t other : streams())
      if (other->blocking && !other->queue.empty()) s->queue.push_back({{}, put_mark(other), nullptr});
  } else if (s->blocking && !legacy_stream.queue.empty()) {
    s->queue.push_back({{}, put_mark(&legacy_stream), nullptr});
  }
}

static bool runnable(cudaStream_t s) { return !s->queue.empty() && (!s->queue.front().wait || s->queue.front().wait->done); }

static void finish(const item &i) {
  if (!i.sets) return;
  i.sets->done = true;
  i.sets->ms = now_ms();
}

static void step(cudaStream_t s) {
  item i = s->queue.front();
  s->queue.pop_front();
  if (i.w.run) i.w.run();
  finish(i);
  if (sticky() != cudaSuccess) streams_drop();
}

/* The stream that has to go on before s can. */
static cudaStream_t needed_by(cudaStream_t s) {
  while (!runnable(s)) s = s->queue.front().wait->stream;
  return s;
}

static cudaStream_t any_runnable() {
  std::vector<cudaStream_t> all;
  if (runnable(&legacy_stream)) all.push_back(&legacy_stream);
  for (cudaStream_t s : streams())
    if (runnable(s)) all.push_back(s);
  return all[chance.next() % all.size()];
}

static void step_towards(cudaStream_t s) { step(seed ? any_runnable() : needed_by(s)); }

void drain_stream(cudaStream_t s) {
  open_memory o;
  while (!s->queue.empty()) step_towards(s);
}

static void drain_mark(const mark &m) {
  open_memory o;
  while (!m->done) step_towards(m->stream);
}

static bool all_empty() {
  if (!legacy_stream.queue.empty()) return false;
  for (cudaStream_t s : streams())
    if (!s->queue.empty()) return false;
  return true;
}

void drain_all() {
  if (all_empty()) return;
  open_memory o;
  drain_stream(&legacy_stream);
  while (!all_empty())
    for (cudaStream_t s : streams()) drain_stream(s);
}

static void drop(cudaStream_t s) {
  for (item &i : s->queue) finish(i);
  s->queue.clear();
}
void streams_drop() {
  drop(&legacy_stream);
  for (cudaStream_t s : streams()) drop(s);
}

cudaError_t enqueue(cudaStream_t handle, work w) {
  cudaStream_t s = resolve(handle);
  if (!s) return cudaErrorInvalidResourceHandle;
  if (s->capture) {
    s->capture->nodes.push_back(w);
    s->captured++;
    return cudaSuccess;
  }
  order_with_legacy(s);
  s->queue.push_back({w, nullptr, nullptr});
  if (eager) drain_all();
  return cudaSuccess;
}

static bool reads(cudaStream_t s, const char *p, size_t bytes) {
  for (const item &i : s->queue) {
    const char *q = (const char *)i.w.host_source;
    if (q && q < p + bytes && p < q + i.w.host_bytes) return true;
  }
  return false;
}
bool source_pending(const void *p, size_t bytes) {
  bool r = reads(&legacy_stream, (const char *)p, bytes);
  for (cudaStream_t s : streams()) r = r || reads(s, (const char *)p, bytes);
  return r;
}

void streams_reset() {
  streams_drop();
  make_up_clock(false);
  if (!streams().empty()) violation("leak: %zu streams left at the reset", streams().size());
  if (!events().empty()) violation("leak: %zu events left at the reset", events().size());
  for (cudaStream_t s : streams()) delete s;
  for (cudaEvent_t e : events()) delete e;
  streams().clear();
  events().clear();
}

static cudaError_t new_stream(cudaStream_t *stream, unsigned flags) {
  if (!stream || flags > cudaStreamNonBlocking) return cudaErrorInvalidValue;
  *stream = new CUstream_st{{}, flags != cudaStreamNonBlocking, false, nullptr, false, 0};
  streams().insert(*stream);
  return cudaSuccess;
}

/* What may not be done while a stream is captured. */
static bool captured(cudaStream_t s, const char *what) {
  if (!s->capture) return false;
  violation("%s on a stream that is being captured", what);
  s->capture->invalid = true;
  return true;
}

static bool event_exists(cudaEvent_t e, const char *what) {
  if (events().count(e)) return true;
  violation("%s: an event that does not exist, or was destroyed", what);
  return false;
}

static cudaError_t new_event(cudaEvent_t *event, unsigned flags) {
  if (!event) return cudaErrorInvalidValue;
  *event = new CUevent_st{nullptr, !(flags & cudaEventDisableTiming), nullptr, NULL};
  events().insert(*event);
  return cudaSuccess;
}

/* A stream that waits for an event of a capture joins that capture. */
static void join_capture(cudaStream_t s, cudaEvent_t e) {
  if (!s->capture) s->capture = e->capture;
  if (e->captured_on != s) s->captured++;
  e->captured_on->captured = 0;
}

}  // namespace cudasim

using namespace cudasim;

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t *stream) {
  API;
  return failed(new_stream(stream, cudaStreamDefault));
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
  API;
  return failed(new_stream(stream, flags));
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int) {
  API;
  return failed(new_stream(stream, flags));
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  API;
  cudaStream_t s = resolve(stream);
  if (!s || s->legacy) return failed(cudaErrorInvalidResourceHandle);
  drain_stream(s);
  streams().erase(s);
  delete s;
  return failed(sticky());
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  API;
  cudaStream_t s = resolve(stream);
  if (!s) return failed(cudaErrorInvalidResourceHandle);
  if (captured(s, __func__)) return failed(cudaErrorStreamCaptureUnsupported);
  count_wait();
  drain_stream(s);
  return failed(sticky());
}
/* Each question brings the stream one step further, so that asking again and again comes to an end. */
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  API;
  cudaStream_t s = resolve(stream);
  if (!s) return failed(cudaErrorInvalidResourceHandle);
  if (captured(s, __func__)) return failed(cudaErrorStreamCaptureUnsupported);
  if (s->queue.empty()) return cudaSuccess;
  open_memory o;
  step_towards(s);
  if (sticky() != cudaSuccess) return failed(sticky());
  return s->queue.empty() ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  API;
  cudaStream_t s = resolve(stream);
  if (!s || !event_exists(event, __func__)) return failed(cudaErrorInvalidResourceHandle);
  if (event->capture) {
    join_capture(s, event);
    return cudaSuccess;
  }
  if (s->capture) return cudaSuccess; /* work from before the capture is done at its launch */
  if (event->last && !event->last->done) s->queue.push_back({{}, event->last, nullptr});
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event) {
  API;
  return failed(new_event(event, cudaEventDefault));
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
  API;
  return failed(new_event(event, flags));
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  API;
  cudaStream_t s = resolve(stream);
  if (!s || !event_exists(event, __func__)) return failed(cudaErrorInvalidResourceHandle);
  event->capture = s->capture;
  event->captured_on = s;
  if (s->capture) return cudaSuccess;
  order_with_legacy(s);
  event->last = put_mark(s);
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  API;
  if (unsafe_in_capture(__func__)) return failed(cudaErrorStreamCaptureUnsupported);
  if (!event_exists(event, __func__)) return failed(cudaErrorInvalidResourceHandle);
  if (event->capture) return failed(cudaErrorCapturedEvent);
  count_wait();
  if (event->last) drain_mark(event->last);
  return failed(sticky());
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  API;
  if (unsafe_in_capture(__func__)) return failed(cudaErrorStreamCaptureUnsupported);
  if (!event_exists(event, __func__)) return failed(cudaErrorInvalidResourceHandle);
  if (event->capture) return failed(cudaErrorCapturedEvent);
  if (!event->last || event->last->done) return cudaSuccess;
  open_memory o;
  step_towards(event->last->stream);
  if (sticky() != cudaSuccess) return failed(sticky());
  return event->last->done ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end) {
  API;
  if (!event_exists(start, __func__) || !event_exists(end, __func__)) return failed(cudaErrorInvalidResourceHandle);
  if (!ms || !start->timing || !end->timing || !start->last || !end->last) return failed(cudaErrorInvalidResourceHandle);
  if (!start->last->done || !end->last->done) return failed(cudaErrorNotReady);
  *ms = (float)(end->last->ms - start->last->ms);
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  API;
  if (!event_exists(event, __func__)) return failed(cudaErrorInvalidResourceHandle);
  events().erase(event);
  delete event;
  return cudaSuccess;
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t fn, void *data) {
  API;
  if (!fn) return failed(cudaErrorInvalidValue);
  return failed(enqueue(stream, {"host function", [fn, data]() { fn(data); }, NULL, 0}));
}
}
