#include "formats/unicode.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "formats/unicode_tables.h"

enum { HANGUL = 0xAC00, HANGUL_N = 11172, LEAD = 0x1100, VOWEL = 0x1161, TAIL = 0x11A7 };

bool glyphs_add(struct glyphs *list, uint32_t c, int at) {
  if (list->n == list->cap) {
    if (list->cap > INT_MAX / 2 / (int)sizeof *list->g) return false;
    int cap = list->cap > 0 ? list->cap * 2 : 128;
    struct glyph *bigger = realloc(list->g, (size_t)cap * sizeof *bigger);
    if (bigger == NULL) return false;
    list->g = bigger;
    list->cap = cap;
  }
  list->g[list->n++] = (struct glyph){c, at};
  return true;
}

void glyphs_release(struct glyphs *list) {
  free(list->g);
  *list = (struct glyphs){0};
}

/* Code point at s and its length in *n; U+FFFD and 1 for what is not UTF-8 (overlong forms and surrogates included). */
static uint32_t decode(const unsigned char *s, int *n) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  int size = s[0] < 0x80 ? 1 : s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : s[0] < 0xF5 ? 4 : 0;
  uint32_t c = size < 2 ? s[0] : s[0] & (0x7Fu >> size);
  *n = 1;
  if (size == 0) return 0xFFFD;
  for (int i = 1; i < size; i++) { /* a NUL ends this, for it is no continuation byte */
    if ((s[i] & 0xC0) != 0x80) return 0xFFFD;
    c = c << 6 | (s[i] & 0x3F);
  }
  if (c < least[size] || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) return 0xFFFD;
  *n = size;
  return c;
}

bool glyphs_decode(struct glyphs *list, const char *text) {
  const unsigned char *s = (const unsigned char *)text;
  int n;
  for (int at = 0; s[at] != 0; at += n) {
    if (at > INT_MAX - 8 || !glyphs_add(list, decode(s + at, &n), at)) return false;
  }
  return true;
}

int glyph_encode(uint32_t c, unsigned char out[4]) {
  if (c < 0x80) {
    out[0] = (unsigned char)c;
    return 1;
  }
  int n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (int i = n - 1; i > 0; i--, c >>= 6) out[i] = (unsigned char)(0x80 | (c & 0x3F));
  out[0] = (unsigned char)(0xF00 >> n | c);
  return n;
}

static bool in_ranges(const struct unicode_range *r, int n, uint32_t c) {
  int low = 0;
  while (n > 0) {
    int half = n / 2;
    if (r[low + half].last < c) {
      low += half + 1;
      n -= half + 1;
    } else if (r[low + half].first <= c) {
      return true;
    } else {
      n = half;
    }
  }
  return false;
}

enum glyph_kind glyph_kind(uint32_t c) {
  if (in_ranges(unicode_letter, unicode_letter_n, c)) return GLYPH_LETTER;
  if (in_ranges(unicode_space, unicode_space_n, c)) return GLYPH_SPACE;
  return in_ranges(unicode_number, unicode_number_n, c) ? GLYPH_NUMBER : GLYPH_OTHER;
}

static int by_class(const void *key, const void *item) {
  uint32_t c = *(const uint32_t *)key;
  const struct unicode_class *row = item;
  return c < row->first ? -1 : c > row->last;
}

static int by_from(const void *key, const void *item) {
  uint32_t c = *(const uint32_t *)key, from = ((const struct unicode_map *)item)->from;
  return c < from ? -1 : c > from;
}

static int by_pair(const void *key, const void *item) {
  const struct unicode_pair *a = key, *b = item;
  if (a->first != b->first) return a->first < b->first ? -1 : 1;
  return a->second < b->second ? -1 : a->second > b->second;
}

static uint32_t combining(uint32_t c) {
  if (c < 0x300) return 0;
  const struct unicode_class *row = bsearch(&c, unicode_combining, (size_t)unicode_combining_n, sizeof *row, by_class);
  return row != NULL ? row->value : 0;
}

static bool decompose(struct glyphs *out, uint32_t c, int at) {
  if (c < 0x80) return glyphs_add(out, c, at);
  if (c >= HANGUL && c < HANGUL + HANGUL_N) {
    uint32_t s = c - HANGUL;
    return glyphs_add(out, LEAD + s / 588, at) && glyphs_add(out, VOWEL + s % 588 / 28, at) &&
           (s % 28 == 0 || glyphs_add(out, TAIL + s % 28, at));
  }
  const struct unicode_map *row = bsearch(&c, unicode_decompose, (size_t)unicode_decompose_n, sizeof *row, by_from);
  if (row == NULL) return glyphs_add(out, c, at);
  return decompose(out, row->to, at) && (row->more == 0 || decompose(out, row->more, at));
}

/* Canonical order: a stable sort by class of every run of non-starters; insertion, for runs are short. */
static void reorder(struct glyph *g, int n) {
  for (int i = 1; i < n; i++) {
    struct glyph moved = g[i];
    uint32_t k = combining(moved.c);
    int j = i;
    if (k == 0) continue;
    while (j > 0 && combining(g[j - 1].c) > k) {
      g[j] = g[j - 1];
      j--;
    }
    g[j] = moved;
  }
}

/* The one code point that a and b make, 0 where there is none. */
static uint32_t join(uint32_t a, uint32_t b) {
  if (a >= LEAD && a < LEAD + 19 && b >= VOWEL && b < VOWEL + 21) return HANGUL + (a - LEAD) * 588 + (b - VOWEL) * 28;
  if (a >= HANGUL && a < HANGUL + HANGUL_N && (a - HANGUL) % 28 == 0 && b > TAIL && b < TAIL + 28) return a + b - TAIL;
  const struct unicode_pair key = {a, b, 0};
  const struct unicode_pair *row = bsearch(&key, unicode_compose, (size_t)unicode_compose_n, sizeof *row, by_pair);
  return row != NULL ? row->joined : 0;
}

/* In place; returns the new length. last: class of the last glyph kept after the starter, -1 when none was. */
static int compose(struct glyph *g, int n) {
  int kept = 0, starter = -1, last = -1;
  for (int i = 0; i < n; i++) {
    int k = (int)combining(g[i].c);
    uint32_t joined = starter >= 0 && last < k ? join(g[starter].c, g[i].c) : 0;
    if (joined != 0) {
      g[starter].c = joined;
      continue;
    }
    starter = k == 0 ? kept : starter;
    last = k == 0 ? -1 : k;
    g[kept++] = g[i];
  }
  return kept;
}

static bool add_lower(struct glyphs *list, struct glyph g) {
  const struct unicode_map *row = bsearch(&g.c, unicode_lower, (size_t)unicode_lower_n, sizeof *row, by_from);
  if (row == NULL) return glyphs_add(list, g.c, g.at);
  return glyphs_add(list, row->to, g.at) && (row->more == 0 || glyphs_add(list, row->more, g.at));
}

bool glyphs_normalise(struct glyphs *list, const struct glyph *from, int n) {
  struct glyphs work = {0};
  bool good = true, in_space = false;
  for (int i = 0; i < n && good; i++) good = decompose(&work, from[i].c, from[i].at);
  if (good && work.n > 0) {
    reorder(work.g, work.n);
    work.n = compose(work.g, work.n);
  }
  for (int i = 0; i < work.n && good; i++) {
    bool space = glyph_kind(work.g[i].c) == GLYPH_SPACE;
    if (!space)
      good = add_lower(list, work.g[i]);
    else if (!in_space)
      good = glyphs_add(list, ' ', work.g[i].at);
    in_space = space;
  }
  glyphs_release(&work);
  return good;
}
