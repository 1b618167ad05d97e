/* Pictures that screens show: pixels shared between the interface and its worker threads, and their scaling. */
#ifndef PDMBOOTH_UI_PICTURE_H
#define PDMBOOTH_UI_PICTURE_H

#include <stdatomic.h>

#include "formats/image.h"

/* Never changes once made; freed when the last reference is dropped. */
struct picture {
  atomic_int references;
  uint64_t id;        /* unique in the process */
  uint32_t version;   /* 1, or the caller's count where a picture is drawn again under the same id */
  struct image full;  /* RGB */
  struct image small; /* RGB, at most 192 pixels a side, equal in shape; pixels NULL where full is as small itself */
};

/* Takes the pixels of im (grey or RGB), also when it fails; one reference. NULL: out of memory. */
struct picture *picture_new(struct image *im);
/* The same picture with other pixels: a new object with the id of `before` and the next version. */
struct picture *picture_again(const struct picture *before, struct image *im);
struct picture *picture_ref(struct picture *p); /* NULL is let through by both */
void picture_unref(struct picture *p);

/* in (RGB) scaled to w x h: each pixel the mean of the area it covers; where it becomes larger, smooth (linear) or by nearest. */
bool picture_scale(const struct image *in, int w, int h, bool smooth, struct image *out);

#endif
