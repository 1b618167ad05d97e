/* Canvas: what a frame shows, as a grid of character cells in memory, and the calls that draw on it. Nothing here touches the terminal. */
#ifndef PDMBOOTH_UI_CANVAS_H
#define PDMBOOTH_UI_CANVAS_H

#include <stdbool.h>
#include <stdint.h>

#include "ui/layout.h"
#include "ui/width.h"

/* What text is for; a theme (ui/theme.h) says how that looks. X(constant, name in a theme file). */
#define STYLE_TABLE(X)                                                                 \
  X(TEXT, "text")                                                                      \
  X(DIM, "dim")                                                                        \
  X(TITLE, "title")                                                                    \
  X(ACCENT, "accent")                                                                  \
  X(OK, "ok")                                                                          \
  X(WARN, "warn")                                                                      \
  X(ERROR, "error")                                                                    \
  X(SELECTED, "selected")                                                              \
  X(SELECTED_DIM, "selected_dim") /* the selection of a list that has not the focus */ \
  X(KEY, "key")                                                                        \
  X(BORDER, "border")                                                                  \
  X(FOCUS, "focus")   /* the border that has the focus */                              \
  X(STATUS, "status") /* the bars at the top and the bottom */                         \
  X(STATUS_KEY, "status_key")                                                          \
  X(INPUT, "input")                                                                    \
  X(HEADER, "header") /* of a table */                                                 \
  X(BAR, "bar")                                                                        \
  X(BAR_REST, "bar_rest")                                                              \
  X(STAR, "star")                                                                      \
  X(GRID, "grid") /* of a plot */                                                      \
  X(CURSOR, "cursor")                                                                  \
  X(CURVE_0, "curve_0")                                                                \
  X(CURVE_1, "curve_1")                                                                \
  X(CURVE_2, "curve_2")                                                                \
  X(CURVE_3, "curve_3")                                                                \
  X(CURVE_4, "curve_4")                                                                \
  X(CURVE_5, "curve_5")                                                                \
  X(CURVE_6, "curve_6")                                                                \
  X(CURVE_7, "curve_7")

enum style {
#define X(name, text) STYLE_##name,
  STYLE_TABLE(X)
#undef X
      STYLE_COLOURS, /* the cell has colours of its own: a picture's mosaic */
  STYLE_COUNT
};
enum { CURVE_STYLES = 8 };

/* Added to what the style says. */
enum cell_mark { MARK_REVERSE = 1, MARK_BOLD = 2, MARK_UNDERLINE = 4, MARK_DIM = 8 };

struct cell {
  char text[GRAPHEME_BYTES]; /* a grapheme; "" in the second column of a wide one */
  uint8_t width;             /* 1, 2, or 0 for the second column of a wide one */
  uint8_t style;             /* enum style */
  uint8_t marks;             /* of enum cell_mark */
  uint32_t fg, bg;           /* 0xRRGGBB, with STYLE_COLOURS alone */
};

/* A picture that stands over the cells of a rectangle; its mosaic is drawn beneath. */
struct placed_picture {
  struct rect cells;
  struct picture *picture; /* of ui/picture.h, referenced */
  bool smooth;             /* when it is shown larger than it is */
  struct rect cover;       /* cells of these in which something else is drawn over it; empty: none */
};

struct canvas {
  int w, h;
  bool utf8;          /* false: every drawing character is ASCII */
  struct rect clip;   /* drawing outside leaves no trace */
  struct cell *cells; /* [h, w] */
  struct placed_picture *pictures;
  int n_pictures, room_pictures;
};

/* Zero-initialised is empty. Makes it w x h blank cells; false (and as it was): out of memory. */
bool canvas_resize(struct canvas *c, int w, int h);
void canvas_release(struct canvas *c);
void canvas_clear(struct canvas *c); /* spaces in STYLE_TEXT, no pictures, no clipping */
struct rect canvas_rect(const struct canvas *c);
const struct cell *canvas_at(const struct canvas *c, int x, int y); /* NULL outside */

/* Narrows drawing to the part of r within the present clip; hand the returned rectangle to canvas_unclip afterwards. */
struct rect canvas_clip(struct canvas *c, struct rect r);
void canvas_unclip(struct canvas *c, struct rect before);

/* --- text ---------------------------------------------------------------------------------------------------------------- */

enum align { ALIGN_LEFT, ALIGN_RIGHT, ALIGN_CENTRE };

/* One line from (x, y) to the right; control characters are not let through. Returns the columns it takes (clipped ones too). */
int canvas_text(struct canvas *c, int x, int y, enum style style, const char *text);
int canvas_printf(struct canvas *c, int x, int y, enum style style, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* In exactly width columns: padded with spaces, or cut and ended by an ellipsis (at the left end: the last part is the telling one). */
void canvas_field(struct canvas *c, int x, int y, int width, enum align align, enum style style, const char *text);
void canvas_field_end(struct canvas *c, int x, int y, int width, enum style style, const char *text);
/* Wrapped at spaces in r; the first `skip` lines are left out. Returns the lines of the whole text. */
int canvas_paragraph(struct canvas *c, struct rect r, int skip, enum style style, const char *text);

/* --- cells --------------------------------------------------------------------------------------------------------------- */

void canvas_fill(struct canvas *c, struct rect r, enum style style);                     /* with spaces */
void canvas_put(struct canvas *c, int x, int y, enum style style, const char *grapheme); /* one cell, or two where it is wide */
void canvas_put_colours(struct canvas *c, int x, int y, const char *grapheme, uint32_t fg, uint32_t bg);
void canvas_restyle(struct canvas *c, struct rect r, enum style style); /* the text stays; not for cells with colours of their own */
void canvas_mark(struct canvas *c, struct rect r, unsigned marks);

/* --- lines, bars, boxes -------------------------------------------------------------------------------------------------- */

/* Lines join with those already there. */
void canvas_hline(struct canvas *c, int x, int y, int w, enum style style);
void canvas_vline(struct canvas *c, int x, int y, int h, enum style style);
/* A frame along the edge of r with an optional title in the upper edge; returns what is inside. */
struct rect canvas_box(struct canvas *c, struct rect r, enum style style, const char *title);
/* A horizontal bar of w columns filled to fraction (0 to 1), in eighths of a column. */
void canvas_bar(struct canvas *c, int x, int y, int w, double fraction, enum style style, enum style rest);
/* The last w of n values as small columns in one row, scaled from low to high; NaN is a gap. */
void canvas_sparkline(struct canvas *c, int x, int y, int w, const double *values, int n, double low, double high, enum style style);
/* A bar of h rows beside `total` lines of which `shown` from `first` on are visible; draws nothing where all are. */
void canvas_scrollbar(struct canvas *c, int x, int y, int h, int first, int shown, int total, enum style style);

/* Signs with an ASCII stand-in of the same width (1). */
enum sign {
  SIGN_ELLIPSIS,
  SIGN_CHECK,
  SIGN_CROSS,
  SIGN_STAR,
  SIGN_STAR_EMPTY,
  SIGN_BULLET,
  SIGN_DOT,
  SIGN_LEFT,
  SIGN_RIGHT,
  SIGN_UP,
  SIGN_DOWN,
  SIGN_POINTER,
  SIGN_WARNING,
  SIGN_PLAY,
  SIGN_PAUSE,
  SIGN_STOP,
  SIGN_CIRCLE,
  SIGN_TIMES,
  SIGN_DEGREE,
  SIGN_COUNT
};
const char *canvas_sign(const struct canvas *c, enum sign sign);

/* --- pictures ------------------------------------------------------------------------------------------------------------ */

/* Notes that a picture covers the cells r; only whole pictures within the clip are noted, others stay mosaics (ui/mosaic.h). */
struct picture;
void canvas_picture(struct canvas *c, struct rect r, struct picture *picture, bool smooth);
/* A menu or a dialog is going to be drawn in r: pictures that lie below it are dropped, of others that it touches only the rest is seen. */
void canvas_cover_pictures(struct canvas *c, struct rect r);

/* --- as text ------------------------------------------------------------------------------------------------------------- */

/* The rows as lines of UTF-8 without trailing spaces, for tests, --plain and the clipboard; owned by the caller (free), NULL: out of memory. */
char *canvas_dump(const struct canvas *c);
/* Row y alone, NUL-terminated and cut at n bytes. */
void canvas_row(const struct canvas *c, int y, char *out, size_t n);
bool cell_equal(const struct cell *a, const struct cell *b);

#endif
