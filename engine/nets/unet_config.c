/* Reading unet/config.json: the fields of UNet2DConditionModel that Stable Diffusion 1.x and 2.x use; everything else must have the
 * value that leaves it unused, or the file is refused by name. */
#include <stdio.h>
#include <string.h>

#include "nets/transformer.h"
#include "nets/unet.h"

static bool refuse(const struct json *j, const char *key, const char *what, struct err *e) {
  return err_set(e, ERR_INPUT, "%s: \"%s\" %s; this program runs the UNets of Stable Diffusion 1.x and 2.x", json_name(j), key, what);
}

static bool read_block_types(const struct json *j, const char *key, const char *plain, const char *attention, int levels, bool *out,
                             struct err *e) {
  const char *name[UNET_MAX_LEVELS];
  int n;
  if (!json_strings(j, key, name, UNET_MAX_LEVELS, &n, e)) return false;
  if (n != levels) return refuse(j, key, "must have one entry per entry of \"block_out_channels\"", e);
  for (int i = 0; i < n; i++) {
    out[i] = strcmp(name[i], attention) == 0;
    if (!out[i] && strcmp(name[i], plain) != 0)
      return err_set(e, ERR_INPUT, "%s: \"%s\" names the block type %s; known are %s and %s", json_name(j), key, name[i], plain, attention);
  }
  return true;
}

static bool read_levels(struct unet_config *c, const struct json *j, struct err *e) {
  static const int64_t usual[4] = {320, 640, 1280, 1280};
  int64_t v[UNET_MAX_LEVELS];
  int n;
  if (!json_ints(j, "block_out_channels", 1, 65536, v, UNET_MAX_LEVELS, &n, e)) return false;
  if (n == 0) return refuse(j, "block_out_channels", "must be a list", e);
  c->levels = n < 0 ? 4 : n;
  for (int i = 0; i < c->levels; i++) c->channels[i] = (int)(n < 0 ? usual[i] : v[i]);
  return true;
}

static bool read_blocks(struct unet_config *c, const struct json *j, struct err *e) {
  char mid[64];
  if (!read_block_types(j, "down_block_types", "DownBlock2D", "CrossAttnDownBlock2D", c->levels, c->down_attention, e)) return false;
  if (!read_block_types(j, "up_block_types", "UpBlock2D", "CrossAttnUpBlock2D", c->levels, c->up_attention, e)) return false;
  if (!json_string(j, "mid_block_type", "UNetMidBlock2DCrossAttn", mid, sizeof mid, e)) return false;
  c->mid_attention = strcmp(mid, "UNetMidBlock2DCrossAttn") == 0;
  return c->mid_attention || refuse(j, "mid_block_type", "must be UNetMidBlock2DCrossAttn", e);
}

/* A scalar or one entry a level. Absent: fallback. */
static bool per_level(const struct json *j, const char *key, int64_t fallback, int64_t max, int levels, int *out, struct err *e) {
  int64_t v[UNET_MAX_LEVELS];
  int n;
  for (int i = 0; i < UNET_MAX_LEVELS; i++) v[i] = fallback;
  if (!json_ints(j, key, 1, max, v, UNET_MAX_LEVELS, &n, e)) return false;
  if (n > 0 && n != levels) return refuse(j, key, "must be a number or have one entry per level", e);
  for (int i = 0; i < levels; i++) out[i] = (int)v[i];
  return true;
}

static bool read_heads(struct unet_config *c, const struct json *j, struct err *e) {
  /* attention_head_dim is, by an old naming slip, the number of heads where num_attention_heads is absent. */
  const char *key = json_has(j, "num_attention_heads") ? "num_attention_heads" : "attention_head_dim";
  if (!per_level(j, key, 8, 1024, c->levels, c->heads, e)) return false;
  for (int i = 0; i < c->levels; i++)
    if (c->channels[i] % c->heads[i] != 0)
      return err_set(e, ERR_INPUT, "%s: \"%s\": %d channels cannot be split into %d heads", json_name(j), key, c->channels[i], c->heads[i]);
  return true;
}

static bool read_cross_dim(struct unet_config *c, const struct json *j, struct err *e) {
  int v[UNET_MAX_LEVELS];
  if (!per_level(j, "cross_attention_dim", 1280, 65536, c->levels, v, e)) return false;
  for (int i = 1; i < c->levels; i++)
    if (v[i] != v[0]) return refuse(j, "cross_attention_dim", "must be the same on every level", e);
  c->cross_dim = v[0];
  return true;
}

static bool read_numbers(struct unet_config *c, const struct json *j, struct err *e) {
  int64_t in, out, size = 0, groups;
  double eps, shift;
  int n;
  if (!json_int(j, "in_channels", 4, 1, 1024, &in, e) || !json_int(j, "out_channels", 4, 1, 1024, &out, e)) return false;
  int64_t sizes[2] = {0, 0};
  if (!json_ints(j, "sample_size", 1, 4096, sizes, 2, &n, e)) return false;
  size = sizes[0];
  if (!json_int(j, "norm_num_groups", 32, 1, 65536, &groups, e)) return false;
  if (!json_float(j, "norm_eps", 1e-5, &eps, e) || !json_float(j, "freq_shift", 0, &shift, e)) return false;
  c->in_channels = (int)in;
  c->out_channels = (int)out;
  c->sample_size = (int)size;
  c->groups = (int)groups;
  c->norm_eps = (float)eps;
  c->freq_shift = (float)shift;
  for (int i = 0; i < c->levels; i++)
    if (c->channels[i] % c->groups != 0)
      return err_set(e, ERR_INPUT, "%s: \"norm_num_groups\" %d does not divide %d channels", json_name(j), c->groups, c->channels[i]);
  return json_bool(j, "use_linear_projection", false, &c->linear_projection, e) &&
         json_bool(j, "flip_sin_to_cos", true, &c->flip_sin_to_cos, e) && json_bool(j, "upcast_attention", false, &c->upcast_attention, e);
}

/* What must be absent, null or have the one value that Stable Diffusion uses. */
static bool refuse_others(const struct json *j, struct err *e) {
  static const char *const absent[] = {"class_embed_type",
                                       "addition_embed_type",
                                       "encoder_hid_dim",
                                       "encoder_hid_dim_type",
                                       "time_cond_proj_dim",
                                       "num_class_embeds",
                                       "projection_class_embeddings_input_dim",
                                       "time_embedding_act_fn",
                                       "timestep_post_act",
                                       "time_embedding_dim",
                                       "cross_attention_norm",
                                       "reverse_transformer_layers_per_block"};
  static const char *const off[] = {"dual_cross_attention",    "only_cross_attention", "center_input_sample",
                                    "class_embeddings_concat", "resnet_skip_time_act", "mid_block_only_cross_attention"};
  static const struct {
    const char *key, *value;
  } text[] = {
      {"act_fn", "silu"}, {"resnet_time_scale_shift", "default"}, {"time_embedding_type", "positional"}, {"attention_type", "default"}};
  static const struct {
    const char *key;
    double value;
  } number[] = {{"conv_in_kernel", 3},
                {"conv_out_kernel", 3},
                {"downsample_padding", 1},
                {"mid_block_scale_factor", 1},
                {"resnet_out_scale_factor", 1}};
  for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
    if (json_has(j, absent[i])) return refuse(j, absent[i], "is set", e);
  for (size_t i = 0; i < sizeof off / sizeof *off; i++) {
    bool on;
    if (!json_bool(j, off[i], false, &on, e)) return false;
    if (on) return refuse(j, off[i], "is true", e);
  }
  for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
    char v[64];
    if (!json_string(j, text[i].key, text[i].value, v, sizeof v, e)) return false;
    if (strcmp(v, text[i].value) != 0 && !(i == 0 && strcmp(v, "swish") == 0))
      return refuse(j, text[i].key, "has another value than Stable Diffusion's", e);
  }
  for (size_t i = 0; i < sizeof number / sizeof *number; i++) {
    double v;
    if (!json_float(j, number[i].key, number[i].value, &v, e)) return false;
    if (v != number[i].value) return refuse(j, number[i].key, "has another value than Stable Diffusion's", e);
  }
  return true;
}

bool unet_config_read(struct unet_config *c, const struct json *j, struct err *e) {
  memset(c, 0, sizeof *c);
  c->act = ACT_SILU;
  return refuse_others(j, e) && read_levels(c, j, e) && read_blocks(c, j, e) && read_heads(c, j, e) && read_cross_dim(c, j, e) &&
         per_level(j, "layers_per_block", 2, 16, c->levels, c->layers, e) &&
         per_level(j, "transformer_layers_per_block", 1, TRANSFORMER_MAX_BLOCKS, c->levels, c->transformer_layers, e) &&
         read_numbers(c, j, e);
}
