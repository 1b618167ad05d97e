/* A picture in few colours: the palette that fits it, and which of its colours each pixel takes. */
#ifndef PDMBOOTH_UI_QUANTIZE_H
#define PDMBOOTH_UI_QUANTIZE_H

#include "formats/image.h"

struct quantized {
  int n;                          /* colours, 1 to 256 */
  unsigned char palette[256 * 3]; /* [n, 3] RGB, each a whole percentage of 255 as sixels carry them */
  unsigned char *index;           /* [h, w] */
};

/* im: RGB. The palette: boxes of the histogram cut where the squared error is largest (Heckbert's median cut with Wu's criterion), then moved to the
   means of what they hold (Lloyd, two rounds). Pixels by diffusion (Floyd and Steinberg) of half the error, which hides bands and adds little noise.
   False: out of memory. The caller frees with quantized_release. */
bool quantize(const struct image *im, int colours, struct quantized *out);
void quantized_release(struct quantized *q);

#endif
