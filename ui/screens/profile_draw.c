/* How the Profile screen looks. */
#include <string.h>

#include "ui/screens/profile_state.h"

enum { NAME_COLUMNS = 18 };

static void draw_key(struct app *a, struct rect r, const struct key *k, bool is_selected) {
  static const char *const origins[] = {"", "base", "file", "changed"};
  static const enum style styles[] = {STYLE_DIM, STYLE_TEXT, STYLE_TEXT, STYLE_ACCENT};
  struct profile_state *s = profile_state(a);
  char value[4096];
  enum key_origin o = doc_origin(&s->doc, k);
  enum style style = is_selected ? STYLE_SELECTED : styles[o];
  doc_value(&s->doc, k, value, sizeof value);
  int n = key_values(k, &s->doc.effective.settings);
  if (k->type == KEY_LIST && n > 1) text_put(value, sizeof value, "%d of them", n);
  canvas_field(&a->canvas, r.x, r.y, r.w, ALIGN_LEFT, style, "");
  canvas_field(&a->canvas, r.x + 2, r.y, NAME_COLUMNS, ALIGN_LEFT, is_selected ? style : STYLE_TEXT, k->name);
  int room = r.w - NAME_COLUMNS - 12;
  int first = s->against_loaded ? room / 2 : room;
  canvas_field(&a->canvas, r.x + 3 + NAME_COLUMNS, r.y, first, ALIGN_LEFT, style, *value ? value : "-");
  if (s->against_loaded) {
    profile_other(s, k, value, sizeof value);
    canvas_field(&a->canvas, r.x + 4 + NAME_COLUMNS + first, r.y, room - first - 1, ALIGN_LEFT, is_selected ? style : STYLE_CURVE_1,
                 *value ? value : "-");
  }
  canvas_field(&a->canvas, r.x + r.w - 8, r.y, 8, ALIGN_LEFT, style, origins[o]);
}

static void draw_list(struct app *a, struct rect r) {
  struct profile_state *s = profile_state(a);
  char title[200];
  text_put(title, sizeof title, "Profile of %s%s%s%.100s", a->subject, s->doc.changes ? ", changed and not saved" : "",
           s->against_loaded ? ", against " : "", s->against_loaded ? s->against_name : "");
  struct rect in = canvas_box(&a->canvas, r, STYLE_FOCUS, title);
  list_clamp(&s->list, s->rows, in.h);
  for (int i = 0; i < in.h && s->list.first + i < s->rows; i++) {
    int k = s->row[s->list.first + i];
    struct rect line = {in.x, in.y + i, in.w, 1};
    if (k < 0)
      canvas_printf(&a->canvas, line.x + 1, line.y, STYLE_HEADER, "[%s]", keys[-1 - k].section);
    else
      draw_key(a, line, &keys[k], s->list.first + i == s->list.selected);
  }
  canvas_scrollbar(&a->canvas, r.x + r.w - 1, in.y, in.h, s->list.first, in.h, s->rows, STYLE_BORDER);
}

/* What makes it fit, the cheapest first. Returns the lines. */
static int draw_remedies(struct app *a, struct rect r) {
  struct remedy known[MAX_REMEDIES];
  int n = remedies_of(a->forecast.text, known), y = 0;
  for (int i = 0; i < n && y < r.h && y < 4; i++) {
    if (!known[i].fits) continue;
    int x = r.x + canvas_text(&a->canvas, r.x, r.y + y, STYLE_KEY, y ? "F" : "f");
    canvas_printf(&a->canvas, x + 1, r.y + y++, STYLE_WARN, "%s = %s: %s, fits", known[i].name, known[i].value, known[i].takes);
  }
  return y;
}

/* --- the plan's table, laid out for the width at hand ----------------------------------------------------------------------------------- */

enum { PLAN_COLUMNS = 5, PLAN_FIELD = 24 };

/* Of one line of src/plan_text.c: where each column stands, without the spaces around it. */
static const char *plan_field(const char *line, size_t n, int column, char out[PLAN_FIELD]) {
  static const struct { size_t at, n; } place[PLAN_COLUMNS] = {{0, 14}, {14, 9}, {23, 13}, {36, 13}, {49, 15}};
  size_t from = place[column].at, to = from + place[column].n < n ? from + place[column].n : n;
  while (from < to && line[from] == ' ') from++;
  while (to > from && line[to - 1] == ' ') to--;
  text_put(out, PLAN_FIELD, "%.*s", from < to ? (int)(to - from) : 0, line + from);
  return out;
}

/* Columns of the widest field of each; 0: left out, units first, where there is no room for all. Returns the gap between two. */
static int plan_widths(const char *table, const char *end, int room, int width[PLAN_COLUMNS]) {
  static const int spared[] = {1, 3, 2};
  char field[PLAN_FIELD];
  int sum = 0, n = PLAN_COLUMNS;
  memset(width, 0, PLAN_COLUMNS * sizeof *width);
  for (const char *line = table; line < end; line += strcspn(line, "\n") + 1) {
    for (int i = 0; i < PLAN_COLUMNS; i++) {
      int w = (int)strlen(plan_field(line, strcspn(line, "\n"), i, field));
      if (w > width[i]) width[i] = w;
    }
  }
  for (int i = 0; i < PLAN_COLUMNS; i++) sum += width[i];
  for (size_t i = 0; i < sizeof spared / sizeof *spared && sum + n - 1 > room; i++, n--) {
    sum -= width[spared[i]];
    width[spared[i]] = 0;
  }
  return sum + 2 * (n - 1) > room ? 1 : sum + 3 * (n - 1) > room ? 2 : 3;
}

static void draw_plan(struct app *a, struct rect r, const char *text) {
  const char *end = strstr(text, "\n\n");
  char field[PLAN_FIELD];
  int width[PLAN_COLUMNS], y = 0;
  if (!end) end = text;
  int gap = plan_widths(text, end, r.w, width);
  for (const char *line = text; line < end && y < r.h; line += strcspn(line, "\n") + 1, y++) {
    for (int i = 0, x = r.x; i < PLAN_COLUMNS; i++) {
      canvas_field(&a->canvas, x, r.y + y, width[i], i ? ALIGN_RIGHT : ALIGN_LEFT, STYLE_DIM,
                   plan_field(line, strcspn(line, "\n"), i, field));
      x += width[i] ? width[i] + gap : 0;
    }
  }
  canvas_paragraph(&a->canvas, rect_inset(r, 0, y, 0, 0), 0, STYLE_DIM, end > text ? end + 1 : text);
}

static void draw_about(struct app *a, struct rect r) {
  struct profile_state *s = profile_state(a);
  const struct key *k = profile_selected(a);
  char text[4800], value[2048], allowed[300];
  const struct outlook *f = &a->forecast;
  bool bad = f->status && *f->text;
  struct rect in = rect_inset(canvas_box(&a->canvas, r, STYLE_BORDER, k ? k->name : ""), 1, 0, 1, 0);
  const int word = text_columns(f->summary, true) + 10 <= in.w ? 10 : 0; /* the figures are worth more than the word */
  canvas_field(&a->canvas, in.x, in.y + in.h - 1, word, ALIGN_LEFT, STYLE_DIM, "forecast:");
  canvas_field(&a->canvas, in.x + word, in.y + in.h - 1, in.w - word, ALIGN_LEFT, bad ? STYLE_ERROR : STYLE_TEXT,
               *f->summary ? f->summary : "-");
  in.h--;
  if (bad && !*s->doc.trouble) {
    int lines = draw_remedies(a, in);
    lines += canvas_paragraph(&a->canvas, rect_inset(in, 0, lines, 0, 0), 0, STYLE_ERROR, f->text);
    in = rect_inset(in, 0, lines + 1, 0, 0);
  }
  if (*s->doc.trouble) {
    int lines = canvas_paragraph(&a->canvas, in, 0, STYLE_ERROR, s->doc.trouble);
    in = rect_inset(in, 0, lines + 1, 0, 0);
  }
  if (!k) return;
  const char *first = doc_default(&s->doc, k);
  text_put(text, sizeof text, "%s\n\nAllowed: %s.\nDefault: %s\n\n%s", k->help, key_allowed(k, allowed, sizeof allowed),
           *first ? first : "none", doc_value(&s->doc, k, value, sizeof value));
  int used = canvas_paragraph(&a->canvas, in, 0, STYLE_TEXT, text);
  if (!bad && *f->text && in.h > used + 8) draw_plan(a, rect_inset(in, 0, used + 2, 0, 0), f->text);
}

struct rect profile_list_rect(struct rect r) {
  return r.w >= 110 ? rect_left(r, 70) : rect_top(r, r.h - 8);
}

void profile_draw(struct app *a, struct rect r) {
  struct rect list = profile_list_rect(r);
  if (!profile_state(a)) return;
  draw_list(a, list);
  draw_about(a, r.w >= 110 ? rect_inset(r, list.w, 0, 0, 0) : rect_inset(r, 0, list.h, 0, 0));
}
