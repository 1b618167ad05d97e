#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

/* Whoever only looks (lock_is_held) has the lock for a moment: so many times it is tried again. */
enum { LOOKS = 10 };

static void read_holder(int fd, char holder[LOCK_TEXT]) {
  ssize_t n = pread(fd, holder, LOCK_TEXT - 1, 0);
  holder[n > 0 ? n : 0] = 0;
  holder[strcspn(holder, "\n")] = 0;
  if (!*holder) snprintf(holder, LOCK_TEXT, "another process");
}

/* Only for people: a lock whose text cannot be written (a full disk) holds all the same. */
static void write_holder(int fd) {
  char text[LOCK_TEXT], host[100] = "", stamp[32];
  time_t now = time(NULL);
  struct tm t;
  localtime_r(&now, &t);
  strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", &t);
  if (gethostname(host, sizeof host - 1) != 0) snprintf(host, sizeof host, "this host");
  int n = snprintf(text, sizeof text, "process %ld on %s, since %s\n", (long)getpid(), host, stamp);
  if (ftruncate(fd, 0) == 0) (void)!pwrite(fd, text, (size_t)n, 0);
}

enum lock_answer lock_take(struct lock *l, const char *path, char holder[LOCK_TEXT], struct err *e) {
  l->fd = -1;
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666), got;
  if (fd < 0) {
    err_set_errno(e, ERR_FAILED, "%s: cannot make the lock", path);
    return LOCK_FAILED;
  }
  for (int tries = 0; (got = flock(fd, LOCK_EX | LOCK_NB)) != 0; tries++) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK || tries >= LOOKS) break;
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
  }
  if (got == 0) {
    write_holder(fd);
    l->fd = fd;
    return LOCK_HELD;
  }
  bool busy = errno == EWOULDBLOCK;
  if (busy)
    read_holder(fd, holder);
  else
    err_set_errno(e, ERR_FAILED, "%s: cannot be locked", path);
  close(fd);
  return busy ? LOCK_BUSY : LOCK_FAILED;
}

void lock_release(struct lock *l) {
  if (l->fd >= 0) close(l->fd);
  l->fd = -1;
}

bool lock_is_held(const char *path, char holder[LOCK_TEXT]) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  bool held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  if (held) read_holder(fd, holder);
  close(fd);
  return held;
}
