/* The Train screen's state, shared between what it does (train.c) and how it looks (train_draw.c). */
#ifndef PDMBOOTH_UI_SCREENS_TRAIN_H
#define PDMBOOTH_UI_SCREENS_TRAIN_H

#include "ui/app.h"
#include "ui/plot.h"

enum train_term { TERM_TOTAL, TERM_INSTANCE, TERM_PRIOR, TERM_PDM, TERM_PROBE, TERM_RATE, TERM_NORM, TERM_COUNT };
enum { SMOOTHINGS = 4, MAX_BESIDE = 7 };

struct train_state {
  int cursor;    /* a step; -1: the last one, whichever that is */
  int smoothing; /* 0 none, 1 to 3 more and more */
  double zoom;   /* 1: all steps */
  int pan;       /* steps that the middle of what is shown lies behind the cursor */
  bool logarithmic;
  int term;         /* of enum train_term: that one alone; TERM_COUNT: all losses */
  int prompt;       /* whose samples are shown first */
  struct rect plot; /* where the curves were drawn last */
  struct plot_frame frame;
  struct run_view *beside[MAX_BESIDE]; /* other runs whose curves are shown, owned */
  int n_beside;
  char label[MAX_CHOICES][400]; /* of the runs to choose from */
  int listed[MAX_CHOICES], n_listed;
};

struct train_state *train_state(struct app *a); /* NULL: out of memory */
/* The steps that are shown. */
void train_range(const struct train_state *s, const struct run_view *v, int *first, int *last);
/* Steps that one column of the plot stands for, at least 1. */
int train_stride(const struct train_state *s, const struct run_view *v);
/* Other runs beside it (train_beside.c). */
void train_beside(struct app *a, const char *argument);
void train_alone(struct app *a, const char *argument);
void train_beside_changed(struct app *a);
void train_release(struct app *a);
/* What actions on the run do (train_control.c). */
void train_pause(struct app *a, const char *argument);
void train_stop(struct app *a, const char *argument);
void train_resume(struct app *a, const char *argument);
void train_checkpoint(struct app *a, const char *argument);
void train_sample(struct app *a, const char *argument);
void train_queue(struct app *a, const char *argument);
void train_rate(struct app *a, const char *argument);
void train_samples_every(struct app *a, const char *argument);
void train_checkpoints_every(struct app *a, const char *argument);
void train_draw(struct app *a, struct rect r);
void train_point(struct app *a, struct rect r, int x, int y); /* the cursor to where was clicked */

#endif
