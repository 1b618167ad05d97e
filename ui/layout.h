/* Rectangles of cells: splitting a screen, fitting pictures. Pure arithmetic. */
#ifndef PDMBOOTH_UI_LAYOUT_H
#define PDMBOOTH_UI_LAYOUT_H

#include <stdbool.h>

/* In cells, x to the right, y downwards; w or h of 0 is empty. */
struct rect {
  int x, y, w, h;
};

bool rect_empty(struct rect r);
bool rect_holds(struct rect r, int x, int y);
struct rect rect_meet(struct rect a, struct rect b);                             /* the common part, w = h = 0 where there is none */
struct rect rect_inset(struct rect r, int left, int top, int right, int bottom); /* never negative sizes */
struct rect rect_top(struct rect r, int rows);                                   /* the first rows, at most all */
struct rect rect_bottom(struct rect r, int rows);                                /* the last rows */
struct rect rect_left(struct rect r, int columns);
struct rect rect_right(struct rect r, int columns);

/* One part of a split: at least min cells, at most max (0: no limit); what is left is shared by weight (0: exactly min). */
struct part {
  int min, max, weight;
};

/* Splits length cells, gap cells between neighbours, into n parts: sizes [n], whose sum with the gaps is at most length and
   equals it when a part without max has a weight. Where the minima do not fit, parts shrink from the last one on, down to 0;
   a part of size 0 takes no gap. */
void layout_split(int length, int gap, const struct part *parts, int n, int *sizes);
/* The same across a rectangle: side by side or one above the other; out [n]. */
void layout_columns(struct rect r, int gap, const struct part *parts, int n, struct rect *out);
void layout_rows(struct rect r, int gap, const struct part *parts, int n, struct rect *out);

/* The size in pixels of one character cell; 0: unknown (then a cell counts as twice as high as wide). */
struct cell_size {
  int w, h;
};

/* The largest rectangle of cells within box, centred, that shows a picture of w x h pixels with its proportions; at least one cell
   of a box that is not empty. Up to two rows are given up where whole cells then keep the proportions better. With upscale false it is
   no larger than the picture's own pixels need. */
struct rect layout_fit(struct rect box, int w, int h, struct cell_size cell, bool upscale);

#endif
