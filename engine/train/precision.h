/* What a run computes in, and the scale that keeps its gradients inside of F16.
 *
 *   fp32   activations and products in F32
 *   tf32   the same, but products of F32 round their factors to 10 bits where the device can do that faster
 *   bf16   activations in BF16
 *   fp16   activations in F16, whose numbers end at 65504 and, small ones, at 6e-8
 *
 * Always: weights, moments and gradients of parameters in F32, sums and statistics in F32 or better, text encoder and VAE in F32 inside.
 *
 * Small gradients would vanish in F16, so the loss's gradient is multiplied by a scale and the optimiser divides by it: torch.amp.GradScaler with its defaults. It begins
 * at 65536. Gradients that are not finite mean that the scale was too large: the step makes no update and the scale is halved. After 2000 updates in a row it is doubled.
 * A scale below 1 helps nothing any more: then it is the network that does not fit F16, and an error. */
#ifndef PDMBOOTH_TRAIN_PRECISION_H
#define PDMBOOTH_TRAIN_PRECISION_H

#include "backend/backend.h"
#include "train/tell.h"

enum dtype precision_type(enum precision p); /* of the activations */
/* Right after opening b: TF32 where it is wanted; where the device has none, that is said. */
void precision_apply(struct backend *b, enum precision p, const struct sink *sink);
/* Name of the backend for keys of what is kept: results of another one are not the same bits. */
const char *precision_engine(const struct backend *b);

enum { LOSS_SCALE_GROWS_AFTER = 2000 };
struct loss_scale { /* part of the state of a run */
  double scale;     /* a power of two; 0: not scaled */
  int updates;      /* since it changed last */
};
struct loss_scale loss_scale_begin(enum precision p);
double loss_scale_factor(const struct loss_scale *s); /* what the loss's gradient is multiplied by; 1 where it is not scaled */
/* After a step; finite: its gradients were. True where the scale is another one now. */
bool loss_scale_changes(struct loss_scale *s, bool finite);
bool loss_scale_spent(const struct loss_scale *s); /* below 1 */

#endif
