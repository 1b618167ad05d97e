/* INI text to key and value, with inih as the parser and its traps closed before it sees a line. */
#include <errno.h>
#include <ini.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "profile.h"

enum { LINE_LIMIT = 16384, FILE_LIMIT = 16 << 20 };

/* Debian's inih can be told at run time to take lines of more than 200 bytes; where it cannot, these are absent and long lines refused. */
#pragma weak ini_use_stack
#pragma weak ini_max_line
#pragma weak ini_initial_alloc
#pragma weak ini_allow_realloc

struct ini_job {
  const char *file, *at, *end;
  int line;
  ini_take take;
  void *user;
  struct err *e;
  bool failed;
};

static bool fail_line(struct ini_job *j, const char *what) {
  j->failed = true;
  return err_set(j->e, ERR_USAGE, "%s:%d: %s", j->file, j->line, what);
}

static bool check_line(struct ini_job *j, const char *p, size_t n) {
  if (n > LINE_LIMIT) return fail_line(j, "the line is longer than 16384 bytes");
  for (size_t i = 0, step; i < n; i += step) {
    if (!p[i]) return fail_line(j, "there is a NUL byte in the line; a profile is plain text");
    step = utf8_step((const unsigned char *)p + i, n - i);
    if (!step) return fail_line(j, "the line is not valid UTF-8");
  }
  return true;
}

/* fgets over memory; blanks at the start of a line are dropped, since inih would take such a line as the continuation of the one before. */
static char *next_line(char *out, int size, void *stream) {
  struct ini_job *j = stream;
  if (j->failed || j->at >= j->end) return NULL;
  const char *newline = memchr(j->at, '\n', (size_t)(j->end - j->at));
  const char *stop = newline ? newline : j->end, *p = j->at;
  j->line++;
  j->at = newline ? newline + 1 : j->end;
  if (!check_line(j, p, (size_t)(stop - p))) return NULL;
  while (p < stop && (*p == ' ' || *p == '\t' || *p == '\r')) p++;
  size_t n = (size_t)(stop - p);
  if (n && *p == '[' && !memchr(p, ']', n)) return fail_line(j, "the section's bracket is not closed"), NULL;
  if (n + 2 > (size_t)size) return fail_line(j, "the line is too long for this machine's INI library"), NULL;
  memcpy(out, p, n);
  out[n] = '\n';
  out[n + 1] = 0;
  return out;
}

static int on_value(void *user, const char *section, const char *name, const char *value) {
  struct ini_job *j = user;
  if (j->failed) return 0;
  j->failed = !j->take(j->user, section, name, value ? value : "", j->line, j->e);
  return !j->failed;
}

static void widen_lines(void) {
  if (&ini_use_stack && &ini_initial_alloc && &ini_max_line && &ini_allow_realloc) {
    ini_use_stack = false;
    ini_allow_realloc = false;
    ini_initial_alloc = ini_max_line = LINE_LIMIT + 8;
  }
}

bool ini_read(const char *file, const char *text, size_t n, ini_take take, void *user, struct err *e) {
  struct ini_job j = {.file = file, .at = text, .end = text + n, .take = take, .user = user, .e = e};
  widen_lines();
  int rc = ini_parse_stream(next_line, &j, on_value, &j);
  if (j.failed) return false;
  if (rc == -2) return err_set(e, ERR_FIT, "out of memory");
  if (rc) return err_set(e, ERR_USAGE, "%s:%d: expected [section], key = value or a comment", file, rc);
  return true;
}

static const struct embedded_file *find_embedded(const struct embedded_file *files, const char *folder, const char *name) {
  char want[256];
  const char *suffix = strstr(name, ".ini") ? "" : ".ini";
  text_put(want, sizeof want, "%s/%s%s", folder, name, suffix);
  for (; files && files->path; files++) {
    if (!strcmp(files->path, want)) return files;
  }
  return NULL;
}

static char *read_all(FILE *f, const char *path, size_t *n, struct err *e) {
  size_t cap = 1 << 16, have = 0;
  char *buf = malloc(cap + 1);
  while (buf) {
    have += fread(buf + have, 1, cap - have, f);
    if (have < cap || cap >= FILE_LIMIT) break;
    char *more = realloc(buf, cap * 4 + 1);
    if (!more) free(buf);
    buf = more;
    cap *= 4;
  }
  if (!buf) return err_set(e, ERR_FIT, "out of memory"), NULL;
  if (ferror(f) || have >= FILE_LIMIT) {
    if (ferror(f)) err_set_errno(e, ERR_INPUT, "cannot read %s", path);
    err_set(e, ERR_USAGE, "%s is larger than 16 MB; this is not a profile", path);
    free(buf);
    return NULL;
  }
  buf[have] = 0;
  *n = have;
  return buf;
}

/* A FIFO or a device could keep us for ever: it is refused before anything is read. */
static FILE *open_file(const char *path, struct err *e) {
  struct stat st;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return err_set_errno(e, ERR_INPUT, "cannot read %s", path), NULL;
  if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
    err_set(e, ERR_USAGE, "%s is %s, not a file", path, S_ISDIR(st.st_mode) ? "a directory" : "a device or a pipe");
    close(fd);
    return NULL;
  }
  FILE *f = fdopen(fd, "rb");
  if (f) return f;
  err_set_errno(e, ERR_FIT, "cannot read %s", path);
  close(fd);
  return NULL;
}

char *text_file_read(const char *path, const struct embedded_file *embedded, const char *folder, size_t *n, struct err *e) {
  if (!strncmp(path, "embedded:", 9)) {
    const struct embedded_file *f = find_embedded(embedded, folder, path + 9);
    if (!f) return err_set(e, ERR_INPUT, "%s: the program holds no such file under %s/", path, folder), NULL;
    char *copy = malloc(f->size + 1);
    if (!copy) return err_set(e, ERR_FIT, "out of memory"), NULL;
    memcpy(copy, f->data, f->size);
    copy[ *n = f->size] = 0;
    return copy;
  }
  FILE *f = open_file(path, e);
  if (!f) return NULL;
  char *text = read_all(f, path, n, e);
  fclose(f);
  return text;
}
