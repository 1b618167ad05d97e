/* Letters on pictures: a bitmap font of our own, 5x8 in a cell of 6x10, ASCII. */
#ifndef PDMBOOTH_SRC_FONT_H
#define PDMBOOTH_SRC_FONT_H

#include "formats/image.h"

enum { FONT_W = 6, FONT_H = 10 }; /* cell at scale 1 */

struct color {
  unsigned char r, g, b;
};

/* Everything is clipped at the picture's edges; pictures have 3 channels. */
void draw_rect(struct image *im, int x, int y, int w, int h, struct color c);
void draw_line(struct image *im, double x0, double y0, double x1, double y1, double width, struct color c); /* smooth edges */
/* One line of text, its top left corner at x, y; a character outside ASCII is drawn as '?'. Returns the width in pixels. */
int draw_text(struct image *im, int x, int y, int scale, struct color c, const char *text);
int text_width(const char *text, int scale);
/* Breaks text at blanks into lines of at most columns characters and draws at most max_lines of them; returns the height in pixels. */
int draw_wrapped(struct image *im, int x, int y, int scale, struct color c, const char *text, int columns, int max_lines);
/* Copies a picture, each pixel factor x factor (nearest). */
void draw_image(struct image *im, int x, int y, const struct image *picture, int factor);

#endif
