#include "nets/gradient.h"

static struct tensor narrow(const struct param *p) {
  return tensor_1d(p->g16, DT_BF16, p->count);
}

struct lent_gradients gradients_lend(struct ctx *c, struct param *a, struct param *b) {
  struct lent_gradients l = {.p = {a, b}};
  for (int i = 0; i < 2; i++) {
    struct param *p = l.p[i];
    if (!p || p->frozen || !p->half) {
      l.p[i] = NULL;
      continue;
    }
    struct tensor kept = narrow(p);
    l.wide[i] = ctx_new(c, DT_F32, 1, &p->count);
    if (c->failed) l.p[i] = NULL;
    if (c->failed) continue;
    c->b->op->cast(c->b, &l.wide[i], &kept);
    p->g = l.wide[i].data;
  }
  return l;
}

void gradients_return(struct ctx *c, struct lent_gradients *l) {
  for (int i = 1; i >= 0; i--) {
    if (!l->p[i]) continue;
    struct tensor kept = narrow(l->p[i]);
    c->b->op->cast(c->b, &kept, &l->wide[i]);
    l->p[i]->g = NULL;
    ctx_free(c, &l->wide[i]);
  }
}
