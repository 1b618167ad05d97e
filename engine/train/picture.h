/* Pictures from prompts: text embeddings, guided denoising, decoding. Used by class images, test samples and `sample`. */
#ifndef PDMBOOTH_TRAIN_PICTURE_H
#define PDMBOOTH_TRAIN_PICTURE_H

#include "diffusion/sampler.h"
#include "formats/image.h"
#include "nets/model.h"

struct picture_job {
  enum sampler_kind sampler;
  int steps;
  double guidance;      /* <= 1: no negative branch */
  const char *negative; /* "" */
  int width, height;    /* pixels, multiples of the VAE's factor */
};

/* n pictures in one batch: prompts[i] with seeds[i], each a function of its own prompt and seed only. noise: NULL, or [n, h, w, c] NHWC host: used
   instead of the seeds' noise. out: n pictures, or NULL; latents: NULL, or [n, h, w, c] host, receives the final latents. Memory: the model's workspace.
   stop (may be NULL) is asked before each evaluation: non-zero ends with that as the error code. On failure out holds no picture. */
bool pictures_make(struct model *m, enum dtype act, const struct picture_job *j, const char *const *prompts, const uint64_t *seeds, int n,
                   const float *noise, struct image *out, float *latents, int (*stop)(void *), void *stop_user, struct err *e);
/* The same on the counting backend: c has a pool without memory. */
bool pictures_plan(struct ctx *c, struct model *m, const struct picture_job *j, const char *const *prompts, int n);
/* Initial noise of one picture: stream RNG_SAMPLE of its seed, NHWC order of elements [h, w, c]. */
void picture_noise(uint64_t seed, int h, int w, int channels, float *out);
/* round(clamp(x / 2 + 0.5, 0, 1) * 255), x [h, w, 3]. */
bool picture_from_floats(struct image *im, const float *x, int w, int h);
/* Latents of 8-bit pictures (all w x h): posterior mode (noise NULL) or sample, times the scaling factor; noise, out [n, h/f, w/f, c] host. */
bool pictures_encode(struct model *m, enum dtype act, const struct image *im, int n, const float *noise, float *out, struct err *e);

/* workspace_run (nets/workspace.h) with memory of its own, given back at the end; where a model is at hand, &model->work is faster. */
bool with_pool(struct backend *b, enum dtype act, bool (*fn)(struct ctx *c, void *user), void *user, size_t *peak, struct err *e);

#endif
