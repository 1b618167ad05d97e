#include "ui/ini_edit.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/source.h"
#include "profile.h"

struct edit {
  const struct key *key;
  const char *const *values;
  int n;
  FILE *out;
  char section[64];
  bool in_section, seen_section, written;
};

static void put_values(struct edit *d, const char *name) {
  for (int i = 0; i < d->n; i++) fprintf(d->out, "%s = %s\n", name, d->values[i]);
  d->written = true;
}

/* "[section]" into name; false: the line is none. */
static bool is_section(const char *line, size_t n, char *name, size_t room) {
  size_t i = 0;
  while (i < n && isspace((unsigned char)line[i])) i++;
  const char *end = i < n && line[i] == '[' ? memchr(line + i, ']', n - i) : NULL;
  return end && text_put(name, room, "%.*s", (int)(end - line - (ptrdiff_t)i - 1), line + i + 1);
}

/* The name before '=' or ':'; false: a comment, a blank line, a continuation. */
static bool is_key(const char *line, size_t n, char *name, size_t room) {
  size_t i = 0;
  if (!n || isspace((unsigned char)*line) || strchr(";#[", *line)) return false;
  while (i < n && line[i] != '=' && line[i] != ':') i++;
  if (i == n) return false;
  while (i && isspace((unsigned char)line[i - 1])) i--;
  return text_put(name, room, "%.*s", (int)i, line);
}

/* Blank lines at the end of a section stay behind what is added to it. */
static size_t trailing_blanks(const char *begin, const char *end) {
  const char *p = end;
  while (p > begin && isspace((unsigned char)p[-1])) p--;
  while (p < end && *p++ != '\n') continue;
  return (size_t)(end - p);
}

/* One line; held: what has been written of the section since its last key or comment is written already. */
static void take_line(struct edit *d, const char *line, size_t n) {
  char name[128];
  if (d->in_section && is_key(line, n, name, sizeof name) && key_find(d->section, name) == d->key) {
    if (!d->written) put_values(d, name);
    return;
  }
  fwrite(line, 1, n, d->out);
  if (n && line[n - 1] != '\n') fputc('\n', d->out);
}

/* The lines of one section, [begin, end). */
static void take_section(struct edit *d, const char *begin, const char *end) {
  size_t blanks = d->in_section ? trailing_blanks(begin, end) : 0;
  const char *stop = end - blanks;
  for (const char *p = begin; p < stop;) {
    const char *newline = memchr(p, '\n', (size_t)(stop - p));
    size_t n = newline ? (size_t)(newline - p) + 1 : (size_t)(stop - p);
    take_line(d, p, n);
    p += n;
  }
  if (d->in_section && !d->written) {
    bool again = false; /* the same section may come once more, and hold the key */
    char name[64];
    for (const char *p = end; *p && !again; p += strcspn(p, "\n"), p += *p == '\n') {
      again = is_section(p, strcspn(p, "\n"), name, sizeof name) && !strcmp(name, d->section);
    }
    if (!again) put_values(d, d->key->name);
  }
  fwrite(stop, 1, blanks, d->out);
}

char *ini_with(const char *text, const struct key *k, const char *const *values, int n) {
  char *result = NULL;
  size_t size = 0;
  struct edit d = {.key = k, .values = values, .n = n, .out = open_memstream(&result, &size)};
  if (!d.out) return NULL;
  for (const char *p = text; *p;) {
    const char *end = p;
    char name[64];
    do end += strcspn(end, "\n"), end += *end == '\n';
    while (*end && !is_section(end, strcspn(end, "\n"), name, sizeof name));
    if (is_section(p, strcspn(p, "\n"), d.section, sizeof d.section)) d.in_section = !strcmp(d.section, k->section);
    d.seen_section |= d.in_section;
    take_section(&d, p, end);
    p = end;
  }
  if (!d.written && n) {
    fprintf(d.out, "%s[%s]\n", *text ? "\n" : "", k->section);
    put_values(&d, k->name);
  }
  if (fclose(d.out)) {
    free(result);
    return NULL;
  }
  return result;
}

bool ini_save(const char *path, const char *text, struct err *e) {
  char backup[4096];
  size_t n;
  if (!text) return err_set(e, ERR_FAILED, "out of memory");
  if (is_file(path)) {
    char *before = text_file_read(path, NULL, "", &n, e);
    bool ok = before && text_put(backup, sizeof backup, "%s.bak", path) && write_file(backup, before, n, e);
    free(before);
    if (!ok) return err_set(e, ERR_FAILED, "%s could not be kept as .bak", path);
  }
  return write_file(path, text, strlen(text), e);
}
