/* A terminal in memory, for tests: as much of xterm as ncurses programs use, with sixels and the answers a terminal gives. */
#ifndef PDMBOOTH_TESTS_TERMINAL_EMULATOR_H
#define PDMBOOTH_TESTS_TERMINAL_EMULATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/image.h"
#include "ui/layout.h"

enum { EMULATOR_TEXT = 32 };
enum emulator_attribute { EMU_BOLD = 1, EMU_DIM = 2, EMU_UNDERLINE = 4, EMU_REVERSE = 8 };
enum { EMU_DEFAULT = -1, EMU_RGB = 1 << 24 }; /* colours: default, 0 to 255, or EMU_RGB | 0xRRGGBB */

struct emulator_look {
  int fg, bg;
  unsigned attributes;
};

struct emulator_cell {
  char text[EMULATOR_TEXT]; /* UTF-8, "" in the second column of a wide character */
  uint8_t width;
  struct emulator_look look;
};

struct emulator_options {
  int w, h;
  struct cell_size cell; /* pixels of a cell */
  bool sixel;            /* it says so, and shows them */
  bool synchronized;     /* it knows mode 2026 */
  bool utf8;
  int colours; /* that it says it has when it is asked, whatever TERM is: 256 or 1 << 24; 0: it does not answer that */
};

struct emulator;

struct emulator *emulator_new(const struct emulator_options *options);
void emulator_free(struct emulator *e);
void emulator_resize(struct emulator *e, int w, int h);
void emulator_feed(struct emulator *e, const char *bytes, size_t n);
/* Takes what the terminal has answered: bytes written to out, at most n. */
size_t emulator_answers(struct emulator *e, char *out, size_t n);

const struct emulator_cell *emulator_at(const struct emulator *e, int x, int y); /* NULL outside */
/* Rows without trailing spaces, each with a newline; free(). */
char *emulator_text(const struct emulator *e);
bool emulator_contains(const struct emulator *e, const char *text, int *x, int *y); /* within one row; where it begins */

/* The pixels over the cells of r: whole = each is there; false and an empty picture where none is. out is owned by the caller. */
bool emulator_pixels(const struct emulator *e, struct rect r, struct image *out, bool *whole);
/* The rectangle of cells that lie wholly or partly under pixels around (x, y); false: there are none. */
bool emulator_picture_at(const struct emulator *e, int x, int y, struct rect *r);
/* How many separate rectangles of pixels are on the screen. */
int emulator_pictures(const struct emulator *e);

/* Modes as the program has set them. */
struct emulator_modes {
  bool alternate, cursor_shown, cursor_keys /* application */, mouse, mouse_sgr, bracketed_paste, in_update;
  int width, height, cursor_x, cursor_y;
  int sixels;  /* sequences shown so far */
  int unknown; /* sequences that were not understood */
  int scrolls; /* of rows, on the alternate screen */
};
struct emulator_modes emulator_modes(const struct emulator *e);

#endif
