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

/* Few pairs, as 8 colours have, are not enough for a mosaic in every order of two colours: one order is written as the other, reversed. */
static void save_pairs(struct look *look) {
  if (COLOR_PAIRS > 256 || look->fg < 0 || look->bg <= look->fg || (look->marks & (MARK_BOLD | MARK_DIM)) != 0) return;
  int32_t fg = look->fg;
  look->fg = look->bg;
  look->bg = fg;
  look->marks ^= MARK_REVERSE;
}

/* Returns the pair of colours, 0 for the terminal's own, negative where there are no more pairs. */
static int put(int x, int y, const struct cell *cell, const struct theme *theme) {
  struct look look = theme_look(theme, cell);
  wchar_t text[CCHARW_MAX + 1];
  const char *p = cell->text;
  size_t n = 0;
  uint32_t code;
  for (size_t bytes; n < CCHARW_MAX && (bytes = utf8_decode(p, &code)) > 0; p += bytes) text[n++] = (wchar_t)code;
  text[n] = 0;
  save_pairs(&look);
  bool plain = theme->depth == DEPTH_MONO || (look.fg == COLOUR_DEFAULT && look.bg == COLOUR_DEFAULT);
  int pair = plain ? 0 : alloc_pair(as_told(look.fg, theme->depth), as_told(look.bg, theme->depth));
  int used = pair < 0 ? 0 : pair;
  cchar_t out;
  if (setcchar(&out, text, attributes(look.marks), 0, &used) == OK) mvadd_wch(y, x, &out);
  return pair;
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
  f->theme = theme;
  if (known) return true;
  flush_forget(f);
  if (canvas_resize(&f->shown, c->w, c->h)) f->changed = malloc((size_t)c->w * (size_t)c->h);
  return false;
}

/* One pass over all cells; *spent: the pairs of colours are running out. */
static int write_cells(struct flush *f, const struct canvas *c, const struct theme *theme, bool *spent) {
  bool known = know_screen(f, c, theme);
  int changed = 0, w = c->w < COLS ? c->w : COLS, h = c->h < LINES ? c->h : LINES, many = COLOR_PAIRS - COLOR_PAIRS / 8;
  if (f->changed != NULL) memset(f->changed, !known, (size_t)c->w * (size_t)c->h);
  for (int y = 0; y < h; y++) {
    for (int x = 0; x < w; x++) {
      const struct cell *now = canvas_at(c, x, y);
      if (known && cell_equal(now, canvas_at(&f->shown, x, y))) continue;
      int pair = now->width > 0 ? put(x, y, now, theme) : 0;
      if (pair < 0 || pair > many) *spent = true;
      if (f->changed != NULL) f->changed[y * c->w + x] = 1;
      changed++;
    }
  }
  return changed;
}

int flush_canvas(struct flush *f, const struct canvas *c, const struct theme *theme) {
  bool spent = false;
  int changed = write_cells(f, c, theme, &spent);
  if (spent) { /* mosaics of many pictures have asked for ever new colours: all are forgotten and the screen is written anew */
    reset_color_pairs();
    flush_forget(f);
    changed = write_cells(f, c, theme, &spent);
  }
  if (f->shown.cells != NULL) memcpy(f->shown.cells, c->cells, (size_t)c->w * (size_t)c->h * sizeof *c->cells);
  wnoutrefresh(stdscr);
  return changed;
}
