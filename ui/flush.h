/* The canvas on an ncurses screen. The one file of drawing that calls ncurses.
 *
 * Cells with colours of their own are written by ui/frame.c, past ncurses: thousands of pairs that change with every frame cost it 30 to
 * 60 ms. What it believes to stand there is a sign that no text has, so that it leaves the place alone until text comes again. */
#ifndef PDMBOOTH_UI_FLUSH_H
#define PDMBOOTH_UI_FLUSH_H

#include "ui/canvas.h"
#include "ui/theme.h"

/* What the screen holds; zero-initialised: nothing known. */
struct flush {
  struct canvas shown;
  const struct theme *theme; /* of what is shown */
  int pairs[STYLE_COLOURS];  /* ncurses' number for the colours of each style; 0: none, -1: not asked for yet */
  unsigned char *changed;    /* [h, w]: 1 where the last flush has written a cell, or frame_compose is to write it; NULL: everywhere */
};

/* What the terminal can show, after start_color() and use_default_colors(): monochrome also with NO_COLOR set and not empty. */
enum colour_depth flush_depth(void);

/* Writes the cells that differ from what is shown to stdscr and calls wnoutrefresh; doupdate() is the caller's, then frame_compose(). Returns how many
   cells differed. */
int flush_canvas(struct flush *f, const struct canvas *c, const struct theme *theme);
/* After a resize, a suspension or clearok(): the next flush writes every cell. */
void flush_forget(struct flush *f);
void flush_release(struct flush *f);

#endif
