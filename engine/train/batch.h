/* The inputs of one micro-batch: what was drawn, cropped, encoded and looked up, as slots of step.h. Buffers are allocated once. */
#ifndef PDMBOOTH_TRAIN_BATCH_H
#define PDMBOOTH_TRAIN_BATCH_H

#include "train/dataset.h"
#include "train/draw.h"
#include "train/encode.h"
#include "train/pdm.h"
#include "train/step.h"

/* Where class pictures come from. */
struct class_pictures {
  int n;
  void *user;
  /* The i-th as pixels; or, where latents are kept (latents not NULL), those, scaled: out [h, w, c]. */
  bool (*picture)(void *user, int i, struct image *out, struct err *e);
  bool (*latents)(void *user, int i, float *out, struct err *e);
  /* Its mask, 0 and 255, of its own aspect. NULL: there are none. */
  bool (*mask)(void *user, int i, struct image *out, struct err *e);
};

struct batch_want {
  bool instance, prior, pdm, mask_dm, mask_prior;
  bool center_crop;
  double noise_offset;
  const char *instance_prompt, *class_prompt;
};

/* One slot's own buffers; arrays as in struct slot. */
struct slot_data {
  float *pixels;    /* [H, W, 3] of the last fill */
  float *posterior; /* [h, w, c] normals */
  float *latents;   /* where they are kept, or after batch_read */
  float *noise, *mask, *qstar;
  bool from_pixels; /* latents were encoded from pixels: false for kept latents */
};

struct batch {
  struct model *m;
  struct dataset *d;
  struct draw *draw;
  const struct pdm_targets *pdm;
  const struct class_pictures *classes;
  struct batch_want want;
  struct latent_size size;
  int32_t instance_ids[77], class_ids[77];
  int slots;              /* of a micro-batch: examples times the kinds that are on; all instance slots first, then prior, then pdm */
  struct slot *slot;      /* [slots] */
  struct slot_data *data; /* [slots] */
  struct tensor latents;  /* [slots, h, w, c] F32, of the pool: what the slots point into */
};

/* The members up to want are set. pdm and classes may be NULL where their term is off. */
bool batch_init(struct batch *b, struct err *e);
void batch_release(struct batch *b);
/* Micro-batch `micro` of step (from 0). Its latents are in the pool of c until batch_end; nothing is waited for but what is computed only once. */
bool batch_fill(struct batch *b, struct ctx *c, int step, int micro, struct err *e);
void batch_end(struct batch *b, struct ctx *c);
bool batch_read(struct batch *b, struct ctx *c); /* its latents to data[].latents; waits */

#endif
