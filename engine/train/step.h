/* One training step on explicit inputs: method.md section 4. What goes in is host data, but for latents that were just encoded, so
 * that tests and --dump-steps can give and see all of it. */
#ifndef PDMBOOTH_TRAIN_STEP_H
#define PDMBOOTH_TRAIN_STEP_H

#include "nets/model.h"

enum slot_kind { SLOT_INSTANCE, SLOT_PRIOR, SLOT_PDM, SLOT_KINDS };
enum { STEP_MAX_SLOTS = 192 };

/* One image of the forward pass. Host arrays, owned by the caller. */
struct slot {
  enum slot_kind kind;
  int example; /* 0..examples-1 */
  int t;
  const int32_t *ids;    /* [77] */
  const float *latents;  /* [h, w, c] NHWC, scaled: z */
  float *device_latents; /* the same in device memory, in place of latents; NULL: those */
  const float *noise;    /* [h, w, c], offset noise already added */
  const float *mask;     /* instance, prior: [h * w] of 0 and 1, NULL: all; pdm: [tokens] */
  const float *qstar;    /* pdm: [tokens, channels] (rows outside the mask are not looked at) */
};

struct step_options {
  double prior_weight, pdm_weight;
  double min_snr;  /* gamma, 0: off */
  bool train_text; /* text encoder in the graph, else its output is a constant */
  bool recompute;  /* and recompute_blocks: struct unet_options */
  int recompute_blocks;
  int pdm_handle;   /* of unet_pdm_layer; -1: no pdm slot */
  float grad_scale; /* 1 / accumulation, times the scale of the loss */
};

struct step_loss {
  double instance, prior, pdm, total; /* mean over examples; 0 where a term has no slot */
};

/* Forward and backward of all slots in one batch: adds grad_scale * dL/dp to every trained param's gradient. h, w: of the latent. */
bool train_step(struct ctx *c, struct model *m, const struct slot *slots, int n, int examples, int h, int w, const struct step_options *o,
                struct step_loss *out, struct err *e);
/* The same without waiting for anything: loss [n] in device memory receives what step_losses wants to know of each slot. */
bool train_step_later(struct ctx *c, struct model *m, const struct slot *slots, int n, int examples, int h, int w,
                      const struct step_options *o, double *loss, struct err *e);
/* What becomes of those numbers, to be asked while the slots are what they were. */
struct step_terms {
  int n, examples;
  double prior_weight, pdm_weight;
  struct step_term {
    enum slot_kind kind; /* SLOT_KINDS: none */
    double snr;
  } slot[STEP_MAX_SLOTS];
};
void step_terms(const struct model *m, const struct slot *slots, int n, int examples, const struct step_options *o, struct step_terms *out);
void step_losses(const struct step_terms *t, const double *loss, struct step_loss *out); /* loss: host, [n] */
/* Losses without gradients (probe). */
bool eval_step(struct ctx *c, struct model *m, const struct slot *slots, int n, int examples, int h, int w, const struct step_options *o,
               struct step_loss *out, struct err *e);

#endif
