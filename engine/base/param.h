/* Parameters of a network: described once, in one table, in the order of registration; weights in one flat block,
 * gradients in another, so that optimiser, norm, EMA and save are single loops.
 *
 * Values lie in the layout of the Python state dict (convolutions OIHW, linear [out, in]): reading, saving and dumping
 * convert nothing. A backend that wants another layout keeps a packed copy of its own (pack). */
#ifndef PDMBOOTH_BASE_PARAM_H
#define PDMBOOTH_BASE_PARAM_H

#include "tensor.h"

struct param {
  char *name;       /* in the state dict of its network, e.g. "down_blocks.0.resnets.0.conv1.weight"; owned by the set */
  int rank;         /* 0..4 */
  int64_t dim[4];   /* as in Python */
  int64_t count;    /* elements */
  int64_t offset;   /* in the flat block, elements, a multiple of 16 */
  float *w;         /* backend memory, [count]; NULL in a planning run */
  float *g;         /* gradient, accumulated by backward functions; NULL where frozen */
  uint16_t *g16;    /* the gradient where it is kept in bf16; g is then there only while it is lent (nets/gradient.h) */
  bool half;        /* it is */
  bool frozen;      /* no gradient wanted */
  uint32_t version; /* raised by whoever changes w: a packed copy of another version is stale */
  void *pack;       /* owned by the backend, released by its drop_pack */
};

/* Set of one network, or of its adapters. Pointers to params stay valid until the set is deleted. */
struct param_set {
  struct param **p; /* [n] */
  int n, cap;
  int64_t count; /* elements of the flat block, padding included */
  float *w, *g;  /* flat blocks, backend memory, [count]; g NULL where nothing is trained. Filled by param_set_bind */
  uint16_t *g16; /* in the place of g where half; filled by param_set_bind_half */
  bool half;     /* gradients are kept in bf16 */
};

struct param_set *param_set_new(void);
void param_set_delete(struct param_set *s); /* does not touch backend memory */
/* Registers a parameter; NULL when out of memory. name is a printf format. */
struct param *param_add(struct param_set *s, int rank, const int64_t *dim, const char *name, ...) __attribute__((format(printf, 4, 5)));
struct param *param_find(const struct param_set *s, const char *name);
/* Points every w (and every g, where grads is not NULL and the param is not frozen) into flat blocks of s->count floats, owned by the caller. */
void param_set_bind(struct param_set *s, float *weights, float *grads);
/* Gradients in bf16 instead: to be said before binding. */
void param_set_halve(struct param_set *s);
void param_set_bind_half(struct param_set *s, uint16_t *grads);
void param_set_freeze(struct param_set *s, bool frozen); /* marks all */
void param_set_changed(struct param_set *s);             /* raises every version */
int64_t param_set_trained(const struct param_set *s);    /* elements of params that are not frozen */

#endif
