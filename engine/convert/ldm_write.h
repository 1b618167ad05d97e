/* Writing a model as a single-file checkpoint, with what programs want beside it. */
#ifndef PDMBOOTH_CONVERT_LDM_WRITE_H
#define PDMBOOTH_CONVERT_LDM_WRITE_H

#include "convert/weights.h"

/* path: the file, which must not exist; read again and compared. title: for its ModelSpec metadata. *tensors: how many it holds. */
bool ldm_write(const char *path, const struct model *m, const struct weights *w, enum dtype type, const char *title, int *tensors,
               struct err *e);
/* Whether programs need a .yaml of the same name: Stable Diffusion 2.x, and whatever predicts v. */
bool ldm_wants_yaml(const struct model *m);
/* malloc'd; NULL: out of memory. */
char *ldm_yaml_text(const struct model *m);

#endif
