#include "dnnl_compat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <oneapi/dnnl/dnnl.h>

/* A descriptor is a struct in 2.x and a pointer in 3.x. */
#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t desc_ref;
#define REF(d) (d)
#define BUILD_DESC dnnl_memory_desc_create_with_tag
static void desc_free(dnnl_memory_desc_t d) {
  if (d) dnnl_memory_desc_destroy(d);
}
static dnnl_status_t append_sum(dnnl_post_ops_t p) {
  return dnnl_post_ops_append_sum(p, 1, 0, dnnl_data_type_undef);
}
#else
typedef const dnnl_memory_desc_t *desc_ref;
#define REF(d) (&(d))
#define BUILD_DESC dnnl_memory_desc_init_by_tag
#define desc_free(d) ((void)(d))
static dnnl_status_t append_sum(dnnl_post_ops_t p) {
  return dnnl_post_ops_append_sum(p, 1);
}
#endif

struct dn_engine {
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  char version[32];
};

struct dn_op {
  struct dn_key key;
  struct dn_engine *e;
  dnnl_primitive_t run, reorder;
  dnnl_memory_t x, w, bias, y, scratch; /* handles are set at each run */
  dnnl_memory_t from, to, reorder_scratch;
  size_t scratch_bytes, weight_bytes;
  char name[64];
};

/* Descriptors of one op while it is being made. */
struct descs {
  dnnl_memory_desc_t x, w, bias, y, plain;
};

struct dn_engine *dn_engine_new(void) {
  struct dn_engine *e = calloc(1, sizeof *e);
  if (!e) return NULL;
  if (dnnl_engine_create(&e->engine, dnnl_cpu, 0) != dnnl_success ||
      dnnl_stream_create(&e->stream, e->engine, dnnl_stream_default_flags) != dnnl_success) {
    dn_engine_delete(e);
    return NULL;
  }
  const dnnl_version_t *v = dnnl_version();
  snprintf(e->version, sizeof e->version, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
  return e;
}

void dn_engine_delete(struct dn_engine *e) {
  if (!e) return;
  if (e->stream) dnnl_stream_destroy(e->stream);
  if (e->engine) dnnl_engine_destroy(e->engine);
  free(e);
}

const char *dn_version(struct dn_engine *e) {
  return e->version;
}

static bool is_linear(const struct dn_key *k) {
  return k->kind >= DN_LINEAR;
}
static bool is_dw(const struct dn_key *k) {
  return k->kind == DN_CONV_DW || k->kind == DN_LINEAR_DW;
}
static bool is_forward(const struct dn_key *k) {
  return k->kind == DN_CONV || k->kind == DN_LINEAR;
}

static bool descs_init(struct descs *d, const struct dn_key *k) {
  bool lin = is_linear(k);
  int rank = lin ? 2 : 4;
  dnnl_data_type_t act = k->type == DT_BF16 ? dnnl_bf16 : dnnl_f32, wt = is_dw(k) ? dnnl_f32 : act;
  dnnl_format_tag_t rows = lin ? dnnl_ab : dnnl_acdb;
  /* plain fp32 weights are as fast as blocked ones in linear layers and need no copy */
  dnnl_format_tag_t weights = lin && k->type == DT_F32 ? dnnl_ab : dnnl_format_tag_any;
  dnnl_dims_t x = {k->n, k->ci, k->ih, k->iw}, y = {k->n, k->co, k->oh, k->ow}, w = {k->co, k->ci, k->kh, k->kw}, bias = {k->co};
  return BUILD_DESC(&d->x, rank, x, act, rows) == dnnl_success && BUILD_DESC(&d->y, rank, y, act, rows) == dnnl_success &&
         BUILD_DESC(&d->w, rank, w, wt, weights) == dnnl_success && BUILD_DESC(&d->bias, 1, bias, dnnl_f32, dnnl_a) == dnnl_success &&
         BUILD_DESC(&d->plain, rank, w, dnnl_f32, lin ? dnnl_ab : dnnl_abcd) == dnnl_success;
}

static void descs_clear(struct descs *d) {
  desc_free(d->x);
  desc_free(d->w);
  desc_free(d->bias);
  desc_free(d->y);
  desc_free(d->plain);
}

#if DNNL_VERSION_MAJOR >= 3

static dnnl_status_t conv_desc(dnnl_primitive_desc_t *pd, struct dn_op *op, const struct descs *d, enum dn_kind kind,
                               dnnl_primitive_desc_t hint, dnnl_primitive_attr_t attr) {
  const struct dn_key *k = &op->key;
  dnnl_engine_t e = op->e->engine;
  dnnl_dims_t stride = {k->stride, k->stride}, dense = {0, 0}, lo = {k->pad[0], k->pad[1]}, hi = {k->pad[2], k->pad[3]};
  desc_ref bias = k->bias && kind == DN_CONV ? d->bias : NULL;
  switch (kind) {
    case DN_CONV:
      return dnnl_convolution_forward_primitive_desc_create(pd, e, dnnl_forward_training, dnnl_convolution_direct, d->x, d->w, bias, d->y,
                                                            stride, dense, lo, hi, attr);
    case DN_CONV_DX:
      return dnnl_convolution_backward_data_primitive_desc_create(pd, e, dnnl_convolution_direct, d->x, d->w, d->y, stride, dense, lo, hi,
                                                                  hint, attr);
    default:
      return dnnl_convolution_backward_weights_primitive_desc_create(pd, e, dnnl_convolution_direct, d->x, d->w, NULL, d->y, stride, dense,
                                                                     lo, hi, hint, attr);
  }
}

static dnnl_status_t linear_desc(dnnl_primitive_desc_t *pd, struct dn_op *op, const struct descs *d, enum dn_kind kind,
                                 dnnl_primitive_desc_t hint, dnnl_primitive_attr_t attr) {
  dnnl_engine_t e = op->e->engine;
  desc_ref bias = op->key.bias && kind == DN_LINEAR ? d->bias : NULL;
  switch (kind) {
    case DN_LINEAR:
      return dnnl_inner_product_forward_primitive_desc_create(pd, e, dnnl_forward_training, d->x, d->w, bias, d->y, attr);
    case DN_LINEAR_DX:
      return dnnl_inner_product_backward_data_primitive_desc_create(pd, e, d->x, d->w, d->y, hint, attr);
    default:
      return dnnl_inner_product_backward_weights_primitive_desc_create(pd, e, d->x, d->w, NULL, d->y, hint, attr);
  }
}

#else

static dnnl_status_t conv_desc(dnnl_primitive_desc_t *pd, struct dn_op *op, const struct descs *d, enum dn_kind kind,
                               dnnl_primitive_desc_t hint, dnnl_primitive_attr_t attr) {
  const struct dn_key *k = &op->key;
  dnnl_convolution_desc_t c;
  dnnl_status_t s;
  dnnl_dims_t stride = {k->stride, k->stride}, lo = {k->pad[0], k->pad[1]}, hi = {k->pad[2], k->pad[3]};
  const dnnl_memory_desc_t *bias = k->bias && kind == DN_CONV ? &d->bias : NULL;
  if (kind == DN_CONV)
    s = dnnl_convolution_forward_desc_init(&c, dnnl_forward_training, dnnl_convolution_direct, &d->x, &d->w, bias, &d->y, stride, lo, hi);
  else if (kind == DN_CONV_DX)
    s = dnnl_convolution_backward_data_desc_init(&c, dnnl_convolution_direct, &d->x, &d->w, &d->y, stride, lo, hi);
  else
    s = dnnl_convolution_backward_weights_desc_init(&c, dnnl_convolution_direct, &d->x, &d->w, NULL, &d->y, stride, lo, hi);
  return s == dnnl_success ? dnnl_primitive_desc_create(pd, &c, attr, op->e->engine, hint) : s;
}

static dnnl_status_t linear_desc(dnnl_primitive_desc_t *pd, struct dn_op *op, const struct descs *d, enum dn_kind kind,
                                 dnnl_primitive_desc_t hint, dnnl_primitive_attr_t attr) {
  dnnl_inner_product_desc_t c;
  dnnl_status_t s;
  if (kind == DN_LINEAR)
    s = dnnl_inner_product_forward_desc_init(&c, dnnl_forward_training, &d->x, &d->w, op->key.bias ? &d->bias : NULL, &d->y);
  else if (kind == DN_LINEAR_DX)
    s = dnnl_inner_product_backward_data_desc_init(&c, &d->x, &d->w, &d->y);
  else
    s = dnnl_inner_product_backward_weights_desc_init(&c, &d->x, &d->w, NULL, &d->y);
  return s == dnnl_success ? dnnl_primitive_desc_create(pd, &c, attr, op->e->engine, hint) : s;
}

#endif

static dnnl_memory_t memory_of(struct dn_op *op, desc_ref d) {
  dnnl_memory_t m = NULL;
  return dnnl_memory_create(&m, d, op->e->engine, DNNL_MEMORY_NONE) == dnnl_success ? m : NULL;
}

static size_t larger(size_t a, size_t b) {
  return a > b ? a : b;
}

/* Reorder between the plain layout and the one that the library chose; of a gradient it adds to what is there. */
static bool make_reorder(struct dn_op *op, desc_ref plain, desc_ref chosen) {
  bool dw = is_dw(&op->key), ok = false;
  desc_ref from = dw ? chosen : plain, to = dw ? plain : chosen;
  dnnl_primitive_attr_t attr = NULL;
  dnnl_post_ops_t add = NULL;
  dnnl_primitive_desc_t pd = NULL;
  if (dnnl_primitive_attr_create(&attr) != dnnl_success || dnnl_post_ops_create(&add) != dnnl_success) goto done;
  dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
  if (dw && (append_sum(add) != dnnl_success || dnnl_primitive_attr_set_post_ops(attr, add) != dnnl_success)) goto done;
  if (dnnl_reorder_primitive_desc_create(&pd, from, op->e->engine, to, op->e->engine, attr) != dnnl_success) goto done;
  desc_ref scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
  op->scratch_bytes = larger(op->scratch_bytes, dnnl_memory_desc_get_size(scratch));
  op->from = memory_of(op, from);
  op->to = memory_of(op, to);
  op->reorder_scratch = memory_of(op, scratch);
  ok = op->from && op->to && op->reorder_scratch && dnnl_primitive_create(&op->reorder, pd) == dnnl_success;
done:
  if (pd) dnnl_primitive_desc_destroy(pd);
  if (add) dnnl_post_ops_destroy(add);
  if (attr) dnnl_primitive_attr_destroy(attr);
  return ok;
}

static bool finish(struct dn_op *op, const struct descs *d, dnnl_primitive_desc_t pd) {
  desc_ref weights = dnnl_primitive_desc_query_md(pd, is_dw(&op->key) ? dnnl_query_diff_weights_md : dnnl_query_weights_md, 0);
  desc_ref scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
  const char *name = "";
  dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name);
  snprintf(op->name, sizeof op->name, "%s", name);
  op->scratch_bytes = dnnl_memory_desc_get_size(scratch);
  op->x = memory_of(op, REF(d->x));
  op->w = memory_of(op, weights);
  op->bias = memory_of(op, REF(d->bias));
  op->y = memory_of(op, REF(d->y));
  op->scratch = memory_of(op, scratch);
  bool ok = op->x && op->w && op->bias && op->y && op->scratch && dnnl_primitive_create(&op->run, pd) == dnnl_success;
  if (ok && !dnnl_memory_desc_equal(weights, REF(d->plain))) {
    op->weight_bytes = dnnl_memory_desc_get_size(weights);
    ok = make_reorder(op, REF(d->plain), weights);
  }
  return ok;
}

static bool build(struct dn_op *op, const struct descs *d) {
  bool lin = is_linear(&op->key), ok = false;
  dnnl_status_t (*make)(dnnl_primitive_desc_t *, struct dn_op *, const struct descs *, enum dn_kind, dnnl_primitive_desc_t,
                        dnnl_primitive_attr_t) = lin ? linear_desc : conv_desc;
  enum dn_kind forward = lin ? DN_LINEAR : DN_CONV;
  struct descs hinted = *d;
  dnnl_primitive_attr_t attr = NULL;
  dnnl_primitive_desc_t hint = NULL, pd = NULL;
  if (dnnl_primitive_attr_create(&attr) != dnnl_success) return false;
  dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
  dnnl_memory_desc_t w16;
  memset(&w16, 0, sizeof w16);
  if (!is_forward(&op->key)) { /* the library wants the forward op as a hint; its weights have the activations' type */
    dnnl_dims_t w = {op->key.co, op->key.ci, op->key.kh, op->key.kw};
    dnnl_data_type_t act = op->key.type == DT_BF16 ? dnnl_bf16 : dnnl_f32;
    if (BUILD_DESC(&w16, lin ? 2 : 4, w, act, dnnl_format_tag_any) != dnnl_success) goto done;
    hinted.w = w16;
    if (make(&hint, op, &hinted, forward, NULL, attr) != dnnl_success) goto done;
  }
  ok = make(&pd, op, d, (enum dn_kind)op->key.kind, hint, attr) == dnnl_success && finish(op, d, pd);
done:
  if (pd) dnnl_primitive_desc_destroy(pd);
  if (hint) dnnl_primitive_desc_destroy(hint);
  desc_free(w16);
  dnnl_primitive_attr_destroy(attr);
  return ok;
}

struct dn_op *dn_op_new(struct dn_engine *e, const struct dn_key *key) {
  struct dn_op *op = calloc(1, sizeof *op);
  struct descs d;
  if (!op) return NULL;
  memset(&d, 0, sizeof d);
  op->key = *key;
  op->e = e;
  bool ok = descs_init(&d, key) && build(op, &d);
  descs_clear(&d);
  if (ok) return op;
  dn_op_delete(op);
  return NULL;
}

void dn_op_delete(struct dn_op *op) {
  if (!op) return;
  dnnl_memory_t all[] = {op->x, op->w, op->bias, op->y, op->scratch, op->from, op->to, op->reorder_scratch};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (all[i]) dnnl_memory_destroy(all[i]);
  if (op->run) dnnl_primitive_destroy(op->run);
  if (op->reorder) dnnl_primitive_destroy(op->reorder);
  free(op);
}

const struct dn_key *dn_op_key(const struct dn_op *op) {
  return &op->key;
}
const char *dn_op_name(const struct dn_op *op) {
  return op->name;
}
size_t dn_op_scratch(const struct dn_op *op) {
  return op->scratch_bytes;
}
size_t dn_op_weights(const struct dn_op *op) {
  return op->weight_bytes;
}

static bool execute(struct dn_op *op, dnnl_primitive_t p, const dnnl_exec_arg_t *args, void *const *data, int n) {
  for (int i = 0; i < n; i++)
    if (dnnl_memory_set_data_handle(args[i].memory, data[i]) != dnnl_success) return false;
  return dnnl_primitive_execute(p, op->e->stream, n, args) == dnnl_success && dnnl_stream_wait(op->e->stream) == dnnl_success;
}

bool dn_op_reorder(struct dn_op *op, const void *from, void *to, void *scratch) {
  dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, op->from}, {DNNL_ARG_TO, op->to}, {DNNL_ARG_SCRATCHPAD, op->reorder_scratch}};
  void *data[] = {(void *)(uintptr_t)from, to, scratch};
  return execute(op, op->reorder, args, data, 3);
}

bool dn_op_run(struct dn_op *op, void *x, void *w, void *bias, void *y, void *scratch) {
  enum dn_kind kind = (enum dn_kind)op->key.kind;
  bool dx = kind == DN_CONV_DX || kind == DN_LINEAR_DX, dw = is_dw(&op->key);
  dnnl_exec_arg_t args[] = {
      {dx ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, op->x},
      {dw ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS, op->w},
      {dx || dw ? DNNL_ARG_DIFF_DST : DNNL_ARG_DST, op->y},
      {DNNL_ARG_SCRATCHPAD, op->scratch},
      {DNNL_ARG_BIAS, op->bias},
  };
  void *data[] = {x, w, y, scratch, bias};
  return execute(op, op->run, args, data, op->key.bias && !dx && !dw ? 5 : 4);
}

bool dn_sgemm(const struct dn_product *p) {
  return dnnl_sgemm(p->ta ? 'T' : 'N', p->tb ? 'T' : 'N', p->m, p->n, p->k, p->alpha, p->a, p->lda, p->b, p->ldb, p->beta, p->c, p->ldc) ==
         dnnl_success;
}
