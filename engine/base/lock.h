/* A lock between processes: flock on a file, in which the holder's pid, host and start time stand for whoever is refused. The kernel gives it
 * back when the process ends, however it ends; the file stays. */
#ifndef PDMBOOTH_BASE_LOCK_H
#define PDMBOOTH_BASE_LOCK_H

#include <stddef.h>

#include "base/err.h"

enum { LOCK_TEXT = 256 };

struct lock {
  int fd; /* -1: not held */
};

enum lock_answer { LOCK_HELD, LOCK_BUSY, LOCK_FAILED };

/* Tries once. LOCK_BUSY: another has it, holder says who ("process 123 on host, since 2026-01-31 12:00:00"). LOCK_FAILED: *e. */
enum lock_answer lock_take(struct lock *l, const char *path, char holder[LOCK_TEXT], struct err *e);
void lock_release(struct lock *l); /* one that is not held is fine */
/* Whether somebody holds it now, who into holder; a file that is not there is held by nobody. */
bool lock_is_held(const char *path, char holder[LOCK_TEXT]);

#endif
