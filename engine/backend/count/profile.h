/* Which operations a counted pass consists of: each kind and shape once, with how often it is called. From this a pass is timed without being run. */
#ifndef PDMBOOTH_BACKEND_COUNT_PROFILE_H
#define PDMBOOTH_BACKEND_COUNT_PROFILE_H

#include "backend/backend.h"

enum op_kind {
  OP_MOVE,  /* whatever reads and writes memory and computes little: [elements written] */
  OP_ACT,   /* activations and their gradients: [elements] */
  OP_GEGLU, /* and its gradient: [rows, columns of the result] */
  OP_LINEAR,
  OP_LINEAR_DX,
  OP_LINEAR_DW, /* [rows, in, out, bias], x to y as in the forward pass */
  OP_CONV,
  OP_CONV_DX,
  OP_CONV_DW, /* [n, h, w, in, oh, ow, out, kernel, stride, top and left, bottom and right padding] */
  OP_GROUP_NORM,
  OP_GROUP_NORM_BWD, /* [n, rows, channels, groups] */
  OP_LAYER_NORM,
  OP_LAYER_NORM_BWD, /* [rows, channels] */
  OP_ATTENTION,
  OP_ATTENTION_BWD, /* [n, queries, keys, width, heads, causal] */
  OP_KINDS
};

enum { OP_DIMS = 11 };

struct op_line {
  int32_t kind, type; /* enum op_kind; enum dtype of the activations */
  int32_t frozen;     /* the weights are */
  int32_t unused;     /* lines are compared byte by byte up to here and in dim */
  int64_t dim[OP_DIMS];
  double calls, flops; /* flops of one call */
};

struct op_profile {
  struct op_line *line; /* [n], owned */
  int n, cap;
  bool failed; /* out of memory: lines are missing */
};

/* While a profile is set, the counting backend b notes its calls there. */
void count_profile(struct backend *b, struct op_profile *p);
/* Adds calls of what line says; the line is copied. */
void op_profile_add(struct op_profile *p, const struct op_line *line, double calls);
void op_profile_release(struct op_profile *p);

/* For the counting backend: one call, where it has a profile. x: a tensor of the activations' type; flops: of the call. */
struct op_dims {
  int64_t d[OP_DIMS];
};
void op_note(const struct backend *b, enum op_kind kind, const struct tensor *x, const struct param *w, struct op_dims dims, double flops);
void op_note_move(const struct backend *b, const struct tensor *y);
void op_note_linear(const struct backend *b, enum op_kind kind, const struct tensor *x, const struct tensor *y, const struct param *w,
                    bool bias, double flops);
void op_note_conv(const struct backend *b, enum op_kind kind, const struct tensor *x, const struct tensor *y, const struct param *w,
                  const struct conv_shape *s, double flops);
void op_note_attention(const struct backend *b, enum op_kind kind, const struct tensor *q, const struct tensor *k,
                       const struct attention_shape *s, double flops);

#endif
