#include "ui/grid.h"

static int larger(int a, int b) {
  return a > b ? a : b;
}

static int clamp(int v, int low, int high) {
  return v > high ? larger(high, low) : larger(v, low);
}

/* How many of n pictures of at least `least` cells, one of which is `grow` times as large, fit in length. */
static int fitting(int length, int n, int least, int gap, double grow, bool focused) {
  int extra = focused ? (int)(least * (grow - 1) + 0.5) : 0;
  int fit = (length - extra + gap) / (least + gap);
  return clamp(fit, 1, n);
}

/* The window of `shown` of n from `first` on that holds the focus. */
static int scroll(int first, int shown, int n, int focus) {
  if (focus >= 0 && focus < n) {
    if (focus < first) first = focus;
    if (focus >= first + shown) first = focus - shown + 1;
  }
  return clamp(first, 0, n - shown);
}

static bool has_focus(const struct grid *g) {
  return g->focus_row >= 0 && g->focus_row < g->rows && g->focus_column >= 0 && g->focus_column < g->columns;
}

static struct rect pictures_area(const struct grid *g) {
  return rect_inset(g->area, g->label_w > 0 ? g->label_w + 1 : 0, g->label_h, 0, 0);
}

void grid_layout(struct grid *g, struct rect area) {
  g->area = area;
  if (g->grow < 1) g->grow = 1;
  g->least_w = larger(1, g->least_w);
  g->least_h = larger(1, g->least_h);
  struct rect in = pictures_area(g);
  g->shown_rows = g->rows > 0 ? fitting(in.h, g->rows, g->least_h, g->gap, g->grow, has_focus(g)) : 0;
  g->shown_columns = g->columns > 0 ? fitting(in.w, g->columns, g->least_w, g->gap, g->grow, has_focus(g)) : 0;
  g->first_row = g->rows > 0 ? scroll(g->first_row, g->shown_rows, g->rows, g->focus_row) : 0;
  g->first_column = g->columns > 0 ? scroll(g->first_column, g->shown_columns, g->columns, g->focus_column) : 0;
}

/* Where the i-th of `shown` begins and how long it is: equal shares, the focused one's larger, nothing lost to rounding. */
static void span(int length, int gap, int shown, int focus, double grow, int i, int *at, int *size) {
  int room = larger(0, length - gap * (shown - 1));
  double shares = shown + (focus >= 0 && focus < shown ? grow - 1 : 0);
  double before = i + (focus >= 0 && focus < i ? grow - 1 : 0), after = i + 1 + (focus >= 0 && focus <= i ? grow - 1 : 0);
  int start = (int)(room * before / shares + 0.5), end = (int)(room * after / shares + 0.5);
  *at = start + gap * i;
  *size = end - start;
}

static bool is_shown(const struct grid *g, int row, int column) {
  return row >= g->first_row && row < g->first_row + g->shown_rows && column >= g->first_column &&
         column < g->first_column + g->shown_columns;
}

struct rect grid_cell(const struct grid *g, int row, int column) {
  struct rect in = pictures_area(g), r = {in.x, in.y, 0, 0};
  if (!is_shown(g, row, column)) return r;
  bool focused = has_focus(g);
  int x, y;
  span(in.w, g->gap, g->shown_columns, focused ? g->focus_column - g->first_column : -1, g->grow, column - g->first_column, &x, &r.w);
  span(in.h, g->gap, g->shown_rows, focused ? g->focus_row - g->first_row : -1, g->grow, row - g->first_row, &y, &r.h);
  r.x += x;
  r.y += y;
  return rect_meet(r, in);
}

struct rect grid_column_label(const struct grid *g, int column) {
  struct rect r = grid_cell(g, g->first_row, column);
  if (rect_empty(r) || g->label_h < 1) return (struct rect){g->area.x, g->area.y, 0, 0};
  return rect_meet((struct rect){r.x, g->area.y, r.w, g->label_h}, g->area);
}

struct rect grid_row_label(const struct grid *g, int row) {
  struct rect r = grid_cell(g, row, g->first_column);
  if (rect_empty(r) || g->label_w < 1) return (struct rect){g->area.x, g->area.y, 0, 0};
  return rect_meet((struct rect){g->area.x, r.y, g->label_w, r.h}, g->area);
}

bool grid_hit(const struct grid *g, int x, int y, int *row, int *column) {
  for (*row = g->first_row; *row < g->first_row + g->shown_rows; (*row)++) {
    for (*column = g->first_column; *column < g->first_column + g->shown_columns; (*column)++) {
      if (rect_holds(grid_cell(g, *row, *column), x, y)) return true;
    }
  }
  return false;
}

void grid_move(struct grid *g, int rows, int columns) {
  if (g->rows < 1 || g->columns < 1) return;
  bool focused = has_focus(g);
  g->focus_row = focused ? clamp(g->focus_row + rows, 0, g->rows - 1) : 0;
  g->focus_column = focused ? clamp(g->focus_column + columns, 0, g->columns - 1) : 0;
}
