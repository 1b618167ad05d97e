/* Attention without a score matrix (Dao, "FlashAttention-2", 2023), on the tiles of gemm.inc.
 *
 * Forward: a panel of nr queries lies across the lanes, so that maximum and sum need no sideways adding; the tile gives
 * s [keys, nr] = K q^T and then o [d, nr] += V^T p. Backward: nr keys lie across the lanes, and for each block of queries
 * p and ds are made again from lse; dK and dV of the panel stay at hand, dQ is added up in one place for each head, in the
 * order of the keys. No two threads write to one place.
 * Scores carry the factor log2 e, so that exp is 2^x. */
#include "cpu.h"

#include <math.h>

/* BACK_QUERIES: a multiple of every mr, so that blocks of dQ do not touch each other. */
enum { KEYS = 128, QUERIES = 64, BACK_KEYS = 64, BACK_QUERIES = 96 };

static const float LOG2E = 1.44269504f, LN2 = 0.693147181f;
static int64_t least(int64_t a, int64_t b) {
  return a < b ? a : b;
}
static int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/* One head of a tensor [n, tokens, heads d]: row i at element first + i * stride. */
struct head {
  const struct tensor *t;
  int64_t first, stride;
};

static struct head head_of(const struct tensor *t, int64_t item, int heads) {
  int64_t n = item / heads, c = tensor_last(t);
  return (struct head){t, n * t->dim[1] * c + item % heads * (c / heads), c};
}

enum { STRIP = 64 }; /* elements of a head that are copied at a time */

/* n elements of a row from element i on: in place, or widened into buffer. */
static const float *head_row(const struct kernels *k, const struct head *h, int64_t row, int64_t i, int64_t n, float *buffer) {
  return cpu_in(k, h->t, h->first + row * h->stride + i, n, buffer);
}

static void head_put(const struct kernels *k, const struct head *h, int64_t row, int64_t i, int64_t n, const float *x) {
  int64_t at = h->first + row * h->stride + i;
  if (h->t->type == DT_F32)
    memcpy((float *)h->t->data + at, x, (size_t)n * sizeof *x);
  else
    k->narrow((uint16_t *)h->t->data + at, x, n, h->t->type);
}

/* to [rows, d] */
static void copy_rows(const struct kernels *k, float *to, const struct head *h, int64_t rows, int64_t d, float scale) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t i = 0; i < d; i += STRIP) {
      float buffer[STRIP];
      int64_t n = least(STRIP, d - i);
      k->axpby(to + r * d + i, scale, head_row(k, h, r, i, n, buffer), 0, n);
    }
}

/* to [d, count], rows ld apart: lane j is row first + j, zeros from row `rows` on; count at most KERNEL_MAX_NR */
static void copy_transposed(const struct kernels *k, float *to, int64_t ld, int64_t count, const struct head *h, int64_t first,
                            int64_t rows, int64_t d, float scale) {
  static const float zeros[STRIP];
  for (int64_t i0 = 0; i0 < d; i0 += STRIP) {
    float buffer[KERNEL_MAX_NR][STRIP];
    const float *row[KERNEL_MAX_NR];
    int64_t n = least(STRIP, d - i0);
    for (int64_t j = 0; j < count; j++) row[j] = first + j < rows ? head_row(k, h, first + j, i0, n, buffer[j]) : zeros;
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; j < count; j++) to[(i0 + i) * ld + j] = scale * row[j][i];
  }
}

/* to [d, ld]: column r = row r; zeros up to ld */
static void copy_columns(const struct kernels *k, float *to, int64_t ld, const struct head *h, int64_t rows, int64_t d) {
  for (int64_t r = 0; r < ld; r += 16) copy_transposed(k, to + r, ld, 16, h, r, rows, d, 1);
}

/* to [ceil((rows - first) / nr)][d][nr]: lanes are rows from `first` on; zeros behind the last */
static void copy_lanes(const struct kernels *k, float *to, const struct head *h, int64_t first, int64_t rows, int64_t d, float scale) {
  for (int64_t r = first; r < rows; r += k->nr, to += d * k->nr) copy_transposed(k, to, k->nr, k->nr, h, r, rows, d, scale);
}

/* to [ceil(d / nr)][padded][nr]: lanes are elements of a row; zeros behind the last row */
static void copy_panels(const struct kernels *k, float *to, const struct head *h, int64_t rows, int64_t padded, int64_t d) {
  for (int64_t i = 0; i < d; i += k->nr, to += padded * k->nr) {
    int64_t n = least(k->nr, d - i);
    memset(to, 0, (size_t)(padded * k->nr) * sizeof *to);
    for (int64_t r = 0; r < rows; r++) {
      float buffer[KERNEL_MAX_NR];
      memcpy(to + r * k->nr, head_row(k, h, r, i, n, buffer), (size_t)n * sizeof *to);
    }
  }
}

/* The reverse of copy_transposed for rows first.. of count, times scale[j]. */
static void put_transposed(const struct kernels *k, const struct head *h, int64_t first, int64_t count, int64_t d, const float *from,
                           const float *scale) {
  for (int64_t j = 0; j < count; j++)
    for (int64_t i0 = 0; i0 < d; i0 += STRIP) {
      float row[STRIP];
      int64_t n = least(STRIP, d - i0);
      for (int64_t i = 0; i < n; i++) row[i] = from[(i0 + i) * k->nr + j] * scale[j];
      head_put(k, h, first + j, i0, n, row);
    }
}

/* t [rows rounded up to tiles, nr] (+)= a [rows, depth] (rows ld apart) times b [depth, nr] */
static void tiles(const struct kernels *k, const float *a, int64_t ld, int64_t rows, int64_t depth, const float *b, float *t, bool first) {
  for (int64_t r = 0; r < rows; r += k->mr) {
    const float *row[KERNEL_MAX_MR];
    for (int i = 0; i < k->mr; i++) row[i] = a + least(r + i, rows - 1) * ld;
    k->tile(row, depth, b, t + r * k->nr, first);
  }
}

/* Sizes that both directions use. Row strides keep clear of powers of two, whose rows would crowd each other out. */
struct shape {
  const struct kernels *k;
  const struct attention_shape *s;
  int64_t tq, tk, d;
  int64_t lq, lk;   /* leading dims of transposed copies */
  int64_t d_tiles;  /* d in whole tiles */
  int64_t d_panels; /* d in panels */
};

static struct shape shape_of(struct backend *b, const struct tensor *q, const struct tensor *k, const struct attention_shape *s) {
  struct shape h = {.k = cpu_of(b)->k, .s = s, .tq = q->dim[1], .tk = k->dim[1], .d = tensor_last(q) / s->heads};
  h.lq = ceil_div(h.tq, 16) * 16 + 16;
  h.lk = ceil_div(h.tk, 16) * 16 + 16;
  h.d_tiles = ceil_div(h.d, h.k->mr) * h.k->mr;
  h.d_panels = ceil_div(h.d, h.k->nr);
  return h;
}

/* --- forward ---------------------------------------------------------------------------------------------------------------- */

struct forward {
  struct shape h;
  const float *keys, *values; /* of each head: [tk, d]; [d, lk] */
  struct head q, o;
  float *lse; /* [tq] of the head; NULL: not wanted */
};

static int64_t forward_scratch(const struct shape *h) { /* for a block of queries */
  return cpu_round(QUERIES * h->d) + cpu_round(QUERIES * h->d_tiles) + (KEYS + KERNEL_MAX_MR) * h->k->nr + 2 * QUERIES;
}

/* Query `first + lane` sees keys up to itself. */
static void hide_later_keys(float *s, int nr, int64_t key0, int64_t keys, int64_t first) {
  for (int64_t i = 0; i < keys; i++)
    for (int64_t j = 0; j < nr && first + j < key0 + i; j++) s[i * nr + j] = -1e30f;
}

static void finish_panel(const struct forward *f, int64_t first, int64_t count, const float *o, const float *m, const float *l) {
  float inverse[KERNEL_MAX_NR];
  for (int64_t j = 0; j < count; j++) {
    inverse[j] = 1 / l[j];
    if (f->lse) f->lse[first + j] = (m[j] + log2f(l[j])) * LN2;
  }
  put_transposed(f->h.k, &f->o, first, count, f->h.d, o, inverse);
}

static void forward_block(const struct forward *f, int64_t first, float *scratch) {
  const struct shape *h = &f->h;
  const struct kernels *k = h->k;
  int64_t count = least(QUERIES, h->tq - first), end = f->h.s->causal ? least(h->tk, first + count) : h->tk;
  float *q = scratch, *o = q + cpu_round(QUERIES * h->d), *s = o + cpu_round(QUERIES * h->d_tiles);
  float *m = s + (KEYS + KERNEL_MAX_MR) * k->nr, *l = m + QUERIES;
  copy_lanes(k, q, &f->q, first, first + count, h->d, h->s->scale * LOG2E);
  memset(o, 0, (size_t)(QUERIES * h->d_tiles) * sizeof *o);
  for (int i = 0; i < QUERIES; i++) m[i] = -1e30f, l[i] = 0;
  for (int64_t key = 0; key < end; key += KEYS)
    for (int64_t p = 0; p * k->nr < count; p++) {
      int64_t keys = least(KEYS, end - key);
      tiles(k, f->keys + key * h->d, h->d, keys, h->d, q + p * h->d * k->nr, s, true);
      if (h->s->causal) hide_later_keys(s, k->nr, key, keys, first + p * k->nr);
      k->attn_softmax(s, keys, m + p * k->nr, l + p * k->nr, o + p * h->d_tiles * k->nr, h->d);
      tiles(k, f->values + key, h->lk, h->d, keys, s, o + p * h->d_tiles * k->nr, false);
    }
  for (int64_t p = 0; p * k->nr < count; p++)
    finish_panel(f, first + p * k->nr, least(k->nr, count - p * k->nr), o + p * h->d_tiles * k->nr, m + p * k->nr, l + p * k->nr);
}

void cpu_attention(struct backend *b, struct tensor *o, struct tensor *lse, const struct tensor *q, const struct tensor *k,
                   const struct tensor *v, const struct attention_shape *s) {
  struct shape h = shape_of(b, q, k, s);
  int64_t items = q->dim[0] * s->heads, blocks = ceil_div(h.tq, QUERIES), own = cpu_round(forward_scratch(&h));
  int64_t key_floats = cpu_round(h.tk * h.d), value_floats = h.d * h.lk;
  float *keys = cpu_scratch(b, items * (key_floats + value_floats) + b->threads * own);
  if (!keys) return;
  float *values = keys + items * key_floats, *scratch = values + items * value_floats;
#pragma omp parallel num_threads(b->threads)
  {
#pragma omp for
    for (int64_t i = 0; i < items; i++) {
      struct head kh = head_of(k, i, s->heads), vh = head_of(v, i, s->heads);
      copy_rows(h.k, keys + i * key_floats, &kh, h.tk, h.d, 1);
      copy_columns(h.k, values + i * value_floats, h.lk, &vh, h.tk, h.d);
    }
#pragma omp for collapse(2) schedule(dynamic)
    for (int64_t i = 0; i < items; i++)
      for (int64_t block = 0; block < blocks; block++) {
        struct forward f = {.h = h, .keys = keys + i * key_floats, .values = values + i * value_floats};
        f.q = head_of(q, i, s->heads);
        f.o = head_of(o, i, s->heads);
        f.lse = lse ? (float *)lse->data + i * h.tq : NULL;
        forward_block(&f, block * QUERIES, scratch + cpu_thread() * own);
      }
  }
}

/* --- backward ---------------------------------------------------------------------------------------------------------------- */

/* One head's copies, and sums of one thread. Leading dims as in the comments. */
struct backward {
  struct shape h;
  float *q, *d_o;       /* [tq, d]; q times scale log2 e */
  float *qt, *dot, *ot; /* [d, lq] */
  float *kt, *vt;       /* lanes are keys: [ceil(tk / nr)][d][nr] */
  float *kp;            /* lanes are elements: [d_panels][keys in whole blocks][nr] */
  float *lse, *delta;   /* [tq]; lse times log2 e */
  float *dk, *dv;       /* [BACK_KEYS / nr][d_tiles][nr] */
  float *s, *ds;        /* [BACK_QUERIES + KERNEL_MAX_MR, nr] */
  float *wide_ds;       /* [BACK_QUERIES, BACK_KEYS] */
  float *dq;            /* [d_panels][tq + KERNEL_MAX_MR][nr]; lives longer than the rest */
  struct head out_dk, out_dv;
};

static int64_t padded_keys(const struct shape *h) {
  return ceil_div(h->tk, BACK_KEYS) * BACK_KEYS;
}
static int64_t dq_rows(const struct shape *h) {
  return h->tq + KERNEL_MAX_MR;
}

/* Lays the arrays out from p on (NULL: only counts); returns the floats. */
static int64_t backward_layout(struct backward *w, float *p) {
  const struct shape *h = &w->h;
  int64_t nr = h->k->nr, used = 0, block = (BACK_QUERIES + KERNEL_MAX_MR) * nr;
  struct {
    float **at;
    int64_t n;
  } parts[] = {
      {&w->q, h->tq * h->d},
      {&w->d_o, h->tq * h->d},
      {&w->qt, h->d * h->lq},
      {&w->dot, h->d * h->lq},
      {&w->ot, h->d * h->lq},
      {&w->kt, padded_keys(h) * h->d},
      {&w->vt, padded_keys(h) * h->d},
      {&w->kp, h->d_panels * padded_keys(h) * nr},
      {&w->lse, h->tq},
      {&w->delta, h->tq},
      {&w->dk, BACK_KEYS * h->d_tiles},
      {&w->dv, BACK_KEYS * h->d_tiles},
      {&w->s, block},
      {&w->ds, block},
      {&w->wide_ds, BACK_QUERIES * BACK_KEYS},
  };
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    if (p) *parts[i].at = p + used;
    used += cpu_round(parts[i].n);
  }
  return used;
}

/* One block of queries against one panel of keys. */
static void backward_panel(struct backward *w, int64_t query, int64_t queries, int64_t key0, int64_t p) {
  const struct shape *h = &w->h;
  const struct kernels *k = h->k;
  int64_t key = key0 + p * k->nr, valid = least(k->nr, h->tk - key);
  int32_t limit[BACK_QUERIES];
  for (int64_t i = 0; i < queries; i++) limit[i] = (int32_t)(h->s->causal ? least(valid, query + i - key + 1) : valid);
  tiles(k, w->q + query * h->d, h->d, queries, h->d, w->kt + key * h->d, w->s, true);
  tiles(k, w->d_o + query * h->d, h->d, queries, h->d, w->vt + key * h->d, w->ds, true);
  k->attn_gradient(w->s, w->ds, w->wide_ds + p * k->nr, BACK_KEYS, queries, w->lse + query, w->delta + query, limit);
  tiles(k, w->dot + query, h->lq, h->d, queries, w->s, w->dv + p * h->d_tiles * k->nr, false);
  tiles(k, w->qt + query, h->lq, h->d, queries, w->ds, w->dk + p * h->d_tiles * k->nr, false);
}

static void backward_store(struct backward *w, int64_t key0) {
  const struct shape *h = &w->h;
  float scale[KERNEL_MAX_NR], one[KERNEL_MAX_NR];
  for (int j = 0; j < KERNEL_MAX_NR; j++) scale[j] = h->s->scale, one[j] = 1;
  for (int64_t key = 0; key < least(BACK_KEYS, h->tk - key0); key += h->k->nr) {
    int64_t count = least(h->k->nr, h->tk - key0 - key), at = key * h->d_tiles;
    put_transposed(h->k, &w->out_dk, key0 + key, count, h->d, w->dk + at, scale);
    put_transposed(h->k, &w->out_dv, key0 + key, count, h->d, w->dv + at, one);
  }
}

static void backward_keys(struct backward *w, int64_t key0) {
  const struct shape *h = &w->h;
  const struct kernels *k = h->k;
  int64_t panels = ceil_div(least(BACK_KEYS, h->tk - key0), k->nr), depth = panels * k->nr;
  memset(w->dk, 0, (size_t)(BACK_KEYS * h->d_tiles) * sizeof(float));
  memset(w->dv, 0, (size_t)(BACK_KEYS * h->d_tiles) * sizeof(float));
  int64_t first = h->s->causal ? key0 / BACK_QUERIES * BACK_QUERIES : 0;
  for (int64_t query = first; query < h->tq; query += BACK_QUERIES) {
    int64_t queries = least(BACK_QUERIES, h->tq - query);
    for (int64_t p = 0; p < panels; p++) backward_panel(w, query, queries, key0, p);
    for (int64_t i = 0; i < h->d_panels; i++)
      tiles(k, w->wide_ds, BACK_KEYS, queries, depth, w->kp + (i * padded_keys(h) + key0) * k->nr, w->dq + (i * dq_rows(h) + query) * k->nr,
            false);
  }
  backward_store(w, key0);
}

/* What a call shares out: `splits` ranges of keys of each head, each with a dQ of its own, added up at the end. */
struct backward_call {
  struct shape h;
  const struct tensor *d_o, *o, *q, *k, *v;
  struct tensor *dq, *dk, *dv;
  const float *lse;
  int64_t splits;
  float *sums; /* dQ of each item and split, dq_floats each */
};

static int64_t dq_floats(const struct shape *h) {
  return cpu_round(h->d_panels * dq_rows(h) * h->k->nr);
}

static void backward_item(const struct backward_call *c, int64_t item, int64_t split, float *scratch) {
  const struct shape *h = &c->h;
  int heads = h->s->heads;
  struct backward w = {.h = *h, .out_dk = head_of(c->dk, item, heads), .out_dv = head_of(c->dv, item, heads)};
  struct head q = head_of(c->q, item, heads), k = head_of(c->k, item, heads), v = head_of(c->v, item, heads);
  struct head o = head_of(c->o, item, heads), d_o = head_of(c->d_o, item, heads);
  backward_layout(&w, scratch);
  w.dq = c->sums + (item * c->splits + split) * dq_floats(h);
  memset(w.dq, 0, (size_t)dq_floats(h) * sizeof(float));
  copy_rows(h->k, w.q, &q, h->tq, h->d, h->s->scale * LOG2E);
  copy_rows(h->k, w.d_o, &d_o, h->tq, h->d, 1);
  copy_columns(h->k, w.qt, h->lq, &q, h->tq, h->d);
  copy_columns(h->k, w.dot, h->lq, &d_o, h->tq, h->d);
  copy_lanes(h->k, w.kt, &k, 0, h->tk, h->d, 1);
  copy_lanes(h->k, w.vt, &v, 0, h->tk, h->d, 1);
  copy_panels(h->k, w.kp, &k, h->tk, padded_keys(h), h->d);
  copy_columns(h->k, w.ot, h->lq, &o, h->tq, h->d);
  h->k->attn_delta(w.delta, w.dot, w.ot, h->lq, h->d, h->tq);
  for (int64_t i = 0; i < h->tq; i++) w.lse[i] = c->lse[item * h->tq + i] * LOG2E;
  int64_t blocks = ceil_div(h->tk, BACK_KEYS), size = ceil_div(blocks, c->splits);
  for (int64_t i = split * size; i < least(blocks, (split + 1) * size); i++) backward_keys(&w, i * BACK_KEYS);
}

static void backward_dq(const struct backward_call *c, int64_t item) {
  const struct shape *h = &c->h;
  struct head dq = head_of(c->dq, item, h->s->heads);
  int64_t nr = h->k->nr;
  for (int64_t p = 0; p < h->d_panels; p++)
    for (int64_t r = 0; r < h->tq; r++) {
      const float *at = c->sums + item * c->splits * dq_floats(h) + (p * dq_rows(h) + r) * nr;
      float sum[KERNEL_MAX_NR] = {0};
      for (int64_t s = 0; s < c->splits; s++)
        for (int64_t j = 0; j < nr; j++) sum[j] += h->s->scale * at[s * dq_floats(h) + j];
      head_put(h->k, &dq, r, p * nr, least(nr, h->d - p * nr), sum);
    }
}

void cpu_attention_bwd(struct backend *b, struct tensor *dq, struct tensor *dk, struct tensor *dv, const struct tensor *d_o,
                       const struct tensor *o, const struct tensor *lse, const struct tensor *q, const struct tensor *k,
                       const struct tensor *v, const struct attention_shape *s) {
  struct backward_call c = {.h = shape_of(b, q, k, s), .d_o = d_o, .o = o, .q = q, .k = k, .v = v, .dq = dq, .dk = dk, .dv = dv};
  int64_t items = q->dim[0] * s->heads;
  c.lse = lse->data;
  c.splits = least(ceil_div(b->threads, items), ceil_div(c.h.tk, BACK_KEYS));
  int64_t own = backward_layout(&(struct backward){.h = c.h}, NULL);
  c.sums = cpu_scratch(b, items * c.splits * dq_floats(&c.h) + b->threads * own);
  if (!c.sums) return;
  float *scratch = c.sums + items * c.splits * dq_floats(&c.h);
#pragma omp parallel num_threads(b->threads)
  {
#pragma omp for collapse(2) schedule(dynamic)
    for (int64_t i = 0; i < items; i++)
      for (int64_t split = 0; split < c.splits; split++) backward_item(&c, i, split, scratch + cpu_thread() * own);
#pragma omp for
    for (int64_t i = 0; i < items; i++) backward_dq(&c, i);
  }
}
