/* Streams that write: the C library's own would pass by the write of this library, so these write through it (fault.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"

enum { STREAMS = 256 };

/* The caller of the stream's function is not known any more when the C library flushes: these count as the program's own. */
struct slot {
  FILE *stream; /* NULL: free */
  int fd;
};
static struct slot slots[STREAMS];
static const void *own; /* an address in the program: whoever opened a stream last */

/* Such a function says 0 where it fails. */
static ssize_t put(void *cookie, const char *data, size_t n) {
  long written = fault_write(((struct slot *)cookie)->fd, data, n, own);
  return written > 0 ? written : 0;
}

static int seek(void *cookie, off64_t *at, int from) {
  off_t now = lseek(((struct slot *)cookie)->fd, *at, from);
  if (now >= 0) *at = now;
  return now >= 0 ? 0 : -1;
}

static int end(void *cookie) {
  struct slot *s = cookie;
  s->stream = NULL;
  return s->fd >= 0 ? close(s->fd) : 0;
}

static struct slot *take(void) {
  for (int i = 0; i < STREAMS; i++)
    if (slots[i].stream == NULL) return &slots[i];
  return NULL;
}

static FILE *stream_on(int fd, const char *mode) {
  struct slot *s = take();
  if (s == NULL) return errno = EMFILE, NULL;
  s->fd = fd;
  s->stream = fopencookie(s, mode, (cookie_io_functions_t){.write = put, .seek = seek, .close = end});
  return s->stream;
}

static void set_fd(FILE *f, int fd) {
  for (int i = 0; i < STREAMS; i++)
    if (f != NULL && slots[i].stream == f) slots[i].fd = fd;
}

static bool writes(const char *mode) {
  return mode[0] == 'w' || mode[0] == 'a';
}

FILE *fopen(const char *path, const char *mode) {
  static FILE *(*real)(const char *, const char *);
  if (real == NULL) {
    void *p = fault_real("fopen");
    memcpy((void *)&real, &p, sizeof real);
  }
  const void *caller = __builtin_return_address(0);
  if (!writes(mode) || fault_owner(caller) != FAULT_MEMORY || strncmp(path, "/dev/", 5) == 0) return real(path, mode);
  own = caller;
  if (fault_due(FAULT_FILE, "fopen", caller)) return errno = fault_errno(), NULL;
  FILE *f = stream_on(-1, mode); /* as in the C library: no file is made where there is no memory for the stream */
  int fd = f != NULL ? openat(AT_FDCWD, path, O_WRONLY | O_CREAT | (mode[0] == 'a' ? O_APPEND : O_TRUNC), 0666) : -1;
  int why = errno;
  if (f != NULL && fd < 0) return fclose(f), errno = why, NULL;
  set_fd(f, fd);
  return f;
}

FILE *fdopen(int fd, const char *mode) {
  static FILE *(*real)(int, const char *);
  if (real == NULL) {
    void *p = fault_real("fdopen");
    memcpy((void *)&real, &p, sizeof real);
  }
  const void *caller = __builtin_return_address(0);
  if (!writes(mode) || fault_owner(caller) != FAULT_MEMORY) return real(fd, mode);
  own = caller;
  return stream_on(fd, mode);
}

int fileno(FILE *f) {
  static int (*real)(FILE *);
  if (real == NULL) {
    void *p = fault_real("fileno");
    memcpy((void *)&real, &p, sizeof real);
  }
  for (int i = 0; i < STREAMS; i++)
    if (f != NULL && slots[i].stream == f) return slots[i].fd;
  return real(f);
}
