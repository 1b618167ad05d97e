/* What may be wrong with photographs that a subject is learned from: found from their pixels alone. */
#ifndef PDMBOOTH_SRC_PHOTO_CHECK_H
#define PDMBOOTH_SRC_PHOTO_CHECK_H

#include "formats/image.h"

struct photo_facts {
  char name[256];
  int w, h;
  bool turned;       /* EXIF turns or mirrors it: done when it is read, but other programs may not */
  double sharpness;  /* variance of the Laplacian where there is most of it, at 512 pixels: blurred pictures have little */
  uint64_t print;    /* difference hash of 8x8: nearly the same for copies in another size, quality or format */
  char trouble[300]; /* why it cannot be read; "" it can */
};

/* Sharpness, print and size of a picture (RGB or grey). False: out of memory. */
bool photo_measure(const struct image *im, struct photo_facts *out);
/* What is wrong with photo i of n, as short phrases with "; " between them; "" where nothing is. least: side in pixels below which it is small. Returns buf. */
const char *photo_judge(const struct photo_facts *photo, int n, int i, int least, char *buf, size_t size);

#endif
