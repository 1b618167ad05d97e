/* UNet2DConditionModel of Stable Diffusion 1.x and 2.x: forward and backward.
 * Equal to diffusers' models/unets/unet_2d_condition.py for the configurations that unet_config_read accepts. */
#ifndef PDMBOOTH_NETS_UNET_H
#define PDMBOOTH_NETS_UNET_H

#include "formats/json.h"
#include "nets/ctx.h"
#include "nets/lora.h"

enum { UNET_MAX_LEVELS = 8 };

struct unet_config {
  int in_channels, out_channels, sample_size, levels;
  int channels[UNET_MAX_LEVELS];
  bool down_attention[UNET_MAX_LEVELS], up_attention[UNET_MAX_LEVELS]; /* up: in the order of up_blocks */
  bool mid_attention;
  int layers[UNET_MAX_LEVELS];             /* layers_per_block of down block i; up block i has one more than its level's */
  int transformer_layers[UNET_MAX_LEVELS]; /* of level i */
  int heads[UNET_MAX_LEVELS];              /* of level i */
  int cross_dim;                           /* cross_attention_dim */
  int groups;                              /* norm_num_groups */
  float norm_eps;
  bool linear_projection, flip_sin_to_cos, upcast_attention;
  float freq_shift;
  enum activation act;
};

/* ERR_INPUT naming file and key for whatever this program does not compute (class embeddings, other block types, ...). */
bool unet_config_read(struct unet_config *c, const struct json *j, struct err *e);

struct unet;
struct unet *unet_new(const struct unet_config *c, struct err *e); /* registers the parameters; no weights yet */
void unet_delete(struct unet *u, struct backend *b);               /* b: releases packs; may be NULL */
const struct unet_config *unet_config(const struct unet *u);
struct param_set *unet_params(struct unet *u);
/* Adapters on linear layers; see lora.h. */
struct lora_set *unet_lora(struct unet *u); /* NULL while none is attached */
bool unet_attach_lora(struct unet *u, const struct lora_spec *spec, struct err *e);

/* --- The layer whose query features PDMBooth ties ------------------------------------------------------------------
 * Named as in Python: "up_blocks.3.attentions.2.transformer_blocks.0.attn1". */
/* name NULL or "": the default of method.md section 5 (last up block with attention, its last attention, last transformer block).
   Writes the full name into out. ERR_USAGE lists what may be named. */
bool unet_pdm_layer(const struct unet *u, const char *name, char *out, size_t n, int *handle, struct err *e);
int64_t unet_pdm_channels(const struct unet *u, int handle);
/* Tokens of that layer for a latent of h x w; and its grid. */
void unet_pdm_grid(const struct unet *u, int handle, int h, int w, int *gh, int *gw);

/* The attention that every place of the picture pays to some tokens of the text: all cross-attentions of a forward pass, one after the other. */
struct unet_watch {
  int first, count; /* tokens of the text */
  void *user;
  /* share: host [n, h w], the sum over the tokens of the probabilities, averaged over the heads; level: halvings of the latent, h x w its
     grid there; up: of the decoder. Not called in a planning run. */
  void (*seen)(void *user, bool up, int level, int h, int w, int64_t n, const float *share);
};

struct unet_tap {
  int handle;       /* from unet_pdm_layer; -1: none */
  struct tensor q;  /* out: [n, tokens, channels], activations' type, Q incl. adapters; from the pool, the caller gives it back */
  struct tensor dq; /* in, for unet_backward: gradient added to dQ, same shape; empty: none */
  bool stop;        /* forward only: return as soon as q is known (the result of unet_forward is then empty) */
  const struct unet_watch *watch; /* NULL: none */
};

/* --- Passes ---------------------------------------------------------------------------------------------------------- */
struct unet_tape; /* what backward needs, held in the pool */

struct unet_options {
  bool recompute;       /* keep block outputs only, compute the inside again in backward */
  int recompute_blocks; /* without recompute: only of so many blocks (resnets and transformers), those that unet_rank_blocks put first */
};
int unet_blocks(const struct unet *u); /* how many there are */
/* Orders them by what the last training pass on the counting backend with everything kept found: most memory for the least work first.
   Without it the order is that of execution. */
void unet_rank_blocks(struct unet *u);

/* x [n, h, w, in] F32; t: host, [n]; text [n, tokens, cross_dim] (activations' type). Result [n, h, w, out], activations' type, from the pool.
   tape: NULL for inference; else *tape must be handed to unet_backward once. */
struct tensor unet_forward(struct ctx *c, struct unet *u, const struct tensor *x, const float *t, const struct tensor *text,
                           struct unet_tap *tap, const struct unet_options *o, struct unet_tape **tape);
/* What the network makes of timesteps on the host: [n, channels], activations' type, from the pool. unet_forward_at: with that in place of t; it stays the
   caller's and is there until the tape is gone. */
struct tensor unet_time_input(struct ctx *c, const struct unet *u, const float *t, int64_t n);
struct tensor unet_forward_at(struct ctx *c, struct unet *u, const struct tensor *x, const struct tensor *time, const struct tensor *text,
                              struct unet_tap *tap, const struct unet_options *o, struct unet_tape **tape);
/* dy: gradient of the result (given back by the callee); accumulates gradients of parameters and adapters. dtext: NULL, or a tensor like text, F32,
   that gradients are added to. tap: the same as in forward, dq filled in. */
void unet_backward(struct ctx *c, struct unet *u, struct unet_tape *tape, struct tensor *dy, struct unet_tap *tap, struct tensor *dtext);
/* Frees a tape that no backward will use. */
void unet_tape_drop(struct ctx *c, struct unet_tape *tape);

#endif
