/* A grid of pictures with labels at its top and left edge: where each cell lies, what is scrolled to, what a click hits. Pure arithmetic. */
#ifndef PDMBOOTH_UI_GRID_H
#define PDMBOOTH_UI_GRID_H

#include "ui/layout.h"

struct grid {
  int rows, columns;           /* of pictures */
  int label_w, label_h;        /* cells for the rows' labels at the left and the columns' at the top; 0: none */
  int least_w, least_h;        /* of a picture, at least 1: with more pictures than fit in these, the grid scrolls */
  int gap;                     /* cells between pictures */
  int focus_row, focus_column; /* kept visible; out of range: none */
  int first_row, first_column; /* scrolled to; grid_layout moves it */
  double grow;                 /* the focused picture's row and column are so many times as large as the others: 1 and above */
  struct rect area;            /* of everything, set by grid_layout */
  int shown_rows, shown_columns;
};

/* Sets what is shown for the area; cell sizes follow from grid_cell. */
void grid_layout(struct grid *g, struct rect area);
/* The rectangle of a picture, of a column's label, of a row's label; empty where it is scrolled out. */
struct rect grid_cell(const struct grid *g, int row, int column);
struct rect grid_column_label(const struct grid *g, int column);
struct rect grid_row_label(const struct grid *g, int row);
/* The picture at a place on the screen; false: none. */
bool grid_hit(const struct grid *g, int x, int y, int *row, int *column);
/* Moves the focus by rows and columns, stopping at the edges; from no focus to the first. */
void grid_move(struct grid *g, int rows, int columns);

#endif
