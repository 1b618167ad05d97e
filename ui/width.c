#include "ui/width.h"

#include <string.h>
#include <wchar.h>

#include "text.h"

enum { REPLACEMENT = 0xFFFD, JOINER = 0x200D };

size_t utf8_decode(const char *p, uint32_t *code) {
  const unsigned char *s = (const unsigned char *)p;
  if (*s == 0) return 0;
  size_t n = utf8_step(s, strnlen(p, 4));
  *code = n == 0 ? REPLACEMENT : n == 1 ? s[0] : n == 2 ? s[0] & 0x1Fu : n == 3 ? s[0] & 0x0Fu : s[0] & 0x07u;
  for (size_t i = 1; i < n; i++) *code = *code << 6 | (s[i] & 0x3Fu);
  return n == 0 ? 1 : n;
}

size_t utf8_encode(uint32_t code, char out[5]) {
  size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
  for (size_t i = n; i-- > 1; code >>= 6) out[i] = (char)(0x80 | (code & 0x3F));
  out[0] = (char)(lead[n] | code);
  out[n] = 0;
  return n;
}

/* Marks, embeddings, overrides and isolates of the writing direction; they show nothing and could turn a whole row around. */
static bool steers_direction(uint32_t c) {
  return c == 0x200E || c == 0x200F || c == 0x061C || (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

static bool left_out(uint32_t c, int width_before) {
  bool after_emoji = width_before == 2;
  return steers_direction(c) || c == 0xFEFF || (c >= 0xFE00 && c <= 0xFE0F) ||
         (after_emoji && (c == JOINER || (c >= 0x1F3FB && c <= 0x1F3FF)));
}

static bool is_control(uint32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || (c >= 0x2028 && c <= 0x2029);
}

/* Columns of a character; controls and characters the C library does not know are shown as the replacement character. */
static int code_width(uint32_t *c, bool utf8) {
  if (*c == '\t' || *c == '\n') *c = ' ';
  if (!utf8) {
    if (*c >= 0x7F || *c < 0x20) *c = '?';
    return 1;
  }
  int width = is_control(*c) ? -1 : wcwidth((wchar_t)*c);
  if (width >= 0) return width;
  *c = REPLACEMENT;
  return 1;
}

static void append(struct grapheme *g, uint32_t code) {
  char bytes[5];
  size_t n = utf8_encode(code, bytes), have = strlen(g->text);
  if (have + n < sizeof g->text) memcpy(g->text + have, bytes, n + 1);
}

/* Adds the marks that follow, at most four: more would not fit in a cell of ncurses. */
static void take_marks(const char **text, struct grapheme *g) {
  uint32_t c;
  for (int marks = 0;;) {
    size_t n = utf8_decode(*text, &c);
    if (n == 0) return;
    if (!left_out(c, g->width)) {
      if (c < 0x300 || is_control(c) || wcwidth((wchar_t)c) != 0) return;
      if (marks++ < 4) append(g, c);
    }
    *text += n;
  }
}

bool grapheme_next(const char **text, bool utf8, struct grapheme *out) {
  uint32_t c;
  for (;;) {
    size_t n = utf8_decode(*text, &c);
    if (n == 0) return false;
    *text += n;
    if (left_out(c, 0)) continue;
    out->text[0] = 0;
    out->width = code_width(&c, utf8);
    if (out->width == 0) { /* a mark without a base stands on a space */
      append(out, ' ');
      out->width = 1;
    }
    append(out, c);
    if (utf8) take_marks(text, out);
    return true;
  }
}

int text_columns(const char *text, bool utf8) {
  struct grapheme g;
  int width = 0;
  while (grapheme_next(&text, utf8, &g)) width += g.width;
  return width;
}

size_t text_fit(const char *text, int columns, bool utf8, int *used) {
  struct grapheme g;
  const char *at = text;
  int width = 0;
  for (const char *next = text; grapheme_next(&next, utf8, &g) && width + g.width <= columns; at = next) width += g.width;
  if (used != NULL) *used = width;
  return (size_t)(at - text);
}

/* Bytes of the line's end that are skipped: one newline, or the spaces a line was broken at. */
static const char *next_line(const char *end) {
  while (*end == ' ') end++;
  return *end == '\n' ? end + 1 : end;
}

size_t text_wrap(const char **text, int columns, bool utf8) {
  const char *start = *text, *at = start, *fits = start, *broken = NULL;
  struct grapheme g;
  int width = 0;
  if (columns < 1) columns = 1;
  while (*at != 0 && *at != '\n') {
    const char *before = at;
    if (!grapheme_next(&at, utf8, &g)) break;
    if (*before == ' ' && before > start) broken = before;
    if (g.width == 2 && before > start) broken = before;
    width += g.width;
    if (width > columns && *before != ' ') {
      const char *end = broken != NULL ? broken : fits > start ? fits : at; /* at: a wide character in a column of one */
      *text = next_line(end);
      return (size_t)(end - start);
    }
    fits = at;
    if (g.width == 2) broken = at;
  }
  size_t n = (size_t)(at - start);
  *text = *at == '\n' ? at + 1 : at;
  while (n > 0 && start[n - 1] == ' ') n--;
  return n;
}

int text_lines(const char *text, int columns, bool utf8) {
  int lines = 0;
  for (; *text != 0; lines++) text_wrap(&text, columns, utf8);
  return lines;
}
