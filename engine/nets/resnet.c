#include "nets/resnet.h"

bool resnet_init(struct resnet *r, struct param_set *s, const char *path, int64_t in, int64_t out, int64_t time_channels, int groups,
                 float eps) {
  char p[PATH_SIZE];
  *r = (struct resnet){0};
  path_join(p, path, "norm1");
  if (!norm_init(&r->norm1, s, p, in, groups, eps)) return false;
  path_join(p, path, "conv1");
  if (!conv_init(&r->conv1, s, p, in, out, 3, 1, 1)) return false;
  path_join(p, path, "time_emb_proj");
  if (time_channels && !linear_init(&r->time, s, p, time_channels, out, true)) return false;
  path_join(p, path, "norm2");
  if (!norm_init(&r->norm2, s, p, out, groups, eps)) return false;
  path_join(p, path, "conv2");
  if (!conv_init(&r->conv2, s, p, out, out, 3, 1, 1)) return false;
  path_join(p, path, "conv_shortcut");
  return in == out || pointwise_init(&r->shortcut, s, p, in, out);
}

bool resnet_adapt(struct resnet *r, struct lora_set *set, const struct lora_spec *spec, const char *path) {
  char p[PATH_SIZE];
  path_join(p, path, "time_emb_proj");
  return !r->time.w || linear_adapt(&r->time, set, spec, p);
}

bool resnet_trained(const struct resnet *r) {
  return norm_trained(&r->norm1) || norm_trained(&r->norm2) || conv_trained(&r->conv1) || conv_trained(&r->conv2) ||
         (r->time.w && linear_trained(&r->time)) || (r->shortcut.w && linear_trained(&r->shortcut));
}

/* View [n, h w, c] of a picture: add_rows and sum_rows want rows. */
static struct tensor rows_of(const struct tensor *t) {
  return tensor_3d(t->data, t->type, t->dim[0], t->dim[1] * t->dim[2], t->dim[3]);
}

struct tensor resnet_forward(struct ctx *c, struct resnet *r, const struct tensor *x, const struct tensor *emb, struct resnet_tape *tape) {
  struct resnet_tape own = {0};
  struct tensor a = norm_forward(c, &r->norm1, x, &own.stats1, true);
  own.h = conv_forward(c, &r->conv1, &a);
  ctx_free(c, &a);
  if (r->time.w) {
    struct tensor e = linear_forward(c, &r->time, emb);
    struct tensor h3 = c->failed ? own.h : rows_of(&own.h);
    if (!c->failed) c->b->op->add_rows(c->b, &h3, &h3, &e);
    ctx_free(c, &e);
  }
  a = norm_forward(c, &r->norm2, &own.h, &own.stats2, true);
  struct tensor y = conv_forward(c, &r->conv2, &a);
  ctx_free(c, &a);
  if (r->shortcut.w) {
    struct tensor s = linear_forward(c, &r->shortcut, x);
    add_to(c, &y, &s);
    ctx_free(c, &s);
  } else {
    add_to(c, &y, x);
  }
  if (tape)
    *tape = own;
  else
    resnet_tape_drop(c, &own);
  return y;
}

/* Gradient of conv(silu(norm(x))): fresh dx. */
static struct tensor half_backward(struct ctx *c, struct norm *norm, struct conv *conv, const struct tensor *x, const struct tensor *stats,
                                   const struct tensor *dy) {
  struct tensor a = {0};
  if (conv_trained(conv)) a = norm_forward(c, norm, x, NULL, true);
  struct tensor da = ctx_like(c, x);
  conv_backward(c, conv, &a, dy, &da);
  ctx_free(c, &a);
  struct tensor dx = norm_backward(c, norm, x, stats, &da, true);
  ctx_free(c, &da);
  return dx;
}

static void time_backward(struct ctx *c, struct resnet *r, const struct tensor *emb, const struct tensor *dh, struct tensor *demb) {
  if (!r->time.w || (!linear_trained(&r->time) && !demb)) return;
  struct tensor de = ctx_new_2d(c, dh->type, dh->dim[0], dh->dim[3]);
  if (c->failed) return;
  struct tensor rows = rows_of(dh);
  c->b->op->sum_rows(c->b, &de, &rows);
  linear_backward(c, &r->time, emb, &de, demb, 1);
  ctx_free(c, &de);
}

struct tensor resnet_backward(struct ctx *c, struct resnet *r, struct resnet_tape *tape, const struct tensor *x, const struct tensor *emb,
                              const struct tensor *dy, struct tensor *demb) {
  struct tensor dh = half_backward(c, &r->norm2, &r->conv2, &tape->h, &tape->stats2, dy);
  time_backward(c, r, emb, &dh, demb);
  struct tensor dx = half_backward(c, &r->norm1, &r->conv1, x, &tape->stats1, &dh);
  ctx_free(c, &dh);
  if (r->shortcut.w)
    linear_backward(c, &r->shortcut, x, dy, &dx, 1);
  else
    add_to(c, &dx, dy);
  resnet_tape_drop(c, tape);
  return dx;
}

void resnet_tape_drop(struct ctx *c, struct resnet_tape *tape) {
  ctx_free(c, &tape->stats1);
  ctx_free(c, &tape->h);
  ctx_free(c, &tape->stats2);
}
