/* The canvas on an ncurses screen. The one file of drawing that calls ncurses. */
#ifndef PDMBOOTH_UI_FLUSH_H
#define PDMBOOTH_UI_FLUSH_H

#include "ui/canvas.h"
#include "ui/theme.h"

/* What the screen holds; zero-initialised: nothing known. */
struct flush {
  struct canvas shown;
  const struct theme *theme; /* of what is shown */
  unsigned char *changed;    /* [h, w]: 1 where the last flush has written a cell; NULL: everywhere */
};

/* What the terminal can show, after start_color() and use_default_colors(): monochrome also with NO_COLOR set and not empty. */
enum colour_depth flush_depth(void);

/* Writes the cells that differ from what is shown to stdscr and calls wnoutrefresh; doupdate() is the caller's. Returns how many
   cells differed. */
int flush_canvas(struct flush *f, const struct canvas *c, const struct theme *theme);
/* After a resize, a suspension or clearok(): the next flush writes every cell. */
void flush_forget(struct flush *f);
void flush_release(struct flush *f);

#endif
