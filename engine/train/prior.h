/* Class images of prior preservation: those of a directory are counted and used as they are, what is missing is made.
 *
 * Made pictures are named class-INDEX-seedSEED.png; the seed is the index, so that a directory can be shared by runs. Their final latents
 * lie beside them in .latents/. Each is written under a temporary name and renamed, latents first: stopped at any time, the next call
 * goes on. Batches are cut at multiples of settings.prior.batch whatever is there already, so that a resumed run makes the same bits. */
#ifndef PDMBOOTH_TRAIN_PRIOR_H
#define PDMBOOTH_TRAIN_PRIOR_H

#include "nets/model.h"
#include "pdmbooth.h"
#include "train/batch.h"
#include "train/gaze.h"
#include "train/room.h"

struct prior {
  int n;          /* settings.prior.images */
  char **path;    /* [n] pictures, by name */
  char **latents; /* [n] files of kept latents that fit the model and size; NULL: none */
  char **mask;    /* [n] files of masks; NULL, or entries NULL: none */
  struct latent_size size;
  char dir[3072];
};

/* Makes what is missing, with the weights as they are: call before training and before a checkpoint is loaded. Directory:
   settings.prior.dir, or where that is "" cache_dir/class/CLASS-HASH (run_dir where there is no cache_dir), HASH over all that the
   pictures depend on. */
struct prior *prior_make(struct model *m, enum dtype act, const struct settings *s, const struct sink *sink, struct err *e);
void prior_delete(struct prior *p);
/* Where they are, or will be. */
bool prior_dir(const struct model *m, enum dtype act, const struct settings *s, char *out, size_t size, struct err *e);
/* Pictures that prior_make would have to make now; -1 and *e: the directory cannot be used. */
int prior_missing(const struct model *m, enum dtype act, const struct settings *s, struct err *e);
/* The callbacks of batch.h; latents only where every picture has them, and wanted. p must outlive out. */
void prior_pictures(struct prior *p, bool latents, struct class_pictures *out);
/* Masks of all the pictures: masks/NAME.png in the directory where the user put one there, else derived, each picture alone, and kept in
   .masks/; sets out->mask. before: units of progress that are done. Weights as they are: before training. Where nothing is found the whole picture counts. */
bool prior_masks(struct prior *p, const struct gaze_job *j, struct room *room, struct class_pictures *out, int64_t before, struct err *e);
/* How many masks would be derived; -1 and *e: the directory cannot be used. */
int prior_masks_missing(const struct model *m, enum dtype act, const struct settings *s, struct err *e);

#endif
