#include "formats/safetensors.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/json.h"

enum { HEADER_MAX = 100000000 }; /* as the reference reader */

struct st_file {
  struct blob blob;
  struct json *header; /* names point into it */
  char *path;
  struct st_tensor *tensor; /* [n], by name */
  int n;
  char **own_name; /* [n], of a view; NULL: the names are the header's */
};

struct st_set {
  struct st_file **file; /* [n] */
  int n;
};

/* Every type of the format: the ones without an enum are listed so that a file that holds them is still checked. */
struct type_row {
  const char *text;
  unsigned char bits;
  signed char type; /* enum dtype, -1: not computed with */
};
static const struct type_row types[] = {
    {"F32", 32, DT_F32}, {"F16", 16, DT_F16}, {"BF16", 16, DT_BF16}, {"I32", 32, DT_I32}, {"U8", 8, DT_U8},
    {"F64", 64, -1},     {"I64", 64, -1},     {"I16", 16, -1},       {"I8", 8, -1},       {"U64", 64, -1},
    {"U32", 32, -1},     {"U16", 16, -1},     {"BOOL", 8, -1},       {"C64", 64, -1},     {"F8_E5M2", 8, -1},
    {"F8_E4M3", 8, -1},  {"F8_E8M0", 8, -1},  {"F4", 4, -1},         {"F6_E2M3", 6, -1},  {"F6_E3M2", 6, -1},
};

static const struct type_row *find_type(const char *text) {
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (strcmp(types[i].text, text) == 0) return &types[i];
  return NULL;
}

/* A whole number that a double holds exactly and that is not negative. */
static bool whole(const cJSON *v, int64_t *out) {
  double d = cJSON_IsNumber(v) ? v->valuedouble : -1;
  if (!(d >= 0 && d <= 0x1p53) || floor(d) != d) return false;
  *out = (int64_t)d;
  return true;
}

static bool read_shape(const cJSON *shape, struct st_tensor *t, int64_t *count) {
  const cJSON *item;
  if (!cJSON_IsArray(shape)) return false;
  *count = 1;
  cJSON_ArrayForEach(item, shape) {
    if (t->rank == 8 || !whole(item, &t->dim[t->rank]) || __builtin_mul_overflow(*count, t->dim[t->rank], count)) return false;
    t->rank++;
  }
  return true;
}

static bool read_type(const cJSON *entry, struct st_tensor *t, int *bits) {
  const cJSON *v = cJSON_GetObjectItemCaseSensitive(entry, "dtype");
  const struct type_row *row = cJSON_IsString(v) ? find_type(v->valuestring) : NULL;
  if (row == NULL) return false;
  snprintf(t->dtype_text, sizeof t->dtype_text, "%s", row->text);
  t->known_type = row->type >= 0;
  t->type = row->type >= 0 ? (enum dtype)row->type : DT_U8;
  *bits = row->bits;
  return true;
}

/* One header entry into t; data: the area behind the header, size bytes. Returns NULL, or what is wrong with it. */
static const char *read_entry(const cJSON *entry, const unsigned char *data, size_t size, struct st_tensor *t) {
  int64_t begin = 0, end = 0, count = 0, bit_count = 0;
  int bits = 0;
  const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(entry, "data_offsets");
  t->name = entry->string;
  if (!cJSON_IsObject(entry) || entry->string == NULL) return "is not a tensor description";
  if (!read_type(entry, t, &bits)) return "has an unknown dtype";
  if (!read_shape(cJSON_GetObjectItemCaseSensitive(entry, "shape"), t, &count)) return "has a shape that is not a list of at most 8 sizes";
  if (cJSON_GetArraySize(offsets) != 2 || !whole(offsets->child, &begin) || !whole(offsets->child->next, &end) || end < begin)
    return "has damaged data_offsets";
  if ((uint64_t)end > size) return "ends beyond the end of the file (is the download complete?)";
  if (__builtin_mul_overflow(count, bits, &bit_count) || bit_count % 8 != 0 || bit_count / 8 != end - begin)
    return "has data_offsets that do not match its dtype and shape";
  t->data = data + begin;
  t->bytes = (size_t)(end - begin);
  return NULL;
}

static bool check_metadata(const struct st_file *f, const cJSON *meta, struct err *e) {
  const cJSON *item;
  if (!cJSON_IsObject(meta)) return err_set(e, ERR_INPUT, "%s: __metadata__ is not an object", f->path);
  cJSON_ArrayForEach(item, meta) {
    if (!cJSON_IsString(item)) return err_set(e, ERR_INPUT, "%s: __metadata__ holds a value that is not text", f->path);
  }
  return true;
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const struct st_tensor *)a)->name, ((const struct st_tensor *)b)->name);
}

static int by_data(const void *a, const void *b) {
  const struct st_tensor *x = a, *y = b;
  if (x->data != y->data) return x->data < y->data ? -1 : 1;
  return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* Contiguous, nothing shared, nothing left over; leaves the tensors sorted by name. */
static bool check_layout(struct st_file *f, const unsigned char *data, size_t size, struct err *e) {
  const unsigned char *at = data;
  qsort(f->tensor, (size_t)f->n, sizeof *f->tensor, by_data);
  for (int i = 0; i < f->n; i++) {
    const struct st_tensor *t = &f->tensor[i];
    if (t->data != at)
      return err_set(e, ERR_INPUT, "%s: tensor %s %s", f->path, t->name, t->data < at ? "overlaps another one" : "leaves a hole before it");
    at += t->bytes;
  }
  if (at != data + size) return err_set(e, ERR_INPUT, "%s: %zu bytes behind the last tensor", f->path, (size_t)(data + size - at));
  qsort(f->tensor, (size_t)f->n, sizeof *f->tensor, by_name);
  for (int i = 1; i < f->n; i++)
    if (strcmp(f->tensor[i - 1].name, f->tensor[i].name) == 0)
      return err_set(e, ERR_INPUT, "%s: two tensors are named %s", f->path, f->tensor[i].name);
  return true;
}

static bool read_entries(struct st_file *f, const unsigned char *data, size_t size, struct err *e) {
  const cJSON *root = json_node(f->header), *item;
  int metadata = 0;
  if (!cJSON_IsObject(root)) return err_set(e, ERR_INPUT, "%s: the header is not a JSON object", f->path);
  f->tensor = calloc((size_t)cJSON_GetArraySize(root) + 1, sizeof *f->tensor);
  if (f->tensor == NULL) return err_set(e, ERR_FIT, "%s: out of memory", f->path);
  cJSON_ArrayForEach(item, root) {
    if (strcmp(item->string, "__metadata__") == 0) {
      if (metadata++ > 0 || !check_metadata(f, item, e)) return err_set(e, ERR_INPUT, "%s: __metadata__ stands there twice", f->path);
      continue;
    }
    const char *wrong = read_entry(item, data, size, &f->tensor[f->n++]);
    if (wrong != NULL) return err_set(e, ERR_INPUT, "%s: tensor %s %s", f->path, item->string, wrong);
  }
  return check_layout(f, data, size, e);
}

static bool read_header(struct st_file *f, struct err *e) {
  const unsigned char *d = f->blob.data;
  uint64_t n = 0;
  if (f->blob.size < 8) return err_set(e, ERR_INPUT, "%s: not a safetensors file: shorter than its header", f->path);
  for (int i = 0; i < 8; i++) n |= (uint64_t)d[i] << (8 * i);
  if (n > HEADER_MAX || n > f->blob.size - 8 || n < 2 || d[8] != '{')
    return err_set(e, ERR_INPUT, "%s: not a safetensors file, or truncated: its header length is %llu, the file has %zu bytes", f->path,
                   (unsigned long long)n, f->blob.size);
  f->header = json_parse(d + 8, (size_t)n, f->path, e);
  return f->header != NULL && read_entries(f, d + 8 + n, f->blob.size - 8 - (size_t)n, e);
}

/* Takes over b. */
static struct st_file *open_blob(struct blob b, const char *path, struct err *e) {
  struct st_file *f = calloc(1, sizeof *f);
  if (f == NULL || (f->path = strdup(path)) == NULL) {
    err_set(e, ERR_FIT, "%s: out of memory", path);
    blob_close(&b);
    free(f);
    return NULL;
  }
  f->blob = b;
  if (read_header(f, e)) return f;
  st_close(f);
  return NULL;
}

struct st_file *st_open(const struct source *s, const char *relative, struct err *e) {
  char name[5200];
  struct blob b;
  if (!source_open(s, relative, &b, e)) return NULL;
  return open_blob(b, source_name(s, relative, name, sizeof name), e);
}

struct st_file *st_open_path(const char *path, struct err *e) {
  struct blob b;
  return blob_map(path, &b, e) ? open_blob(b, path, e) : NULL;
}

void st_forget(const struct st_file *f) {
  blob_forget(&f->blob);
}

struct st_file *st_open_bytes(const void *data, size_t size, const char *name, struct err *e) {
  return open_blob((struct blob){.data = data, .size = size}, name, e);
}

static bool fill_view(struct st_file *f, const struct st_tensor *t, int n) {
  f->tensor = calloc((size_t)n + 1, sizeof *f->tensor);
  f->own_name = calloc((size_t)n + 1, sizeof *f->own_name);
  if (f->tensor == NULL || f->own_name == NULL) return false;
  for (f->n = 0; f->n < n; f->n++) {
    f->own_name[f->n] = strdup(t[f->n].name);
    if (f->own_name[f->n] == NULL) return false;
    f->tensor[f->n] = t[f->n];
    f->tensor[f->n].name = f->own_name[f->n];
  }
  qsort(f->tensor, (size_t)n, sizeof *f->tensor, by_name);
  return true;
}

struct st_file *st_view(const char *path, const struct st_tensor *t, int n, struct err *e) {
  struct st_file *f = calloc(1, sizeof *f);
  if (f != NULL) f->path = strdup(path);
  if (f != NULL && f->path != NULL && fill_view(f, t, n)) return f;
  err_set(e, ERR_FIT, "%s: out of memory", path);
  st_close(f);
  return NULL;
}

void st_close(struct st_file *f) {
  if (f == NULL) return;
  for (int i = 0; f->own_name != NULL && i < f->n; i++) free(f->own_name[i]);
  free(f->own_name);
  json_close(f->header);
  blob_close(&f->blob);
  free(f->tensor);
  free(f->path);
  free(f);
}

const char *st_path(const struct st_file *f) {
  return f->path;
}

int st_count(const struct st_file *f) {
  return f->n;
}

const struct st_tensor *st_at(const struct st_file *f, int i) {
  return &f->tensor[i];
}

const struct st_tensor *st_find(const struct st_file *f, const char *name) {
  struct st_tensor key = {.name = name};
  return bsearch(&key, f->tensor, (size_t)f->n, sizeof key, by_name);
}

static const cJSON *metadata(const struct st_file *f) {
  return f->header != NULL ? cJSON_GetObjectItemCaseSensitive(json_node(f->header), "__metadata__") : NULL;
}

bool st_metadata_at(const struct st_file *f, int i, const char **key, const char **value) {
  const cJSON *item = cJSON_GetArrayItem(metadata(f), i);
  if (item == NULL) return false;
  *key = item->string;
  *value = item->valuestring;
  return true;
}

size_t st_header_bytes(const struct st_file *f) {
  uint64_t n = 0;
  for (int i = 0; f->blob.size >= 8 && i < 8; i++) n |= (uint64_t)f->blob.data[i] << (8 * i);
  return 8 + (size_t)n;
}

size_t st_bytes(const struct st_file *f) {
  return f->blob.size;
}

const unsigned char *st_data(const struct st_file *f) {
  return f->blob.data;
}

int64_t st_elements(const struct st_tensor *t) {
  int64_t n = 1;
  for (int i = 0; i < t->rank; i++) n *= t->dim[i];
  return n;
}

const char *st_shape(int rank, const int64_t *dim, char out[128]) {
  size_t used = (size_t)snprintf(out, 128, "[");
  for (int i = 0; i < rank && used < 100; i++)
    used += (size_t)snprintf(out + used, 128 - used, "%s%lld", i > 0 ? ", " : "", (long long)dim[i]);
  snprintf(out + used, 128 - used, "]");
  return out;
}

const char *st_metadata(const struct st_file *f, const char *key) {
  return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(metadata(f), key));
}

#define CONVERT(type, expression)                    \
  for (int64_t i = 0; i < count; i++) {              \
    type x;                                          \
    memcpy(&x, at + (size_t)i * sizeof x, sizeof x); \
    out[i] = expression;                             \
  }

enum { BLOCK = 32 };

/* f16_to_f32 without branches, in blocks of fixed length, which compilers vectorise: four times as fast on a whole network. */
static void floats_of_halves(const unsigned char *at, int64_t count, float *out) {
  int64_t i = 0;
  for (; i + BLOCK <= count; i += BLOCK) {
    uint16_t half[BLOCK];
    uint32_t bits[BLOCK];
    memcpy(half, at + (size_t)i * 2, sizeof half);
    for (int k = 0; k < BLOCK; k++) {
      uint32_t h = half[k], low = h & 0x7fff, normal = (low << 13) + (low >= 0x7c00 ? 224u << 23 : 112u << 23);
      float tiny = (float)(int32_t)low * 0x1p-24f; /* exact below 2^-14, where it is used */
      uint32_t tiny_bits;
      memcpy(&tiny_bits, &tiny, sizeof tiny);
      bits[k] = (h & 0x8000) << 16 | (low < 0x400 ? tiny_bits : normal);
    }
    memcpy(out + i, bits, sizeof bits);
  }
  for (; i < count; i++) {
    uint16_t x;
    memcpy(&x, at + (size_t)i * 2, sizeof x);
    out[i] = f16_to_f32(x);
  }
}

bool st_floats(const struct st_tensor *t, int64_t first, int64_t count, float *out) {
  int64_t total = st_elements(t);
  if (first < 0 || count < 0 || first > total || count > total - first) return false;
  const unsigned char *at = t->data + (total > 0 ? (size_t)first * (t->bytes / (size_t)total) : 0);
  if (strcmp(t->dtype_text, "F32") == 0)
    memcpy(out, at, (size_t)count * sizeof *out);
  else if (strcmp(t->dtype_text, "BF16") == 0)
    CONVERT(uint16_t, bf16_to_f32(x))
  else if (strcmp(t->dtype_text, "F16") == 0)
    floats_of_halves(at, count, out);
  else if (strcmp(t->dtype_text, "F64") == 0)
    CONVERT(double, (float)x)
  else if (strcmp(t->dtype_text, "I32") == 0)
    CONVERT(int32_t, (float)x)
  else if (strcmp(t->dtype_text, "I64") == 0)
    CONVERT(int64_t, (float)x)
  else
    return false;
  return true;
}

static bool set_add(struct st_set *set, const struct source *s, const char *relative, struct err *e) {
  struct st_file **bigger = realloc(set->file, ((size_t)set->n + 1) * sizeof(struct st_file *));
  if (bigger == NULL) return err_set(e, ERR_FIT, "%s: out of memory", relative);
  set->file = bigger;
  struct st_file *f = st_open(s, relative, e);
  if (f == NULL) return false;
  set->file[set->n++] = f;
  return true;
}

static const struct st_file *set_file_named(const struct st_set *set, const char *path) {
  for (int i = 0; i < set->n; i++)
    if (strcmp(set->file[i]->path, path) == 0) return set->file[i];
  return NULL;
}

/* One row of the index: opens the shard when it is new, and checks that it does hold the tensor. */
static bool add_shard(struct st_set *set, const struct source *s, const char *dir, const cJSON *row, const char *index, struct err *e) {
  char relative[1024], path[5200];
  const char *shard = cJSON_GetStringValue(row);
  if (shard == NULL || shard[0] == 0 || shard[0] == '.' || strchr(shard, '/') != NULL)
    return err_set(e, ERR_INPUT, "%s: the file named for %s is not a plain file name", index, row->string);
  if (snprintf(relative, sizeof relative, "%s%s%s", dir, dir[0] != 0 ? "/" : "", shard) >= (int)sizeof relative)
    return err_set(e, ERR_INPUT, "%s: the file name for %s is too long", index, row->string);
  source_name(s, relative, path, sizeof path);
  if (set_file_named(set, path) == NULL && !set_add(set, s, relative, e)) return false;
  if (st_find(set_file_named(set, path), row->string) == NULL)
    return err_set(e, ERR_INPUT, "%s: %s lacks the tensor %s that the index places there", index, path, row->string);
  return true;
}

static bool open_index(struct st_set *set, const struct source *s, const char *dir, const char *relative, struct err *e) {
  struct json *index = json_open(s, relative, e);
  if (index == NULL) return false;
  const cJSON *map = cJSON_GetObjectItemCaseSensitive(json_node(index), "weight_map"), *row;
  bool good = cJSON_IsObject(map) || err_set(e, ERR_INPUT, "%s: no weight_map", json_name(index));
  cJSON_ArrayForEach(row, map) {
    good = good && add_shard(set, s, dir, row, json_name(index), e);
  }
  if (good && set->n == 0) good = err_set(e, ERR_INPUT, "%s: its weight_map is empty", json_name(index));
  json_close(index);
  return good;
}

/* Python's old files: unet/diffusion_pytorch_model.bin, text_encoder/pytorch_model.bin. */
static bool has_pickle(const struct source *s, const char *dir) {
  static const char *const name[] = {"diffusion_pytorch_model.bin", "pytorch_model.bin"};
  char relative[1024];
  for (int i = 0; i < 2; i++) {
    snprintf(relative, sizeof relative, "%.900s%s%s", dir, dir[0] != 0 ? "/" : "", name[i]);
    if (source_has(s, relative)) return true;
  }
  return false;
}

static bool missing(const struct source *s, const char *dir, const char *stem, struct err *e) {
  char path[5200];
  const char *note = has_pickle(s, dir) ? "; the .bin file there is a Python pickle, which is not read: save the model again with "
                                          "safe_serialization=True"
                                        : "";
  source_name(s, stem, path, sizeof path);
  return err_set(e, ERR_INPUT, "%s.safetensors: missing (nor is there a .safetensors.index.json or .fp16.safetensors)%s", path, note);
}

static bool set_fill(struct st_set *set, const struct source *s, const char *dir, const char *base, struct err *e) {
  static const char *const ending[] = {".safetensors", ".safetensors.index.json", ".fp16.safetensors"};
  char relative[3][1024], stem[1024];
  if (snprintf(stem, sizeof stem, "%s%s%s", dir, dir[0] != 0 ? "/" : "", base) >= (int)sizeof stem - 32)
    return err_set(e, ERR_INPUT, "%.200s: the name is too long", dir);
  for (int i = 0; i < 3; i++) snprintf(relative[i], sizeof relative[i], "%.990s%s", stem, ending[i]);
  if (source_has(s, relative[0])) return set_add(set, s, relative[0], e);
  if (source_has(s, relative[1])) return open_index(set, s, dir, relative[1], e);
  if (source_has(s, relative[2])) return set_add(set, s, relative[2], e);
  return missing(s, dir, stem, e);
}

struct st_set *st_set_open(const struct source *s, const char *dir, const char *base, struct err *e) {
  struct st_set *set = calloc(1, sizeof *set);
  if (set == NULL) {
    err_set(e, ERR_FIT, "%s: out of memory", dir);
    return NULL;
  }
  if (set_fill(set, s, dir, base, e)) return set;
  st_set_close(set);
  return NULL;
}

struct st_set *st_set_of(struct st_file *f, struct err *e) {
  struct st_set *set = f != NULL ? calloc(1, sizeof *set) : NULL;
  if (set != NULL) set->file = malloc(sizeof(struct st_file *));
  if (set != NULL && set->file != NULL) {
    set->file[set->n++] = f;
    return set;
  }
  if (f != NULL) err_set(e, ERR_FIT, "%s: out of memory", f->path);
  st_close(f);
  free(set);
  return NULL;
}

void st_set_close(struct st_set *s) {
  if (s == NULL) return;
  for (int i = 0; i < s->n; i++) st_close(s->file[i]);
  free(s->file);
  free(s);
}

const struct st_tensor *st_set_find(const struct st_set *s, const char *name) {
  for (int i = 0; i < s->n; i++) {
    const struct st_tensor *t = st_find(s->file[i], name);
    if (t != NULL) return t;
  }
  return NULL;
}

void st_set_forget(const struct st_set *s) {
  for (int i = 0; i < s->n; i++) st_forget(s->file[i]);
}

int st_set_files(const struct st_set *s) {
  return s->n;
}

const struct st_file *st_set_file(const struct st_set *s, int i) {
  return s->file[i];
}
