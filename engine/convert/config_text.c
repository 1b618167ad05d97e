#include "convert/config_text.h"
#include "formats/json_add.h"

#include <cjson/cJSON.h>
#include <stdio.h>

/* The layout is that of this version; below 0.9.0 pipelines force sample_size to 64. */
static const char version[] = "0.18.2";

static cJSON *begin(const char *class_name) {
  cJSON *j = cJSON_CreateObject();
  cJSON_AddStringToObject(j, "_class_name", class_name);
  cJSON_AddStringToObject(j, "_diffusers_version", version);
  return j;
}

static char *end(cJSON *j) {
  char *text = cJSON_Print(j);
  cJSON_Delete(j);
  return text;
}

static void ints(cJSON *j, const char *key, const int *v, int n) {
  json_put(j, key, cJSON_CreateIntArray(v, n));
}

/* A number where all levels agree, else a list. */
static void per_level(cJSON *j, const char *key, const int *v, int n) {
  bool same = true;
  for (int i = 1; i < n; i++) same = same && v[i] == v[0];
  if (same)
    cJSON_AddNumberToObject(j, key, v[0]);
  else
    ints(j, key, v, n);
}

static void block_types(cJSON *j, const char *key, const char *plain, const char *attention, const bool *has, int n) {
  cJSON *list = cJSON_AddArrayToObject(j, key);
  for (int i = 0; i < n; i++) json_append(list, cJSON_CreateString(has && has[i] ? attention : plain));
}

char *config_text_unet(const struct unet_config *c) {
  cJSON *j = begin("UNet2DConditionModel");
  cJSON_AddStringToObject(j, "act_fn", "silu");
  ints(j, "attention_head_dim", c->heads, c->levels);
  ints(j, "block_out_channels", c->channels, c->levels);
  cJSON_AddBoolToObject(j, "center_input_sample", false);
  cJSON_AddNumberToObject(j, "cross_attention_dim", c->cross_dim);
  block_types(j, "down_block_types", "DownBlock2D", "CrossAttnDownBlock2D", c->down_attention, c->levels);
  cJSON_AddNumberToObject(j, "downsample_padding", 1);
  cJSON_AddBoolToObject(j, "flip_sin_to_cos", c->flip_sin_to_cos);
  cJSON_AddNumberToObject(j, "freq_shift", (double)c->freq_shift);
  cJSON_AddNumberToObject(j, "in_channels", c->in_channels);
  per_level(j, "layers_per_block", c->layers, c->levels);
  cJSON_AddNumberToObject(j, "mid_block_scale_factor", 1);
  cJSON_AddStringToObject(j, "mid_block_type", "UNetMidBlock2DCrossAttn");
  cJSON_AddRawToObject(j, "norm_eps", "1e-05");
  cJSON_AddNumberToObject(j, "norm_num_groups", c->groups);
  cJSON_AddNumberToObject(j, "out_channels", c->out_channels);
  cJSON_AddNumberToObject(j, "sample_size", c->sample_size);
  per_level(j, "transformer_layers_per_block", c->transformer_layers, c->levels);
  block_types(j, "up_block_types", "UpBlock2D", "CrossAttnUpBlock2D", c->up_attention, c->levels);
  cJSON_AddBoolToObject(j, "upcast_attention", c->upcast_attention);
  cJSON_AddBoolToObject(j, "use_linear_projection", c->linear_projection);
  return end(j);
}

char *config_text_clip(const struct clip_config *c) {
  cJSON *j = cJSON_CreateObject();
  const char *const architecture = "CLIPTextModel";
  json_put(j, "architectures", cJSON_CreateStringArray(&architecture, 1));
  cJSON_AddNumberToObject(j, "bos_token_id", c->vocab - 2);
  cJSON_AddNumberToObject(j, "eos_token_id", c->vocab - 1);
  cJSON_AddStringToObject(j, "hidden_act", c->act == ACT_GELU ? "gelu" : "quick_gelu");
  cJSON_AddNumberToObject(j, "hidden_size", c->width);
  cJSON_AddNumberToObject(j, "intermediate_size", c->inner);
  cJSON_AddRawToObject(j, "layer_norm_eps", "1e-05");
  cJSON_AddNumberToObject(j, "max_position_embeddings", c->positions);
  cJSON_AddStringToObject(j, "model_type", "clip_text_model");
  cJSON_AddNumberToObject(j, "num_attention_heads", c->heads);
  cJSON_AddNumberToObject(j, "num_hidden_layers", c->layers);
  cJSON_AddNumberToObject(j, "pad_token_id", c->act == ACT_GELU ? 0 : c->vocab - 1);
  cJSON_AddNumberToObject(j, "vocab_size", c->vocab);
  return end(j);
}

char *config_text_vae(const struct vae_config *c) {
  cJSON *j = begin("AutoencoderKL");
  cJSON_AddStringToObject(j, "act_fn", "silu");
  ints(j, "block_out_channels", c->channels, c->levels);
  block_types(j, "down_block_types", "DownEncoderBlock2D", NULL, NULL, c->levels);
  cJSON_AddNumberToObject(j, "in_channels", c->in_channels);
  cJSON_AddNumberToObject(j, "latent_channels", c->latent_channels);
  cJSON_AddNumberToObject(j, "layers_per_block", c->layers);
  cJSON_AddNumberToObject(j, "norm_num_groups", c->groups);
  cJSON_AddNumberToObject(j, "out_channels", c->out_channels);
  cJSON_AddNumberToObject(j, "sample_size", 512);
  /* a float that was read from a decimal number: 7 digits give that number back */
  char scale[32];
  snprintf(scale, sizeof scale, "%.7g", (double)c->scaling_factor);
  cJSON_AddRawToObject(j, "scaling_factor", scale);
  block_types(j, "up_block_types", "UpDecoderBlock2D", NULL, NULL, c->levels);
  if (!c->quant_conv) cJSON_AddBoolToObject(j, "use_quant_conv", false);
  if (!c->post_quant_conv) cJSON_AddBoolToObject(j, "use_post_quant_conv", false);
  if (!c->mid_attention) cJSON_AddBoolToObject(j, "mid_block_add_attention", false);
  return end(j);
}

char *config_text_scheduler(bool v, double beta_start, double beta_end, int steps) {
  cJSON *j = begin(v ? "DDIMScheduler" : "PNDMScheduler");
  cJSON_AddNumberToObject(j, "beta_end", beta_end);
  cJSON_AddStringToObject(j, "beta_schedule", "scaled_linear");
  cJSON_AddNumberToObject(j, "beta_start", beta_start);
  cJSON_AddBoolToObject(j, "clip_sample", false);
  cJSON_AddNumberToObject(j, "num_train_timesteps", steps);
  cJSON_AddStringToObject(j, "prediction_type", v ? "v_prediction" : "epsilon");
  cJSON_AddBoolToObject(j, "set_alpha_to_one", false);
  if (!v) cJSON_AddBoolToObject(j, "skip_prk_steps", true);
  cJSON_AddNumberToObject(j, "steps_offset", 1);
  cJSON_AddStringToObject(j, "timestep_spacing", "leading");
  cJSON_AddNullToObject(j, "trained_betas");
  return end(j);
}
