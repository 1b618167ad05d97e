/* Sixels to pixels, for tests: written from the VT340's description, not with the library that encodes. */
#ifndef PDMBOOTH_TESTS_TERMINAL_SIXEL_DECODE_H
#define PDMBOOTH_TESTS_TERMINAL_SIXEL_DECODE_H

#include <stddef.h>

#include "formats/image.h"

/* data [n]: from "ESC P" (or what follows it) to before or with the string terminator. out: RGB, owned by the caller; pixels that were not set
   are black and set [h, w] (owned too, may be NULL) tells which were. false: not sixels, or larger than 8192 pixels a side. */
bool decode_sixels(const char *data, size_t n, struct image *out, unsigned char **set);

/* Root of the mean square of the differences, in units of the full range (0 to 1); 1 where sizes differ. */
double picture_rmse(const struct image *a, const struct image *b);

#endif
