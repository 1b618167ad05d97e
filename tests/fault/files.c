/* Calls that change files, each of which may be made to fail (fault.h). Standard output and error, devices and pipes are left alone. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"

#define CALLER __builtin_return_address(0)

static bool fails(const char *function, const void *caller) {
  if (fault_owner(caller) != FAULT_MEMORY || !fault_due(FAULT_FILE, function, caller)) return false;
  errno = fault_errno();
  return true;
}

/* type (*name)(arguments) named real, found once; threads that meet here find the same. */
#define REAL(type, name, ...)               \
  static type (*real)(__VA_ARGS__);         \
  if (real == NULL) {                       \
    void *p = fault_real(#name);            \
    memcpy((void *)&real, &p, sizeof real); \
  }

static bool to_write(int flags) {
  return (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT) != 0;
}

static int mode_of(int flags, va_list args) {
  return (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(args, int) : 0;
}

static int open_at(int dir, const char *path, int flags, int mode, const void *caller) {
  REAL(int, openat, int, const char *, int, ...)
  if (to_write(flags) && strncmp(path, "/dev/", 5) != 0 && fails("open", caller)) return -1;
  return real(dir, path, flags, mode);
}

int open(const char *path, int flags, ...) {
  va_list args;
  va_start(args, flags);
  int mode = mode_of(flags, args);
  va_end(args);
  return open_at(AT_FDCWD, path, flags, mode, CALLER);
}

int open64(const char *path, int flags, ...) {
  va_list args;
  va_start(args, flags);
  int mode = mode_of(flags, args);
  va_end(args);
  return open_at(AT_FDCWD, path, flags, mode, CALLER);
}

int openat(int dir, const char *path, int flags, ...) {
  va_list args;
  va_start(args, flags);
  int mode = mode_of(flags, args);
  va_end(args);
  return open_at(dir, path, flags, mode, CALLER);
}

static bool is_file(int fd) {
  struct stat st;
  return fd > 2 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

long fault_write(int fd, const void *data, size_t n, const void *caller) {
  REAL(ssize_t, write, int, const void *, size_t)
  if (!is_file(fd) || !fails("write", caller)) return real(fd, data, n);
  int number = errno;
  if (fault_half() && n > 1) (void)!real(fd, data, n / 2);
  errno = number;
  return -1;
}

ssize_t write(int fd, const void *data, size_t n) {
  return fault_write(fd, data, n, CALLER);
}

int fsync(int fd) {
  REAL(int, fsync, int)
  return fails("fsync", CALLER) ? -1 : real(fd);
}

int fdatasync(int fd) {
  REAL(int, fdatasync, int)
  return fails("fdatasync", CALLER) ? -1 : real(fd);
}

int rename(const char *from, const char *to) {
  REAL(int, rename, const char *, const char *)
  return fails("rename", CALLER) ? -1 : real(from, to);
}

int mkdir(const char *path, mode_t mode) {
  REAL(int, mkdir, const char *, mode_t)
  struct stat st;
  if (stat(path, &st) == 0) return errno = EEXIST, -1; /* no point: the answer of a directory that is there says so */
  return fails("mkdir", CALLER) ? -1 : real(path, mode);
}

int ftruncate(int fd, off_t n) {
  REAL(int, ftruncate, int, off_t)
  return fails("ftruncate", CALLER) ? -1 : real(fd, n);
}
