#include "convert/single_file.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "convert/clip_vocab.h"
#include "convert/config_text.h"
#include "convert/ldm_yaml.h"

enum { MAX_FILES = 32, PATH = 4400, YAML_MAX = 1 << 20 };

struct single_file {
  struct st_file *file;
  struct ldm_shape shape;
  struct source source;                     /* the list below */
  struct embedded_file list[MAX_FILES + 1]; /* ends with path NULL; paths and data owned */
  int n;
  struct source config; /* diffusers directory beside or given; root "" where there is none */
  struct ldm_yaml yaml;
  bool v; /* predicts v; valid where the scheduler's config was not in the directory */
  const struct embedded_file *embedded;
  char notes[4096];
};

static void note(struct single_file *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void note(struct single_file *s, const char *fmt, ...) {
  size_t used = strlen(s->notes);
  va_list ap;
  va_start(ap, fmt);
  if (used > 0 && used + 1 < sizeof s->notes) s->notes[used++] = '\n';
  vsnprintf(s->notes + used, sizeof s->notes - used, fmt, ap);
  va_end(ap);
}

/* --- the files of the directory that it is seen as -------------------------------------------------------------------------- */

/* Takes over data (malloc'd); a NUL byte follows its n bytes. */
static bool add_file(struct single_file *s, const char *relative, char *data, size_t n, struct err *e) {
  char name[PATH + 1024];
  char *path = data && s->n < MAX_FILES ? strdup(source_name(&s->source, relative, name, sizeof name)) : NULL;
  if (!path) {
    free(data);
    return err_set(e, ERR_FIT, "%s: out of memory, or too many files in the tokenizer's directory", st_path(s->file));
  }
  s->list[s->n++] = (struct embedded_file){path, (unsigned char *)data, n};
  return true;
}

static bool add_text(struct single_file *s, const char *relative, char *text, struct err *e) {
  return add_file(s, relative, text, text ? strlen(text) : 0, e);
}

/* Copies a file of the directory beside; *taken false where there is none. */
static bool take(struct single_file *s, const char *relative, bool *taken, struct err *e) {
  struct blob b;
  *taken = s->config.root[0] && source_has(&s->config, relative);
  if (!*taken) return true;
  if (!source_open(&s->config, relative, &b, e)) return false;
  char *copy = malloc(b.size + 1);
  if (copy) {
    memcpy(copy, b.data, b.size);
    copy[b.size] = 0;
  }
  size_t n = b.size;
  blob_close(&b);
  return add_file(s, relative, copy, n, e);
}

static bool is_directory(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The checkpoint's path without ".safetensors", and with another end. */
static void beside(const struct single_file *s, const char *end, char out[PATH]) {
  const char *path = st_path(s->file), *dot = strrchr(path, '.'), *slash = strrchr(path, '/');
  size_t n = dot && (!slash || dot > slash) ? (size_t)(dot - path) : strlen(path);
  snprintf(out, PATH, "%.*s%s", (int)n, path, end);
}

static bool holds_configs(const char *path) {
  struct source d;
  source_dir(&d, path);
  return source_has(&d, "unet/config.json") || source_has(&d, "tokenizer/vocab.json") || source_has(&d, "tokenizer/tokenizer.json") ||
         source_has(&d, "scheduler/scheduler_config.json");
}

static bool find_config(struct single_file *s, const char *given, struct err *e) {
  static const char *const ends[2] = {"-config", ""};
  char path[PATH];
  if (given && *given) {
    if (!is_directory(given)) return err_set(e, ERR_INPUT, "%s: there is no such directory; config names a diffusers directory", given);
    if (!holds_configs(given))
      return err_set(e, ERR_INPUT, "%s: holds no unet/config.json, tokenizer or scheduler; config names a diffusers directory", given);
    source_dir(&s->config, given);
    return true;
  }
  for (int i = 0; i < 2; i++) {
    beside(s, ends[i], path);
    if (!is_directory(path) || !holds_configs(path) || strlen(path) >= sizeof s->config.root) continue;
    source_dir(&s->config, path);
    note(s, "configs and tokenizer from %s", path);
    return true;
  }
  return true;
}

static bool read_yaml(struct single_file *s, struct err *e) {
  char path[PATH];
  struct blob b;
  struct stat st;
  const char *const told[] = {"unet/config.json", "vae/config.json", "scheduler/scheduler_config.json"};
  bool all = s->config.root[0] != 0;
  for (int i = 0; i < 3 && all; i++) all = source_has(&s->config, told[i]);
  if (all) return true;
  beside(s, ".yaml", path);
  if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) return true;
  if (!blob_map(path, &b, e)) return false;
  bool ok = b.size <= YAML_MAX ? ldm_yaml_read(b.data, b.size, path, &s->yaml, e)
                               : err_set(e, ERR_INPUT, "%s: larger than a configuration can be", path);
  blob_close(&b);
  if (ok) note(s, "%s is taken into account", path);
  return ok;
}

/* --- what the tensors do not tell ------------------------------------------------------------------------------------------- */

static bool ask(const struct single_file *s, const char *what, struct err *e) {
  char path[PATH];
  beside(s, "-config", path);
  return err_set(e, ERR_INPUT,
                 "%s: %s; put a diffusers directory with that model's configs and tokenizer beside it as %s, or name one with config",
                 st_path(s->file), what, path);
}

/* Channels of all published Stable Diffusion 1.x and 2.x UNets, smaller variants of which leave out layers only. */
static bool usual_channels(const struct unet_config *c) {
  static const int usual[4] = {320, 640, 1280, 1280};
  for (int i = 0; i < c->levels; i++)
    if (i >= 4 || c->channels[i] != usual[i]) return false;
  return true;
}

static bool fill_heads(struct single_file *s, struct err *e) {
  struct unet_config *c = &s->shape.unet;
  char what[256];
  bool usual = usual_channels(c) && (c->cross_dim == 768 || c->cross_dim == 1024);
  int heads = s->yaml.heads, width = s->yaml.head_channels;
  if (heads == 0 && width == 0) {
    snprintf(
        what, sizeof what,
        "the number of attention heads is not in the tensors, and %d channels with texts of width %d are not those of Stable Diffusion "
        "1.x or 2.x",
        c->channels[0], c->cross_dim);
    if (!usual) return ask(s, what, e);
    heads = c->cross_dim == 768 ? 8 : 0;
    width = 64;
    note(s, "assumed: %s, as in Stable Diffusion %s", heads ? "8 attention heads" : "attention heads of 64 channels",
         heads ? "1.x" : "2.x");
  }
  for (int i = 0; i < c->levels; i++) {
    c->heads[i] = heads > 0 ? heads : c->channels[i] / width;
    if (c->heads[i] < 1 || c->channels[i] % c->heads[i] != 0 || c->channels[i] % 32 != 0) {
      snprintf(what, sizeof what, "%d channels cannot be split into %d attention heads and 32 groups, as this layout has it",
               c->channels[i], c->heads[i]);
      return ask(s, what, e);
    }
  }
  return true;
}

/* The resolution that the file names for itself, in latents. */
static int own_size(const struct single_file *s) {
  const char *text = st_metadata(s->file, "modelspec.resolution");
  int w = 0, h = 0;
  if (text && sscanf(text, "%dx%d", &w, &h) == 2 && w == h && w >= 64 && w <= 8192) return w / 8;
  return s->v && s->shape.unet.cross_dim == 1024 ? 96 : 64;
}

static bool make_unet(struct single_file *s, struct err *e) {
  struct unet_config *c = &s->shape.unet;
  if (!fill_heads(s, e)) return false;
  c->groups = 32;
  c->norm_eps = 1e-5f;
  c->sample_size = own_size(s);
  c->upcast_attention = s->v && c->cross_dim == 1024; /* as Stable Diffusion 2.1 has it, for programs that compute in fp16 */
  return add_text(s, "unet/config.json", config_text_unet(c), e);
}

static bool make_text(struct single_file *s, struct err *e) {
  struct clip_config *c = &s->shape.text;
  if (!s->shape.has_text) return ask(s, "it holds no text encoder (cond_stage_model)", e);
  if (c->width != (s->shape.open_clip ? 1024 : 768))
    return ask(s, "the number of attention heads of its text encoder is not in the tensors", e);
  c->heads = c->width / 64;
  if (s->shape.open_clip && c->layers == 24) {
    c->layers = 23;
    note(s, "the last of the text encoder's 24 layers is left out, as Stable Diffusion 2.x does");
  }
  return add_text(s, "text_encoder/config.json", config_text_clip(c), e);
}

static bool make_vae(struct single_file *s, struct err *e) {
  struct vae_config *c = &s->shape.vae;
  if (!s->shape.has_vae) return ask(s, "it holds no VAE (first_stage_model)", e);
  for (int i = 0; i < c->levels; i++)
    if (c->channels[i] % 32 != 0) return ask(s, "the number of groups of its VAE's norms is not in the tensors", e);
  c->groups = 32;
  c->scaling_factor = s->yaml.scale_factor > 0 ? (float)s->yaml.scale_factor : 0.18215f;
  return add_text(s, "vae/config.json", config_text_vae(c), e);
}

/* --- what the network predicts ---------------------------------------------------------------------------------------------- */

/* Networks trained to predict v have a wider spread here: the rule of ComfyUI's model detection for Stable Diffusion 2.x. */
static double spread_of_last_norm(const struct single_file *s) {
  char name[LDM_NAME];
  int n = 0;
  for (int i = 0; i < s->shape.unet.levels; i++) n += s->shape.unet.layers[i] + 1;
  snprintf(name, sizeof name, LDM_UNET "output_blocks.%d.1.transformer_blocks.0.norm1.bias", n - 1);
  const struct st_tensor *t = st_find(s->file, name);
  double sum = 0, squares = 0;
  int64_t count = t ? st_elements(t) : 0;
  for (int64_t i = 0; i < count; i++) {
    float x;
    if (!st_floats(t, i, 1, &x)) return 0;
    sum += (double)x;
    squares += (double)x * (double)x;
  }
  double mean = count > 0 ? sum / (double)count : 0;
  return count > 1 ? sqrt(fmax(0, squares - sum * mean) / (double)(count - 1)) : 0;
}

/* modelspec metadata: -1 where they do not tell. */
static int metadata_v(const struct single_file *s) {
  const char *type = st_metadata(s->file, "modelspec.prediction_type"), *model = st_metadata(s->file, "modelspec.architecture");
  if (type && type[0] == 'v') return 1;
  if (type && strncmp(type, "eps", 3) == 0) return 0;
  if (!model || strncmp(model, "stable-diffusion-v", 18) != 0) return -1;
  return strncmp(model + 18, "2-768-v", 7) == 0;
}

static void find_prediction(struct single_file *s) {
  float steps = 0;
  const struct st_tensor *t = st_find(s->file, "global_step");
  int told = metadata_v(s);
  if (s->yaml.parameterization[0]) {
    s->v = strcmp(s->yaml.parameterization, "v") == 0;
  } else if (told >= 0) {
    s->v = told == 1;
    note(s, "its metadata say that it predicts %s", s->v ? "v" : "noise");
  } else if (st_find(s->file, "v_pred")) {
    s->v = true;
    note(s, "it predicts v: it holds the tensor v_pred");
  } else if (s->shape.unet.cross_dim != 1024) {
    note(s, "assumed: it predicts noise (epsilon), as Stable Diffusion 1.x does");
  } else if (t && st_elements(t) == 1 && st_floats(t, 0, 1, &steps) && steps == 875000) {
    note(s, "assumed: it predicts noise (epsilon): global_step 875000 is that of Stable Diffusion 2.x at 512 pixels");
  } else {
    double spread = spread_of_last_norm(s);
    s->v = spread > 0.09;
    note(s, "assumed: it predicts %s, from the spread %.3f of its last attention's norm (above 0.09: v)", s->v ? "v" : "noise (epsilon)",
         spread);
  }
}

static bool make_scheduler(struct single_file *s, struct err *e) {
  const struct ldm_yaml *y = &s->yaml;
  return add_text(s, "scheduler/scheduler_config.json",
                  config_text_scheduler(s->v, y->beta_start > 0 ? y->beta_start : 0.00085, y->beta_end > 0 ? y->beta_end : 0.012,
                                        y->timesteps > 0 ? y->timesteps : 1000),
                  e);
}

/* --- the tokenizer ------------------------------------------------------------------------------------------------------------ */

static bool take_tokenizer(struct single_file *s, bool *taken, struct err *e) {
  char name[256], relative[300];
  bool one;
  *taken = s->config.root[0] && (source_has(&s->config, "tokenizer/vocab.json") || source_has(&s->config, "tokenizer/tokenizer.json"));
  for (int i = 0; *taken && source_list(&s->config, "tokenizer", i, name, sizeof name); i++) {
    snprintf(relative, sizeof relative, "tokenizer/%s", name);
    if (!take(s, relative, &one, e)) return false;
  }
  return true;
}

static bool make_tokenizer(struct single_file *s, struct err *e) {
  struct source assets;
  struct blob gz;
  char *merges, *vocab;
  if (s->shape.text.vocab != CLIP_VOCABULARY) {
    char what[128];
    snprintf(what, sizeof what, "its text encoder has %d tokens, which is not CLIP's vocabulary", s->shape.text.vocab);
    return ask(s, what, e);
  }
  if (!s->embedded) return ask(s, "there is no tokenizer beside it", e);
  source_embedded(&assets, s->embedded, "clip-tokenizer");
  if (!source_open(&assets, "merges.txt.gz", &gz, e) || !clip_vocab_texts(&gz, &merges, &vocab, e)) return false;
  const char *pad = s->shape.open_clip ? "!" : "<|endoftext|>";
  bool first = add_text(s, "tokenizer/merges.txt", merges, e), second = add_text(s, "tokenizer/vocab.json", vocab, e);
  note(s, "assumed: CLIP's tokenizer, padding with %s", pad);
  return first && second && add_text(s, "tokenizer/tokenizer_config.json", clip_tokens_text(pad, false), e) &&
         add_text(s, "tokenizer/special_tokens_map.json", clip_tokens_text(pad, true), e);
}

/* --- opening -------------------------------------------------------------------------------------------------------------------- */

static bool part(struct single_file *s, const char *relative, bool (*make)(struct single_file *, struct err *), struct err *e) {
  bool taken;
  return take(s, relative, &taken, e) && (taken || make(s, e));
}

static bool understand(struct single_file *s, const struct single_want *w, struct err *e) {
  bool taken;
  if (!ldm_shape_read(s->file, &s->shape, e) || !find_config(s, w->config, e) || !read_yaml(s, e)) return false;
  if (!s->config.root[0] || !source_has(&s->config, "scheduler/scheduler_config.json")) find_prediction(s);
  return part(s, "unet/config.json", make_unet, e) && part(s, "text_encoder/config.json", make_text, e) &&
         part(s, "vae/config.json", make_vae, e) && part(s, "scheduler/scheduler_config.json", make_scheduler, e) &&
         take_tokenizer(s, &taken, e) && (taken || make_tokenizer(s, e));
}

struct single_file *single_of(struct st_file *f, const struct single_want *w, struct err *e) {
  struct single_file *s = f ? calloc(1, sizeof *s) : NULL;
  if (!s) {
    if (f) err_set(e, ERR_FIT, "%s: out of memory", st_path(f));
    st_close(f);
    return NULL;
  }
  s->file = f;
  s->embedded = w->embedded;
  source_embedded(&s->source, s->list, st_path(f));
  if (understand(s, w, e)) return s;
  single_close(s);
  return NULL;
}

struct single_file *single_open(const char *path, const struct single_want *w, struct err *e) {
  return single_of(st_open_path(path, e), w, e);
}

void single_close(struct single_file *s) {
  if (!s) return;
  for (int i = 0; i < s->n; i++) {
    free((void *)(uintptr_t)s->list[i].path);
    free((void *)(uintptr_t)s->list[i].data);
  }
  st_close(s->file);
  free(s);
}

const struct source *single_source(const struct single_file *s) {
  return &s->source;
}
const struct ldm_shape *single_shape(const struct single_file *s) {
  return &s->shape;
}
const char *single_notes(const struct single_file *s) {
  return s->notes;
}

/* --- tensors under diffusers' names ---------------------------------------------------------------------------------------------- */

struct collection {
  const struct single_file *s;
  struct st_tensor *t;
  bool *used; /* [st_count] */
  int n;
};

/* Other names that writers gave the VAE's attention. */
static const struct st_tensor *find_vae_attention(const struct st_file *f, const char *name) {
  static const char *const other[][2] = {{".attn_1.q.", ".attn_1.to_q."},
                                         {".attn_1.k.", ".attn_1.to_k."},
                                         {".attn_1.v.", ".attn_1.to_v."},
                                         {".attn_1.proj_out.", ".attn_1.to_out.0."},
                                         {".attn_1.norm.", ".attn_1.group_norm."},
                                         {".attn_1.q.", ".attn_1.query."},
                                         {".attn_1.k.", ".attn_1.key."},
                                         {".attn_1.v.", ".attn_1.value."},
                                         {".attn_1.proj_out.", ".attn_1.proj_attn."}};
  char text[LDM_NAME];
  for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
    const char *at = strstr(name, other[i][0]);
    if (!at) continue;
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - name), name, other[i][1], at + strlen(other[i][0]));
    const struct st_tensor *t = st_find(f, text);
    if (t) return t;
  }
  return NULL;
}

static const struct st_tensor *find_tensor(const struct single_file *s, const char *name) {
  const struct st_tensor *t = st_find(s->file, name);
  static const char bare[] = LDM_CLIP "text_model.";
  char text[LDM_NAME];
  if (t || strncmp(name, LDM_VAE, strlen(LDM_VAE)) == 0) return t ? t : find_vae_attention(s->file, name);
  if (!s->shape.bare_text || strncmp(name, bare, sizeof bare - 1) != 0) return NULL;
  snprintf(text, sizeof text, LDM_CLIP "%s", name + sizeof bare - 1);
  return st_find(s->file, text);
}

static bool collect(struct collection *c, const char *name, const struct ldm_name *ldm, struct err *e) {
  const struct st_tensor *t = find_tensor(c->s, ldm->text);
  if (!t) return err_set(e, ERR_INPUT, "%s: the tensor \"%s\" is missing", st_path(c->s->file), ldm->text);
  struct st_tensor *out = &c->t[c->n++];
  *out = *t;
  out->name = name;
  c->used[t - st_at(c->s->file, 0)] = true;
  if (ldm->third < 0) return true;
  if (t->rank < 1 || t->dim[0] % 3 != 0 || t->bytes % 3 != 0)
    return err_set(e, ERR_INPUT, "%s: the tensor \"%s\" cannot be parted into query, key and value", st_path(c->s->file), ldm->text);
  out->dim[0] /= 3;
  out->bytes /= 3;
  out->data += (size_t)ldm->third * out->bytes;
  return true;
}

/* What the network has no place for would be left out silently: the pictures would be wrong. */
static bool all_used(const struct collection *c, const char *prefix, struct err *e) {
  for (int i = 0; i < st_count(c->s->file); i++) {
    const char *name = st_at(c->s->file, i)->name;
    if (!c->used[i] && strncmp(name, prefix, strlen(prefix)) == 0)
      return err_set(e, ERR_INPUT, "%s: the tensor \"%s\" has no place in a model of Stable Diffusion 1.x or 2.x of this shape",
                     st_path(c->s->file), name);
  }
  return true;
}

static bool begin(struct collection *c, const struct single_file *s, const struct param_set *p, struct err *e) {
  *c = (struct collection){
      .s = s, .t = calloc((size_t)p->n + 1, sizeof *c->t), .used = calloc((size_t)st_count(s->file) + 1, sizeof *c->used)};
  return (c->t && c->used) || err_set(e, ERR_FIT, "%s: out of memory", st_path(s->file));
}

static struct st_set *end(struct collection *c, bool ok, struct err *e) {
  struct st_set *set = ok ? st_set_of(st_view(st_path(c->s->file), c->t, c->n, e), e) : NULL;
  free(c->t);
  free(c->used);
  return set;
}

static bool unnamed(const char *name, struct err *e) {
  return err_set(e, ERR_FAILED, "the parameter \"%s\" has no name in the single-file layout", name);
}

struct st_set *single_unet(const struct single_file *s, const struct unet_config *k, const struct param_set *p, struct err *e) {
  struct collection c;
  struct ldm_name name;
  bool ok = begin(&c, s, p, e);
  for (int i = 0; ok && i < p->n; i++)
    ok = ldm_unet_name(k, p->p[i]->name, &name) ? collect(&c, p->p[i]->name, &name, e) : unnamed(p->p[i]->name, e);
  return end(&c, ok && all_used(&c, LDM_UNET, e), e);
}

struct st_set *single_text(const struct single_file *s, const struct param_set *p, struct err *e) {
  struct collection c;
  struct ldm_name name;
  if (!s->shape.has_text) return st_set_open(&s->config, "text_encoder", "model", e);
  bool ok = begin(&c, s, p, e);
  for (int i = 0; ok && i < p->n; i++)
    ok = ldm_text_name(s->shape.open_clip, p->p[i]->name, &name) ? collect(&c, p->p[i]->name, &name, e) : unnamed(p->p[i]->name, e);
  return end(&c, ok, e);
}

struct st_set *single_vae(const struct single_file *s, const struct vae_config *k, const struct param_set *p, struct err *e) {
  struct collection c;
  struct ldm_name name;
  if (!s->shape.has_vae) return st_set_open(&s->config, "vae", "diffusion_pytorch_model", e);
  bool ok = begin(&c, s, p, e);
  for (int i = 0; ok && i < p->n; i++)
    ok = ldm_vae_name(k, p->p[i]->name, &name) ? collect(&c, p->p[i]->name, &name, e) : unnamed(p->p[i]->name, e);
  return end(&c, ok && all_used(&c, LDM_VAE "encoder.", e) && all_used(&c, LDM_VAE "decoder.", e), e);
}
