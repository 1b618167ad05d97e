/* Multi-head attention with its four projections: diffusers' models/attention_processor.py AttnProcessor, transformers' CLIPAttention. */
#include <math.h>
#include <stdlib.h>

#include "nets/transformer.h"

bool attention_init(struct attention *a, struct param_set *s, const char *const path[4], int64_t channels, int64_t context, int heads,
                    bool bias) {
  a->heads = heads;
  return linear_init(&a->q, s, path[0], channels, channels, bias) && linear_init(&a->k, s, path[1], context, channels, bias) &&
         linear_init(&a->v, s, path[2], context, channels, bias) && linear_init(&a->out, s, path[3], channels, channels, true);
}

static struct attention_shape shape_of(const struct attention *a, bool causal) {
  return (struct attention_shape){.heads = a->heads, .scale = 1.0f / sqrtf((float)(a->q.out / a->heads)), .causal = causal};
}

void attention_qkv(struct ctx *c, struct attention *a, const struct tensor *x, const struct tensor *context, struct attention_tape *t) {
  if (!context) context = x;
  t->q = linear_forward(c, &a->q, x);
  t->k = linear_forward(c, &a->k, context);
  t->v = linear_forward(c, &a->v, context);
}

struct tensor attention_mix(struct ctx *c, struct attention *a, struct attention_tape *t, bool causal) {
  struct attention_shape s = shape_of(a, causal);
  t->o = ctx_like(c, &t->q);
  t->lse = ctx_new_3d(c, DT_F32, t->q.dim[0], a->heads, t->q.dim[1]);
  if (!c->failed) c->b->op->attention(c->b, &t->o, &t->lse, &t->q, &t->k, &t->v, &s);
  return linear_forward(c, &a->out, &t->o);
}

/* v' [n, tk, channels]: 1 at the keys looked at, 0 elsewhere. */
static struct tensor indicator(struct ctx *c, const struct tensor *v, int first, int count) {
  struct tensor y = ctx_like(c, v);
  if (c->failed) return y;
  struct tensor rows = tensor_2d(y.data, y.type, v->dim[0] * v->dim[1], v->dim[2]);
  c->b->op->fill(c->b, &y, 0);
  for (int64_t i = 0; i < v->dim[0]; i++) {
    struct tensor keys = tensor_slice(rows, i * v->dim[1] + first, count);
    c->b->op->fill(c->b, &keys, 1);
  }
  return y;
}

void attention_share(struct ctx *c, const struct attention *a, const struct attention_tape *t, int first, int count, float *out) {
  struct attention_shape s = shape_of(a, false);
  struct tensor v = indicator(c, &t->v, first, count), o = ctx_like(c, &t->q);
  int64_t rows = tensor_rows(&t->q), channels = tensor_last(&t->q), d = channels / a->heads;
  float *all = calloc((size_t)(rows * channels), sizeof *all);
  if (!all && !c->failed) c->failed = !err_set(c->err, ERR_FIT, "out of memory for the attention to a word");
  if (!c->failed) c->b->op->attention(c->b, &o, NULL, &t->q, &t->k, &v, &s);
  if (!c->failed) ctx_download(c, all, &o);
  for (int64_t i = 0; !c->failed && i < rows; i++) {
    double sum = 0;
    for (int h = 0; h < a->heads; h++) sum += all[i * channels + h * d];
    out[i] = (float)(sum / a->heads);
  }
  free(all);
  ctx_free(c, &o);
  ctx_free(c, &v);
}

struct grads {
  struct tensor q, k, v;
};

static struct grads mix_backward(struct ctx *c, struct attention *a, struct attention_tape *t, const struct tensor *dy, bool causal) {
  struct attention_shape s = shape_of(a, causal);
  struct tensor d_o = ctx_like(c, &t->o);
  linear_backward(c, &a->out, &t->o, dy, &d_o, 0);
  struct grads g = {ctx_like(c, &t->q), ctx_like(c, &t->k), ctx_like(c, &t->v)};
  if (!c->failed) c->b->op->attention_bwd(c->b, &g.q, &g.k, &g.v, &d_o, &t->o, &t->lse, &t->q, &t->k, &t->v, &s);
  ctx_free(c, &d_o);
  return g;
}

static void context_backward(struct ctx *c, struct attention *a, const struct tensor *context, const struct grads *g,
                             struct tensor *dcontext) {
  struct tensor d = {0};
  if (dcontext) d = ctx_like(c, context);
  linear_backward(c, &a->k, context, &g->k, dcontext ? &d : NULL, 0);
  linear_backward(c, &a->v, context, &g->v, dcontext ? &d : NULL, 1);
  if (dcontext) accumulate_f32(c, dcontext, &d);
  ctx_free(c, &d);
}

struct tensor attention_backward(struct ctx *c, struct attention *a, struct attention_tape *t, const struct tensor *x,
                                 const struct tensor *context, const struct tensor *dy, const struct tensor *dq_extra,
                                 struct tensor *dcontext, bool causal) {
  struct grads g = mix_backward(c, a, t, dy, causal);
  if (dq_extra) add_to(c, &g.q, dq_extra);
  struct tensor dx = ctx_like(c, x);
  linear_backward(c, &a->q, x, &g.q, &dx, 0);
  if (context) {
    context_backward(c, a, context, &g, dcontext);
  } else {
    linear_backward(c, &a->k, x, &g.k, &dx, 1);
    linear_backward(c, &a->v, x, &g.v, &dx, 1);
  }
  ctx_free(c, &g.q);
  ctx_free(c, &g.k);
  ctx_free(c, &g.v);
  attention_tape_drop(c, t);
  return dx;
}

void attention_tape_drop(struct ctx *c, struct attention_tape *t) {
  ctx_free(c, &t->q);
  ctx_free(c, &t->k);
  ctx_free(c, &t->v);
  ctx_free(c, &t->o);
  ctx_free(c, &t->lse);
}
