#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/output.h"
#include "formats/safetensors.h"

enum { CHUNK = 16384 }; /* elements converted at a time */

static int by_size_then_name(const void *a, const void *b) {
  const struct st_entry *x = *(const struct st_entry *const *)a, *y = *(const struct st_entry *const *)b;
  size_t sx = dtype_size(x->type), sy = dtype_size(y->type);
  return sx != sy ? (sx < sy ? 1 : -1) : strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b) {
  return strcmp((*(const struct st_entry *const *)a)->name, (*(const struct st_entry *const *)b)->name);
}

static int64_t count_of(const struct st_entry *t) {
  int64_t n = 1;
  for (int i = 0; i < t->rank; i++) n *= t->dim[i];
  return n;
}

static bool check(const char *path, const struct st_entry **t, int n, struct err *e) {
  qsort(t, (size_t)n, sizeof *t, by_name);
  for (int i = 0; i < n; i++) {
    bool floats = t[i]->type <= DT_F16 && t[i]->data_type <= DT_F16;
    if (t[i]->type != t[i]->data_type && !floats)
      return err_set(e, ERR_FAILED, "%s: %s cannot be converted from %s to %s", path, t[i]->name, dtype_name(t[i]->data_type),
                     dtype_name(t[i]->type));
    if (strcmp(t[i]->name, "__metadata__") == 0 || (i > 0 && strcmp(t[i - 1]->name, t[i]->name) == 0))
      return err_set(e, ERR_FAILED, "%s: the tensor name %s is used twice or reserved", path, t[i]->name);
  }
  return true;
}

static bool add_metadata(cJSON *root, const struct st_pair *meta, int n) {
  cJSON *m = cJSON_AddObjectToObject(root, "__metadata__");
  bool good = m != NULL && cJSON_AddStringToObject(m, "format", "pt") != NULL;
  for (int i = 0; i < n && good; i++)
    if (strcmp(meta[i].key, "format") != 0) good = cJSON_AddStringToObject(m, meta[i].key, meta[i].value) != NULL;
  return good;
}

static bool add_number(cJSON *list, int64_t value) {
  cJSON *number = cJSON_CreateNumber((double)value);
  return number != NULL && cJSON_AddItemToArray(list, number);
}

static bool add_entry(cJSON *root, const struct st_entry *t, int64_t *offset) {
  cJSON *entry = cJSON_AddObjectToObject(root, t->name);
  if (entry == NULL || cJSON_AddStringToObject(entry, "dtype", dtype_name(t->type)) == NULL) return false;
  cJSON *shape = cJSON_AddArrayToObject(entry, "shape"), *offsets = cJSON_AddArrayToObject(entry, "data_offsets");
  if (shape == NULL || offsets == NULL || !add_number(offsets, *offset)) return false;
  for (int i = 0; i < t->rank; i++)
    if (!add_number(shape, t->dim[i])) return false;
  *offset += count_of(t) * (int64_t)dtype_size(t->type);
  return add_number(offsets, *offset);
}

/* Header text without its length; NULL when out of memory. To be released with cJSON_free. */
static char *make_header(const struct st_entry **t, int n, const struct st_pair *meta, int n_meta) {
  char *text = NULL;
  int64_t offset = 0;
  cJSON *root = cJSON_CreateObject();
  if (root == NULL || !add_metadata(root, meta, n_meta)) goto done;
  for (int i = 0; i < n; i++)
    if (!add_entry(root, t[i], &offset)) goto done;
  text = cJSON_PrintUnformatted(root);
done:
  cJSON_Delete(root);
  return text;
}

static bool write_header(struct output *o, const char *text, struct err *e) {
  size_t n = strlen(text), padded = (n + 7) / 8 * 8;
  unsigned char length[8];
  for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)padded >> (8 * i));
  return output_write(o, length, sizeof length, e) && output_write(o, text, n, e) && output_write(o, "       ", padded - n, e);
}

static float load(const void *data, enum dtype type, int64_t i) {
  if (type == DT_F32) return ((const float *)data)[i];
  return type == DT_BF16 ? bf16_to_f32(((const uint16_t *)data)[i]) : f16_to_f32(((const uint16_t *)data)[i]);
}

static bool write_converted(struct output *o, const struct st_entry *t, void *buffer, struct err *e) {
  int64_t n = count_of(t);
  for (int64_t first = 0; first < n; first += CHUNK) {
    int64_t part = n - first < CHUNK ? n - first : CHUNK;
    for (int64_t i = 0; i < part; i++) {
      float x = load(t->data, t->data_type, first + i);
      if (t->type == DT_F32)
        ((float *)buffer)[i] = x;
      else
        ((uint16_t *)buffer)[i] = t->type == DT_BF16 ? f32_to_bf16(x) : f32_to_f16(x);
    }
    if (!output_write(o, buffer, (size_t)part * dtype_size(t->type), e)) return false;
  }
  return true;
}

static bool write_all(struct output *o, const struct st_entry **t, int n, const char *header, void *buffer, struct err *e) {
  if (!write_header(o, header, e)) return false;
  for (int i = 0; i < n; i++) {
    bool same = t[i]->type == t[i]->data_type;
    size_t bytes = (size_t)count_of(t[i]) * dtype_size(t[i]->type);
    if (same ? !output_write(o, t[i]->data, bytes, e) : !write_converted(o, t[i], buffer, e)) return false;
  }
  return true;
}

bool st_write(const char *path, const struct st_entry *t, int n, const struct st_pair *meta, int n_meta, struct err *e) {
  bool good = false;
  char *header = NULL;
  struct output o;
  const struct st_entry **sorted = malloc(((size_t)n + 1) * sizeof *sorted);
  void *buffer = malloc(CHUNK * sizeof(float));
  if (sorted == NULL || buffer == NULL) goto memory;
  for (int i = 0; i < n; i++) sorted[i] = &t[i];
  if (!check(path, sorted, n, e)) goto done;
  qsort(sorted, (size_t)n, sizeof *sorted, by_size_then_name);
  header = make_header(sorted, n, meta, n_meta);
  if (header == NULL) goto memory;
  if (output_open(&o, path, e)) good = output_close(&o, write_all(&o, sorted, n, header, buffer, e), e);
  goto done;
memory:
  err_set(e, ERR_FIT, "%s: out of memory", path);
done:
  cJSON_free(header);
  free(sorted);
  free(buffer);
  return good;
}
