#include "convert/ldm_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert/ldm_names.h"
#include "convert/lora_meta.h"

enum { EXTRA = 64 };

/* Query, key and value as one tensor. */
struct fused {
  const struct weight *third[3];
};

struct ldm {
  const struct model *m;
  const struct weights *w;
  struct st_entry *t;
  char (*name)[LDM_NAME];
  struct fused *fused;
  int n, n_fused, cap;
  int64_t positions[77], width;
  float logit_scale;
};

static bool is_open_clip(const struct model *m) {
  return clip_config(m->text)->act == ACT_GELU;
}

static bool fill_fused(const void *maker, int64_t first, int64_t count, float *out) {
  const struct fused *f = maker;
  for (int64_t n; count > 0; first += n, out += n, count -= n) {
    int64_t each = f->third[0]->p->count, at = first % each;
    n = each - at < count ? each - at : count;
    if (!weight_fill(f->third[first / each], at, n, out)) return false;
  }
  return true;
}

static bool fill_identity(const void *maker, int64_t first, int64_t count, float *out) {
  int64_t width = *(const int64_t *)maker;
  for (int64_t i = 0; i < count; i++) out[i] = (first + i) / width == (first + i) % width ? 1 : 0;
  return true;
}

static struct st_entry *add(struct ldm *d, const char *name) {
  struct st_entry *t = &d->t[d->n];
  snprintf(d->name[d->n], LDM_NAME, "%s", name);
  *t = (struct st_entry){.name = d->name[d->n++], .data_type = DT_F32};
  return t;
}

static void add_weight(struct ldm *d, const char *name, const struct weight *w, bool four_dims) {
  struct st_entry *t = add(d, name);
  t->rank = w->p->rank;
  memcpy(t->dim, w->p->dim, sizeof w->p->dim);
  t->fill = weight_fill;
  t->maker = w;
  if (!four_dims || t->rank != 2) return;
  t->rank = 4;
  t->dim[2] = t->dim[3] = 1;
}

/* The first of the three makes the tensor, the others join it. */
static void add_fused(struct ldm *d, const struct ldm_name *name, const struct weight *w) {
  if (name->third == 0) {
    struct st_entry *t = add(d, name->text);
    struct fused *f = &d->fused[d->n_fused++];
    f->third[0] = w;
    t->rank = w->p->rank;
    memcpy(t->dim, w->p->dim, sizeof w->p->dim);
    t->dim[0] *= 3;
    t->fill = fill_fused;
    t->maker = f;
    return;
  }
  for (int i = d->n - 1; i >= 0; i--) {
    if (strcmp(d->t[i].name, name->text) != 0) continue;
    ((struct fused *)(uintptr_t)d->t[i].maker)->third[name->third] = w;
    return;
  }
}

static bool name_of(const struct ldm *d, int part, const char *param, struct ldm_name *out) {
  if (part == MODEL_UNET) return ldm_unet_name(unet_config(d->m->unet), param, out);
  if (part == MODEL_VAE) return ldm_vae_name(vae_config(d->m->vae), param, out);
  return ldm_text_name(is_open_clip(d->m), param, out);
}

static bool add_part(struct ldm *d, int part, struct err *e) {
  for (int i = 0; i < d->w->n[part]; i++) {
    const struct weight *w = &d->w->part[part][i];
    struct ldm_name name;
    if (!name_of(d, part, w->p->name, &name)) return err_set(e, ERR_FAILED, "%s has no name in the single-file layout", w->p->name);
    if (name.third >= 0)
      add_fused(d, &name, w);
    else
      add_weight(d, name.text, w, part == MODEL_VAE && strstr(name.text, ".attn_1.") != NULL);
  }
  return true;
}

/* Published files of Stable Diffusion 2.x have a 24th layer that no program uses: loaders that want it get the last one again. */
static void add_last_layer(struct ldm *d) {
  static const char last[] = LDM_OPEN_CLIP "transformer.resblocks.22.";
  char name[LDM_NAME];
  int n = d->n;
  for (int i = 0; i < n; i++) {
    if (strncmp(d->t[i].name, last, sizeof last - 1) != 0) continue;
    struct st_entry from = d->t[i];
    snprintf(name, sizeof name, LDM_OPEN_CLIP "transformer.resblocks.23.%s", from.name + sizeof last - 1);
    struct st_entry *t = add(d, name);
    from.name = t->name;
    *t = from;
  }
}

/* What the layout has beside the weights that we know of. The projection is used by nobody, but its size tells readers how in_proj is parted. */
static void add_extras(struct ldm *d) {
  const struct clip_config *c = clip_config(d->m->text);
  d->width = c->width;
  if (!is_open_clip(d->m)) {
    struct st_entry *t = add(d, LDM_CLIP "text_model.embeddings.position_ids");
    for (int i = 0; i < 77; i++) d->positions[i] = i;
    *t = (struct st_entry){.name = t->name, .rank = 2, .dim = {1, 77}, .data = d->positions, .i64 = true};
    return;
  }
  struct st_entry *t = add(d, LDM_OPEN_CLIP "text_projection");
  t->rank = 2;
  t->dim[0] = t->dim[1] = c->width;
  t->fill = fill_identity;
  t->maker = &d->width;
  d->logit_scale = 4.6052f; /* of the published models: log 100 */
  t = add(d, LDM_OPEN_CLIP "logit_scale");
  t->data = &d->logit_scale;
  if (c->layers == 23 && c->width == 1024) add_last_layer(d);
}

static bool begin(struct ldm *d, const struct model *m, const struct weights *w, struct err *e) {
  *d = (struct ldm){.m = m, .w = w, .cap = w->n[0] + w->n[1] + w->n[2] + EXTRA};
  d->t = calloc((size_t)d->cap, sizeof *d->t);
  d->name = calloc((size_t)d->cap, sizeof *d->name);
  d->fused = calloc((size_t)d->cap, sizeof *d->fused);
  return (d->t && d->name && d->fused) || err_set(e, ERR_FIT, "out of memory for the list of tensors");
}

static void end(struct ldm *d) {
  free(d->t);
  free(d->name);
  free(d->fused);
}

/* --- metadata ------------------------------------------------------------------------------------------------------------------ */

struct model_spec {
  char title[256], resolution[32], date[32], hash[80], architecture[64];
  struct st_pair pair[8];
  int n;
};

static void put(struct model_spec *s, const char *key, const char *value) {
  s->pair[s->n++] = (struct st_pair){key, value};
}

static void describe(struct model_spec *s, const struct model *m, const char *title, const char *hash) {
  bool v = m->schedule.prediction == PREDICT_V;
  int size = unet_config(m->unet)->sample_size * vae_factor(m->vae);
  *s = (struct model_spec){0};
  snprintf(s->title, sizeof s->title, "%s", title);
  snprintf(s->resolution, sizeof s->resolution, "%dx%d", size, size);
  snprintf(s->hash, sizeof s->hash, "0x%s", hash);
  snprintf(s->architecture, sizeof s->architecture, "stable-diffusion-%s", !is_open_clip(m) ? "v1" : v ? "v2-768-v" : "v2-512");
  date_text(s->date);
  put(s, "modelspec.sai_model_spec", "1.0.1");
  put(s, "modelspec.architecture", s->architecture);
  put(s, "modelspec.implementation", "https://github.com/Stability-AI/generative-models");
  put(s, "modelspec.title", s->title);
  put(s, "modelspec.resolution", s->resolution);
  put(s, "modelspec.date", s->date);
  put(s, "modelspec.prediction_type", v ? "v" : "epsilon");
  put(s, "modelspec.hash_sha256", s->hash);
}

bool ldm_write(const char *path, const struct model *m, const struct weights *w, enum dtype type, const char *title, int *tensors,
               struct err *e) {
  struct ldm d;
  struct model_spec spec;
  char hash[65];
  bool ok = begin(&d, m, w, e);
  for (int i = 0; ok && i < 3; i++) ok = add_part(&d, i, e);
  if (ok) add_extras(&d);
  for (int i = 0; ok && i < d.n; i++) d.t[i].type = type;
  ok = ok && st_data_hash(d.t, d.n, hash, e);
  if (ok) describe(&spec, m, title, hash);
  ok = ok && st_write(path, d.t, d.n, spec.pair, spec.n, e) && st_check_written(path, d.t, d.n, spec.pair, spec.n, e);
  *tensors = d.n;
  end(&d);
  return ok;
}

/* --- the .yaml -------------------------------------------------------------------------------------------------------------------- */

bool ldm_wants_yaml(const struct model *m) {
  return is_open_clip(m) || m->schedule.prediction == PREDICT_V;
}

static void put_multiples(FILE *f, const char *key, const int *channels, int levels) {
  fprintf(f, "%s: [", key);
  for (int i = 0; i < levels; i++) fprintf(f, "%s%d", i ? ", " : " ", channels[i] / channels[0]);
  fprintf(f, " ]\n");
}

static void put_unet(FILE *f, const struct unet_config *c) {
  bool dims = c->heads[0] != c->heads[c->levels - 1]; /* heads of one width, or one number of heads */
  fprintf(f, "    unet_config:\n      target: ldm.modules.diffusionmodules.openaimodel.UNetModel\n      params:\n");
  fprintf(f,
          "        use_checkpoint: True\n        image_size: 32\n        in_channels: %d\n        out_channels: %d\n        "
          "model_channels: %d\n",
          c->in_channels, c->out_channels, c->channels[0]);
  fprintf(f, "        attention_resolutions: [");
  for (int i = c->levels - 1, n = 0; i >= 0; i--)
    if (c->down_attention[i]) fprintf(f, "%s%d", n++ ? ", " : " ", 1 << i);
  fprintf(f, " ]\n        num_res_blocks: %d\n", c->layers[0]);
  put_multiples(f, "        channel_mult", c->channels, c->levels);
  fprintf(f, dims ? "        num_head_channels: %d\n" : "        num_heads: %d\n", dims ? c->channels[0] / c->heads[0] : c->heads[0]);
  fprintf(f,
          "        use_spatial_transformer: True\n        use_linear_in_transformer: %s\n        transformer_depth: %d\n        "
          "context_dim: %d\n        legacy: False\n\n",
          c->linear_projection ? "True" : "False", c->transformer_layers[0], c->cross_dim);
}

static void put_vae(FILE *f, const struct vae_config *c) {
  fprintf(f,
          "    first_stage_config:\n      target: ldm.models.autoencoder.AutoencoderKL\n      params:\n        embed_dim: %d\n        "
          "monitor: val/rec_loss\n",
          c->latent_channels);
  fprintf(f,
          "        ddconfig:\n          double_z: true\n          z_channels: %d\n          resolution: 256\n          in_channels: 3\n    "
          "      out_ch: 3\n          ch: %d\n",
          c->latent_channels, c->channels[0]);
  put_multiples(f, "          ch_mult", c->channels, c->levels);
  fprintf(f,
          "          num_res_blocks: %d\n          attn_resolutions: [ ]\n          dropout: 0.0\n        lossconfig:\n          target: "
          "torch.nn.Identity\n\n",
          c->layers);
}

char *ldm_yaml_text(const struct model *m) {
  char *text = NULL;
  size_t size = 0;
  FILE *f = open_memstream(&text, &size);
  if (!f) return NULL;
  fprintf(f, "model:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n  params:\n");
  if (m->schedule.prediction == PREDICT_V) fprintf(f, "    parameterization: \"v\"\n");
  fprintf(f, "    linear_start: %.6g\n    linear_end: %.6g\n    timesteps: %d\n", (double)m->schedule.beta[0],
          (double)m->schedule.beta[m->schedule.steps - 1], m->schedule.steps);
  fprintf(f,
          "    num_timesteps_cond: 1\n    log_every_t: 200\n    first_stage_key: \"jpg\"\n    cond_stage_key: \"txt\"\n    image_size: "
          "64\n    channels: %d\n",
          vae_config(m->vae)->latent_channels);
  fprintf(f,
          "    cond_stage_trainable: False\n    conditioning_key: crossattn\n    monitor: val/loss_simple_ema\n    scale_factor: %.6g\n    "
          "use_ema: False\n\n",
          (double)vae_config(m->vae)->scaling_factor);
  put_unet(f, unet_config(m->unet));
  put_vae(f, vae_config(m->vae));
  if (is_open_clip(m))
    fprintf(f,
            "    cond_stage_config:\n      target: ldm.modules.encoders.modules.FrozenOpenCLIPEmbedder\n      params:\n        freeze: "
            "True\n        layer: \"penultimate\"\n");
  else
    fprintf(f, "    cond_stage_config:\n      target: ldm.modules.encoders.modules.FrozenCLIPEmbedder\n");
  if (fclose(f) == 0) return text;
  free(text);
  return NULL;
}
