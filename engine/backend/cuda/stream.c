/* The compute stream, and the events and pinned memory of copies in it. */
#include "cuda.h"

bool cuda_stream_open(struct backend *b, struct err *e) {
  struct cuda *c = cuda_of(b);
  void *p = NULL;
  if (!cuda_check(b, e, cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking), "making a stream")) return false;
  for (int i = 0; i < CUDA_SLOTS; i++) {
    if (!cuda_check(b, e, cudaMallocHost(&p, CUDA_SLOT_BYTES), "taking pinned memory for uploads")) return false;
    c->slot[i].p = p;
    if (!cuda_check(b, e, cudaEventCreateWithFlags(&c->slot[i].done, cudaEventDisableTiming), "making an event")) return false;
  }
  if (!cuda_check(b, e, cudaMallocHost(&p, CUDA_RESULTS), "taking pinned memory for results")) return false;
  c->results = p;
  return true;
}

void cuda_stream_close(struct backend *b) {
  struct cuda *c = cuda_of(b);
  for (int i = 0; i < CUDA_SLOTS; i++) {
    if (c->slot[i].done) (void)cudaEventDestroy(c->slot[i].done);
    if (c->slot[i].p) (void)cudaFreeHost(c->slot[i].p);
  }
  if (c->results) (void)cudaFreeHost(c->results);
  if (c->stream) (void)cudaStreamDestroy(c->stream);
}

bool cuda_wait(struct backend *b, const char *what) {
  return cuda_ok(b, cudaStreamSynchronize(cuda_of(b)->stream), what);
}
