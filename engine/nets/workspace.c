#include "nets/workspace.h"

#include <stdint.h>

bool workspace_reserve(struct workspace *w, struct backend *b, size_t bytes, struct err *e) {
  if (w->bytes >= bytes && w->base != NULL) return true;
  workspace_release(w, b); /* first, so that the two are never there at once */
  w->base = b->op->alloc(b, bytes, e);
  w->bytes = w->base != NULL ? bytes : 0;
  return w->base != NULL;
}

void workspace_release(struct workspace *w, struct backend *b) {
  if (w->base != NULL) b->op->release(b, w->base, w->bytes);
  *w = (struct workspace){.base = NULL};
}

static bool run(struct backend *b, enum dtype act, void *base, size_t capacity, bool (*fn)(struct ctx *, void *), void *user, size_t *peak,
                struct err *e) {
  struct pool *pool = pool_new(base, capacity);
  if (pool == NULL) return err_set(e, ERR_FIT, "out of memory");
  struct ctx c = {.b = b, .pool = pool, .act = act, .err = e};
  bool ok = fn(&c, user) && ctx_ok(&c);
  *peak = pool_peak(pool);
  pool_delete(pool);
  return ok;
}

bool workspace_run(struct workspace *w, struct backend *b, enum dtype act, bool (*fn)(struct ctx *c, void *user), void *user, size_t *peak,
                   struct err *e) {
  size_t bytes = 0;
  struct backend *count = backend_open_ops(&backend_count, 1, e);
  if (count == NULL) return false;
  bool ok = run(count, act, NULL, SIZE_MAX, fn, user, &bytes, e);
  backend_close(count);
  if (peak != NULL) *peak = bytes;
  return ok && workspace_reserve(w, b, bytes, e) && run(b, act, w->base, w->bytes, fn, user, &bytes, e);
}
