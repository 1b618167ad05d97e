#include "nets/transformer.h"

#include <stdio.h>
#include <stdlib.h>

static const char *block_leaf(char out[32], int i) {
  snprintf(out, 32, "transformer_blocks.%d", i);
  return out;
}

/* --- building -------------------------------------------------------------------------------------------------------- */

static const char *const projections[4] = {"to_q", "to_k", "to_v", "to_out.0"};

static bool attention_at(struct attention *a, struct param_set *s, const char *path, int64_t channels, int64_t context, int heads) {
  char p[4][PATH_SIZE];
  const char *names[4];
  for (int i = 0; i < 4; i++) {
    names[i] = path_join(p[i], path, projections[i]);
  }
  return attention_init(a, s, names, channels, context, heads, false);
}

static bool norm_at(struct norm *n, struct param_set *s, const char *path, const char *leaf, int64_t channels) {
  char p[PATH_SIZE];
  path_join(p, path, leaf);
  return norm_init(n, s, p, channels, 0, 1e-5f);
}

static bool block_init(struct block *b, struct param_set *s, const char *path, const struct transformer_spec *spec) {
  int64_t ch = spec->channels;
  char p[PATH_SIZE];
  if (!norm_at(&b->norm1, s, path, "norm1", ch)) return false;
  path_join(p, path, "attn1");
  if (!attention_at(&b->self, s, p, ch, ch, spec->heads) || !norm_at(&b->norm2, s, path, "norm2", ch)) return false;
  path_join(p, path, "attn2");
  if (!attention_at(&b->cross, s, p, ch, spec->cross_dim, spec->heads) || !norm_at(&b->norm3, s, path, "norm3", ch)) return false;
  path_join(p, path, "ff.net.0.proj");
  if (!linear_init(&b->ff_in, s, p, ch, 8 * ch, true)) return false;
  path_join(p, path, "ff.net.2");
  return linear_init(&b->ff_out, s, p, 4 * ch, ch, true);
}

static bool projection_init(struct linear *l, struct param_set *s, const char *path, const char *leaf,
                            const struct transformer_spec *spec) {
  char p[PATH_SIZE];
  path_join(p, path, leaf);
  if (spec->linear_projection) return linear_init(l, s, p, spec->channels, spec->channels, true);
  return pointwise_init(l, s, p, spec->channels, spec->channels);
}

bool transformer_init(struct transformer *t, struct param_set *s, const char *path, const struct transformer_spec *spec) {
  char p[PATH_SIZE], leaf[32];
  t->blocks = spec->blocks;
  path_join(p, path, "norm");
  if (!norm_init(&t->norm, s, p, spec->channels, spec->groups, 1e-6f)) return false;
  if (!projection_init(&t->in, s, path, "proj_in", spec)) return false;
  for (int i = 0; i < t->blocks; i++) {
    path_join(p, path, block_leaf(leaf, i));
    if (!block_init(&t->block[i], s, p, spec)) return false;
  }
  return projection_init(&t->out, s, path, "proj_out", spec);
}

/* --- adapters ---------------------------------------------------------------------------------------------------------- */

static bool adapt(struct linear *l, struct lora_set *set, const struct lora_spec *spec, const char *path, const char *leaf) {
  char p[PATH_SIZE];
  path_join(p, path, leaf);
  return linear_adapt(l, set, spec, p);
}

static bool block_adapt(struct block *b, struct lora_set *set, const struct lora_spec *spec, const char *path) {
  struct attention *a[2] = {&b->self, &b->cross};
  for (int i = 0; i < 2; i++) {
    struct linear *l[4] = {&a[i]->q, &a[i]->k, &a[i]->v, &a[i]->out};
    char p[PATH_SIZE];
    path_join(p, path, i == 0 ? "attn1" : "attn2");
    for (int k = 0; k < 4; k++)
      if (!adapt(l[k], set, spec, p, projections[k])) return false;
  }
  return adapt(&b->ff_in, set, spec, path, "ff.net.0.proj") && adapt(&b->ff_out, set, spec, path, "ff.net.2");
}

bool transformer_adapt(struct transformer *t, struct lora_set *set, const struct lora_spec *spec, const char *path) {
  char p[PATH_SIZE], leaf[32];
  if (!adapt(&t->in, set, spec, path, "proj_in")) return false;
  for (int i = 0; i < t->blocks; i++) {
    path_join(p, path, block_leaf(leaf, i));
    if (!block_adapt(&t->block[i], set, spec, p)) return false;
  }
  return adapt(&t->out, set, spec, path, "proj_out");
}

static bool attention_trained(const struct attention *a) {
  return linear_trained(&a->q) || linear_trained(&a->k) || linear_trained(&a->v) || linear_trained(&a->out);
}

bool transformer_trained(const struct transformer *t) {
  if (norm_trained(&t->norm) || linear_trained(&t->in) || linear_trained(&t->out)) return true;
  for (int i = 0; i < t->blocks; i++) {
    const struct block *b = &t->block[i];
    if (attention_trained(&b->self) || attention_trained(&b->cross) || linear_trained(&b->ff_in) || linear_trained(&b->ff_out)) return true;
    if (norm_trained(&b->norm1) || norm_trained(&b->norm2) || norm_trained(&b->norm3)) return true;
  }
  return false;
}

/* --- forward ------------------------------------------------------------------------------------------------------------ */

static struct tensor geglu_forward(struct ctx *c, const struct tensor *ff) {
  struct tensor g = ctx_new_3d(c, ff->type, ff->dim[0], ff->dim[1], ff->dim[2] / 2);
  struct tensor g2 = tensor_2d(g.data, g.type, tensor_rows(&g), tensor_last(&g)),
                f2 = tensor_2d(ff->data, ff->type, tensor_rows(ff), tensor_last(ff));
  if (!c->failed) c->b->op->geglu(c->b, &g2, &f2);
  return g;
}

static void block_drop(struct ctx *c, struct block_tape *t) {
  ctx_free(c, &t->x1);
  ctx_free(c, &t->x2);
  ctx_free(c, &t->ff);
  ctx_free(c, &t->stats1);
  ctx_free(c, &t->stats2);
  ctx_free(c, &t->stats3);
  attention_tape_drop(c, &t->self);
  attention_tape_drop(c, &t->cross);
}

/* x + attention(norm(x)), fresh. False when the tap stopped it. */
static bool attend(struct ctx *c, struct attention *a, struct norm *n, const struct tensor *x, const struct tensor *context,
                   struct q_tap *tap, struct tensor *stats, struct attention_tape *t, struct tensor *y) {
  struct tensor h = norm_forward(c, n, x, stats, false);
  attention_qkv(c, a, &h, context, t);
  ctx_free(c, &h);
  if (tap) {
    tap->q = cast_to(c, &t->q, t->q.type);
    if (tap->stop) return false;
  }
  *y = attention_mix(c, a, t, false);
  add_to(c, y, x);
  return true;
}

/* Shows the cross-attention of a block to whoever watches it. */
static void show_share(struct ctx *c, const struct attention *a, const struct attention_tape *t, const struct q_tap *tap) {
  int64_t n = t->q.dim[0], positions = t->q.dim[1];
  float *share = c->failed ? NULL : calloc((size_t)(n * positions), sizeof *share);
  if (!share && !c->failed) c->failed = !err_set(c->err, ERR_FIT, "out of memory for the attention to a word");
  if (!c->failed) attention_share(c, a, t, tap->watch_first, tap->watched, share);
  if (!c->failed && t->q.data) tap->watch(tap->watch_user, share, n, positions);
  free(share);
}

/* tap: of this block's self-attention; watch: of its cross-attention. Either may be NULL. */
static struct tensor block_forward(struct ctx *c, struct block *b, const struct tensor *x, const struct tensor *text, struct q_tap *tap,
                                   const struct q_tap *watch, struct block_tape *tape) {
  struct block_tape t = {0};
  struct tensor y = {0};
  if (!attend(c, &b->self, &b->norm1, x, NULL, tap, &t.stats1, &t.self, &t.x1)) goto done;
  if (!tape) attention_tape_drop(c, &t.self);
  attend(c, &b->cross, &b->norm2, &t.x1, text, NULL, &t.stats2, &t.cross, &t.x2);
  if (watch) show_share(c, &b->cross, &t.cross, watch);
  if (!tape) {
    attention_tape_drop(c, &t.cross);
    ctx_free(c, &t.x1);
  }
  struct tensor h = norm_forward(c, &b->norm3, &t.x2, &t.stats3, false);
  t.ff = linear_forward(c, &b->ff_in, &h);
  ctx_free(c, &h);
  struct tensor g = geglu_forward(c, &t.ff);
  if (!tape) ctx_free(c, &t.ff);
  y = linear_forward(c, &b->ff_out, &g);
  ctx_free(c, &g);
  add_to(c, &y, &t.x2);
done:
  if (tape)
    *tape = t;
  else
    block_drop(c, &t);
  return y;
}

/* View of a picture as [n, h w, c], and back with the dims of like. */
static struct tensor as_tokens(const struct tensor *x) {
  return tensor_3d(x->data, x->type, x->dim[0], x->dim[1] * x->dim[2], x->dim[3]);
}

static struct tensor as_picture(const struct tensor *x, const struct tensor *like) {
  return tensor_4d(x->data, x->type, like->dim[0], like->dim[1], like->dim[2], like->dim[3]);
}

static struct tensor project_in(struct ctx *c, struct transformer *t, const struct tensor *x, struct tensor *stats) {
  struct tensor h = norm_forward(c, &t->norm, x, stats, false), tokens = as_tokens(&h);
  struct tensor y = linear_forward(c, &t->in, &tokens);
  ctx_free(c, &h);
  return y;
}

struct tensor transformer_forward(struct ctx *c, struct transformer *t, const struct tensor *x, const struct tensor *text,
                                  struct q_tap *tap, struct transformer_tape *tape) {
  struct transformer_tape own = {0};
  struct tensor h = project_in(c, t, x, &own.stats), y = {0};
  for (int i = 0; i < t->blocks && !c->failed; i++) {
    struct q_tap *here = tap && tap->block == i ? tap : NULL;
    struct tensor next = block_forward(c, &t->block[i], &h, text, here, tap && tap->watched ? tap : NULL, tape ? &own.block[i] : NULL);
    if (tape)
      own.h[i] = h;
    else
      ctx_free(c, &h);
    h = next;
    if (here && here->stop) goto done;
  }
  struct tensor out = linear_forward(c, &t->out, &h);
  y = as_picture(&out, x);
  add_to(c, &y, x);
done:
  if (tape) {
    own.h[t->blocks] = h;
    *tape = own;
  } else {
    ctx_free(c, &h);
    ctx_free(c, &own.stats);
  }
  return y;
}

/* --- backward ------------------------------------------------------------------------------------------------------------ */

static struct tensor feed_forward_backward(struct ctx *c, struct block *b, struct block_tape *t, const struct tensor *dy) {
  struct tensor g = {0}, h = {0};
  if (linear_trained(&b->ff_out)) g = geglu_forward(c, &t->ff);
  struct tensor dg = ctx_new_3d(c, dy->type, dy->dim[0], dy->dim[1], t->ff.dim[2] / 2);
  linear_backward(c, &b->ff_out, &g, dy, &dg, 0);
  ctx_free(c, &g);
  struct tensor dff = ctx_like(c, &t->ff);
  if (!c->failed) {
    struct tensor a = tensor_2d(dff.data, dff.type, tensor_rows(&dff), tensor_last(&dff));
    struct tensor d = tensor_2d(dg.data, dg.type, tensor_rows(&dg), tensor_last(&dg));
    struct tensor f = tensor_2d(t->ff.data, t->ff.type, tensor_rows(&t->ff), tensor_last(&t->ff));
    c->b->op->geglu_bwd(c->b, &a, &d, &f);
  }
  ctx_free(c, &dg);
  if (linear_trained(&b->ff_in)) h = norm_forward(c, &b->norm3, &t->x2, NULL, false);
  struct tensor dh = ctx_like(c, dy);
  linear_backward(c, &b->ff_in, &h, &dff, &dh, 0);
  ctx_free(c, &h);
  ctx_free(c, &dff);
  struct tensor dx = norm_backward(c, &b->norm3, &t->x2, &t->stats3, &dh, false);
  ctx_free(c, &dh);
  add_to(c, &dx, dy);
  return dx;
}

/* Gradient of x + attention(norm(x)); dy is given back, the result takes its place. */
static struct tensor attend_backward(struct ctx *c, struct attention *a, struct norm *n, const struct tensor *x,
                                     const struct tensor *context, struct tensor *stats, struct attention_tape *t, struct tensor *dy,
                                     const struct tensor *dq, struct tensor *dcontext) {
  struct tensor h = norm_forward(c, n, x, NULL, false);
  struct tensor dh = attention_backward(c, a, t, &h, context, dy, dq, dcontext, false);
  ctx_free(c, &h);
  struct tensor dx = norm_backward(c, n, x, stats, &dh, false);
  ctx_free(c, &dh);
  add_to(c, &dx, dy);
  ctx_free(c, dy);
  return dx;
}

static struct tensor block_backward(struct ctx *c, struct block *b, struct block_tape *t, const struct tensor *x, const struct tensor *text,
                                    struct q_tap *tap, const struct tensor *dy, struct tensor *dtext) {
  struct tensor d2 = feed_forward_backward(c, b, t, dy);
  ctx_free(c, &t->ff);
  struct tensor d1 = attend_backward(c, &b->cross, &b->norm2, &t->x1, text, &t->stats2, &t->cross, &d2, NULL, dtext);
  const struct tensor *dq = tap && tap->dq.data ? &tap->dq : NULL;
  struct tensor dx = attend_backward(c, &b->self, &b->norm1, x, NULL, &t->stats1, &t->self, &d1, dq, NULL);
  block_drop(c, t);
  return dx;
}

struct tensor transformer_backward(struct ctx *c, struct transformer *t, struct transformer_tape *tape, const struct tensor *x,
                                   const struct tensor *text, struct q_tap *tap, const struct tensor *dy, struct tensor *dtext) {
  struct tensor dy3 = as_tokens(dy);
  struct tensor d = ctx_like(c, &dy3);
  linear_backward(c, &t->out, &tape->h[t->blocks], &dy3, &d, 0);
  ctx_free(c, &tape->h[t->blocks]);
  for (int i = t->blocks - 1; i >= 0 && !c->failed; i--) {
    struct tensor dx = block_backward(c, &t->block[i], &tape->block[i], &tape->h[i], text, tap && tap->block == i ? tap : NULL, &d, dtext);
    ctx_free(c, &d);
    ctx_free(c, &tape->h[i]);
    d = dx;
  }
  struct tensor h = {0}, h3 = {0};
  if (linear_trained(&t->in)) {
    h = norm_forward(c, &t->norm, x, NULL, false);
    h3 = as_tokens(&h);
  }
  struct tensor dh = ctx_like(c, x), dh3 = as_tokens(&dh);
  linear_backward(c, &t->in, &h3, &d, &dh3, 0);
  ctx_free(c, &h);
  ctx_free(c, &d);
  struct tensor dx = norm_backward(c, &t->norm, x, &tape->stats, &dh, false);
  ctx_free(c, &dh);
  add_to(c, &dx, dy);
  transformer_tape_drop(c, t, tape);
  return dx;
}

void transformer_tape_drop(struct ctx *c, struct transformer *t, struct transformer_tape *tape) {
  ctx_free(c, &tape->stats);
  for (int i = 0; i <= t->blocks; i++) ctx_free(c, &tape->h[i]);
  for (int i = 0; i < t->blocks; i++) block_drop(c, &tape->block[i]);
}
