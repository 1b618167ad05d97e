/* Writing a model as a diffusers directory: what loaders demand is in interchange.md, section 2. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "formats/json_add.h"
#include "formats/json_edit.h"
#include "nets/model.h"

enum { PATH = 4200 };
/* Below 0.9.0 (or absent) the pipelines force sample_size to 64. The layout written here is the one of this version. */
static const char diffusers_version[] = "\"0.18.2\"";

struct save {
  const struct model *m;
  const char *dir; /* the temporary directory */
  const struct model_save_want *want;
};

static const char *join(char out[PATH], const char *a, const char *b) {
  snprintf(out, PATH, "%s/%s", a, b);
  return out;
}

/* --- configs ------------------------------------------------------------------------------------------------------------------ */

static char *number_list(const int *v, int n, char *out, size_t size) {
  size_t used = (size_t)snprintf(out, size, "[");
  for (int i = 0; i < n && used < size; i++) used += (size_t)snprintf(out + used, size - used, "%s%d", i ? ", " : "", v[i]);
  if (used < size) snprintf(out + used, size - used, "]");
  return out;
}

static const char *number(char *out, size_t size, int v) {
  return snprintf(out, size, "%d", v), out;
}

static char *complete_unet(const struct save *s, char *j) {
  const struct unet_config *c = unet_config(s->m->unet);
  char v[256];
  j = json_set(j, "_class_name", "\"UNet2DConditionModel\"", true);
  j = json_set(j, "_diffusers_version", diffusers_version, true);
  j = json_set(j, "block_out_channels", number_list(c->channels, c->levels, v, sizeof v), true);
  j = json_set(j, "cross_attention_dim", number(v, sizeof v, c->cross_dim), true);
  j = json_set(j, "attention_head_dim", number_list(c->heads, c->levels, v, sizeof v), true);
  j = json_set(j, "sample_size", number(v, sizeof v, c->sample_size > 0 ? c->sample_size : 64), true);
  return json_set(j, "use_linear_projection", c->linear_projection ? "true" : "false", true);
}

static char *complete_vae(const struct save *s, char *j) {
  const struct vae_config *c = vae_config(s->m->vae);
  char v[256];
  j = json_set(j, "_class_name", "\"AutoencoderKL\"", true);
  j = json_set(j, "_diffusers_version", diffusers_version, true);
  j = json_set(j, "block_out_channels", number_list(c->channels, c->levels, v, sizeof v), true);
  j = json_set(j, "latent_channels", number(v, sizeof v, c->latent_channels), true);
  return json_set(j, "scaling_factor", "0.18215", true);
}

static const char *torch_name(enum dtype t) {
  return t == DT_F16 ? "\"float16\"" : t == DT_BF16 ? "\"bfloat16\"" : "\"float32\"";
}

/* torch_dtype for loaders before transformers 5, dtype for those since. */
static char *complete_text(const struct save *s, char *j) {
  j = json_set(j, "model_type", "\"clip_text_model\"", true);
  j = json_set(j, "architectures", "[\"CLIPTextModel\"]", true);
  j = json_set(j, "torch_dtype", torch_name(s->want->type), false);
  return json_set(j, "dtype", torch_name(s->want->type), false);
}

/* What is left out takes the default of the class that reads it, which need not be the one that was meant. */
static char *complete_scheduler(const struct save *s, char *j) {
  const struct schedule *c = &s->m->schedule;
  char v[32];
  j = json_set(j, "num_train_timesteps", number(v, sizeof v, c->steps), true);
  j = json_set(j, "prediction_type", c->prediction == PREDICT_V ? "\"v_prediction\"" : "\"epsilon\"", true);
  j = json_set(j, "clip_sample", "false", true);
  j = json_set(j, "steps_offset", number(v, sizeof v, c->steps_offset), true);
  return strcmp(c->class_name, "PNDMScheduler") == 0 ? json_set(j, "skip_prk_steps", "true", true) : j;
}

static bool write_text(const struct save *s, const char *relative, const char *text, struct err *e) {
  char path[PATH];
  if (!text) return err_set(e, ERR_FIT, "out of memory while writing \"%s\"", relative);
  return write_file(join(path, s->dir, relative), text, strlen(text), e);
}

static bool write_config(const struct save *s, const char *relative, char *(*complete)(const struct save *, char *), struct err *e) {
  struct blob b;
  if (!source_open(&s->m->source, relative, &b, e)) return false;
  char *text = complete(s, strndup((const char *)b.data, b.size));
  bool ok = write_text(s, relative, text, e);
  free(text);
  blob_close(&b);
  return ok;
}

/* Null where name is NULL. False: out of memory. */
static bool add_name(cJSON *list, const char *name) {
  return json_append(list, name ? cJSON_CreateString(name) : cJSON_CreateNull());
}

static bool component(cJSON *j, const char *key, const char *library, const char *class_name) {
  cJSON *pair = cJSON_AddArrayToObject(j, key);
  return pair && add_name(pair, library) && add_name(pair, class_name);
}

static bool fill_index(cJSON *j, const struct model *m) {
  const char *scheduler = m->schedule.class_name[0] ? m->schedule.class_name : "PNDMScheduler";
  return cJSON_AddStringToObject(j, "_class_name", "StableDiffusionPipeline") &&
         cJSON_AddStringToObject(j, "_diffusers_version", "0.18.2") && component(j, "feature_extractor", NULL, NULL) &&
         cJSON_AddBoolToObject(j, "requires_safety_checker", false) && component(j, "safety_checker", NULL, NULL) &&
         component(j, "scheduler", "diffusers", scheduler) && component(j, "text_encoder", "transformers", "CLIPTextModel") &&
         component(j, "tokenizer", "transformers", "CLIPTokenizer") && component(j, "unet", "diffusers", "UNet2DConditionModel") &&
         component(j, "vae", "diffusers", "AutoencoderKL");
}

static bool write_index(const struct save *s, struct err *e) {
  cJSON *j = cJSON_CreateObject();
  char *text = j && fill_index(j, s->m) ? cJSON_Print(j) : NULL;
  bool ok = write_text(s, "model_index.json", text, e);
  cJSON_free(text);
  cJSON_Delete(j);
  return ok;
}

/* --- weights and copies ----------------------------------------------------------------------------------------------------------- */

static bool write_weights(const struct save *s, enum model_part part, const char *relative, const struct param_set *p, struct err *e) {
  const struct model_save_want *w = s->want;
  if (!w->entry) return true;
  struct st_entry *t = calloc((size_t)p->n, sizeof *t);
  char path[PATH];
  if (!t) return err_set(e, ERR_FIT, "out of memory while writing \"%s\"", relative);
  for (int i = 0; i < p->n; i++) {
    const struct param *q = p->p[i];
    t[i] = (struct st_entry){.name = q->name, .rank = q->rank, .data_type = DT_F32};
    for (int k = 0; k < q->rank; k++) t[i].dim[k] = q->dim[k];
    w->entry(w->user, part, i, &t[i]);
    t[i].type = w->type;
  }
  join(path, s->dir, relative);
  bool ok = st_write(path, t, p->n, NULL, 0, e) && (!w->check || st_check_written(path, t, p->n, NULL, 0, e));
  free(t);
  return ok;
}

static bool copy_file(const struct save *s, const char *relative, struct err *e) {
  struct blob b;
  char path[PATH];
  if (!source_open(&s->m->source, relative, &b, e)) return false;
  bool ok = write_file(join(path, s->dir, relative), b.data, b.size, e);
  blob_close(&b);
  return ok;
}

static bool copy_folder(const struct save *s, const char *folder, struct err *e) {
  char relative[600];
  struct source_names names;
  bool ok = source_names(&s->m->source, folder, &names, e);
  for (int i = 0; ok && i < names.n; i++) {
    snprintf(relative, sizeof relative, "%s/%s", folder, names.name[i]);
    ok = copy_file(s, relative, e);
  }
  source_names_release(&names);
  return ok;
}

static bool write_all(const struct save *s, struct err *e) {
  static const char *const folders[] = {"unet", "text_encoder", "vae", "tokenizer", "scheduler"};
  char path[PATH];
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
    if (!make_dirs(join(path, s->dir, folders[i]), e)) return false;
  const struct model *m = s->m;
  return write_config(s, "unet/config.json", complete_unet, e) && write_config(s, "text_encoder/config.json", complete_text, e) &&
         write_config(s, "vae/config.json", complete_vae, e) && copy_folder(s, "tokenizer", e) &&
         write_config(s, "scheduler/scheduler_config.json", complete_scheduler, e) &&
         write_weights(s, MODEL_UNET, "unet/diffusion_pytorch_model.safetensors", unet_params(m->unet), e) &&
         write_weights(s, MODEL_TEXT, "text_encoder/model.safetensors", clip_params(m->text), e) &&
         write_weights(s, MODEL_VAE, "vae/diffusion_pytorch_model.safetensors", vae_params(m->vae), e) && write_index(s, e);
}

bool model_save_as(const struct model *m, const char *dir, const struct model_save_want *w, struct err *e) {
  char temporary[PATH];
  fs_temporary(dir, temporary, sizeof temporary);
  struct save s = {m, temporary, w};
  if (access(dir, F_OK) == 0) return err_set(e, ERR_FAILED, "\"%s\" exists already", dir);
  fs_remove_tree(temporary);
  bool ok = make_dirs(temporary, e) && write_all(&s, e) && fs_settle(temporary, dir, e);
  if (!ok) fs_remove_tree(temporary);
  return ok;
}

/* Weights on the host: given, or copied from the backend's memory. */
struct host_weights {
  const struct param_set *set[3];
  const float *w[3];
  float *own[3];
};

static void host_entry(void *user, enum model_part part, int i, struct st_entry *t) {
  const struct host_weights *h = user;
  t->data = h->w[part] + h->set[part]->p[i]->offset;
}

bool model_save(struct model *m, const char *dir, const float *unet, const float *text, enum dtype type, struct err *e) {
  struct host_weights h = {.set = {unet_params(m->unet), clip_params(m->text), vae_params(m->vae)}, .w = {unet, text, NULL}};
  struct model_save_want w = {.type = type, .entry = host_entry, .user = &h};
  bool ok = true;
  for (int i = 0; ok && i < 3; i++) {
    if (!h.w[i] && h.set[i]->lodge)
      h.w[i] = h.own[i] = model_read_again(m, (enum model_part)i, e);
    else if (!h.w[i])
      h.w[i] = model_host(m->b, h.set[i]->w, h.set[i]->count, &h.own[i], e);
    ok = h.w[i] != NULL;
  }
  ok = ok && model_save_as(m, dir, &w, e);
  for (int i = 0; i < 3; i++) free(h.own[i]);
  return ok;
}
