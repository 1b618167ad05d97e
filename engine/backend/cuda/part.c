/* Parts of a step (backend.h: part_begin) as CUDA graphs: a step is some thousand kernels, many of a few microseconds, and the host has to start them
 * one by one.
 *
 * Met for the first time, a part is done as it is: scratch and workspaces grow, packs are made, the libraries choose. The second time it is
 * recorded and the recording launched, from then on launched alone. A recording holds addresses, so all of them go where memory is given
 * back (cuda_release). Trained parameters are packed at every use (pack.c), in a recording too; of frozen ones the versions are in the key.
 *
 * Nothing that fails in recording is a failure of the run, nor a reason to do without a library: the part is done as it is, and so are all
 * others from then on. Where the card is lost, the next plain call says so. While a part is recorded, what fails is noted here and not in
 * b->fault, and the rest of its calls do nothing. */
#include "cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS = 4 };

struct part {
  void *key; /* owned; NULL: none */
  size_t bytes;
  bool tf32;
  cudaGraphExec_t exec; /* NULL: met once */
  long used;
};

struct cuda_parts {
  struct part part[PARTS];
  struct part met;   /* under way for the first time */
  struct part *open; /* being recorded; NULL: none is */
  bool broken, off;  /* something failed since it was begun; for good */
  char why[192];
  long clock;
};

bool cuda_parts_open(struct backend *b, struct err *e) {
  cuda_of(b)->parts = calloc(1, sizeof *cuda_of(b)->parts);
  return cuda_of(b)->parts || err_set(e, ERR_FIT, "out of memory");
}

static void drop(struct part *p) {
  if (p->exec) (void)cudaGraphExecDestroy(p->exec);
  free(p->key);
  *p = (struct part){.key = NULL};
}

/* What was launched may still be running. */
void cuda_parts_forget(struct backend *b) {
  struct cuda_parts *p = cuda_of(b)->parts;
  bool launched = false;
  for (int i = 0; p && i < PARTS; i++) launched = launched || p->part[i].exec;
  if (launched) (void)cudaStreamSynchronize(cuda_of(b)->stream);
  for (int i = 0; p && i < PARTS; i++) drop(&p->part[i]);
}

void cuda_parts_close(struct backend *b) {
  struct cuda_parts *p = cuda_of(b)->parts;
  if (!p) return;
  cuda_parts_forget(b);
  drop(&p->met);
  free(p);
  cuda_of(b)->parts = NULL;
}

/* --- failures ---------------------------------------------------------------------------------------------------------------------------- */

static void note(struct cuda_parts *p, const char *what, const char *why) {
  if (!p->broken) snprintf(p->why, sizeof p->why, "%s: %s", what, why);
}

bool cuda_recording_fails(const struct backend *b, const char *what, const char *why) {
  struct cuda_parts *p = cuda_of(b)->parts;
  if (!p || !p->open) return false;
  note(p, what, why);
  p->broken = true;
  return true;
}

bool cuda_recording(const struct backend *b) {
  return cuda_of(b)->parts && cuda_of(b)->parts->open;
}

bool cuda_recording_broken(const struct backend *b) {
  return cuda_recording(b) && cuda_of(b)->parts->broken;
}

static void give_up(struct backend *b, const char *what, cudaError_t status) {
  struct cuda_parts *p = cuda_of(b)->parts;
  note(p, what, cudaGetErrorString(status));
  snprintf(b->note, sizeof b->note, "the steps are not recorded as CUDA graphs, each kernel is started by itself: %s", p->why);
  (void)cudaGetLastError(); /* what the context does not survive comes back with the next call */
  p->off = true;
  p->open = NULL;
  p->broken = false;
  cuda_parts_forget(b);
}

/* --- recording --------------------------------------------------------------------------------------------------------------------------- */

static bool is(const struct backend *b, const struct part *p, const void *key, size_t bytes) {
  return p->key && p->bytes == bytes && p->tf32 == b->tf32 && memcmp(p->key, key, bytes) == 0;
}

static struct part *find(struct backend *b, const void *key, size_t bytes) {
  struct cuda_parts *p = cuda_of(b)->parts;
  for (int i = 0; i < PARTS; i++)
    if (is(b, &p->part[i], key, bytes)) return &p->part[i];
  return NULL;
}

/* Without memory for the key the part will be met for the first time again. */
static void meet(struct backend *b, const void *key, size_t bytes) {
  struct part *k = &cuda_of(b)->parts->met;
  drop(k);
  k->key = malloc(bytes);
  if (k->key) memcpy(k->key, key, bytes);
  k->bytes = bytes;
  k->tf32 = b->tf32;
}

/* The one met takes the place of the one that was not used for longest. */
static void keep(struct backend *b) {
  struct cuda_parts *p = cuda_of(b)->parts;
  struct part *oldest = &p->part[0];
  for (int i = 1; i < PARTS; i++)
    if (p->part[i].used < oldest->used) oldest = &p->part[i];
  if (oldest->exec) (void)cudaStreamSynchronize(cuda_of(b)->stream);
  drop(oldest);
  *oldest = p->met;
  oldest->used = ++p->clock;
  p->met = (struct part){.key = NULL};
}

static bool launched(struct backend *b, struct part *k) {
  cudaError_t status = cudaGraphLaunch(k->exec, cuda_of(b)->stream);
  if (status != cudaSuccess) give_up(b, "launching a recording", status);
  return status == cudaSuccess;
}

bool cuda_part_begin(struct backend *b, const void *key, size_t bytes) {
  struct cuda_parts *p = cuda_of(b)->parts;
  if (p->off || cuda_idle(b)) return true;
  struct part *k = find(b, key, bytes);
  if (!k) {
    meet(b, key, bytes);
    return true;
  }
  k->used = ++p->clock;
  if (k->exec) return !launched(b, k);
  cudaError_t status = cudaStreamBeginCapture(cuda_of(b)->stream, cudaStreamCaptureModeThreadLocal);
  if (status == cudaSuccess)
    p->open = k;
  else
    give_up(b, "beginning to record", status);
  return true;
}

/* The stream records no longer when this returns. */
static cudaError_t end_recording(struct backend *b, cudaGraph_t *graph) {
  cudaStream_t stream = cuda_of(b)->stream;
  enum cudaStreamCaptureStatus state = cudaStreamCaptureStatusNone;
  cudaError_t status = cudaStreamEndCapture(stream, graph);
  if (status == cudaSuccess) return status;
  (void)cudaGetLastError();
  if (cudaStreamIsCapturing(stream, &state) == cudaSuccess && state != cudaStreamCaptureStatusNone)
    (void)cudaStreamEndCapture(stream, graph);
  return status;
}

/* False: give_up has been called, and nothing was computed. */
static bool finish(struct backend *b, struct part *k) {
  cudaGraph_t graph = NULL;
  const char *what = "recording";
  cudaError_t status = end_recording(b, &graph);
  bool ok = status == cudaSuccess && !cuda_of(b)->parts->broken;
  if (ok) {
    what = "making a recording ready";
    status = cudaGraphInstantiateWithFlags(&k->exec, graph, 0);
    ok = status == cudaSuccess;
    if (!ok) k->exec = NULL;
  }
  if (graph) (void)cudaGraphDestroy(graph);
  if (!ok) give_up(b, what, status);
  return ok && launched(b, k);
}

bool cuda_part_end(struct backend *b) {
  struct cuda_parts *p = cuda_of(b)->parts;
  struct part *k = p->open;
  if (k) {
    bool ok = finish(b, k);
    p->open = NULL;
    return ok;
  }
  if (p->met.key && !cuda_idle(b)) keep(b);
  drop(&p->met);
  return true;
}
