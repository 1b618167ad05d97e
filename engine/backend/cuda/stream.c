/* The compute stream, the pinned pieces that uploads go through, and numbers that the host waits for. */
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
  if (!cuda_check(b, e, cudaMallocHost(&p, CUDA_SUMS * sizeof *c->host_sums), "taking pinned memory for results")) return false;
  c->host_sums = p;
  return true;
}

void cuda_stream_close(struct backend *b) {
  struct cuda *c = cuda_of(b);
  for (int i = 0; i < CUDA_SLOTS; i++) {
    if (c->slot[i].done) (void)cudaEventDestroy(c->slot[i].done);
    if (c->slot[i].p) (void)cudaFreeHost(c->slot[i].p);
  }
  if (c->host_sums) (void)cudaFreeHost(c->host_sums);
  if (c->stream) (void)cudaStreamDestroy(c->stream);
}

bool cuda_wait(struct backend *b, const char *what) {
  return cuda_ok(b, cudaStreamSynchronize(cuda_of(b)->stream), what);
}

const double *cuda_read_sums(struct backend *b, int n, const char *what) {
  struct cuda *c = cuda_of(b);
  if (!cuda_ok(b, cudaMemcpyAsync(c->host_sums, c->sums, (size_t)n * sizeof *c->sums, cudaMemcpyDeviceToHost, c->stream), what) ||
      !cuda_wait(b, what))
    return NULL;
  return c->host_sums;
}
