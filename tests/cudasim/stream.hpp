/* Streams as queues: shared by stream.cpp and graph.cpp. */
#ifndef CUDASIM_STREAM_H
#define CUDASIM_STREAM_H

#include <deque>
#include <memory>
#include <set>
#include <vector>

#include "sim.hpp"

namespace cudasim {

/* A point in a stream's work. */
struct marker {
  cudaStream_t stream; /* where it is queued, while it is not done */
  bool done;
  double ms; /* when */
};
typedef std::shared_ptr<marker> mark;

struct item {
  work w;    /* may be nothing */
  mark wait; /* not before this is done */
  mark sets;
};

struct graph {
  std::vector<work> nodes; /* in the order of their calls, which every dependency agrees with */
  bool invalid;
  enum cudaStreamCaptureMode mode;
};
typedef std::shared_ptr<graph> graph_of;

cudaStream_t resolve(cudaStream_t stream); /* the object behind a handle, NULL and a violation where there is none */
std::set<cudaStream_t> &streams();
/* True, a violation, and the end of a capture, where a stream is captured in a mode that forbids this call. */
bool unsafe_in_capture(const char *function);

}  // namespace cudasim

struct CUstream_st {
  std::deque<cudasim::item> queue;
  bool blocking;
  bool legacy;
  cudasim::graph_of capture; /* what it is being captured into */
  bool origin;               /* its capture began here */
  long captured;             /* nodes and joins since the last event was recorded: not 0 is unjoined */
};

struct CUevent_st {
  cudasim::mark last;
  bool timing;
  cudasim::graph_of capture; /* recorded in a capture */
  cudaStream_t captured_on;
};

#endif
