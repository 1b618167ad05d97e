#include "formats/json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct json {
  cJSON *root;
  char *name;
};

static bool only_space(const char *at, const char *end) {
  for (; at < end; at++)
    if (*at != ' ' && *at != '\t' && *at != '\n' && *at != '\r' && *at != 0) return false;
  return true;
}

/* Whether brackets outside of strings are open deeper than the library goes: its own complaint would be about the syntax. */
static bool too_deep(const char *text, size_t n) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < n && depth <= CJSON_NESTING_LIMIT; i++) {
    if (quoted && text[i] == '\\')
      i++;
    else if (text[i] == '"')
      quoted = !quoted;
    else if (!quoted)
      depth += (text[i] == '[' || text[i] == '{') - (text[i] == ']' || text[i] == '}');
  }
  return depth > CJSON_NESTING_LIMIT;
}

struct json *json_parse(const void *text, size_t n, const char *name, struct err *e) {
  const char *end = NULL;
  struct json *j = calloc(1, sizeof *j);
  if (j == NULL || (j->name = strdup(name)) == NULL) {
    err_set(e, ERR_FIT, "out of memory while reading %s", name);
    goto fail;
  }
  j->root = cJSON_ParseWithLengthOpts(text, n, &end, 0);
  if (j->root == NULL || !only_space(end, (const char *)text + n)) {
    size_t at = end != NULL ? (size_t)(end - (const char *)text) : 0;
    if (too_deep(text, n))
      err_set(e, ERR_INPUT, "%s: JSON nested more than %d deep", name, CJSON_NESTING_LIMIT);
    else
      err_set(e, ERR_INPUT, "%s: not valid JSON (near byte %zu)", name, at);
    goto fail;
  }
  return j;
fail:
  json_close(j);
  return NULL;
}

struct json *json_open(const struct source *s, const char *relative, struct err *e) {
  char name[5200];
  struct blob b;
  if (!source_open(s, relative, &b, e)) return NULL;
  struct json *j = json_parse(b.data, b.size, source_name(s, relative, name, sizeof name), e);
  blob_close(&b);
  return j;
}

void json_close(struct json *root) {
  if (root == NULL) return;
  cJSON_Delete(root->root);
  free(root->name);
  free(root);
}

const char *json_name(const struct json *root) {
  return root->name;
}

const struct cJSON *json_node(const struct json *j) {
  return j->root;
}

/* NULL where absent or null: configs write null for "not set". */
static const cJSON *get(const struct json *j, const char *key) {
  const cJSON *v = cJSON_GetObjectItemCaseSensitive(j->root, key);
  return v == NULL || cJSON_IsNull(v) ? NULL : v;
}

static bool node_int(const cJSON *v, int64_t min, int64_t max, int64_t *out) {
  if (!cJSON_IsNumber(v) || floor(v->valuedouble) != v->valuedouble || fabs(v->valuedouble) > 0x1p53) return false;
  *out = (int64_t)v->valuedouble;
  return *out >= min && *out <= max;
}

bool json_int(const struct json *j, const char *key, int64_t fallback, int64_t min, int64_t max, int64_t *out, struct err *e) {
  const cJSON *v = get(j, key);
  int64_t number = fallback;
  if (v != NULL && !node_int(v, min, max, &number))
    return err_set(e, ERR_INPUT, "%s: \"%s\" must be an integer from %lld to %lld", j->name, key, (long long)min, (long long)max);
  *out = number;
  return true;
}

bool json_float(const struct json *j, const char *key, double fallback, double *out, struct err *e) {
  const cJSON *v = get(j, key);
  if (v != NULL && (!cJSON_IsNumber(v) || !isfinite(v->valuedouble)))
    return err_set(e, ERR_INPUT, "%s: \"%s\" must be a number", j->name, key);
  *out = v != NULL ? v->valuedouble : fallback;
  return true;
}

bool json_bool(const struct json *j, const char *key, bool fallback, bool *out, struct err *e) {
  const cJSON *v = get(j, key);
  if (v != NULL && !cJSON_IsBool(v)) return err_set(e, ERR_INPUT, "%s: \"%s\" must be true or false", j->name, key);
  *out = v != NULL ? cJSON_IsTrue(v) : fallback;
  return true;
}

bool json_string(const struct json *j, const char *key, const char *fallback, char *out, size_t n, struct err *e) {
  const cJSON *v = get(j, key);
  if (v != NULL && !cJSON_IsString(v)) return err_set(e, ERR_INPUT, "%s: \"%s\" must be a string", j->name, key);
  const char *text = v != NULL ? v->valuestring : fallback != NULL ? fallback : "";
  if (strlen(text) >= n) return err_set(e, ERR_INPUT, "%s: \"%s\" is longer than %zu bytes", j->name, key, n - 1);
  memcpy(out, text, strlen(text) + 1);
  return true;
}

bool json_ints(const struct json *j, const char *key, int64_t min, int64_t max, int64_t *out, int n, int *n_out, struct err *e) {
  const cJSON *v = get(j, key), *item;
  int count = 0;
  int64_t number = 0;
  *n_out = -1;
  if (v == NULL) return true;
  if (!cJSON_IsArray(v)) {
    if (!node_int(v, min, max, &number)) goto wrong;
    for (int i = 0; i < n; i++) out[i] = number;
    *n_out = 0;
    return true;
  }
  cJSON_ArrayForEach(item, v) {
    if (count == n || !node_int(item, min, max, &out[count])) goto wrong;
    count++;
  }
  if (count == 0) goto wrong;
  *n_out = count;
  return true;
wrong:
  return err_set(e, ERR_INPUT, "%s: \"%s\" must be an integer, or a list of 1 to %d integers, from %lld to %lld", j->name, key, n,
                 (long long)min, (long long)max);
}

bool json_strings(const struct json *j, const char *key, const char **out, int max, int *n_out, struct err *e) {
  const cJSON *v = get(j, key), *item;
  int count = 0;
  *n_out = -1;
  if (v == NULL) return true;
  if (!cJSON_IsArray(v)) return err_set(e, ERR_INPUT, "%s: \"%s\" must be a list of strings", j->name, key);
  cJSON_ArrayForEach(item, v) {
    if (count == max || !cJSON_IsString(item))
      return err_set(e, ERR_INPUT, "%s: \"%s\" must be a list of at most %d strings", j->name, key, max);
    out[count++] = item->valuestring;
  }
  *n_out = count;
  return true;
}

bool json_has(const struct json *j, const char *key) {
  return get(j, key) != NULL;
}

bool json_is_list(const struct json *j, const char *key) {
  return cJSON_IsArray(get(j, key));
}
