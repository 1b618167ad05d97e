#include "nets/vae.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nets/resnet.h"
#include "nets/transformer.h"

enum { PATH = 128, MAX_LAYERS = 8 };
static const float norm_eps = 1e-6f;

struct vae_attention {
  struct norm norm;
  struct attention attention;
};

struct vae_mid {
  struct resnet first, second;
  struct vae_attention attention;
};

struct vae_level {
  struct resnet resnet[MAX_LAYERS + 1];
  int n;
  struct conv resample; /* w NULL: none */
};

struct half { /* encoder or decoder */
  struct conv in, out;
  struct norm norm;
  struct vae_mid mid;
  struct vae_level level[VAE_MAX_LEVELS]; /* in the order of execution */
};

struct vae {
  struct vae_config config;
  struct param_set *params;
  struct half encoder, decoder;
  struct linear quant, post_quant;
};

/* --- configuration ---------------------------------------------------------------------------------------------------------- */

static bool block_types(const struct json *j, const char *key, const char *wanted, int levels, struct err *e) {
  const char *name[VAE_MAX_LEVELS];
  int n;
  if (!json_strings(j, key, name, VAE_MAX_LEVELS, &n, e)) return false;
  if (n != levels)
    return err_set(e, ERR_INPUT, "%s: \"%s\" must have one entry per entry of \"block_out_channels\" (%d)", json_name(j), key, levels);
  for (int i = 0; i < n; i++)
    if (strcmp(name[i], wanted) != 0)
      return err_set(e, ERR_INPUT, "%s: \"%s\" names the block type %s; known is %s", json_name(j), key, name[i], wanted);
  return true;
}

static bool read_channels(struct vae_config *c, const struct json *j, struct err *e) {
  int64_t v[VAE_MAX_LEVELS], in, out, z, layers, groups;
  int n;
  if (!json_ints(j, "block_out_channels", 1, 65536, v, VAE_MAX_LEVELS, &n, e)) return false;
  if (n < 1) return err_set(e, ERR_INPUT, "%s: \"block_out_channels\" must be a list of channels, one per level", json_name(j));
  if (!json_int(j, "in_channels", 3, 3, 3, &in, e) || !json_int(j, "out_channels", 3, 3, 3, &out, e) ||
      !json_int(j, "latent_channels", 4, 1, 256, &z, e))
    return false;
  if (!json_int(j, "layers_per_block", 1, 1, MAX_LAYERS, &layers, e) || !json_int(j, "norm_num_groups", 32, 1, 65536, &groups, e))
    return false;
  c->in_channels = (int)in, c->out_channels = (int)out, c->latent_channels = (int)z, c->layers = (int)layers, c->groups = (int)groups;
  c->levels = n;
  for (int i = 0; i < n; i++) {
    c->channels[i] = (int)v[i];
    if (c->channels[i] % c->groups != 0)
      return err_set(e, ERR_INPUT, "%s: \"norm_num_groups\" %d does not divide %d channels", json_name(j), c->groups, c->channels[i]);
  }
  return true;
}

bool vae_config_read(struct vae_config *c, const struct json *j, struct err *e) {
  double scale, shift;
  memset(c, 0, sizeof *c);
  if (!read_channels(c, j, e) || !block_types(j, "down_block_types", "DownEncoderBlock2D", c->levels, e)) return false;
  if (!block_types(j, "up_block_types", "UpDecoderBlock2D", c->levels, e)) return false;
  if (!json_float(j, "scaling_factor", 0.18215, &scale, e) || !json_float(j, "shift_factor", 0, &shift, e)) return false;
  if (scale == 0) return err_set(e, ERR_INPUT, "%s: \"scaling_factor\" is 0", json_name(j));
  c->scaling_factor = (float)scale;
  c->shift_factor = (float)shift;
  if (shift != 0 || json_has(j, "latents_mean"))
    return err_set(e, ERR_INPUT, "%s: \"shift_factor\" or \"latents_mean\" is set; the VAEs of Stable Diffusion 1.x and 2.x have neither",
                   json_name(j));
  return json_bool(j, "use_quant_conv", true, &c->quant_conv, e) && json_bool(j, "use_post_quant_conv", true, &c->post_quant_conv, e) &&
         json_bool(j, "mid_block_add_attention", true, &c->mid_attention, e);
}

/* --- building --------------------------------------------------------------------------------------------------------------- */

static bool attention_at(struct vae_attention *a, struct param_set *s, const char *side, int channels, int groups) {
  static const char *const leaf[4] = {"to_q", "to_k", "to_v", "to_out.0"};
  char p[4][PATH];
  const char *names[4];
  for (int i = 0; i < 4; i++) {
    snprintf(p[i], PATH, "%s.mid_block.attentions.0.%s", side, leaf[i]);
    names[i] = p[i];
  }
  char norm[PATH];
  snprintf(norm, sizeof norm, "%s.mid_block.attentions.0.group_norm", side);
  return norm_init(&a->norm, s, norm, channels, groups, norm_eps) && attention_init(&a->attention, s, names, channels, channels, 1, true);
}

static bool mid_at(struct vae_mid *m, struct param_set *s, const char *side, int channels, const struct vae_config *c) {
  char p[PATH];
  snprintf(p, sizeof p, "%s.mid_block.resnets.0", side);
  if (!resnet_init(&m->first, s, p, channels, channels, 0, c->groups, norm_eps)) return false;
  if (c->mid_attention && !attention_at(&m->attention, s, side, channels, c->groups)) return false;
  snprintf(p, sizeof p, "%s.mid_block.resnets.1", side);
  return resnet_init(&m->second, s, p, channels, channels, 0, c->groups, norm_eps);
}

static bool level_at(struct vae_level *l, struct param_set *s, const char *path, const char *resample, int64_t in, int64_t out, int n,
                     int groups) {
  char p[PATH];
  l->n = n;
  for (int i = 0; i < n; i++) {
    snprintf(p, sizeof p, "%s.resnets.%d", path, i);
    if (!resnet_init(&l->resnet[i], s, p, i == 0 ? in : out, out, 0, groups, norm_eps)) return false;
  }
  if (!resample) return true;
  snprintf(p, sizeof p, "%s.%s.0.conv", path, resample);
  return conv_init(&l->resample, s, p, out, out, 3, 1, 1);
}

/* "conv_in", the levels and the norm around a half; the VAE's downsampling pads right and bottom only. */
static bool encoder_init(struct half *h, struct param_set *s, const struct vae_config *c) {
  int last = c->channels[c->levels - 1];
  char p[PATH];
  if (!conv_init(&h->in, s, "encoder.conv_in", c->in_channels, c->channels[0], 3, 1, 1)) return false;
  for (int i = 0; i < c->levels; i++) {
    snprintf(p, sizeof p, "encoder.down_blocks.%d", i);
    const char *down = i < c->levels - 1 ? "downsamplers" : NULL;
    if (!level_at(&h->level[i], s, p, down, c->channels[i > 0 ? i - 1 : 0], c->channels[i], c->layers, c->groups)) return false;
    h->level[i].resample.s = (struct conv_shape){3, 3, 2, 0, 0, 1, 1};
  }
  return mid_at(&h->mid, s, "encoder", last, c) && norm_init(&h->norm, s, "encoder.conv_norm_out", last, c->groups, norm_eps) &&
         conv_init(&h->out, s, "encoder.conv_out", last, 2 * c->latent_channels, 3, 1, 1);
}

static bool decoder_init(struct half *h, struct param_set *s, const struct vae_config *c) {
  int last = c->channels[c->levels - 1], running = last;
  char p[PATH];
  if (!conv_init(&h->in, s, "decoder.conv_in", c->latent_channels, last, 3, 1, 1) || !mid_at(&h->mid, s, "decoder", last, c)) return false;
  for (int i = 0; i < c->levels; i++) {
    int out = c->channels[c->levels - 1 - i];
    snprintf(p, sizeof p, "decoder.up_blocks.%d", i);
    if (!level_at(&h->level[i], s, p, i < c->levels - 1 ? "upsamplers" : NULL, running, out, c->layers + 1, c->groups)) return false;
    running = out;
  }
  return norm_init(&h->norm, s, "decoder.conv_norm_out", c->channels[0], c->groups, norm_eps) &&
         conv_init(&h->out, s, "decoder.conv_out", c->channels[0], c->out_channels, 3, 1, 1);
}

static bool build(struct vae *v) {
  const struct vae_config *c = &v->config;
  v->params = param_set_new();
  if (!v->params || !encoder_init(&v->encoder, v->params, c) || !decoder_init(&v->decoder, v->params, c)) return false;
  if (c->quant_conv && !pointwise_init(&v->quant, v->params, "quant_conv", 2 * c->latent_channels, 2 * c->latent_channels)) return false;
  if (c->post_quant_conv && !pointwise_init(&v->post_quant, v->params, "post_quant_conv", c->latent_channels, c->latent_channels))
    return false;
  param_set_freeze(v->params, true);
  return true;
}

struct vae *vae_new(const struct vae_config *c, struct err *e) {
  struct vae *v = calloc(1, sizeof *v);
  if (v) {
    v->config = *c;
    if (build(v)) return v;
  }
  err_set(e, ERR_FIT, "out of memory while building the VAE");
  vae_delete(v, NULL);
  return NULL;
}

void vae_delete(struct vae *v, struct backend *b) {
  if (!v) return;
  backend_drop_packs(b, v->params);
  param_set_delete(v->params);
  free(v);
}

const struct vae_config *vae_config(const struct vae *v) {
  return &v->config;
}
struct param_set *vae_params(struct vae *v) {
  return v->params;
}
int vae_factor(const struct vae *v) {
  return 1 << (v->config.levels - 1);
}

/* --- passes: each step gives its input back ------------------------------------------------------------------------------------ */

static struct tensor conv_step(struct ctx *c, struct conv *l, struct tensor x) {
  struct tensor y = conv_forward(c, l, &x);
  ctx_free(c, &x);
  return y;
}

static struct tensor linear_step(struct ctx *c, struct linear *l, struct tensor x) {
  struct tensor y = linear_forward(c, l, &x);
  ctx_free(c, &x);
  return y;
}

static struct tensor resnet_step(struct ctx *c, struct resnet *r, struct tensor x) {
  struct tensor y = resnet_forward(c, r, &x, NULL, NULL);
  ctx_free(c, &x);
  return y;
}

static struct tensor attention_step(struct ctx *c, struct vae_attention *a, struct tensor x) {
  struct attention_tape t = {0};
  struct tensor h = norm_forward(c, &a->norm, &x, NULL, false);
  struct tensor tokens = tensor_3d(h.data, h.type, h.dim[0], h.dim[1] * h.dim[2], h.dim[3]);
  attention_qkv(c, &a->attention, &tokens, NULL, &t);
  ctx_free(c, &h);
  struct tensor o = attention_mix(c, &a->attention, &t, false);
  attention_tape_drop(c, &t);
  struct tensor y = tensor_4d(o.data, o.type, x.dim[0], x.dim[1], x.dim[2], x.dim[3]);
  add_to(c, &y, &x);
  ctx_free(c, &x);
  return y;
}

static struct tensor mid_step(struct ctx *c, struct vae *v, struct vae_mid *m, struct tensor x) {
  x = resnet_step(c, &m->first, x);
  if (v->config.mid_attention) x = attention_step(c, &m->attention, x);
  return resnet_step(c, &m->second, x);
}

static struct tensor end_step(struct ctx *c, struct half *h, struct tensor x) {
  struct tensor a = norm_forward(c, &h->norm, &x, NULL, true);
  ctx_free(c, &x);
  return conv_step(c, &h->out, a);
}

static struct tensor up_step(struct ctx *c, struct conv *l, struct tensor x) {
  struct tensor big = ctx_new_4d(c, x.type, x.dim[0], 2 * x.dim[1], 2 * x.dim[2], x.dim[3]);
  if (!c->failed) c->b->op->upsample(c->b, &big, &x);
  ctx_free(c, &x);
  return conv_step(c, l, big);
}

struct tensor vae_encode(struct ctx *c, struct vae *v, const struct tensor *x) {
  struct half *h = &v->encoder;
  struct tensor y = conv_forward(c, &h->in, x);
  for (int i = 0; i < v->config.levels && !c->failed; i++) {
    for (int k = 0; k < h->level[i].n; k++) y = resnet_step(c, &h->level[i].resnet[k], y);
    if (h->level[i].resample.w) y = conv_step(c, &h->level[i].resample, y);
  }
  y = end_step(c, h, mid_step(c, v, &h->mid, y));
  return v->quant.w ? linear_step(c, &v->quant, y) : y;
}

struct tensor vae_decode(struct ctx *c, struct vae *v, const struct tensor *z) {
  struct half *h = &v->decoder;
  struct tensor y = v->post_quant.w ? linear_forward(c, &v->post_quant, z) : cast_to(c, z, z->type);
  y = mid_step(c, v, &h->mid, conv_step(c, &h->in, y));
  for (int i = 0; i < v->config.levels && !c->failed; i++) {
    for (int k = 0; k < h->level[i].n; k++) y = resnet_step(c, &h->level[i].resnet[k], y);
    if (h->level[i].resample.w) y = up_step(c, &h->level[i].resample, y);
  }
  return end_step(c, h, y);
}
