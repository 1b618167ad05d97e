/* How the Compare screen looks. */
#include <math.h>
#include <string.h>

#include "ui/screens/compare.h"

static const struct verdict *verdict_of(const struct app *a, const struct compare_state *s, int x) {
  return s->column[x].run == &a->runs.view ? verdicts_at(&s->verdicts, s->column[x].step) : NULL;
}

/* "step 200", with stars, a cross and B. */
static void draw_column_head(struct app *a, const struct compare_state *s, int x, int at, int y, int w) {
  const struct verdict *v = verdict_of(a, s, x);
  enum style style = v && v->rejected ? STYLE_ERROR : x == s->x ? STYLE_TITLE : STYLE_HEADER;
  int end = at + w;
  bool own = s->column[x].run == &a->runs.view;
  at += own ? canvas_printf(&a->canvas, at, y, style, "%d", s->column[x].step)
            : canvas_printf(&a->canvas, at, y, STYLE_CURVE_1, "%.15s", s->column[x].run->name);
  if (x == s->other_x) at += canvas_text(&a->canvas, at + 1, y, STYLE_ACCENT, "B") + 1;
  for (int i = 0; v && i < v->stars && at < end; i++) canvas_put(&a->canvas, at++, y, STYLE_STAR, canvas_sign(&a->canvas, SIGN_STAR));
  if (v && v->rejected && at < end) canvas_put(&a->canvas, at, y, STYLE_ERROR, canvas_sign(&a->canvas, SIGN_CROSS));
}

static void show_cell(struct app *a, const struct compare_state *s, struct rect r, int x, int y) {
  char path[4096];
  if (compare_cell(s, x, y, path, sizeof path))
    album_show(a, r, path);
  else
    canvas_put(&a->canvas, r.x + r.w / 2, r.y + r.h / 2, STYLE_DIM, canvas_sign(&a->canvas, SIGN_CIRCLE));
}

static void scroll_to(int at, int shown, int *first) {
  if (at < *first) *first = at;
  if (shown > 0 && at >= *first + shown) *first = at - shown + 1;
  if (*first < 0) *first = 0;
}

static void draw_grid(struct app *a, struct rect r, struct compare_state *s) {
  /* as large as lets all columns and, where it can be, all rows be seen; a line of each is the prompt's */
  int h = (r.w / s->columns - 1) / 2 + 1, fits = (r.h - 1) / s->rows;
  if (h > fits) h = fits;
  h = h < 5 ? 5 : h > 17 ? 17 : h;
  int w = 2 * (h - 1) + 1;
  s->grid = rect_inset(r, 0, 1, 0, 0);
  s->cell_w = w;
  s->cell_h = h;
  int columns = r.w / w, rows = (r.h - 1) / h;
  scroll_to(s->x, columns, &s->first_x);
  scroll_to(s->y, rows, &s->first_y);
  for (int i = 0; i < columns && s->first_x + i < s->columns; i++) draw_column_head(a, s, s->first_x + i, r.x + i * w, r.y, w - 1);
  for (int k = 0; k < rows && s->first_y + k < s->rows; k++) {
    int y = s->grid.y + k * h, row = s->first_y + k;
    for (int i = 0; i < columns && s->first_x + i < s->columns; i++) {
      struct rect cell = {r.x + i * w, y + 1, w - 1, h - 1};
      bool at_cursor = s->first_x + i == s->x && row == s->y;
      show_cell(a, s, cell, s->first_x + i, row);
      if (at_cursor) canvas_hline(&a->canvas, cell.x, y, cell.w, STYLE_FOCUS);
    }
    int used = s->columns - s->first_x < columns ? s->columns - s->first_x : columns;
    if (row != s->y) canvas_field(&a->canvas, r.x, y, used * w - 1, ALIGN_LEFT, STYLE_DIM, s->prompt[row]);
  }
}

static void draw_facts(struct app *a, struct rect r, const struct compare_state *s, int x) {
  const struct run_view *v = s->column[x].run;
  const struct metrics *m = run_row_at(v, s->column[x].step);
  const struct verdict *d = verdict_of(a, s, x);
  int at = r.x + canvas_printf(&a->canvas, r.x, r.y, STYLE_TITLE, "step %d  ", s->column[x].step);
  at += canvas_printf(&a->canvas, at, r.y, STYLE_DIM, "seed %llu  ", (unsigned long long)v->seed + (unsigned long long)s->picture);
  if (m && isfinite(m->total)) at += canvas_printf(&a->canvas, at, r.y, STYLE_TEXT, "loss %.4g  ", m->total);
  if (m && isfinite(m->probe)) canvas_printf(&a->canvas, at, r.y, STYLE_TEXT, "probe %.4g", m->probe);
  if (r.h > 1) canvas_field(&a->canvas, r.x, r.y + 1, r.w, ALIGN_LEFT, STYLE_TEXT, s->prompt[s->y]);
  if (r.h > 2 && d && *d->note) canvas_field(&a->canvas, r.x, r.y + 2, r.w, ALIGN_LEFT, STYLE_DIM, d->note);
}

static void draw_one(struct app *a, struct rect r, const struct compare_state *s, int x) {
  draw_facts(a, rect_top(r, 3), s, x);
  show_cell(a, s, rect_inset(r, 0, 3, 0, 0), x, s->y);
}

static void draw_difference(struct app *a, struct rect r, const struct compare_state *s) {
  char one[4096], other[4096], both[8300];
  draw_facts(a, rect_top(r, 2), s, s->x);
  canvas_printf(&a->canvas, r.x, r.y + 2, STYLE_DIM, "difference from step %d, black: none", s->column[s->other_x].step);
  if (!compare_cell(s, s->x, s->y, one, sizeof one) || !compare_cell(s, s->other_x, s->y, other, sizeof other)) return;
  text_put(both, sizeof both, "difference:%s\n%s", one, other);
  album_show(a, rect_inset(r, 0, 3, 0, 0), both);
}

static void draw_photographs(struct app *a, struct rect r) {
  char path[4096];
  const struct subject *x = app_subject(a);
  int n = x ? x->photographs : 0;
  for (int i = 0; i < n; i++) {
    int h = r.h / n;
    album_show(a, (struct rect){r.x, r.y + i * h, r.w, h - 1}, subject_photograph(x, i, path, sizeof path));
  }
}

static void draw_view(struct app *a, struct rect r, struct compare_state *s) {
  int x = s->flipped && s->other_x >= 0 ? s->other_x : s->x;
  if (s->view == VIEW_BESIDE && s->other_x >= 0) {
    draw_one(a, rect_left(r, r.w / 2 - 1), s, s->x);
    draw_one(a, rect_right(r, r.w / 2), s, s->other_x);
  } else if (s->view == VIEW_DIFFERENCE && s->other_x >= 0) {
    draw_difference(a, r, s);
  } else {
    draw_one(a, r, s, x);
  }
}

void compare_draw(struct app *a, struct rect r) {
  struct compare_state *s = compare_state(a);
  char title[500];
  if (!s) return;
  text_put(title, sizeof title, "%s %s", a->runs.view.subject, a->runs.view.name);
  struct rect in = rect_inset(canvas_box(&a->canvas, r, STYLE_BORDER, title), 1, 0, 1, 0);
  if (!s->columns || !s->rows) {
    canvas_paragraph(&a->canvas, in, 0, STYLE_DIM,
                     "There are no samples to compare yet: a training draws its test prompts every [samples] every steps.");
    return;
  }
  if (s->photographs) {
    draw_photographs(a, rect_right(in, in.w / 6));
    in = rect_inset(in, 0, 0, in.w / 6 + 1, 0);
  }
  if (s->view != VIEW_GRID) {
    draw_view(a, in, s);
    return;
  }
  int side = in.w >= 70 ? in.w * 2 / 5 : 0, needed = s->columns * 2 * in.h / s->rows;
  if (side && in.w - side > needed && needed > 20) side = in.w - needed - 1;
  draw_grid(a, rect_inset(in, 0, 0, side ? side + 1 : 0, 0), s);
  if (side) draw_one(a, rect_right(in, side), s, s->flipped && s->other_x >= 0 ? s->other_x : s->x);
}
