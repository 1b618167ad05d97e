/* The emulator's inside: the screen and what moves on it. */
#ifndef PDMBOOTH_TESTS_TERMINAL_EMULATOR_SCREEN_H
#define PDMBOOTH_TESTS_TERMINAL_EMULATOR_SCREEN_H

#include "terminal/emulator.h"

struct screen {
  struct emulator_cell *cells; /* [h, w] */
  unsigned char *px;           /* [h * cell.h, w * cell.w, 3] */
  unsigned char *set;          /* [h * cell.h, w * cell.w] */
};

struct saved {
  int x, y;
  struct emulator_look look;
};

enum parser_state { GROUND, ESCAPE, ESCAPE_SKIP, CSI, STRING, STRING_ESCAPE };

struct emulator {
  struct emulator_options o;
  struct screen screens[2]; /* the normal one, the alternate one */
  int active;
  int x, y, top, bottom; /* the cursor; the scrolling region's first and last row */
  bool wrap_next;        /* the cursor stands behind the last column */
  struct emulator_look look;
  struct saved saved[2];
  struct emulator_modes modes;
  char answers[4096];
  size_t n_answers;
  enum parser_state state;
  char kind;    /* of a string: P, ], ^, _ */
  char *string; /* the sequence so far */
  size_t n, room;
  uint32_t code, last; /* UTF-8 under way; the last character, for REP */
  int more;
};

void screen_clear(struct emulator *e, int from_x, int from_y, int to_x, int to_y); /* from the first to before the last, in reading order */
void screen_scroll(struct emulator *e, int top, int bottom, int n);                /* up; negative: down */
void screen_shift(struct emulator *e, int x, int y, int n);                        /* inserts n blanks; negative: deletes */
void screen_put(struct emulator *e, uint32_t code);
void screen_line_feed(struct emulator *e);
void screen_sixel(struct emulator *e, const char *data, size_t n);
bool screens_new(struct emulator *e, int w, int h);
void screens_free(struct emulator *e);

#endif
