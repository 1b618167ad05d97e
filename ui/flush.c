#include "ui/flush.h"

#include <ncurses.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

enum colour_depth flush_depth(void) {
  const char *no_colour = getenv("NO_COLOR");
  if ((no_colour != NULL && *no_colour != 0) || !has_colors()) return DEPTH_MONO;
  return COLORS > 256 ? DEPTH_TRUE : COLORS >= 256 ? DEPTH_256 : COLORS >= 16 ? DEPTH_16 : COLORS >= 8 ? DEPTH_8 : DEPTH_MONO;
}

/* With direct colours ncurses keeps the values below 8 for the palette. A theme of 24 bits on a description without them gets the nearest of 256. */
static int as_told(int32_t colour, enum colour_depth depth) {
  if (colour < 0 || depth != DEPTH_TRUE) return colour;
  if (COLORS <= 256) return colour_nearest(COLORS >= 256 ? DEPTH_256 : COLORS >= 16 ? DEPTH_16 : DEPTH_8, (uint32_t)colour);
  return colour < 8 ? 8 : colour;
}

static attr_t attributes(unsigned marks) {
  return (marks & MARK_BOLD ? A_BOLD : 0) | (marks & MARK_DIM ? A_DIM : 0) | (marks & MARK_UNDERLINE ? A_UNDERLINE : 0) |
         (marks & MARK_REVERSE ? A_REVERSE : 0);
}

/* The pair of a style's colours; the terminal's own where there are none left, which no theme comes near. */
static int pair_of(struct flush *f, enum style style, const struct look *look) {
  enum colour_depth depth = f->theme->depth;
  if (depth == DEPTH_MONO || (look->fg == COLOUR_DEFAULT && look->bg == COLOUR_DEFAULT)) return 0;
  if (f->pairs[style] < 0) {
    int pair = alloc_pair(as_told(look->fg, depth), as_told(look->bg, depth));
    f->pairs[style] = pair < 0 ? 0 : pair;
  }
  return f->pairs[style];
}

static void put(struct flush *f, int x, int y, const struct cell *cell) {
  struct look look = theme_look(f->theme, cell);
  wchar_t text[CCHARW_MAX + 1];
  const char *p = cell->text;
  size_t n = 0;
  uint32_t code;
  for (size_t bytes; n < CCHARW_MAX && (bytes = utf8_decode(p, &code)) > 0; p += bytes) text[n++] = (wchar_t)code;
  text[n] = 0;
  int pair = cell->style == STYLE_COLOURS ? 0 : pair_of(f, (enum style)cell->style, &look);
  cchar_t out;
  if (setcchar(&out, text, attributes(look.marks), 0, &pair) == OK) mvadd_wch(y, x, &out);
}

/* In the place of a cell that is written beside ncurses. No two rows alike, nothing blank: it would scroll or erase them. Not ASCII, with
   which it moves the cursor to the right by writing once more what it believes to stand there. */
static void put_stand_in(int x, int y, bool utf8) {
  unsigned k = (unsigned)(y + 1) * 2654435761u ^ (unsigned)(x + 1) * 2246822519u;
  const wchar_t text[2] = {utf8 ? (k >> 20 & 1 ? 0x2580 : 0x2584) : L'!' + (wchar_t)((k >> 18) % 90), 0};
  int pair = 0;
  cchar_t out;
  if (setcchar(&out, text, A_INVIS, 0, &pair) == OK) mvadd_wch(y, x, &out);
}

void flush_forget(struct flush *f) {
  canvas_release(&f->shown);
  free(f->changed);
  f->changed = NULL;
}

void flush_release(struct flush *f) {
  flush_forget(f);
}

/* The copy of what is shown, as large as c; false: every cell is to be written. */
static bool know_screen(struct flush *f, const struct canvas *c, const struct theme *theme) {
  bool known = f->changed != NULL && f->shown.w == c->w && f->shown.h == c->h && f->theme == theme;
  if (known) return true;
  flush_forget(f);
  f->theme = theme;
  for (int i = 0; i < STYLE_COLOURS; i++) f->pairs[i] = -1;
  if (canvas_resize(&f->shown, c->w, c->h)) f->changed = malloc((size_t)c->w * (size_t)c->h);
  idcok(stdscr, FALSE); /* rows are not shifted: what stands there beside ncurses would move with them */
  return false;
}

/* ncurses writes the cell at x. Over unchanged cells between two that it writes it goes by writing them again where they are few, in ASCII
   perhaps also over those before one: cells that are not what it believes are to be written once more. last: of those it writes in this row,
   the one before. */
static void note_passing(struct flush *f, const struct canvas *c, int last, int x, int y) {
  enum { FEW = 10 };
  int from = x - FEW > last ? x - FEW : last + 1;
  if (from < 0) from = 0;
  if (c->utf8 && from > last + 1) return;
  for (int i = from; i < x && f->changed != NULL; i++) {
    if (theme_writes_beside(f->theme, canvas_at(c, i, y))) f->changed[y * c->w + i] = 1;
  }
}

static int write_row(struct flush *f, const struct canvas *c, int y, int w, bool known) {
  int changed = 0, last = -w;
  for (int x = 0; x < w; x++) {
    const struct cell *now = canvas_at(c, x, y), *was = known ? canvas_at(&f->shown, x, y) : NULL;
    if (known && cell_equal(now, was)) continue;
    if (f->changed != NULL) f->changed[y * c->w + x] = 1;
    changed++;
    bool beside = theme_writes_beside(f->theme, now);
    if (known && beside && theme_writes_beside(f->theme, was)) continue;
    if (beside) {
      put_stand_in(x, y, c->utf8);
    } else if (now->width > 0) {
      put(f, x, y, now);
    }
    if (known) note_passing(f, c, last, x, y);
    last = x;
  }
  return changed;
}

int flush_canvas(struct flush *f, const struct canvas *c, const struct theme *theme) {
  bool known = know_screen(f, c, theme);
  int changed = 0, w = c->w < COLS ? c->w : COLS, h = c->h < LINES ? c->h : LINES;
  if (f->changed != NULL) memset(f->changed, !known, (size_t)c->w * (size_t)c->h);
  for (int y = 0; y < h; y++) changed += write_row(f, c, y, w, known);
  if (f->shown.cells != NULL) memcpy(f->shown.cells, c->cells, (size_t)c->w * (size_t)c->h * sizeof *c->cells);
  wnoutrefresh(stdscr);
  return changed;
}
