/* Text as code points that remember where they came from, and what CLIP's tokenizer does to it before splitting. */
#ifndef PDMBOOTH_FORMATS_UNICODE_H
#define PDMBOOTH_FORMATS_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct glyph {
  uint32_t c; /* code point */
  int at;     /* byte offset in the original text */
};

/* Growing list, zeroed before use; owned: glyphs_release. */
struct glyphs {
  struct glyph *g; /* [n] */
  int n, cap;
};

enum glyph_kind { GLYPH_OTHER, GLYPH_SPACE, GLYPH_LETTER, GLYPH_NUMBER };

/* All false: out of memory. */
bool glyphs_add(struct glyphs *list, uint32_t c, int at);
bool glyphs_decode(struct glyphs *list, const char *text); /* UTF-8; a byte that is none becomes U+FFFD */
/* Appends n glyphs in normal form: NFC, a run of white space as one space, lower case. */
bool glyphs_normalise(struct glyphs *list, const struct glyph *from, int n);
void glyphs_release(struct glyphs *list);

enum glyph_kind glyph_kind(uint32_t c);
int glyph_encode(uint32_t c, unsigned char out[4]); /* UTF-8, returns the number of bytes */

#endif
