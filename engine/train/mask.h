/* Binary masks: from pixels to the grid of the latents or of a layer's tokens. */
#ifndef PDMBOOTH_TRAIN_MASK_H
#define PDMBOOTH_TRAIN_MASK_H

#include "formats/image.h"

/* 255 where a pixel of the grey picture is above zero, else 0; in place. */
void mask_binarise(struct image *mask);
/* Tidies a mask (0 and 255) in place: lines of one or two pixels go (a majority of 5 x 5), islands below a fiftieth of the mask go, holes
   below a thousandth of the picture are filled. False: out of memory. */
bool mask_tidy(struct image *mask);
/* A crop of a mask (0 and 255) on a grid, out [gh * gw] of 0 and 1: resized as the reference does it, Pillow's antialiased bicubic
   in 8 bits, 1 where the result is above zero (tests/reference/README.md, "Resampling"). flip: the crop is mirrored first.
   Returns how many are 1, -1 when out of memory. */
int mask_to_grid(const struct image *mask, int x, int y, int w, int h, bool flip, int gw, int gh, float *out);

#endif
