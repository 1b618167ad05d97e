/* AdamW over flat parameter blocks, global gradient-norm clipping, EMA, learning-rate schedules. */
#ifndef PDMBOOTH_TRAIN_OPTIMIZER_H
#define PDMBOOTH_TRAIN_OPTIMIZER_H

#include "backend/backend.h"

enum lr_kind { LR_CONSTANT, LR_CONSTANT_WITH_WARMUP, LR_LINEAR, LR_COSINE, LR_COSINE_WITH_RESTARTS, LR_POLYNOMIAL, LR_KINDS };
extern const char *const lr_names[LR_KINDS];

struct lr_schedule {
  enum lr_kind kind;
  double base;       /* learning rate */
  int warmup, steps; /* optimiser steps */
  double cycles;     /* cosine: number of half waves times two (0.5); restarts: number of restarts (1) */
  double power, end; /* polynomial: 1, 1e-7 */
};
/* Rate of optimiser step (from 0): diffusers' optimization.py get_scheduler. */
double lr_at(const struct lr_schedule *s, int step);

/* Groups: the trained parameter sets (UNet, text encoder, or their adapters) share one step count and one norm. */
enum { OPT_MAX_GROUPS = 4 };
struct offload; /* train/offload.h */
struct opt_group {
  struct param_set *set;
  struct tensor m, v;             /* backend memory, [set->count], F32, BF16, or U8 with scales (backend/moments8.h) */
  struct tensor m_scale, v_scale; /* F32, one for each 256 elements; data NULL where m and v are not U8 */
  float *ema;                     /* backend memory, [set->count]; NULL: none */
  struct offload *away;           /* owned; not NULL: the set is lodged, m, v and ema are this one's, the host's memory */
};
struct optimizer {
  struct backend *b;
  struct opt_group group[OPT_MAX_GROUPS];
  int groups;
  struct tensor wide; /* F32, backend memory: a piece of gradients that are kept in bf16; data NULL where none are */
  /* What the host waits for, once a step: the sum of squares and the losses. [1 + losses], in b's memory and read by optimizer_norm. */
  double *results, *read;
  int losses;
  int step; /* optimiser steps done */
  float beta1, beta2, eps, weight_decay, max_norm;
  float ema_decay;   /* 0: no EMA */
  double loss_scale; /* the gradients are so many times what they should be (train/precision.h); 1 after init */
};
/* moments: F32, BF16 or U8. Sets that are lodged (nets/lodge.h) are updated by the host, the others by b; the former's moments are BF16 where U8 is asked for.
   losses: so many numbers of a step that are to be read together with its norm. */
bool optimizer_init(struct optimizer *o, struct backend *b, struct param_set *const *sets, int n, enum dtype moments, bool ema, int losses,
                    struct err *e);
void optimizer_release(struct optimizer *o);
/* Of the piece that gradients in bf16 are widened in; 0 where none are. */
size_t optimizer_piece_bytes(struct param_set *const *sets, int n);
/* Of one of the two moments of a set, and of its scales (0: it has none). */
size_t optimizer_moment_bytes(int64_t count, enum dtype moments);
size_t optimizer_scale_bytes(int64_t count, enum dtype moments);
size_t optimizer_bytes(const struct param_set *const *sets, int n, enum dtype moments, bool ema);
size_t optimizer_result_bytes(int losses);     /* of b's memory */
double *optimizer_losses(struct optimizer *o); /* [losses], b's memory: for the passes of a step */
/* Global L2 norm of all gradients (before clipping), divided by the scale of the loss. The one wait of a step: how much is clipped is
   the host's to decide. The losses are in o->read + 1 then. Where b->fault is set nothing was read. */
double optimizer_norm(struct optimizer *o);
/* Gradients divided by the scale of the loss, clip_grad_norm_(max_norm) with the given norm, AdamW, EMA (decay min(ema_decay, (1 + n)/(10 + n)), n = step before), gradients zeroed, versions raised.
   A norm that is not finite changes nothing and is ERR_NUMERIC. */
bool optimizer_step(struct optimizer *o, double lr, double norm, struct err *e);
void optimizer_zero_grad(struct optimizer *o);

/* Where the fp32 values of a group are, with its moments and its average; everything up to date. And the backend whose memory that is. */
float *optimizer_weights(const struct optimizer *o, int group);
const float *optimizer_gradients(const struct optimizer *o, int group); /* after optimizer_norm */
struct backend *optimizer_backend(const struct optimizer *o, int group);
bool optimizer_with_host(const struct optimizer *o); /* all of it is the host's memory, whatever becomes of b */
/* After writing to the weights. */
void optimizer_changed(struct optimizer *o);
/* The update of params [first, last) of a set whose flat blocks are w, g, m, v: stretches of trained ones. */
void optimizer_update(struct backend *b, const struct param_set *s, int first, int last, float *w, const float *g, const struct tensor *m,
                      const struct tensor *v, const struct adamw *a);

#endif
