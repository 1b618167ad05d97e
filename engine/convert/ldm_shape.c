#include "convert/ldm_shape.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "nets/transformer.h"

static const struct st_tensor *find(const struct st_file *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static const struct st_tensor *find(const struct st_file *f, const char *fmt, ...) {
  char name[LDM_NAME];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(name, sizeof name, fmt, ap);
  va_end(ap);
  return st_find(f, name);
}

/* Dim k of a tensor; 0 where it has none or one that no network of this kind has. */
static int dim(const struct st_tensor *t, int k) {
  return t && k < t->rank && t->dim[k] > 0 && t->dim[k] <= 10000000 ? (int)t->dim[k] : 0;
}

static bool starts(const char *name, const char *prefix) {
  return strncmp(name, prefix, strlen(prefix)) == 0;
}

bool ldm_is_single_file(const struct st_file *f) {
  for (int i = 0; i < st_count(f); i++)
    if (starts(st_at(f, i)->name, LDM_UNET)) return true;
  return false;
}

/* --- UNet ---------------------------------------------------------------------------------------------------------------------- */

static int count_blocks(const struct st_file *f, const char *list, int n) {
  int k = 0;
  while (k < TRANSFORMER_MAX_BLOCKS && find(f, LDM_UNET "%s.%d.1.transformer_blocks.%d.attn1.to_q.weight", list, n, k)) k++;
  return k;
}

static bool wrong(const struct st_file *f, const char *what, struct err *e) {
  return err_set(e, ERR_INPUT, "%s: the UNet in it %s; this program runs those of Stable Diffusion 1.x and 2.x", st_path(f), what);
}

/* A resnet of the level that is being read. */
static bool read_layer(struct unet_config *c, const struct st_file *f, int level, int n, const struct st_tensor *conv, struct err *e) {
  int blocks = count_blocks(f, "input_blocks", n), channels = dim(conv, 0);
  bool first = c->layers[level] == 0;
  if (channels == 0 || channels > 65536) return wrong(f, "has a convolution without channels", e);
  if (first) {
    c->channels[level] = channels;
    c->down_attention[level] = blocks > 0;
    c->transformer_layers[level] = blocks;
  }
  if (c->channels[level] != channels || c->transformer_layers[level] != blocks) return wrong(f, "has layers that differ inside a level", e);
  c->layers[level]++;
  return c->layers[level] <= 16 || wrong(f, "has more than 16 layers in a level", e);
}

static bool read_down(struct unet_config *c, const struct st_file *f, struct err *e) {
  int level = 0;
  for (int n = 1;; n++) {
    const struct st_tensor *conv = find(f, LDM_UNET "input_blocks.%d.0.in_layers.2.weight", n);
    if (conv && !read_layer(c, f, level, n, conv, e)) return false;
    if (conv) continue;
    if (!find(f, LDM_UNET "input_blocks.%d.0.op.weight", n)) break;
    if (c->layers[level] == 0 || ++level == UNET_MAX_LEVELS) return wrong(f, "has an unknown sequence of blocks", e);
  }
  c->levels = level + 1;
  return c->layers[level] > 0 || wrong(f, "has an unknown sequence of blocks", e);
}

static bool read_mid_and_up(struct unet_config *c, const struct st_file *f, struct err *e) {
  int last = c->levels - 1, n = 0, mid = 0;
  while (mid < TRANSFORMER_MAX_BLOCKS && find(f, LDM_UNET "middle_block.1.transformer_blocks.%d.attn1.to_q.weight", mid)) mid++;
  if (mid == 0) return wrong(f, "has no attention in its middle block", e);
  c->mid_attention = true;
  for (int i = 0; i < c->levels; i++) {
    int level = last - i, blocks = count_blocks(f, "output_blocks", n);
    c->up_attention[i] = blocks > 0;
    if (!c->down_attention[level]) c->transformer_layers[level] = level == last ? mid : blocks > 0 ? blocks : 1;
    n += c->layers[level] + 1;
  }
  return true;
}

static bool read_unet(struct unet_config *c, const struct st_file *f, struct err *e) {
  const struct st_tensor *key = find(f, LDM_UNET "middle_block.1.transformer_blocks.0.attn2.to_k.weight");
  const struct st_tensor *projection = find(f, LDM_UNET "middle_block.1.proj_in.weight");
  if (find(f, LDM_UNET "label_emb.0.0.weight")) return wrong(f, "is that of Stable Diffusion XL", e);
  if (find(f, LDM_UNET "double_blocks.0.img_attn.qkv.weight") || find(f, LDM_UNET "joint_blocks.0.x_block.attn.qkv.weight"))
    return wrong(f, "is a transformer", e);
  c->act = ACT_SILU;
  c->flip_sin_to_cos = true;
  c->in_channels = dim(find(f, LDM_UNET "input_blocks.0.0.weight"), 1);
  c->out_channels = dim(find(f, LDM_UNET "out.2.weight"), 0);
  c->cross_dim = dim(key, 1);
  c->linear_projection = projection && projection->rank == 2;
  if (c->in_channels == 0 || c->out_channels == 0 || c->in_channels > 1024 || c->out_channels > 1024)
    return wrong(f, "lacks its first or its last convolution", e);
  if (!read_down(c, f, e) || !read_mid_and_up(c, f, e)) return false;
  return c->cross_dim > 0 || wrong(f, "has no cross-attention", e);
}

/* --- text encoder and VAE --------------------------------------------------------------------------------------------------------- */

static int count_layers(const struct st_file *f, const char *prefix, const char *leaf) {
  int n = 0;
  while (n < 256 && find(f, "%s%d.%s", prefix, n, leaf)) n++;
  return n;
}

static void read_clip(struct ldm_shape *s, const struct st_file *f, const char *prefix) {
  char layers[128];
  const struct st_tensor *token = find(f, "%sembeddings.token_embedding.weight", prefix);
  snprintf(layers, sizeof layers, "%sencoder.layers.", prefix);
  s->has_text = true;
  s->text = (struct clip_config){.vocab = dim(token, 0),
                                 .width = dim(token, 1),
                                 .layers = count_layers(f, layers, "mlp.fc1.weight"),
                                 .inner = dim(find(f, "%s0.mlp.fc1.weight", layers), 0),
                                 .positions = dim(find(f, "%sembeddings.position_embedding.weight", prefix), 0),
                                 .eps = 1e-5f,
                                 .act = ACT_QUICK_GELU};
}

static void read_open_clip(struct ldm_shape *s, const struct st_file *f) {
  const struct st_tensor *token = find(f, LDM_OPEN_CLIP "token_embedding.weight");
  s->has_text = s->open_clip = true;
  s->text = (struct clip_config){.vocab = dim(token, 0),
                                 .width = dim(token, 1),
                                 .layers = count_layers(f, LDM_OPEN_CLIP "transformer.resblocks.", "mlp.c_fc.weight"),
                                 .inner = dim(find(f, LDM_OPEN_CLIP "transformer.resblocks.0.mlp.c_fc.weight"), 0),
                                 .positions = dim(find(f, LDM_OPEN_CLIP "positional_embedding"), 0),
                                 .eps = 1e-5f,
                                 .act = ACT_GELU};
}

static bool read_text(struct ldm_shape *s, const struct st_file *f, struct err *e) {
  if (find(f, LDM_CLIP "text_model.embeddings.token_embedding.weight")) {
    read_clip(s, f, LDM_CLIP "text_model.");
  } else if (find(f, LDM_CLIP "embeddings.token_embedding.weight")) {
    read_clip(s, f, LDM_CLIP);
    s->bare_text = true;
  } else if (find(f, LDM_OPEN_CLIP "token_embedding.weight")) {
    read_open_clip(s, f);
  } else {
    return true; /* a directory beside the file may bring one */
  }
  const struct clip_config *c = &s->text;
  if (c->vocab > 0 && c->width > 0 && c->layers > 0 && c->inner > 0 && c->positions > 0 && c->width <= 65536) return true;
  return err_set(e, ERR_INPUT, "%s: its text encoder (cond_stage_model) is not complete", st_path(f));
}

static bool read_vae(struct ldm_shape *s, const struct st_file *f, struct err *e) {
  struct vae_config *c = &s->vae;
  if (!find(f, LDM_VAE "decoder.conv_in.weight")) return true;
  s->has_vae = true;
  for (c->levels = 0; c->levels < VAE_MAX_LEVELS; c->levels++) {
    int channels = dim(find(f, LDM_VAE "encoder.down.%d.block.0.conv1.weight", c->levels), 0);
    if (channels == 0) break;
    c->channels[c->levels] = channels;
  }
  c->layers = count_layers(f, LDM_VAE "encoder.down.0.block.", "conv1.weight");
  c->in_channels = c->out_channels = 3;
  c->latent_channels = dim(find(f, LDM_VAE "decoder.conv_in.weight"), 1);
  c->quant_conv = find(f, LDM_VAE "quant_conv.weight") != NULL;
  c->post_quant_conv = find(f, LDM_VAE "post_quant_conv.weight") != NULL;
  c->mid_attention = find(f, LDM_VAE "encoder.mid.attn_1.norm.weight") != NULL;
  if (c->levels > 0 && c->layers > 0 && c->layers <= 8 && c->latent_channels > 0) return true;
  return err_set(e, ERR_INPUT, "%s: its VAE (first_stage_model) is not one of Stable Diffusion 1.x or 2.x", st_path(f));
}

bool ldm_shape_read(const struct st_file *f, struct ldm_shape *out, struct err *e) {
  *out = (struct ldm_shape){0};
  if (!ldm_is_single_file(f))
    return err_set(e, ERR_INPUT, "%s: not a single-file checkpoint of Stable Diffusion: no tensor is named " LDM_UNET "...", st_path(f));
  return read_unet(&out->unet, f, e) && read_text(out, f, e) && read_vae(out, f, e);
}
