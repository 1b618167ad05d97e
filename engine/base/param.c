#include "base/param.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 16 }; /* elements: 64 bytes in fp32 */

struct param_set *param_set_new(void) {
  struct param_set *s = calloc(1, sizeof *s);
  if (s != NULL) s->blocks = 1;
  return s;
}

int param_set_block(struct param_set *s) {
  bool empty = s->n == 0 || s->p[s->n - 1]->block < s->blocks - 1;
  if (!empty) s->blocks++;
  return s->blocks - 1;
}

void param_set_delete(struct param_set *s) {
  if (s == NULL) return;
  for (int i = 0; i < s->n; i++) {
    free(s->p[i]->name);
    free(s->p[i]);
  }
  free(s->p);
  free(s);
}

static bool grow(struct param_set *s) {
  if (s->n < s->cap) return true;
  int cap = s->cap > 0 ? s->cap * 2 : 256;
  struct param **bigger = realloc(s->p, (size_t)cap * sizeof *bigger);
  if (bigger == NULL) return false;
  s->p = bigger;
  s->cap = cap;
  return true;
}

/* Dims come from configs: a product that overflows is treated like memory that is not there. */
static bool set_shape(struct param *p, int rank, const int64_t *dim, int64_t offset, int64_t *end) {
  if (rank < 0 || rank > 4) return false;
  int64_t padded;
  p->rank = rank;
  p->count = 1;
  p->offset = offset;
  for (int i = 0; i < rank; i++) {
    if (dim[i] < 0 || __builtin_mul_overflow(p->count, dim[i], &p->count)) return false;
    p->dim[i] = dim[i];
  }
  if (__builtin_add_overflow(p->count, ALIGN - 1, &padded)) return false;
  return !__builtin_add_overflow(offset, padded / ALIGN * ALIGN, end) && *end <= INT64_MAX / 8;
}

struct param *param_add(struct param_set *s, int rank, const int64_t *dim, const char *name, ...) {
  char text[512];
  va_list args;
  va_start(args, name);
  int length = vsnprintf(text, sizeof text, name, args);
  va_end(args);
  int64_t end = 0;
  struct param *p = calloc(1, sizeof *p);
  if (p == NULL || length < 0 || (size_t)length >= sizeof text || !grow(s) || !set_shape(p, rank, dim, s->count, &end)) goto fail;
  p->name = strdup(text);
  if (p->name == NULL) goto fail;
  p->block = s->blocks - 1;
  s->count = end;
  s->p[s->n++] = p;
  return p;
fail:
  free(p);
  return NULL;
}

struct param *param_find(const struct param_set *s, const char *name) {
  for (int i = 0; i < s->n; i++)
    if (strcmp(s->p[i]->name, name) == 0) return s->p[i];
  return NULL;
}

void param_set_bind(struct param_set *s, float *weights, float *grads) {
  s->w = weights;
  s->g = grads;
  for (int i = 0; i < s->n; i++) {
    struct param *p = s->p[i];
    p->w = weights != NULL ? weights + p->offset : NULL;
    p->g = grads != NULL && !p->frozen ? grads + p->offset : NULL;
  }
}

void param_set_halve(struct param_set *s, bool half) {
  s->half = half;
  for (int i = 0; i < s->n; i++) s->p[i]->half = half;
}

void param_set_bind_half(struct param_set *s, uint16_t *grads) {
  s->g16 = grads;
  for (int i = 0; i < s->n; i++) s->p[i]->g16 = grads != NULL && !s->p[i]->frozen ? grads + s->p[i]->offset : NULL;
}

void param_set_freeze(struct param_set *s, bool frozen) {
  for (int i = 0; i < s->n; i++) s->p[i]->frozen = frozen;
}

void param_set_changed(struct param_set *s) {
  for (int i = 0; i < s->n; i++) s->p[i]->version++;
}

uint64_t param_set_frozen(const struct param_set *s) {
  uint64_t sum = 0;
  for (int i = 0; i < s->n; i++) sum = sum * 31 + (s->p[i]->frozen ? 1 + (uint64_t)s->p[i]->version : 0);
  return sum;
}

int64_t param_set_trained(const struct param_set *s) {
  int64_t n = 0;
  for (int i = 0; i < s->n; i++) n += s->p[i]->frozen ? 0 : s->p[i]->count;
  return n;
}
