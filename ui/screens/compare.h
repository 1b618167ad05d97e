/* The Compare screen's state, shared between what it does (compare.c, compare_keep.c) and how it looks (compare_draw.c). */
#ifndef PDMBOOTH_UI_SCREENS_COMPARE_H
#define PDMBOOTH_UI_SCREENS_COMPARE_H

#include "ui/app.h"
#include "ui/verdicts.h"

enum { MAX_COLUMNS = 64, MAX_ROWS = 64, MAX_OTHER_RUNS = 4 };
enum compare_view { VIEW_GRID, VIEW_LARGE, VIEW_BESIDE, VIEW_DIFFERENCE };

/* A column: the samples of one step of one run. */
struct compare_column {
  const struct run_view *run;
  int step;
};

struct compare_state {
  struct compare_column column[MAX_COLUMNS];
  int columns;
  const char *prompt[MAX_ROWS]; /* rows: every prompt of any run here; owned by the run views */
  int rows;
  int x, y, picture;         /* the cell that is looked at; picture: which seed */
  int other_x;               /* the column that it is compared with, -1: none */
  int first_x, first_y;      /* column and row at the upper left */
  bool flipped, photographs; /* the other one is shown; the subject's photographs beside */
  enum compare_view view;
  struct run_view extra[MAX_OTHER_RUNS]; /* other runs in the grid */
  int extras;
  struct verdicts verdicts; /* of the run that is looked at */
  int cell_w, cell_h;       /* as drawn last */
  struct rect grid;
};

struct compare_state *compare_state(struct app *a); /* NULL: out of memory */
void compare_gather(struct app *a);                 /* columns and rows anew */
/* Path of the cell's picture into buf; false: there is none. */
bool compare_cell(const struct compare_state *s, int x, int y, char *buf, size_t n);
void compare_draw(struct app *a, struct rect r);

/* What is done with a checkpoint (compare_keep.c). */
void compare_keep(struct app *a, const char *argument);
void compare_delete(struct app *a, const char *argument);
void compare_sheet(struct app *a, const char *argument);
/* The checkpoint of a column; false: none was written at that step. */
bool compare_checkpoint(const struct compare_column *c, char *buf, size_t n);

#endif
