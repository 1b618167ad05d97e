#include "convert/lora_config.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

enum { PATTERN = 512, KEY = 96 };

static const char *key_of(char out[KEY], const char *prefix, const char *field) {
  snprintf(out, KEY, "%s%s", prefix, field);
  return out;
}

/* Python's pattern as a POSIX one: \d is translated; groups with options, lazy or counted repetition are not known. */
static bool translate(const char *python, char out[PATTERN]) {
  size_t used = (size_t)snprintf(out, PATTERN, "^(.*\\.)?(");
  for (const char *p = python; *p; p++) {
    if (used + 16 >= PATTERN || *p == '{' || (p[0] == '(' && p[1] == '?') || (strchr("*+?", p[0]) && p[1] == '?')) return false;
    if (p[0] == '\\' && p[1] == 'd') {
      used += (size_t)snprintf(out + used, PATTERN - used, "[0-9]");
      p++;
    } else {
      out[used++] = *p;
      if (*p == '\\' && p[1]) out[used++] = *++p;
    }
  }
  snprintf(out + used, PATTERN - used, ")$");
  return true;
}

/* PEFT's rule: the pattern matches the end of the name, beginning at a dot. */
static bool matches(const char *pattern, const char *module, bool *yes) {
  char posix[PATTERN];
  regex_t r;
  if (!translate(pattern, posix) || regcomp(&r, posix, REG_EXTENDED | REG_NOSUB) != 0) return false;
  *yes = regexec(&r, module, 0, NULL, 0) == 0;
  regfree(&r);
  return true;
}

static bool patterned(const struct json *j, const char *key, const char *module, double *value, struct err *e) {
  const cJSON *list = cJSON_GetObjectItemCaseSensitive(json_node(j), key), *item;
  cJSON_ArrayForEach(item, list) {
    bool yes = false;
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble) || !item->string || !matches(item->string, module, &yes))
      return err_set(e, ERR_INPUT, "%s: \"%s\" holds the pattern \"%.100s\", which this program does not understand", json_name(j), key,
                     item->string ? item->string : "");
    if (!yes) continue;
    *value = item->valuedouble;
    return true;
  }
  return true;
}

bool lora_config_alpha(const struct json *j, const char *prefix, const char *module, int rank, double *alpha, struct err *e) {
  char key[KEY];
  bool stabilised;
  if (!json_float(j, key_of(key, prefix, "lora_alpha"), rank, alpha, e) ||
      !patterned(j, key_of(key, prefix, "alpha_pattern"), module, alpha, e) ||
      !json_bool(j, key_of(key, prefix, "use_rslora"), false, &stabilised, e))
    return false;
  if (stabilised) *alpha *= sqrt((double)rank); /* alpha / sqrt(rank) = (alpha sqrt(rank)) / rank */
  return true;
}

bool lora_config_check(const struct json *j, const char *prefix, struct err *e) {
  static const char *const off[] = {"use_dora", "fan_in_fan_out", "lora_bias", "use_qalora", "use_bdlora"};
  char key[KEY], text[64];
  for (size_t i = 0; i < sizeof off / sizeof *off; i++) {
    bool on = false;
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(json_node(j), key_of(key, prefix, off[i]));
    if (v && !cJSON_IsNull(v)) on = !cJSON_IsFalse(v);
    if (on) return err_set(e, ERR_INPUT, "%s: \"%s\" is set, which this program does not apply", json_name(j), key);
  }
  if (!json_string(j, key_of(key, prefix, "peft_type"), "LORA", text, sizeof text, e)) return false;
  if (strcmp(text, "LORA") != 0) return err_set(e, ERR_INPUT, "%s: \"%s\" is %s; LORA can be read", json_name(j), key, text);
  const cJSON *init = cJSON_GetObjectItemCaseSensitive(json_node(j), key_of(key, prefix, "init_lora_weights"));
  static const char *const moved[] = {"pissa", "olora", "corda", "lora_ga"};
  for (size_t i = 0; cJSON_IsString(init) && i < sizeof moved / sizeof *moved; i++)
    if (strncmp(init->valuestring, moved[i], strlen(moved[i])) == 0)
      return err_set(e, ERR_INPUT, "%s: \"%s\" is %.40s: such adapters belong to a base model that was changed with them", json_name(j),
                     key, init->valuestring);
  return true;
}
