/* A picture made of characters: what stands beneath a picture of pixels, and what a terminal without pixels shows. */
#ifndef PDMBOOTH_UI_MOSAIC_H
#define PDMBOOTH_UI_MOSAIC_H

#include "ui/canvas.h"
#include "ui/colour.h"
#include "ui/picture.h"

/* Draws the picture into the largest part of r that keeps its proportions (layout_fit), and returns that part; around it nothing is drawn: half blocks of two colours (16 and 8 by diffusion), quarter
   blocks for monochrome; without UTF-8 one colour for each cell, or a ramp of characters for monochrome.
   Upper or lower half is chosen pseudo-randomly for each cell with the colours swapped to match, so that no cell is blank and no
   two rows are alike: ncurses would scroll or erase such rows and with them the pixels above (ui/frame.h).
   cell: its size in pixels; smooth as in picture_scale. Out of memory: the cells are blank. */
struct rect mosaic_draw(struct canvas *c, struct rect r, const struct picture *p, struct cell_size cell, enum colour_depth depth,
                        bool smooth);
/* The same, and the picture noted with canvas_picture, so that pixels replace it where the terminal has them. */
struct rect mosaic_place(struct canvas *c, struct rect r, struct picture *p, struct cell_size cell, enum colour_depth depth, bool smooth);

#endif
