/* Loss curves on the canvas: a pure function of the series and of what part of them is looked at. */
#ifndef PDMBOOTH_UI_PLOT_H
#define PDMBOOTH_UI_PLOT_H

#include "ui/canvas.h"

/* How a curve is drawn, so that curves are told apart without colours. */
enum plot_line { PLOT_SOLID, PLOT_DASHED, PLOT_DOTTED, PLOT_DASH_DOTTED, PLOT_LINES };

/* One curve; steps ascend. NaN is a gap. Borrowed. */
struct plot_series {
  const char *name;
  const double *step, *value; /* [n] */
  int n;
  enum style style;
  enum plot_line line;
};

/* Something that happened at a step; shown in the row above the steps' axis. */
enum plot_mark_kind { PLOT_SAMPLE, PLOT_CHECKPOINT, PLOT_NAN, PLOT_SPIKE, PLOT_MARK_KINDS };
struct plot_mark {
  double step;
  enum plot_mark_kind kind;
};

struct plot {
  const struct plot_series *series; /* [n_series] */
  int n_series;
  const struct plot_mark *marks; /* [n_marks] */
  int n_marks;
  double from, to;  /* steps that are looked at; from >= to: all */
  double low, high; /* values that are looked at; low >= high: as the visible curves need */
  bool logarithmic; /* of the values; what is not above 0 is a gap then */
  double smoothing; /* weight of the past, 0 to below 1: debiased exponential mean; 0: none */
  bool has_cursor;
  double cursor; /* a step: a vertical line and the values there */
  bool legend;
};

/* What was drawn, for the mouse and for pan and zoom. */
struct plot_frame {
  struct rect area;           /* of cells, within the axes */
  double from, to, low, high; /* of the area's edges; low and high as logarithms to base 10 on a logarithmic axis */
};

/* Draws into r (at least 12 x 4 cells, else a sentence says that there is no room). Without points it says so. Curves that cross a cell share it,
   the first named wins the colour. Many points cost no more than their number once: each column of dots spans what happened in it. */
struct plot_frame plot_draw(struct canvas *c, struct rect r, const struct plot *p);

/* The step at a column of cells, and the column at a step (may lie outside the area). */
double plot_step_at(const struct plot_frame *f, int x);
int plot_column_of(const struct plot_frame *f, double step);
/* The point nearest to a step, -1 without points. */
int plot_nearest(const struct plot_series *s, double step);

/* Changes the window in p: zooms around a step by factor (0.5: half as much is seen), moves by a part of its width. Stays within the series. */
void plot_zoom(struct plot *p, double step, double factor);
void plot_pan(struct plot *p, double part);

/* Debiased exponential mean: m = w m + (1 - w) v, shown m / (1 - w^k) after k values; NaN stays NaN and is left out of the mean. out [n]
   may be values. */
void plot_smooth(const double *values, int n, double weight, double *out);
/* Round numbers from low to high, at most `most`: returns how many are in out; *step between them. */
int plot_ticks(double low, double high, int most, double *out, double *step);
/* A number in few characters: 0.0312, 12.5k, 1e-06. step: the distance of neighbours, which says how many decimals are needed; 0: about three digits. */
void plot_number(double v, double step, char *out, size_t n);

#endif
