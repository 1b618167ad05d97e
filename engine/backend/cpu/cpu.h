/* The cpu backend: ref's table with the slots that matter for speed overridden.
 *
 * Products run on tiles of our own (gemm.c) or in oneDNN (dnnl.c), whichever measured faster on the instruction set at
 * hand; everything else on kernels.h. Work is shared out in pieces whose size does not depend on the number of threads,
 * and each piece is summed in one order: results are bit-equal for any thread count. */
#ifndef PDMBOOTH_BACKEND_CPU_CPU_H
#define PDMBOOTH_BACKEND_CPU_CPU_H

#include "backend/backend.h"
#include "kernels.h"

struct dnnl; /* dnnl.c, or dnnl_none.c in a build without oneDNN */

/* Grown to the largest need. */
struct cpu_buffer {
  void *p;
  size_t bytes;
  size_t rehearsed; /* the largest need of a rehearsal */
};

/* adamw8.c: from the upper half of a ratio's bits to the nearest number of a map. */
enum { MOMENT_FIRST_BUCKET = 104 << 7 /* 2^-23 */, MOMENT_BUCKETS = 0x3f80 - MOMENT_FIRST_BUCKET + 1 };
struct moment_lookup {
  float tie[256]; /* between number k and the next */
  uint8_t first[MOMENT_BUCKETS];
};

struct cpu {
  const struct kernels *k;
  struct dnnl *dnnl;  /* NULL: not in this build, or unusable */
  bool wide_vectors;  /* AVX-512 */
  bool bf16_products; /* AVX512_BF16 or AMX */
  bool rehearsing;    /* backend.h: rehearse */
  struct cpu_buffer scratch, scratch2;
  struct moment_lookup lookup_m, lookup_v;
  float value_m[256]; /* of each byte, at scale 1 */
  char text[128];
};

static inline struct cpu *cpu_of(const struct backend *b) {
  return b->state;
}

/* Scratch of the running call: n floats, 64-byte aligned, contents undefined, gone with the next call of a slot.
   NULL and b->fault where there is no memory; NULL in a rehearsal, too: a slot that gets it returns, one that needs none asks `rehearsing`.
   Kept between calls: a steady step asks the system for nothing. */
float *cpu_scratch(struct backend *b, int64_t n);
float *cpu_scratch2(struct backend *b, int64_t n); /* another, for slots that other slots call */
static inline int64_t cpu_round(int64_t n) {
  return (n + 15) / 16 * 16;
}

enum { CPU_SERIAL = 32768 }; /* elements below which starting threads costs more than it saves */

/* n floats of t (F32, BF16 or F16) from element `at` on: in place, or widened into buffer. */
static inline const float *cpu_in(const struct kernels *k, const struct tensor *t, int64_t at, int64_t n, float *buffer) {
  if (t->type == DT_F32) return (const float *)t->data + at;
  k->widen(buffer, (const uint16_t *)t->data + at, n, t->type);
  return buffer;
}

/* Number of the calling thread in its team; a build without OpenMP has one. */
#ifdef _OPENMP
#include <omp.h>
static inline int cpu_thread(void) {
  return omp_get_thread_num();
}
#else
static inline int cpu_thread(void) {
  return 0;
}
#endif

/* --- products (gemm.c) -------------------------------------------------------------------------------------------------- */

enum { CPU_MAX_TAPS = 9 }; /* larger kernels are left to ref */

/* Pixels under the kernel: row m of A for tap t is the pixel that output pixel m sees there, or zeros. */
struct geometry {
  int64_t ih, iw, oh, ow; /* the picture that is read; the one that is written */
  struct conv_shape s;
  bool transposed; /* data gradient: "read" is the forward output */
};

/* out [m, n] = sum over taps of A_tap [m, k] B_tap [k, n] */
struct product {
  int64_t m, n, k;
  int taps;
  const float *a;           /* rows, k floats each */
  const struct geometry *g; /* NULL: row m of A is a + m k */
  const float *zeros;       /* k of them; used with g */
  const float *b;           /* packed: see cpu_pack */
  const int64_t *map;       /* output row of row m; NULL: m */
  struct tile_out out;
};

void cpu_product(struct backend *b, const struct product *p);

/* B of a product from plain weights: element [tap][k][n] is w[k sk + n sn + tap], rounded to the values of `type`. */
struct packing {
  const float *w;
  int64_t k, n, sk, sn;
  int taps;
  enum dtype type;
};

int64_t cpu_pack_floats(const struct backend *b, const struct packing *p);
void cpu_pack(struct backend *b, float *to, const struct packing *p);

/* g [co, ci, taps] += alpha sum over rows of dy [rows, co] x_tap [rows, ci]; scratch: cpu_outer_floats */
struct outer {
  int64_t rows, co, ci;
  int taps;
  const struct tensor *x, *dy;
  const struct geometry *g; /* NULL: x_tap is x */
  float *out;
  float alpha;
};

void cpu_outer(struct backend *b, const struct outer *o);

/* --- helpers (linear.c) ---------------------------------------------------------------------------------------------------- */

int64_t cpu_widen_floats(const struct tensor *x); /* scratch that cpu_widen wants */
const float *cpu_widen(struct backend *b, float *to, const struct tensor *x);
void cpu_bias_grad(struct backend *b, struct param *bias, const struct tensor *dy);

/* --- oneDNN (dnnl.c) -------------------------------------------------------------------------------------------------------- */

void dnnl_open(struct backend *b);
void dnnl_close(struct backend *b);
const char *dnnl_name(const struct backend *b); /* "oneDNN 2.6.3", NULL: not there */
/* Row-major c [m, n] = alpha op(a) op(b) + beta c; ta: a is [k, m], tb: b is [n, k]. */
struct gemm {
  bool ta, tb;
  int64_t m, n, k;
  const float *a, *b;
  float alpha, beta;
  float *c;
};
void dnnl_gemm(struct backend *b, const struct gemm *g); /* only where dnnl is there */

/* Each returns false where the call is not one for the library; gemm.c does it then. */
bool dnnl_conv(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, const float *bias, const struct conv_shape *s);
bool dnnl_conv_dx(struct backend *b, struct tensor *dx, const struct tensor *dy, struct param *w, const struct conv_shape *s);
bool dnnl_conv_dw(struct backend *b, struct param *w, const struct tensor *x, const struct tensor *dy, const struct conv_shape *s);
bool dnnl_linear(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, const float *bias);
bool dnnl_linear_dx(struct backend *b, struct tensor *dx, const struct tensor *dy, struct param *w);
bool dnnl_linear_dw(struct backend *b, struct param *w, const struct tensor *x, const struct tensor *dy);

/* --- slots ---------------------------------------------------------------------------------------------------------------- */

void cpu_linear(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, struct param *bias, float alpha, float beta);
void cpu_linear_dx(struct backend *b, struct tensor *dx, const struct tensor *dy, struct param *w, float alpha, float beta);
void cpu_linear_dw(struct backend *b, struct param *w, struct param *bias, const struct tensor *x, const struct tensor *dy, float alpha);
void cpu_conv(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, struct param *bias, const struct conv_shape *s);
void cpu_conv_dx(struct backend *b, struct tensor *dx, const struct tensor *dy, struct param *w, const struct conv_shape *s);
void cpu_conv_dw(struct backend *b, struct param *w, struct param *bias, const struct tensor *x, const struct tensor *dy,
                 const struct conv_shape *s);
void cpu_drop_pack(struct backend *b, struct param *p);
void cpu_fill(struct backend *b, struct tensor *y, float value);
void cpu_cast(struct backend *b, struct tensor *y, const struct tensor *x);
void cpu_axpby(struct backend *b, struct tensor *y, float alpha, const struct tensor *x, float beta);
void cpu_add(struct backend *b, struct tensor *y, const struct tensor *a, const struct tensor *c);
void cpu_act(struct backend *b, struct tensor *y, const struct tensor *x, enum activation kind);
void cpu_act_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x, enum activation kind);
void cpu_geglu(struct backend *b, struct tensor *y, const struct tensor *x);
void cpu_geglu_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x);
void cpu_add_rows(struct backend *b, struct tensor *y, const struct tensor *x, const struct tensor *e);
void cpu_sum_rows(struct backend *b, struct tensor *de, const struct tensor *dy);
void cpu_concat(struct backend *b, struct tensor *y, const struct tensor *x1, const struct tensor *x2);
void cpu_split(struct backend *b, struct tensor *x1, struct tensor *x2, const struct tensor *y);
void cpu_upsample(struct backend *b, struct tensor *y, const struct tensor *x);
void cpu_upsample_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy);
void cpu_group_norm(struct backend *b, struct tensor *y, struct tensor *stats, const struct tensor *x, const struct param *gamma,
                    const struct param *beta, int groups, float eps, bool silu);
void cpu_group_norm_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x, const struct tensor *stats,
                        struct param *gamma, struct param *beta, int groups, bool silu);
void cpu_layer_norm(struct backend *b, struct tensor *y, struct tensor *stats, const struct tensor *x, const struct param *gamma,
                    const struct param *beta, float eps);
void cpu_layer_norm_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x, const struct tensor *stats,
                        struct param *gamma, struct param *beta);
void cpu_sum_squares(struct backend *b, double *sum, const float *x, int64_t n);
void cpu_adamw(struct backend *b, float *w, const float *g, struct tensor *m, struct tensor *v, int64_t count, const struct adamw *a);
void cpu_moments_open(struct cpu *c);
void cpu_adamw8(struct backend *b, float *w, const float *g, const struct moments8 *s, int64_t from, int64_t to, const struct adamw *a);
void cpu_normal(struct backend *b, struct tensor *out, const struct rng_counter *c);
void cpu_attention(struct backend *b, struct tensor *o, struct tensor *lse, const struct tensor *q, const struct tensor *k,
                   const struct tensor *v, const struct attention_shape *s);
void cpu_attention_bwd(struct backend *b, struct tensor *dq, struct tensor *dk, struct tensor *dv, const struct tensor *d_o,
                       const struct tensor *o, const struct tensor *lse, const struct tensor *q, const struct tensor *k,
                       const struct tensor *v, const struct attention_shape *s);

#endif
