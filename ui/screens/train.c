/* Train: a run under way or one that ended long ago: losses, progress, samples. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ui/app.h"
#include "ui/screens/screens.h"
#include "ui/screens/train.h"

struct train_state *train_state(struct app *a) {
  if (!a->state[SCREEN_TRAIN]) {
    struct train_state *s = calloc(1, sizeof *s);
    if (s) *s = (struct train_state){.cursor = -1, .smoothing = 2, .zoom = 1, .term = TERM_COUNT};
    a->state[SCREEN_TRAIN] = s;
  }
  return a->state[SCREEN_TRAIN];
}

/* --- actions: the run ---------------------------------------------------------------------------------------------------------- */

static void other_run(struct app *a, int by) {
  int at = runs_find(&a->runs, a->runs.view.path);
  for (int i = at + by; at >= 0 && i >= 0 && i < a->runs.n; i += by) {
    if (strcmp(a->runs.item[i].subject, a->runs.view.subject)) continue;
    runs_view(&a->runs, a->runs.item[i].path);
    return;
  }
  app_say(a, by < 0 ? "this is the newest run of %s" : "this is the oldest run of %s", a->subject);
}

static void newer(struct app *a, const char *argument) {
  (void)argument;
  other_run(a, -1);
}

static void older(struct app *a, const char *argument) {
  (void)argument;
  other_run(a, 1);
}

static void at_work(struct app *a, const char *argument) {
  int at = runs_find(&a->runs, a->runs.view.path);
  (void)argument;
  for (int i = 1; i <= a->runs.n; i++) {
    const struct run_item *x = &a->runs.item[(at + i) % a->runs.n];
    if (!run_is_at_work(x->state)) continue;
    runs_view(&a->runs, x->path);
    return;
  }
  app_say(a, "no run is under way");
}

/* --- actions: the curves ----------------------------------------------------------------------------------------------------------- */

static void move_cursor(struct app *a, int by) {
  struct train_state *s = train_state(a);
  const struct run_view *v = &a->runs.view;
  if (!s || !v->n_rows) return;
  int last = v->rows[v->n_rows - 1].step, at = s->cursor < 0 ? last : s->cursor;
  at += by * train_stride(s, v);
  s->pan = 0;
  s->cursor = at >= last && by > 0 ? -1 : at < v->rows[0].step ? v->rows[0].step : at;
}

#define MOVE(name, by)                                    \
  static void name(struct app *a, const char *argument) { \
    (void)argument;                                       \
    move_cursor(a, by);                                   \
  }
/* By quarters of what is shown; the cursor stays. */
static void pan(struct app *a, int by) {
  struct train_state *s = train_state(a);
  int first, last, before, ignored;
  if (!s) return;
  train_range(s, &a->runs.view, &first, &last);
  s->pan += by * ((last - first) / 4 + 1);
  before = first;
  train_range(s, &a->runs.view, &first, &ignored);
  if (first == before) s->pan -= by * ((last - first) / 4 + 1); /* it was at the edge */
}

static void pan_left(struct app *a, const char *argument) {
  (void)argument;
  pan(a, -1);
}

static void pan_right(struct app *a, const char *argument) {
  (void)argument;
  pan(a, 1);
}

MOVE(left, -1)
MOVE(right, 1)
MOVE(far_left, -10)
MOVE(far_right, 10)
MOVE(to_end, 1000000)

static void zoom(struct app *a, double factor) {
  struct train_state *s = train_state(a);
  if (!s) return;
  s->zoom *= factor;
  if (s->zoom < 1) s->zoom = 1;
  if (s->zoom > 64) s->zoom = 64;
}

static void zoom_in(struct app *a, const char *argument) {
  (void)argument;
  zoom(a, 2);
}

static void zoom_out(struct app *a, const char *argument) {
  (void)argument;
  zoom(a, 0.5);
}

static void smoothing(struct app *a, const char *argument) {
  (void)argument;
  if (train_state(a)) train_state(a)->smoothing = (train_state(a)->smoothing + 1) % SMOOTHINGS;
}

static void logarithmic(struct app *a, const char *argument) {
  (void)argument;
  if (train_state(a)) train_state(a)->logarithmic = !train_state(a)->logarithmic;
}

static void next_term(struct app *a, const char *argument) {
  (void)argument;
  if (train_state(a)) train_state(a)->term = (train_state(a)->term + 1) % (TERM_COUNT + 1);
}

static void next_prompt(struct app *a, const char *argument) {
  (void)argument;
  if (train_state(a)) train_state(a)->prompt++;
}

static const struct action actions[] = {
    {"train.pause", "p", "pause", "Let the run wait before its next step, or let it go on.", train_pause},
    {"train.stop", "S", "stop", "Save and stop after this step.", train_stop},
    {"train.resume", "r", "resume", "Go on with a run that was stopped.", train_resume},
    {"train.sample", "m", "sample", "Draw samples now: of a prompt that is typed in, or of the test prompts.", train_sample},
    {"train.checkpoint", "c", "checkpoint", "Write a checkpoint after this step.", train_checkpoint},
    {"train.left", "Left", "scrub", "Move the cursor to earlier steps; the samples follow.", left},
    {"train.right", "Right", NULL, "Move the cursor to later steps.", right},
    {"train.far-left", "PgUp H", NULL, "Ten columns to the left.", far_left},
    {"train.far-right", "PgDn L", NULL, "Ten columns to the right.", far_right},
    {"train.follow", "End G", NULL, "Let the cursor follow the run.", to_end},
    {"train.zoom-in", "+ =", "zoom", "Show half of the steps, around the cursor.", zoom_in},
    {"train.zoom-out", "-", NULL, "Show twice as many steps.", zoom_out},
    {"train.pan-left", "<", NULL, "Look at earlier steps; the cursor stays.", pan_left},
    {"train.pan-right", ">", NULL, "Look at later steps.", pan_right},
    {"train.smooth", "s", "smooth", "More smoothing of the curves; then none.", smoothing},
    {"train.log", "g", "log axis", "Logarithmic axis, or linear.", logarithmic},
    {"train.term", "l", "term", "One curve after the other, then all.", next_term},
    {"train.prompt", "o", NULL, "Samples of the next prompt first.", next_prompt},
    {"train.newer", "[ Up", "run", "The newer run of the subject.", newer},
    {"train.older", "] Down", NULL, "The older run of the subject.", older},
    {"train.queue", "Q", NULL, "What waits for the run under way; choosing one takes it out of the queue.", train_queue},
    {"train.at-work", "w", NULL, "The run that is under way, whoever began it; again: the next one.", at_work},
    {"train.beside", "b", "beside", "Show the curve of another run as well, or no longer.", train_beside},
    {"train.alone", "B", NULL, "No other runs beside this one.", train_alone},
    {"train.rate", "R", NULL, "Change the learning rate while the run goes on.", train_rate},
    {"train.samples-every", "i", NULL, "Change the steps between samples while the run goes on.", train_samples_every},
    {"train.checkpoints-every", "I", NULL, "Change the steps between checkpoints while the run goes on.", train_checkpoints_every},
    {0},
};

static void mouse(struct app *a, struct rect r, const struct input_event *ev) {
  if (ev->mouse == MOUSE_WHEEL_UP)
    zoom(a, 2);
  else if (ev->mouse == MOUSE_WHEEL_DOWN)
    zoom(a, 0.5);
  else if (ev->mouse != MOUSE_RELEASE)
    train_point(a, r, ev->x, ev->y);
}

const struct screen train_screen = {
    .title = "Train", .actions = actions, .draw = train_draw, .mouse = mouse, .changed = train_beside_changed, .release = train_release};
