/* The Compare screen's state, shared between what it does (compare.c, compare_make.c, compare_judge.c, compare_keep.c, compare_export.c) and how it looks
 * (compare_draw.c). */
#ifndef PDMBOOTH_UI_SCREENS_COMPARE_H
#define PDMBOOTH_UI_SCREENS_COMPARE_H

#include "ui/app.h"
#include "ui/orders.h"
#include "ui/verdicts.h"

enum { MAX_COLUMNS = 64, MAX_ROWS = 64, MAX_OTHER_RUNS = 4, MAX_TYPED = 16 };
enum compare_view { VIEW_GRID, VIEW_LARGE, VIEW_BESIDE, VIEW_DIFFERENCE };

/* A column: one step of one run; its samples, its checkpoint, or both are there. */
struct compare_column {
  const struct run_view *run;
  int step;
};

struct compare_state {
  struct compare_column column[MAX_COLUMNS];
  int columns;
  const char *prompt[MAX_ROWS]; /* rows: every prompt of any run here, then those typed in; owned by the run views and typed */
  int rows;
  char typed[MAX_TYPED][1000]; /* kept in RUN/compare/prompts.txt */
  int typed_n;
  int x, y, picture;         /* the cell that is looked at; picture: which seed */
  uint64_t seed;             /* that of picture */
  double scale;              /* of LoRAs; 0: the base model */
  int other_x;               /* the column that it is compared with, -1: none */
  int first_x, first_y;      /* column and row at the upper left */
  bool flipped, photographs; /* the other one is shown; the subject's photographs beside */
  bool all_steps;            /* of the other runs, not their last ones only */
  enum compare_view view;
  struct run_view extra[MAX_OTHER_RUNS]; /* other runs in the grid */
  int extras;
  struct verdicts verdicts[1 + MAX_OTHER_RUNS]; /* of the run that is looked at, then of the extra ones */
  struct orders orders;                         /* pictures that are being drawn */
  int cell_w, cell_h;                           /* as drawn last */
  struct rect grid;
  char exported[3600]; /* where to */
  int export_form;     /* enum export_form */
  bool keeping;        /* it is exported because it was kept: what becomes of the rejected ones is asked then */
};

struct compare_state *compare_state(struct app *a); /* NULL: out of memory */
void compare_gather(struct app *a);                 /* columns and rows anew */
/* Path of the cell's picture into buf; false: there is none yet. */
bool compare_cell(const struct compare_state *s, int x, int y, char *buf, size_t n);
void compare_draw(struct app *a, struct rect r);

/* Pictures that are missing (compare_make.c). */
/* What the column's pictures are, with the seed and scale that are looked at; false: the step has no checkpoint. */
bool compare_key_of(const struct compare_state *s, int x, struct order_key *out);
void compare_make(struct app *a, const char *argument);
void compare_make_all(struct app *a, const char *argument);
void compare_cancel(struct app *a, const char *argument);
void compare_weaker(struct app *a, const char *argument);
void compare_stronger(struct app *a, const char *argument);
void compare_scale(struct app *a, const char *argument);
void compare_prompt(struct app *a, const char *argument);
void compare_read_typed(struct compare_state *s, const char *run);

/* What one thinks of a step (compare_judge.c). */
struct verdicts *compare_verdicts(struct compare_state *s, const struct app *a, int x); /* of the column's run */
const struct verdict *compare_verdict(struct compare_state *s, const struct app *a, int x);
void compare_star(struct app *a, const char *argument);
void compare_reject(struct app *a, const char *argument);
void compare_note(struct app *a, const char *argument);
/* The probe loss measured at the column's step; false: none was. */
bool compare_probe(const struct compare_state *s, int x, double *out);

/* What is done with a checkpoint (compare_keep.c, compare_export.c). */
void compare_keep(struct app *a, const char *argument);
void compare_delete(struct app *a, const char *argument);
void compare_sheet(struct app *a, const char *argument);
void compare_export(struct app *a, const char *argument);
void compare_ask_export(struct app *a, const char *title, const char *text);
/* The checkpoint of a column; NULL: none was written at that step. */
const struct run_checkpoint *compare_checkpoint(const struct compare_column *c);

#endif
