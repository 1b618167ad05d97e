/* The terminal itself: what it can do, the modes it is put into, and giving it back in every case.
 *
 * Only these functions, and those that draw (ui/flush), touch it. There is one terminal a process, so its state is global: the handler of fatal signals needs
 * it. */
#ifndef PDMBOOTH_UI_TERM_H
#define PDMBOOTH_UI_TERM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* What the terminal answered, or what is known otherwise. */
struct term_facts {
  bool sixel, sync, utf8; /* pictures; synchronized updates (DEC mode 2026); the locale's characters are UTF-8 */
  bool light;             /* its background is light */
  bool tmux;              /* a multiplexer is between us and the terminal */
  int registers;          /* colours of a sixel picture, 16 to 1024 */
  int max_w, max_h;       /* pixels of a sixel picture, 0: no limit known */
  bool max_is_window;     /* that is the window's size */
  int cell_w, cell_h;     /* pixels of a cell; 10x20 where it does not say */
  bool palette, direct;   /* it has said that it has 256 colours, and that it takes those of 24 bits, whatever TERM and COLORTERM say */
  int colours;            /* 1 (monochrome, or NO_COLOR), 8, 16, 256 or 1 << 24 */
};

/* Reads the answers to the queries of term_open from text: pure, for tests. */
void term_read_answers(const char *text, size_t n, struct term_facts *f);

/* Asks the terminal on standard input and output, then takes it: raw mode, alternate screen, mouse, bracketed paste, ncurses. Catches fatal signals.
   ERR_USAGE: standard input or output is no terminal, or its type is not known. */
bool term_open(struct term_facts *facts, struct err *e);
/* Gives it back; not open is fine. */
void term_close(void);
/* Stops the process as Ctrl-Z does, with the terminal as it was found; returns when it goes on, with the terminal taken again. All must be drawn anew. */
void term_suspend(void);
/* After SIGCONT without term_suspend: takes the terminal again. */
void term_retake(void);
/* The window's size now, in cells, and told to ncurses; the size of a cell is asked for again. */
void term_resized(struct term_facts *facts, int *columns, int *rows);
/* All n bytes to the terminal, past ncurses. */
void term_write(const void *bytes, size_t n);
/* Standard error goes to this file from now on (appended), so that no library writes over the screen. False: it cannot be written. */
bool term_divert_errors(const char *path);
int term_keep_errors(void); /* where standard error goes now */
void term_restore_errors(int kept);

#endif
