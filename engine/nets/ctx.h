/* What a forward or backward pass runs with: backend, memory, type of the activations, and one sticky error.
 *
 * After the first failure (no room in the pool, a fault of the backend) every call here does nothing and returns empty
 * tensors, so that the networks are written straight through and look at ctx_ok once, at the end. */
#ifndef PDMBOOTH_NETS_CTX_H
#define PDMBOOTH_NETS_CTX_H

#include "backend/backend.h"
#include "base/pool.h"

struct ctx {
  struct backend *b;
  struct pool *pool;
  enum dtype act; /* DT_F32, DT_BF16 or DT_F16 */
  struct err *err;
  bool failed;
};

bool ctx_ok(struct ctx *c); /* looks at the backend's fault too; fills *err */

/* From the pool; contents undefined. Given back with ctx_free, in any order. */
struct tensor ctx_new(struct ctx *c, enum dtype type, int rank, const int64_t *dim);
struct tensor ctx_new_2d(struct ctx *c, enum dtype type, int64_t a, int64_t b);
struct tensor ctx_new_3d(struct ctx *c, enum dtype type, int64_t a, int64_t b, int64_t d);
struct tensor ctx_new_4d(struct ctx *c, enum dtype type, int64_t n, int64_t h, int64_t w, int64_t ch);
struct tensor ctx_like(struct ctx *c, const struct tensor *t);
void ctx_free(struct ctx *c, struct tensor *t); /* t may be empty; leaves it empty */

/* compute, as a part (backend.h) where there are parts: everything that its calls depend on is in key, whose padding is zero, too. It gives back to
   the pool what it takes; what it makes is in tensors of the caller's. */
void ctx_part(struct ctx *c, const void *key, size_t bytes, void (*compute)(struct ctx *c, void *user), void *user);

/* Host to pool: a fresh tensor of type with the values of x [count]. */
struct tensor ctx_upload(struct ctx *c, enum dtype type, int rank, const int64_t *dim, const float *x);
/* Pool to host, as float. */
void ctx_download(struct ctx *c, float *out, const struct tensor *t);

/* What a network says of the blocks of its parameters, so that whoever keeps them (struct param_keeper) has them there in time: before a block's
   weights are read in a forward pass; before and after its gradients are added to in a backward pass. Each block once a pass. */
void ctx_weights(struct ctx *c, struct param_set *s, int block);
void ctx_gradients(struct ctx *c, struct param_set *s, int block);
void ctx_final(struct ctx *c, struct param_set *s, int block);

#endif
