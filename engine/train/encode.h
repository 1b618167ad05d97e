/* Pixels to latents through the VAE. Arrays are the host's where nothing else is said. */
#ifndef PDMBOOTH_TRAIN_ENCODE_H
#define PDMBOOTH_TRAIN_ENCODE_H

#include "nets/model.h"
#include "train/dataset.h"

/* Size of the latents of a w x h picture. */
struct latent_size {
  int w, h, channels;
  int64_t count; /* w h channels */
};
struct latent_size latent_size_of(const struct model *m, int width, int height);
/* A planning run computes nothing: loops run once, files stay untouched. */
bool planning(const struct ctx *c);

/* pixels [h, w, 3] -> moments [lh, lw, 2 z]. */
bool encode_pixels(struct ctx *c, struct model *m, const float *pixels, int width, int height, float *moments);
/* Moments of the centre crop, plain or flipped: computed once, then kept in p->moments; pixels: a buffer of [h, w, 3]. NULL on failure. */
const float *center_moments(struct ctx *c, struct model *m, const struct dataset *d, struct photograph *p, bool flip, float *pixels);
/* out [lh, lw, z] = scaling factor * (mean + exp(logvar / 2) noise - shift); noise NULL: the mode. */
bool moments_to_latents(struct ctx *c, struct model *m, const float *moments, const float *noise, const struct latent_size *s, float *out);
/* The same without waiting: out F32 [1, lh, lw, z] in device memory, of moments, or of the moments of pixels [h, w, 3]. */
bool latents_of_moments(struct ctx *c, struct model *m, const float *moments, const float *noise, struct tensor *out);
bool latents_of_pixels(struct ctx *c, struct model *m, const float *pixels, int width, int height, const float *noise, struct tensor *out);

#endif
