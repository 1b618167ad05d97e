#include "terminal/golden.h"

#include <stdlib.h>
#include <string.h>

char *golden_read(const char *path) {
  enum { MOST = 4 << 20 };
  FILE *f = fopen(path, "re");
  if (f == NULL) return NULL;
  char *text = malloc(MOST + 1);
  size_t n = text != NULL ? fread(text, 1, MOST, f) : 0;
  if (text != NULL) text[n] = 0;
  fclose(f);
  return text;
}

/* The line at *text without its newline; *text moves on, to NULL behind the last. */
static size_t line_length(const char *text) {
  return text != NULL ? strcspn(text, "\n") : 0;
}

static const char *next(const char *text, size_t n) {
  if (text == NULL || text[n] == 0 || text[n + 1] == 0) return NULL;
  return text + n + 1;
}

static void show_differences(const char *want, const char *got, FILE *out) {
  for (int line = 1; want != NULL || got != NULL; line++) {
    size_t w = line_length(want), g = line_length(got);
    bool same = want != NULL && got != NULL && w == g && memcmp(want, got, w) == 0;
    if (!same && want != NULL) fprintf(out, "%3d - %.*s\n", line, (int)w, want);
    if (!same && got != NULL) fprintf(out, "%3d + %.*s\n", line, (int)g, got);
    want = next(want, w);
    got = next(got, g);
  }
}

static bool write_golden(const char *path, const char *text, FILE *out) {
  FILE *f = fopen(path, "we");
  bool ok = f != NULL && fputs(text, f) >= 0;
  if (f != NULL) ok = fclose(f) == 0 && ok;
  fprintf(out, "%s %s\n", ok ? "wrote" : "cannot write", path);
  return ok;
}

bool golden_compare(const char *path, const char *text, bool update, FILE *out) {
  char *want = golden_read(path);
  bool same = want != NULL && strcmp(want, text) == 0;
  if (!same && update) {
    free(want);
    return write_golden(path, text, out);
  }
  if (!same) fprintf(out, "%s %s\n", path, want != NULL ? "differs (- as it was, + now):" : "is missing");
  if (!same && want != NULL) show_differences(want, text, out);
  free(want);
  return same;
}
