/* Graphs: what a capture noted, run in the order of its calls. Dependencies between captured streams are not kept apart: a launch runs as one. */
#include "stream.hpp"

struct CUgraph_st {
  cudasim::graph_of g;
};
struct CUgraphExec_st {
  cudasim::graph_of g;
};

namespace cudasim {

static std::set<cudaGraph_t> &graphs() {
  static std::set<cudaGraph_t> *s = new std::set<cudaGraph_t>;
  return *s;
}
static std::set<cudaGraphExec_t> &executables() {
  static std::set<cudaGraphExec_t> *s = new std::set<cudaGraphExec_t>;
  return *s;
}

/* Streams that joined the capture have to be waited for by the one where it began. */
static bool all_joined(cudaStream_t origin) {
  bool joined = true;
  for (cudaStream_t s : streams())
    if (s != origin && s->capture == origin->capture && s->captured) joined = false;
  return joined;
}

bool anything_captured() {
  for (cudaStream_t s : streams())
    if (s->capture) return true;
  return false;
}

bool unsafe_in_capture(const char *function) {
  bool found = false;
  for (cudaStream_t s : streams()) {
    if (!s->capture || s->capture->mode == cudaStreamCaptureModeRelaxed) continue;
    violation("%s while a stream is being captured", function);
    found = s->capture->invalid = true;
  }
  return found;
}

void graphs_reset() {
  if (!graphs().empty() || !executables().empty()) violation("leak: %zu graphs left at the reset", graphs().size() + executables().size());
  for (cudaGraph_t g : graphs()) delete g;
  for (cudaGraphExec_t e : executables()) delete e;
  graphs().clear();
  executables().clear();
}

static void leave_capture(const graph_of &g) {
  for (cudaStream_t s : streams())
    if (s->capture == g) {
      s->capture = nullptr;
      s->origin = false;
      s->captured = 0;
    }
}

}  // namespace cudasim

using namespace cudasim;

static cudaError_t instantiate(cudaGraphExec_t *exec, cudaGraph_t g) {
  if (!exec || !graphs().count(g)) return cudaErrorInvalidValue;
  *exec = new CUgraphExec_st{g->g};
  executables().insert(*exec);
  return cudaSuccess;
}

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode) {
  API;
  cudaStream_t s = resolve(stream);
  if (!s) return failed(cudaErrorInvalidResourceHandle);
  if (s->legacy) return failed(cudaErrorStreamCaptureUnsupported);
  if (s->capture) return failed(cudaErrorIllegalState);
  s->capture = std::make_shared<graph>();
  s->capture->invalid = false;
  s->capture->mode = mode;
  s->origin = true;
  s->captured = 0;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out) {
  API;
  cudaStream_t s = resolve(stream);
  if (!s || !out) return failed(cudaErrorInvalidValue);
  *out = NULL;
  if (!s->capture) return failed(cudaErrorIllegalState);
  if (!s->origin) return failed(cudaErrorStreamCaptureUnmatched);
  graph_of g = s->capture;
  bool joined = all_joined(s);
  leave_capture(g);
  if (!joined) violation("cudaStreamEndCapture: a stream that took part was not joined again");
  if (!joined) return failed(cudaErrorStreamCaptureUnjoined);
  if (g->invalid) return failed(cudaErrorStreamCaptureInvalidated);
  *out = new CUgraph_st{g};
  graphs().insert(*out);
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status) {
  API;
  cudaStream_t s = resolve(stream);
  if (!s || !status) return failed(cudaErrorInvalidValue);
  *status = !s->capture           ? cudaStreamCaptureStatusNone
            : s->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                  : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t g, unsigned long long) {
  API;
  return failed(instantiate(exec, g));
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *exec, cudaGraph_t g, unsigned long long) {
  API;
  return failed(instantiate(exec, g));
}
cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t) {
  API;
  return failed(executables().count(exec) ? cudaSuccess : cudaErrorInvalidValue);
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  API;
  if (!executables().count(exec)) {
    violation("cudaGraphLaunch: a graph that does not exist, or was destroyed");
    return failed(cudaErrorInvalidValue);
  }
  for (const work &w : exec->g->nodes) {
    cudaError_t e = enqueue(stream, w);
    if (e != cudaSuccess) return failed(e);
  }
  return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t g, cudaGraphNode_t *nodes, size_t *count) {
  API;
  if (!graphs().count(g) || !count || nodes) return failed(cudaErrorInvalidValue); /* only how many there are */
  *count = g->g->nodes.size();
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  API;
  if (!executables().erase(exec)) return failed(cudaErrorInvalidValue);
  delete exec;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t g) {
  API;
  if (!graphs().erase(g)) return failed(cudaErrorInvalidValue);
  delete g;
  return cudaSuccess;
}
}
