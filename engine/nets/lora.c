#include "nets/lora.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

struct lora_set *lora_set_new(void) {
  struct lora_set *s = calloc(1, sizeof *s);
  if (!s) return NULL;
  s->strength = 1;
  s->params = param_set_new();
  if (s->params) return s;
  free(s);
  return NULL;
}

void lora_set_delete(struct lora_set *s) {
  if (!s) return;
  for (int i = 0; i < s->n; i++) free(s->module[i].name);
  free(s->module);
  param_set_delete(s->params);
  free(s);
}

static bool grow(struct lora_set *s) {
  if (s->n < s->cap) return true;
  int cap = s->cap ? 2 * s->cap : 64;
  struct lora_module *more = realloc(s->module, (size_t)cap * sizeof *more);
  if (!more) return false;
  s->module = more;
  s->cap = cap;
  return true;
}

bool lora_add(struct lora_set *s, const char *module, int64_t in, int64_t out, bool pointwise, int rank, float alpha, struct lora *hook) {
  int dims = pointwise ? 4 : 2;
  if (!grow(s)) return false;
  struct lora_module m = {.name = strdup(module), .alpha = alpha};
  if (!m.name) return false;
  m.a = param_add(s->params, dims, (int64_t[]){rank, in, 1, 1}, "%s.lora_A.weight", module);
  m.b = param_add(s->params, dims, (int64_t[]){out, rank, 1, 1}, "%s.lora_B.weight", module);
  if (!m.a || !m.b) {
    free(m.name);
    return false;
  }
  *hook = (struct lora){.set = s, .a = m.a, .b = m.b, .index = s->n};
  s->module[s->n++] = m;
  return true;
}

float lora_scale(const struct lora *l) {
  const struct lora_module *m = &l->set->module[l->index];
  return m->alpha / (float)m->a->dim[0] * l->set->strength;
}

bool lora_spec_matches(const struct lora_spec *spec, const char *module) {
  size_t n = strlen(module);
  for (int i = 0; i < spec->n_targets; i++) {
    size_t k = strlen(spec->target[i]);
    if (k == 0 || k > n || strcmp(module + n - k, spec->target[i]) != 0) continue;
    if (k == n || module[n - k - 1] == '.') return true;
  }
  return false;
}

void lora_init(struct lora_set *s, float *weights, uint64_t seed, uint32_t first) {
  for (int i = 0; i < s->n; i++) {
    const struct lora_module *m = &s->module[i];
    struct rng_counter c = {.seed = seed, .stream = RNG_LORA_INIT, .index = first + (uint32_t)i};
    float *a = weights + m->a->offset;
    rng_normal(&c, a, 0, m->a->count);
    for (int64_t k = 0; k < m->a->count; k++) a[k] /= (float)m->a->dim[0];
    memset(weights + m->b->offset, 0, (size_t)m->b->count * sizeof(float));
  }
}
