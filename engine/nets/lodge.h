/* Parameter sets whose fp32 values are not on the device: it has what slots compute with, copies of matrices (half the bytes in BF16) and
 * fp32 of the rest. A trained set's values lie in memory of the host, where the optimiser works on them (train/offload.h); a frozen set's
 * are needed by nobody once the copies are made.
 *
 * What the device gets as fp32 goes through a chunk of device memory and is brought into the copies' type and order there: the same kernel
 * rounds as where the values are on the device, and the host, whose memory is what such a step waits for, reads each value once and writes none.
 * Trained sets have two chunks, which gradients go through, too.
 *
 *   lodge_plan for each set, before anything is read or planned; then sizes are known
 *   lodge_open, then model_bind and model_load_params as for any set
 *   lodge_refresh where values have changed; the rest is train/offload.c's */
#ifndef PDMBOOTH_NETS_LODGE_H
#define PDMBOOTH_NETS_LODGE_H

#include "backend/backend.h"

/* Marks (backend.h) in use: of the two chunks, what was computed with it and the copy to or from it; what was computed before weights changed. */
enum { LODGE_USED = 0, LODGE_COPIED = 2, LODGE_CHANGED = 4 };

struct lodge {
  struct backend *b;    /* of the device; not owned */
  struct backend *host; /* computes in the host's memory: b where that does, else owned */
  struct lodge_chunk {
    float *p;     /* device memory */
    void *holder; /* whose gradients are on their way from it, and of which block; NULL: nobody's */
    int block;
  } chunk[2];
  size_t bytes; /* of a chunk */
  int chunks, next;
};

/* What lodged sets take, each block of memory rounded as the backend does. */
struct lodge_need {
  int64_t card, chunks, host; /* device: copies and values; chunks. Host: values of trained sets (gradients and moments: train/offload.h) */
};

/* From here on s is lodged with l; type: of the activations that it is used with. A frozen set of which slots want no copies is left as it was. */
void lodge_plan(struct lodge *l, const struct backend *b, struct param_set *s, enum dtype type);
void lodge_forget(struct param_set *s); /* undoes that, before memory is bound */
struct lodge_need lodge_need(const struct backend *b, struct param_set *const *sets, int n);

/* Chunks for these sets, of the same model; those that are not lodged do not count, and may be NULL here and above. */
bool lodge_open(struct lodge *l, struct backend *b, struct param_set *const *sets, int n, struct err *e);
void lodge_close(struct lodge *l);
/* Memory of a set, bound to its params. */
bool lodge_bind(struct param_set *s, struct err *e);
void lodge_unbind(struct param_set *s);
/* Values [at, at + n) of a parameter, in order; all of it before any other's. */
void lodge_put(struct param_set *s, struct param *p, int64_t at, const float *values, int64_t n);

struct lodge_range {
  int first, last;  /* params */
  int64_t from, to; /* of the flat block */
};
struct lodge_range lodge_range(const struct param_set *s, int block);
/* What is computed from here on sees values (memory of host_alloc, flat like home) of a block of a trained set. Those of LODGE_CHANGED may have seen older ones. */
void lodge_refresh(struct param_set *s, int block, const float *values);

#endif
