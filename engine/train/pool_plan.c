#include "nets/workspace.h"
#include "train/picture.h"

bool with_pool(struct backend *b, enum dtype act, bool (*fn)(struct ctx *c, void *user), void *user, size_t *peak, struct err *e) {
  struct workspace w = {.base = NULL};
  bool ok = workspace_run(&w, b, act, fn, user, peak, e);
  workspace_release(&w, b);
  return ok;
}
