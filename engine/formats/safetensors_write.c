#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/output.h"
#include "formats/json_add.h"
#include "formats/safetensors.h"

enum { CHUNK = 16384 }; /* elements converted at a time */

static int by_size_then_name(const void *a, const void *b) {
  const struct st_entry *x = *(const struct st_entry *const *)a, *y = *(const struct st_entry *const *)b;
  size_t sx = x->i64 ? 8 : dtype_size(x->type), sy = y->i64 ? 8 : dtype_size(y->type);
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

static size_t size_of(const struct st_entry *t) {
  return t->i64 ? sizeof(int64_t) : dtype_size(t->type);
}

static const char *type_of(const struct st_entry *t) {
  return t->i64 ? "I64" : dtype_name(t->type);
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
  return json_append(list, cJSON_CreateNumber((double)value));
}

static bool add_entry(cJSON *root, const struct st_entry *t, int64_t *offset) {
  cJSON *entry = cJSON_AddObjectToObject(root, t->name);
  if (entry == NULL || cJSON_AddStringToObject(entry, "dtype", type_of(t)) == NULL) return false;
  cJSON *shape = cJSON_AddArrayToObject(entry, "shape"), *offsets = cJSON_AddArrayToObject(entry, "data_offsets");
  if (shape == NULL || offsets == NULL || !add_number(offsets, *offset)) return false;
  for (int i = 0; i < t->rank; i++)
    if (!add_number(shape, t->dim[i])) return false;
  *offset += count_of(t) * (int64_t)size_of(t);
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

/* Elements [first, first + n) as floats. */
static bool floats_of(const struct st_entry *t, int64_t first, int64_t n, float *out) {
  if (t->data == NULL && t->fill != NULL) return t->fill(t->maker, first, n, out);
  for (int64_t i = 0; i < n; i++) out[i] = load(t->data, t->data_type, first + i);
  return true;
}

/* Floats to the file's type, in place. */
static void convert(enum dtype type, int64_t n, float *x) {
  for (int64_t i = 0; type != DT_F32 && i < n; i++) {
    uint16_t half = type == DT_BF16 ? f32_to_bf16(x[i]) : f32_to_f16(x[i]);
    memcpy((char *)x + 2 * i, &half, sizeof half); /* behind what is still to be read */
  }
}

static bool as_it_is(const struct st_entry *t) {
  return t->i64 || (t->data != NULL && t->type == t->data_type);
}

/* Where the bytes go: a file, or a digest. */
struct dest {
  struct output *file;
  struct sha256 *digest;
};

static bool put(struct dest *d, const void *data, size_t n, struct err *e) {
  if (d->digest != NULL) sha256_add(d->digest, data, n);
  return d->file == NULL || output_write(d->file, data, n, e);
}

static bool write_converted(struct dest *d, const struct st_entry *t, float *buffer, struct err *e) {
  int64_t n = count_of(t);
  for (int64_t first = 0; first < n; first += CHUNK) {
    int64_t part = n - first < CHUNK ? n - first : CHUNK;
    if (!floats_of(t, first, part, buffer)) return err_set(e, ERR_INPUT, "the values of %s cannot be read", t->name);
    convert(t->type, part, buffer);
    if (!put(d, buffer, (size_t)part * dtype_size(t->type), e)) return false;
  }
  return true;
}

static bool write_tensors(struct dest *d, const struct st_entry **t, int n, float *buffer, struct err *e) {
  for (int i = 0; i < n; i++) {
    size_t bytes = (size_t)count_of(t[i]) * size_of(t[i]);
    if (as_it_is(t[i]) ? !put(d, t[i]->data, bytes, e) : !write_converted(d, t[i], buffer, e)) return false;
  }
  return true;
}

static bool write_all(struct output *o, const struct st_entry **t, int n, const char *header, float *buffer, struct err *e) {
  struct dest d = {.file = o};
  return write_header(o, header, e) && write_tensors(&d, t, n, buffer, e);
}

/* In the order of the file; NULL when out of memory. */
static const struct st_entry **sorted_entries(const struct st_entry *t, int n) {
  const struct st_entry **sorted = malloc(((size_t)n + 1) * sizeof *sorted);
  for (int i = 0; sorted != NULL && i < n; i++) sorted[i] = &t[i];
  if (sorted != NULL) qsort(sorted, (size_t)n, sizeof *sorted, by_size_then_name);
  return sorted;
}

bool st_write(const char *path, const struct st_entry *t, int n, const struct st_pair *meta, int n_meta, struct err *e) {
  bool good = false;
  char *header = NULL;
  struct output o;
  const struct st_entry **sorted = sorted_entries(t, n);
  float *buffer = malloc(CHUNK * sizeof *buffer);
  if (sorted == NULL || buffer == NULL) goto memory;
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

bool st_data_hash(const struct st_entry *t, int n, char out[65], struct err *e) {
  const struct st_entry **sorted = sorted_entries(t, n);
  float *buffer = malloc(CHUNK * sizeof *buffer);
  struct sha256 h;
  sha256_begin(&h);
  struct dest d = {.digest = &h};
  bool good = (sorted != NULL && buffer != NULL) || err_set(e, ERR_FIT, "out of memory for the hash of a file");
  good = good && write_tensors(&d, sorted, n, buffer, e);
  sha256_end(&h, out);
  free(sorted);
  free(buffer);
  return good;
}

/* --- reading again what was written -------------------------------------------------------------------------------------------- */

static bool differs(const char *path, const struct st_entry *t, const char *what, struct err *e) {
  return err_set(e, ERR_FAILED, "%s: read again, the tensor %s has %s than was written; is the disk in order?", path, t->name, what);
}

static bool too_large(const char *path, const struct st_entry *t, const float *x, int64_t n, struct err *e) {
  for (int64_t i = 0; i < n; i++) {
    if (isfinite(x[i]) && isinf(f16_to_f32(f32_to_f16(x[i]))))
      return err_set(e, ERR_NUMERIC, "%s: the tensor %s holds %g, which F16 cannot; choose bf16 or fp32", path, t->name, (double)x[i]);
  }
  return true;
}

static bool same_values(const char *path, const struct st_entry *t, const struct st_tensor *have, float *buffer, struct err *e) {
  int64_t n = count_of(t);
  if (as_it_is(t)) return memcmp(t->data, have->data, have->bytes) == 0 || differs(path, t, "other values", e);
  for (int64_t first = 0; first < n; first += CHUNK) {
    int64_t part = n - first < CHUNK ? n - first : CHUNK;
    size_t size = dtype_size(t->type);
    if (!floats_of(t, first, part, buffer)) return err_set(e, ERR_INPUT, "%s: the values of %s cannot be read", path, t->name);
    if (t->type == DT_F16 && !too_large(path, t, buffer, part, e)) return false;
    convert(t->type, part, buffer);
    if (memcmp(buffer, have->data + (size_t)first * size, (size_t)part * size) != 0) return differs(path, t, "other values", e);
  }
  return true;
}

static bool same_tensor(const char *path, const struct st_entry *t, const struct st_tensor *have, float *buffer, struct err *e) {
  if (have == NULL) return err_set(e, ERR_FAILED, "%s: read again, it lacks the tensor %s; is the disk in order?", path, t->name);
  if (strcmp(have->dtype_text, type_of(t)) != 0) return differs(path, t, "another dtype", e);
  bool same = have->rank == t->rank;
  for (int i = 0; same && i < t->rank; i++) same = have->dim[i] == t->dim[i];
  return same ? same_values(path, t, have, buffer, e) : differs(path, t, "another shape", e);
}

static bool same_metadata(const struct st_file *f, const char *key, const char *value, struct err *e) {
  const char *have = st_metadata(f, key);
  if (have != NULL && strcmp(have, value) == 0) return true;
  return err_set(e, ERR_FAILED, "%s: read again, its metadata lack %s; is the disk in order?", st_path(f), key);
}

bool st_check_written(const char *path, const struct st_entry *t, int n, const struct st_pair *meta, int n_meta, struct err *e) {
  struct st_file *f = st_open_path(path, e);
  float *buffer = malloc(CHUNK * sizeof *buffer);
  bool ok = f != NULL && (buffer != NULL || err_set(e, ERR_FIT, "%s: out of memory", path));
  if (ok && st_count(f) != n)
    ok = err_set(e, ERR_FAILED, "%s: read again, it holds %d tensors instead of %d; is the disk in order?", path, st_count(f), n);
  for (int i = 0; ok && i < n; i++) ok = same_tensor(path, &t[i], st_find(f, t[i].name), buffer, e);
  ok = ok && same_metadata(f, "format", "pt", e);
  for (int i = 0; ok && i < n_meta; i++) ok = strcmp(meta[i].key, "format") == 0 || same_metadata(f, meta[i].key, meta[i].value, e);
  free(buffer);
  st_close(f);
  return ok;
}
