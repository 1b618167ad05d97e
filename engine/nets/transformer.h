/* Transformer2DModel with BasicTransformerBlocks (self-attention, cross-attention, GEGLU feed-forward):
 * diffusers' models/transformers/transformer_2d.py and models/attention.py. */
#ifndef PDMBOOTH_NETS_TRANSFORMER_H
#define PDMBOOTH_NETS_TRANSFORMER_H

#include "nets/layer.h"

enum { TRANSFORMER_MAX_BLOCKS = 16 };

struct attention {
  struct linear q, k, v, out;
  int heads;
};

/* What backward of one attention wants, but for its input. */
struct attention_tape {
  struct tensor q, k, v, o, lse;
};

struct block {
  struct norm norm1, norm2, norm3;
  struct attention self, cross;
  struct linear ff_in, ff_out; /* "ff.net.0.proj" [8 c, c], "ff.net.2" [c, 4 c] */
};

struct block_tape {
  struct tensor x1, x2, ff; /* after self-attention, after cross-attention; output of ff_in */
  struct tensor stats1, stats2, stats3;
  struct attention_tape self, cross;
};

struct transformer {
  struct norm norm;
  struct linear in, out;
  int blocks;
  struct block block[TRANSFORMER_MAX_BLOCKS];
};

struct transformer_tape {
  struct tensor stats, h[TRANSFORMER_MAX_BLOCKS + 1]; /* h[i]: input of block i; h[blocks]: input of proj_out */
  struct block_tape block[TRANSFORMER_MAX_BLOCKS];
};

/* Query features of one block's self-attention: taken in forward, their gradient put in in backward. */
struct q_tap {
  int block;       /* -1: none */
  struct tensor q; /* out, a copy from the pool */
  struct tensor dq;
  bool stop; /* forward ends when q is known */
  /* Forward only. What the cross-attention of every block gives to tokens [watch_first, watch_first + watched) of the text: watch gets the
     sum of their probabilities, averaged over the heads, as host [n, h w]; watched 0: nothing is looked at. */
  int watch_first, watched;
  void (*watch)(void *user, const float *share, int64_t n, int64_t positions);
  void *watch_user;
};

struct transformer_spec {
  int64_t channels, cross_dim;
  int heads, blocks, groups;
  bool linear_projection;
};

bool transformer_init(struct transformer *t, struct param_set *s, const char *path, const struct transformer_spec *spec);
bool transformer_adapt(struct transformer *t, struct lora_set *set, const struct lora_spec *spec, const char *path);
bool transformer_trained(const struct transformer *t);
/* x [n, h, w, channels], text [n, tokens, cross_dim]; tap may be NULL; empty result when the tap stopped it. */
struct tensor transformer_forward(struct ctx *c, struct transformer *t, const struct tensor *x, const struct tensor *text,
                                  struct q_tap *tap, struct transformer_tape *tape);
/* Fresh dx; dtext: NULL, or F32, added to. Gives the tape back. */
struct tensor transformer_backward(struct ctx *c, struct transformer *t, struct transformer_tape *tape, const struct tensor *x,
                                   const struct tensor *text, struct q_tap *tap, const struct tensor *dy, struct tensor *dtext);
void transformer_tape_drop(struct ctx *c, struct transformer *t, struct transformer_tape *tape);

/* Attention on its own, for the text encoder and the VAE. context NULL: self-attention. Projections with bias where bias. */
bool attention_init(struct attention *a, struct param_set *s, const char *const path[4], int64_t channels, int64_t context, int heads,
                    bool bias);
void attention_qkv(struct ctx *c, struct attention *a, const struct tensor *x, const struct tensor *context, struct attention_tape *t);
/* o (in the tape) and the projected result. */
struct tensor attention_mix(struct ctx *c, struct attention *a, struct attention_tape *t, bool causal);
/* Share of the attention that each query pays to keys [first, first + count): the sum of their probabilities, averaged over the heads, out
   host [n, tq]. t: after attention_qkv. Written as attention to values that are 1 at these keys and 0 elsewhere. */
void attention_share(struct ctx *c, const struct attention *a, const struct attention_tape *t, int first, int count, float *out);
/* dx fresh; dcontext: cross-attention's, F32, added to, NULL: not wanted. dq_extra: NULL or added to dq. Gives the tape back. */
struct tensor attention_backward(struct ctx *c, struct attention *a, struct attention_tape *t, const struct tensor *x,
                                 const struct tensor *context, const struct tensor *dy, const struct tensor *dq_extra,
                                 struct tensor *dcontext, bool causal);
void attention_tape_drop(struct ctx *c, struct attention_tape *t);

#endif
