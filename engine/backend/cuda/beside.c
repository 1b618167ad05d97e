/* Values that lie in the host's memory, and copies between it and the card in a stream of their own. Pinned: only then does the card copy by
 * itself while it computes, and the host goes on at once. */
#include "cuda.h"

enum { PAGE = 4096 };

bool cuda_beside_open(struct backend *b, struct err *e) {
  struct cuda *c = cuda_of(b);
  if (!cuda_check(b, e, cudaStreamCreateWithFlags(&c->beside, cudaStreamNonBlocking), "making a stream")) return false;
  for (int i = 0; i < BACKEND_MARKS; i++)
    if (!cuda_check(b, e, cudaEventCreateWithFlags(&c->mark[i], cudaEventDisableTiming), "making an event")) return false;
  return true;
}

void cuda_beside_close(struct backend *b) {
  struct cuda *c = cuda_of(b);
  if (c->beside) (void)cudaStreamSynchronize(c->beside);
  for (int i = 0; i < BACKEND_MARKS; i++)
    if (c->mark[i]) (void)cudaEventDestroy(c->mark[i]);
  if (c->beside) (void)cudaStreamDestroy(c->beside);
}

/* --- memory --------------------------------------------------------------------------------------------------------------------- */

size_t cuda_host_taken(size_t bytes) {
  if (bytes == 0) bytes = 1;
  return bytes > SIZE_MAX - PAGE ? 0 : (bytes + PAGE - 1) / PAGE * PAGE;
}

void *cuda_host_alloc(struct backend *b, size_t bytes, struct err *e) {
  void *p = NULL;
  size_t n = cuda_host_taken(bytes);
  cudaError_t status = n ? cudaHostAlloc(&p, n, cudaHostAllocDefault) : cudaErrorMemoryAllocation;
  if (status == cudaSuccess) return p;
  if (status != cudaErrorMemoryAllocation) {
    cuda_check(b, e, status, "taking pinned memory");
    return NULL;
  }
  (void)cudaGetLastError();
  err_set(e, ERR_FIT, "no %.1f MiB of the host's memory can be pinned for the card: close other programs, or set offload = no",
          (double)bytes / (1 << 20));
  return NULL;
}

void cuda_host_release(struct backend *b, void *p, size_t bytes) {
  (void)bytes;
  if (p && cuda_of(b)->lost.code == ERR_OK) cuda_ok(b, cudaFreeHost(p), "giving back pinned memory");
}

/* --- copies --------------------------------------------------------------------------------------------------------------------- */

void cuda_mark(struct backend *b, int mark) {
  struct cuda *c = cuda_of(b);
  if (!cuda_idle(b) && !cuda_by_host(b, "marking")) cuda_ok(b, cudaEventRecord(c->mark[mark], c->stream), "marking what is computed");
}

static void copy(struct backend *b, int mark, void *dst, const void *src, size_t bytes, int after, enum cudaMemcpyKind kind) {
  struct cuda *c = cuda_of(b);
  const char *what = kind == cudaMemcpyHostToDevice ? "sending weights" : "fetching gradients";
  if (cuda_idle(b) || cuda_by_host(b, what)) return;
  if (cuda_ok(b, cudaStreamWaitEvent(c->beside, c->mark[after], 0), what) &&
      cuda_ok(b, cudaMemcpyAsync(dst, src, bytes, kind, c->beside), what))
    cuda_ok(b, cudaEventRecord(c->mark[mark], c->beside), what);
}

void cuda_send(struct backend *b, int mark, void *dst, const void *src, size_t bytes, int after) {
  copy(b, mark, dst, src, bytes, after, cudaMemcpyHostToDevice);
}

void cuda_fetch(struct backend *b, int mark, void *dst, const void *src, size_t bytes, int after) {
  copy(b, mark, dst, src, bytes, after, cudaMemcpyDeviceToHost);
}

void cuda_follow(struct backend *b, int mark) {
  struct cuda *c = cuda_of(b);
  if (!cuda_idle(b) && !cuda_by_host(b, "waiting")) cuda_ok(b, cudaStreamWaitEvent(c->stream, c->mark[mark], 0), "waiting for weights");
}

void cuda_wait_mark(struct backend *b, int mark) {
  if (!cuda_idle(b) && !cuda_by_host(b, "waiting")) cuda_ok(b, cudaEventSynchronize(cuda_of(b)->mark[mark]), "waiting for a copy");
}
