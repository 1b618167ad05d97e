#include "append.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "text.h"

/* Cuts what follows the last end of line. */
static bool cut_torn_line(int fd) {
  char part[4096];
  struct stat s;
  if (fstat(fd, &s) != 0) return false;
  off_t end = s.st_size;
  while (end > 0) {
    size_t n = end < (off_t)sizeof part ? (size_t)end : sizeof part;
    if (pread(fd, part, n, end - (off_t)n) != (ssize_t)n) return false;
    for (; n > 0 && part[n - 1] != '\n'; n--) end--;
    if (n > 0) break;
  }
  return end == s.st_size || ftruncate(fd, end) == 0;
}

bool append_open(struct append *a, const char *path, struct err *e) {
  *a = (struct append){.fd = -1};
  if (!text_put(a->path, sizeof a->path, "%s", path)) return err_set(e, ERR_USAGE, "%.200s...: the path is too long", path);
  a->fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (a->fd < 0) return err_set_errno(e, ERR_FAILED, "%s: cannot be written", path);
  if (cut_torn_line(a->fd)) {
    fs_sync_parent(path);
    return true;
  }
  err_set_errno(e, ERR_FAILED, "%s: cannot be read", path);
  append_close(a);
  return false;
}

bool append_flush(struct append *a, struct err *e) {
  size_t done = 0;
  ssize_t got = 0;
  while (done < a->n && (got = write(a->fd, a->pending + done, a->n - done)) != 0) {
    if (got > 0)
      done += (size_t)got;
    else if (errno != EINTR)
      break;
  }
  int number = errno;
  if (done > 0) memmove(a->pending, a->pending + done, a->n - done);
  a->n -= done;
  errno = number;
  return a->n == 0 || err_set_errno(e, ERR_FAILED, "%s: cannot be written", a->path);
}

bool append_text(struct append *a, const char *text, size_t n, struct err *e) {
  if (a->n + n > a->cap) {
    size_t cap = (a->n + n) * 2;
    char *more = realloc(a->pending, cap);
    if (!more) return err_set(e, ERR_FAILED, "out of memory");
    a->pending = more;
    a->cap = cap;
  }
  memcpy(a->pending + a->n, text, n);
  a->n += n;
  return append_flush(a, e);
}

bool append_sync(struct append *a, struct err *e) {
  return append_flush(a, e) && (fdatasync(a->fd) == 0 || err_set_errno(e, ERR_FAILED, "%s: cannot be written", a->path));
}

void append_close(struct append *a) {
  struct err ignored = {0};
  if (a->fd >= 0) {
    append_flush(a, &ignored);
    close(a->fd);
  }
  free(a->pending);
  *a = (struct append){.fd = -1};
}
