/* Training with the fp32 weights, gradients and moments of a set in the host's memory (nets/lodge.h): the optimiser works there, on the
 * CPU, and the device holds what computing needs.
 *
 *   backward   A block's gradients are added up in one of two chunks of device memory. Complete, they go to the host while the next block's
 *              are computed in the other; with several micro-batches the sum so far comes back into the chunk first, so that every addition
 *              is the one that it would be on the device. The host looks at a block's squares when its chunk is wanted again.
 *   norm       Known when the last block is there: clipping needs it.
 *   forward    A block is updated by the host when the next pass asks for its weights, and sent: the device computes with one block while
 *              the host updates the next. Nobody sees old weights, whichever pass asks first; what needs all of them (state, checkpoint)
 *              settles first.
 *
 * Everything is called from one thread. What fails sets the backend's fault. */
#ifndef PDMBOOTH_TRAIN_OFFLOAD_H
#define PDMBOOTH_TRAIN_OFFLOAD_H

#include "nets/lodge.h"

struct offload_block {
  struct lodge_range range;
  bool due;       /* the update of the last step is still to be made */
  bool stale;     /* the device has older values */
  bool begun;     /* gradients of this step were added */
  double squares; /* sum of the squares of its gradients */
};

struct offload {
  struct param_keeper keeper;
  struct param_set *set; /* trained, lodged and bound */
  float *g, *ema;        /* memory of host_alloc, [set->count]; ema NULL: none */
  struct tensor m, v;    /* the host's memory, [set->count] */
  const float *shown;    /* what the device is to have: set->home, or ema */
  struct offload_block *block;
  struct adamw step; /* of the updates that are due */
  double decay;      /* of the average */
};

struct offload *offload_new(struct param_set *s, enum dtype moments, bool ema, struct err *e); /* weights are read already */
void offload_delete(struct offload *o);
/* What its moments are kept in where `moments` are asked for: bytes would share scales across blocks, which are updated in no fixed order. */
enum dtype offload_moments(enum dtype moments);
int64_t offload_host_bytes(const struct backend *b, const struct param_set *s, enum dtype moments, bool ema); /* what that takes */

void offload_begin(struct offload *o);      /* gradients are zero */
double offload_squares(struct offload *o);  /* of all gradients; they are then complete in o->g */
void offload_step(struct offload *o, const struct adamw *a, double decay); /* updates are due with these gradients */
void offload_settle(struct offload *o);     /* makes the updates that are due */
void offload_changed(struct offload *o);    /* set->home was written to */
void offload_show(struct offload *o, bool average); /* the device computes with the average, or with the weights again */

#endif
