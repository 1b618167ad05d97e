/* Tensors from the pool, and the sticky error (ctx.h).
 *
 * A planning run has a pool without memory (base NULL): its tensors get addresses that are not NULL, so that "empty" still
 * means "none", and that nobody looks at, since the counting backend computes nothing. */
#include "nets/ctx.h"

#include <stdlib.h>
#include <string.h>

static const uintptr_t PLAN_BASE = 65536;

static uintptr_t base_of(const struct ctx *c) {
  void *base = pool_base(c->pool);
  return base ? (uintptr_t)base : PLAN_BASE;
}

bool ctx_ok(struct ctx *c) {
  if (!c->failed && c->b->fault.code != ERR_OK) {
    err_set(c->err, c->b->fault.code, "%s", c->b->fault.text);
    c->failed = true;
  }
  return !c->failed;
}

struct tensor ctx_new(struct ctx *c, enum dtype type, int rank, const int64_t *dim) {
  struct tensor t = tensor_of(NULL, type, rank, dim);
  size_t offset;
  if (!ctx_ok(c)) return (struct tensor){0};
  if (!pool_take(c->pool, tensor_bytes(&t), &offset)) {
    if (pool_starved(c->pool))
      err_set(c->err, ERR_FIT, "out of memory for the list of activations");
    else
      err_set(c->err, ERR_FIT, "no room for %.1f MiB of activations beside %.1f MiB in use: choose a smaller batch or resolution",
              (double)tensor_bytes(&t) / (1 << 20), (double)pool_used(c->pool) / (1 << 20));
    c->failed = true;
    return (struct tensor){0};
  }
  t.data = (void *)(base_of(c) + offset);
  return t;
}

struct tensor ctx_new_2d(struct ctx *c, enum dtype type, int64_t a, int64_t b) {
  return ctx_new(c, type, 2, (int64_t[]){a, b});
}

struct tensor ctx_new_3d(struct ctx *c, enum dtype type, int64_t a, int64_t b, int64_t d) {
  return ctx_new(c, type, 3, (int64_t[]){a, b, d});
}

struct tensor ctx_new_4d(struct ctx *c, enum dtype type, int64_t n, int64_t h, int64_t w, int64_t ch) {
  return ctx_new(c, type, 4, (int64_t[]){n, h, w, ch});
}

struct tensor ctx_like(struct ctx *c, const struct tensor *t) {
  return ctx_new(c, t->type, t->rank, t->dim);
}

void ctx_free(struct ctx *c, struct tensor *t) {
  if (t->data) pool_give(c->pool, (size_t)((uintptr_t)t->data - base_of(c)));
  *t = (struct tensor){0};
}

void ctx_part(struct ctx *c, const void *key, size_t bytes, void (*compute)(struct ctx *c, void *user), void *user) {
  const struct backend_ops *op = c->b->op;
  bool part = op->part_begin && !c->b->one_by_one && ctx_ok(c);
  if (part && !op->part_begin(c->b, key, bytes)) return;
  compute(c, user);
  if (part && !op->part_end(c->b)) compute(c, user);
}

static void to_type(void *out, enum dtype type, const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) switch (type) {
      case DT_F32:
        ((float *)out)[i] = x[i];
        break;
      case DT_BF16:
        ((uint16_t *)out)[i] = f32_to_bf16(x[i]);
        break;
      case DT_F16:
        ((uint16_t *)out)[i] = f32_to_f16(x[i]);
        break;
      case DT_I32:
        ((int32_t *)out)[i] = (int32_t)x[i];
        break;
      case DT_U8:
        ((uint8_t *)out)[i] = (uint8_t)x[i];
        break;
    }
}

static void to_floats(float *out, const void *x, enum dtype type, int64_t n) {
  for (int64_t i = 0; i < n; i++) switch (type) {
      case DT_F32:
        out[i] = ((const float *)x)[i];
        break;
      case DT_BF16:
        out[i] = bf16_to_f32(((const uint16_t *)x)[i]);
        break;
      case DT_F16:
        out[i] = f16_to_f32(((const uint16_t *)x)[i]);
        break;
      case DT_I32:
        out[i] = (float)((const int32_t *)x)[i];
        break;
      case DT_U8:
        out[i] = ((const uint8_t *)x)[i];
        break;
    }
}

static void *host_buffer(struct ctx *c, size_t bytes) {
  void *p = malloc(bytes ? bytes : 1);
  if (p) return p;
  err_set(c->err, ERR_FIT, "out of memory: %zu bytes to copy a tensor", bytes);
  c->failed = true;
  return NULL;
}

struct tensor ctx_upload(struct ctx *c, enum dtype type, int rank, const int64_t *dim, const float *x) {
  struct tensor t = ctx_new(c, type, rank, dim);
  if (!t.data || !pool_base(c->pool)) return t; /* planning: x may be anything */
  if (type == DT_F32) {
    c->b->op->upload(c->b, t.data, x, tensor_bytes(&t));
    return t;
  }
  void *host = host_buffer(c, tensor_bytes(&t));
  if (!host) {
    ctx_free(c, &t);
    return t;
  }
  to_type(host, type, x, tensor_count(&t));
  c->b->op->upload(c->b, t.data, host, tensor_bytes(&t));
  free(host);
  return t;
}

void ctx_download(struct ctx *c, float *out, const struct tensor *t) {
  if (!ctx_ok(c) || !t->data) return;
  int64_t n = tensor_count(t);
  if (!pool_base(c->pool)) {
    memset(out, 0, (size_t)n * sizeof *out);
    return;
  }
  if (t->type == DT_F32) {
    c->b->op->download(c->b, out, t->data, tensor_bytes(t));
    return;
  }
  void *host = host_buffer(c, tensor_bytes(t));
  if (!host) return;
  c->b->op->download(c->b, host, t->data, tensor_bytes(t));
  to_floats(out, host, t->type, n);
  free(host);
}

/* A planning pass over the same parameters asks for nothing. */
static struct param_keeper *keeper_of(const struct ctx *c, const struct param_set *s) {
  return !c->failed && s->keeper && s->keeper->b == c->b ? s->keeper : NULL;
}

void ctx_weights(struct ctx *c, struct param_set *s, int block) {
  struct param_keeper *k = keeper_of(c, s);
  if (k) k->weights(k, s, block);
}

void ctx_gradients(struct ctx *c, struct param_set *s, int block) {
  struct param_keeper *k = keeper_of(c, s);
  if (k) k->gradients(k, s, block);
}

void ctx_final(struct ctx *c, struct param_set *s, int block) {
  struct param_keeper *k = keeper_of(c, s);
  if (k) k->final(k, s, block);
}
