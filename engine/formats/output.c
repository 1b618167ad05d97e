#include "formats/output.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "formats/source.h"

/* Not mkstemp: the file shall have the permissions that the user's umask gives. */
static int open_fresh(struct output *o) {
  for (int attempt = 0; attempt < 100; attempt++) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    snprintf(o->temporary, sizeof o->temporary, "%s.tmp-%ld-%lx%x", o->path, (long)getpid(), (unsigned long)t.tv_nsec, (unsigned)attempt);
    int fd = open(o->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0 || errno != EEXIST) return fd;
  }
  return -1;
}

bool output_open(struct output *o, const char *path, struct err *e) {
  o->file = NULL;
  size_t n = strlen(path);
  if (n >= sizeof o->path) return err_set(e, ERR_FAILED, "%.200s...: the path is too long", path);
  memcpy(o->path, path, n + 1);
  int fd = open_fresh(o);
  if (fd < 0) return err_set_errno(e, ERR_FAILED, "%s: cannot create the file", path);
  o->file = fdopen(fd, "wb");
  if (o->file != NULL) return true;
  err_set_errno(e, ERR_FAILED, "%s: cannot create the file", path);
  close(fd);
  unlink(o->temporary);
  return false;
}

bool output_write(struct output *o, const void *data, size_t n, struct err *e) {
  if (n == 0 || fwrite(data, 1, n, o->file) == n) return true;
  return err_set_errno(e, ERR_FAILED, "%s: cannot write", o->path);
}

bool output_close(struct output *o, bool keep, struct err *e) {
  bool good = keep && fflush(o->file) == 0 && fsync(fileno(o->file)) == 0;
  int number = errno;
  if (fclose(o->file) != 0 && good) {
    number = errno;
    good = false;
  }
  o->file = NULL;
  if (good && rename(o->temporary, o->path) != 0) {
    number = errno;
    good = false;
  }
  if (good) {
    fs_sync_parent(o->path);
    return true;
  }
  unlink(o->temporary);
  errno = number;
  return keep ? err_set_errno(e, ERR_FAILED, "%s: cannot write", o->path) : false;
}

bool write_file(const char *path, const void *data, size_t n, struct err *e) {
  struct output o;
  return output_open(&o, path, e) && output_close(&o, output_write(&o, data, n, e), e);
}
