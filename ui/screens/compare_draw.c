/* How the Compare screen looks. */
#include <math.h>
#include <string.h>

#include "ui/screens/compare.h"

/* The part of a run's name that tells it from the others: without the date. */
static const char *tail_of(const char *name) {
  size_t digits = strspn(name, "0123456789-");
  return name[digits] ? name + digits : name;
}

/* The lowest probe loss of the columns of its run. */
static bool is_best(struct compare_state *s, int x, double probe) {
  double other;
  int n = 0;
  for (int i = 0; i < s->columns; i++) {
    if (s->column[i].run != s->column[x].run || !compare_probe(s, i, &other)) continue;
    n++;
    if (other < probe) return false;
  }
  return n > 1;
}

static bool any_probe(struct compare_state *s) {
  double ignored;
  for (int i = 0; i < s->columns; i++) {
    if (compare_probe(s, i, &ignored)) return true;
  }
  return false;
}

/* "step 200", with stars, a cross and B. */
static void draw_column_head(struct app *a, struct compare_state *s, int x, int at, int y, int w, int head) {
  const struct verdict *v = compare_verdict(s, a, x);
  enum style style = v && v->rejected ? STYLE_ERROR : x == s->x ? STYLE_TITLE : STYLE_HEADER;
  int end = at + w;
  bool own = s->column[x].run == &a->runs.view;
  double probe;
  if (head > 1 && compare_probe(s, x, &probe))
    canvas_printf(&a->canvas, at, y + 1, is_best(s, x, probe) ? STYLE_OK : STYLE_DIM, "%.4f", probe);
  at += canvas_printf(&a->canvas, at, y, style, "%d", s->column[x].step);
  if (!own)
    at += 1 + canvas_printf(&a->canvas, at + 1, y, STYLE_CURVE_0 + 1 + (int)(s->column[x].run - s->extra) % (CURVE_STYLES - 1), "%.*s",
                            end > at + 2 ? end - at - 2 : 0, tail_of(s->column[x].run->name));
  if (x == s->other_x) at += canvas_text(&a->canvas, at + 1, y, STYLE_ACCENT, "B") + 1;
  for (int i = 0; v && i < v->stars && at < end; i++) canvas_put(&a->canvas, at++, y, STYLE_STAR, canvas_sign(&a->canvas, SIGN_STAR));
  if (v && v->rejected && at < end) canvas_put(&a->canvas, at, y, STYLE_ERROR, canvas_sign(&a->canvas, SIGN_CROSS));
}

/* What is not there yet: whether it is drawn, waits, can be asked for, or cannot. */
static void show_missing(struct app *a, struct rect r, struct compare_state *s, int x, int y) {
  struct order_key k;
  bool can = compare_key_of(s, x, &k);
  enum order_state state = can ? order_state(&s->orders, &k, s->prompt[y]) : ORDER_NONE;
  const char *word = !can ? "no checkpoint" : state == ORDER_DRAWN ? "is drawn" : state == ORDER_WAITS ? "waits" : "m draws it";
  int middle = r.y + r.h / 2;
  canvas_put(&a->canvas, r.x + r.w / 2, middle, state ? STYLE_ACCENT : STYLE_DIM,
             canvas_sign(&a->canvas, can ? state == ORDER_DRAWN ? SIGN_PLAY : SIGN_CIRCLE : SIGN_DOT));
  if (r.w >= 14 && r.h > 2) canvas_field(&a->canvas, r.x, middle + 1, r.w, ALIGN_CENTRE, state ? STYLE_ACCENT : STYLE_DIM, word);
}

static void show_cell(struct app *a, struct compare_state *s, struct rect r, int x, int y) {
  char path[4096];
  if (compare_cell(s, x, y, path, sizeof path))
    album_show(a, r, path);
  else
    show_missing(a, r, s, x, y);
}

static void scroll_to(int at, int shown, int *first) {
  if (at < *first) *first = at;
  if (shown > 0 && at >= *first + shown) *first = at - shown + 1;
  if (*first < 0) *first = 0;
}

/* The prompt above its row; the part of it above the cursor's cell is marked. */
static void draw_prompt(struct app *a, struct rect line, struct rect cursor, const char *prompt) {
  canvas_field(&a->canvas, line.x, line.y, line.w, ALIGN_LEFT, STYLE_DIM, prompt);
  struct rect before = canvas_clip(&a->canvas, cursor);
  canvas_field(&a->canvas, line.x, line.y, line.w, ALIGN_LEFT, STYLE_SELECTED, prompt);
  canvas_unclip(&a->canvas, before);
}

static void draw_grid(struct app *a, struct rect r, struct compare_state *s) {
  /* as large as lets all columns and, where it can be, all rows be seen; a line of each is the prompt's */
  int head = any_probe(s) && r.h > 12 ? 2 : 1, h = (r.w / s->columns - 1) / 2 + 1, fits = (r.h - head) / s->rows;
  if (h > fits) h = fits;
  h = h < 5 ? 5 : h > 17 ? 17 : h;
  int w = 2 * (h - 1) + 1;
  s->grid = rect_inset(r, 0, head, 0, 0);
  s->cell_w = w;
  s->cell_h = h;
  int columns = r.w / w, rows = (r.h - head) / h;
  scroll_to(s->x, columns, &s->first_x);
  scroll_to(s->y, rows, &s->first_y);
  for (int i = 0; i < columns && s->first_x + i < s->columns; i++) draw_column_head(a, s, s->first_x + i, r.x + i * w, r.y, w - 1, head);
  for (int k = 0; k < rows && s->first_y + k < s->rows; k++) {
    int y = s->grid.y + k * h, row = s->first_y + k;
    for (int i = 0; i < columns && s->first_x + i < s->columns; i++) {
      struct rect cell = {r.x + i * w, y + 1, w - 1, h - 1};
      show_cell(a, s, cell, s->first_x + i, row);
    }
    int used = s->columns - s->first_x < columns ? s->columns - s->first_x : columns;
    draw_prompt(a, (struct rect){r.x, y, used * w - 1, 1}, (struct rect){r.x + (s->x - s->first_x) * w, y, w - 1, row == s->y},
                s->prompt[row]);
  }
}

/* "scale ====---- 0.75": where the slider of the LoRA's strength stands, 0 to 2. */
static void draw_scale(struct app *a, struct compare_state *s, int x, int y, int w) {
  enum { BAR = 12 };
  if (w < BAR + 14) return;
  int at = x + canvas_text(&a->canvas, x, y, STYLE_DIM, "scale ");
  canvas_bar(&a->canvas, at, y, BAR, s->scale / 2, STYLE_BAR, STYLE_BAR_REST);
  canvas_printf(&a->canvas, at + BAR + 1, y, s->scale == 1 ? STYLE_TEXT : STYLE_ACCENT, "%.2f%s", s->scale,
                s->scale == 0 ? ", the base model" : "");
}

static void draw_facts(struct app *a, struct rect r, struct compare_state *s, int x) {
  const struct run_view *v = s->column[x].run;
  const struct metrics *m = run_row_at(v, s->column[x].step);
  const struct verdict *d = compare_verdict(s, a, x);
  int at = r.x + canvas_printf(&a->canvas, r.x, r.y, STYLE_TITLE, "step %d  ", s->column[x].step);
  at += canvas_printf(&a->canvas, at, r.y, STYLE_DIM, "seed %llu  ", (unsigned long long)s->seed);
  if (m && isfinite(m->total) && at + 13 <= r.x + r.w) at += canvas_printf(&a->canvas, at, r.y, STYLE_TEXT, "loss %.4g  ", m->total);
  if (m && isfinite(m->probe) && at + 12 <= r.x + r.w) canvas_printf(&a->canvas, at, r.y, STYLE_TEXT, "probe %.4g", m->probe);
  if (r.h > 1) canvas_field(&a->canvas, r.x, r.y + 1, r.w, ALIGN_LEFT, STYLE_TEXT, s->prompt[s->y]);
  int noted = r.h > 2 && d && *d->note ? 1 : 0;
  if (noted) canvas_field(&a->canvas, r.x, r.y + 2, r.w, ALIGN_LEFT, STYLE_DIM, d->note);
  if (v->lora || s->scale == 0) draw_scale(a, s, r.x, r.y + 2 + noted, r.h > 2 + noted ? r.w : 0);
}

static void draw_one(struct app *a, struct rect r, struct compare_state *s, int x) {
  int head = r.h > 12 ? 4 : 3;
  draw_facts(a, rect_top(r, head), s, x);
  show_cell(a, s, rect_inset(r, 0, head, 0, 0), x, s->y);
}

static void draw_difference(struct app *a, struct rect r, struct compare_state *s) {
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
    int w = (r.w - 1) / 2; /* the same for both: two pictures of one size */
    draw_one(a, rect_left(r, w), s, s->x);
    draw_one(a, rect_right(r, w), s, s->other_x);
  } else if (s->view == VIEW_DIFFERENCE && s->other_x >= 0) {
    draw_difference(a, r, s);
  } else {
    draw_one(a, r, s, x);
  }
}

/* How far the pictures are that are being drawn. */
static void put_work(struct app *a, struct compare_state *s, char *title, size_t n) {
  const struct job *job = s->orders.pid ? jobs_find(&a->jobs, s->orders.pid) : NULL;
  char says[1024];
  size_t at = strlen(title);
  if (job) text_put(title + at, n - at, ": draws %d, %.60s", orders_pictures(&s->orders), jobs_says(job, says, sizeof says));
}

void compare_draw(struct app *a, struct rect r) {
  struct compare_state *s = compare_state(a);
  char title[500];
  if (!s) return;
  text_put(title, sizeof title, "%s %s", a->runs.view.subject, a->runs.view.name);
  put_work(a, s, title, sizeof title);
  struct rect in = rect_inset(canvas_box(&a->canvas, r, STYLE_BORDER, title), 1, 0, 1, 0);
  if (!s->columns || !s->rows) {
    canvas_paragraph(
        &a->canvas, in, 0, STYLE_DIM,
        "There are no samples to compare yet: a training draws its test prompts every [samples] every steps; i adds a prompt.");
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
