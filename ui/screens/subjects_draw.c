/* How the Subjects screen looks. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ui/screens/subjects.h"

enum { LIST_WIDTH = 40, NAME_COLUMNS = 18, THUMBNAIL_ROWS = 3, THUMBNAIL_COLUMNS = 7 };

/* queued, running, trained; before that how far it is prepared, as far as that is known. */
static const char *state_word(struct app *a, const struct subject *s, enum style *style) {
  int i = runs_of(&a->runs, s->name);
  enum run_status run = i < 0 ? RUN_EMPTY : a->runs.item[i].state;
  *style = STYLE_DIM;
  for (int k = 0; k < a->queue.n; k++) {
    if (!strcmp(a->queue.name[k], s->name)) return *style = STYLE_ACCENT, "queued";
  }
  if (*s->trouble) return *style = STYLE_ERROR, "trouble";
  if (s->archived) return "archived";
  if (run_is_at_work(run)) return *style = STYLE_ACCENT, run_state_name(run);
  if (run == RUN_DONE) return *style = STYLE_OK, "trained";
  if (run == RUN_STOPPED) return *style = STYLE_WARN, "stopped";
  if (run == RUN_FAILED) return *style = STYLE_ERROR, "failed";
  const struct subject_facts *f = facts_of(&subjects_state(a)->facts, s->name);
  if (f && f->planned && f->pdm) return "PDM ready";
  if (f && f->planned && f->prior) return "prior ready";
  return s->photographs && s->masks == s->photographs ? "masked" : "new";
}

int subjects_row_height(struct rect r) {
  return r.h >= 40 ? THUMBNAIL_ROWS : 1;
}

static void draw_row(struct app *a, struct rect r, const struct subject *s, bool selected) {
  enum style style;
  char path[4096];
  const char *word = state_word(a, s, &style);
  int x = r.x + 2, y = r.y;
  if (r.h > 1 && s->photographs) {
    album_show(a, (struct rect){x, y, THUMBNAIL_COLUMNS, r.h}, subject_photograph(s, 0, path, sizeof path));
    x += THUMBNAIL_COLUMNS + 1;
    y += r.h / 2;
  }
  if (selected) canvas_field(&a->canvas, x - 1, y, r.x + r.w - x + 1, ALIGN_LEFT, STYLE_SELECTED, "");
  if (selected && r.h == 1) canvas_field(&a->canvas, r.x, y, 2, ALIGN_LEFT, STYLE_SELECTED, "");
  if (s->marked) canvas_put(&a->canvas, r.x, y, selected ? STYLE_SELECTED : STYLE_STAR, canvas_sign(&a->canvas, SIGN_CHECK));
  canvas_field(&a->canvas, x, y, NAME_COLUMNS, ALIGN_LEFT, selected ? STYLE_SELECTED : STYLE_TEXT, s->name);
  canvas_field(&a->canvas, x + 1 + NAME_COLUMNS, y, r.x + r.w - x - NAME_COLUMNS - 2, ALIGN_LEFT, selected ? STYLE_SELECTED : style, word);
}

static void draw_list(struct app *a, struct rect r, int height) {
  struct subjects_state *s = subjects_state(a);
  char title[160];
  int n = subject_rows(a, s);
  text_put(title, sizeof title, "Subjects%s%s", *s->filter ? " with " : "", s->filter);
  struct rect in = canvas_box(&a->canvas, r, STYLE_FOCUS, title);
  int shown = in.h / height;
  list_clamp(&s->list, n, shown);
  for (int i = 0; i < shown && s->list.first + i < n; i++) {
    const struct subject *x = &a->store.subject[subject_at(a, s, s->list.first + i)];
    draw_row(a, (struct rect){in.x, in.y + i * height, in.w, height}, x, s->list.first + i == s->list.selected);
  }
  if (!n) canvas_paragraph(&a->canvas, in, 0, STYLE_DIM, "Nothing here. n makes a subject of a directory of photographs.");
  canvas_scrollbar(&a->canvas, r.x + r.w - 1, in.y, in.h, s->list.first, shown, n, STYLE_BORDER);
}

/* What is wrong with the photographs: some lines, and how many more. Returns the lines. */
static int draw_warnings(struct app *a, struct rect r, const struct subject *s) {
  enum { MOST = 4 };
  const struct subject_facts *f = facts_of(&subjects_state(a)->facts, s->name);
  char text[600];
  int n = 0, y = r.y;
  if (!f || !f->looked) return 0;
  while (facts_warning(f, n, text, sizeof text)) n++;
  for (int i = 0; i < n && i < MOST && y < r.y + r.h; i++) {
    facts_warning(f, i, text, sizeof text);
    canvas_put(&a->canvas, r.x, y, STYLE_WARN, canvas_sign(&a->canvas, SIGN_WARNING));
    canvas_field(&a->canvas, r.x + 2, y++, r.w - 2, ALIGN_LEFT, STYLE_WARN, text);
  }
  if (n > MOST && y < r.y + r.h) canvas_printf(&a->canvas, r.x + 2, y++, STYLE_WARN, "and %d more", n - MOST);
  return y - r.y;
}

static int draw_facts(struct app *a, struct rect r, const struct subject *s) {
  int y = r.y, end = r.y + r.h;
#define FACT(label, ...)                                               \
  if (y < end) {                                                       \
    canvas_text(&a->canvas, r.x, y, STYLE_DIM, label);                 \
    canvas_printf(&a->canvas, r.x + 13, y++, STYLE_TEXT, __VA_ARGS__); \
  }
  FACT("it is", "%s %s", s->token, s->class_name)
  FACT("photographs", "%d, %d with a mask", s->photographs, s->masks)
  FACT("in", "%s", s->images)
  if (*s->chosen) FACT("kept", "%s", s->chosen)
#undef FACT
  if (*s->trouble && y < end) canvas_field(&a->canvas, r.x, y++, r.w, ALIGN_LEFT, STYLE_ERROR, s->trouble);
  y += draw_warnings(a, (struct rect){r.x, y, r.w, end - y}, s);
  return y - r.y;
}

/* The run of the subject with the lowest probe loss; -1: fewer than two have one. */
static int best_run(const struct app *a, const struct subject *s) {
  int best = -1, n = 0;
  for (int i = 0; i < a->runs.n; i++) {
    const struct run_item *x = &a->runs.item[i];
    if (strcmp(x->subject, s->name) || !isfinite(x->probe)) continue;
    n++;
    if (best < 0 || x->probe < a->runs.item[best].probe) best = i;
  }
  return n > 1 ? best : -1;
}

static void draw_runs(struct app *a, struct rect r, const struct subject *s) {
  int y = r.y, best = best_run(a, s);
  if (r.h < 2) return;
  canvas_printf(&a->canvas, r.x, y++, STYLE_HEADER, "Runs (%d)", runs_count(&a->runs, s->name));
  for (int i = 0; i < a->runs.n && y < r.y + r.h; i++) {
    const struct run_item *x = &a->runs.item[i];
    if (strcmp(x->subject, s->name)) continue;
    canvas_field(&a->canvas, r.x, y, 28, ALIGN_LEFT, STYLE_TEXT, x->name);
    canvas_field(&a->canvas, r.x + 29, y, 9, ALIGN_LEFT, x->state == RUN_FAILED ? STYLE_ERROR : STYLE_DIM, run_state_name(x->state));
    if (isfinite(x->probe))
      canvas_printf(&a->canvas, r.x + 39, y, STYLE_TEXT, "probe %.4f", x->probe);
    else if (isfinite(x->last_loss))
      canvas_printf(&a->canvas, r.x + 39, y, STYLE_TEXT, "loss %.4f", x->last_loss);
    if (i == best) canvas_printf(&a->canvas, r.x + 53, y, STYLE_STAR, "%s best", canvas_sign(&a->canvas, SIGN_STAR));
    y++;
  }
}

/* The photographs in as many columns as make them largest. */
static void draw_photographs(struct app *a, struct rect r, const struct subject *s) {
  char path[4096];
  int n = s->photographs, best = 1, size = 0;
  for (int columns = 1; columns <= n; columns++) {
    int lines = (n + columns - 1) / columns, w = (r.w - columns + 1) / columns, h = r.h / lines;
    int least = w / 2 < h ? w / 2 : h;
    if (least > size) size = least, best = columns;
  }
  if (size < 2) return;
  int lines = (n + best - 1) / best, w = (r.w - best + 1) / best, h = r.h / lines;
  if (w > 2 * h + 2) w = 2 * h + 2;
  for (int i = 0; i < n; i++) {
    struct rect cell = {r.x + i % best * (w + 1), r.y + i / best * h, w, h};
    album_show(a, cell, subject_photograph(s, i, path, sizeof path));
  }
}

static void draw_detail(struct app *a, struct rect r) {
  const struct subject *s = app_subject(a);
  struct rect in = rect_inset(canvas_box(&a->canvas, r, STYLE_BORDER, s ? s->name : ""), 1, 0, 1, 0);
  if (!s) return;
  struct rect before = canvas_clip(&a->canvas, in);
  int used = draw_facts(a, in, s) + 1, own = runs_count(&a->runs, s->name), list = own < 5 ? own + 1 : 6;
  if (in.h - used < list + 4) list = 0;
  draw_photographs(a, rect_inset(in, 0, used, 0, list + (list > 0)), s);
  draw_runs(a, rect_bottom(in, list), s);
  canvas_unclip(&a->canvas, before);
}

struct rect subjects_list_rect(struct rect r) {
  return rect_left(r, r.w < 100 ? r.w * 2 / 5 : LIST_WIDTH);
}

void subjects_draw(struct app *a, struct rect r) {
  struct rect list = subjects_list_rect(r);
  if (!subjects_state(a)) return;
  draw_list(a, list, subjects_row_height(r));
  draw_detail(a, rect_inset(r, list.w, 0, 0, 0));
}
