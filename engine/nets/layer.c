#include "nets/layer.h"

#include "nets/gradient.h"

#include <stdio.h>

const char *path_join(char out[PATH_SIZE], const char *path, const char *leaf) {
  snprintf(out, PATH_SIZE, "%s.%s", path, leaf);
  return out;
}

bool linear_init(struct linear *l, struct param_set *s, const char *path, int64_t in, int64_t out, bool bias) {
  *l = (struct linear){.in = in, .out = out};
  l->w = param_add(s, 2, (int64_t[]){out, in}, "%s.weight", path);
  if (bias) l->b = param_add(s, 1, (int64_t[]){out}, "%s.bias", path);
  return l->w && (l->b || !bias);
}

bool pointwise_init(struct linear *l, struct param_set *s, const char *path, int64_t in, int64_t out) {
  *l = (struct linear){.in = in, .out = out};
  l->w = param_add(s, 4, (int64_t[]){out, in, 1, 1}, "%s.weight", path);
  l->b = param_add(s, 1, (int64_t[]){out}, "%s.bias", path);
  return l->w && l->b;
}

bool conv_init(struct conv *l, struct param_set *s, const char *path, int64_t in, int64_t out, int kernel, int stride, int pad) {
  *l = (struct conv){.in = in, .out = out, .s = {kernel, kernel, stride, pad, pad, pad, pad}};
  l->w = param_add(s, 4, (int64_t[]){out, in, kernel, kernel}, "%s.weight", path);
  l->b = param_add(s, 1, (int64_t[]){out}, "%s.bias", path);
  return l->w && l->b;
}

bool norm_init(struct norm *l, struct param_set *s, const char *path, int64_t channels, int groups, float eps) {
  *l = (struct norm){.eps = eps, .groups = groups};
  l->g = param_add(s, 1, &channels, "%s.weight", path);
  l->b = param_add(s, 1, &channels, "%s.bias", path);
  return l->g && l->b;
}

bool linear_adapt(struct linear *l, struct lora_set *set, const struct lora_spec *spec, const char *path) {
  if (l->lora.a || !lora_spec_matches(spec, path)) return true;
  return lora_add(set, path, l->in, l->out, l->w->rank == 4, spec->rank, spec->alpha, &l->lora);
}

static bool wants(const struct param *p) {
  return p && !p->frozen;
}

bool linear_trained(const struct linear *l) {
  return wants(l->w) || wants(l->b) || wants(l->lora.a) || wants(l->lora.b);
}
bool conv_trained(const struct conv *l) {
  return wants(l->w) || wants(l->b);
}
bool norm_trained(const struct norm *l) {
  return wants(l->g) || wants(l->b);
}

/* w->g += alpha dy^T x and b->g += column sums of dy, where they are trained. */
static void linear_gradients(struct ctx *c, struct param *w, struct param *b, const struct tensor *x, const struct tensor *dy, float alpha) {
  if (!wants(w)) w = NULL;
  if (!wants(b)) b = NULL;
  if (!w && !b) return;
  struct lent_gradients l = gradients_lend(c, w, b);
  if (!c->failed) c->b->op->linear_dw(c->b, w, b, x, dy, alpha);
  gradients_return(c, &l);
}

static struct tensor as_rows(const struct tensor *t) {
  return tensor_2d(t->data, t->type, tensor_rows(t), tensor_last(t));
}

struct tensor linear_forward(struct ctx *c, struct linear *l, const struct tensor *x) {
  struct tensor shape = *x;
  shape.dim[x->rank > 0 ? x->rank - 1 : 0] = l->out;
  struct tensor y = ctx_new(c, x->type, x->rank, shape.dim);
  if (c->failed) return y;
  struct tensor x2 = as_rows(x), y2 = as_rows(&y);
  c->b->op->linear(c->b, &y2, &x2, l->w, l->b, 1, 0);
  float scale = l->lora.a ? lora_scale(&l->lora) : 0;
  if (scale == 0) return y;
  struct tensor u = ctx_new_2d(c, x->type, x2.dim[0], l->lora.a->dim[0]);
  if (c->failed) return y;
  c->b->op->linear(c->b, &u, &x2, l->lora.a, NULL, 1, 0);
  c->b->op->linear(c->b, &y2, &u, l->lora.b, NULL, scale, 1);
  ctx_free(c, &u);
  return y;
}

/* du = s dy B, u = x A^T: dB += s dy^T u, dA += du^T x, dx += du A. */
static void lora_backward(struct ctx *c, struct linear *l, const struct tensor *x, const struct tensor *dy, struct tensor *dx) {
  const struct backend_ops *op = c->b->op;
  float scale = lora_scale(&l->lora);
  if (scale == 0) return;
  struct tensor u = ctx_new_2d(c, dy->type, dy->dim[0], l->lora.a->dim[0]);
  if (c->failed) return;
  if (wants(l->lora.b)) {
    op->linear(c->b, &u, x, l->lora.a, NULL, 1, 0);
    linear_gradients(c, l->lora.b, NULL, &u, dy, scale);
  }
  op->linear_dx(c->b, &u, dy, l->lora.b, scale, 0);
  linear_gradients(c, l->lora.a, NULL, x, &u, 1);
  if (dx && !c->failed) op->linear_dx(c->b, dx, &u, l->lora.a, 1, 1);
  ctx_free(c, &u);
}

void linear_backward(struct ctx *c, struct linear *l, const struct tensor *x, const struct tensor *dy, struct tensor *dx, float beta) {
  if (c->failed) return;
  struct tensor dy2 = as_rows(dy), x2 = {0}, dx2 = {0};
  if (linear_trained(l)) x2 = as_rows(x);
  linear_gradients(c, l->w, l->b, &x2, &dy2, 1);
  if (dx && !c->failed) {
    dx2 = as_rows(dx);
    c->b->op->linear_dx(c->b, &dx2, &dy2, l->w, 1, beta);
  }
  if (l->lora.a && !c->failed) lora_backward(c, l, &x2, &dy2, dx ? &dx2 : NULL);
}

static int64_t conv_out(int64_t size, int kernel, int stride, int before, int after) {
  return (size + before + after - kernel) / stride + 1;
}

struct tensor conv_forward(struct ctx *c, struct conv *l, const struct tensor *x) {
  const struct conv_shape *s = &l->s;
  if (c->failed) return (struct tensor){0};
  int64_t h = conv_out(x->dim[1], s->kh, s->stride, s->pad_top, s->pad_bottom);
  int64_t w = conv_out(x->dim[2], s->kw, s->stride, s->pad_left, s->pad_right);
  struct tensor y = ctx_new_4d(c, x->type, x->dim[0], h, w, l->out);
  if (!c->failed) c->b->op->conv(c->b, &y, x, l->w, l->b, s);
  return y;
}

void conv_backward(struct ctx *c, struct conv *l, const struct tensor *x, const struct tensor *dy, struct tensor *dx) {
  if (c->failed) return;
  if (conv_trained(l)) {
    struct lent_gradients lent = gradients_lend(c, l->w, l->b);
    if (!c->failed) c->b->op->conv_dw(c->b, wants(l->w) ? l->w : NULL, wants(l->b) ? l->b : NULL, x, dy, &l->s);
    gradients_return(c, &lent);
  }
  if (dx && !c->failed) c->b->op->conv_dx(c->b, dx, dy, l->w, &l->s);
}

struct tensor norm_forward(struct ctx *c, struct norm *l, const struct tensor *x, struct tensor *stats, bool silu) {
  struct tensor y = ctx_like(c, x), own = {0};
  if (c->failed) return y;
  struct tensor x2 = as_rows(x), y2 = as_rows(&y);
  if (l->groups)
    own = ctx_new_3d(c, DT_F32, x->dim[0], l->groups, 2);
  else
    own = ctx_new_2d(c, DT_F32, x2.dim[0], 2);
  if (c->failed) return y;
  if (l->groups)
    c->b->op->group_norm(c->b, &y, &own, x, l->g, l->b, l->groups, l->eps, silu);
  else
    c->b->op->layer_norm(c->b, &y2, &own, &x2, l->g, l->b, l->eps);
  if (stats)
    *stats = own;
  else
    ctx_free(c, &own);
  return y;
}

static void norm_gradients(struct ctx *c, struct norm *l, const struct tensor *x, const struct tensor *stats, const struct tensor *dy,
                           struct tensor *dx, bool silu) {
  struct tensor x2 = as_rows(x), dy2 = as_rows(dy), dx2 = as_rows(dx);
  if (l->groups)
    c->b->op->group_norm_bwd(c->b, dx, dy, x, stats, l->g, l->b, l->groups, silu);
  else
    c->b->op->layer_norm_bwd(c->b, &dx2, &dy2, &x2, stats, l->g, l->b);
}

struct tensor norm_backward(struct ctx *c, struct norm *l, const struct tensor *x, const struct tensor *stats, const struct tensor *dy,
                            bool silu) {
  struct tensor dx = ctx_like(c, dy);
  if (c->failed) return dx;
  struct lent_gradients lent = gradients_lend(c, l->g, l->b);
  if (!c->failed) norm_gradients(c, l, x, stats, dy, &dx, silu);
  gradients_return(c, &lent);
  return dx;
}

void add_to(struct ctx *c, struct tensor *y, const struct tensor *x) {
  if (!c->failed) c->b->op->add(c->b, y, y, x);
}

void accumulate_f32(struct ctx *c, struct tensor *y, const struct tensor *x) {
  if (c->failed) return;
  if (x->type == DT_F32) {
    c->b->op->axpby(c->b, y, 1, x, 1);
    return;
  }
  struct tensor wide = cast_to(c, x, DT_F32);
  if (!c->failed) c->b->op->axpby(c->b, y, 1, &wide, 1);
  ctx_free(c, &wide);
}

struct tensor cast_to(struct ctx *c, const struct tensor *x, enum dtype type) {
  struct tensor y = ctx_new(c, type, x->rank, x->dim);
  if (!c->failed) c->b->op->cast(c->b, &y, x);
  return y;
}
