/* The terminal's description (terminfo) as this program wants it, handed to ncurses in the variable TERMINFO:
 *  - without scrolling: ncurses moves rows where that saves it some writing, and with them the pixels and cells that stand there beside it;
 *  - with 24-bit colours where the terminal has them: ncurses takes them from the description alone, and most name 256. */
#ifndef PDMBOOTH_UI_DESCRIPTION_H
#define PDMBOOTH_UI_DESCRIPTION_H

#include <stdbool.h>
#include <stddef.h>

/* Around newterm(type): begin puts a copy of type's description in place; end gives TERMINFO back. 24-bit colours come in where COLORTERM is truecolor or 24bit
   or the terminal has said so itself (told), and NO_COLOR is not set: COLORS is 1 << 24 then. True: the copy is in place. Where anything fails, ncurses gets the
   description as it is. */
bool description_begin(const char *type, bool told);
void description_end(void);

/* TERM; or TERM-256color in buf (xterm, screen, tmux, rxvt) where the terminal has said that it has that palette, TERM's description knows of fewer colours, 8 at least,
   and that one is there. NULL: there is no TERM. */
const char *description_type(bool palette, char *buf, size_t n);

/* The copy as TERMINFO takes it ("hex:..."), owned by the caller; direct: with 24-bit colours, if it has any. NULL: the terminal is unknown, has 24-bit colours by
   the bits of each (xterm-direct2), or no memory. */
char *description_copy(const char *term, bool direct);

#endif
