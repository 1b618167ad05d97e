/* Reading a network's parameters from safetensors by name, whatever dialect of names the file speaks. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nets/model.h"

enum { CHUNK = 1 << 18, NAME = 512, HELD = 1 << 23 /* elements read before their pages are given back */ };

/* Replaces the first occurrence of from in name. */
static bool swapped(const char *name, const char *from, const char *to, char out[NAME]) {
  const char *at = strstr(name, from);
  if (!at) return false;
  snprintf(out, NAME, "%.*s%s%s", (int)(at - name), name, to, at + strlen(from));
  return true;
}

/* The name itself; the text encoder's without its prefix (transformers 5); the VAE's attention as diffusers before 0.17 named it. */
const struct st_tensor *model_tensor(const struct st_set *files, const char *name) {
  static const char *const old[4][2] = {{".to_q.", ".query."}, {".to_k.", ".key."}, {".to_v.", ".value."}, {".to_out.0.", ".proj_attn."}};
  const struct st_tensor *t = st_set_find(files, name);
  char other[NAME];
  if (!t && strncmp(name, "text_model.", 11) == 0) t = st_set_find(files, name + 11);
  if (!t && strstr(name, "mid_block.attentions."))
    for (int i = 0; i < 4 && !t; i++)
      if (swapped(name, old[i][0], old[i][1], other)) t = st_set_find(files, other);
  return t;
}

/* Equal, but for 1s at the end: [c, c] and [c, c, 1, 1] are the same matrix. */
static bool same_shape(const struct param *p, const struct st_tensor *t) {
  for (int i = 0; i < p->rank || i < t->rank; i++) {
    int64_t a = i < p->rank ? p->dim[i] : 1, b = i < t->rank ? t->dim[i] : 1;
    if (a != b) return false;
  }
  return true;
}

static const char *file_of(const struct st_set *files) {
  return st_path(st_set_file(files, 0));
}

static bool is_float(const struct st_tensor *t) {
  static const char *const type[] = {"F32", "F16", "BF16", "F64"};
  for (size_t i = 0; i < sizeof type / sizeof *type; i++)
    if (strcmp(t->dtype_text, type[i]) == 0) return true;
  return false;
}

static bool check(const struct param *p, const struct st_set *files, const struct st_tensor *t, const char *network, struct err *e) {
  char want[128], have[128];
  if (!t)
    return err_set(e, ERR_INPUT, "%s: the tensor \"%s\" is missing; the file does not fit the config.json of the %s", file_of(files),
                   p->name, network);
  st_shape(p->rank, p->dim, want);
  st_shape(t->rank, t->dim, have);
  if (!same_shape(p, t))
    return err_set(e, ERR_INPUT, "%s: the tensor \"%s\" has the shape %s, the config.json of the %s wants %s", file_of(files), t->name,
                   have, network, want);
  if (!is_float(t))
    return err_set(e, ERR_INPUT, "%s: the tensor \"%s\" has the dtype %s; F32, F16 and BF16 can be read", file_of(files), t->name,
                   t->dtype_text);
  return true;
}

/* One weight that is no number makes every picture and loss of the network none: said here, where the tensor still has a name. */
static bool check_finite(const float *x, int64_t first, int64_t n, const struct st_set *files, const struct st_tensor *t, struct err *e) {
  float sum = 0;
  for (int64_t i = 0; i < n; i++) sum += x[i] * 0; /* 0, or NaN for infinity and NaN */
  if (sum == 0) return true;
  int64_t i = 0;
  while (isfinite(x[i])) i++;
  return err_set(e, ERR_INPUT, "%s: the tensor \"%s\" holds %s at element %lld: the file is damaged, or its training had diverged",
                 file_of(files), t->name, isnan(x[i]) ? "NaN" : "infinity", (long long)(first + i));
}

bool model_check_param(const struct param *p, const struct st_set *files, const char *network, struct err *e) {
  return check(p, files, model_tensor(files, p->name), network, e);
}

bool model_check_params(const struct param_set *p, const struct st_set *files, const char *network, struct err *e) {
  for (int i = 0; i < p->n; i++)
    if (!model_check_param(p->p[i], files, network, e)) return false;
  return true;
}

bool model_load_params(struct backend *b, struct param_set *p, const struct st_set *files, const char *network, struct err *e) {
  float *buffer = malloc(CHUNK * sizeof *buffer);
  if (!buffer) return err_set(e, ERR_FIT, "out of memory while reading the %s", network);
  int64_t held = 0;
  bool ok = true;
  for (int i = 0; ok && i < p->n; i++) {
    struct param *q = p->p[i];
    const struct st_tensor *t = model_tensor(files, q->name);
    ok = check(q, files, t, network, e);
    for (int64_t at = 0; ok && at < q->count; at += CHUNK) {
      int64_t n = q->count - at < CHUNK ? q->count - at : CHUNK;
      ok = st_floats(t, at, n, buffer) || err_set(e, ERR_INPUT, "%s: the tensor \"%s\" cannot be read", file_of(files), t->name);
      ok = ok && check_finite(buffer, at, n, files, t, e);
      if (ok && p->lodge)
        lodge_put(p, q, at, buffer, n);
      else if (ok)
        b->op->upload(b, q->w + at, buffer, (size_t)n * sizeof *buffer);
      held = held + n < HELD ? held + n : 0;
      if (held == 0) st_set_forget(files);
    }
    q->version++;
  }
  st_set_forget(files);
  free(buffer);
  return ok;
}

/* A hash of names, shapes and bytes: whole for small tensors, sixteen pieces of 4 KiB, evenly spread, of big ones: enough to tell two
   models apart, and cheap for files of gigabytes. */
static void hash_tensor(struct sha256 *s, const struct param *p, const struct st_tensor *t) {
  enum { WHOLE = 1 << 16, PIECE = 4096, PIECES = 16 };
  sha256_add(s, p->name, strlen(p->name) + 1);
  sha256_add(s, t->dtype_text, strlen(t->dtype_text) + 1);
  sha256_add(s, p->dim, sizeof p->dim);
  if (t->bytes <= WHOLE) {
    sha256_add(s, t->data, t->bytes);
    return;
  }
  for (size_t i = 0; i < PIECES; i++) sha256_add(s, t->data + (t->bytes - PIECE) / (PIECES - 1) * i, PIECE);
}

void model_hash_params(struct sha256 *s, const struct param_set *p, const struct st_set *files) {
  for (int i = 0; i < p->n; i++) {
    hash_tensor(s, p->p[i], model_tensor(files, p->p[i]->name));
    if (i % 32 == 31 || i + 1 == p->n) st_set_forget(files); /* each piece brings its neighbours in */
  }
}
