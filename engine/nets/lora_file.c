/* LoRA files in the PEFT-in-diffusers dialect: "unet.<module>.lora_A.weight", "text_encoder.<module>.lora_A.weight". */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nets/model.h"

enum { NAME = 512 };

/* --- writing ---------------------------------------------------------------------------------------------------------------- */

struct out {
  struct st_entry *t;
  char (*name)[NAME];
  float *folded; /* copies of up matrices times alpha / rank */
  size_t used;
  int n;
};

static void add(struct out *o, const char *prefix, const struct param *p, const float *data, enum dtype type) {
  struct st_entry *t = &o->t[o->n];
  snprintf(o->name[o->n], NAME, "%s.%s", prefix, p->name);
  *t = (struct st_entry){.name = o->name[o->n], .type = type, .rank = p->rank, .data = data, .data_type = DT_F32};
  for (int i = 0; i < p->rank; i++) t->dim[i] = p->dim[i];
  o->n++;
}

/* Another alpha than the rank goes into the up matrix: this dialect's keys cannot carry it, and diffusers' lora_adapter_metadata, which could,
   names modules that transformers 5 renamed. So every reader takes alpha = rank and is right. */
static void add_set(struct out *o, const char *prefix, const struct lora_set *s, const float *w, enum dtype type) {
  for (int i = 0; s && i < s->n; i++) {
    const struct lora_module *m = &s->module[i];
    const float *up = w + m->b->offset;
    float scale = m->alpha / (float)m->a->dim[0];
    if (scale != 1) {
      float *copy = o->folded + o->used;
      for (int64_t k = 0; k < m->b->count; k++) copy[k] = up[k] * scale;
      o->used += (size_t)m->b->count;
      up = copy;
    }
    add(o, prefix, m->a, w + m->a->offset, type);
    add(o, prefix, m->b, up, type);
  }
}

bool lora_save(const char *path, const struct lora_set *unet, const float *unet_w, const struct lora_set *text, const float *text_w,
               enum dtype type, const struct st_pair *meta, int n_meta, struct err *e) {
  size_t n = 2 * (size_t)((unet ? unet->n : 0) + (text ? text->n : 0));
  size_t floats = (size_t)((unet ? unet->params->count : 0) + (text ? text->params->count : 0));
  struct out o = {.t = calloc(n, sizeof *o.t), .name = calloc(n, sizeof *o.name), .folded = malloc((floats + 1) * sizeof *o.folded)};
  bool ok = false;
  if (!o.t || !o.name || !o.folded) {
    err_set(e, ERR_FIT, "out of memory while writing \"%s\"", path);
    goto done;
  }
  add_set(&o, "unet", unet, unet_w, type);
  add_set(&o, "text_encoder", text, text_w, type);
  ok = st_write(path, o.t, o.n, meta, n_meta, e);
done:
  free(o.t);
  free(o.name);
  free(o.folded);
  return ok;
}

/* --- reading ----------------------------------------------------------------------------------------------------------------- */

/* "unet.a.b.lora_A.weight": network and module. */
static bool split_name(const char *name, const char **network, char module[NAME], char *half) {
  static const char *const networks[2] = {"unet", "text_encoder"};
  for (int i = 0; i < 2; i++) {
    size_t k = strlen(networks[i]), n = strlen(name);
    if (strncmp(name, networks[i], k) != 0 || name[k] != '.') continue;
    *network = networks[i];
    static const char *const ends[2] = {".lora_A.weight", ".lora_B.weight"};
    for (int h = 0; h < 2; h++) {
      size_t m = strlen(ends[h]);
      if (n <= k + 1 + m || strcmp(name + n - m, ends[h]) != 0) continue;
      snprintf(module, NAME, "%.*s", (int)(n - k - 1 - m), name + k + 1);
      *half = h ? 'B' : 'A';
      return true;
    }
  }
  return false;
}

/* alpha of a network from the file's metadata; 0 where it names none (then alpha = rank). */
static bool alpha_of(const struct st_file *f, const char *network, double *alpha, struct err *e) {
  const char *text = st_metadata(f, "lora_adapter_metadata");
  char key[64];
  *alpha = 0;
  if (!text) return true;
  struct json *j = json_parse(text, strlen(text), st_path(f), e);
  if (!j) return false;
  snprintf(key, sizeof key, "%s.lora_alpha", network);
  bool ok = json_float(j, key, 0, alpha, e), rslora = false, dora = false;
  snprintf(key, sizeof key, "%s.use_rslora", network);
  ok = ok && json_bool(j, key, false, &rslora, e);
  snprintf(key, sizeof key, "%s.use_dora", network);
  ok = ok && json_bool(j, key, false, &dora, e);
  if (ok && (rslora || dora))
    ok = err_set(e, ERR_INPUT, "%s: the adapters of \"%s\" use %s, which this program does not apply", st_path(f), network,
                 dora ? "DoRA" : "rank-stabilised scaling");
  snprintf(key, sizeof key, "%s.alpha_pattern", network);
  const cJSON *pattern = cJSON_GetObjectItemCaseSensitive(json_node(j), key);
  if (ok && pattern && pattern->child) ok = err_set(e, ERR_INPUT, "%s: \"%s\" in lora_adapter_metadata is not supported", st_path(f), key);
  json_close(j);
  return ok;
}

static struct lora_set *set_of(struct model *m, const char *network) {
  return strcmp(network, "unet") == 0 ? unet_lora(m->unet) : clip_lora(m->text);
}

static bool attach(struct model *m, const struct st_file *f, const struct st_tensor *a, const char *network, const char *module,
                   struct err *e) {
  double alpha;
  if (!alpha_of(f, network, &alpha, e)) return false;
  if (a->rank < 2 || a->dim[0] < 1 || a->dim[0] > 4096)
    return err_set(e, ERR_INPUT, "%s: \"%s\" is not a matrix [rank, in]", st_path(f), a->name);
  struct lora_spec spec = {
      .rank = (int)a->dim[0], .alpha = alpha > 0 ? (float)alpha : (float)a->dim[0], .n_targets = 1, .target = {module}};
  struct lora_set *s = set_of(m, network);
  int before = s ? s->n : 0;
  struct err ignored = {0};
  if (strcmp(network, "unet") == 0)
    unet_attach_lora(m->unet, &spec, &ignored);
  else
    clip_attach_lora(m->text, &spec, &ignored);
  s = set_of(m, network);
  if (s && s->n == before + 1) return true;
  return err_set(e, ERR_INPUT,
                 "%s: the tensor \"%s\" belongs to no layer of the model that this program adapts; the file was made for another model",
                 st_path(f), a->name);
}

static bool attach_all(struct model *m, const struct st_file *f, struct err *e) {
  for (int i = 0; i < st_count(f); i++) {
    const struct st_tensor *t = st_at(f, i);
    const char *network;
    char module[NAME], half;
    if (!split_name(t->name, &network, module, &half))
      return err_set(e, ERR_INPUT, "%s: the tensor \"%s\" is not named as diffusers names adapters (unet.<module>.lora_A.weight)",
                     st_path(f), t->name);
    if (half == 'A' && !attach(m, f, t, network, module, e)) return false;
  }
  return true;
}

static bool fill_one(const struct st_file *f, const char *prefix, const struct param *p, float *host, struct err *e) {
  char name[NAME];
  snprintf(name, sizeof name, "%s.%s", prefix, p->name);
  const struct st_tensor *t = st_find(f, name);
  if (!t) return err_set(e, ERR_INPUT, "%s: the tensor \"%s\" is missing", st_path(f), name);
  int64_t count = 1;
  for (int i = 0; i < t->rank; i++) count *= t->dim[i];
  if (count != p->count || t->rank < 2 || t->dim[0] != p->dim[0] || t->dim[1] != p->dim[1])
    return err_set(e, ERR_INPUT, "%s: the tensor \"%s\" should have the shape [%lld, %lld]; the file was made for another model",
                   st_path(f), name, (long long)p->dim[0], (long long)p->dim[1]);
  return st_floats(t, 0, count, host + p->offset) ||
         err_set(e, ERR_INPUT, "%s: the tensor \"%s\" has the dtype %s, which cannot be read", st_path(f), name, t->dtype_text);
}

static bool fill(struct model *m, const struct st_file *f, const char *prefix, struct lora_set *s, struct err *e) {
  if (!s) return true;
  param_set_freeze(s->params, true);
  if (!model_bind(m->b, s->params, e)) return false;
  size_t bytes = (size_t)s->params->count * sizeof(float);
  float *host = calloc(1, bytes);
  bool ok = host || err_set(e, ERR_FIT, "out of memory for the adapters");
  for (int i = 0; ok && i < s->params->n; i++) ok = fill_one(f, prefix, s->params->p[i], host, e);
  if (ok) m->b->op->upload(m->b, s->params->w, host, bytes);
  param_set_changed(s->params);
  free(host);
  return ok;
}

bool lora_load(struct model *m, const char *path, struct err *e) {
  if (unet_lora(m->unet) || clip_lora(m->text)) return err_set(e, ERR_USAGE, "%s: the model has adapters already", path);
  struct st_file *f = st_open_path(path, e);
  if (!f) return false;
  bool ok = attach_all(m, f, e) && fill(m, f, "unet", unet_lora(m->unet), e) && fill(m, f, "text_encoder", clip_lora(m->text), e);
  st_close(f);
  return ok;
}
