#include "nets/clip_text.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nets/gradient.h"
#include "nets/transformer.h"

enum { PATH = 128 };

struct clip_layer {
  struct norm norm1, norm2;
  struct attention attention;
  struct linear fc1, fc2;
  int block; /* of the parameters */
};

struct layer_tape {
  struct tensor x, x1, stats1, stats2, f; /* input; after attention; output of fc1 */
  struct attention_tape attention;
};

struct clip_tape {
  struct tensor ids, own_ids; /* own_ids: empty where they are the caller's */
  struct tensor last, stats;
  struct layer_tape *layer; /* [layers] */
};

struct clip_text {
  struct clip_config config;
  struct param_set *params;
  struct lora_set *lora;
  struct param *token, *position;
  struct clip_layer *layer; /* [config.layers] */
  struct norm final;
  int final_block;       /* of its parameters; the embeddings are block 0 */
  struct clip_tape tape; /* one forward with a tape may be open at a time */
};

bool clip_config_read(struct clip_config *c, const struct json *j, struct err *e) {
  int64_t v[6];
  char act[32];
  double eps;
  static const struct {
    const char *key;
    int64_t fallback, max;
  } k[6] = {{"vocab_size", 49408, 10000000},  {"hidden_size", 512, 65536},         {"num_hidden_layers", 12, 256},
            {"num_attention_heads", 8, 1024}, {"intermediate_size", 2048, 262144}, {"max_position_embeddings", 77, 65536}};
  for (int i = 0; i < 6; i++)
    if (!json_int(j, k[i].key, k[i].fallback, 1, k[i].max, &v[i], e)) return false;
  if (!json_float(j, "layer_norm_eps", 1e-5, &eps, e) || !json_string(j, "hidden_act", "quick_gelu", act, sizeof act, e)) return false;
  *c = (struct clip_config){.vocab = (int)v[0],
                            .width = (int)v[1],
                            .layers = (int)v[2],
                            .heads = (int)v[3],
                            .inner = (int)v[4],
                            .positions = (int)v[5],
                            .eps = (float)eps};
  if (c->width % c->heads != 0)
    return err_set(e, ERR_INPUT, "%s: \"num_attention_heads\" %d does not divide \"hidden_size\" %d", json_name(j), c->heads, c->width);
  if (strcmp(act, "quick_gelu") == 0)
    c->act = ACT_QUICK_GELU;
  else if (strcmp(act, "gelu") == 0)
    c->act = ACT_GELU;
  else
    return err_set(e, ERR_INPUT, "%s: \"hidden_act\" is \"%s\"; known are quick_gelu (Stable Diffusion 1.x) and gelu (2.x)", json_name(j),
                   act);
  return true;
}

/* --- building ------------------------------------------------------------------------------------------------------------ */

static const char *layer_path(char out[PATH], int i, const char *leaf) {
  snprintf(out, PATH, "text_model.encoder.layers.%d.%s", i, leaf);
  return out;
}

static const char *const projections[4] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"};

static bool layer_init(struct clip_text *m, int i) {
  const struct clip_config *c = &m->config;
  struct clip_layer *l = &m->layer[i];
  char p[4][PATH];
  const char *names[4];
  for (int k = 0; k < 4; k++) names[k] = layer_path(p[k], i, projections[k]);
  l->block = param_set_block(m->params);
  if (!attention_init(&l->attention, m->params, names, c->width, c->width, c->heads, true)) return false;
  return norm_init(&l->norm1, m->params, layer_path(p[0], i, "layer_norm1"), c->width, 0, c->eps) &&
         linear_init(&l->fc1, m->params, layer_path(p[0], i, "mlp.fc1"), c->width, c->inner, true) &&
         linear_init(&l->fc2, m->params, layer_path(p[0], i, "mlp.fc2"), c->inner, c->width, true) &&
         norm_init(&l->norm2, m->params, layer_path(p[0], i, "layer_norm2"), c->width, 0, c->eps);
}

static bool build(struct clip_text *m) {
  const struct clip_config *c = &m->config;
  m->params = param_set_new();
  m->layer = calloc((size_t)c->layers, sizeof *m->layer);
  m->tape.layer = calloc((size_t)c->layers, sizeof *m->tape.layer);
  if (!m->params || !m->layer || !m->tape.layer) return false;
  m->token = param_add(m->params, 2, (int64_t[]){c->vocab, c->width}, "text_model.embeddings.token_embedding.weight");
  m->position = param_add(m->params, 2, (int64_t[]){c->positions, c->width}, "text_model.embeddings.position_embedding.weight");
  if (!m->token || !m->position) return false;
  for (int i = 0; i < c->layers; i++)
    if (!layer_init(m, i)) return false;
  m->final_block = param_set_block(m->params);
  return norm_init(&m->final, m->params, "text_model.final_layer_norm", c->width, 0, c->eps);
}

struct clip_text *clip_new(const struct clip_config *c, struct err *e) {
  struct clip_text *m = calloc(1, sizeof *m);
  if (m) {
    m->config = *c;
    if (build(m)) return m;
  }
  err_set(e, ERR_FIT, "out of memory while building the text encoder");
  clip_delete(m, NULL);
  return NULL;
}

void clip_delete(struct clip_text *m, struct backend *b) {
  if (!m) return;
  backend_drop_packs(b, m->params);
  if (m->lora) backend_drop_packs(b, m->lora->params);
  lora_set_delete(m->lora);
  param_set_delete(m->params);
  free(m->layer);
  free(m->tape.layer);
  free(m);
}

const struct clip_config *clip_config(const struct clip_text *m) {
  return &m->config;
}
struct param_set *clip_params(struct clip_text *m) {
  return m->params;
}
struct lora_set *clip_lora(struct clip_text *m) {
  return m->lora;
}

bool clip_attach_lora(struct clip_text *m, const struct lora_spec *spec, struct err *e) {
  if (!m->lora) m->lora = lora_set_new();
  bool ok = m->lora != NULL;
  for (int i = 0; ok && i < m->config.layers; i++) {
    struct clip_layer *l = &m->layer[i];
    struct linear *all[6] = {&l->attention.q, &l->attention.k, &l->attention.v, &l->attention.out, &l->fc1, &l->fc2};
    char p[PATH];
    for (int k = 0; ok && k < 6; k++)
      ok = linear_adapt(all[k], m->lora, spec, layer_path(p, i, k < 4 ? projections[k] : k == 4 ? "mlp.fc1" : "mlp.fc2"));
  }
  if (!ok) return err_set(e, ERR_FIT, "out of memory while attaching the adapters");
  if (m->lora->n == 0)
    return err_set(e, ERR_USAGE,
                   "no layer of the text encoder matches the adapter targets (first of them: \"%s\"); try q_proj, k_proj, v_proj, out_proj",
                   spec->target[0]);
  return true;
}

/* --- forward --------------------------------------------------------------------------------------------------------------- */

static void layer_drop(struct ctx *c, struct layer_tape *t) {
  ctx_free(c, &t->x);
  ctx_free(c, &t->x1);
  ctx_free(c, &t->stats1);
  ctx_free(c, &t->stats2);
  ctx_free(c, &t->f);
  attention_tape_drop(c, &t->attention);
}

static struct tensor activate(struct ctx *c, const struct tensor *x, enum activation kind) {
  struct tensor y = ctx_like(c, x);
  if (!c->failed) c->b->op->act(c->b, &y, x, kind);
  return y;
}

/* Takes x; the tape holds it. */
static struct tensor layer_forward(struct ctx *c, const struct clip_config *k, struct clip_layer *l, struct tensor x,
                                   struct layer_tape *t) {
  t->x = x;
  struct tensor h = norm_forward(c, &l->norm1, &t->x, &t->stats1, false);
  attention_qkv(c, &l->attention, &h, NULL, &t->attention);
  ctx_free(c, &h);
  t->x1 = attention_mix(c, &l->attention, &t->attention, true);
  add_to(c, &t->x1, &t->x);
  h = norm_forward(c, &l->norm2, &t->x1, &t->stats2, false);
  t->f = linear_forward(c, &l->fc1, &h);
  ctx_free(c, &h);
  struct tensor g = activate(c, &t->f, k->act);
  struct tensor y = linear_forward(c, &l->fc2, &g);
  ctx_free(c, &g);
  add_to(c, &y, &t->x1);
  return y;
}

static struct tensor upload_ids(struct ctx *c, const int32_t *ids, int n, int tokens) {
  struct tensor t = ctx_new_2d(c, DT_I32, n, tokens);
  if (!c->failed) c->b->op->upload(c->b, t.data, ids, tensor_bytes(&t));
  return t;
}

/* Always in fp32: the text encoder is a fiftieth of the work, and PyTorch's autocast keeps its residual stream in fp32 as well. */
struct tensor clip_forward_ids(struct ctx *c, struct clip_text *m, const struct tensor *ids, struct clip_tape **tape) {
  struct clip_tape *t = &m->tape;
  t->ids = *ids;
  struct tensor x = ctx_new_3d(c, DT_F32, ids->dim[0], ids->dim[1], m->config.width);
  ctx_weights(c, m->params, 0);
  if (!c->failed) c->b->op->embed(c->b, &x, &t->ids, m->token, m->position);
  for (int i = 0; i < m->config.layers && !c->failed; i++) {
    ctx_weights(c, m->params, m->layer[i].block);
    x = layer_forward(c, &m->config, &m->layer[i], x, &t->layer[i]);
    if (!tape) layer_drop(c, &t->layer[i]);
  }
  t->last = x;
  ctx_weights(c, m->params, m->final_block);
  struct tensor wide = norm_forward(c, &m->final, &t->last, &t->stats, false), y = wide;
  if (c->act != DT_F32) {
    y = cast_to(c, &wide, c->act);
    ctx_free(c, &wide);
  }
  if (tape)
    *tape = t;
  else
    clip_tape_drop(c, t);
  return y;
}

struct tensor clip_forward(struct ctx *c, struct clip_text *m, const int32_t *ids, int n, int tokens, struct clip_tape **tape) {
  struct tensor own = upload_ids(c, ids, n, tokens);
  m->tape.own_ids = own;
  return clip_forward_ids(c, m, &own, tape);
}

/* --- backward ---------------------------------------------------------------------------------------------------------------- */

/* Gradient of x + attention(norm1(x)) or x + mlp(norm2(x)): d is given back, the result takes its place. */
static struct tensor residual(struct ctx *c, struct norm *n, const struct tensor *x, const struct tensor *stats, struct tensor *dh,
                              struct tensor *d) {
  struct tensor dx = norm_backward(c, n, x, stats, dh, false);
  ctx_free(c, dh);
  add_to(c, &dx, d);
  ctx_free(c, d);
  return dx;
}

static struct tensor mlp_backward(struct ctx *c, const struct clip_config *k, struct clip_layer *l, struct layer_tape *t,
                                  struct tensor *d) {
  struct tensor g = activate(c, &t->f, k->act), df = ctx_like(c, &t->f);
  linear_backward(c, &l->fc2, &g, d, &df, 0);
  ctx_free(c, &g);
  if (!c->failed) c->b->op->act_bwd(c->b, &df, &df, &t->f, k->act);
  struct tensor h = norm_forward(c, &l->norm2, &t->x1, NULL, false), dh = ctx_like(c, &h);
  linear_backward(c, &l->fc1, &h, &df, &dh, 0);
  ctx_free(c, &h);
  ctx_free(c, &df);
  return residual(c, &l->norm2, &t->x1, &t->stats2, &dh, d);
}

static struct tensor layer_backward(struct ctx *c, const struct clip_config *k, struct clip_layer *l, struct layer_tape *t,
                                    struct tensor *d) {
  struct tensor d1 = mlp_backward(c, k, l, t, d);
  struct tensor h = norm_forward(c, &l->norm1, &t->x, NULL, false);
  struct tensor dh = attention_backward(c, &l->attention, &t->attention, &h, NULL, &d1, NULL, NULL, true);
  ctx_free(c, &h);
  struct tensor dx = residual(c, &l->norm1, &t->x, &t->stats1, &dh, &d1);
  layer_drop(c, t);
  return dx;
}

void clip_backward(struct ctx *c, struct clip_text *m, struct clip_tape *tape, struct tensor *dy) {
  struct tensor g = cast_to(c, dy, DT_F32);
  ctx_free(c, dy);
  ctx_gradients(c, m->params, m->final_block);
  struct tensor d = norm_backward(c, &m->final, &tape->last, &tape->stats, &g, false);
  ctx_final(c, m->params, m->final_block);
  ctx_free(c, &g);
  for (int i = m->config.layers - 1; i >= 0 && !c->failed; i--) {
    ctx_gradients(c, m->params, m->layer[i].block);
    d = layer_backward(c, &m->config, &m->layer[i], &tape->layer[i], &d);
    ctx_final(c, m->params, m->layer[i].block);
  }
  ctx_gradients(c, m->params, 0);
  if (!m->token->frozen || !m->position->frozen) {
    struct lent_gradients lent = gradients_lend(c, m->token, m->position);
    if (!c->failed) c->b->op->embed_bwd(c->b, m->token, m->position, &tape->ids, &d);
    gradients_return(c, &lent);
  }
  ctx_final(c, m->params, 0);
  ctx_free(c, &d);
  clip_tape_drop(c, tape);
}

void clip_tape_drop(struct ctx *c, struct clip_tape *tape) {
  struct clip_text *m = (struct clip_text *)((char *)tape - offsetof(struct clip_text, tape));
  ctx_free(c, &tape->own_ids);
  ctx_free(c, &tape->last);
  ctx_free(c, &tape->stats);
  for (int i = 0; i < m->config.layers; i++) layer_drop(c, &tape->layer[i]);
}
