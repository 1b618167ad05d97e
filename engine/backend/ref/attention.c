/* Attention: torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=scale, is_causal=causal), heads side by side in
 * the last dim, and its gradient.
 *
 * s = scale q k^T, p = softmax(s), o = p v. Backward: dv = p^T do; dp = do v^T; ds = p (dp - rowsum(p dp)); dq = scale ds k;
 * dk = scale ds^T q. For SLICE queries of one head at a time the scores are held: SLICE * tk floats. */
#include "backend/ref/ref.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SLICE = 64 };

struct work {
  const struct attention_shape *s;
  int64_t n, tq, tk, c, d; /* c = heads * d */
  const float *q, *k, *v;  /* [n, tq | tk, c] */
  float *own_q, *own_k, *own_v;
  float *p;    /* [SLICE, tk] */
  float *rows; /* [SLICE, c]; forward: outputs */
};

static bool work_init(struct backend *b, struct work *w, const struct tensor *q, const struct tensor *k, const struct tensor *v,
                      const struct attention_shape *s) {
  *w = (struct work){.s = s, .n = q->dim[0], .tq = q->dim[1], .tk = k->dim[1], .c = q->dim[2], .d = q->dim[2] / s->heads};
  w->q = ref_read(b, q, &w->own_q);
  w->k = ref_read(b, k, &w->own_k);
  w->v = ref_read(b, v, &w->own_v);
  w->p = ref_floats(b, SLICE * w->tk);
  w->rows = ref_floats(b, SLICE * w->c);
  return w->q && w->k && w->v && w->p && w->rows;
}

static void work_release(struct work *w) {
  free(w->own_q);
  free(w->own_k);
  free(w->own_v);
  free(w->p);
  free(w->rows);
}

/* Where one slice lies: offset of its first query and of its first key, in floats; its queries; first lse. */
struct slice {
  int64_t q, k, first, rows, lse;
};

static int64_t slice_count(const struct work *w) {
  return w->n * w->s->heads * ((w->tq + SLICE - 1) / SLICE);
}

static struct slice slice_at(const struct work *w, int64_t i) {
  int64_t slices = (w->tq + SLICE - 1) / SLICE, first = i % slices * SLICE, head = i / slices % w->s->heads, n = i / slices / w->s->heads;
  return (struct slice){.q = (n * w->tq + first) * w->c + head * w->d,
                        .k = n * w->tk * w->c + head * w->d,
                        .first = first,
                        .rows = w->tq - first < SLICE ? w->tq - first : SLICE,
                        .lse = (n * w->s->heads + head) * w->tq + first};
}

/* Keys that query i of the slice sees. */
static int64_t keys_seen(const struct work *w, const struct slice *at, int64_t i) {
  int64_t seen = at->first + i + 1;
  return w->s->causal && seen < w->tk ? seen : w->tk;
}

/* p = exp(scale q k^T - max), 0 where not seen; then divided by its sum. lse [rows] = max + log sum, where it is wanted. */
static void softmax(struct work *w, const struct slice *at, float *lse) {
  memset(w->p, 0, (size_t)(at->rows * w->tk) * sizeof *w->p);
  ref_gemm(at->rows, w->tk, w->d, (struct ref_matrix){w->q + at->q, w->c, 1}, (struct ref_matrix){w->k + at->k, 1, w->c}, w->p, w->tk);
  for (int64_t i = 0; i < at->rows; i++) {
    float *p = w->p + i * w->tk, max = -INFINITY;
    int64_t seen = keys_seen(w, at, i);
    for (int64_t j = 0; j < seen; j++) max = fmaxf(max, p[j] *= w->s->scale);
    double sum = 0;
    for (int64_t j = 0; j < seen; j++) sum += p[j] = expf(p[j] - max);
    for (int64_t j = 0; j < w->tk; j++) p[j] = j < seen ? p[j] / (float)sum : 0;
    if (lse) lse[i] = max + (float)log(sum);
  }
}

void ref_attention(struct backend *b, struct tensor *o, struct tensor *lse, const struct tensor *q, const struct tensor *k,
                   const struct tensor *v, const struct attention_shape *s) {
  struct work w;
  bool ready = work_init(b, &w, q, k, v, s);
  for (int64_t i = 0; ready && i < slice_count(&w); i++) {
    struct slice at = slice_at(&w, i);
    softmax(&w, &at, lse ? (float *)lse->data + at.lse : NULL);
    memset(w.rows, 0, (size_t)(at.rows * w.d) * sizeof *w.rows);
    ref_gemm(at.rows, w.d, w.tk, (struct ref_matrix){w.p, w.tk, 1}, (struct ref_matrix){w.v + at.k, w.c, 1}, w.rows, w.d);
    for (int64_t r = 0; r < at.rows; r++) ref_store(o, at.q + r * w.c, w.d, w.rows + r * w.d);
  }
  work_release(&w);
}

/* ds [rows, tk] (in: dp) = scale p (dp - rowsum(p dp)) */
static void softmax_bwd(const struct work *w, const struct slice *at, float *ds) {
  for (int64_t i = 0; i < at->rows; i++) {
    const float *p = w->p + i * w->tk;
    float *d = ds + i * w->tk;
    double sum = 0;
    for (int64_t j = 0; j < w->tk; j++) sum += (double)p[j] * d[j];
    for (int64_t j = 0; j < w->tk; j++) d[j] = w->s->scale * p[j] * (d[j] - (float)sum);
  }
}

/* Adds the gradients of one slice to dq, dk and dv; ds: scratch [SLICE, tk]. */
static void slice_bwd(struct work *w, const struct slice *at, const float *d_o, float *dq, float *dk, float *dv, float *ds) {
  int64_t m = at->rows, tk = w->tk, d = w->d, c = w->c;
  struct ref_matrix rows_do = {d_o + at->q, c, 1};
  softmax(w, at, NULL);
  ref_gemm(tk, d, m, (struct ref_matrix){w->p, 1, tk}, rows_do, dv + at->k, c);
  memset(ds, 0, (size_t)(m * tk) * sizeof *ds);
  ref_gemm(m, tk, d, rows_do, (struct ref_matrix){w->v + at->k, 1, c}, ds, tk);
  softmax_bwd(w, at, ds);
  ref_gemm(m, d, tk, (struct ref_matrix){ds, tk, 1}, (struct ref_matrix){w->k + at->k, c, 1}, dq + at->q, c);
  ref_gemm(tk, d, m, (struct ref_matrix){ds, 1, tk}, (struct ref_matrix){w->q + at->q, c, 1}, dk + at->k, c);
}

/* The probabilities and the row sums are computed anew from q and k, so o and lse are not needed here. */
void ref_attention_bwd(struct backend *b, struct tensor *dq, struct tensor *dk, struct tensor *dv, const struct tensor *d_o,
                       const struct tensor *o, const struct tensor *lse, const struct tensor *q, const struct tensor *k,
                       const struct tensor *v, const struct attention_shape *s) {
  (void)o;
  (void)lse;
  struct work w;
  bool ready = work_init(b, &w, q, k, v, s);
  int64_t nq = tensor_count(q), nk = tensor_count(k);
  float *own_do, *sum = ref_floats(b, nq + 2 * nk), *ds = ref_floats(b, SLICE * w.tk);
  const float *grad = ref_read(b, d_o, &own_do);
  if (ready && sum && ds && grad) {
    for (int64_t i = 0; i < slice_count(&w); i++) {
      struct slice at = slice_at(&w, i);
      slice_bwd(&w, &at, grad, sum, sum + nq, sum + nq + nk, ds);
    }
    ref_store(dq, 0, nq, sum);
    ref_store(dk, 0, nk, sum + nq);
    ref_store(dv, 0, nk, sum + nq + nk);
  }
  free(own_do);
  free(sum);
  free(ds);
  work_release(&w);
}
