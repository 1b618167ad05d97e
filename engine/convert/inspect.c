/* engine_inspect (interchange.h): what a path is, by its contents; what is in it; what is wrong with it. */
#include "convert/inspect.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "convert/ldm_shape.h"
#include "convert/lora_list.h"
#include "formats/npy.h"

enum { MANY_PROBLEMS = 40, CHUNK = 4096 };

/* --- texts and lists -------------------------------------------------------------------------------------------------------------- */

struct inspected_text {
  struct inspected_text *next;
  char text[];
};

static char *keep(struct inspector *k, const char *text, size_t n) {
  struct inspected_text *t = malloc(sizeof *t + n + 1);
  if (!t) {
    k->failed = true;
    return NULL;
  }
  memcpy(t->text, text, n);
  t->text[n] = 0;
  t->next = k->out->texts;
  k->out->texts = t;
  return t->text;
}

const char *inspect_text(struct inspector *k, const char *fmt, ...) {
  char text[4600];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  const char *copy = keep(k, text, strlen(text));
  return copy ? copy : "";
}

/* Room for one more in a list of n; NULL when out of memory. */
static void *more(struct inspector *k, void *list, int n, size_t size) {
  if (n > 0 && (n & (n - 1)) != 0) return list; /* grown by doubling: only at powers of two */
  void *bigger = realloc(list, size * (n > 0 ? 2 * (size_t)n : 1));
  if (!bigger) k->failed = true;
  return bigger;
}

static void add_line(struct inspector *k, const char ***list, int *n, const char *text, size_t length) {
  const char **bigger = k->failed ? NULL : more(k, (void *)*list, *n, sizeof *bigger);
  if (!bigger) return;
  *list = bigger;
  const char *copy = keep(k, text, length);
  if (copy) bigger[(*n)++] = copy;
}

void inspect_problem(struct inspector *k, const char *text) {
  struct inspection *o = k->out;
  if (o->problems < MANY_PROBLEMS) add_line(k, &o->problem, &o->problems, text, strlen(text));
  if (o->problems == MANY_PROBLEMS) {
    static const char rest[] = "there are more problems than these";
    add_line(k, &o->problem, &o->problems, rest, sizeof rest - 1);
  }
}

void inspect_notes(struct inspector *k, const char *lines) {
  while (*lines) {
    size_t n = strcspn(lines, "\n");
    add_line(k, &k->out->note, &k->out->notes, lines, n);
    lines += n + (lines[n] == '\n');
  }
}

void inspect_meta(struct inspector *k, const char *key, const char *value, size_t n) {
  struct inspection *o = k->out;
  for (int i = 0; i < o->metas; i++) /* the parts of a directory repeat themselves */
    if (strcmp(o->meta[i].key, key) == 0 && strlen(o->meta[i].value) == n && memcmp(o->meta[i].value, value, n) == 0) return;
  struct st_pair *bigger = k->failed ? NULL : more(k, o->meta, o->metas, sizeof *bigger);
  if (!bigger) return;
  o->meta = bigger;
  const char *a = keep(k, key, strlen(key)), *b = a ? keep(k, value, n) : NULL;
  if (b) bigger[o->metas++] = (struct st_pair){a, b};
}

/* --- tensors ----------------------------------------------------------------------------------------------------------------------- */

static int64_t not_finite(const struct st_tensor *t) {
  float x[CHUNK];
  int64_t n = st_elements(t), bad = 0;
  bool floats = strcmp(t->dtype_text, "F32") == 0 || strcmp(t->dtype_text, "F16") == 0 || strcmp(t->dtype_text, "BF16") == 0 ||
                strcmp(t->dtype_text, "F64") == 0;
  for (int64_t first = 0; floats && first < n; first += CHUNK) {
    int64_t part = n - first < CHUNK ? n - first : CHUNK;
    if (!st_floats(t, first, part, x)) break;
    for (int64_t i = 0; i < part; i++) bad += !isfinite(x[i]);
  }
  return bad;
}

static void count_dtype(struct inspection *o, const struct inspected_tensor *t) {
  int i = 0;
  while (i < o->dtypes && strcmp(o->dtype[i].dtype, t->dtype) != 0) i++;
  if (i == INSPECT_DTYPES) return;
  if (i == o->dtypes) o->dtype[o->dtypes++].dtype = t->dtype;
  o->dtype[i].tensors++;
  o->dtype[i].elements += t->elements;
}

static void add_tensor(struct inspector *k, const struct st_tensor *t, const char *relative) {
  struct inspection *o = k->out;
  char shape[128];
  struct inspected_tensor *bigger = k->failed ? NULL : more(k, o->tensor, o->tensors, sizeof *bigger);
  if (!bigger) return;
  o->tensor = bigger;
  struct inspected_tensor *n = &bigger[o->tensors];
  *n = (struct inspected_tensor){.file = relative,
                                 .name = inspect_text(k, "%s", t->name),
                                 .dtype = inspect_text(k, "%s", t->dtype_text),
                                 .shape = inspect_text(k, "%s", st_shape(t->rank, t->dim, shape)),
                                 .elements = st_elements(t),
                                 .not_finite = not_finite(t)};
  if (k->failed) return;
  o->tensors++;
  count_dtype(o, n);
  if (n->not_finite > 0)
    inspect_problem(k, inspect_text(k, "the tensor \"%s\" holds %lld values that are not finite", n->name, (long long)n->not_finite));
}

static void hash_file(struct inspector *k, const struct st_file *f) {
  struct sha256 whole, data;
  char text[65];
  size_t header = st_header_bytes(f);
  sha256_begin(&whole);
  sha256_add(&whole, st_data(f), header);
  data = whole;
  sha256_begin(&data);
  for (size_t at = header; at < st_bytes(f); at += 1 << 20) { /* both in one pass over the file */
    size_t n = st_bytes(f) - at < 1 << 20 ? st_bytes(f) - at : 1 << 20;
    sha256_add(&whole, st_data(f) + at, n);
    sha256_add(&data, st_data(f) + at, n);
  }
  sha256_end(&whole, text);
  k->out->sha256 = inspect_text(k, "%s", text);
  sha256_end(&data, text);
  k->out->tensors_sha256 = inspect_text(k, "%s", text);
  const char *claim = st_metadata(f, "sshs_model_hash"), *spec = st_metadata(f, "modelspec.hash_sha256");
  if (claim && strcmp(claim, text) != 0)
    inspect_problem(k, "its metadata's sshs_model_hash is not that of its tensors: they were changed after it was written");
  if (spec && strncmp(spec, "0x", 2) == 0 && strcmp(spec + 2, text) != 0)
    inspect_problem(k, "its metadata's modelspec.hash_sha256 is not that of its tensors: they were changed after it was written");
}

void inspect_st_file(struct inspector *k, const struct st_file *f, const char *relative, bool whole) {
  const char *key, *value;
  k->out->bytes += (int64_t)st_bytes(f);
  for (int i = 0; i < st_count(f); i++) add_tensor(k, st_at(f, i), relative);
  for (int i = 0; st_metadata_at(f, i, &key, &value); i++) inspect_meta(k, key, value, strlen(value));
  if (whole) hash_file(k, f);
}

/* --- other files -------------------------------------------------------------------------------------------------------------------- */

static void is(struct inspector *k, const char *kind, const char *description) {
  k->out->kind = kind;
  k->out->description = description;
}

static void inspect_picture(struct inspector *k, const struct blob *b) {
  struct image im;
  struct err e = {0};
  const char *key, *value;
  size_t n;
  is(k, "picture", "a picture");
  if (!image_decode(b, k->path, &im, &e)) {
    inspect_problem(k, e.text);
    return;
  }
  k->out->width = im.w;
  k->out->height = im.h;
  image_release(&im);
  if (b->data[0] != 0x89) return;
  for (int i = 0; image_png_text_at(b, i, &key, &value, &n); i++) inspect_meta(k, key, value, n);
  if (k->out->metas > 0) k->out->description = "a PNG picture with text: what it was made with";
}

static void inspect_npy(struct inspector *k) {
  struct npy a;
  struct err e = {0};
  char shape[128];
  is(k, "npy", "an array of NumPy");
  if (npy_read(k->path, &a, &e))
    k->out->architecture = inspect_text(k, "shape %s", st_shape(a.rank, a.dim, shape));
  else
    inspect_problem(k, e.text);
  npy_release(&a);
}

static bool begins(const struct blob *b, const void *magic, size_t n) {
  return b->size >= n && memcmp(b->data, magic, n) == 0;
}

static bool is_safetensors(const struct blob *b, const char *path) {
  const char *dot = strrchr(path, '.');
  return (dot && strcmp(dot, ".safetensors") == 0) || (b->size > 8 && b->data[8] == '{' && b->data[7] == 0 && b->data[6] == 0);
}

static bool is_text(const struct blob *b) {
  for (size_t i = 0; i < b->size && i < 4096; i++)
    if (b->data[i] < 9 || (b->data[i] > 13 && b->data[i] < 32)) return false;
  return b->size > 0;
}

static void inspect_other(struct inspector *k, const struct blob *b) {
  if (begins(b, "\x89PNG\r\n\x1a\n", 8) || begins(b, "\xff\xd8\xff", 3) ||
      (begins(b, "RIFF", 4) && b->size > 12 && memcmp(b->data + 8, "WEBP", 4) == 0)) {
    inspect_picture(k, b);
  } else if (begins(b, "\x93NUMPY", 6)) {
    inspect_npy(k);
  } else if (begins(b, "PK\3\4", 4) || begins(b, "\x80\2", 2)) {
    is(k, "pickle", "a Python pickle (.ckpt, .pt, .bin)");
    inspect_problem(k, "this program reads no pickles, which can run code: convert it to .safetensors");
  } else if (begins(b, "GGUF", 4)) {
    is(k, "gguf", "a GGUF file");
    inspect_problem(k, "this program reads no GGUF files");
  } else if (is_text(b)) {
    is(k, "text", "a text file");
  } else {
    is(k, "unknown", "a file of an unknown kind");
    inspect_problem(k, "it is no safetensors file, picture or array that this program knows");
  }
}

static void inspect_safetensors(struct inspector *k) {
  struct err e = {0};
  struct st_file *f = st_open_path(k->path, &e);
  is(k, "safetensors", "a safetensors file");
  if (!f) {
    inspect_problem(k, e.text);
    return;
  }
  inspect_st_file(k, f, "", true);
  bool lora = lora_file_is(f);
  if (ldm_is_single_file(f)) {
    inspect_single_file(k, f);
    return;
  }
  st_close(f);
  if (lora) inspect_lora(k);
}

static void inspect_file(struct inspector *k, struct err *e) {
  struct blob b;
  if (!blob_map(k->path, &b, e)) return;
  if (is_safetensors(&b, k->path)) {
    inspect_safetensors(k);
  } else {
    char hash[65];
    k->out->bytes = (int64_t)b.size;
    sha256_hex(b.data, b.size, hash);
    k->out->sha256 = inspect_text(k, "%s", hash);
    inspect_other(k, &b);
  }
  blob_close(&b);
}

static void inspect_folder(struct inspector *k) {
  struct source s;
  source_dir(&s, k->path);
  if (lora_is(k->path)) {
    inspect_lora(k);
  } else if (source_has(&s, "unet/config.json") || source_has(&s, "model_index.json") || source_has(&s, "vae/config.json")) {
    inspect_directory(k);
  } else if (source_has(&s, "profile.ini")) {
    is(k, "run", "a run directory of this program; its models are in checkpoints/");
  } else {
    is(k, "directory", "a directory");
    inspect_problem(
        k,
        "it holds no model, no LoRA and no run: no unet/config.json, adapter_config.json, pytorch_lora_weights.safetensors or profile.ini");
  }
}

bool engine_inspect(const char *path, const char *config, const struct embedded_file *embedded, struct inspection *out, struct err *e) {
  struct stat st;
  *out = (struct inspection){.kind = "", .description = "", .architecture = "", .sha256 = "", .tensors_sha256 = "", .model_hash = ""};
  struct inspector k = {.out = out, .path = path, .config = config, .embedded = embedded};
  if (stat(path, &st) != 0) return err_set_errno(e, ERR_INPUT, "%s: cannot be read", path);
  struct err local = {0};
  if (S_ISDIR(st.st_mode))
    inspect_folder(&k);
  else
    inspect_file(&k, &local);
  if (k.failed) err_set(&local, ERR_FIT, "%s: out of memory", path);
  if (local.code == ERR_OK) return true;
  inspection_release(out);
  return err_set(e, local.code, "%s", local.text);
}

void inspection_release(struct inspection *i) {
  while (i->texts) {
    struct inspected_text *next = i->texts->next;
    free(i->texts);
    i->texts = next;
  }
  free(i->tensor);
  free(i->meta);
  free((void *)i->note);
  free((void *)i->problem);
  *i = (struct inspection){0};
}
