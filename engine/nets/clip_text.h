/* CLIPTextModel: transformers' models/clip/modeling_clip.py; output is last_hidden_state after the final layer norm. */
#ifndef PDMBOOTH_NETS_CLIP_TEXT_H
#define PDMBOOTH_NETS_CLIP_TEXT_H

#include "formats/json.h"
#include "nets/ctx.h"
#include "nets/lora.h"

struct clip_config {
  int vocab, width, layers, heads, inner, positions;
  float eps;
  enum activation act;
};
bool clip_config_read(struct clip_config *c, const struct json *j, struct err *e);

struct clip_text;
struct clip_text *clip_new(const struct clip_config *c, struct err *e); /* parameter names as on disk: "text_model.encoder.layers.0..." */
void clip_delete(struct clip_text *m, struct backend *b);
const struct clip_config *clip_config(const struct clip_text *m);
struct param_set *clip_params(struct clip_text *m);
struct lora_set *clip_lora(struct clip_text *m);
bool clip_attach_lora(struct clip_text *m, const struct lora_spec *spec, struct err *e);

struct clip_tape;
/* ids: host, [n * tokens]; result [n, tokens, width], activations' type, from the pool. tape NULL: inference. */
struct tensor clip_forward(struct ctx *c, struct clip_text *m, const int32_t *ids, int n, int tokens, struct clip_tape **tape);
/* The same with ids in device memory, I32 [n, tokens], which stay the caller's and are there until the tape is gone. */
struct tensor clip_forward_ids(struct ctx *c, struct clip_text *m, const struct tensor *ids, struct clip_tape **tape);
/* dy F32 or the activations' type, given back by the callee. Accumulates gradients of parameters and adapters. */
void clip_backward(struct ctx *c, struct clip_text *m, struct clip_tape *tape, struct tensor *dy);
void clip_tape_drop(struct ctx *c, struct clip_tape *tape);

#endif
