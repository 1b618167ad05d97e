/* Device memory: blocks of the caller's, scratch, and copies.
 *
 * The driver hands out memory in pages of 2 MiB, and small blocks from within one: so blocks are rounded here already, and `taken` tells
 * the planner the same figure that alloc asks for. */
#include "cuda.h"

#include <string.h>

enum { SMALL = 512, PAGE = 2 << 20 };

size_t cuda_taken(size_t bytes) {
  size_t unit = bytes < PAGE / 2 ? SMALL : PAGE;
  if (bytes == 0) bytes = 1;
  return bytes > SIZE_MAX - unit ? 0 : (bytes + unit - 1) / unit * unit;
}

static void *take(struct backend *b, size_t bytes, struct err *e) {
  void *p = NULL;
  size_t n = cuda_taken(bytes), free_bytes = 0, total = 0;
  cudaError_t status = n ? cudaMalloc(&p, n) : cudaErrorMemoryAllocation;
  if (status == cudaSuccess) {
    struct cuda *c = cuda_of(b);
    c->own += n;
    if (c->own > c->peak) c->peak = c->own;
    return p;
  }
  if (status != cudaErrorMemoryAllocation) {
    cuda_check(b, e, status, "taking memory");
    return NULL;
  }
  (void)cudaGetLastError();
  (void)cudaMemGetInfo(&free_bytes, &total);
  err_set(e, ERR_FIT,
          "no %.1f MiB of GPU memory (%.0f of %.0f MiB are free): close other programs on the card, or choose a smaller batch or resolution",
          (double)bytes / (1 << 20), (double)free_bytes / (1 << 20), (double)total / (1 << 20));
  return NULL;
}

void *cuda_alloc(struct backend *b, size_t bytes, struct err *e) {
  void *p = take(b, bytes, e);
  if (p && !cuda_check(b, e, cudaMemsetAsync(p, 0, cuda_taken(bytes), cuda_of(b)->stream), "clearing memory")) {
    cuda_release(b, p, bytes);
    return NULL;
  }
  return p;
}

/* cudaFree waits for the kernels that may still use the block. */
void cuda_release(struct backend *b, void *p, size_t bytes) {
  if (!p) return;
  if (MISTAKE(14, true, false)) cuda_parts_forget(b);
  cuda_of(b)->own -= cuda_taken(bytes);
  if (cuda_of(b)->lost.code == ERR_OK) cuda_ok(b, cudaFree(p), "giving back memory");
}

/* The runtime's figure is the device's, with what other programs have taken. */
bool cuda_memory(struct backend *b, struct backend_memory *out, struct err *e) {
  *out = (struct backend_memory){.own = cuda_of(b)->own, .peak = cuda_of(b)->peak};
  (void)cuda_idle(b); /* takes the device, for a thread that is new to it */
  return cuda_check(b, e, cudaMemGetInfo(&out->free, &out->total), "asking for the card's memory");
}

bool cuda_memory_open(struct backend *b, struct err *e) {
  struct cuda *c = cuda_of(b);
  c->sums = cuda_alloc(b, CUDA_SUMS * sizeof *c->sums, e);
  c->bounce = c->sums ? cuda_alloc(b, CUDA_BOUNCE, e) : NULL;
  return c->bounce != NULL;
}

void cuda_memory_close(struct backend *b) {
  struct cuda *c = cuda_of(b);
  cuda_release(b, c->scratch.p, c->scratch.bytes);
  cuda_release(b, c->work.p, c->work.bytes);
  cuda_release(b, c->sums, CUDA_SUMS * sizeof *c->sums);
  cuda_release(b, c->bounce, CUDA_BOUNCE);
}

/* --- scratch ------------------------------------------------------------------------------------------------------------------ */

void cuda_rehearse(struct backend *b, bool on) {
  struct cuda *c = cuda_of(b);
  c->rehearsing = on;
  if (!on) return;
  c->scratch.rehearsed = c->work.rehearsed = 0;
  b->need = (struct backend_need){0};
}

static void note(struct backend *b, struct cuda_buffer *s, size_t bytes) {
  struct cuda *c = cuda_of(b);
  if (bytes > s->rehearsed) s->rehearsed = bytes;
  b->need.scratch = 0;
  if (c->scratch.rehearsed) b->need.scratch += cuda_taken(c->scratch.rehearsed);
  if (c->work.rehearsed) b->need.scratch += cuda_taken(c->work.rehearsed);
}

static void *grown(struct backend *b, struct cuda_buffer *s, size_t bytes) {
  if (bytes == 0) bytes = 1;
  if (cuda_of(b)->rehearsing) {
    note(b, s, bytes);
    return NULL;
  }
  if (s->p && bytes <= s->bytes) return s->p;
  if (cuda_recording_fails(b, "taking scratch", "there was less the first time")) return NULL;
  cuda_release(b, s->p, s->bytes);
  s->p = take(b, bytes, &b->fault);
  s->bytes = s->p ? bytes : 0;
  return s->p;
}

void *cuda_scratch(struct backend *b, size_t bytes) {
  return grown(b, &cuda_of(b)->scratch, bytes);
}
void *cuda_work(struct backend *b, size_t bytes) {
  return grown(b, &cuda_of(b)->work, bytes);
}

/* --- copies -------------------------------------------------------------------------------------------------------------------- */

/* Pinned memory for `bytes` of an upload, or for as many of them as a piece holds; NULL: b->fault. A piece that was full is there again once the copies from it are done. */
static unsigned char *stage(struct backend *b, size_t *bytes) {
  struct cuda *c = cuda_of(b);
  struct cuda_slot *s = &c->slot[c->at_slot];
  if (*bytes > CUDA_SLOT_BYTES) *bytes = CUDA_SLOT_BYTES;
  if (CUDA_SLOT_BYTES - s->filled < *bytes) {
    c->at_slot = (c->at_slot + 1) % CUDA_SLOTS;
    s = &c->slot[c->at_slot];
    cudaError_t status = cudaEventQuery(s->done);
    if (status == cudaErrorNotReady) {
      (void)cudaGetLastError();
      status = cudaEventSynchronize(s->done);
    }
    if (!cuda_ok(b, status, "waiting for an upload")) return NULL;
    s->filled = 0;
  }
  unsigned char *p = s->p + s->filled;
  s->filled += (*bytes + 63) / 64 * 64;
  return p;
}

void cuda_upload(struct backend *b, void *dst, const void *src, size_t bytes) {
  struct cuda *c = cuda_of(b);
  if (cuda_idle(b) || cuda_by_host(b, "an upload")) return;
  for (size_t at = 0, part; at < bytes; at += part) {
    part = bytes - at;
    unsigned char *p = stage(b, &part);
    if (!p) return;
    memcpy(p, (const char *)src + at, part);
    if (!cuda_ok(b, cudaMemcpyAsync((char *)dst + at, p, part, cudaMemcpyHostToDevice, c->stream), "an upload") ||
        !cuda_ok(b, cudaEventRecord(c->slot[c->at_slot].done, c->stream), "marking an upload"))
      return;
  }
}

/* What is small goes through pinned memory: the host then waits once. */
void cuda_download(struct backend *b, void *dst, const void *src, size_t bytes) {
  struct cuda *c = cuda_of(b);
  if (cuda_idle(b) || !bytes || cuda_by_host(b, "a download")) return;
  void *to = bytes <= CUDA_RESULTS ? c->results : dst;
  if (!cuda_ok(b, cudaMemcpyAsync(to, src, bytes, cudaMemcpyDeviceToHost, c->stream), "a download") || !cuda_wait(b, "a download")) return;
  if (to != dst) memcpy(dst, to, bytes);
}

static bool copy_on_device(struct backend *b, void *dst, const void *src, size_t bytes) {
  return cuda_ok(b, cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToDevice, cuda_of(b)->stream), "a copy");
}

/* Piece by piece through the bounce buffer, from the end where the destination lies behind. */
static void move_overlapping(struct backend *b, char *dst, const char *src, size_t bytes) {
  void *bounce = cuda_of(b)->bounce;
  bool backwards = dst > src, ok = true;
  for (size_t done = 0; ok && done < bytes;) {
    size_t part = bytes - done < CUDA_BOUNCE ? bytes - done : CUDA_BOUNCE, at = backwards ? bytes - done - part : done;
    ok = copy_on_device(b, bounce, src + at, part) && copy_on_device(b, dst + at, bounce, part);
    done += part;
  }
}

void cuda_move(struct backend *b, void *dst, const void *src, size_t bytes) {
  uintptr_t to = (uintptr_t)dst, from = (uintptr_t)src;
  if (cuda_idle(b) || !bytes || to == from) return;
  if (to < from + bytes && from < to + bytes)
    move_overlapping(b, dst, src, bytes);
  else
    copy_on_device(b, dst, src, bytes);
}
