#include "shapes.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

bool cuda_shapes_open(struct cuda_shapes *t, struct err *e) {
  t->entries = calloc((size_t)t->places, t->bytes);
  t->used = calloc((size_t)t->places, sizeof *t->used);
  return (t->entries && t->used) || err_set(e, ERR_FIT, "out of memory");
}

static void *entry_at(const struct cuda_shapes *t, int at) {
  return t->entries + (size_t)at * t->bytes;
}

static void forget(const struct backend *b, struct cuda_shapes *t) {
  for (int i = 0; t->entries && t->used && i < t->places; i++) {
    if (!t->used[i]) continue;
    t->release(b, entry_at(t, i));
    memset(entry_at(t, i), 0, t->bytes);
    t->used[i] = false;
  }
  t->count = 0;
}

void cuda_shapes_close(const struct backend *b, struct cuda_shapes *t) {
  forget(b, t);
  free(t->entries);
  free(t->used);
  t->entries = NULL;
  t->used = NULL;
}

void *cuda_shapes_find(const struct backend *b, struct cuda_shapes *t, const void *key, bool *fresh) {
  if (t->count > t->places / 2) forget(b, t);
  int at = (int)(hash_of(key, t->key_bytes) % (uint32_t)t->places);
  while (t->used[at] && memcmp(entry_at(t, at), key, t->key_bytes) != 0) at = (at + 1) % t->places;
  *fresh = !t->used[at];
  if (*fresh) {
    memcpy(entry_at(t, at), key, t->key_bytes);
    t->used[at] = true;
    t->count++;
  }
  return entry_at(t, at);
}
