/* The table of operations: everything that the networks, the training and the samplers compute goes through it.
 *
 * Backends: ref (plain C, complete, obviously right: the oracle of every parity test), cpu (starts as a copy of ref's
 * table and overrides slots), count (computes nothing, adds up FLOPs and bytes), cuda (an NVIDIA card).
 *
 * Conventions of all slots
 *  - Activations are F32, BF16 or F16, one type for all activations of a call; arithmetic and sums are in fp32 or better,
 *    outputs are rounded once. Statistics (mean, rstd, lse) and weights are F32; a backend rounds the matrices of linear and
 *    conv to the activations' type (norm and embedding parameters stay F32, and biases but for linear's on cuda: linear.c there).
 *    F16 ends at 65504: what is larger becomes infinite, and so does every gradient behind it. The caller looks for that (train/precision.h).
 *  - Pictures are NHWC. Weights are in Python's layouts: linear [out, in] (or [out, in, 1, 1]), convolution [out, in, kh, kw].
 *  - Outputs are overwritten unless a name says accumulate or beta is not 0; inputs may not overlap outputs unless allowed.
 *  - Gradients of parameters are accumulated into param->g (fp32); a frozen param (g NULL) is left alone.
 *  - A slot cannot fail in its arguments (callers are ours); what fails in the device or in memory sets b->fault,
 *    once, and the slot returns. Callers look at b->fault at the end (nets/ctx.h).
 *  - Results do not depend on the number of threads beyond rounding (1e-5), and are bit-equal for one thread count. */
#ifndef PDMBOOTH_BACKEND_H
#define PDMBOOTH_BACKEND_H

#include "base/err.h"
#include "base/param.h"
#include "base/rng.h"
#include "base/tensor.h"

struct backend_ops;

/* Memory that slots take beside the tensors they are given, in bytes of whole pages. */
struct backend_need {
  size_t scratch; /* the largest, kept between calls */
  size_t packed;  /* copies of frozen parameters in a layout of the backend's own, kept as long as the parameters */
};

/* Of a device with memory of its own, in bytes. */
struct backend_memory {
  size_t total, free; /* of the device; free: now, for whoever asks first */
  size_t own, peak;   /* taken through this backend, and the most that ever was */
};

struct backend {
  const struct backend_ops *op;
  int threads;      /* wanted; at least 1 */
  int device;       /* of several of a kind, the one wanted, from 0 ("cuda:1") */
  bool tf32;        /* products of F32 round their factors to 10 bits; false when opened, backend_use_tf32 */
  bool one_by_one;  /* parts are not recorded (below: part_begin); false when opened */
  struct err fault; /* first failure since it was cleared */
  char note[384];        /* what people should know and is no failure, a sentence without its end; whoever tells it clears it */
  char passed_over[256]; /* "auto": why a faster engine was not taken, a sentence without its end; "": none was */
  void *state;      /* owned by the backend */
  /* What the count backend adds up; others leave it alone. */
  double flops, bytes;
  struct backend *like;     /* count: also rehearses on this one; NULL: none. Not owned */
  struct backend_need need; /* of the calls since rehearse(b, true) */
};

struct conv_shape {
  int kh, kw, stride;
  int pad_top, pad_left, pad_bottom, pad_right;
};

struct attention_shape {
  int heads;   /* last dim = heads * head size */
  float scale; /* on the scores, normally 1 / sqrt(head size) */
  bool causal; /* query i sees keys 0..i */
};

enum activation { ACT_SILU, ACT_GELU /* erf */, ACT_QUICK_GELU /* x sigmoid(1.702 x) */ };

/* Marks that a caller may have standing at once (below: send); backend_finish makes the last one anew. */
enum { BACKEND_MARKS = 8 };

/* torch.optim.AdamW with bias correction at step (from 1). grad_scale multiplies g first (clipping). */
struct adamw {
  float lr, beta1, beta2, eps, weight_decay, grad_scale;
  int step;
};

/* Moments of a flat block of `count` elements in 8 bits: moments8.h says what the bytes mean. Device memory. */
struct moments8 {
  uint8_t *m, *v;           /* [count]; v: of the second moments' roots */
  float *m_scale, *v_scale; /* [count / 256, rounded up]: of elements 0..255, 256..511, ... of the flat block */
  int64_t count;
};

struct backend_ops {
  const char *name;

  /* --- life and memory ------------------------------------------------------------------------------------------ */
  bool (*open)(struct backend *b, struct err *e); /* b->threads is set; may lower it */
  void (*close)(struct backend *b);
  const char *(*describe)(const struct backend *b); /* one line for people, static or owned by b; NULL: the name is enough */
  bool host_memory;                                 /* what alloc gives can be read and written by the host as it is */
  /* Device memory, zeroed, 64-byte aligned, huge pages where possible. NULL and *e on failure. */
  void *(*alloc)(struct backend *b, size_t bytes, struct err *e);
  void (*release)(struct backend *b, void *p, size_t bytes);
  void (*upload)(struct backend *b, void *dst, const void *src, size_t bytes);   /* host to device */
  void (*download)(struct backend *b, void *dst, const void *src, size_t bytes); /* device to host; waits for what is under way */
  void (*move)(struct backend *b, void *dst, const void *src, size_t bytes);     /* device to device, may overlap */
  void (*drop_pack)(struct backend *b, struct param *p);                         /* releases p->pack */
  size_t (*taken)(size_t bytes);                                                 /* what alloc takes of the machine for so many bytes */
  /* What the device has and what is taken of it. NULL where host_memory. False and *e where the device does not say. */
  bool (*memory)(struct backend *b, struct backend_memory *out, struct err *e);
  /* on: begins anew with need; from here on slots compute nothing, look at no memory that they are given, and only add up what they would
     take. Packs that were noted must be dropped before the parameters are used. NULL: slots take nothing beside their tensors. */
  void (*rehearse)(struct backend *b, bool on);
  bool (*has_tf32)(const struct backend *b); /* whether b->tf32 would change anything; NULL: no */
  /* What a backend finds out by measuring, and then keeps to: which algorithm does a shape. It measures what a rehearsal shows it, then alone, for the sake of
     memory, and each shape once; what stands is never changed. As text, for the same device and libraries only. NULL: it measures nothing.
     choices: all that stands, to be freed by the caller; NULL and *e. take_choices: what is in the text stands, where nothing stands yet. False: it is not for this
     device, and nothing was taken; or it is damaged, and its sound lines were. no_more: else nothing is measured any more: a run that goes on computes as it began. */
  char *(*choices)(struct backend *b, struct err *e);
  bool (*take_choices)(struct backend *b, const char *text, bool no_more);

  /* --- parts: calls that are made again and again --------------------------------------------------------------------------------------
     A part is the calls of slots between part_begin and part_end. They are the same every time for the same key: operations, shapes, addresses and numbers
     that the host gives; what may differ is the contents of memory and the values of trained parameters (the versions of frozen ones belong to the
     key). No upload, download or copy to and from the host's memory is among them, and what slots leave on the host is not looked at.
     part_begin: true: make the calls, then part_end; false: they have been made, from a recording.
     part_end: false: nothing was computed: make the calls once more, without part_begin.
     Parts are not within one another. NULL: there are none. A recording that fails is no fault, there are none from then on, and b->note says so. */
  bool (*part_begin)(struct backend *b, const void *key, size_t bytes);
  bool (*part_end)(struct backend *b);

  /* --- values that lie in the host's memory (nets/lodge.h) --------------------------------------------------------------------------
     Copies between that memory and the device go beside what is computed, one after the other in the order of the calls. The host does not
     wait for them. A mark is one of BACKEND_MARKS, chosen by the caller; made anew, it forgets what it stood for. Where the device's memory is
     the host's, a copy is done when the call returns. */
  void *(*host_alloc)(struct backend *b, size_t bytes, struct err *e); /* contents undefined, 64-byte aligned. NULL and *e on failure */
  void (*host_release)(struct backend *b, void *p, size_t bytes);      /* no copy may be under way */
  size_t (*host_taken)(size_t bytes);                                  /* what host_alloc takes of the machine for so many bytes */
  void (*mark)(struct backend *b, int mark);                           /* stands for everything computed that was called until now */
  /* dst on the device, src of host_alloc, and the other way round. Begins when what the mark `after` stands for is done; mark then stands for its end. */
  void (*send)(struct backend *b, int mark, void *dst, const void *src, size_t bytes, int after);
  void (*fetch)(struct backend *b, int mark, void *dst, const void *src, size_t bytes, int after);
  void (*follow)(struct backend *b, int mark); /* what is computed by later calls begins after it */
  void (*wait)(struct backend *b, int mark);   /* the host waits for it */
  /* Bytes of a copy of p, of `type`, that linear and conv with activations of that type can do with in place of p->w; 0: they use p->w. */
  size_t (*copy_bytes)(const struct param *p, enum dtype type);
  void (*copy_fill)(struct backend *b, struct param *p, const float *values); /* p->copy, of p->copied, = values [count] on the device */

  /* --- element-wise --------------------------------------------------------------------------------------------- */
  void (*fill)(struct backend *b, struct tensor *y, float value);
  void (*cast)(struct backend *b, struct tensor *y, const struct tensor *x); /* same count, other type (F32, BF16, F16) or a copy */
  void (*axpby)(struct backend *b, struct tensor *y, float alpha, const struct tensor *x, float beta); /* y = alpha x + beta y; x may be of another type */
  void (*add)(struct backend *b, struct tensor *y, const struct tensor *a, const struct tensor *c);    /* y = a + c; y may be a or c */
  void (*act)(struct backend *b, struct tensor *y, const struct tensor *x, enum activation kind);      /* y may be x */
  /* dx = dy f'(x); dx may be dy */
  void (*act_bwd)(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x, enum activation kind);
  /* x [m, 2c] -> y [m, c] = x[:, :c] * gelu(x[:, c:]), erf form; diffusers' GEGLU */
  void (*geglu)(struct backend *b, struct tensor *y, const struct tensor *x);
  void (*geglu_bwd)(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x);

  /* --- shapes --------------------------------------------------------------------------------------------------- */
  void (*add_rows)(struct backend *b, struct tensor *y, const struct tensor *x,
                   const struct tensor *e);                                        /* y[n,r,c] = x[n,r,c] + e[n,c]; y may be x */
  void (*sum_rows)(struct backend *b, struct tensor *de, const struct tensor *dy); /* de[n,c] = sum over r of dy[n,r,c] */
  void (*concat)(struct backend *b, struct tensor *y, const struct tensor *x1, const struct tensor *x2); /* along the last dim */
  void (*split)(struct backend *b, struct tensor *x1, struct tensor *x2, const struct tensor *y); /* the reverse; x1 or x2 may be NULL */
  /* nearest, x [n,h,w,c] to y's h and w: source index floor(i * in / out), torch.nn.functional.interpolate(mode="nearest") */
  void (*upsample)(struct backend *b, struct tensor *y, const struct tensor *x);
  void (*upsample_bwd)(struct backend *b, struct tensor *dx, const struct tensor *dy);
  /* ids [n, t] I32; y [n, t, c] = table[id] + position[t] */
  void (*embed)(struct backend *b, struct tensor *y, const struct tensor *ids, const struct param *table, const struct param *position);
  void (*embed_bwd)(struct backend *b, struct param *table, struct param *position, const struct tensor *ids, const struct tensor *dy);

  /* --- linear and convolution ----------------------------------------------------------------------------------- */
  /* x [m, k], w [n, k]: y [m, n] = alpha x w^T + bias + beta y; bias may be NULL */
  void (*linear)(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, struct param *bias, float alpha, float beta);
  void (*linear_dx)(struct backend *b, struct tensor *dx, const struct tensor *dy, struct param *w, float alpha,
                    float beta); /* dx = alpha dy w + beta dx */
  /* w->g += alpha dy^T x, bias->g += column sums of dy; either may be NULL or frozen */
  void (*linear_dw)(struct backend *b, struct param *w, struct param *bias, const struct tensor *x, const struct tensor *dy, float alpha);
  void (*conv)(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, struct param *bias,
               const struct conv_shape *s);
  void (*conv_dx)(struct backend *b, struct tensor *dx, const struct tensor *dy, struct param *w, const struct conv_shape *s);
  void (*conv_dw)(struct backend *b, struct param *w, struct param *bias, const struct tensor *x, const struct tensor *dy,
                  const struct conv_shape *s);

  /* --- normalisation: two-pass variance; stats F32 --------------------------------------------------------------- */
  /* x [n, rows..., c]; stats [n, groups, 2] = mean, 1/sqrt(var + eps); silu: y = silu(normalised) in the same pass */
  void (*group_norm)(struct backend *b, struct tensor *y, struct tensor *stats, const struct tensor *x, const struct param *gamma,
                     const struct param *beta, int groups, float eps, bool silu);
  void (*group_norm_bwd)(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x, const struct tensor *stats,
                         struct param *gamma, struct param *beta, int groups, bool silu);
  /* x [m, c]; stats [m, 2] */
  void (*layer_norm)(struct backend *b, struct tensor *y, struct tensor *stats, const struct tensor *x, const struct param *gamma,
                     const struct param *beta, float eps);
  void (*layer_norm_bwd)(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x, const struct tensor *stats,
                         struct param *gamma, struct param *beta);

  /* --- attention: never stores the score matrix (ref may, for one row) -------------------------------------------- */
  /* q, o [n, tq, heads d]; k, v [n, tk, heads d]; lse [n, heads, tq] = log sum exp of the scaled scores; lse may be NULL */
  void (*attention)(struct backend *b, struct tensor *o, struct tensor *lse, const struct tensor *q, const struct tensor *k,
                    const struct tensor *v, const struct attention_shape *s);
  void (*attention_bwd)(struct backend *b, struct tensor *dq, struct tensor *dk, struct tensor *dv, const struct tensor *d_o,
                        const struct tensor *o, const struct tensor *lse, const struct tensor *q, const struct tensor *k,
                        const struct tensor *v, const struct attention_shape *s);

  /* --- diffusion and training (F32, whatever the activations' type, unless it says otherwise) ---------------------- */
  /* out [count] standard normals of counter c: elements first.. of its sequence (base/rng.h) */
  void (*normal)(struct backend *b, struct tensor *out, const struct rng_counter *c);
  /* moments [n, h, w, 2z] = mean, logvar (clamped to -30..20): out [n, h, w, z] = scale * (mean + exp(logvar / 2) noise); noise NULL: the mode.
     diffusers' DiagonalGaussianDistribution. */
  void (*posterior)(struct backend *b, struct tensor *out, const struct tensor *moments, const struct tensor *noise, float scale);
  /* Mean squared error per example over the rows that mask selects: pred (of the activations' type), target F32 [n, rows, c], mask F32 [n, rows]
     of 0 and 1 or NULL for all; loss[i] (device memory, [n]) = sum mask (pred - target)^2 / (selected rows * c), 0 where nothing is selected.
     dpred (type of pred; NULL: not wanted) = weight[i] * d loss[i] / d pred; weight: device memory, [n]; NULL without dpred. */
  void (*mse)(struct backend *b, double *loss, struct tensor *dpred, const struct tensor *pred, const struct tensor *target,
              const struct tensor *mask, const float *weight);
  /* *sum += the sum of squares of x [n], both device memory; summed in double, in fixed chunks */
  void (*sum_squares)(struct backend *b, double *sum, const float *x, int64_t n);
  /* w, g [n] F32; m, v [n] F32 or BF16 (moments) */
  void (*adamw)(struct backend *b, float *w, const float *g, struct tensor *m, struct tensor *v, int64_t n, const struct adamw *a);
  /* The same for elements [from, to) of a flat block w, g [s->count], with moments that are read from and rounded to 8 bits. Moments of
     elements outside that share a scale with those inside are rounded anew, their weights stay. */
  void (*adamw8)(struct backend *b, float *w, const float *g, const struct moments8 *s, int64_t from, int64_t to, const struct adamw *a);
};

extern const struct backend_ops backend_ref;
extern const struct backend_ops backend_cpu;
extern const struct backend_ops backend_count;

/* The tables that this build has, best first, NULL at the end; count is not among them. backend.c alone knows what was built
   (HAVE_BACKEND_CPU from the cpu sources being compiled in, HAVE_CUDA). */
extern const struct backend_ops *const backend_list[];

/* The best of them that computes in the host's memory. */
struct backend *backend_open_host(int threads, struct err *e);
/* name: "auto", "cpu", "ref", "cuda", "cuda:1" (the second card); threads 0: all of the machine's. The caller closes it. NULL and *e on failure. */
struct backend *backend_open(const char *name, int threads, struct err *e);
struct backend *backend_open_ops(const struct backend_ops *op, int threads, struct err *e);
/* True for a name that backend_open knows, in this build or another: "auto", "cpu", "ref", "cuda", "cuda:0" to "cuda:63". */
bool backend_name_is_valid(const char *name);
void backend_close(struct backend *b);
/* F32 products may lose bits for speed from here on, where the device can do that: false where it cannot, and nothing changes. */
bool backend_use_tf32(struct backend *b);
/* The host waits until everything is computed that was called until now. */
void backend_finish(struct backend *b);
/* drop_pack for every param of a set; b or s may be NULL. */
void backend_drop_packs(struct backend *b, const struct param_set *s);
/* Static or owned by b: one line that names the engine, instruction set and threads, e.g. "cpu: oneDNN 2.6.3, AVX2, 2 threads". */
const char *backend_describe(const struct backend *b);

#endif
