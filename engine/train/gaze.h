/* What a frozen model sees in a picture, for masks: where the attention of a word goes, and the query features of a layer.
 *
 * Noise of a few levels is added to the picture's latents and the network predicts once for each; the cross-attention of the class word in
 * the decoder (its middle grids, where it is known to be most faithful to the thing) is averaged, and the queries of the last self-attention
 * (method.md section 6, Samuel et al., "Where's Waldo") are averaged over the same passes. The picture is seen whole, at about the model's
 * own area, its sides rounded to what the network can halve. */
#ifndef PDMBOOTH_TRAIN_GAZE_H
#define PDMBOOTH_TRAIN_GAZE_H

#include "formats/source.h"
#include "formats/image.h"
#include "nets/model.h"
#include "train/tell.h"

enum { GAZE_LEVELS = 4, GAZE_NOISES = 2 };

struct gaze_job {
  struct model *m;
  enum dtype act;
  const char *class_name; /* one word or several; "" : the last word of prompt */
  const char *prompt;     /* class prompt: used where class_name is empty */
  int width, height;      /* of training: gives the area */
  const char *engine;     /* name of the backend that computes, for keys; NULL: m's */
  const struct sink *sink;
};

/* Owned; gaze_release. */
struct gaze {
  int w, h;         /* grid of both: the layer's tokens */
  float *attention; /* [h, w], mean 1: how much of the word's attention a place has */
  int channels;
  float *q; /* [h, w, channels], rows of length 1 */
};

/* Uses the model's workspace. ERR_INPUT: the class has no token of its own. */
bool gaze_at(const struct gaze_job *j, const struct image *rgb, struct gaze *out, struct err *e);
void gaze_release(struct gaze *k);
/* Begins a hash with all of the job that gazes depend on. what: kind and version of what is made of them. */
void gaze_key(const struct gaze_job *j, const char *what, struct sha256 *h);
/* A gaze at a w x h picture on the counting backend, for its memory. */
bool gaze_count(struct ctx *c, const struct gaze_job *j, int w, int h);
/* Size at which the network sees a picture of w x h. */
void gaze_size(const struct gaze_job *j, int w, int h, int *out_w, int *out_h);

#endif
