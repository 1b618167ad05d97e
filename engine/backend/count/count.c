/* The planner's backend: computes nothing, touches no tensor's memory, adds up FLOPs and bytes moved.
 *
 * FLOPs are two for each multiply and add of linear, convolution and attention, and one for each output element of everything
 * else. Bytes are those of every tensor and parameter read or written once. Parameters need not be bound: what is not frozen
 * is taken as trained. A backend in rehearsal (b->like) sees the calls that may take scratch or packed weights. */
#include <string.h>

#include "backend/count/profile.h"

static double bytes_of(const struct tensor *t) {
  return t ? (double)tensor_bytes(t) : 0;
}

static double count_of(const struct tensor *t) {
  return t ? (double)tensor_count(t) : 0;
}

static double param_bytes(const struct param *p) {
  return p ? 4.0 * (double)p->count : 0;
}

/* Gradients are read and written. */
static double grad_bytes(const struct param *p) {
  return p && !p->frozen ? 8.0 * (double)p->count : 0;
}

/* The same call on the backend that is rehearsed. */
#define REHEARSE(slot, ...) \
  if (b->like) b->like->op->slot(b->like, __VA_ARGS__)

static void add_work(struct backend *b, double flops, double bytes) {
  b->flops += flops;
  b->bytes += bytes;
}

/* --- life and memory --- */

static bool count_open(struct backend *b, struct err *e) {
  (void)b;
  (void)e;
  return true;
}

static void count_close(struct backend *b) {
  (void)b;
}

/* Not NULL, aligned, and never to be looked at. */
static void *count_alloc(struct backend *b, size_t bytes, struct err *e) {
  (void)b;
  (void)bytes;
  (void)e;
  return (void *)(uintptr_t)65536;
}

static void count_release(struct backend *b, void *p, size_t bytes) {
  (void)b;
  (void)p;
  (void)bytes;
}

static void count_upload(struct backend *b, void *dst, const void *src, size_t bytes) {
  (void)dst;
  (void)src;
  b->bytes += (double)bytes;
}

/* The host's buffer is real: zeros, so that nobody reads what was never written. */
static void count_download(struct backend *b, void *dst, const void *src, size_t bytes) {
  (void)src;
  memset(dst, 0, bytes);
  b->bytes += (double)bytes;
}

static void count_move(struct backend *b, void *dst, const void *src, size_t bytes) {
  (void)dst;
  (void)src;
  b->bytes += 2.0 * (double)bytes;
}

static size_t count_taken(size_t bytes) {
  (void)bytes;
  return 0;
}

static void count_mark(struct backend *b, int mark) {
  (void)b;
  (void)mark;
}

static void count_copy(struct backend *b, int mark, void *dst, const void *src, size_t bytes, int after) {
  (void)mark;
  (void)dst;
  (void)src;
  (void)after;
  b->bytes += (double)bytes;
}

static size_t count_copy_bytes(const struct param *p, enum dtype type) {
  (void)p;
  (void)type;
  return 0;
}

static void count_copy_fill(struct backend *b, struct param *p, const float *values) {
  (void)values;
  b->bytes += (double)p->count * sizeof(float);
}

static void count_drop_pack(struct backend *b, struct param *p) {
  (void)b;
  (void)p;
}

/* --- element-wise and shapes --- */

static void count_fill(struct backend *b, struct tensor *y, float value) {
  (void)value;
  add_work(b, 0, bytes_of(y));
  op_note_move(b, y);
}

static void count_cast(struct backend *b, struct tensor *y, const struct tensor *x) {
  add_work(b, count_of(y), bytes_of(y) + bytes_of(x));
  op_note_move(b, y);
}

static void count_axpby(struct backend *b, struct tensor *y, float alpha, const struct tensor *x, float beta) {
  (void)alpha;
  add_work(b, count_of(y), bytes_of(x) + (beta != 0 ? 2 : 1) * bytes_of(y));
  op_note_move(b, y);
}

/* add, add_rows, concat */
static void count_two(struct backend *b, struct tensor *y, const struct tensor *x1, const struct tensor *x2) {
  add_work(b, count_of(y), bytes_of(y) + bytes_of(x1) + bytes_of(x2));
  op_note_move(b, y);
}

/* upsample and its backward */
static void count_one(struct backend *b, struct tensor *y, const struct tensor *x) {
  add_work(b, count_of(y), bytes_of(y) + bytes_of(x));
  op_note_move(b, y);
}

static void count_sum_rows(struct backend *b, struct tensor *de, const struct tensor *dy) {
  REHEARSE(sum_rows, de, dy);
  count_one(b, de, dy);
}

static void count_act(struct backend *b, struct tensor *y, const struct tensor *x, enum activation kind) {
  (void)kind;
  add_work(b, count_of(y), bytes_of(y) + bytes_of(x));
  op_note(b, OP_ACT, y, NULL, (struct op_dims){{tensor_count(y)}}, count_of(y));
}

static void count_act_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x, enum activation kind) {
  (void)kind;
  add_work(b, count_of(dx), bytes_of(dx) + bytes_of(dy) + bytes_of(x));
  op_note(b, OP_ACT, dx, NULL, (struct op_dims){{tensor_count(dx)}}, count_of(dx));
}

static void count_geglu(struct backend *b, struct tensor *y, const struct tensor *x) {
  add_work(b, count_of(y), bytes_of(y) + bytes_of(x));
  op_note(b, OP_GEGLU, y, NULL, (struct op_dims){{tensor_rows(y), tensor_last(y)}}, count_of(y));
}

static void count_geglu_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x) {
  add_work(b, count_of(dx), bytes_of(dx) + bytes_of(dy) + bytes_of(x));
  op_note(b, OP_GEGLU, dy, NULL, (struct op_dims){{tensor_rows(dy), tensor_last(dy)}}, count_of(dx));
}

static void count_split(struct backend *b, struct tensor *x1, struct tensor *x2, const struct tensor *y) {
  add_work(b, count_of(y), bytes_of(y) + bytes_of(x1) + bytes_of(x2));
  op_note_move(b, y);
}

static void count_embed(struct backend *b, struct tensor *y, const struct tensor *ids, const struct param *table,
                        const struct param *position) {
  (void)table;
  (void)position;
  add_work(b, count_of(y), 3 * bytes_of(y) + bytes_of(ids));
  op_note_move(b, y);
}

static void count_embed_bwd(struct backend *b, struct param *table, struct param *position, const struct tensor *ids,
                            const struct tensor *dy) {
  double trained = (table && !table->frozen) + (position && !position->frozen);
  add_work(b, trained * count_of(dy), (1 + 2 * trained) * bytes_of(dy) + bytes_of(ids));
  op_note_move(b, dy);
}

/* --- linear and convolution --- */

static void count_linear(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, struct param *bias, float alpha,
                         float beta) {
  REHEARSE(linear, y, x, w, bias, alpha, beta);
  (void)alpha;
  double moved = (beta != 0 ? 2 : 1) * bytes_of(y) + bytes_of(x) + param_bytes(w) + param_bytes(bias);
  add_work(b, 2 * count_of(y) * (double)tensor_last(x), moved);
  op_note_linear(b, OP_LINEAR, x, y, w, bias != NULL, 2 * count_of(y) * (double)tensor_last(x));
}

static void count_linear_dx(struct backend *b, struct tensor *dx, const struct tensor *dy, struct param *w, float alpha, float beta) {
  (void)alpha;
  REHEARSE(linear_dx, dx, dy, w, alpha, beta);
  add_work(b, 2 * count_of(dx) * (double)tensor_last(dy), (beta != 0 ? 2 : 1) * bytes_of(dx) + bytes_of(dy) + param_bytes(w));
  op_note_linear(b, OP_LINEAR_DX, dx, dy, w, false, 2 * count_of(dx) * (double)tensor_last(dy));
}

static void count_linear_dw(struct backend *b, struct param *w, struct param *bias, const struct tensor *x, const struct tensor *dy,
                            float alpha) {
  REHEARSE(linear_dw, w, bias, x, dy, alpha);
  (void)alpha;
  bool trained = w && !w->frozen;
  if (!trained && (!bias || bias->frozen)) return;
  double products = trained ? 2 * count_of(dy) * (double)tensor_last(x) : 0;
  op_note_linear(b, OP_LINEAR_DW, x, dy, w, bias && !bias->frozen, products);
  add_work(b, products, bytes_of(dy) + (trained ? bytes_of(x) : 0) + grad_bytes(w) + grad_bytes(bias));
}

/* Two FLOPs for each output element, input channel and tap. */
static double conv_flops(const struct tensor *x, const struct tensor *y, const struct conv_shape *s) {
  return 2 * count_of(y) * (double)(tensor_last(x) * s->kh * s->kw);
}

static void count_conv(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, struct param *bias,
                       const struct conv_shape *s) {
  REHEARSE(conv, y, x, w, bias, s);
  add_work(b, conv_flops(x, y, s), bytes_of(x) + bytes_of(y) + param_bytes(w) + param_bytes(bias));
  op_note_conv(b, OP_CONV, x, y, w, s, conv_flops(x, y, s));
}

static void count_conv_dx(struct backend *b, struct tensor *dx, const struct tensor *dy, struct param *w, const struct conv_shape *s) {
  REHEARSE(conv_dx, dx, dy, w, s);
  add_work(b, conv_flops(dx, dy, s), bytes_of(dx) + bytes_of(dy) + param_bytes(w));
  op_note_conv(b, OP_CONV_DX, dx, dy, w, s, conv_flops(dx, dy, s));
}

static void count_conv_dw(struct backend *b, struct param *w, struct param *bias, const struct tensor *x, const struct tensor *dy,
                          const struct conv_shape *s) {
  REHEARSE(conv_dw, w, bias, x, dy, s);
  bool trained = w && !w->frozen;
  if (!trained && (!bias || bias->frozen)) return;
  double products = trained ? conv_flops(x, dy, s) : 0;
  op_note_conv(b, OP_CONV_DW, x, dy, w, s, products);
  add_work(b, products, bytes_of(dy) + (trained ? bytes_of(x) : 0) + grad_bytes(w) + grad_bytes(bias));
}

/* --- normalisation and attention --- */

static void norm_work(struct backend *b, const struct tensor *y, const struct tensor *stats, const struct tensor *x,
                      const struct param *gamma, const struct param *beta) {
  add_work(b, count_of(y), bytes_of(y) + bytes_of(stats) + bytes_of(x) + param_bytes(gamma) + param_bytes(beta));
}

static void norm_bwd_work(struct backend *b, const struct tensor *dx, const struct tensor *dy, const struct tensor *x,
                          const struct tensor *stats, const struct param *gamma, const struct param *beta) {
  add_work(b, count_of(dx), bytes_of(dx) + bytes_of(dy) + bytes_of(x) + bytes_of(stats) + grad_bytes(gamma) + grad_bytes(beta));
}

static struct op_dims group_dims(const struct tensor *x, int groups) {
  return (struct op_dims){{x->dim[0], tensor_rows(x) / x->dim[0], tensor_last(x), groups}};
}

static void count_group_norm(struct backend *b, struct tensor *y, struct tensor *stats, const struct tensor *x, const struct param *gamma,
                             const struct param *beta, int groups, float eps, bool silu) {
  REHEARSE(group_norm, y, stats, x, gamma, beta, groups, eps, silu);
  norm_work(b, y, stats, x, gamma, beta);
  op_note(b, OP_GROUP_NORM, x, gamma, group_dims(x, groups), count_of(y));
}

static void count_group_norm_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x,
                                 const struct tensor *stats, struct param *gamma, struct param *beta, int groups, bool silu) {
  REHEARSE(group_norm_bwd, dx, dy, x, stats, gamma, beta, groups, silu);
  norm_bwd_work(b, dx, dy, x, stats, gamma, beta);
  op_note(b, OP_GROUP_NORM_BWD, x, gamma, group_dims(x, groups), count_of(dx));
}

static void count_layer_norm(struct backend *b, struct tensor *y, struct tensor *stats, const struct tensor *x, const struct param *gamma,
                             const struct param *beta, float eps) {
  REHEARSE(layer_norm, y, stats, x, gamma, beta, eps);
  norm_work(b, y, stats, x, gamma, beta);
  op_note(b, OP_LAYER_NORM, x, gamma, (struct op_dims){{tensor_rows(x), tensor_last(x)}}, count_of(y));
}

static void count_layer_norm_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x,
                                 const struct tensor *stats, struct param *gamma, struct param *beta) {
  REHEARSE(layer_norm_bwd, dx, dy, x, stats, gamma, beta);
  norm_bwd_work(b, dx, dy, x, stats, gamma, beta);
  op_note(b, OP_LAYER_NORM_BWD, x, gamma, (struct op_dims){{tensor_rows(x), tensor_last(x)}}, count_of(dx));
}

/* One product of all queries with all keys; a causal mask leaves half. */
static double attention_product(const struct tensor *q, const struct tensor *k, const struct attention_shape *s) {
  return 2 * count_of(q) * (double)k->dim[1] * (s->causal ? 0.5 : 1);
}

/* q k^T, p v */
static void count_attention(struct backend *b, struct tensor *o, struct tensor *lse, const struct tensor *q, const struct tensor *k,
                            const struct tensor *v, const struct attention_shape *s) {
  REHEARSE(attention, o, lse, q, k, v, s);
  add_work(b, 2 * attention_product(q, k, s), bytes_of(o) + bytes_of(lse) + bytes_of(q) + bytes_of(k) + bytes_of(v));
  op_note_attention(b, OP_ATTENTION, q, k, s, 2 * attention_product(q, k, s));
}

/* q k^T again, do v^T, p^T do, ds k, ds^T q */
static void count_attention_bwd(struct backend *b, struct tensor *dq, struct tensor *dk, struct tensor *dv, const struct tensor *d_o,
                                const struct tensor *o, const struct tensor *lse, const struct tensor *q, const struct tensor *k,
                                const struct tensor *v, const struct attention_shape *s) {
  REHEARSE(attention_bwd, dq, dk, dv, d_o, o, lse, q, k, v, s);
  double out = bytes_of(dq) + bytes_of(dk) + bytes_of(dv);
  add_work(b, 5 * attention_product(q, k, s), 2 * out + bytes_of(d_o) + bytes_of(o) + bytes_of(lse));
  op_note_attention(b, OP_ATTENTION_BWD, q, k, s, 5 * attention_product(q, k, s));
  (void)v;
}

/* --- diffusion and training --- */

static void count_normal(struct backend *b, struct tensor *out, const struct rng_counter *c) {
  (void)c;
  add_work(b, count_of(out), bytes_of(out));
}

static void count_posterior(struct backend *b, struct tensor *out, const struct tensor *moments, const struct tensor *noise, float scale) {
  (void)scale;
  count_two(b, out, moments, noise);
}

static void count_mse(struct backend *b, double *loss, struct tensor *dpred, const struct tensor *pred, const struct tensor *target,
                      const struct tensor *mask, const float *weight) {
  (void)weight;
  (void)loss;
  add_work(b, count_of(pred), bytes_of(dpred) + bytes_of(pred) + bytes_of(target) + bytes_of(mask));
}

static void count_sum_squares(struct backend *b, double *sum, const float *x, int64_t n) {
  (void)sum;
  (void)x;
  add_work(b, (double)n, 4.0 * (double)n);
}

static void count_adamw(struct backend *b, float *w, const float *g, struct tensor *m, struct tensor *v, int64_t n, const struct adamw *a) {
  (void)w;
  (void)g;
  (void)a;
  add_work(b, (double)n, 12.0 * (double)n + 2 * bytes_of(m) + 2 * bytes_of(v));
}

static void count_adamw8(struct backend *b, float *w, const float *g, const struct moments8 *s, int64_t from, int64_t to,
                         const struct adamw *a) {
  (void)w;
  (void)g;
  (void)s;
  (void)a;
  add_work(b, (double)(to - from), (12.0 + 4 + 16.0 / 256) * (double)(to - from));
}

const struct backend_ops backend_count = {
    .name = "count",
    .open = count_open,
    .close = count_close,
    .alloc = count_alloc,
    .release = count_release,
    .upload = count_upload,
    .download = count_download,
    .move = count_move,
    .drop_pack = count_drop_pack,
    .taken = count_taken,
    .host_alloc = count_alloc,
    .host_release = count_release,
    .host_taken = count_taken,
    .mark = count_mark,
    .send = count_copy,
    .fetch = count_copy,
    .follow = count_mark,
    .wait = count_mark,
    .copy_bytes = count_copy_bytes,
    .copy_fill = count_copy_fill,
    .fill = count_fill,
    .cast = count_cast,
    .axpby = count_axpby,
    .add = count_two,
    .act = count_act,
    .act_bwd = count_act_bwd,
    .geglu = count_geglu,
    .geglu_bwd = count_geglu_bwd,
    .add_rows = count_two,
    .sum_rows = count_sum_rows,
    .concat = count_two,
    .split = count_split,
    .upsample = count_one,
    .upsample_bwd = count_one,
    .embed = count_embed,
    .embed_bwd = count_embed_bwd,
    .linear = count_linear,
    .linear_dx = count_linear_dx,
    .linear_dw = count_linear_dw,
    .conv = count_conv,
    .conv_dx = count_conv_dx,
    .conv_dw = count_conv_dw,
    .group_norm = count_group_norm,
    .group_norm_bwd = count_group_norm_bwd,
    .layer_norm = count_layer_norm,
    .layer_norm_bwd = count_layer_norm_bwd,
    .attention = count_attention,
    .attention_bwd = count_attention_bwd,
    .normal = count_normal,
    .posterior = count_posterior,
    .mse = count_mse,
    .sum_squares = count_sum_squares,
    .adamw = count_adamw,
    .adamw8 = count_adamw8,
};
