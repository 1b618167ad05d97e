/* Lines, frames, bars and signs: each drawing character with its ASCII stand-in. */
#include "ui/canvas.h"

#include <math.h>
#include <string.h>

/* A line character's arms. */
enum { ARM_UP = 1, ARM_DOWN = 2, ARM_LEFT = 4, ARM_RIGHT = 8 };

static const char *const line_utf8[16] = {" ", "│", "│", "│", "─", "┘", "┐", "┤", "─", "└", "┌", "├", "─", "┴", "┬", "┼"};
static const char line_ascii[16][2] = {" ", "|", "|", "|", "-", "+", "+", "+", "-", "+", "+", "+", "-", "+", "+", "+"};

static int arms_of(const struct canvas *c, const struct cell *cell) {
  if (cell->style == STYLE_COLOURS || cell->text[0] == ' ') return 0;
  static const int drawn[] = {3, 12, 5, 6, 9, 10, 7, 11, 13, 14, 15};
  for (size_t i = 0; i < sizeof drawn / sizeof *drawn; i++) {
    if (c->utf8 && strcmp(cell->text, line_utf8[drawn[i]]) == 0) return drawn[i];
  }
  if (c->utf8) return 0;
  return cell->text[0] == '|' ? 3 : cell->text[0] == '-' ? 12 : cell->text[0] == '+' ? 15 : 0;
}

static void add_line(struct canvas *c, int x, int y, int arms, enum style style) {
  const struct cell *there = canvas_at(c, x, y);
  if (there == NULL) return;
  bool joins = there->style == STYLE_BORDER || there->style == STYLE_FOCUS || there->style == STYLE_GRID;
  if (joins) arms |= arms_of(c, there);
  canvas_put(c, x, y, style, c->utf8 ? line_utf8[arms] : line_ascii[arms]);
}

/* The ends point inwards only, so that a line which ends on another makes a T of it. */
void canvas_hline(struct canvas *c, int x, int y, int w, enum style style) {
  for (int i = 0; i < w; i++) {
    int arms = (i > 0 ? ARM_LEFT : 0) | (i < w - 1 ? ARM_RIGHT : 0);
    add_line(c, x + i, y, w == 1 ? ARM_LEFT | ARM_RIGHT : arms, style);
  }
}

void canvas_vline(struct canvas *c, int x, int y, int h, enum style style) {
  for (int i = 0; i < h; i++) {
    int arms = (i > 0 ? ARM_UP : 0) | (i < h - 1 ? ARM_DOWN : 0);
    add_line(c, x, y + i, h == 1 ? ARM_UP | ARM_DOWN : arms, style);
  }
}

/* The four edges; the ends of an edge have one arm, which with the other edge's makes the corner. */
static void frame(struct canvas *c, struct rect r, enum style style) {
  int right = r.x + r.w - 1, bottom = r.y + r.h - 1;
  add_line(c, r.x, r.y, ARM_RIGHT | ARM_DOWN, style);
  add_line(c, right, r.y, ARM_LEFT | ARM_DOWN, style);
  add_line(c, r.x, bottom, ARM_RIGHT | ARM_UP, style);
  add_line(c, right, bottom, ARM_LEFT | ARM_UP, style);
  for (int x = r.x + 1; x < right; x++) {
    add_line(c, x, r.y, ARM_LEFT | ARM_RIGHT, style);
    add_line(c, x, bottom, ARM_LEFT | ARM_RIGHT, style);
  }
  for (int y = r.y + 1; y < bottom; y++) {
    add_line(c, r.x, y, ARM_UP | ARM_DOWN, style);
    add_line(c, right, y, ARM_UP | ARM_DOWN, style);
  }
}

struct rect canvas_box(struct canvas *c, struct rect r, enum style style, const char *title) {
  if (r.w < 2 || r.h < 2) return (struct rect){r.x, r.y, 0, 0};
  frame(c, r, style);
  int room = r.w - 6, width = title != NULL ? text_columns(title, c->utf8) : 0;
  if (width > 0 && room > 0) {
    width = width < room ? width : room;
    canvas_text(c, r.x + 2, r.y, style, " ");
    canvas_field(c, r.x + 3, r.y, width, ALIGN_LEFT, style == STYLE_FOCUS ? STYLE_TITLE : style, title);
    canvas_text(c, r.x + 3 + width, r.y, style, " ");
  }
  return rect_inset(r, 1, 1, 1, 1);
}

static const char *const eighths_right[9] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
static const char *const eighths_up[9] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};

static double between_0_and_1(double v) {
  return v > 0 ? fmin(v, 1) : 0; /* NaN: 0 */
}

void canvas_bar(struct canvas *c, int x, int y, int w, double fraction, enum style style, enum style rest) {
  int eighths = (int)lround(between_0_and_1(fraction) * w * 8);
  if (fraction > 0 && eighths == 0) eighths = 1;
  for (int i = 0; i < w; i++) {
    int part = eighths - 8 * i;
    part = part < 0 ? 0 : part > 8 ? 8 : part;
    if (c->utf8) {
      canvas_put(c, x + i, y, part > 0 ? style : rest, part > 0 ? eighths_right[part] : "░");
    } else {
      canvas_put(c, x + i, y, part >= 4 ? style : rest, part >= 4 ? "#" : ".");
    }
  }
}

void canvas_sparkline(struct canvas *c, int x, int y, int w, const double *values, int n, double low, double high, enum style style) {
  static const char ascii[9][2] = {"_", "_", ".", ".", "-", "-", "=", "^", "^"};
  int first = n > w ? n - w : 0;
  for (int i = first; i < n; i++) {
    double v = values[i];
    int level = isnan(v) ? 0 : 1 + (int)lround(between_0_and_1(high > low ? (v - low) / (high - low) : 0) * 7);
    const char *text = isnan(v) ? " " : c->utf8 ? eighths_up[level] : ascii[level];
    canvas_put(c, x + i - first, y, style, text);
  }
}

void canvas_scrollbar(struct canvas *c, int x, int y, int h, int first, int shown, int total, enum style style) {
  if (total <= shown || h < 1) return;
  int size = (int)((long long)h * shown / total);
  size = size < 1 ? 1 : size;
  int last = total - shown, at = (int)(((long long)(h - size) * first + last / 2) / last);
  at = at < 0 ? 0 : at > h - size ? h - size : at;
  for (int i = 0; i < h; i++) {
    bool thumb = i >= at && i < at + size;
    canvas_put(c, x, y + i, style, thumb ? (c->utf8 ? "█" : "#") : (c->utf8 ? "│" : "|"));
  }
}

const char *canvas_sign(const struct canvas *c, enum sign sign) {
  static const char *const utf8[SIGN_COUNT] = {
      [SIGN_ELLIPSIS] = "…", [SIGN_CHECK] = "✓",   [SIGN_CROSS] = "✗",   [SIGN_STAR] = "★",  [SIGN_STAR_EMPTY] = "☆",
      [SIGN_BULLET] = "•",   [SIGN_DOT] = "·",     [SIGN_LEFT] = "←",    [SIGN_RIGHT] = "→", [SIGN_UP] = "↑",
      [SIGN_DOWN] = "↓",     [SIGN_POINTER] = "▸", [SIGN_WARNING] = "!", [SIGN_PLAY] = "▶",  [SIGN_PAUSE] = "‖",
      [SIGN_STOP] = "■",     [SIGN_CIRCLE] = "●",  [SIGN_TIMES] = "×",   [SIGN_DEGREE] = "°"};
  static const char ascii[SIGN_COUNT][2] = {
      [SIGN_ELLIPSIS] = "~", [SIGN_CHECK] = "v",   [SIGN_CROSS] = "x",   [SIGN_STAR] = "*",  [SIGN_STAR_EMPTY] = ".",
      [SIGN_BULLET] = "*",   [SIGN_DOT] = ".",     [SIGN_LEFT] = "<",    [SIGN_RIGHT] = ">", [SIGN_UP] = "^",
      [SIGN_DOWN] = "v",     [SIGN_POINTER] = ">", [SIGN_WARNING] = "!", [SIGN_PLAY] = ">",  [SIGN_PAUSE] = "=",
      [SIGN_STOP] = "#",     [SIGN_CIRCLE] = "o",  [SIGN_TIMES] = "x",   [SIGN_DEGREE] = "'"};
  return c->utf8 ? utf8[sign] : ascii[sign];
}
