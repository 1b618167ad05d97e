/* Masks where no file gives them (method.md section 6): derived from the photographs and the frozen model by gaze.h and segment.h.
 *
 * Photographs in training are looked at together, those with a mask file lending theirs to the others; a held-out one is derived last and
 * changes nothing for them. In out_dir: NAME.png (white inside) and NAME-overlay.png to look at. Each NAME.png carries a key
 * of all that it depends on and is taken as it is where that fits, so that a resumed run has the same masks without computing again; a file that
 * this program did not write is never replaced. */
#ifndef PDMBOOTH_TRAIN_AUTOMASK_H
#define PDMBOOTH_TRAIN_AUTOMASK_H

#include "pdmbooth.h"
#include "train/dataset.h"
#include "train/gaze.h"
#include "train/room.h"

struct automask_job {
  struct gaze_job gaze;
  const struct embedded_file *embedded;
  struct dataset *data;
  const struct dataset_want *want; /* as data was opened */
  const char *out_dir;
  struct room *room; /* a full disk is waited for */
  bool all;          /* write masks and overlays of given masks too */
  int64_t more;      /* units of progress that follow: class images */
};

/* Gives every photograph without a mask one. Uses the weights as they are: before training. ERR_INPUT: out_dir holds somebody else's file of that
   name. */
bool automask_make(const struct automask_job *j, struct err *e);
/* Takes the masks that an earlier call left, if it left all of them; what is still missing then is automask_make's. */
bool automask_recall(const struct automask_job *j, struct err *e);
/* Photographs that automask_make would look at, and without a mask. */
int automask_gazes(const struct dataset *d);
int automask_missing(const struct dataset *d);
/* Bytes of host memory that it holds beside the workspace. */
int64_t automask_buffers(const struct dataset *d);
int64_t segment_buffers(int w, int h); /* of one picture of that size */

/* Key in the PNG text of what was written here. */
#define AUTOMASK_KEY "pdmbooth-mask"
#define AUTOMASK_CONFIDENCE "pdmbooth-confidence" /* of a derived one: "0.62" */
/* Below this a mask is better looked at. */
#define AUTOMASK_SURE 0.45

/* out [rgb, at most 512 wide and high]: the photograph, dark outside the mask, with a line around it. */
bool automask_overlay(const struct image *rgb, const struct image *mask, struct image *out, struct err *e);

#endif
