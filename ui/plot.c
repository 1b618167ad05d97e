#include "ui/plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SERIES = 64 };

/* Dots: 2 x 4 in a cell of braille, 1 x 2 in ASCII. */
struct dots {
  const struct plot_frame *f;
  int per_x, per_y, w, h; /* w, h: of all dots */
  unsigned char *bits;    /* [area.h, area.w] of the cell's dots */
  unsigned char *owner;   /* [area.h, area.w] 1 + the series that came first */
  enum plot_line line[MOST_SERIES];
};

/* --- what is to be seen ---------------------------------------------------------------------------------------------------- */

static double shown_value(const struct plot *p, double v) {
  return p->logarithmic ? (v > 0 ? log10(v) : (double)NAN) : v;
}

static bool steps_of(const struct plot *p, double *from, double *to) {
  bool any = false;
  *from = p->from;
  *to = p->to;
  for (int i = 0; i < p->n_series && p->from >= p->to; i++) {
    const struct plot_series *s = &p->series[i];
    if (s->n < 1) continue;
    *from = any ? fmin(*from, s->step[0]) : s->step[0];
    *to = any ? fmax(*to, s->step[s->n - 1]) : s->step[s->n - 1];
    any = true;
  }
  if (any && *to <= *from) *to = *from + 1;
  return *to > *from;
}

/* Of the values as drawn; a margin of a twentieth keeps curves off the edges. */
static bool values_of(const struct plot *p, double *const *smooth, double from, double to, double *low, double *high) {
  *low = (double)INFINITY;
  *high = -(double)INFINITY;
  for (int i = 0; i < p->n_series; i++) {
    for (int k = 0; k < p->series[i].n; k++) {
      double v = shown_value(p, smooth[i][k]);
      if (p->series[i].step[k] < from || p->series[i].step[k] > to || !isfinite(v)) continue;
      *low = fmin(*low, v);
      *high = fmax(*high, v);
    }
  }
  if (p->low < p->high && (!p->logarithmic || p->low > 0)) {
    *low = shown_value(p, p->low);
    *high = shown_value(p, p->high);
    return true;
  }
  if (*low > *high) return false;
  double margin = *high > *low ? (*high - *low) / 20 : *high != 0 ? fabs(*high) / 10 : 1;
  bool floor_at_zero = !p->logarithmic && *low >= 0 && *low - margin < 0;
  *low = floor_at_zero ? 0 : *low - margin;
  *high += margin;
  return true;
}

/* --- dots ------------------------------------------------------------------------------------------------------------------ */

/* A curve's dots along x + y, eight and again: steep parts have gaps too. */
static bool drawn(const struct dots *d, enum plot_line line, int x, int y) {
  static const unsigned char pattern[PLOT_LINES] = {
      [PLOT_SOLID] = 0xff, [PLOT_DASHED] = 0x1f, [PLOT_DOTTED] = 0x11, [PLOT_DASH_DOTTED] = 0x4f};
  return pattern[line] >> (x + y) % 8 & 1 || (d->per_x == 1 && line == PLOT_DOTTED && x % 2 == 0);
}

static void set_dot(struct dots *d, int x, int y, int series) {
  if (x < 0 || y < 0 || x >= d->w || y >= d->h || !drawn(d, d->line[series], x, y)) return;
  static const unsigned char braille[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
  size_t at = (size_t)(y / d->per_y) * (size_t)(d->w / d->per_x) + (size_t)(x / d->per_x);
  d->bits[at] |= d->per_y == 4 ? braille[y % 4][x % 2] : (unsigned char)(1 << y % 2);
  if (d->owner[at] == 0) d->owner[at] = (unsigned char)(series + 1);
}

static double dot_x(const struct dots *d, double step) {
  return (step - d->f->from) / (d->f->to - d->f->from) * (d->w - 1);
}

/* 0 at the top; far values are cut before they become integers. */
static int dot_y(const struct dots *d, double v) {
  double y = (d->f->high - v) / (d->f->high - d->f->low) * (d->h - 1);
  return (int)lround(fmin(fmax(y, -2.0 * d->h), 3.0 * d->h));
}

static void vertical(struct dots *d, int x, int y0, int y1, int series) {
  int top = y0 < y1 ? y0 : y1, bottom = y0 < y1 ? y1 : y0;
  for (int y = top < 0 ? 0 : top; y <= bottom && y < d->h; y++) set_dot(d, x, y, series);
}

/* Each column of dots between the two gets the part of the line that lies in it. */
static void segment(struct dots *d, double x0, int y0, double x1, int y1, int series) {
  int first = (int)lround(x0), last = (int)lround(x1);
  if (first == last) {
    vertical(d, first, y0, y1, series);
    return;
  }
  double slope = (y1 - y0) / (double)(last - first);
  for (int x = first < 0 ? 0 : first; x <= last && x < d->w; x++) {
    double a = fmax(x - 0.5, first), b = fmin(x + 0.5, last);
    vertical(d, x, (int)lround(y0 + (a - first) * slope), (int)lround(y0 + (b - first) * slope), series);
  }
}

/* One column's points: what the line spans in it, and where it enters and leaves. */
struct column {
  int x, first, last, top, bottom;
};

static void draw_series(struct dots *d, const struct plot *p, int series, const double *values) {
  const struct plot_series *s = &p->series[series];
  struct column now = {0};
  bool open = false; /* `now` holds a column that the next point continues */
  for (int i = 0; i < s->n; i++) {
    double v = shown_value(p, values[i]), x = dot_x(d, s->step[i]);
    if (!isfinite(v)) {
      open = false;
      continue;
    }
    if (x < -1e6 || x > 1e6) continue;
    int column = (int)lround(x), y = dot_y(d, v);
    if (open && column == now.x) {
      now.top = y < now.top ? y : now.top;
      now.bottom = y > now.bottom ? y : now.bottom;
      now.last = y;
    } else {
      if (open) segment(d, now.x, now.last, column, y, series);
      now = (struct column){column, y, y, y, y};
      open = true;
    }
    /* drawn as it grows: a point costs at most its column's height once */
    bool ends = i + 1 >= s->n || !isfinite(shown_value(p, values[i + 1])) || lround(dot_x(d, s->step[i + 1])) != column;
    if (ends) vertical(d, now.x, now.top, now.bottom, series);
  }
}

static void put_dots(struct canvas *c, const struct dots *d, const struct plot *p) {
  static const char ascii[4][2] = {" ", "'", ".", ":"};
  struct rect a = d->f->area;
  for (int y = 0; y < a.h; y++) {
    for (int x = 0; x < a.w; x++) {
      int bits = d->bits[y * a.w + x];
      if (bits == 0) continue;
      char text[5];
      utf8_encode(0x2800u + (unsigned)bits, text);
      canvas_put(c, a.x + x, a.y + y, p->series[d->owner[y * a.w + x] - 1].style, d->per_y == 4 ? text : ascii[bits]);
    }
  }
}

static void draw_curves(struct canvas *c, const struct plot *p, double *const *smooth, const struct plot_frame *f) {
  struct dots d = {.f = f, .per_x = c->utf8 ? 2 : 1, .per_y = c->utf8 ? 4 : 2};
  d.w = f->area.w * d.per_x;
  d.h = f->area.h * d.per_y;
  size_t cells = (size_t)f->area.w * (size_t)f->area.h;
  d.bits = calloc(cells, 2);
  if (d.bits == NULL) return;
  d.owner = d.bits + cells;
  for (int i = 0; i < p->n_series && i < MOST_SERIES; i++) d.line[i] = p->series[i].line;
  for (int i = 0; i < p->n_series && i < MOST_SERIES; i++) draw_series(&d, p, i, smooth[i]);
  put_dots(c, &d, p);
  free(d.bits);
}

/* --- axes ------------------------------------------------------------------------------------------------------------------ */

enum { MOST_TICKS = 32, LABEL = 8 };

/* Ticks of a logarithmic axis that spans at least a decade: its powers of ten, with 2 and 5 where there is room. */
static int log_ticks(double low, double high, int most, double *out) {
  static const double inside[] = {1, 2, 5};
  for (int dense = high - low < most / 4.0 ? 3 : 1; dense >= 1; dense -= 2) {
    int n = 0, every = 1;
    while ((high - low) / every > most) every++;
    for (int power = (int)floor(low); power <= (int)ceil(high); power++) {
      if (power % every != 0) continue;
      for (int k = 0; k < dense; k++) {
        double v = power + log10(inside[k]);
        if (v >= low && v <= high && n < MOST_TICKS) out[n++] = v;
      }
    }
    if (n >= 2 && n <= most) return n;
  }
  return 0;
}

static int row_of(const struct plot_frame *f, double v) {
  return f->area.y + (int)lround((f->high - v) / (f->high - f->low) * (f->area.h - 1));
}

static void value_axis(struct canvas *c, const struct plot *p, const struct plot_frame *f, int left) {
  double ticks[MOST_TICKS], step = 0;
  int most = f->area.h / 2 < 1 ? 1 : f->area.h / 2 > MOST_TICKS ? MOST_TICKS : f->area.h / 2;
  int n = p->logarithmic ? log_ticks(f->low, f->high, most, ticks) : 0;
  bool as_power = n > 0;
  if (n == 0 && p->logarithmic) { /* less than a decade: round values, unevenly spaced */
    n = plot_ticks(pow(10, f->low), pow(10, f->high), most, ticks, &step);
    for (int i = 0; i < n; i++) ticks[i] = log10(ticks[i]);
  } else if (n == 0) {
    n = plot_ticks(f->low, f->high, most, ticks, &step);
  }
  canvas_vline(c, f->area.x - 1, f->area.y, f->area.h, STYLE_GRID);
  for (int i = 0; i < n; i++) {
    char label[32];
    double v = p->logarithmic ? pow(10, ticks[i]) : ticks[i];
    int y = row_of(f, ticks[i]);
    plot_number(v, as_power ? 0 : step, label, sizeof label);
    if (as_power && v >= 0.001 && v < 10000) snprintf(label, sizeof label, "%g", v);
    canvas_field(c, left, y, f->area.x - 1 - left, ALIGN_RIGHT, STYLE_DIM, label);
    canvas_put(c, f->area.x - 1, y, STYLE_GRID, c->utf8 ? "┤" : "+");
    for (int x = f->area.x; x < f->area.x + f->area.w; x += 4) canvas_put(c, x, y, STYLE_GRID, canvas_sign(c, SIGN_DOT));
  }
}

static void step_axis(struct canvas *c, const struct plot_frame *f) {
  double ticks[MOST_TICKS], step;
  int most = f->area.w / 10 < 2 ? 2 : f->area.w / 10 > MOST_TICKS ? MOST_TICKS : f->area.w / 10;
  int n = plot_ticks(f->from, f->to, most, ticks, &step), y = f->area.y + f->area.h, free_from = f->area.x - 1;
  while (n > 0 && step < 1 && most > 1) n = plot_ticks(f->from, f->to, --most, ticks, &step); /* there are no half steps */
  canvas_hline(c, f->area.x - 1, y, f->area.w + 1, STYLE_GRID);
  canvas_put(c, f->area.x - 1, y, STYLE_GRID, c->utf8 ? "└" : "+");
  for (int i = 0; i < n; i++) {
    char label[32];
    int x = plot_column_of(f, ticks[i]);
    plot_number(ticks[i], step, label, sizeof label);
    int width = (int)strlen(label), at = x - width / 2, last = f->area.x + f->area.w - width;
    at = at > last ? last : at < f->area.x - 1 ? f->area.x - 1 : at;
    canvas_put(c, x, y, STYLE_GRID, c->utf8 ? "┴" : "+");
    if (at < free_from) continue;
    canvas_text(c, at, y + 1, STYLE_DIM, label);
    free_from = at + width + 1;
  }
}

double plot_step_at(const struct plot_frame *f, int x) {
  return f->area.w > 1 ? f->from + (f->to - f->from) * (x - f->area.x) / (f->area.w - 1) : f->from;
}

int plot_column_of(const struct plot_frame *f, double step) {
  double x = f->to > f->from ? (step - f->from) / (f->to - f->from) * (f->area.w - 1) : 0;
  return f->area.x + (int)lround(fmin(fmax(x, -1e6), 1e6));
}

/* --- marks, cursor, legend ------------------------------------------------------------------------------------------------- */

static void put_marks(struct canvas *c, const struct plot *p, const struct plot_frame *f) {
  static const char *const utf8[PLOT_MARK_KINDS] = {"○", "◆", "✗", "▲"};
  static const char ascii[PLOT_MARK_KINDS][2] = {"o", "#", "x", "^"};
  static const enum style styles[PLOT_MARK_KINDS] = {STYLE_ACCENT, STYLE_OK, STYLE_ERROR, STYLE_WARN};
  for (int kind = 0; kind < PLOT_MARK_KINDS; kind++) { /* what is worse is drawn later and stays */
    for (int i = 0; i < p->n_marks; i++) {
      int x = plot_column_of(f, p->marks[i].step);
      if ((int)p->marks[i].kind != kind || x < f->area.x || x >= f->area.x + f->area.w) continue;
      canvas_put(c, x, f->area.y + f->area.h, styles[kind], c->utf8 ? utf8[kind] : ascii[kind]);
    }
  }
}

static void put_cursor(struct canvas *c, const struct plot *p, const struct plot_frame *f) {
  int x = plot_column_of(f, p->cursor);
  if (x < f->area.x || x >= f->area.x + f->area.w) return;
  for (int y = f->area.y; y < f->area.y + f->area.h; y++) {
    const struct cell *there = canvas_at(c, x, y);
    bool curve = there != NULL && there->style >= STYLE_CURVE_0 && there->style <= STYLE_CURVE_7;
    if (curve) {
      canvas_mark(c, (struct rect){x, y, 1, 1}, MARK_REVERSE);
    } else {
      canvas_put(c, x, y, STYLE_CURSOR, c->utf8 ? "│" : "|");
    }
  }
}

/* Name and, where there is a cursor, the value there; the widest decides. */
static int legend_text(const struct plot *p, const double *values, int i, char *out, size_t n) {
  char number[32] = "";
  int at = p->has_cursor ? plot_nearest(&p->series[i], p->cursor) : p->series[i].n - 1;
  if (at >= 0) plot_number(values[at], 0, number, sizeof number);
  return snprintf(out, n, "%s %s", p->series[i].name, number);
}

static const char *line_text(enum plot_line line, bool utf8) {
  static const char *const with[PLOT_LINES] = {"──", "╌╌", "··", "─·"}, *const without[PLOT_LINES] = {"--", "- ", "..", "-."};
  return utf8 ? with[line] : without[line];
}

static void put_legend(struct canvas *c, const struct plot *p, double *const *smooth, const struct plot_frame *f) {
  char text[256], head[64] = "", number[32];
  int width = 0, rows = p->n_series;
  if (p->has_cursor) {
    int at = -1;
    for (int i = 0; i < p->n_series && at < 0; i++) at = plot_nearest(&p->series[i], p->cursor);
    plot_number(at >= 0 ? p->cursor : 0, 1, number, sizeof number);
    snprintf(head, sizeof head, "step %s", number);
    rows++;
  }
  for (int i = 0; i < p->n_series; i++) {
    legend_text(p, smooth[i], i, text, sizeof text);
    int columns = text_columns(text, c->utf8) + 3;
    width = columns > width ? columns : width;
  }
  if (text_columns(head, c->utf8) > width) width = text_columns(head, c->utf8);
  width = width > f->area.w / 2 ? f->area.w / 2 : width;
  if (width < 6 || rows + 1 > f->area.h) return;
  /* a late cursor would be covered: the legend goes to the other side then */
  bool left = p->has_cursor && plot_column_of(f, p->cursor) > f->area.x + f->area.w - width - 2;
  int x = left ? f->area.x + 1 : f->area.x + f->area.w - width, y = f->area.y;
  canvas_fill(c, (struct rect){x - 1, y, width + 1, rows}, STYLE_TEXT);
  if (p->has_cursor) canvas_field(c, x, y++, width, ALIGN_LEFT, STYLE_CURSOR, head);
  for (int i = 0; i < p->n_series; i++, y++) {
    legend_text(p, smooth[i], i, text, sizeof text);
    canvas_text(c, x, y, p->series[i].style, line_text(p->series[i].line, c->utf8));
    canvas_field(c, x + 3, y, width - 3, ALIGN_LEFT, STYLE_TEXT, text);
  }
}

/* --- all ------------------------------------------------------------------------------------------------------------------- */

static void say(struct canvas *c, struct rect r, const char *text) {
  int width = text_columns(text, c->utf8);
  struct rect before = canvas_clip(c, r);
  canvas_text(c, r.x + (r.w > width ? (r.w - width) / 2 : 0), r.y + r.h / 2, STYLE_DIM, text);
  canvas_unclip(c, before);
}

/* Smoothed copies of all values in one block; NULL: out of memory. */
static double **smooth_all(const struct plot *p) {
  size_t total = 0;
  for (int i = 0; i < p->n_series; i++) total += (size_t)p->series[i].n;
  size_t pointers = (size_t)(p->n_series + 1) * sizeof(double *);
  double **smooth = malloc(pointers + (total + 1) * sizeof(double) + sizeof(double));
  if (smooth == NULL) return NULL;
  double *at = (double *)(void *)((char *)smooth + (pointers + sizeof(double) - 1) / sizeof(double) * sizeof(double));
  for (int i = 0; i < p->n_series; at += p->series[i].n, i++) {
    smooth[i] = at;
    plot_smooth(p->series[i].value, p->series[i].n, p->smoothing > 0 && p->smoothing < 1 ? p->smoothing : 0, at);
  }
  return smooth;
}

struct plot_frame plot_draw(struct canvas *c, struct rect r, const struct plot *p) {
  struct plot_frame f = {.area = {r.x + LABEL, r.y, r.w - LABEL, r.h - 2}};
  struct rect before = canvas_clip(c, r);
  double **smooth = smooth_all(p);
  canvas_fill(c, r, STYLE_TEXT);
  bool roomy = r.w >= 12 + LABEL / 2 && r.h >= 4;
  if (!roomy || smooth == NULL) {
    f.area = (struct rect){r.x, r.y, 0, 0};
    say(c, r, roomy ? "out of memory" : "no room");
  } else if (!steps_of(p, &f.from, &f.to) || !values_of(p, smooth, f.from, f.to, &f.low, &f.high)) {
    f.area = (struct rect){r.x, r.y, 0, 0};
    say(c, r, "no values yet");
  } else {
    value_axis(c, p, &f, r.x);
    step_axis(c, &f);
    struct rect axes = canvas_clip(c, rect_inset(r, LABEL - 1, 0, 0, 1));
    draw_curves(c, p, smooth, &f);
    put_marks(c, p, &f);
    if (p->has_cursor) put_cursor(c, p, &f);
    if (p->legend) put_legend(c, p, smooth, &f);
    canvas_unclip(c, axes);
  }
  free(smooth);
  canvas_unclip(c, before);
  return f;
}
