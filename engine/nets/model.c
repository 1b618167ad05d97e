#include "nets/model.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "convert/lora_apply.h"
#include "convert/single_file.h"

#include "pdmbooth.h"

/* --- memory of parameters ----------------------------------------------------------------------------------------------- */

bool model_bind(struct backend *b, struct param_set *p, struct err *e) {
  if (p->lodge) return lodge_bind(p, e);
  size_t bytes = (size_t)p->count * sizeof(float);
  float *w = b->op->alloc(b, bytes, e);
  void *g = NULL;
  if (!w) return false;
  if (param_set_trained(p) > 0) {
    g = b->op->alloc(b, (size_t)model_gradient_bytes(p), e);
    if (!g) {
      b->op->release(b, w, bytes);
      return false;
    }
  }
  param_set_bind(p, w, p->half ? NULL : g);
  if (p->half) param_set_bind_half(p, g);
  return true;
}

int64_t model_gradient_bytes(const struct param_set *p) {
  return p->count * (int64_t)dtype_size(p->half ? DT_BF16 : DT_F32);
}

void model_unbind(struct backend *b, struct param_set *p) {
  size_t bytes = (size_t)p->count * sizeof(float);
  if (p->card) lodge_unbind(p);
  if (p->w) b->op->release(b, p->w, bytes);
  void *g = p->half ? (void *)p->g16 : p->g;
  if (g) b->op->release(b, g, (size_t)model_gradient_bytes(p));
  p->w = p->g = NULL;
  p->g16 = NULL;
}

float *model_weights(struct backend *b, const struct param_set *p, struct err *e) {
  float *w = malloc((size_t)p->count * sizeof *w);
  if (w && p->home)
    memcpy(w, p->home, (size_t)p->count * sizeof *w);
  else if (w)
    b->op->download(b, w, p->w, (size_t)p->count * sizeof *w);
  else
    err_set(e, ERR_FIT, "out of memory: %.1f GB for a copy of the weights", (double)p->count * 4e-9);
  return w;
}

const float *model_host(struct backend *b, const float *device, int64_t count, float **copy, struct err *e) {
  *copy = NULL;
  if (b->op->host_memory) return device;
  *copy = malloc((size_t)count * sizeof **copy);
  if (*copy)
    b->op->download(b, *copy, device, (size_t)count * sizeof **copy);
  else
    err_set(e, ERR_FIT, "out of memory: %.1f GB for a copy of the weights", (double)count * 4e-9);
  return *copy;
}

/* --- opening -------------------------------------------------------------------------------------------------------------- */

/* A model that is one file in the LDM layout is seen as a directory: configs and tokenizer there, weights under diffusers' names. */
static bool open_single(struct model *m, const struct model_want *w, struct err *e) {
  struct stat st;
  if (m->source.embedded || stat(m->source.root, &st) != 0 || !S_ISREG(st.st_mode)) {
    if (!w->config || !w->config[0]) return true;
    return err_set(e, ERR_USAGE, "%s is a directory: config names a directory only for a model that is a single file", m->source.root);
  }
  m->single = single_open(m->source.root, &(struct single_want){.config = w->config, .embedded = w->embedded}, e);
  if (m->single) m->source = *single_source(m->single);
  return m->single != NULL;
}

const char *model_notes(const struct model *m) {
  return m->single ? single_notes(m->single) : "";
}

static struct json *config(const struct model *m, const char *relative, struct err *e) {
  return json_open(&m->source, relative, e);
}

static bool make_unet(struct model *m, struct err *e) {
  struct unet_config k;
  struct json *j = config(m, "unet/config.json", e);
  if (j && unet_config_read(&k, j, e)) m->unet = unet_new(&k, e);
  json_close(j);
  return m->unet != NULL;
}

static bool make_text(struct model *m, struct err *e) {
  struct clip_config k;
  struct json *j = config(m, "text_encoder/config.json", e);
  if (j && clip_config_read(&k, j, e)) m->text = clip_new(&k, e);
  json_close(j);
  return m->text != NULL;
}

static bool make_vae(struct model *m, struct err *e) {
  struct vae_config k;
  struct json *j = config(m, "vae/config.json", e);
  if (j && vae_config_read(&k, j, e)) m->vae = vae_new(&k, e);
  json_close(j);
  return m->vae != NULL;
}

static bool make_schedule(struct model *m, struct err *e) {
  struct json *j = config(m, "scheduler/scheduler_config.json", e);
  bool ok = j && schedule_from_json(&m->schedule, j, e);
  json_close(j);
  return ok;
}

/* The parts must fit each other. */
static bool fits(const struct model *m, struct err *e) {
  const struct unet_config *u = unet_config(m->unet);
  const struct clip_config *t = clip_config(m->text);
  const struct vae_config *v = vae_config(m->vae);
  if (u->cross_dim != t->width)
    return err_set(e, ERR_INPUT, "%s: the UNet's cross_attention_dim is %d, but the text encoder's hidden_size is %d", m->source.root,
                   u->cross_dim, t->width);
  if (u->in_channels != v->latent_channels || u->out_channels != v->latent_channels)
    return err_set(e, ERR_INPUT,
                   "%s: the UNet takes %d channels and gives %d, the VAE has %d latent channels; inpainting and other special models "
                   "cannot be trained",
                   m->source.root, u->in_channels, u->out_channels, v->latent_channels);
  if (tokenizer_vocabulary(m->tokenizer) > t->vocab)
    return err_set(e, ERR_INPUT, "%s: the tokenizer has %d tokens, the text encoder's vocab_size is %d", m->source.root,
                   tokenizer_vocabulary(m->tokenizer), t->vocab);
  if (t->positions < 77)
    return err_set(e, ERR_INPUT, "%s: the text encoder has %d positions, prompts need 77", m->source.root, t->positions);
  return true;
}

static bool open_directory(struct model *m, struct err *e) {
  m->files[MODEL_UNET] = st_set_open(&m->source, "unet", "diffusion_pytorch_model", e);
  if (m->files[MODEL_UNET]) m->files[MODEL_TEXT] = st_set_open(&m->source, "text_encoder", "model", e);
  if (m->files[MODEL_TEXT]) m->files[MODEL_VAE] = st_set_open(&m->source, "vae", "diffusion_pytorch_model", e);
  return m->files[MODEL_VAE] != NULL;
}

static bool open_parts(struct model *m, struct err *e) {
  m->files[MODEL_UNET] = single_unet(m->single, unet_config(m->unet), unet_params(m->unet), e);
  if (m->files[MODEL_UNET]) m->files[MODEL_TEXT] = single_text(m->single, clip_params(m->text), e);
  if (m->files[MODEL_TEXT]) m->files[MODEL_VAE] = single_vae(m->single, vae_config(m->vae), vae_params(m->vae), e);
  return m->files[MODEL_VAE] != NULL;
}

static bool open_files(struct model *m, struct err *e) {
  return (m->single ? open_parts(m, e) : open_directory(m, e)) &&
         model_check_params(unet_params(m->unet), m->files[MODEL_UNET], "UNet", e) &&
         model_check_params(clip_params(m->text), m->files[MODEL_TEXT], "text encoder", e) &&
         model_check_params(vae_params(m->vae), m->files[MODEL_VAE], "VAE", e);
}

static void close_files(struct model *m) {
  for (int i = 0; i < 3; i++) {
    st_set_close(m->files[i]);
    m->files[i] = NULL;
  }
}

static void hash(struct model *m) {
  struct sha256 s;
  sha256_begin(&s);
  model_hash_params(&s, unet_params(m->unet), m->files[MODEL_UNET]);
  model_hash_params(&s, clip_params(m->text), m->files[MODEL_TEXT]);
  model_hash_params(&s, vae_params(m->vae), m->files[MODEL_VAE]);
  sha256_end(&s, m->hash);
}

/* --- adapters ----------------------------------------------------------------------------------------------------------- */

/* Adapters start as PEFT starts them: drawn on the host, then uploaded. */
static bool start_lora(struct model *m, struct lora_set *s, uint64_t seed, uint32_t first, struct err *e) {
  if (!model_bind(m->b, s->params, e)) return false;
  size_t bytes = (size_t)s->params->count * sizeof(float);
  float *w = calloc(1, bytes);
  if (!w) return err_set(e, ERR_FIT, "out of memory for the adapters");
  lora_init(s, w, seed, first);
  m->b->op->upload(m->b, s->params->w, w, bytes);
  free(w);
  param_set_changed(s->params);
  return true;
}

/* Adapters of a file to start from come first: what is asked for beside them adds what they lack. */
static bool attach_all(struct model *m, const struct model_want *w, struct err *e) {
  struct lora_list from;
  bool ok = true;
  if (m->start_from) {
    if (!lora_list_open(&from, m->start_from, e)) return false;
    ok = lora_attach(m, &from, w->text_lora != NULL, e);
    lora_list_close(&from);
  }
  return ok && (!w->unet_lora || unet_attach_lora(m->unet, w->unet_lora, e)) &&
         (!w->text_lora || clip_attach_lora(m->text, w->text_lora, e));
}

static bool start_adapters(struct model *m, uint64_t seed, struct err *e) {
  struct lora_set *u = unet_lora(m->unet), *t = clip_lora(m->text);
  struct lora_list from;
  if ((u && !start_lora(m, u, seed, 0, e)) || (t && !start_lora(m, t, seed, 1u << 16, e))) return false;
  if (!m->start_from) return true;
  if (!lora_list_open(&from, m->start_from, e)) return false;
  bool ok = lora_fill(m, &from, e);
  lora_list_close(&from);
  return ok;
}

/* --- the whole ------------------------------------------------------------------------------------------------------------ */

static bool make_parts(struct model *m, const struct model_want *w, struct err *e) {
  m->trains_unet = w->train_unet || w->unet_lora;
  m->trains_text = w->train_text || w->text_lora;
  if (w->unet_lora && w->start_from && w->start_from[0]) m->start_from = w->start_from;
  if (open_single(m, w, e) && make_unet(m, e) && make_text(m, e) && make_vae(m, e) && make_schedule(m, e))
    m->tokenizer = tokenizer_open(&m->source, "tokenizer", e);
  return m->tokenizer && fits(m, e);
}

struct model *model_describe(const struct source *s, const struct model_want *w, struct err *e) {
  struct model *m = calloc(1, sizeof *m);
  if (!m) {
    err_set(e, ERR_FIT, "out of memory");
    return NULL;
  }
  m->source = *s;
  if (make_parts(m, w, e) && open_files(m, e)) {
    hash(m);
    return m;
  }
  model_close(m);
  return NULL;
}

bool model_check(const struct source *s, const struct embedded_file *embedded, struct model_facts *facts, struct err *e) {
  struct model *m = model_describe(s, &(struct model_want){.embedded = embedded}, e);
  if (!m) return false;
  facts->parameters = unet_params(m->unet)->count + clip_params(m->text)->count + vae_params(m->vae)->count;
  facts->side = unet_config(m->unet)->sample_size * vae_factor(m->vae);
  model_close(m);
  return true;
}

/* Every set that the model has; NULL where there are no adapters. */
static void all_sets(const struct model *m, struct param_set *out[MODEL_SETS]) {
  struct lora_set *u = m->unet ? unet_lora(m->unet) : NULL, *t = m->text ? clip_lora(m->text) : NULL;
  out[0] = m->unet ? unet_params(m->unet) : NULL;
  out[1] = m->text ? clip_params(m->text) : NULL;
  out[2] = m->vae ? vae_params(m->vae) : NULL;
  out[3] = u ? u->params : NULL;
  out[4] = t ? t->params : NULL;
}

void model_sets(const struct model *m, const struct param_set *out[MODEL_SETS]) {
  struct param_set *set[MODEL_SETS];
  all_sets(m, set);
  for (int i = 0; i < MODEL_SETS; i++) out[i] = set[i];
}

static void unbind_all(struct model *m) {
  struct param_set *set[MODEL_SETS];
  all_sets(m, set);
  for (int i = 0; i < MODEL_SETS; i++)
    if (set[i]) model_unbind(m->b, set[i]);
}

struct model *model_open_headers(struct backend *count, const struct source *s, const struct model_want *w, struct err *e) {
  struct model *m = model_describe(s, w, e);
  if (!m) return NULL;
  m->b = count;
  param_set_freeze(unet_params(m->unet), !w->train_unet);
  param_set_freeze(clip_params(m->text), !w->train_text);
  bool ok = attach_all(m, w, e);
  close_files(m);
  struct param_set *set[MODEL_SETS] = {0};
  if (ok) all_sets(m, set);
  m->half_gradients = w->half_gradients;
  for (int i = 0; i < MODEL_SETS; i++)
    if (set[i]) param_set_halve(set[i], m->half_gradients && param_set_trained(set[i]) > 0);
  for (int i = 0; ok && i < MODEL_SETS; i++) ok = !set[i] || model_bind(m->b, set[i], e);
  if (ok) return m;
  model_close(m);
  return NULL;
}

void model_lodge(struct model *m, const struct backend *b, enum dtype act, bool lodged) {
  struct param_set *set[MODEL_SETS];
  all_sets(m, set);
  for (int i = 0; i < 3; i++)
    if (lodged)
      lodge_plan(&m->lodge, b, set[i], i == 0 ? act : DT_F32); /* the text encoder and the VAE compute in fp32 */
    else
      lodge_forget(set[i]);
  for (int i = 0; i < 3; i++) /* a lodged set's gradients are added up in its chunks */
    param_set_halve(set[i], m->half_gradients && !set[i]->lodge && param_set_trained(set[i]) > 0);
}

static bool load(struct model *m, struct param_set *p, const struct st_set *files, const char *network, struct err *e) {
  return model_bind(m->b, p, e) && model_load_params(m->b, p, files, network, e);
}

bool model_read(struct model *m, struct backend *b, uint64_t seed, struct err *e) {
  struct param_set *set[MODEL_SETS];
  unbind_all(m);
  m->b = b;
  all_sets(m, set);
  bool ok = lodge_open(&m->lodge, b, set, MODEL_SETS, e) && open_files(m, e) && load(m, unet_params(m->unet), m->files[MODEL_UNET], "UNet", e) &&
            load(m, clip_params(m->text), m->files[MODEL_TEXT], "text encoder", e) &&
            load(m, vae_params(m->vae), m->files[MODEL_VAE], "VAE", e) && start_adapters(m, seed, e);
  close_files(m);
  return ok;
}

static bool read_values(const struct param_set *s, const struct st_set *files, float *out, struct err *e) {
  for (int i = 0; i < s->n; i++) {
    const struct param *p = s->p[i];
    if (!st_floats(model_tensor(files, p->name), 0, p->count, out + p->offset))
      return err_set(e, ERR_INPUT, "the tensor \"%s\" cannot be read again", p->name);
  }
  st_set_forget(files);
  return true;
}

float *model_read_again(struct model *m, enum model_part part, struct err *e) {
  struct param_set *set[MODEL_SETS];
  all_sets(m, set);
  float *out = calloc((size_t)set[part]->count, sizeof *out);
  bool ok = out || err_set(e, ERR_FIT, "out of memory: %.1f GB for a copy of the weights", (double)set[part]->count * 4e-9);
  ok = ok && open_files(m, e) && read_values(set[part], m->files[part], out, e);
  close_files(m);
  if (ok) return out;
  free(out);
  return NULL;
}

struct model *model_open(struct backend *b, const struct source *s, const struct model_want *w, struct err *e) {
  struct backend *count = backend_open_ops(&backend_count, 1, e);
  struct model *m = count ? model_open_headers(count, s, w, e) : NULL;
  if (m && !model_read(m, b, w->seed, e)) {
    model_close(m);
    m = NULL;
  }
  backend_close(count);
  return m;
}

void model_close(struct model *m) {
  if (!m) return;
  close_files(m);
  if (m->b) {
    workspace_release(&m->work, m->b);
    unbind_all(m);
    if (m->lodge.b) lodge_close(&m->lodge);
  }
  unet_delete(m->unet, m->b);
  clip_delete(m->text, m->b);
  vae_delete(m->vae, m->b);
  tokenizer_close(m->tokenizer);
  single_close(m->single);
  free(m);
}

struct tensor model_embed(struct ctx *c, struct model *m, const char *const *prompts, int n) {
  enum { TOKENS = 77 };
  struct tensor y = {0};
  int32_t *ids = malloc((size_t)n * TOKENS * sizeof *ids);
  bool ok = ids != NULL;
  for (int i = 0; ok && i < n; i++) ok = tokenizer_prompt(m->tokenizer, prompts[i], ids + i * TOKENS, TOKENS, NULL) >= 0;
  if (ok)
    y = clip_forward(c, m->text, ids, n, TOKENS, NULL);
  else
    c->failed = !err_set(c->err, ERR_FIT, "out of memory");
  free(ids);
  return y;
}
