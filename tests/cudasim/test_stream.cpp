/* Streams, events, graphs: what is not waited for is not there. */
#include "test.hpp"

__global__ static void set(float *y, float v) { *y = v; }
__global__ static void copy_one(float *y, const float *x) { *y = *x; }

struct two_streams {
  cudaStream_t a, b;
  cudaEvent_t e;
  float *x, *y, *host;
  two_streams() {
    cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking);
    cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking);
    cudaEventCreateWithFlags(&e, cudaEventDisableTiming);
    x = on_device(std::vector<float>(1, 1.0f));
    y = on_device(std::vector<float>(1, 1.0f));
    cudaMallocHost(&host, 4);
    *host = 5;
  }
  ~two_streams() {
    cudaStreamDestroy(a), cudaStreamDestroy(b), cudaEventDestroy(e), cudaFree(x), cudaFree(y), cudaFreeHost(host);
  }
};

static void waits() {
  two_streams t;
  LAUNCH(set, 1, 1, 0, t.a, t.x, 2);
  cudaEventRecord(t.e, t.a);
  cudaStreamWaitEvent(t.b, t.e, 0);
  LAUNCH(copy_one, 1, 1, 0, t.b, t.y, t.x);
  cudaMemcpyAsync(t.host, t.y, 4, cudaMemcpyDeviceToHost, t.b);
  EXPECT(cudaStreamSynchronize(t.b) == cudaSuccess && *t.host == 2);
}

/* Some seed, or none, shows that b did not wait. */
static void missing_wait() {
  int wrong = 0;
  for (unsigned seed = 0; seed < 8; seed++) {
    cudasim_interleave(seed);
    two_streams t;
    LAUNCH(set, 1, 1, 0, t.a, t.x, 2);
    LAUNCH(copy_one, 1, 1, 0, t.b, t.y, t.x);
    cudaMemcpyAsync(t.host, t.y, 4, cudaMemcpyDeviceToHost, t.b);
    cudaStreamSynchronize(t.b);
    if (seed == 0) EXPECT(*t.host == 1);
    wrong += *t.host != 2;
  }
  EXPECT(wrong > 0 && wrong < 8);
}

static void early_read() {
  two_streams t;
  cudaMemcpyAsync(t.host, t.x, 4, cudaMemcpyDeviceToHost, t.a);
  float early = *t.host;
  cudaStreamSynchronize(t.a);
  EXPECT(early != early && *t.host == 1);
}

static void early_write() {
  two_streams t;
  cudaMemcpyAsync(t.x, t.host, 4, cudaMemcpyHostToDevice, t.a);
  *t.host = 7; /* pinned: the copy has not read it yet */
  cudaStreamSynchronize(t.a);
  EXPECT(on_host(t.x, 1)[0] == 7);
  float pageable = 3;
  cudaMemcpyAsync(t.x, &pageable, 4, cudaMemcpyHostToDevice, t.a);
  pageable = 9; /* pageable: it was read at the call */
  cudaStreamSynchronize(t.a);
  EXPECT(on_host(t.x, 1)[0] == 3);
}

static void questions() {
  two_streams t;
  LAUNCH(set, 1, 1, 0, t.a, t.x, 2);
  LAUNCH(set, 1, 1, 0, t.a, t.x, 3);
  cudaEventRecord(t.e, t.a);
  EXPECT(cudaEventQuery(t.e) == cudaErrorNotReady);
  int n = 0;
  while (cudaEventQuery(t.e) == cudaErrorNotReady) n++;
  EXPECT(n < 10 && cudaStreamQuery(t.a) == cudaSuccess);
  cudaEvent_t begin, end;
  float ms;
  cudaEventCreate(&begin), cudaEventCreate(&end);
  cudaEventRecord(begin, t.a), cudaEventRecord(end, t.a);
  EXPECT(cudaEventElapsedTime(&ms, begin, end) == cudaErrorNotReady);
  cudaEventSynchronize(end);
  EXPECT(cudaEventElapsedTime(&ms, begin, end) == cudaSuccess && ms >= 0);
  cudaEventDestroy(begin), cudaEventDestroy(end);
}

static void legacy() {
  two_streams t;
  cudaStream_t s;
  cudaStreamCreate(&s); /* waits for the legacy stream and is waited for */
  LAUNCH(set, 1, 1, 0, s, t.x, 4);
  LAUNCH(copy_one, 1, 1, 0, 0, t.y, t.x);
  LAUNCH(set, 1, 1, 0, s, t.x, 6);
  cudaStreamSynchronize(s);
  EXPECT(on_host(t.y, 1)[0] == 4 && on_host(t.x, 1)[0] == 6);
  cudaStreamDestroy(s);
}

static void eager() {
  two_streams t;
  cudasim_eager(true);
  cudaMemcpyAsync(t.host, t.x, 4, cudaMemcpyDeviceToHost, t.a);
  EXPECT(*t.host == 1);
  cudasim_eager(false);
}

static void destroyed() {
  cudaStream_t s;
  cudaStreamCreate(&s);
  cudaStreamDestroy(s);
  EXPECT(cudaStreamSynchronize(s) == cudaErrorInvalidResourceHandle);
  FOUND("a stream that does not exist");
}

static void graphs() {
  two_streams t;
  cudaGraph_t g;
  cudaGraphExec_t x;
  cudaEvent_t back;
  size_t nodes = 0;
  cudaEventCreate(&back);
  EXPECT(cudaStreamBeginCapture(t.a, cudaStreamCaptureModeGlobal) == cudaSuccess);
  cudaMemcpyAsync(t.x, t.host, 4, cudaMemcpyHostToDevice, t.a);
  cudaEventRecord(t.e, t.a);
  cudaStreamWaitEvent(t.b, t.e, 0);
  LAUNCH(copy_one, 1, 1, 0, t.b, t.y, t.x);
  cudaEventRecord(back, t.b);
  cudaStreamWaitEvent(t.a, back, 0);
  EXPECT(cudaStreamEndCapture(t.a, &g) == cudaSuccess);
  EXPECT(cudaGraphGetNodes(g, NULL, &nodes) == cudaSuccess && nodes == 2);
  EXPECT(cudaGraphInstantiate(&x, g, 0) == cudaSuccess && cudaGraphDestroy(g) == cudaSuccess);
  EXPECT(on_host(t.y, 1)[0] == 1); /* nothing ran */
  for (float v = 10; v < 13; v++) {
    *t.host = v;
    EXPECT(cudaGraphLaunch(x, t.a) == cudaSuccess && cudaStreamSynchronize(t.a) == cudaSuccess);
    EXPECT(on_host(t.y, 1)[0] == v);
  }
  cudaStreamBeginCapture(t.a, cudaStreamCaptureModeGlobal);
  EXPECT(cudaStreamSynchronize(t.a) == cudaErrorStreamCaptureUnsupported);
  FOUND("on a stream that is being captured");
  EXPECT(cudaStreamEndCapture(t.a, &g) == cudaErrorStreamCaptureInvalidated);
  cudaGraphExecDestroy(x), cudaEventDestroy(back);
  cudasim_forgive();
}

static void forbidden_in_capture() {
  two_streams t;
  cudaGraph_t g;
  float *p = NULL;
  cudaStreamBeginCapture(t.a, cudaStreamCaptureModeThreadLocal);
  EXPECT(cudaMalloc(&p, 4) == cudaErrorStreamCaptureUnsupported);
  FOUND("cudaMalloc while a stream is being captured");
  EXPECT(cudaStreamEndCapture(t.a, &g) == cudaErrorStreamCaptureInvalidated);
  cudaStreamBeginCapture(t.a, cudaStreamCaptureModeRelaxed);
  EXPECT(cudaMalloc(&p, 4) == cudaSuccess && cudaFree(p) == cudaSuccess);
  cudasim_fail_in("capture", 2, cudaErrorInvalidValue);
  EXPECT(cudaMemsetAsync(t.x, 0, 4, t.a) == cudaSuccess && cudaMemsetAsync(t.x, 0, 4, t.a) == cudaErrorInvalidValue);
  EXPECT(cudaStreamEndCapture(t.a, &g) == cudaSuccess && cudaGraphDestroy(g) == cudaSuccess);
  cudasim_fail_in("cudaMemsetAsync", 1, cudaErrorInvalidValue);
  EXPECT(cudaStreamSynchronize(t.a) == cudaSuccess && cudaMemsetAsync(t.x, 0, 4, t.a) == cudaErrorInvalidValue);
}

static void counted_waits() {
  two_streams t;
  float pageable = 0;
  long before = cudasim_waits();
  cudaMemcpyAsync(t.x, t.host, 4, cudaMemcpyHostToDevice, t.a);
  cudaEventRecord(t.e, t.a);
  cudaStreamWaitEvent(t.b, t.e, 0);
  EXPECT(cudasim_waits() == before);
  cudaMemcpyAsync(&pageable, t.x, 4, cudaMemcpyDeviceToHost, t.a);
  cudaEventSynchronize(t.e);
  cudaStreamSynchronize(t.b);
  EXPECT(cudasim_waits() == before + 3);
}

const std::vector<test> stream_tests = {
    {"a stream waits for another", waits},
    {"a missing wait shows", missing_wait},
    {"a read before synchronisation shows", early_read},
    {"pinned memory overwritten too early shows", early_write},
    {"questions and times", questions},
    {"the legacy stream", legacy},
    {"eager streams", eager},
    {"destroyed streams are found", destroyed},
    {"graphs", graphs},
    {"what a capture forbids", forbidden_in_capture},
    {"the host's waits are counted", counted_waits},
};
