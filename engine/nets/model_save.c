/* Writing a model as a diffusers directory: what loaders demand is in interchange.md, section 2. */
#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nets/model.h"

enum { PATH = 4200 };
/* Below 0.9.0 (or absent) the pipelines force sample_size to 64. The layout written here is the one of this version. */
static const char diffusers_version[] = "0.18.2";

struct save {
  struct model *m;
  const char *dir; /* the temporary directory */
  enum dtype type;
};

static const char *join(char out[PATH], const char *a, const char *b)
{
  snprintf(out, PATH, "%s/%s", a, b);
  return out;
}

/* --- configs ------------------------------------------------------------------------------------------------------------------ */

static void set_item(cJSON *j, const char *key, cJSON *value)
{
  if (cJSON_GetObjectItemCaseSensitive(j, key)) cJSON_ReplaceItemInObjectCaseSensitive(j, key, value);
  else cJSON_AddItemToObject(j, key, value);
}

static void set_missing(cJSON *j, const char *key, cJSON *value)
{
  const cJSON *old = cJSON_GetObjectItemCaseSensitive(j, key);
  if (old && !cJSON_IsNull(old)) cJSON_Delete(value);
  else set_item(j, key, value);
}

static cJSON *ints(const int *v, int n) { return cJSON_CreateIntArray(v, n); }

static void complete_unet(const struct save *s, cJSON *j)
{
  const struct unet_config *c = unet_config(s->m->unet);
  set_missing(j, "_class_name", cJSON_CreateString("UNet2DConditionModel"));
  set_missing(j, "_diffusers_version", cJSON_CreateString(diffusers_version));
  set_missing(j, "block_out_channels", ints(c->channels, c->levels));
  set_missing(j, "cross_attention_dim", cJSON_CreateNumber(c->cross_dim));
  set_missing(j, "attention_head_dim", ints(c->heads, c->levels));
  set_missing(j, "sample_size", cJSON_CreateNumber(c->sample_size > 0 ? c->sample_size : 64));
  set_missing(j, "use_linear_projection", cJSON_CreateBool(c->linear_projection));
}

static void complete_vae(const struct save *s, cJSON *j)
{
  const struct vae_config *c = vae_config(s->m->vae);
  set_missing(j, "_class_name", cJSON_CreateString("AutoencoderKL"));
  set_missing(j, "_diffusers_version", cJSON_CreateString(diffusers_version));
  set_missing(j, "block_out_channels", ints(c->channels, c->levels));
  set_missing(j, "latent_channels", cJSON_CreateNumber(c->latent_channels));
  set_missing(j, "scaling_factor", cJSON_CreateNumber(0.18215));
}

static const char *torch_name(enum dtype t) { return t == DT_F16 ? "float16" : t == DT_BF16 ? "bfloat16" : "float32"; }

static void complete_text(const struct save *s, cJSON *j)
{
  set_missing(j, "model_type", cJSON_CreateString("clip_text_model"));
  set_missing(j, "architectures", cJSON_CreateStringArray((const char *const[]){ "CLIPTextModel" }, 1));
  set_item(j, "torch_dtype", cJSON_CreateString(torch_name(s->type)));
  if (cJSON_GetObjectItemCaseSensitive(j, "dtype")) set_item(j, "dtype", cJSON_CreateString(torch_name(s->type)));
}

static bool write_json(const struct save *s, const char *relative, const cJSON *j, struct err *e)
{
  char path[PATH];
  char *text = cJSON_Print(j);
  if (!text) return err_set(e, ERR_FIT, "out of memory while writing \"%s\"", relative);
  bool ok = write_file(join(path, s->dir, relative), text, strlen(text), e);
  cJSON_free(text);
  return ok;
}

static bool write_config(const struct save *s, const char *relative, void (*complete)(const struct save *, cJSON *), struct err *e)
{
  struct json *in = json_open(&s->m->source, relative, e);
  if (!in) return false;
  cJSON *j = cJSON_Duplicate(json_node(in), true);
  json_close(in);
  if (!j) return err_set(e, ERR_FIT, "out of memory while writing \"%s\"", relative);
  complete(s, j);
  bool ok = write_json(s, relative, j, e);
  cJSON_Delete(j);
  return ok;
}

static void component(cJSON *j, const char *key, const char *library, const char *class_name)
{
  cJSON *pair = cJSON_AddArrayToObject(j, key);
  cJSON_AddItemToArray(pair, library ? cJSON_CreateString(library) : cJSON_CreateNull());
  cJSON_AddItemToArray(pair, class_name ? cJSON_CreateString(class_name) : cJSON_CreateNull());
}

static bool write_index(const struct save *s, struct err *e)
{
  cJSON *j = cJSON_CreateObject();
  if (!j) return err_set(e, ERR_FIT, "out of memory while writing model_index.json");
  cJSON_AddStringToObject(j, "_class_name", "StableDiffusionPipeline");
  cJSON_AddStringToObject(j, "_diffusers_version", diffusers_version);
  component(j, "feature_extractor", NULL, NULL);
  cJSON_AddBoolToObject(j, "requires_safety_checker", false);
  component(j, "safety_checker", NULL, NULL);
  component(j, "scheduler", "diffusers", s->m->schedule.class_name[0] ? s->m->schedule.class_name : "PNDMScheduler");
  component(j, "text_encoder", "transformers", "CLIPTextModel");
  component(j, "tokenizer", "transformers", "CLIPTokenizer");
  component(j, "unet", "diffusers", "UNet2DConditionModel");
  component(j, "vae", "diffusers", "AutoencoderKL");
  bool ok = write_json(s, "model_index.json", j, e);
  cJSON_Delete(j);
  return ok;
}

/* --- weights and copies ----------------------------------------------------------------------------------------------------------- */

static bool write_weights(const struct save *s, const char *relative, const struct param_set *p, const float *w, struct err *e)
{
  float *own = NULL;
  if (!w) w = own = model_weights(s->m->b, p, e);
  struct st_entry *t = calloc((size_t)p->n, sizeof *t);
  char path[PATH];
  bool ok = w && (t || err_set(e, ERR_FIT, "out of memory while writing \"%s\"", relative));
  for (int i = 0; ok && i < p->n; i++) {
    const struct param *q = p->p[i];
    t[i] = (struct st_entry){ .name = q->name, .type = s->type, .rank = q->rank, .data = w + q->offset, .data_type = DT_F32 };
    for (int k = 0; k < q->rank; k++) t[i].dim[k] = q->dim[k];
  }
  ok = ok && st_write(join(path, s->dir, relative), t, p->n, NULL, 0, e);
  free(t);
  free(own);
  return ok;
}

static bool copy_file(const struct save *s, const char *relative, struct err *e)
{
  struct blob b;
  char path[PATH];
  if (!source_open(&s->m->source, relative, &b, e)) return false;
  bool ok = write_file(join(path, s->dir, relative), b.data, b.size, e);
  blob_close(&b);
  return ok;
}

static bool copy_folder(const struct save *s, const char *folder, struct err *e)
{
  char name[256], relative[600];
  for (int i = 0; source_list(&s->m->source, folder, i, name, sizeof name); i++) {
    snprintf(relative, sizeof relative, "%s/%s", folder, name);
    if (!copy_file(s, relative, e)) return false;
  }
  return true;
}

static bool write_all(const struct save *s, const float *unet, const float *text, struct err *e)
{
  static const char *const folders[] = { "unet", "text_encoder", "vae", "tokenizer", "scheduler" };
  char path[PATH];
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
    if (!make_dirs(join(path, s->dir, folders[i]), e)) return false;
  struct model *m = s->m;
  return write_config(s, "unet/config.json", complete_unet, e) && write_config(s, "text_encoder/config.json", complete_text, e) &&
         write_config(s, "vae/config.json", complete_vae, e) && copy_folder(s, "tokenizer", e) && copy_folder(s, "scheduler", e) &&
         write_weights(s, "unet/diffusion_pytorch_model.safetensors", unet_params(m->unet), unet, e) &&
         write_weights(s, "text_encoder/model.safetensors", clip_params(m->text), text, e) &&
         write_weights(s, "vae/diffusion_pytorch_model.safetensors", vae_params(m->vae), NULL, e) && write_index(s, e);
}

/* Removes what write_all made: two levels of plain files. */
static void remove_tree(const char *dir, int depth)
{
  DIR *d = opendir(dir);
  if (!d) return;
  for (struct dirent *f; (f = readdir(d));) {
    char path[PATH];
    if (strcmp(f->d_name, ".") == 0 || strcmp(f->d_name, "..") == 0) continue;
    join(path, dir, f->d_name);
    if (unlink(path) != 0 && depth > 0) remove_tree(path, depth - 1);
  }
  closedir(d);
  rmdir(dir);
}

static void sync_dir(const char *path)
{
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  (void)!fsync(fd);
  close(fd);
}

static bool parent_of(const char *path, char out[PATH])
{
  const char *slash = strrchr(path, '/');
  if (!slash) snprintf(out, PATH, ".");
  else snprintf(out, PATH, "%.*s", slash == path ? 1 : (int)(slash - path), path);
  return true;
}

bool model_save(struct model *m, const char *dir, const float *unet, const float *text, enum dtype type, struct err *e)
{
  char temporary[PATH], parent[PATH];
  snprintf(temporary, sizeof temporary, "%s.tmp-%ld", dir, (long)getpid());
  parent_of(dir, parent);
  struct save s = { m, temporary, type };
  if (access(dir, F_OK) == 0) return err_set(e, ERR_FAILED, "\"%s\" exists already", dir);
  remove_tree(temporary, 2);
  bool ok = make_dirs(temporary, e) && write_all(&s, unet, text, e);
  if (ok && rename(temporary, dir) != 0) ok = err_set_errno(e, ERR_FAILED, "cannot rename \"%s\" to \"%s\"", temporary, dir);
  if (ok) sync_dir(parent);
  else remove_tree(temporary, 2);
  return ok;
}
