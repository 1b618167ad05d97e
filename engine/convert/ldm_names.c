#include "convert/ldm_names.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct rename {
  const char *from, *to; /* beginnings of what is left of a name */
};

static bool put(struct ldm_name *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static bool put(struct ldm_name *out, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(out->text, sizeof out->text, fmt, ap);
  va_end(ap);
  out->third = -1;
  return n > 0 && (size_t)n < sizeof out->text;
}

/* What follows start in name, NULL where name begins otherwise. */
static const char *after(const char *name, const char *start) {
  size_t n = strlen(start);
  return strncmp(name, start, n) == 0 ? name + n : NULL;
}

/* prefix + rest with its beginning renamed; false where no row fits and the rest may not stay. */
static bool renamed(struct ldm_name *out, const char *prefix, const char *rest, const struct rename *row, size_t rows) {
  for (size_t i = 0; i < rows; i++) {
    const char *tail = after(rest, row[i].from);
    if (tail) return put(out, "%s%s%s", prefix, row[i].to, tail);
  }
  return false;
}

#define RENAMED(out, prefix, rest, table) renamed(out, prefix, rest, table, sizeof(table) / sizeof *(table))

/* --- UNet ------------------------------------------------------------------------------------------------------------------- */

static const struct rename unet_ends[] = {{"conv_in.", "input_blocks.0.0."},
                                          {"time_embedding.linear_1.", "time_embed.0."},
                                          {"time_embedding.linear_2.", "time_embed.2."},
                                          {"conv_norm_out.", "out.0."},
                                          {"conv_out.", "out.2."}};
static const struct rename unet_resnet[] = {{"norm1.", "in_layers.0."},          {"conv1.", "in_layers.2."},
                                            {"time_emb_proj.", "emb_layers.1."}, {"norm2.", "out_layers.0."},
                                            {"conv2.", "out_layers.3."},         {"conv_shortcut.", "skip_connection."}};

/* A layer of a block: a resnet, or the attention beside it. */
static bool layer_name(struct ldm_name *out, const char *kind, const char *list, int at, const char *rest) {
  char prefix[80];
  bool resnet = strcmp(kind, "resnets") == 0;
  if (!resnet && strcmp(kind, "attentions") != 0) return false;
  snprintf(prefix, sizeof prefix, LDM_UNET "%s.%d.%d.", list, at, resnet ? 0 : 1);
  return resnet ? RENAMED(out, prefix, rest, unet_resnet) : put(out, "%s%s", prefix, rest);
}

/* Number of the first layer of down block i among input_blocks: each block before it has its layers and a downsampler. */
static int first_input(const struct unet_config *c, int i) {
  int n = 1;
  for (int k = 0; k < i; k++) n += c->layers[k] + 1;
  return n;
}

static int first_output(const struct unet_config *c, int i) {
  int n = 0;
  for (int k = 0; k < i; k++) n += c->layers[c->levels - 1 - k] + 1;
  return n;
}

static bool down_name(const struct unet_config *c, const char *name, struct ldm_name *out) {
  int i, k, end = 0;
  char kind[32];
  if (sscanf(name, "down_blocks.%d.%31[a-z].%d.%n", &i, kind, &k, &end) != 3 || end == 0 || i < 0 || i >= c->levels) return false;
  if (strcmp(kind, "downsamplers") != 0) return layer_name(out, kind, "input_blocks", first_input(c, i) + k, name + end);
  const char *leaf = after(name + end, "conv.");
  return leaf && put(out, LDM_UNET "input_blocks.%d.0.op.%s", first_input(c, i) + c->layers[i], leaf);
}

static bool up_name(const struct unet_config *c, const char *name, struct ldm_name *out) {
  int i, k, end = 0;
  char kind[32];
  if (sscanf(name, "up_blocks.%d.%31[a-z].%d.%n", &i, kind, &k, &end) != 3 || end == 0 || i < 0 || i >= c->levels) return false;
  if (strcmp(kind, "upsamplers") != 0) return layer_name(out, kind, "output_blocks", first_output(c, i) + k, name + end);
  const char *leaf = after(name + end, "conv.");
  return leaf && put(out, LDM_UNET "output_blocks.%d.%d.conv.%s", first_output(c, i) + c->layers[c->levels - 1 - i],
                     c->up_attention[i] ? 2 : 1, leaf);
}

static bool mid_name(const char *name, struct ldm_name *out) {
  const char *rest;
  if ((rest = after(name, "mid_block.resnets.0."))) return RENAMED(out, LDM_UNET "middle_block.0.", rest, unet_resnet);
  if ((rest = after(name, "mid_block.resnets.1."))) return RENAMED(out, LDM_UNET "middle_block.2.", rest, unet_resnet);
  rest = after(name, "mid_block.attentions.0.");
  return rest && put(out, LDM_UNET "middle_block.1.%s", rest);
}

bool ldm_unet_name(const struct unet_config *c, const char *name, struct ldm_name *out) {
  return RENAMED(out, LDM_UNET, name, unet_ends) || down_name(c, name, out) || up_name(c, name, out) || mid_name(name, out);
}

/* --- VAE -------------------------------------------------------------------------------------------------------------------- */

static const struct rename vae_leaf[] = {{"conv_norm_out.", "norm_out."},
                                         {"conv_in.", "conv_in."},
                                         {"conv_out.", "conv_out."},
                                         {"mid_block.resnets.0.", "mid.block_1."},
                                         {"mid_block.resnets.1.", "mid.block_2."},
                                         {"mid_block.attentions.0.group_norm.", "mid.attn_1.norm."},
                                         {"mid_block.attentions.0.to_q.", "mid.attn_1.q."},
                                         {"mid_block.attentions.0.to_k.", "mid.attn_1.k."},
                                         {"mid_block.attentions.0.to_v.", "mid.attn_1.v."},
                                         {"mid_block.attentions.0.to_out.0.", "mid.attn_1.proj_out."}};
static const struct rename vae_resnet[] = {
    {"conv_shortcut.", "nin_shortcut."}, {"norm1.", "norm1."}, {"norm2.", "norm2."}, {"conv1.", "conv1."}, {"conv2.", "conv2."}};

static bool vae_level(const struct vae_config *c, bool down, const char *rest, struct ldm_name *out) {
  int i, k, end = 0;
  char kind[32], prefix[80];
  const char *pattern = down ? "down_blocks.%d.%31[a-z].%d.%n" : "up_blocks.%d.%31[a-z].%d.%n";
  if (sscanf(rest, pattern, &i, kind, &k, &end) != 3 || end == 0 || i < 0 || i >= c->levels) return false;
  const char *side = down ? "encoder.down" : "decoder.up";
  int level = down ? i : c->levels - 1 - i;
  if (strcmp(kind, "resnets") != 0) return put(out, LDM_VAE "%s.%d.%s.%s", side, level, down ? "downsample" : "upsample", rest + end);
  snprintf(prefix, sizeof prefix, LDM_VAE "%s.%d.block.%d.", side, level, k);
  return RENAMED(out, prefix, rest + end, vae_resnet);
}

bool ldm_vae_name(const struct vae_config *c, const char *name, struct ldm_name *out) {
  const char *rest;
  if (after(name, "quant_conv.") || after(name, "post_quant_conv.")) return put(out, LDM_VAE "%s", name);
  bool down = (rest = after(name, "encoder.")) != NULL;
  if (!down && !(rest = after(name, "decoder."))) return false;
  if (vae_level(c, down, rest, out)) return true;
  return RENAMED(out, down ? LDM_VAE "encoder." : LDM_VAE "decoder.", rest, vae_leaf);
}

/* --- text encoder ------------------------------------------------------------------------------------------------------------- */

static const struct rename open_clip_ends[] = {{"embeddings.token_embedding.weight", "token_embedding.weight"},
                                               {"embeddings.position_embedding.weight", "positional_embedding"},
                                               {"final_layer_norm.", "ln_final."}};
static const struct rename open_clip_layer[] = {{"layer_norm1.", "ln_1."},
                                                {"layer_norm2.", "ln_2."},
                                                {"mlp.fc1.", "mlp.c_fc."},
                                                {"mlp.fc2.", "mlp.c_proj."},
                                                {"self_attn.out_proj.", "attn.out_proj."}};

static bool open_clip_name(const char *rest, struct ldm_name *out) {
  static const char *const fused[3] = {"self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj."};
  int i, end = 0;
  char prefix[96];
  if (RENAMED(out, LDM_OPEN_CLIP, rest, open_clip_ends)) return true;
  if (sscanf(rest, "encoder.layers.%d.%n", &i, &end) != 1 || end == 0) return false;
  snprintf(prefix, sizeof prefix, LDM_OPEN_CLIP "transformer.resblocks.%d.", i);
  for (int k = 0; k < 3; k++) {
    const char *leaf = after(rest + end, fused[k]);
    if (!leaf) continue;
    bool fits = put(out, "%sattn.in_proj_%s", prefix, leaf);
    out->third = k;
    return fits;
  }
  return RENAMED(out, prefix, rest + end, open_clip_layer);
}

bool ldm_text_name(bool open_clip, const char *name, struct ldm_name *out) {
  const char *rest = after(name, "text_model.");
  if (!rest) return false;
  return open_clip ? open_clip_name(rest, out) : put(out, LDM_CLIP "%s", name);
}
