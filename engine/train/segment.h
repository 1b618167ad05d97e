/* Masks of one subject on several pictures at once, without training.
 *
 * Three kinds of evidence: where the attention of the class word goes (gaze.h); how often a colour and a query feature occur inside the
 * masks of all pictures compared with outside the mask of this one, the subject being what the pictures have in common (joint
 * segmentation in the manner of GrabCut: Rother, Kolmogorov and Blake, 2004, and of co-segmentation: Rother et al., 2006); and the edges of
 * the picture, along which the result is smoothed (random walker: Grady, 2006). The masks and the statistics are computed in turns.
 * One thread, host memory, the same bits everywhere. */
#ifndef PDMBOOTH_TRAIN_SEGMENT_H
#define PDMBOOTH_TRAIN_SEGMENT_H

#include "formats/image.h"
#include "train/gaze.h"

struct segment_item {
  const struct image *rgb;
  const struct gaze *gaze;
  const struct image *given; /* a mask of the same aspect, above zero inside; NULL: to be found */
  struct image mask;         /* out where none was given: of rgb's size, 255 inside; image_release */
  double share;              /* of the area */
  double confidence;         /* 0..1 */
};

bool segment(struct segment_item *item, int n, struct err *e);

#endif
