/* Life of the cuda backend, its failures, and its table. */
#include "cuda.h"
#include "choices.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The lowest compute capability that there is code for; newer cards than the newest run its PTX. configure sets it. */
#ifndef CUDA_LOWEST
#define CUDA_LOWEST 75
#endif

/* --- failures --------------------------------------------------------------------------------------------------------------- */

/* What the context survives: the call did nothing, and others may succeed. */
static bool is_passing(cudaError_t status) {
  return status == cudaErrorMemoryAllocation || status == cudaErrorInvalidValue || status == cudaErrorInvalidConfiguration ||
         status == cudaErrorLaunchOutOfResources || status == cudaErrorNotReady;
}

static const char *remedy(cudaError_t status) {
  switch (status) {
    case cudaErrorMemoryAllocation:
      return "close other programs on the card, or choose a smaller batch or resolution";
    case cudaErrorNoKernelImageForDevice:
      return "build with this card's architecture (configure CUDA_ARCHS=...), or use --device cpu";
    case cudaErrorInsufficientDriver:
      return "update NVIDIA's driver, or use --device cpu";
    case cudaErrorNoDevice:
      return "look at what nvidia-smi and CUDA_VISIBLE_DEVICES say, or use --device cpu";
    default:
      return "the card cannot be used any more by this program: start it again and resume the run, with --device cpu if this repeats";
  }
}

static const char *memory_text(cudaError_t status, char *out, size_t n) {
  size_t free_bytes = 0, total = 0;
  out[0] = 0;
  if (status == cudaErrorMemoryAllocation && cudaMemGetInfo(&free_bytes, &total) == cudaSuccess)
    snprintf(out, n, ", %.0f MiB of %.0f are free", (double)free_bytes / (1 << 20), (double)total / (1 << 20));
  return out;
}

bool cuda_check(const struct backend *b, struct err *e, cudaError_t status, const char *what) {
  if (status == cudaSuccess) return true;
  if (e == &b->fault && cuda_recording_fails(b, what, cudaGetErrorString(status))) return false;
  char memory[96];
  struct err why = {.code = ERR_OK};
  err_set(&why, ERR_FIT, "the GPU failed in %s: %s (%s)%s; %s", what, cudaGetErrorName(status), cudaGetErrorString(status),
          memory_text(status, memory, sizeof memory), remedy(status));
  (void)cudaGetLastError(); /* what passes is not reported twice */
  if (b->state && !is_passing(status) && cuda_of(b)->lost.code == ERR_OK) cuda_of(b)->lost = why;
  return err_set(e, why.code, "%s", why.text);
}

bool cuda_ok(struct backend *b, cudaError_t status, const char *what) {
  return cuda_check(b, &b->fault, status, what);
}

bool cuda_library_failed(struct backend *b, const char *library, const char *what, int status, const char *text) {
  cudaError_t under = cudaPeekAtLastError();
  if (cuda_recording_fails(b, what, text ? text : library)) return false;
  if (under != cudaSuccess) return cuda_ok(b, under, what);
  return err_set(&b->fault, ERR_FIT, "%s failed in %s: status %d (%s); resume the run, with --device cpu if this repeats", library, what,
                 status, text ? text : "no text");
}

/* The runtime's device is one of the calling thread's: a backend may be opened by one thread and used by another. */
static bool take_device(struct backend *b, struct err *e) {
  int wanted = cuda_of(b)->device, have = -1;
  return (cudaGetDevice(&have) == cudaSuccess && have == wanted) || cuda_check(b, e, cudaSetDevice(wanted), "taking the device");
}

bool cuda_idle(struct backend *b) {
  struct cuda *c = cuda_of(b);
  if (c->lost.code == ERR_OK && b->fault.code == ERR_OK) take_device(b, &b->fault);
  if (c->lost.code != ERR_OK) err_set(&b->fault, c->lost.code, "%s", c->lost.text);
  return c->rehearsing || b->fault.code != ERR_OK || cuda_recording_broken(b);
}

void cuda_launched(struct backend *b, const char *kernel) {
  cudaError_t status = cudaGetLastError();
  if (status == cudaSuccess) return;
  char what[96];
  snprintf(what, sizeof what, "starting %s", kernel);
  cuda_ok(b, status, what);
}

/* --- opening ----------------------------------------------------------------------------------------------------------------- */

static bool hidden(void) {
  const char *visible = getenv("CUDA_VISIBLE_DEVICES");
  return visible && (visible[0] == 0 || visible[0] == '-');
}

static bool no_devices(cudaError_t status, const struct cuda *c, struct err *e) {
  if (c->driver == 0)
    return err_set(e, ERR_FIT, "no GPU: NVIDIA's driver is not installed or not loaded; install it (Debian: nvidia-driver), or use --device cpu");
  if (status == cudaErrorInsufficientDriver || c->driver / 1000 < c->runtime / 1000)
    return err_set(e, ERR_FIT, "no GPU: the driver supports CUDA %d.%d, this program was built with %d.%d; update the driver, or use --device cpu",
                   c->driver / 1000, c->driver % 1000 / 10, c->runtime / 1000, c->runtime % 1000 / 10);
  if (hidden())
    return err_set(e, ERR_FIT, "no GPU: CUDA_VISIBLE_DEVICES=\"%s\" hides all of them; unset it, or use --device cpu",
                   getenv("CUDA_VISIBLE_DEVICES"));
  if (status == cudaSuccess || status == cudaErrorNoDevice)
    return err_set(e, ERR_FIT, "no GPU: the driver finds no NVIDIA card; look at what nvidia-smi says, or use --device cpu");
  return err_set(e, ERR_FIT, "no GPU: %s (%s); look at what nvidia-smi says, or use --device cpu", cudaGetErrorName(status),
                 cudaGetErrorString(status));
}

static bool choose_device(struct backend *b, struct err *e) {
  struct cuda *c = cuda_of(b);
  int count = 0;
  (void)cudaDriverGetVersion(&c->driver); /* 0 stays where there is none */
  (void)cudaRuntimeGetVersion(&c->runtime);
  cudaError_t status = cudaGetDeviceCount(&count);
  (void)cudaGetLastError();
  if (status != cudaSuccess || count < 1) return no_devices(status, c, e);
  if (b->device >= count)
    return err_set(e, ERR_FIT, "no GPU %d: there %s %d, counted from 0%s; choose another with --device cuda:N", b->device,
                   count == 1 ? "is" : "are", count, getenv("CUDA_VISIBLE_DEVICES") ? " among those of CUDA_VISIBLE_DEVICES" : "");
  c->device = b->device;
  return cuda_check(b, e, cudaSetDevice(c->device), "taking the device");
}

static bool look_at_device(struct backend *b, struct err *e) {
  struct cuda *c = cuda_of(b);
  struct cudaDeviceProp p;
  if (!cuda_check(b, e, cudaGetDeviceProperties(&p, c->device), "asking for the device's properties")) return false;
  c->capability = p.major * 10 + p.minor;
  if (c->capability < CUDA_LOWEST)
    return err_set(e, ERR_FIT, "the GPU %s has compute capability %d.%d, this program was built for %d.%d and above; use --device cpu", p.name,
                   p.major, p.minor, CUDA_LOWEST / 10, CUDA_LOWEST % 10);
  snprintf(c->text, sizeof c->text, "cuda: %s, %d.%d, %.0f GiB, CUDA %d.%d, driver %d.%d, cuDNN %d.%d", p.name, p.major, p.minor,
           (double)p.totalGlobalMem / (1 << 30), c->runtime / 1000, c->runtime % 1000 / 10, c->driver / 1000, c->driver % 1000 / 10,
           cuda_conv_version(b) / 10000, cuda_conv_version(b) / 100 % 100);
  return true;
}

static void cuda_close(struct backend *b) {
  struct cuda *c = cuda_of(b);
  if (!c) return;
  if (c->stream) (void)cudaStreamSynchronize(c->stream);
  cuda_parts_close(b);
  cuda_conv_close(b);
  cuda_linear_close(b);
  cuda_choices_close(b);
  cuda_memory_close(b);
  cuda_beside_close(b);
  cuda_stream_close(b);
  cuda_libraries_close(b);
  free(c);
  b->state = NULL;
}

static bool cuda_open(struct backend *b, struct err *e) {
  struct cuda *c = calloc(1, sizeof *c);
  if (!c) return err_set(e, ERR_FIT, "no memory for the cuda backend");
  b->state = c;
  if (choose_device(b, e) && cuda_libraries_open(b, e) && look_at_device(b, e) && cuda_stream_open(b, e) && cuda_beside_open(b, e) &&
      cuda_memory_open(b, e) && cuda_choices_open(b, e) && cuda_parts_open(b, e) && cuda_linear_open(b, e) && cuda_conv_open(b, e))
    return true;
  cuda_close(b);
  return false;
}

static const char *cuda_describe(const struct backend *b) {
  return cuda_of(b)->text;
}

/* Turing (7.5) has none. */
static bool cuda_has_tf32(const struct backend *b) {
  return cuda_of(b)->capability >= 80;
}

const struct backend_ops backend_cuda = {
    .name = "cuda",
    .host_memory = false,
    .open = cuda_open,
    .close = cuda_close,
    .describe = cuda_describe,
    .alloc = cuda_alloc,
    .release = cuda_release,
    .upload = cuda_upload,
    .download = cuda_download,
    .move = cuda_move,
    .drop_pack = cuda_drop_pack,
    .taken = cuda_taken,
    .memory = cuda_memory,
    .rehearse = cuda_rehearse,
    .has_tf32 = cuda_has_tf32,
    .choices = cuda_choices,
    .take_choices = cuda_take_choices,
    .part_begin = cuda_part_begin,
    .part_end = cuda_part_end,
    .host_alloc = cuda_host_alloc,
    .host_release = cuda_host_release,
    .host_taken = cuda_host_taken,
    .mark = cuda_mark,
    .send = cuda_send,
    .fetch = cuda_fetch,
    .follow = cuda_follow,
    .wait = cuda_wait_mark,
    .copy_bytes = cuda_copy_bytes,
    .copy_fill = cuda_copy_fill,
    .fill = cuda_fill,
    .cast = cuda_cast,
    .axpby = cuda_axpby,
    .add = cuda_add,
    .act = cuda_act,
    .act_bwd = cuda_act_bwd,
    .geglu = cuda_geglu,
    .geglu_bwd = cuda_geglu_bwd,
    .add_rows = cuda_add_rows,
    .sum_rows = cuda_sum_rows,
    .concat = cuda_concat,
    .split = cuda_split,
    .upsample = cuda_upsample,
    .upsample_bwd = cuda_upsample_bwd,
    .embed = cuda_embed,
    .embed_bwd = cuda_embed_bwd,
    .linear = cuda_linear,
    .linear_dx = cuda_linear_dx,
    .linear_dw = cuda_linear_dw,
    .conv = cuda_conv,
    .conv_dx = cuda_conv_dx,
    .conv_dw = cuda_conv_dw,
    .group_norm = cuda_group_norm,
    .group_norm_bwd = cuda_group_norm_bwd,
    .layer_norm = cuda_layer_norm,
    .layer_norm_bwd = cuda_layer_norm_bwd,
    .attention = cuda_attention,
    .attention_bwd = cuda_attention_bwd,
    .normal = cuda_normal,
    .posterior = cuda_posterior,
    .mse = cuda_mse,
    .sum_squares = cuda_sum_squares,
    .adamw = cuda_adamw,
    .adamw8 = cuda_adamw8,
};
