/* Colours of terminals: 24-bit values and the palettes of 256, 16 and 8. */
#ifndef PDMBOOTH_UI_COLOUR_H
#define PDMBOOTH_UI_COLOUR_H

#include <stdint.h>

enum colour_depth { DEPTH_MONO, DEPTH_8, DEPTH_16, DEPTH_256, DEPTH_TRUE };

enum { COLOUR_DEFAULT = -1 }; /* the terminal's own */

/* 0xRRGGBB of a palette's entry: 0 to 15 xterm's standard colours, 16 to 231 the cube of six levels, 232 to 255 greys. */
uint32_t colour_of_index(int index);
/* What a terminal of that depth is told for rgb: rgb itself (DEPTH_TRUE), the nearest entry of the palette by weighted distance, 0 (DEPTH_MONO).
   DEPTH_256 leaves out the first 16, which users change. */
int32_t colour_nearest(enum colour_depth depth, uint32_t rgb);
/* The colour a terminal of that depth shows for rgb. */
uint32_t colour_shown(enum colour_depth depth, uint32_t rgb);
/* Luminance of the sRGB value, 0 to 255. */
int colour_luma(uint32_t rgb);

#endif
