/* The Train screen's state, shared between what it does (train.c) and how it looks (train_draw.c). */
#ifndef PDMBOOTH_UI_SCREENS_TRAIN_H
#define PDMBOOTH_UI_SCREENS_TRAIN_H

#include "ui/app.h"
#include "ui/plot.h"

enum train_term { TERM_TOTAL, TERM_INSTANCE, TERM_PRIOR, TERM_PDM, TERM_PROBE, TERM_RATE, TERM_NORM, TERM_COUNT };
enum { SMOOTHINGS = 4 };

struct train_state {
  int cursor;    /* a step; -1: the last one, whichever that is */
  int smoothing; /* 0 none, 1 to 3 more and more */
  double zoom;   /* 1: all steps */
  bool logarithmic;
  int term;         /* of enum train_term: that one alone; TERM_COUNT: all losses */
  int prompt;       /* whose samples are shown first */
  struct rect plot; /* where the curves were drawn last */
  struct plot_frame frame;
};

struct train_state *train_state(struct app *a); /* NULL: out of memory */
/* The steps that are shown. */
void train_range(const struct train_state *s, const struct run_view *v, int *first, int *last);
/* Steps that one column of the plot stands for, at least 1. */
int train_stride(const struct train_state *s, const struct run_view *v);
void train_draw(struct app *a, struct rect r);
void train_point(struct app *a, struct rect r, int x, int y); /* the cursor to where was clicked */

#endif
