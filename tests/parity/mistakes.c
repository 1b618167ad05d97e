/* Ten planted mistakes, each of the kind that creeps into such a program. The parity table must notice every one. */
#include <string.h>

#include "backend/ref/ref.h"
#include "parity.h"

const char *const mistakes[] = {"norm-epsilon",
                                "transposed-weight",
                                "missing-mask",
                                "not-causal",
                                "swapped-gelu-forms",
                                "padding",
                                "dropped-bias-gradient",
                                "coupled-weight-decay",
                                "wrong-attention-scale",
                                "swapped-sin-cos",
                                NULL};

static void norm_epsilon(struct backend *b, struct tensor *y, struct tensor *stats, const struct tensor *x, const struct param *gamma,
                         const struct param *beta, int groups, float eps, bool silu) {
  (void)eps;
  ref_group_norm(b, y, stats, x, gamma, beta, groups, 1e-3f, silu);
}

static void missing_mask(struct backend *b, double *loss, struct tensor *dpred, const struct tensor *pred, const struct tensor *target,
                         const struct tensor *mask, const float *weight) {
  (void)mask;
  ref_mse(b, loss, dpred, pred, target, NULL, weight);
}

static void not_causal(struct backend *b, struct tensor *o, struct tensor *lse, const struct tensor *q, const struct tensor *k,
                       const struct tensor *v, const struct attention_shape *s) {
  struct attention_shape open = *s;
  open.causal = false;
  ref_attention(b, o, lse, q, k, v, &open);
}

static void quick_for_erf(struct backend *b, struct tensor *y, const struct tensor *x, enum activation kind) {
  ref_act(b, y, x, kind == ACT_GELU ? ACT_QUICK_GELU : kind == ACT_QUICK_GELU ? ACT_GELU : kind);
}

static void padding(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, struct param *bias,
                    const struct conv_shape *s) {
  struct conv_shape t = *s;
  if (s->stride == 2) {
    t.pad_top = s->pad_bottom, t.pad_bottom = s->pad_top;
    t.pad_left = s->pad_right, t.pad_right = s->pad_left;
  }
  ref_conv(b, y, x, w, bias, &t);
}

static void dropped_bias(struct backend *b, struct param *w, struct param *bias, const struct tensor *x, const struct tensor *dy,
                         const struct conv_shape *s) {
  (void)bias;
  ref_conv_dw(b, w, NULL, x, dy, s);
}

/* Adam with L2 in the gradient instead of AdamW's decoupled decay. */
static void coupled_decay(struct backend *b, float *w, const float *g, struct tensor *m, struct tensor *v, int64_t n,
                          const struct adamw *a) {
  struct adamw plain = *a;
  plain.weight_decay = 0;
  (void)a;
  ref_adamw(b, w, g, m, v, n, &plain);
}

static void wrong_scale(struct backend *b, struct tensor *o, struct tensor *lse, const struct tensor *q, const struct tensor *k,
                        const struct tensor *v, const struct attention_shape *s) {
  struct attention_shape t = *s;
  t.scale *= s->scale;
  ref_attention(b, o, lse, q, k, v, &t);
}

void mistake_in_ops(struct backend_ops *ops, const char *name) {
  if (strcmp(name, "norm-epsilon") == 0) ops->group_norm = norm_epsilon;
  if (strcmp(name, "missing-mask") == 0) ops->mse = missing_mask;
  if (strcmp(name, "not-causal") == 0) ops->attention = not_causal;
  if (strcmp(name, "swapped-gelu-forms") == 0) ops->act = quick_for_erf;
  if (strcmp(name, "padding") == 0) ops->conv = padding;
  if (strcmp(name, "dropped-bias-gradient") == 0) ops->conv_dw = dropped_bias;
  if (strcmp(name, "coupled-weight-decay") == 0) ops->adamw = coupled_decay;
  if (strcmp(name, "wrong-attention-scale") == 0) ops->attention = wrong_scale;
}

static void swap_halves(struct param *p) {
  int64_t out = p->dim[0], in = p->dim[1];
  for (int64_t i = 0; i < out; i++)
    for (int64_t k = 0; k < in / 2; k++) {
      float *a = p->w + i * in + k, *b = a + in / 2, t = *a;
      *a = *b;
      *b = t;
    }
}

static void transpose(struct param *p) {
  for (int64_t i = 0; i < p->dim[0]; i++)
    for (int64_t k = 0; k < i; k++) {
      float *a = p->w + i * p->dim[1] + k, *b = p->w + k * p->dim[1] + i, t = *a;
      *a = *b;
      *b = t;
    }
}

void mistake_in_model(struct model *m, const char *name) {
  struct param_set *u = unet_params(m->unet);
  if (strcmp(name, "transposed-weight") == 0) transpose(param_find(u, "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"));
  if (strcmp(name, "swapped-sin-cos") == 0) swap_halves(param_find(u, "time_embedding.linear_1.weight"));
  param_set_changed(u);
}
