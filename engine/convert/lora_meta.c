#include "convert/lora_meta.h"
#include "formats/json_add.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TEXT = 4096 };

void date_text(char out[32]) {
  time_t now = time(NULL);
  struct tm t;
  if (!gmtime_r(&now, &t) || strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &t) == 0) out[0] = 0;
}

static const char *find(const struct lora_meta *m, const char *key) {
  for (int i = 0; i < m->n; i++)
    if (strcmp(m->pair[i].key, key) == 0) return m->pair[i].value;
  return NULL;
}

/* Keys are static texts; an earlier pair of that key stays. */
static void put(struct lora_meta *m, const char *key, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void put(struct lora_meta *m, const char *key, const char *fmt, ...) {
  if (m->n == LORA_META_PAIRS || find(m, key)) return;
  char *at = m->text + m->used;
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(at, TEXT - m->used, fmt, ap);
  va_end(ap);
  if (n < 0 || (size_t)n >= TEXT - m->used) return;
  m->used += (size_t)n + 1;
  m->pair[m->n++] = (struct st_pair){key, at};
}

/* What is said about the file itself, and would be wrong of another one. */
static bool of_the_file(const char *key) {
  static const char *const own[] = {
      "format",           "lora_adapter_metadata", "sshs_model_hash",        "sshs_legacy_hash",         "modelspec.hash_sha256",
      "modelspec.date",   "modelspec.title",       "modelspec.architecture", "modelspec.implementation", "ss_network_dim",
      "ss_network_alpha", "ss_output_name",        "ss_network_module"};
  for (size_t i = 0; i < sizeof own / sizeof *own; i++)
    if (strcmp(key, own[i]) == 0) return true;
  return false;
}

int lora_generation(const struct lora_list *l) {
  for (int i = 0; i < l->n; i++) {
    const struct lora_item *k = &l->item[i];
    bool cross = !k->text && strstr(k->module, ".attn2.to_k"), query = k->text && strstr(k->module, "q_proj");
    if ((cross || query) && k->down.dim[1] == 768) return 1;
    if ((cross || query) && k->down.dim[1] == 1024) return 2;
  }
  return 0;
}

static void put_network(struct lora_meta *m, const struct lora_list *l, const struct lora_shape *s) {
  int rank = s->rank ? s->rank : l->n > 0 ? l->item[0].rank : 0;
  put(m, "ss_network_module", "networks.lora");
  put(m, "ss_network_dim", "%d", rank);
  put(m, "ss_network_alpha", "%g", s->own_alpha && l->n > 0 ? l->item[0].alpha : rank);
  put(m, "ss_network_args", "{}");
}

static void put_model(struct lora_meta *m, const struct lora_list *l, const struct lora_want *w) {
  const struct model *base = w->base;
  int generation = lora_generation(l);
  bool second = generation ? generation == 2 : base && clip_config(base->text)->act == ACT_GELU;
  bool v = base && base->schedule.prediction == PREDICT_V;
  put(m, "ss_v2", "%s", second ? "True" : "False");
  put(m, "ss_base_model_version", "sd_v%d%s", second ? 2 : 1, v ? "_v" : "");
  put(m, "modelspec.sai_model_spec", "1.0.1");
  put(m, "modelspec.architecture", "stable-diffusion-%s/lora", !second ? "v1" : v ? "v2-768-v" : "v2-512");
  put(m, "modelspec.implementation", "diffusers");
  if (base) put(m, "modelspec.prediction_type", "%s", v ? "v" : "epsilon");
}

bool lora_meta_make(struct lora_meta *m, const struct lora_list *l, const struct lora_want *w, const struct lora_shape *s,
                    const struct st_entry *t, int n, struct err *e) {
  char date[32], hash[65];
  *m = (struct lora_meta){.text = malloc(TEXT)};
  if (!m->text) return err_set(e, ERR_FIT, "%s: out of memory", l->path);
  for (int i = 0; i < w->n_meta && m->n < LORA_META_PAIRS - 32; i++)
    if (!of_the_file(w->meta[i].key)) m->pair[m->n++] = w->meta[i];
  if (w->dialect != LORA_KOHYA) return true;
  if (!st_data_hash(t, n, hash, e)) return false;
  put_network(m, l, s);
  put_model(m, l, w);
  date_text(date);
  put(m, "ss_output_name", "%.200s", w->title);
  put(m, "modelspec.title", "%.200s", w->title);
  put(m, "modelspec.date", "%s", date);
  put(m, "modelspec.hash_sha256", "0x%s", hash);
  put(m, "sshs_model_hash", "%s", hash);
  return true;
}

void lora_meta_release(struct lora_meta *m) {
  free(m->text);
  *m = (struct lora_meta){0};
}

/* --- adapter_config.json ------------------------------------------------------------------------------------------------------------ */

/* Without "text_model.": targets and patterns match ends of names, with and without it. */
static const char *target(const struct lora_item *i) {
  return i->text && strncmp(i->module, "text_model.", 11) == 0 ? i->module + 11 : i->module;
}

static void add_items(cJSON *j, const struct lora_list *l, bool text, const struct lora_item *first) {
  cJSON *alphas = cJSON_AddObjectToObject(j, "alpha_pattern"), *ranks = cJSON_AddObjectToObject(j, "rank_pattern");
  cJSON *targets = cJSON_AddArrayToObject(j, "target_modules");
  for (int i = 0; i < l->n; i++) {
    const struct lora_item *k = &l->item[i];
    if (k->text != text) continue;
    json_append(targets, cJSON_CreateString(target(k)));
    if (k->rank != first->rank) cJSON_AddNumberToObject(ranks, target(k), k->rank);
    if (fabs(k->alpha - first->alpha) > 0) cJSON_AddNumberToObject(alphas, target(k), k->alpha);
  }
}

char *lora_meta_peft_config(const struct lora_list *l, bool text) {
  const struct lora_item *first = l->item;
  cJSON *j = cJSON_CreateObject();
  while (first < l->item + l->n && first->text != text) first++;
  if (!j || first == l->item + l->n) return cJSON_Delete(j), NULL;
  cJSON_AddNullToObject(j, "base_model_name_or_path");
  cJSON_AddStringToObject(j, "bias", "none");
  cJSON_AddBoolToObject(j, "fan_in_fan_out", false);
  cJSON_AddBoolToObject(j, "inference_mode", true);
  cJSON_AddNumberToObject(j, "lora_alpha", first->alpha);
  cJSON_AddRawToObject(j, "lora_dropout", "0.0");
  cJSON_AddStringToObject(j, "peft_type", "LORA");
  cJSON_AddNumberToObject(j, "r", first->rank);
  cJSON_AddNullToObject(j, "task_type");
  add_items(j, l, text, first);
  char *out = cJSON_Print(j);
  cJSON_Delete(j);
  return out;
}
