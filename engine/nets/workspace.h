/* The one region of memory in which a model's passes run: kept between calls and grown when more is asked for, because the first touch of
 * fresh memory is slow (11 us a page). Plain data, zero before the first use. One pass at a time uses it. */
#ifndef PDMBOOTH_NETS_WORKSPACE_H
#define PDMBOOTH_NETS_WORKSPACE_H

#include "nets/ctx.h"

struct workspace {
  void *base; /* backend memory, owned */
  size_t bytes;
};

/* At least bytes; what was in it may be lost. */
bool workspace_reserve(struct workspace *w, struct backend *b, size_t bytes, struct err *e);
void workspace_release(struct workspace *w, struct backend *b);

/* Runs fn twice: on the counting backend to learn the peak, then for real with a pool of exactly that size inside w. The parameters are not
   touched by the counting backend. peak: NULL, or receives the bytes. fn must take the same memory both times. */
bool workspace_run(struct workspace *w, struct backend *b, enum dtype act, bool (*fn)(struct ctx *c, void *user), void *user, size_t *peak,
                   struct err *e);

#endif
