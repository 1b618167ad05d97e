/* Themes: how each style of the canvas looks on a terminal of a given number of colours. */
#ifndef PDMBOOTH_UI_THEME_H
#define PDMBOOTH_UI_THEME_H

#include "base/err.h"
#include "ui/canvas.h"
#include "ui/colour.h"

/* Colours as the terminal of the theme's depth is told: 0xRRGGBB (DEPTH_TRUE) or a palette's index, COLOUR_DEFAULT for its own. */
struct look {
  int32_t fg, bg;
  unsigned marks; /* of enum cell_mark */
};

struct theme {
  char name[64];
  enum colour_depth depth;
  struct look looks[STYLE_COLOURS];
};

/* A theme is an INI text. [theme]: name, about. [styles]: NAME = [COLOUR] [on COLOUR] [bold] [dim] [underline] [reverse] for true colour
   and, by the nearest entry, 256; [styles.16] overrides for 16 and 8 colours (on 8, a bright colour is bold), [styles.mono] is taken
   alone for monochrome and has attributes only. COLOUR: #rrggbb, default, black, red, green, yellow, blue, magenta, cyan, white,
   bright-black and so on. A style that is not named looks like `text`.
   ERR_USAGE names file, line and what is wrong. name is for messages. */
bool theme_parse(const char *ini, const char *name, enum colour_depth depth, struct theme *out, struct err *e);
/* By name among those in the program (dark, light, high-contrast, colour-blind), or a path to a file (one that holds a '/' or ends in .ini). */
bool theme_load(const char *name, enum colour_depth depth, struct theme *out, struct err *e);
/* How a cell looks: its style's look, or its own colours, and its marks. */
struct look theme_look(const struct theme *theme, const struct cell *cell);
/* A cell with two colours of its own, as mosaics of photographs have: ncurses, which needs a pair for every two colours, is not asked to
   write it (ui/flush.h). */
static inline bool theme_writes_beside(const struct theme *theme, const struct cell *cell) {
  return cell->style == STYLE_COLOURS && theme->depth != DEPTH_MONO;
}
/* The i-th name of those in the program, NULL behind the last. */
const char *theme_name(int i);

#endif
