/* Widths of UTF-8 text on a terminal: characters, graphemes, columns. */
#ifndef PDMBOOTH_UI_WIDTH_H
#define PDMBOOTH_UI_WIDTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GRAPHEME_BYTES = 24 }; /* a base character and four marks, which is what ncurses keeps for a cell, and NUL */

/* What stands in one cell or in two: a character with its combining marks. */
struct grapheme {
  char text[GRAPHEME_BYTES]; /* printable UTF-8, or ASCII where the terminal has no UTF-8 */
  int width;                 /* 1 or 2 columns */
};

/* Reads one grapheme at *text and moves *text past it; false at the end. Widths are those of the C library's locale (wcwidth), as
   ncurses uses them. Control characters and bytes that are not UTF-8 become U+FFFD, tab and newline a space; marks that steer the
   writing direction, joiners and skin tones behind an emoji are left out, since terminals disagree on their width.
   utf8 false: every character outside ASCII becomes '?'. */
bool grapheme_next(const char **text, bool utf8, struct grapheme *out);

int text_columns(const char *text, bool utf8); /* columns of a whole line */
/* Bytes of the longest beginning of text that fits in columns, and its width in *used (may be NULL). */
size_t text_fit(const char *text, int columns, bool utf8, int *used);
/* One line of a paragraph: the longest beginning of *text up to columns that ends at a space, between wide characters or, where a
   word is longer than the line, anywhere; *text moves to the next line's beginning. Returns its bytes (without the space it ends
   at); a newline ends a line. Call while **text != 0; always moves on. */
size_t text_wrap(const char **text, int columns, bool utf8);
int text_lines(const char *text, int columns, bool utf8); /* how many lines that makes */

/* Decodes the character at p into *code; returns its bytes, 1 and U+FFFD for a byte that is not UTF-8, 0 at the end. */
size_t utf8_decode(const char *p, uint32_t *code);
size_t utf8_encode(uint32_t code, char out[5]); /* with NUL; bytes without it */

#endif
