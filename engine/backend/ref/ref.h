/* The plain backend: every slot in plain C, short and obviously right, single-threaded. Other backends may use its functions
 * for slots that they do not override, on host memory.
 *
 * Tensors are read as floats, whatever their type, and rounded once when they are written. */
#ifndef PDMBOOTH_BACKEND_REF_H
#define PDMBOOTH_BACKEND_REF_H

#include "backend/backend.h"

/* --- helpers (util.c, gemm.c) --------------------------------------------------------------------------------------- */

float ref_get(const struct tensor *t, int64_t i);       /* element i of a float tensor */
void ref_set(struct tensor *t, int64_t i, float value); /* rounded to t's type */
/* Elements [first, first + n) to and from floats. */
void ref_load(float *out, const struct tensor *t, int64_t first, int64_t n);
void ref_store(struct tensor *t, int64_t first, int64_t n, const float *x);
/* malloc of n floats, zeroed; NULL and b->fault when there is no memory. */
float *ref_floats(struct backend *b, int64_t n);
/* All elements as floats: t's own memory where it is F32, else a copy in *owned, which the caller frees. NULL and b->fault as above. */
const float *ref_read(struct backend *b, const struct tensor *t, float **owned);
/* Values of w as used beside activations of the type: rounded to it. Memory as for ref_read. */
const float *ref_weights(struct backend *b, const struct param *w, enum dtype type, float **owned);
/* True where the gradient of p is wanted. */
bool ref_trained(const struct param *p);
/* p->g[j] += sum over rows of x [rows, c] */
void ref_add_column_sums(struct param *p, const float *x, int64_t rows, int64_t c);

/* Element [i, j] at p[i * row + j * col]. */
struct ref_matrix {
  const float *p;
  int64_t row, col;
};
/* c [m, n] (rows ldc apart) += a [m, k] b [k, n] */
void ref_gemm(int64_t m, int64_t n, int64_t k, struct ref_matrix a, struct ref_matrix b, float *c, int64_t ldc);

float ref_act_value(float x, enum activation kind);
float ref_act_slope(float x, enum activation kind);

/* --- slots, as in backend.h ------------------------------------------------------------------------------------------- */

bool ref_open(struct backend *b, struct err *e);
void ref_close(struct backend *b);
const char *ref_describe(const struct backend *b);
size_t ref_taken(size_t bytes); /* whole pages, huge ones from 2 MiB on */
void *ref_alloc(struct backend *b, size_t bytes, struct err *e);
void ref_release(struct backend *b, void *p, size_t bytes);
void ref_copy(struct backend *b, void *dst, const void *src, size_t bytes); /* upload, download, move */
void ref_drop_pack(struct backend *b, struct param *p);
void ref_mark(struct backend *b, int mark); /* mark, follow, wait */
void ref_copy_at_once(struct backend *b, int mark, void *dst, const void *src, size_t bytes, int after); /* send, fetch */
size_t ref_copy_bytes(const struct param *p, enum dtype type);
void ref_copy_fill(struct backend *b, struct param *p, const float *values);

void ref_fill(struct backend *b, struct tensor *y, float value);
void ref_cast(struct backend *b, struct tensor *y, const struct tensor *x);
void ref_axpby(struct backend *b, struct tensor *y, float alpha, const struct tensor *x, float beta);
void ref_add(struct backend *b, struct tensor *y, const struct tensor *a, const struct tensor *c);
void ref_act(struct backend *b, struct tensor *y, const struct tensor *x, enum activation kind);
void ref_act_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x, enum activation kind);
void ref_geglu(struct backend *b, struct tensor *y, const struct tensor *x);
void ref_geglu_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x);

void ref_add_rows(struct backend *b, struct tensor *y, const struct tensor *x, const struct tensor *e);
void ref_sum_rows(struct backend *b, struct tensor *de, const struct tensor *dy);
void ref_concat(struct backend *b, struct tensor *y, const struct tensor *x1, const struct tensor *x2);
void ref_split(struct backend *b, struct tensor *x1, struct tensor *x2, const struct tensor *y);
void ref_upsample(struct backend *b, struct tensor *y, const struct tensor *x);
void ref_upsample_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy);
void ref_embed(struct backend *b, struct tensor *y, const struct tensor *ids, const struct param *table, const struct param *position);
void ref_embed_bwd(struct backend *b, struct param *table, struct param *position, const struct tensor *ids, const struct tensor *dy);

void ref_linear(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, struct param *bias, float alpha, float beta);
void ref_linear_dx(struct backend *b, struct tensor *dx, const struct tensor *dy, struct param *w, float alpha, float beta);
void ref_linear_dw(struct backend *b, struct param *w, struct param *bias, const struct tensor *x, const struct tensor *dy, float alpha);
void ref_conv(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, struct param *bias, const struct conv_shape *s);
void ref_conv_dx(struct backend *b, struct tensor *dx, const struct tensor *dy, struct param *w, const struct conv_shape *s);
void ref_conv_dw(struct backend *b, struct param *w, struct param *bias, const struct tensor *x, const struct tensor *dy,
                 const struct conv_shape *s);

void ref_group_norm(struct backend *b, struct tensor *y, struct tensor *stats, const struct tensor *x, const struct param *gamma,
                    const struct param *beta, int groups, float eps, bool silu);
void ref_group_norm_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x, const struct tensor *stats,
                        struct param *gamma, struct param *beta, int groups, bool silu);
void ref_layer_norm(struct backend *b, struct tensor *y, struct tensor *stats, const struct tensor *x, const struct param *gamma,
                    const struct param *beta, float eps);
void ref_layer_norm_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x, const struct tensor *stats,
                        struct param *gamma, struct param *beta);

void ref_attention(struct backend *b, struct tensor *o, struct tensor *lse, const struct tensor *q, const struct tensor *k,
                   const struct tensor *v, const struct attention_shape *s);
void ref_attention_bwd(struct backend *b, struct tensor *dq, struct tensor *dk, struct tensor *dv, const struct tensor *d_o,
                       const struct tensor *o, const struct tensor *lse, const struct tensor *q, const struct tensor *k,
                       const struct tensor *v, const struct attention_shape *s);

void ref_normal(struct backend *b, struct tensor *out, const struct rng_counter *c);
void ref_posterior(struct backend *b, struct tensor *out, const struct tensor *moments, const struct tensor *noise, float scale);
void ref_mse(struct backend *b, double *loss, struct tensor *dpred, const struct tensor *pred, const struct tensor *target,
             const struct tensor *mask, const float *weight);
void ref_sum_squares(struct backend *b, double *sum, const float *x, int64_t n);
void ref_adamw(struct backend *b, float *w, const float *g, struct tensor *m, struct tensor *v, int64_t n, const struct adamw *a);
void ref_adamw8(struct backend *b, float *w, const float *g, const struct moments8 *s, int64_t from, int64_t to, const struct adamw *a);

#endif
