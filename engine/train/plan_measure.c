/* Times an operation on memory of its own: once to touch memory and let the backend prepare, then until a few milliseconds have gone by. */
#include "train/plan_measure.h"

#include <string.h>

#include "base/thread.h"

static const double enough = 4e-3; /* seconds */
static const double large = 2e9;   /* FLOPs above which a batch is timed in part */
enum { FEWEST_ROWS = 512, MOST_CALLS = 50 };

/* Tensors and parameters of a call. */
struct args {
  struct tensor x, y, z, a, b, stats, dx, dk, dv;
  struct param w, bias;
  struct conv_shape conv;
  struct attention_shape attention;
};

/* Memory handed out in one row; base NULL: only counts. */
struct bench {
  char *base;
  size_t used;
};

static void *take(struct bench *k, size_t bytes) {
  void *p = k->base ? k->base + k->used : NULL;
  k->used += (bytes + 63) / 64 * 64;
  return p;
}

static struct tensor tensor(struct bench *k, int32_t type, int rank, const int64_t *dim) {
  struct tensor t = tensor_of(NULL, (enum dtype)type, rank, dim);
  t.data = take(k, tensor_bytes(&t));
  return t;
}

static struct tensor rows(struct bench *k, int32_t type, int64_t m, int64_t n) {
  return tensor(k, type, 2, (int64_t[]){m, n});
}

static struct param weights(struct bench *k, int64_t count, bool gradient, bool frozen) {
  struct param p = {.rank = 1, .dim = {count}, .count = count, .frozen = frozen};
  p.w = take(k, (size_t)count * sizeof(float));
  if (gradient) p.g = take(k, (size_t)count * sizeof(float));
  return p;
}

/* --- arguments of each kind --------------------------------------------------------------------------------------------------------------- */

static void linear_args(struct bench *k, const struct op_line *l, struct args *a) {
  a->x = rows(k, l->type, l->dim[0], l->dim[1]);
  a->y = rows(k, l->type, l->dim[0], l->dim[2]);
  a->w = weights(k, l->dim[1] * l->dim[2], l->kind == OP_LINEAR_DW && !l->frozen, l->frozen);
  a->w.rank = 2, a->w.dim[0] = l->dim[2], a->w.dim[1] = l->dim[1];
  a->bias = weights(k, l->dim[2], true, false);
}

static void conv_args(struct bench *k, const struct op_line *l, struct args *a) {
  const int64_t *d = l->dim;
  a->x = tensor(k, l->type, 4, (int64_t[]){d[0], d[1], d[2], d[3]});
  a->y = tensor(k, l->type, 4, (int64_t[]){d[0], d[4], d[5], d[6]});
  a->w = weights(k, d[3] * d[6] * d[7] * d[7], l->kind == OP_CONV_DW && !l->frozen, l->frozen);
  a->w.rank = 4, a->w.dim[0] = d[6], a->w.dim[1] = d[3], a->w.dim[2] = a->w.dim[3] = d[7];
  a->bias = weights(k, d[6], true, false);
  a->conv = (struct conv_shape){(int)d[7], (int)d[7], (int)d[8], (int)d[9], (int)d[9], (int)d[10], (int)d[10]};
}

static void norm_args(struct bench *k, const struct op_line *l, struct args *a) {
  bool group = l->kind == OP_GROUP_NORM || l->kind == OP_GROUP_NORM_BWD;
  int64_t channels = l->dim[group ? 2 : 1];
  const int64_t shape[] = {l->dim[0], l->dim[1], channels};
  a->x = group ? tensor(k, l->type, 3, shape) : rows(k, l->type, l->dim[0], channels);
  a->y = group ? tensor(k, l->type, 3, shape) : rows(k, l->type, l->dim[0], channels);
  a->z = group ? tensor(k, l->type, 3, shape) : rows(k, l->type, l->dim[0], channels);
  a->stats = group ? tensor(k, DT_F32, 3, (int64_t[]){l->dim[0], l->dim[3], 2}) : rows(k, DT_F32, l->dim[0], 2);
  a->w = weights(k, channels, !l->frozen, l->frozen);
  a->bias = weights(k, channels, !l->frozen, l->frozen);
}

static void attention_args(struct bench *k, const struct op_line *l, struct args *a) {
  const int64_t *d = l->dim, q[] = {d[0], d[1], d[3]}, kv[] = {d[0], d[2], d[3]};
  a->x = tensor(k, l->type, 3, q);
  a->y = tensor(k, l->type, 3, q);
  a->a = tensor(k, l->type, 3, kv);
  a->b = tensor(k, l->type, 3, kv);
  a->stats = tensor(k, DT_F32, 3, (int64_t[]){d[0], d[4], d[1]});
  if (l->kind == OP_ATTENTION_BWD) {
    a->z = tensor(k, l->type, 3, q);
    a->dx = tensor(k, l->type, 3, q);
    a->dk = tensor(k, l->type, 3, kv);
    a->dv = tensor(k, l->type, 3, kv);
  }
  a->attention = (struct attention_shape){.heads = (int)d[4], .scale = 0.1f, .causal = d[5] != 0};
}

static void arguments(struct bench *k, const struct op_line *l, struct args *a) {
  *a = (struct args){.attention = {.heads = 1}};
  switch ((enum op_kind)l->kind) {
    case OP_MOVE:
    case OP_ACT:
      a->x = rows(k, l->type, 1, l->dim[0]);
      a->y = rows(k, l->type, 1, l->dim[0]);
      a->z = rows(k, l->type, 1, l->dim[0]);
      break;
    case OP_GEGLU:
      a->x = rows(k, l->type, l->dim[0], 2 * l->dim[1]);
      a->y = rows(k, l->type, l->dim[0], l->dim[1]);
      break;
    case OP_LINEAR:
    case OP_LINEAR_DX:
    case OP_LINEAR_DW:
      linear_args(k, l, a);
      break;
    case OP_CONV:
    case OP_CONV_DX:
    case OP_CONV_DW:
      conv_args(k, l, a);
      break;
    case OP_GROUP_NORM:
    case OP_GROUP_NORM_BWD:
    case OP_LAYER_NORM:
    case OP_LAYER_NORM_BWD:
      norm_args(k, l, a);
      break;
    case OP_ATTENTION:
    case OP_ATTENTION_BWD:
      attention_args(k, l, a);
      break;
    case OP_KINDS:
      break;
  }
}

/* --- the call ----------------------------------------------------------------------------------------------------------------------------- */

static void norm_call(struct backend *b, const struct op_line *l, struct args *a) {
  const struct backend_ops *op = b->op;
  if (l->kind == OP_GROUP_NORM) op->group_norm(b, &a->y, &a->stats, &a->x, &a->w, &a->bias, (int)l->dim[3], 1e-5f, true);
  if (l->kind == OP_GROUP_NORM_BWD) op->group_norm_bwd(b, &a->y, &a->z, &a->x, &a->stats, &a->w, &a->bias, (int)l->dim[3], true);
  if (l->kind == OP_LAYER_NORM) op->layer_norm(b, &a->y, &a->stats, &a->x, &a->w, &a->bias, 1e-5f);
  if (l->kind == OP_LAYER_NORM_BWD) op->layer_norm_bwd(b, &a->y, &a->z, &a->x, &a->stats, &a->w, &a->bias);
}

static void call(struct backend *b, const struct op_line *l, struct args *a) {
  const struct backend_ops *op = b->op;
  switch ((enum op_kind)l->kind) {
    case OP_MOVE:
      op->add(b, &a->y, &a->x, &a->z);
      break;
    case OP_ACT:
      op->act(b, &a->y, &a->x, ACT_SILU);
      break;
    case OP_GEGLU:
      op->geglu(b, &a->y, &a->x);
      break;
    case OP_LINEAR:
      op->linear(b, &a->y, &a->x, &a->w, l->dim[3] ? &a->bias : NULL, 1, 0);
      break;
    case OP_LINEAR_DX:
      op->linear_dx(b, &a->x, &a->y, &a->w, 1, 0);
      break;
    case OP_LINEAR_DW:
      op->linear_dw(b, l->frozen ? NULL : &a->w, l->dim[3] ? &a->bias : NULL, &a->x, &a->y, 1);
      break;
    case OP_CONV:
      op->conv(b, &a->y, &a->x, &a->w, &a->bias, &a->conv);
      break;
    case OP_CONV_DX:
      op->conv_dx(b, &a->x, &a->y, &a->w, &a->conv);
      break;
    case OP_CONV_DW:
      op->conv_dw(b, l->frozen ? NULL : &a->w, &a->bias, &a->x, &a->y, &a->conv);
      break;
    case OP_GROUP_NORM:
    case OP_GROUP_NORM_BWD:
    case OP_LAYER_NORM:
    case OP_LAYER_NORM_BWD:
      norm_call(b, l, a);
      break;
    case OP_ATTENTION:
      op->attention(b, &a->y, &a->stats, &a->x, &a->a, &a->b, &a->attention);
      break;
    case OP_ATTENTION_BWD:
      op->attention_bwd(b, &a->dx, &a->dk, &a->dv, &a->z, &a->y, &a->stats, &a->x, &a->a, &a->b, &a->attention);
      break;
    case OP_KINDS:
      break;
  }
}

/* --- timing ------------------------------------------------------------------------------------------------------------------------------- */

/* Fewer pictures or rows of a large call; returns what its time is to be multiplied with. */
static double in_part(struct op_line *l) {
  bool linear = l->kind == OP_LINEAR || l->kind == OP_LINEAR_DX || l->kind == OP_LINEAR_DW;
  int64_t was = l->dim[0], least = linear ? FEWEST_ROWS : 1;
  if (l->flops <= large || was <= least) return 1;
  int64_t part = (int64_t)((double)was * large / l->flops);
  l->dim[0] = part > least ? part : least;
  return (double)was / (double)l->dim[0];
}

/* A device that computes by itself is given all of them before it is waited for, as a pass does. */
static double time_calls(struct backend *b, const struct op_line *l, struct args *a, int n) {
  double began = now_seconds();
  for (int i = 0; i < n; i++) call(b, l, a);
  backend_finish(b);
  return (now_seconds() - began) / n;
}

static double time_enough(struct backend *b, const struct op_line *l, struct args *a) {
  double first = time_calls(b, l, a, 1), second = time_calls(b, l, a, 1);
  if (first > 50 * enough) return second < first ? second : first; /* preparing is a small part of that */
  if (second >= enough) return second;
  double wanted = second > 0 ? enough / second : MOST_CALLS;
  return time_calls(b, l, a, wanted < MOST_CALLS ? (int)wanted + 1 : MOST_CALLS);
}

double op_seconds(struct backend *b, const struct op_line *line) {
  struct op_line l = *line;
  struct bench k = {0};
  struct args a;
  struct err ignored = {0};
  double times = in_part(&l), seconds = 0;
  arguments(&k, &l, &a);
  size_t bytes = k.used;
  k = (struct bench){.base = b->op->alloc(b, bytes, &ignored)};
  if (!k.base) return 0;
  arguments(&k, &l, &a);
  seconds = times * time_enough(b, &l, &a);
  b->op->drop_pack(b, &a.w);
  b->op->release(b, k.base, bytes);
  if (b->fault.code != ERR_OK) seconds = 0;
  b->fault = (struct err){0};
  return seconds;
}
