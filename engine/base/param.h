/* Parameters of a network: described once, in one table, in the order of registration; weights in one flat block,
 * gradients in another, so that optimiser, norm, EMA and save are single loops.
 *
 * Values lie in the layout of the Python state dict (convolutions OIHW, linear [out, in]): reading, saving and dumping
 * convert nothing. A backend that wants another layout keeps a packed copy of its own (pack). */
#ifndef PDMBOOTH_BASE_PARAM_H
#define PDMBOOTH_BASE_PARAM_H

#include "tensor.h"

struct param {
  char *name;     /* in the state dict of its network, e.g. "down_blocks.0.resnets.0.conv1.weight"; owned by the set */
  int rank;       /* 0..4 */
  int64_t dim[4]; /* as in Python */
  int64_t count;  /* elements */
  int64_t offset; /* in the flat block, elements, a multiple of 16 */
  int block;      /* of its set */
  float *w;       /* backend memory, [count]; NULL in a planning run, and where only the copy is there */
  void *copy;     /* backend memory: the values as slots compute with them, of type copied; owned by the set's lodge */
  enum dtype copied;
  bool has_copy;    /* slots use copy in place of w: param->w is NULL. Known when planning, where copy is NULL too */
  float *g;         /* gradient, accumulated by backward functions; NULL where frozen */
  uint16_t *g16;    /* the gradient where it is kept in bf16; g is then there only while it is lent (nets/gradient.h) */
  bool half;        /* it is */
  bool frozen;      /* no gradient wanted */
  uint32_t version; /* raised by whoever changes w: a packed copy of another version is stale */
  void *pack;       /* owned by the backend, released by its drop_pack */
};

struct param_set;
struct backend;
struct lodge; /* nets/lodge.h */

/* Whoever keeps weights or gradients of a set elsewhere: asked by the passes (nets/ctx.h) before and after they use a block of it. */
struct param_keeper {
  const struct backend *b;                                                   /* only passes on this backend ask */
  void (*weights)(struct param_keeper *k, struct param_set *s, int block);   /* are read by what is computed from here on */
  void (*gradients)(struct param_keeper *k, struct param_set *s, int block); /* are added to from here on */
  void (*final)(struct param_keeper *k, struct param_set *s, int block);     /* are complete, of this backward pass */
};

/* Set of one network, or of its adapters. Pointers to params stay valid until the set is deleted. */
struct param_set {
  struct param **p; /* [n] */
  int n, cap;
  int64_t count;               /* elements of the flat block, padding included */
  float *w, *g;                /* flat blocks, backend memory, [count]; g NULL where nothing is trained. Filled by param_set_bind */
  uint16_t *g16;               /* in the place of g where half; filled by param_set_bind_half */
  bool half;                   /* gradients are kept in bf16 */
  bool may_halve;              /* so they would be, if the set were not lodged: its gradients lie with the host in fp32 */
  int blocks;                  /* parameters that passes use together, in the order of registration; 1 where nobody began another */
  struct param_keeper *keeper; /* not owned; NULL: everything is there all the time */
  struct lodge *lodge;         /* not owned; where the fp32 values are not all on the device (nets/lodge.h), w and g are NULL */
  float *home;                 /* then: memory of the backend's host_alloc, [count], the fp32 values; NULL: nowhere, nothing is trained */
  void *card;                  /* backend memory that w and copy of the params point into */
};

struct param_set *param_set_new(void);
void param_set_delete(struct param_set *s); /* does not touch backend memory */
/* Registers a parameter; NULL when out of memory. name is a printf format. */
struct param *param_add(struct param_set *s, int rank, const int64_t *dim, const char *name, ...) __attribute__((format(printf, 4, 5)));
/* What is registered from here on belongs to the next block; its number. */
int param_set_block(struct param_set *s);
struct param *param_find(const struct param_set *s, const char *name);
/* Points every w (and every g, where grads is not NULL and the param is not frozen) into flat blocks of s->count floats, owned by the caller. */
void param_set_bind(struct param_set *s, float *weights, float *grads);
/* Gradients in bf16 instead: to be said before binding. */
void param_set_halve(struct param_set *s, bool half);
void param_set_bind_half(struct param_set *s, uint16_t *grads);
void param_set_freeze(struct param_set *s, bool frozen); /* marks all */
void param_set_changed(struct param_set *s);             /* raises every version */
uint64_t param_set_frozen(const struct param_set *s);    /* changes with the versions of frozen params, and with which those are */
int64_t param_set_trained(const struct param_set *s);    /* elements of params that are not frozen */

#endif
