/* What runs in oneDNN: fp32 matrix products everywhere; its primitives where the machine has AVX-512 (fp32 convolutions) and
 * bf16 arithmetic (convolutions and linear layers). With AVX2 the tiles of gemm.c are faster than its convolutions.
 *
 * A primitive is made when a shape is first seen. Weights are copied into the library's layout at each call; for a frozen
 * parameter the copy is kept. The data gradient of a convolution with stride 1 is a forward convolution with the kernel
 * turned round, which the library does faster than its own data gradient. */
#include "cpu.h"

#include <stdlib.h>

#include "backend/ref/ref.h"
#include "base/hash.h"
#include "dnnl_compat.h"

enum { OPS = 1024 }; /* a power of two, above the number of shapes of any run; a full table leaves the rest to gemm.c */

struct dnnl {
  struct dn_engine *engine;
  bool conv_f32, bf16;
  struct entry {
    struct dn_key key;
    struct dn_op *op; /* NULL: the library refuses this one */
    bool used;
  } ops[OPS];
  int count;
};

/* param->pack: copies for forward and for the data gradient. */
struct pack {
  struct copy {
    const struct dn_op *op; /* whose layout it is */
    uint32_t version;
    void *p;
    size_t bytes;
  } copy[2];
};

void dnnl_open(struct backend *b) {
  struct dnnl *d = calloc(1, sizeof *d);
  if (d) d->engine = dn_engine_new();
  if (d && !d->engine) {
    free(d);
    d = NULL;
  }
  cpu_of(b)->dnnl = d;
  if (!d) return;
  d->conv_f32 = cpu_of(b)->wide_vectors;
  d->bf16 = cpu_of(b)->bf16_products;
}

void dnnl_close(struct backend *b) {
  struct dnnl *d = cpu_of(b)->dnnl;
  if (!d) return;
  for (int i = 0; i < OPS; i++) dn_op_delete(d->ops[i].op);
  dn_engine_delete(d->engine);
  free(d);
}

const char *dnnl_name(const struct backend *b) {
  struct dnnl *d = cpu_of(b)->dnnl;
  return d ? dn_version(d->engine) : NULL;
}

/* The library takes its number of threads from the calling thread's OpenMP setting. */
static void set_threads(const struct backend *b) {
  (void)b;
#ifdef _OPENMP
  if (omp_get_max_threads() != b->threads) omp_set_num_threads(b->threads);
#endif
}

/* Piece i of n pieces of C: rows where C is high, columns where it is wide; whole vectors, none where there are fewer. */
static struct dn_product piece(const struct gemm *g, int i, int n) {
  bool rows = g->m >= g->n;
  int64_t size = rows ? g->m : g->n, step = ((size + n - 1) / n + 15) / 16 * 16;
  int64_t first = i * step < size ? i * step : size, count = size - first < step ? size - first : step;
  struct dn_product p = {.ta = g->ta, .tb = g->tb, .m = rows ? count : g->m, .n = rows ? g->n : count, .k = g->k};
  p.lda = g->ta ? g->m : g->k;
  p.ldb = g->tb ? g->k : g->n;
  p.ldc = g->n;
  p.alpha = g->alpha;
  p.beta = g->beta;
  p.a = g->a + (rows ? first * (g->ta ? 1 : p.lda) : 0);
  p.b = g->b + (rows ? 0 : first * (g->tb ? p.ldb : 1));
  p.c = g->c + first * (rows ? p.ldc : 1);
  return p;
}

/* The library's own threads would wait for each other inside a product, spinning; pieces of ours need no such wait, and no sum is parted. */
void dnnl_gemm(struct backend *b, const struct gemm *g) {
  int n = (double)g->m * (double)g->n * (double)g->k < 1e5 ? 1 : b->threads;
  bool ok = true;
  set_threads(b);
#pragma omp parallel for num_threads(n) schedule(static, 1) reduction(&& : ok)
  for (int i = 0; i < n; i++) {
    struct dn_product p = piece(g, i, n);
    ok = ok && (p.m == 0 || p.n == 0 || dn_sgemm(&p));
  }
  if (!ok)
    err_set(&b->fault, ERR_FIT, "oneDNN refused a matrix product of %lld x %lld x %lld", (long long)g->m, (long long)g->n, (long long)g->k);
}

/* --- primitives ----------------------------------------------------------------------------------------------------------------- */

/* NULL: not in the library */
static struct dn_op *find_op(struct backend *b, const struct dn_key *key) {
  struct dnnl *d = cpu_of(b)->dnnl;
  uint32_t i = hash_of(key, sizeof *key) % OPS;
  set_threads(b);
  for (; d->ops[i].used; i = (i + 1) % OPS)
    if (memcmp(&d->ops[i].key, key, sizeof *key) == 0) return d->ops[i].op;
  if (d->count == OPS / 2) return NULL;
  d->count++;
  d->ops[i] = (struct entry){.key = *key, .op = dn_op_new(d->engine, key), .used = true};
  return d->ops[i].op;
}

static void failed(struct backend *b, const struct dn_op *op) {
  err_set(&b->fault, ERR_FIT, "oneDNN failed in %s", dn_op_name(op));
}

/* to [ci, co, kh, kw] = w with in and out exchanged and the kernel turned round */
static void turn(struct backend *b, float *to, const float *w, int64_t co, int64_t ci, int taps) {
#pragma omp parallel for num_threads(b->threads)
  for (int64_t i = 0; i < ci; i++)
    for (int64_t o = 0; o < co; o++)
      for (int t = 0; t < taps; t++) to[(i * co + o) * taps + t] = w[(o * ci + i) * taps + taps - 1 - t];
}

/* Room for a packed copy: kept with a frozen param, else scratch. *fresh: it must be filled. */
static void *pack_room(struct backend *b, struct param *w, const struct dn_op *op, bool dx, void *scratch, bool *fresh) {
  *fresh = true;
  if (!w->frozen) return scratch;
  if (!w->pack) w->pack = calloc(1, sizeof(struct pack));
  if (!w->pack) return scratch;
  struct copy *c = &((struct pack *)w->pack)->copy[dx];
  *fresh = c->op != op || c->version != w->version;
  if (c->op != op) {
    ref_release(b, c->p, c->bytes);
    if (cpu_of(b)->rehearsing) b->need.packed += ref_taken(dn_op_weights(op)) - (c->op ? ref_taken(c->bytes) : 0);
    c->bytes = dn_op_weights(op);
    c->p = cpu_of(b)->rehearsing ? NULL : ref_alloc(b, c->bytes, &b->fault);
  }
  c->op = c->p || cpu_of(b)->rehearsing ? op : NULL;
  c->version = w->version;
  return c->p ? c->p : scratch;
}

void cpu_drop_pack(struct backend *b, struct param *p) {
  struct pack *k = p->pack;
  for (int i = 0; k && i < 2; i++) ref_release(b, k->copy[i].p, k->copy[i].bytes);
  free(k);
  p->pack = NULL;
}

static int64_t floats_of(size_t bytes) {
  return cpu_round((int64_t)((bytes + 3) / 4));
}

/* Forward or data gradient: x and y as dn_op_run names them; turned: weights exchanged and turned round first. */
static bool run_op(struct backend *b, const struct dn_key *key, void *x, struct param *w, bool dx, bool turned, const float *bias,
                   void *y) {
  struct dn_op *op = find_op(b, key);
  if (!op) return false;
  int64_t own = floats_of(dn_op_scratch(op)), packed = floats_of(dn_op_weights(op)), plain = turned ? cpu_round(w->count) : 0;
  float *scratch = cpu_scratch(b, own + packed + plain);
  bool fresh = false, ok = true;
  if (!scratch && packed && cpu_of(b)->rehearsing) pack_room(b, w, op, dx, NULL, &fresh);
  if (!scratch) return true;
  const float *from = w->w;
  void *weights = w->w;
  if (packed) weights = pack_room(b, w, op, dx, scratch + own, &fresh);
  if (turned && (fresh || !packed)) {
    turn(b, scratch + own + packed, w->w, key->ci, key->co, key->kh * key->kw);
    from = scratch + own + packed;
  }
  if (fresh) ok = dn_op_reorder(op, from, weights, scratch);
  if (!packed) weights = (void *)(uintptr_t)from;
  if (!ok || !dn_op_run(op, x, weights, (void *)(uintptr_t)bias, y, scratch)) failed(b, op);
  return true;
}

static bool run_dw(struct backend *b, const struct dn_key *key, struct param *w, const struct tensor *x, const struct tensor *dy) {
  struct dn_op *op = find_op(b, key);
  if (!op) return false;
  int64_t own = floats_of(dn_op_scratch(op)), packed = dn_op_weights(op) ? floats_of(dn_op_weights(op)) : cpu_round(w->count);
  float *scratch = cpu_scratch(b, own + packed);
  if (!scratch) return true;
  bool ok = dn_op_run(op, x->data, scratch + own, NULL, dy->data, scratch);
  if (dn_op_weights(op))
    ok = ok && dn_op_reorder(op, scratch + own, w->g, scratch);
  else {
    struct tensor sum = tensor_1d(w->g, DT_F32, w->count), more = tensor_1d(scratch + own, DT_F32, w->count);
    b->op->add(b, &sum, &sum, &more);
  }
  if (!ok) failed(b, op);
  return true;
}

/* --- which calls come here ---------------------------------------------------------------------------------------------------------- */

/* F16: its arithmetic is rare in CPUs, so it is left to the tiles on widened values. */
static bool wanted(const struct backend *b, enum dtype type, bool conv) {
  const struct dnnl *d = cpu_of(b)->dnnl;
  return d && type != DT_F16 && (type == DT_BF16 ? d->bf16 : conv && d->conv_f32);
}

static struct dn_key conv_key(enum dn_kind kind, const struct tensor *x, const struct tensor *y, const struct conv_shape *s) {
  struct dn_key k;
  memset(&k, 0, sizeof k);
  k.kind = (int32_t)kind;
  k.type = (int32_t)x->type;
  k.n = (int32_t)x->dim[0];
  k.ih = (int32_t)x->dim[1];
  k.iw = (int32_t)x->dim[2];
  k.ci = (int32_t)x->dim[3];
  k.oh = (int32_t)y->dim[1];
  k.ow = (int32_t)y->dim[2];
  k.co = (int32_t)y->dim[3];
  k.kh = s->kh;
  k.kw = s->kw;
  k.stride = s->stride;
  k.pad[0] = s->pad_top;
  k.pad[1] = s->pad_left;
  k.pad[2] = s->pad_bottom;
  k.pad[3] = s->pad_right;
  return k;
}

bool dnnl_conv(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, const float *bias,
               const struct conv_shape *s) {
  if (!wanted(b, x->type, true)) return false;
  struct dn_key key = conv_key(DN_CONV, x, y, s);
  key.bias = bias != NULL;
  return run_op(b, &key, x->data, w, false, false, bias, y->data);
}

bool dnnl_conv_dx(struct backend *b, struct tensor *dx, const struct tensor *dy, struct param *w, const struct conv_shape *s) {
  if (!wanted(b, dy->type, true)) return false;
  bool inside = s->pad_top < s->kh && s->pad_bottom < s->kh && s->pad_left < s->kw && s->pad_right < s->kw;
  if (s->stride != 1 || !inside) {
    struct dn_key key = conv_key(DN_CONV_DX, dx, dy, s);
    return run_op(b, &key, dx->data, w, true, false, NULL, dy->data);
  }
  struct conv_shape t = *s;
  t.pad_top = s->kh - 1 - s->pad_top;
  t.pad_bottom = s->kh - 1 - s->pad_bottom;
  t.pad_left = s->kw - 1 - s->pad_left;
  t.pad_right = s->kw - 1 - s->pad_right;
  struct dn_key key = conv_key(DN_CONV, dy, dx, &t);
  return run_op(b, &key, dy->data, w, true, true, NULL, dx->data);
}

bool dnnl_conv_dw(struct backend *b, struct param *w, const struct tensor *x, const struct tensor *dy, const struct conv_shape *s) {
  if (!wanted(b, x->type, true)) return false;
  struct dn_key key = conv_key(DN_CONV_DW, x, dy, s);
  return run_dw(b, &key, w, x, dy);
}

/* Thin products (adapters) are left to gemm.c. */
static bool linear_key(const struct backend *b, struct dn_key *k, enum dn_kind kind, const struct tensor *x, const struct tensor *y) {
  int64_t ci = tensor_last(x), co = tensor_last(y);
  if (!wanted(b, x->type, false) || ci < 16 || co < 16) return false;
  memset(k, 0, sizeof *k);
  k->kind = (int32_t)kind;
  k->type = (int32_t)x->type;
  k->n = (int32_t)tensor_rows(x);
  k->ci = (int32_t)ci;
  k->co = (int32_t)co;
  return true;
}

bool dnnl_linear(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, const float *bias) {
  struct dn_key key;
  if (!linear_key(b, &key, DN_LINEAR, x, y)) return false;
  key.bias = bias != NULL;
  return run_op(b, &key, x->data, w, false, false, bias, y->data);
}

bool dnnl_linear_dx(struct backend *b, struct tensor *dx, const struct tensor *dy, struct param *w) {
  struct dn_key key;
  return linear_key(b, &key, DN_LINEAR_DX, dx, dy) && run_op(b, &key, dx->data, w, true, false, NULL, dy->data);
}

bool dnnl_linear_dw(struct backend *b, struct param *w, const struct tensor *x, const struct tensor *dy) {
  struct dn_key key;
  return linear_key(b, &key, DN_LINEAR_DW, x, dy) && run_dw(b, &key, w, x, dy);
}
