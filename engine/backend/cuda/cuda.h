/* The cuda backend: everything on one NVIDIA GPU, in one stream; copies of values that lie with the host go in a second one (beside.c).
 *
 * Own kernels (*.cu) for what is bound by memory and for attention; cublasLt (linear.c) and cuDNN (conv.c) for products. Files that
 * run on the host only are plain C. The host queues work and goes on; it waits in download, and in upload where
 * more is on its way than the pinned memory for it holds. No sum depends on the order in which blocks run: there are no atomics, every reduction has fixed pieces and a
 * fixed order, and of the libraries' algorithms only deterministic ones are taken. So a call repeated gives the same bits.
 *
 * Failures: each runtime and library call is checked; the first sets b->fault. One that the CUDA context does not survive is kept
 * in `lost`, and every later slot returns at once with the same fault. */
#ifndef PDMBOOTH_BACKEND_CUDA_CUDA_H
#define PDMBOOTH_BACKEND_CUDA_CUDA_H

#include <cuda_runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "backend/backend.h"

struct cuda_linear; /* linear.c */
struct cuda_conv;   /* conv.c */
struct cuda_libraries; /* library.h */
struct cuda_choices;   /* choices.c */
struct cuda_parts;     /* part.c */

/* Grown to the largest need. */
struct cuda_buffer {
  void *p;
  size_t bytes;
  size_t rehearsed; /* the largest need of a rehearsal */
};

enum { CUDA_SLOTS = 16, CUDA_SLOT_BYTES = 2 << 20, CUDA_SUMS = 1024, CUDA_RESULTS = 64 << 10, CUDA_BOUNCE = 1 << 20, CUDA_WORK = 32 << 20 /* of a product */ };

struct cuda {
  int device, capability; /* 90 for 9.0 */
  int driver, runtime;    /* 13000 for CUDA 13.0: the newest that the driver supports, and what this was built with; 0: no driver */
  cudaStream_t stream, beside;
  cudaEvent_t mark[BACKEND_MARKS];
  bool rehearsing; /* backend.h: rehearse */
  struct err lost; /* what made the context unusable */
  size_t own, peak; /* bytes of device memory that are taken, and the most that were */
  struct cuda_libraries *libraries;
  struct cuda_choices *choices;
  struct cuda_linear *linear;
  struct cuda_conv *conv;
  struct cuda_parts *parts;
  struct cuda_buffer scratch, work; /* of our kernels; of the libraries */
  /* Host to device without waiting: pinned pieces, filled in turn, each free again when its event has passed. The inputs of an example fit. */
  struct cuda_slot {
    unsigned char *p;
    cudaEvent_t done;
    size_t filled;
  } slot[CUDA_SLOTS];
  int at_slot;   /* being filled */
  double *sums;  /* [CUDA_SUMS], device: parts of reductions */
  void *results; /* [CUDA_RESULTS] pinned: small downloads on their way */
  void *bounce;             /* [CUDA_BOUNCE] device: copies that overlap */
  char text[384];
};

static inline struct cuda *cuda_of(const struct backend *b) {
  return (struct cuda *)b->state;
}

/* --- failures (device.c) ------------------------------------------------------------------------------------------------ */

/* False where status is a failure; *e then says so in one sentence: what could not be done, CUDA's name and text, a remedy. */
bool cuda_check(const struct backend *b, struct err *e, cudaError_t status, const char *what);
/* The same into b->fault. */
bool cuda_ok(struct backend *b, cudaError_t status, const char *what);
/* A library's failure into b->fault; always false. */
bool cuda_library_failed(struct backend *b, const char *library, const char *what, int status, const char *text);
/* True where a slot has nothing to do: in a rehearsal, or after a failure. */
bool cuda_idle(struct backend *b);
void cuda_launched(struct backend *b, const char *kernel); /* after each launch */

/* --- memory (memory.c) --------------------------------------------------------------------------------------------------- */

size_t cuda_taken(size_t bytes);
void *cuda_alloc(struct backend *b, size_t bytes, struct err *e);
void cuda_release(struct backend *b, void *p, size_t bytes); /* bytes: as given to cuda_alloc */
bool cuda_memory(struct backend *b, struct backend_memory *out, struct err *e);
void cuda_upload(struct backend *b, void *dst, const void *src, size_t bytes);
void cuda_download(struct backend *b, void *dst, const void *src, size_t bytes);
void cuda_move(struct backend *b, void *dst, const void *src, size_t bytes);
void cuda_rehearse(struct backend *b, bool on);
bool cuda_memory_open(struct backend *b, struct err *e);
void cuda_memory_close(struct backend *b);
/* Scratch of the running call: 256-byte aligned, contents undefined, gone with the next call of a slot. A steady step takes none anew.
   NULL and b->fault where there is no memory; NULL in a rehearsal, which notes the need. */
void *cuda_scratch(struct backend *b, size_t bytes);
void *cuda_work(struct backend *b, size_t bytes); /* another, for the libraries */
static inline size_t cuda_round(size_t bytes) {
  return (bytes + 255) / 256 * 256;
}

/* --- streams (stream.c) --------------------------------------------------------------------------------------------------- */

bool cuda_stream_open(struct backend *b, struct err *e);
void cuda_stream_close(struct backend *b);
bool cuda_wait(struct backend *b, const char *what); /* until everything queued is done */

/* --- parts of a step (part.c) -------------------------------------------------------------------------------------------------- */

bool cuda_parts_open(struct backend *b, struct err *e);
void cuda_parts_close(struct backend *b);
bool cuda_part_begin(struct backend *b, const void *key, size_t bytes);
bool cuda_part_end(struct backend *b);
void cuda_parts_forget(struct backend *b); /* memory that recordings hold addresses of is given back */
/* While a part is recorded: true, and it is noted that this recording came to nothing; the calls that follow are idle until its end. Else false. */
bool cuda_recording_fails(const struct backend *b, const char *what, const char *why);
bool cuda_recording(const struct backend *b);        /* it is being recorded */
bool cuda_recording_broken(const struct backend *b); /* to no avail */
/* At the head of what cannot be in a part. */
static inline bool cuda_by_host(const struct backend *b, const char *what) {
  return cuda_recording_fails(b, what, "the host takes part in it");
}

/* --- libraries (library.c) -------------------------------------------------------------------------------------------------- */

bool cuda_libraries_open(struct backend *b, struct err *e);
void cuda_libraries_close(struct backend *b);

/* --- what was measured (choices.c; the rest of it: choices.h) ------------------------------------------------------------------ */

char *cuda_choices(struct backend *b, struct err *e);
bool cuda_take_choices(struct backend *b, const char *text, bool no_more);

/* --- values that lie with the host (beside.c) ------------------------------------------------------------------------------ */

bool cuda_beside_open(struct backend *b, struct err *e);
void cuda_beside_close(struct backend *b);
size_t cuda_host_taken(size_t bytes);
void *cuda_host_alloc(struct backend *b, size_t bytes, struct err *e);
void cuda_host_release(struct backend *b, void *p, size_t bytes);
void cuda_mark(struct backend *b, int mark);
void cuda_send(struct backend *b, int mark, void *dst, const void *src, size_t bytes, int after);
void cuda_fetch(struct backend *b, int mark, void *dst, const void *src, size_t bytes, int after);
void cuda_follow(struct backend *b, int mark);
void cuda_wait_mark(struct backend *b, int mark);

/* --- packed parameters (pack.c, pack.cu) ---------------------------------------------------------------------------------------- */

/* A parameter as the kernels want it: rounded to `type` and, for kernels larger than 1x1, in the order [out, kh, kw, in]. w->w itself where that is the
   same; param->copy where there is one; else a copy: of a frozen parameter kept on param->pack until its version changes, of another made in `room`, scratch of cuda_pack_room bytes.
   NULL and b->fault, or in a rehearsal, which notes what would be kept. */
size_t cuda_pack_room(const struct param *w, enum dtype type);
const void *cuda_pack(struct backend *b, struct param *w, enum dtype type, void *room);
void cuda_drop_pack(struct backend *b, struct param *p);
size_t cuda_copy_bytes(const struct param *p, enum dtype type);
void cuda_copy_fill(struct backend *b, struct param *p, const float *values);
enum pack_order { PACK_O_TAPS_I, PACK_TAPS_O_I };
/* to of type = from [co, ci, taps] in another order; and g [co, ci, taps] += from [co, taps, ci] */
void cuda_pack_weights(struct backend *b, void *to, enum dtype type, const float *from, int64_t co, int64_t ci, int64_t taps, enum pack_order order);
/* to [taps, co, ci] = from [co, taps, ci], both of type */
void cuda_turn_weights(struct backend *b, void *to, enum dtype type, const void *from, int64_t co, int64_t ci, int64_t taps);
void cuda_unpack_gradient(struct backend *b, float *g, const float *from, int64_t co, int64_t ci, int64_t taps);

static inline bool cuda_trained(const struct param *p) {
  return p && p->g && !p->frozen;
}
/* In a rehearsal parameters are not bound: what is not frozen is taken as trained. */
static inline bool cuda_wants_gradient(const struct backend *b, const struct param *p) {
  return cuda_of(b)->rehearsing ? p && !p->frozen : cuda_trained(p);
}

/* --- products (linear.c, gemm.cu) --------------------------------------------------------------------------------------------- */

/* Row-major c [m, n] = alpha op(a) op(b) + bias + beta c, rows lda, ldb, ldc elements apart; ta: a is [k, m], tb: b is [n, k].
   type of a and b, out of c and of bias. */
struct matmul {
  bool ta, tb;
  int64_t m, n, k, lda, ldb, ldc;
  enum dtype type, out;
  const void *a, *b;
  void *c;
  const void *bias; /* [n]; NULL where not with_bias, and in a rehearsal */
  bool with_bias;
  float alpha, beta;
};

bool cuda_linear_open(struct backend *b, struct err *e);
void cuda_linear_close(struct backend *b);
void cuda_matmul(struct backend *b, const struct matmul *p);       /* by the library, or else as the next; takes cuda_work */
void cuda_matmul_plain(struct backend *b, const struct matmul *p); /* own kernel, any shape and alignment */
/* g[j] += column sums of x [rows, c]; takes cuda_scratch. shape.cu */
void cuda_add_column_sums(struct backend *b, struct param *p, const struct tensor *x);
/* x [m, c] += bias [c]; elementwise.cu */
void cuda_add_bias(struct backend *b, struct tensor *x, const float *bias);

bool cuda_conv_open(struct backend *b, struct err *e);
void cuda_conv_close(struct backend *b);
int cuda_conv_version(const struct backend *b); /* 91900 of cuDNN 9.19 */

/* window.cu: pictures as conv.c needs them. Pixels are of `type`. */
struct window {
  int64_t n, h, w, c; /* the picture that is read */
  int64_t oh, ow;     /* the one that is written */
  struct conv_shape s;
  bool transposed;    /* data gradient: "read" is the forward output */
};
/* to [count, kh, kw, c]: what pixels [first, first + count) of all written pictures see under each tap, 0 outside */
void cuda_unfold(struct backend *b, void *to, const void *x, enum dtype type, const struct window *k, int64_t first, int64_t count);
/* to [n, h + top + bottom, w + left + right, c], zero around x; crop: the reverse, x of to */
void cuda_pad(struct backend *b, void *to, const void *x, enum dtype type, const struct window *k);
void cuda_crop(struct backend *b, void *x, const void *from, enum dtype type, const struct window *k);

/* --- slots ---------------------------------------------------------------------------------------------------------------------- */

void cuda_fill(struct backend *b, struct tensor *y, float value);
void cuda_cast(struct backend *b, struct tensor *y, const struct tensor *x);
void cuda_axpby(struct backend *b, struct tensor *y, float alpha, const struct tensor *x, float beta);
void cuda_add(struct backend *b, struct tensor *y, const struct tensor *a, const struct tensor *c);
void cuda_act(struct backend *b, struct tensor *y, const struct tensor *x, enum activation kind);
void cuda_act_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x, enum activation kind);
void cuda_geglu(struct backend *b, struct tensor *y, const struct tensor *x);
void cuda_geglu_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x);

void cuda_add_rows(struct backend *b, struct tensor *y, const struct tensor *x, const struct tensor *e);
void cuda_sum_rows(struct backend *b, struct tensor *de, const struct tensor *dy);
void cuda_concat(struct backend *b, struct tensor *y, const struct tensor *x1, const struct tensor *x2);
void cuda_split(struct backend *b, struct tensor *x1, struct tensor *x2, const struct tensor *y);
void cuda_upsample(struct backend *b, struct tensor *y, const struct tensor *x);
void cuda_upsample_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy);
void cuda_embed(struct backend *b, struct tensor *y, const struct tensor *ids, const struct param *table, const struct param *position);
void cuda_embed_bwd(struct backend *b, struct param *table, struct param *position, const struct tensor *ids, const struct tensor *dy);

void cuda_linear(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, struct param *bias, float alpha, float beta);
void cuda_linear_dx(struct backend *b, struct tensor *dx, const struct tensor *dy, struct param *w, float alpha, float beta);
void cuda_linear_dw(struct backend *b, struct param *w, struct param *bias, const struct tensor *x, const struct tensor *dy, float alpha);
void cuda_conv(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, struct param *bias,
               const struct conv_shape *s);
void cuda_conv_dx(struct backend *b, struct tensor *dx, const struct tensor *dy, struct param *w, const struct conv_shape *s);
void cuda_conv_dw(struct backend *b, struct param *w, struct param *bias, const struct tensor *x, const struct tensor *dy,
                  const struct conv_shape *s);

void cuda_group_norm(struct backend *b, struct tensor *y, struct tensor *stats, const struct tensor *x, const struct param *gamma,
                     const struct param *beta, int groups, float eps, bool silu);
void cuda_group_norm_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x, const struct tensor *stats,
                         struct param *gamma, struct param *beta, int groups, bool silu);
void cuda_layer_norm(struct backend *b, struct tensor *y, struct tensor *stats, const struct tensor *x, const struct param *gamma,
                     const struct param *beta, float eps);
void cuda_layer_norm_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x, const struct tensor *stats,
                         struct param *gamma, struct param *beta);

void cuda_attention(struct backend *b, struct tensor *o, struct tensor *lse, const struct tensor *q, const struct tensor *k,
                    const struct tensor *v, const struct attention_shape *s);
void cuda_attention_bwd(struct backend *b, struct tensor *dq, struct tensor *dk, struct tensor *dv, const struct tensor *d_o,
                        const struct tensor *o, const struct tensor *lse, const struct tensor *q, const struct tensor *k,
                        const struct tensor *v, const struct attention_shape *s);

/* attention_mma.cu: on tensor cores, where there are some for the type and a head's columns. delta: as attention.cu makes it */
bool cuda_attention_has_mma(const struct backend *b, enum dtype type, int64_t d);
void cuda_attention_mma(struct backend *b, struct tensor *o, struct tensor *lse, const struct tensor *q, const struct tensor *k,
                        const struct tensor *v, const struct attention_shape *s);
void cuda_attention_bwd_mma(struct backend *b, struct tensor *dq, struct tensor *dk, struct tensor *dv, const struct tensor *d_o,
                            const struct tensor *lse, const float *delta, const struct tensor *q, const struct tensor *k, const struct tensor *v,
                            const struct attention_shape *s);

void cuda_normal(struct backend *b, struct tensor *out, const struct rng_counter *c);
void cuda_posterior(struct backend *b, struct tensor *out, const struct tensor *moments, const struct tensor *noise, float scale);
void cuda_mse(struct backend *b, double *loss, struct tensor *dpred, const struct tensor *pred, const struct tensor *target,
              const struct tensor *mask, const float *weight);
void cuda_sum_squares(struct backend *b, double *sum, const float *x, int64_t n);
void cuda_adamw(struct backend *b, float *w, const float *g, struct tensor *m, struct tensor *v, int64_t n, const struct adamw *a);
void cuda_adamw8(struct backend *b, float *w, const float *g, const struct moments8 *s, int64_t from, int64_t to, const struct adamw *a);

/* Tests plant mistakes in kernels: each place names the right value and, by number, a wrong one. Always the right one outside of them. */
#ifdef CUDA_MISTAKES
extern int cuda_mistake; /* 0: none */
#define MISTAKE(number, right, wrong) (cuda_mistake == (number) ? (wrong) : (right))
#else
#define MISTAKE(number, right, wrong) (right)
#endif

#ifdef __cplusplus
}
#endif

#endif
