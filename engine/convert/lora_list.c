#include "convert/lora_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "convert/lora_config.h"

enum { RANK_MAX = 65536 };

/* One tensor with its name understood. */
struct found {
  struct lora_name name;
  const struct st_tensor *t;
};

static int by_module(const void *a, const void *b) {
  const struct found *x = a, *y = b;
  if (x->name.text != y->name.text) return x->name.text ? 1 : -1;
  int order = strcmp(x->name.module, y->name.module);
  return order ? order : (int)x->name.part - (int)y->name.part;
}

static bool same_module(const struct found *a, const struct found *b) {
  return a->name.text == b->name.text && strcmp(a->name.module, b->name.module) == 0;
}

/* --- one module -------------------------------------------------------------------------------------------------------------------- */

static bool bad(const struct st_file *f, const struct st_tensor *t, const char *what, struct err *e) {
  return err_set(e, ERR_INPUT, "%s: the tensor \"%s\" %s", st_path(f), t->name, what);
}

static bool read_matrix(struct lora_matrix *m, const struct st_file *f, const struct st_tensor *t, struct err *e) {
  float probe;
  if ((t->rank != 2 && t->rank != 4) || t->bytes == 0) return bad(f, t, "is no matrix [rank, in] or [out, rank], nor a convolution's", e);
  if (!st_floats(t, 0, 1, &probe)) return bad(f, t, "has a dtype that cannot be read; F32, F16 and BF16 can", e);
  *m = (struct lora_matrix){.rank = t->rank, .count = st_elements(t), .t = t};
  memcpy(m->dim, t->dim, sizeof m->dim);
  return true;
}

struct context {
  struct st_file *f;
  const struct json *config[2]; /* of UNet and text encoder; NULL: none */
  const char *prefix[2];
};

/* kohya: alpha beside the tensors, 0 means the rank, none means scale 1. Others: the configuration. */
static bool read_alpha(const struct context *c, struct lora_item *i, const struct st_tensor *alpha, struct err *e) {
  i->alpha = i->rank;
  if (alpha) {
    float v;
    if (st_elements(alpha) != 1 || !st_floats(alpha, 0, 1, &v) || !(v >= 0 && v <= 1e6f))
      return bad(c->f, alpha, "is not one number from 0 on", e);
    if (v > 0) i->alpha = (double)v;
    return true;
  }
  const struct json *j = c->config[i->text];
  return !j || lora_config_alpha(j, c->prefix[i->text], i->module, i->rank, &i->alpha, e);
}

static bool read_item(const struct context *c, const struct found *at, int n, struct lora_item *i, struct err *e) {
  const struct st_tensor *part[3] = {NULL};
  for (int k = 0; k < n; k++) {
    if (part[at[k].name.part]) return bad(c->f, at[k].t, "stands for a module that another tensor stands for as well", e);
    part[at[k].name.part] = at[k].t;
  }
  if (!part[LORA_DOWN] || !part[LORA_UP]) return bad(c->f, at->t, "lacks its other half (down and up, or A and B, belong together)", e);
  i->text = at->name.text;
  i->name = part[LORA_DOWN]->name;
  if (!read_matrix(&i->down, c->f, part[LORA_DOWN], e) || !read_matrix(&i->up, c->f, part[LORA_UP], e)) return false;
  if (i->down.dim[0] > RANK_MAX || i->up.dim[1] != i->down.dim[0] || (i->up.rank == 4 && i->up.dim[2] * i->up.dim[3] != 1))
    return bad(c->f, part[LORA_UP], "does not fit its other half: up must be [out, rank] where down is [rank, in]", e);
  i->rank = (int)i->down.dim[0];
  return read_alpha(c, i, part[LORA_ALPHA], e);
}

/* --- one file --------------------------------------------------------------------------------------------------------------------- */

static bool understand_names(const struct st_file *f, struct found *found, struct err *e) {
  for (int i = 0; i < st_count(f); i++) {
    const char *why = "";
    found[i].t = st_at(f, i);
    if (!lora_name_read(found[i].t->name, &found[i].name, &why))
      return err_set(e, ERR_INPUT, "%s: the tensor \"%s\" is %s", st_path(f), found[i].t->name, why);
  }
  return st_count(f) > 0 || err_set(e, ERR_INPUT, "%s: holds no tensor", st_path(f));
}

static bool grow(struct lora_list *l, int more) {
  struct lora_item *item = realloc(l->item, ((size_t)l->n + (size_t)more) * sizeof *item);
  if (item) l->item = item;
  char *names = item ? realloc(l->module_names, ((size_t)l->n + (size_t)more) * LORA_NAME) : NULL;
  if (!names) return false;
  l->module_names = names;
  for (int i = 0; i < l->n; i++) l->item[i].module = names + (size_t)i * LORA_NAME;
  return true;
}

static bool read_items(struct lora_list *l, const struct context *c, struct found *found, struct err *e) {
  int count = st_count(c->f);
  qsort(found, (size_t)count, sizeof *found, by_module);
  if (!grow(l, count)) return err_set(e, ERR_FIT, "%s: out of memory", st_path(c->f));
  for (int i = 0, n; i < count; i += n) {
    for (n = 1; i + n < count && same_module(&found[i], &found[i + n]);) n++;
    struct lora_item *item = &l->item[l->n];
    char *module = l->module_names + (size_t)l->n * LORA_NAME;
    *item = (struct lora_item){.module = module};
    snprintf(module, LORA_NAME, "%s", found[i].name.module);
    if (!read_item(c, &found[i], n, item, e)) return false;
    l->n++;
  }
  return true;
}

/* The file's own configuration: adapter_config.json's text, or diffusers' metadata. */
static bool open_config(struct context *c, const char *text, size_t n, struct json **own, struct err *e) {
  char name[4400];
  const char *meta = st_metadata(c->f, "lora_adapter_metadata");
  *own = NULL;
  if (!text && !meta) return true;
  snprintf(name, sizeof name, "%s%s", st_path(c->f), text ? " (adapter_config.json)" : " (lora_adapter_metadata)");
  *own = json_parse(text ? text : meta, text ? n : strlen(meta), name, e);
  if (!*own) return false;
  c->config[0] = c->config[1] = *own;
  c->prefix[0] = text ? "" : "unet.";
  c->prefix[1] = text ? "" : "text_encoder.";
  return lora_config_check(*own, c->prefix[0], e) && (text || lora_config_check(*own, c->prefix[1], e));
}

static bool add_file(struct lora_list *l, struct st_file *f, const char *config, size_t config_size, struct err *e) {
  struct context c = {.f = f};
  struct json *own = NULL;
  l->file[l->files++] = f;
  struct found *found = calloc((size_t)st_count(f) + 1, sizeof *found);
  bool ok = found || err_set(e, ERR_FIT, "%s: out of memory", st_path(f));
  ok = ok && understand_names(f, found, e) && open_config(&c, config, config_size, &own, e);
  if (ok && l->files == 1) l->dialect = found[0].name.dialect;
  ok = ok && read_items(l, &c, found, e);
  json_close(own);
  free(found);
  return ok;
}

bool lora_list_of(struct lora_list *l, struct st_file *f, const char *config, size_t config_size, struct err *e) {
  *l = (struct lora_list){0};
  if (!f) return false;
  snprintf(l->path, sizeof l->path, "%s", st_path(f));
  if (add_file(l, f, config, config_size, e)) return true;
  lora_list_close(l);
  return false;
}

/* --- files and directories ------------------------------------------------------------------------------------------------------- */

static bool add_peft(struct lora_list *l, const struct source *s, const char *dir, struct err *e) {
  char file[64], config[64];
  struct blob b;
  snprintf(config, sizeof config, "%s%sadapter_config.json", dir, *dir ? "/" : "");
  snprintf(file, sizeof file, "%s%sadapter_model.safetensors", dir, *dir ? "/" : "");
  if (!source_open(s, config, &b, e)) return false;
  struct st_file *f = st_open(s, file, e);
  bool ok = f && add_file(l, f, (const char *)b.data, b.size, e);
  blob_close(&b);
  return ok;
}

static bool add_directory(struct lora_list *l, struct err *e) {
  static const char *const dir[3] = {"", "unet", "text_encoder"};
  char config[64];
  struct source s;
  source_dir(&s, l->path);
  for (int i = 0; i < 3 && l->files < 2; i++) {
    snprintf(config, sizeof config, "%s%sadapter_config.json", dir[i], *dir[i] ? "/" : "");
    if (source_has(&s, config) && !add_peft(l, &s, dir[i], e)) return false;
  }
  if (l->files > 0) return true;
  struct st_file *f = st_open(&s, "pytorch_lora_weights.safetensors", e);
  return f && add_file(l, f, NULL, 0, e);
}

bool lora_list_open(struct lora_list *l, const char *path, struct err *e) {
  struct stat st;
  *l = (struct lora_list){0};
  if (strlen(path) >= sizeof l->path) return err_set(e, ERR_INPUT, "%.200s...: the path is too long", path);
  snprintf(l->path, sizeof l->path, "%s", path);
  bool ok;
  if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
    ok = add_directory(l, e);
  } else {
    struct st_file *f = st_open_path(path, e);
    ok = f && add_file(l, f, NULL, 0, e);
  }
  if (!ok) lora_list_close(l);
  return ok;
}

void lora_list_close(struct lora_list *l) {
  for (int i = 0; i < l->files; i++) st_close(l->file[i]);
  free(l->item);
  free(l->module_names);
  *l = (struct lora_list){0};
}

void lora_list_hash(const struct lora_list *l, char out[65]) {
  struct sha256 h;
  sha256_begin(&h);
  for (int i = 0; i < l->n; i++) {
    const struct lora_item *k = &l->item[i];
    sha256_add(&h, k->module, strlen(k->module) + 1);
    sha256_add(&h, &k->alpha, sizeof k->alpha);
    sha256_add(&h, k->down.t->data, k->down.t->bytes);
    sha256_add(&h, k->up.t->data, k->up.t->bytes);
  }
  sha256_end(&h, out);
}

bool lora_file_is(const struct st_file *f) {
  static const char *const marks[] = {"lora_unet_", "lora_te_", "lora_te1_", "lora_te2_",          ".lora_A.",
                                      ".lora_B.",   ".lora.",   "_lora.",    ".lora_linear_layer."};
  for (int i = 0; i < st_count(f); i++)
    for (size_t k = 0; k < sizeof marks / sizeof *marks; k++)
      if (strstr(st_at(f, i)->name, marks[k])) return true;
  return false;
}

bool lora_is(const char *path) {
  static const char *const marks[] = {"adapter_config.json", "unet/adapter_config.json", "text_encoder/adapter_config.json",
                                      "pytorch_lora_weights.safetensors"};
  struct stat st;
  struct source s;
  if (stat(path, &st) != 0) return false;
  if (S_ISDIR(st.st_mode)) {
    bool found = false;
    source_dir(&s, path);
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) found = found || source_has(&s, marks[i]);
    return found;
  }
  struct st_file *f = st_open_path(path, NULL);
  bool yes = f && lora_file_is(f);
  st_close(f);
  return yes;
}

/* --- values ------------------------------------------------------------------------------------------------------------------------ */

double lora_item_scale(const struct lora_item *i) {
  return i->alpha / i->rank;
}

bool lora_matrix_floats(const struct lora_matrix *m, int64_t first, int64_t count, float *out) {
  if (m->t) return st_floats(m->t, first, count, out);
  if (first < 0 || count < 0 || first > m->count || count > m->count - first) return false;
  memcpy(out, m->data + first, (size_t)count * sizeof *out);
  return true;
}

bool lora_item_add(const struct lora_item *i, double factor, int64_t first, int64_t count, float *out) {
  enum { PIECE = 4096 };
  float down[PIECE];
  int64_t in = i->down.count / i->rank;
  while (count > 0) { /* inside one row of the product, and one piece of it */
    int64_t row = first / in, column = first % in, n = in - column < count ? in - column : count;
    if (n > PIECE) n = PIECE;
    for (int r = 0; r < i->rank; r++) {
      float up;
      if (!lora_matrix_floats(&i->up, row * i->rank + r, 1, &up) || !lora_matrix_floats(&i->down, r * in + column, n, down)) return false;
      float weight = (float)(factor * (double)up);
      for (int64_t k = 0; k < n; k++) out[k] += weight * down[k];
    }
    out += n;
    first += n;
    count -= n;
  }
  return true;
}
