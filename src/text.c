#include "text.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct string_block {
  struct string_block *next;
  char text[];
};

const char *strings_add(struct strings *s, const char *text, size_t n) {
  struct string_block *b = malloc(sizeof *b + n + 1);
  if (!b) return NULL;
  memcpy(b->text, text, n);
  b->text[n] = 0;
  b->next = s->first;
  s->first = b;
  return b->text;
}

const char *strings_printf(struct strings *s, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  struct string_block *b = n >= 0 ? malloc(sizeof *b + (size_t)n + 1) : NULL;
  if (!b) return NULL;
  va_start(ap, fmt);
  vsnprintf(b->text, (size_t)n + 1, fmt, ap);
  va_end(ap);
  b->next = s->first;
  s->first = b;
  return b->text;
}

void strings_release(struct strings *s) {
  while (s->first) {
    struct string_block *next = s->first->next;
    free(s->first);
    s->first = next;
  }
}

static size_t count_of(const char *text, const char *from) {
  size_t n = 0;
  for (const char *p = text; (p = strstr(p, from)); p += strlen(from)) n++;
  return n;
}

const char *strings_replace(struct strings *s, const char *text, const char *from, const char *to) {
  size_t hits = count_of(text, from), size = strlen(text) + hits * strlen(to);
  if (!hits) return text;
  char *buf = malloc(size + 1), *w = buf;
  if (!buf) return NULL;
  const char *p = text;
  for (const char *hit; (hit = strstr(p, from)); p = hit + strlen(from)) {
    memcpy(w, p, (size_t)(hit - p));
    w += hit - p;
    memcpy(w, to, strlen(to));
    w += strlen(to);
  }
  memcpy(w, p, strlen(p) + 1);
  const char *out = strings_add(s, buf, strlen(buf));
  free(buf);
  return out;
}

size_t utf8_step(const unsigned char *p, size_t n) {
  if (!n) return 0;
  if (p[0] < 0x80) return 1;
  size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
  if (p[0] < 0xc2 || p[0] > 0xf4 || len > n) return 0;
  for (size_t i = 1; i < len; i++) {
    if ((p[i] & 0xc0) != 0x80) return 0;
  }
  /* over-long forms, surrogates, beyond U+10FFFF */
  if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
    return 0;
  return len;
}

static int min3(int a, int b, int c) {
  int m = a < b ? a : b;
  return m < c ? m : c;
}

int edit_distance(const char *a, const char *b) {
  int row[64] = {0}, la = (int)strnlen(a, 63), lb = (int)strnlen(b, 63);
  for (int j = 0; j <= lb; j++) row[j] = j;
  for (int i = 1; i <= la; i++) {
    int diagonal = row[0];
    row[0] = i;
    for (int j = 1; j <= lb; j++) {
      int above = row[j];
      row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
      diagonal = above;
    }
  }
  return row[lb];
}

void file_name_from(const char *text, char *out, size_t n) {
  size_t w = 0;
  for (const char *p = text; *p && w + 1 < n && w < 100; p++) {
    bool plain = isalnum((unsigned char)*p) || *p == '_' || *p == '-' || (*p == '.' && w);
    out[w++] = plain ? *p : '_';
  }
  if (!w && n > 1) out[w++] = '_';
  out[w] = 0;
}

bool text_put(char *out, size_t n, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  int len = vsnprintf(out, n, fmt, ap);
  va_end(ap);
  return len >= 0 && (size_t)len < n;
}

bool text_bytes(const char *text, double max, int64_t *out) {
  char *end;
  double v = strtod(text, &end), unit = 1;
  if (end == text || !isfinite(v) || v < 0) return false;
  const char *units = "KMGT", *u = *end ? strchr(units, *end & ~0x20) : NULL;
  if (u) {
    for (const char *p = units; p <= u; p++) unit *= 1024;
    end++;
    if (!strcmp(end, "iB") || !strcmp(end, "B")) end += strlen(end);
  }
  if (*end || v * unit > max) return false;
  *out = (int64_t)(v * unit);
  return true;
}

bool is_directory(const char *path) {
  struct stat st;
  return !stat(path, &st) && S_ISDIR(st.st_mode);
}

bool is_file(const char *path) {
  struct stat st;
  return !stat(path, &st) && S_ISREG(st.st_mode);
}
