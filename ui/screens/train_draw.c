/* How the Train screen looks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "plan_text.h"
#include "ui/screens/train.h"

static const struct {
  const char *name;
  enum style style;
  bool loss;
} terms[TERM_COUNT] = {
    {"total", STYLE_CURVE_0, true}, {"instance", STYLE_CURVE_1, true}, {"prior", STYLE_CURVE_2, true},     {"pdm", STYLE_CURVE_3, true},
    {"probe", STYLE_CURVE_4, true}, {"rate", STYLE_CURVE_5, false},    {"gradient", STYLE_CURVE_6, false},
};

static double term_of(const struct metrics *m, int term) {
  const double v[TERM_COUNT] = {m->total, m->instance, m->prior, m->pdm, m->probe, m->lr, m->grad_norm};
  return v[term];
}

void train_range(const struct train_state *s, const struct run_view *v, int *first, int *last) {
  int from = v->n_rows ? v->rows[0].step : 0, to = v->n_rows ? v->rows[v->n_rows - 1].step : 1;
  for (int i = 0; i < s->n_beside; i++) {
    const struct run_view *b = s->beside[i];
    if (b->n_rows && b->rows[b->n_rows - 1].step > to) to = b->rows[b->n_rows - 1].step;
  }
  int shown = (int)((to - from) / s->zoom), middle = (s->cursor < 0 ? to : s->cursor) + s->pan;
  *first = middle - shown / 2;
  if (*first + shown > to) *first = to - shown;
  if (*first < from) *first = from;
  *last = *first + shown > *first ? *first + shown : *first + 1;
}

int train_stride(const struct train_state *s, const struct run_view *v) {
  int first, last;
  train_range(s, v, &first, &last);
  int stride = s->plot.w > 0 ? (last - first) / s->plot.w : 1;
  return stride > 1 ? stride : 1;
}

/* --- the head: how far it is ------------------------------------------------------------------------------------------------------ */

static void put_time(double seconds, char *out, size_t n) {
  long s = lround(seconds);
  if (s >= 3600)
    text_put(out, n, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
  else
    text_put(out, n, "%ld:%02ld", s / 60, s % 60);
}

static enum style state_style(enum run_status s) {
  return s == RUN_WORKING ? STYLE_ACCENT : s == RUN_DONE ? STYLE_OK : s == RUN_FAILED ? STYLE_ERROR : STYLE_WARN;
}

static void draw_progress(struct app *a, struct rect r, const struct run_view *v) {
  char text[200], left[32];
  double rate = live_rate(&v->live, v->live_at), spent = 0;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  spent = (double)now.tv_sec + (double)now.tv_nsec * 1e-9 - v->live_at;
  int x = r.x + canvas_printf(&a->canvas, r.x, r.y, state_style(v->state), "%s ", run_state_name(v->state));
  x += canvas_printf(&a->canvas, x, r.y, STYLE_TEXT, "%s %lld/%lld ", v->live.stage, (long long)v->live.done, (long long)v->live.total);
  if (rate > 0) {
    double remains = (double)(v->live.total - v->live.done) / rate - spent;
    put_time(remains > 0 ? remains : 0, left, sizeof left);
    if (rate >= 1)
      text_put(text, sizeof text, "%.3g a second, %s left", rate, left);
    else
      text_put(text, sizeof text, "%.3g s each, %s left", 1 / rate, left);
    int w = text_columns(text, a->canvas.utf8);
    canvas_text(&a->canvas, r.x + r.w - w, r.y, STYLE_DIM, text);
    r.w -= w + 1;
  }
  if (x + 4 < r.x + r.w && v->live.total > 0)
    canvas_bar(&a->canvas, x, r.y, r.x + r.w - x, (double)v->live.done / (double)v->live.total, STYLE_BAR, STYLE_BAR_REST);
}

/* What the process takes, and who it is. */
static void draw_process(struct app *a, struct rect r, const struct run_view *v) {
  char memory[32] = "", load[48] = "", text[400];
  if (v->live.memory > 0) bytes_text(v->live.memory, memory, sizeof memory);
  if (v->state == RUN_WORKING && isfinite(v->live.load)) text_put(load, sizeof load, "%.0f %% of the processors", 100 * v->live.load);
  text_put(text, sizeof text, "%s%s%s%s%s", memory, *memory && *load ? ", " : "", load, *memory || *load ? "; " : "", v->holder);
  canvas_field(&a->canvas, r.x, r.y, r.w, ALIGN_LEFT, STYLE_DIM, text);
}

static void draw_head(struct app *a, struct rect r, const struct run_view *v) {
  if (run_is_at_work(v->state)) {
    draw_progress(a, r, v);
    draw_process(a, (struct rect){r.x, r.y + 2, r.w, 1}, v);
    return;
  }
  int x = r.x + canvas_printf(&a->canvas, r.x, r.y, state_style(v->state), "%s ", run_state_name(v->state));
  int done = v->n_rows ? v->rows[v->n_rows - 1].step : 0;
  x += canvas_printf(&a->canvas, x, r.y, STYLE_TEXT, "after %d of %d steps  ", done, v->steps);
  if (*v->error)
    canvas_field(&a->canvas, x, r.y, r.x + r.w - x, ALIGN_LEFT, STYLE_ERROR, v->error);
  else if (v->state == RUN_STOPPED)
    canvas_text(&a->canvas, x, r.y, STYLE_DIM, "r goes on with it");
}

/* --- numbers at the cursor ---------------------------------------------------------------------------------------------------------- */

static void draw_numbers(struct app *a, struct rect r, const struct train_state *s, const struct run_view *v) {
  const struct metrics *m = run_row_at(v, s->cursor < 0 ? 1 << 30 : s->cursor);
  if (!m) return;
  int x = r.x + canvas_printf(&a->canvas, r.x, r.y, STYLE_TITLE, "step %d ", m->step);
  for (int i = 0; i < TERM_COUNT; i++) {
    double value = term_of(m, i);
    if (!isfinite(value)) continue;
    x += canvas_text(&a->canvas, x + 1, r.y, STYLE_DIM, terms[i].name) + 2;
    x += canvas_printf(&a->canvas, x, r.y, terms[i].style, "%.4g ", value);
  }
}

/* --- samples -------------------------------------------------------------------------------------------------------------------------- */

/* Pictures of the step at the cursor, the chosen prompt first, in as many cells of w x h as there are. */
static void draw_samples(struct app *a, struct rect r, const struct train_state *s, const struct run_view *v) {
  char path[4096];
  int at = run_samples_at(v, s->cursor < 0 ? 1 << 30 : s->cursor), n = 0;
  if (at < 0) {
    canvas_paragraph(&a->canvas, r, 0, STYLE_DIM, "No samples yet.");
    return;
  }
  int step = v->samples[at].step, prompts = run_prompts(v);
  canvas_printf(&a->canvas, r.x, r.y, STYLE_HEADER, "samples of step %d", step);
  r = rect_inset(r, 0, 1, 0, 0);
  int h = r.h >= 24 ? 11 : r.h >= 14 ? r.h / 2 : r.h, w = 2 * (h - 1) + 2;
  if (w > r.w) w = r.w, h = w / 2 + 1;
  int columns = w > 0 ? r.w / w : 0, rows = h > 1 ? r.h / h : 0;
  for (int k = 0; k < prompts && columns > 0; k++) {
    int prompt = (k + s->prompt) % prompts;
    for (int i = at; i < v->n_samples && v->samples[i].step == step && n < columns * rows; i++) {
      if (v->samples[i].prompt != prompt) continue;
      struct rect cell = {r.x + n % columns * w, r.y + n / columns * h, w - 1, h - 1};
      album_show(a, cell, run_sample_path(v, &v->samples[i], path, sizeof path));
      canvas_field(&a->canvas, cell.x, cell.y + cell.h, cell.w, ALIGN_LEFT, STYLE_DIM, run_prompt(v, prompt));
      n++;
    }
  }
}

/* --- all of it ---------------------------------------------------------------------------------------------------------------------------- */

/* The finite values of a term; the probe is measured at some steps only, so gaps are left out. */
static bool add_series(const struct run_view *v, int term, const char *name, enum style style, enum plot_line line, double **room,
                       struct plot_series *out) {
  double *step = *room, *value = step + v->n_rows;
  int n = 0;
  for (int i = 0; i < v->n_rows; i++) {
    double x = term_of(&v->rows[i], term);
    if (!isfinite(x) && term == TERM_PROBE) continue;
    step[n] = v->rows[i].step;
    value[n++] = x;
  }
  *room += 2 * (size_t)v->n_rows;
  bool some = false;
  for (int i = 0; i < n && !some; i++) some = isfinite(value[i]);
  *out = (struct plot_series){name, step, value, n, style, line};
  return some;
}

/* The losses of the run; beside others one term of each, with lines and colours of their own. Returns how many series there are. */
static int make_series(const struct train_state *s, const struct run_view *v, double *room, struct plot_series *series) {
  int n = 0, term = s->term == TERM_COUNT ? TERM_TOTAL : s->term;
  for (int t = 0; t < TERM_COUNT && !s->n_beside; t++) {
    bool wanted = s->term < TERM_COUNT ? t == s->term : terms[t].loss;
    if (wanted) n += add_series(v, t, terms[t].name, terms[t].style, PLOT_SOLID, &room, series + n);
  }
  if (s->n_beside) n += add_series(v, term, v->name, STYLE_CURVE_0, PLOT_SOLID, &room, series + n);
  for (int i = 0; i < s->n_beside; i++) {
    enum style style = (enum style)(STYLE_CURVE_0 + (i + 1) % CURVE_STYLES);
    n += add_series(s->beside[i], term, s->beside[i]->name, style, (enum plot_line)((i + 1) % PLOT_LINES), &room, series + n);
  }
  return n;
}

/* Room for the columns of all series. */
static double *make_room(const struct train_state *s, const struct run_view *v) {
  size_t rows = (size_t)v->n_rows * (TERM_COUNT + 1);
  for (int i = 0; i < s->n_beside; i++) rows += (size_t)s->beside[i]->n_rows;
  return malloc((2 * rows + 1) * sizeof(double));
}

/* A loss so many times the mean of so many before it is a spike. */
enum { SPIKE = 5, SPIKE_AFTER = 20 };

/* Where samples and checkpoints are, losses that were no number, spikes. */
static int make_marks(const struct run_view *v, struct plot_mark *mark, int most) {
  int n = 0;
  for (int i = 0; i < v->n_samples && n < most; i++) {
    if (!i || v->samples[i].step != v->samples[i - 1].step) mark[n++] = (struct plot_mark){v->samples[i].step, PLOT_SAMPLE};
  }
  for (int i = 0; i < v->n_checkpoints && n < most; i++) mark[n++] = (struct plot_mark){v->checkpoints[i].step, PLOT_CHECKPOINT};
  double mean = 0;
  for (int i = 0; i < v->n_rows && n < most; i++) {
    double x = v->rows[i].total;
    if (!isfinite(x)) {
      mark[n++] = (struct plot_mark){v->rows[i].step, PLOT_NAN};
      continue;
    }
    if (i >= SPIKE_AFTER && x > SPIKE * mean) mark[n++] = (struct plot_mark){v->rows[i].step, PLOT_SPIKE};
    mean += (x - mean) / (i < SPIKE_AFTER ? i + 1 : SPIKE_AFTER);
  }
  for (int i = 0; i < v->n_marks && n < most; i++) {
    if (!strcmp(v->marks[i].what, "halve lr")) mark[n++] = (struct plot_mark){v->marks[i].step, PLOT_NAN}; /* went back to here */
  }
  return n;
}

static void draw_curves(struct app *a, struct rect r, struct train_state *s, const struct run_view *v) {
  enum { MARKS = 512 };
  static const double weights[SMOOTHINGS] = {0, 0.6, 0.9, 0.98};
  struct plot_series series[TERM_COUNT + 1 + MAX_BESIDE];
  struct plot_mark mark[MARKS];
  int first, last;
  double *room = make_room(s, v);
  if (!room) return;
  train_range(s, v, &first, &last);
  int n = make_series(s, v, room, series);
  struct plot p = {.series = series,
                   .n_series = n,
                   .marks = mark,
                   .n_marks = make_marks(v, mark, MARKS),
                   .from = first,
                   .to = last,
                   .logarithmic = s->logarithmic,
                   .smoothing = weights[s->smoothing],
                   .has_cursor = s->cursor >= 0,
                   .cursor = s->cursor,
                   .legend = true};
  s->frame = plot_draw(&a->canvas, r, &p);
  s->plot = s->frame.area;
  free(room);
}

static struct rect curves_rect(struct rect in) {
  return in.w >= 120 ? rect_left(in, in.w * 11 / 20) : rect_top(in, in.h * 11 / 20);
}

void train_draw(struct app *a, struct rect r) {
  struct train_state *s = train_state(a);
  const struct run_view *v = &a->runs.view;
  char title[400];
  if (!s) return;
  text_put(title, sizeof title, "%s %s", v->subject, v->name);
  struct rect in = rect_inset(canvas_box(&a->canvas, r, STYLE_BORDER, *v->path ? title : "Train"), 1, 0, 1, 0);
  if (!*v->path) {
    canvas_paragraph(&a->canvas, in, 0, STYLE_DIM, "There is no run of this subject yet: t on the first screen begins one.");
    return;
  }
  draw_head(a, rect_top(in, 1), v);
  draw_numbers(a, rect_top(rect_inset(in, 0, 1, 0, 0), 1), s, v);
  in = rect_inset(in, 0, 3, 0, 0);
  struct rect curves = curves_rect(in);
  draw_curves(a, curves, s, v);
  if (in.w >= 120)
    draw_samples(a, rect_inset(in, curves.w + 1, 0, 0, 0), s, v);
  else
    draw_samples(a, rect_inset(in, 0, curves.h, 0, 0), s, v);
}

void train_point(struct app *a, struct rect r, int x, int y) {
  struct train_state *s = train_state(a);
  (void)r;
  if (!s || !rect_holds(s->plot, x, y) || !a->runs.view.n_rows) return;
  s->cursor = (int)(plot_step_at(&s->frame, x) + 0.5);
}
