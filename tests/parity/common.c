#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity.h"

enum { POOL_BYTES = 1 << 30 };

void row(struct report *r, const char *name, double max_abs, double relative, double tolerance) {
  bool ok = relative <= tolerance; /* false for NaN */
  r->rows++;
  r->failed += !ok;
  if (!r->quiet) printf("%-60s %10.2e %10.2e %10.0e  %s\n", name, max_abs, relative, tolerance, ok ? "ok" : "FAILED");
  fflush(stdout);
}

void row_compare(struct report *r, const char *name, const float *have, const float *want, int64_t n, double scale, double tolerance) {
  double max = 0, diff = 0, size = 0;
  for (int64_t i = 0; i < n; i++) {
    double d = (double)have[i] - want[i];
    if (!(fabs(d) <= max)) max = fabs(d);
    diff += d * d;
    size += (double)want[i] * want[i];
  }
  if (scale <= 0) scale = sqrt(size);
  row(r, name, max, sqrt(diff) / (scale > 0 ? scale : 1), tolerance);
}

void row_error(struct report *r, const char *name, const struct err *e) {
  if (!r->quiet) printf("%-60s %s\n", name, e->text);
  r->errors++;
  row(r, name, NAN, NAN, 0);
}

bool rig_open(struct rig *g, const struct report *r, const char *model, const struct model_want *want) {
  static const struct model_want none;
  struct source s;
  memset(g, 0, sizeof *g);
  g->b = backend_open(r->backend, 0, &g->err);
  if (!g->b) return false;
  g->ops = *g->b->op;
  if (r->mistake) mistake_in_ops(&g->ops, r->mistake);
  g->b->op = &g->ops;
  source_dir(&s, data_path(model));
  g->m = model_open(g->b, &s, want ? want : &none, &g->err);
  if (!g->m) return false;
  if (r->mistake) mistake_in_model(g->m, r->mistake);
  g->bytes = POOL_BYTES;
  g->memory = g->b->op->alloc(g->b, g->bytes, &g->err);
  if (!g->memory) return false;
  g->c = (struct ctx){.b = g->b, .pool = pool_new(g->memory, g->bytes), .act = r->act, .err = &g->err};
  return g->c.pool != NULL;
}

void rig_close(struct rig *g) {
  pool_delete(g->c.pool);
  if (g->memory) g->b->op->release(g->b, g->memory, g->bytes);
  if (g->m) model_close(g->m);
  if (g->b) backend_close(g->b);
}

const char *data_path(const char *name) {
  static char path[4096];
  const char *root = getenv("PDMBOOTH_TESTS");
  snprintf(path, sizeof path, "%s/data/%s", root ? root : "tests", name);
  return path;
}

static void fatal(const char *what, const char *name) {
  fprintf(stderr, "parity: %s: %s\n", name, what);
  exit(2);
}

struct st_file *dump_open(const char *name) {
  struct err e = {0};
  struct st_file *f = st_open_path(data_path(name), &e);
  if (!f) fatal(e.text, name);
  return f;
}

static const struct st_tensor *tensor_named(const struct st_file *f, const char *fmt, va_list ap) {
  char name[512];
  vsnprintf(name, sizeof name, fmt, ap);
  return st_find(f, name);
}

float *dump_floats(const struct st_file *f, int64_t *n, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  const struct st_tensor *t = tensor_named(f, fmt, ap);
  va_end(ap);
  if (!t) fatal(fmt, st_path(f));
  int64_t count = 1;
  for (int i = 0; i < t->rank; i++) count *= t->dim[i];
  float *x = malloc((size_t)(count + 1) * sizeof *x);
  if (!x) fatal("out of memory", t->name);
  bool bytes = t->known_type && t->type == DT_U8;
  for (int64_t i = 0; bytes && i < count; i++) x[i] = t->data[i];
  if (!bytes && count > 0 && !st_floats(t, 0, count, x)) fatal("cannot be read", t->name);
  if (n) *n = count;
  return x;
}

int32_t *dump_ints(const struct st_file *f, int64_t *n, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  const struct st_tensor *t = tensor_named(f, fmt, ap);
  va_end(ap);
  if (!t || t->type != DT_I32) fatal(fmt, st_path(f));
  int32_t *x = malloc(t->bytes + 4);
  if (!x) fatal("out of memory", t->name);
  memcpy(x, t->data, t->bytes);
  if (n) *n = (int64_t)(t->bytes / 4);
  return x;
}

bool dump_has(const struct st_file *f, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  const struct st_tensor *t = tensor_named(f, fmt, ap);
  va_end(ap);
  return t != NULL;
}

const int64_t *dump_shape(const struct st_file *f, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  const struct st_tensor *t = tensor_named(f, fmt, ap);
  va_end(ap);
  if (!t) fatal(fmt, st_path(f));
  return t->dim;
}

void to_nhwc(float *out, const float *in, int64_t n, int64_t c, int64_t h, int64_t w) {
  for (int64_t i = 0; i < n; i++)
    for (int64_t k = 0; k < c; k++)
      for (int64_t p = 0; p < h * w; p++) out[(i * h * w + p) * c + k] = in[(i * c + k) * h * w + p];
}

void to_nchw(float *out, const float *in, int64_t n, int64_t c, int64_t h, int64_t w) {
  for (int64_t i = 0; i < n; i++)
    for (int64_t k = 0; k < c; k++)
      for (int64_t p = 0; p < h * w; p++) out[(i * c + k) * h * w + p] = in[(i * h * w + p) * c + k];
}

double norm_of(const float *x, int64_t n) {
  double s = 0;
  for (int64_t i = 0; i < n; i++) s += (double)x[i] * x[i];
  return sqrt(s);
}
