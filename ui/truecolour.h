/* 24-bit colours with ncurses, which takes them from the terminal's description alone: most descriptions name 256 where the terminal has more. */
#ifndef PDMBOOTH_UI_TRUECOLOUR_H
#define PDMBOOTH_UI_TRUECOLOUR_H

#include <stdbool.h>
#include <stddef.h>

/* Around newterm(type): where COLORTERM is truecolor or 24bit or the terminal has said so itself (told), NO_COLOR is not set and type's description knows no 24-bit colours, begins with
   a copy of it that does, handed to ncurses in the variable TERMINFO; end gives that variable back. COLORS is 1 << 24 then.
   True: the copy is in place. Where anything fails, ncurses gets the description as it is. */
bool truecolour_begin(const char *type, bool told);
void truecolour_end(void);

/* TERM; or TERM-256color in buf (xterm, screen, tmux, rxvt) where the terminal has said that it has that palette, TERM's description knows of fewer colours, 8 at least,
   and that one is there. NULL: there is no TERM. */
const char *truecolour_type(bool palette, char *buf, size_t n);

/* The copy as TERMINFO takes it ("hex:..."), owned by the caller; NULL: the terminal is unknown, has direct colours already, or no memory. */
char *truecolour_description(const char *term);

#endif
