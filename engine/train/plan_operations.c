/* What a training step consists of, as a list of operations with their work and traffic: what roofs (tests/bench/roofline.awk) are computed from. */
#include <inttypes.h>
#include <stdio.h>

#include "backend/count/profile.h"
#include "train/plan.h"

static const char *const names[OP_KINDS] = {
    [OP_MOVE] = "move",
    [OP_ACT] = "activation",
    [OP_GEGLU] = "geglu",
    [OP_LINEAR] = "linear",
    [OP_LINEAR_DX] = "linear_dx",
    [OP_LINEAR_DW] = "linear_dw",
    [OP_CONV] = "conv",
    [OP_CONV_DX] = "conv_dx",
    [OP_CONV_DW] = "conv_dw",
    [OP_GROUP_NORM] = "group_norm",
    [OP_GROUP_NORM_BWD] = "group_norm_bwd",
    [OP_LAYER_NORM] = "layer_norm",
    [OP_LAYER_NORM_BWD] = "layer_norm_bwd",
    [OP_ATTENTION] = "attention",
    [OP_ATTENTION_BWD] = "attention_bwd",
};

static void shape_text(const struct op_line *l, char *out, size_t n) {
  const int64_t *d = l->dim;
  switch ((enum op_kind)l->kind) {
    case OP_LINEAR:
    case OP_LINEAR_DX:
    case OP_LINEAR_DW:
      snprintf(out, n, "%" PRId64 "x%" PRId64 " to %" PRId64, d[0], d[1], d[2]);
      break;
    case OP_CONV:
    case OP_CONV_DX:
    case OP_CONV_DW:
      snprintf(out, n, "%" PRId64 "x%" PRId64 "x%" PRId64 "x%" PRId64 " to %" PRId64 ", %" PRId64 "x%" PRId64 "/%" PRId64, d[0], d[1], d[2], d[3],
               d[6], d[7], d[7], d[8]);
      break;
    case OP_GROUP_NORM:
    case OP_GROUP_NORM_BWD:
      snprintf(out, n, "%" PRId64 "x%" PRId64 "x%" PRId64 " in %" PRId64, d[0], d[1], d[2], d[3]);
      break;
    case OP_ATTENTION:
    case OP_ATTENTION_BWD:
      snprintf(out, n, "%" PRId64 "x%" PRId64 " by %" PRId64 ", %" PRId64 " heads of %" PRId64 "%s", d[0], d[1], d[2], d[4], d[3] / d[4],
               d[5] ? ", causal" : "");
      break;
    case OP_GEGLU:
    case OP_LAYER_NORM:
    case OP_LAYER_NORM_BWD:
      snprintf(out, n, "%" PRId64 "x%" PRId64, d[0], d[1]);
      break;
    case OP_MOVE:
    case OP_ACT:
    case OP_KINDS:
      snprintf(out, n, "%" PRId64, d[0]);
      break;
  }
}

/* Of one call: activations in their type; weights as the activations; gradients of weights in F32, read and written. */
static double traffic(const struct op_line *l) {
  const int64_t *d = l->dim;
  double one = (double)dtype_size((enum dtype)l->type), dw = l->frozen ? 0 : 2 * sizeof(float);
  double rows = (double)d[0] * (double)d[1], wide = rows * (double)d[2]; /* of norms and attention */
  double x = (double)d[0] * (double)d[1] * (double)d[2] * (double)d[3], y = (double)d[0] * (double)d[4] * (double)d[5] * (double)d[6],
         w = (double)d[3] * (double)d[6] * (double)d[7] * (double)d[7];
  double q = (double)d[0] * (double)d[1] * (double)d[3], k = (double)d[0] * (double)d[2] * (double)d[3];
  switch ((enum op_kind)l->kind) {
    case OP_LINEAR:
    case OP_LINEAR_DX:
      return one * (rows + (double)d[0] * (double)d[2] + (double)d[1] * (double)d[2]);
    case OP_LINEAR_DW:
      return one * (rows + (double)d[0] * (double)d[2]) + dw * (double)d[1] * (double)d[2];
    case OP_CONV:
    case OP_CONV_DX:
      return one * (x + y + w);
    case OP_CONV_DW:
      return one * (x + y) + dw * w;
    case OP_GROUP_NORM: /* read for the statistics and again, written */
      return 3 * one * wide;
    case OP_GROUP_NORM_BWD: /* x and dy twice, dx */
      return 5 * one * wide;
    case OP_LAYER_NORM:
      return 2 * one * rows;
    case OP_LAYER_NORM_BWD:
      return 3 * one * rows;
    case OP_ATTENTION:
      return one * (2 * q + 2 * k);
    case OP_ATTENTION_BWD:
      return one * (4 * q + 4 * k);
    case OP_GEGLU:
      return 3 * one * rows;
    case OP_MOVE:
    case OP_ACT:
    case OP_KINDS:
      return 2 * one * (double)d[0];
  }
  return 0;
}

bool plan_operations(struct trainer *t, const struct plan_options *o, struct err *e) {
  struct op_profile p = {.line = NULL};
  bool ok = plan_profile(t, PASS_STEP, t->options.recompute_blocks, &p, e);
  for (int i = 0; ok && i < p.n; i++) {
    const struct op_line *l = &p.line[i];
    struct plan_operation op = {
        .name = names[l->kind], .type = dtype_name((enum dtype)l->type), .calls = l->calls, .flops = l->flops, .bytes = traffic(l)};
    shape_text(l, op.shape, sizeof op.shape);
    o->operation(o->user, &op);
  }
  op_profile_release(&p);
  return ok;
}
