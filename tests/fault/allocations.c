/* The allocating functions, each of which may be made to fail (fault.h). */
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fault.h"

#define CALLER __builtin_return_address(0)

static struct {
  void *(*malloc)(size_t);
  void *(*calloc)(size_t, size_t);
  void *(*realloc)(void *, size_t);
  void (*free)(void *);
  int (*posix_memalign)(void **, size_t, size_t);
  void *(*aligned_alloc)(size_t, size_t);
  void *(*mmap)(void *, size_t, int, int, int, off_t);
} real;

/* The search for the real functions may itself allocate: it gets pieces of this, which are never given back. */
static _Alignas(16) unsigned char early[1 << 14];
static atomic_size_t early_used;

static void *early_take(size_t n) {
  size_t at = atomic_fetch_add(&early_used, (n + 15) / 16 * 16);
  return at + n <= sizeof early ? early + at : NULL;
}

static bool is_early(const void *p) {
  return (const unsigned char *)p >= early && (const unsigned char *)p < early + sizeof early;
}

/* POSIX guarantees that a pointer from dlsym can be a function; C does not, so the bits are copied. */
static void find(void *slot, const char *name) {
  void *p = fault_real(name);
  memcpy(slot, &p, sizeof p);
}

static bool found(void) {
  static atomic_int state; /* 0: nobody has looked, 1: being looked for, 2: there */
  int fresh = 0;
  if (atomic_load(&state) == 2) return true;
  if (!atomic_compare_exchange_strong(&state, &fresh, 1)) return false;
  find(&real.calloc, "calloc");
  find(&real.realloc, "realloc");
  find(&real.free, "free");
  find(&real.posix_memalign, "posix_memalign");
  find(&real.aligned_alloc, "aligned_alloc");
  find(&real.mmap, "mmap");
  find(&real.malloc, "malloc");
  atomic_store(&state, 2);
  return true;
}

static bool fails(const char *function, const void *caller) {
  if (!fault_due(fault_owner(caller), function, caller)) return false;
  errno = ENOMEM;
  return true;
}

void *malloc(size_t n) {
  if (!found()) return early_take(n);
  return fails("malloc", CALLER) ? NULL : real.malloc(n);
}

void *calloc(size_t n, size_t size) {
  if (!found()) return early_take(n * size);
  return fails("calloc", CALLER) ? NULL : real.calloc(n, size);
}

void *realloc(void *p, size_t n) {
  if (!found() || is_early(p)) {
    void *fresh = found() ? real.malloc(n) : early_take(n);
    size_t had = p != NULL ? (size_t)(early + sizeof early - (unsigned char *)p) : 0;
    if (fresh != NULL && p != NULL) memcpy(fresh, p, had < n ? had : n);
    return fresh;
  }
  return fails("realloc", CALLER) ? NULL : real.realloc(p, n);
}

void free(void *p) {
  if (p != NULL && !is_early(p) && found()) real.free(p);
}

int posix_memalign(void **out, size_t alignment, size_t n) {
  if (!found() || fails("posix_memalign", CALLER)) return ENOMEM;
  return real.posix_memalign(out, alignment, n);
}

void *aligned_alloc(size_t alignment, size_t n) {
  return !found() || fails("aligned_alloc", CALLER) ? NULL : real.aligned_alloc(alignment, n);
}

static void *map(void *at, size_t n, int protection, int flags, int fd, off_t offset, const void *caller) {
  return !found() || fails("mmap", caller) ? MAP_FAILED : real.mmap(at, n, protection, flags, fd, offset);
}

void *mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset) {
  return map(at, n, protection, flags, fd, offset, CALLER);
}

void *mmap64(void *at, size_t n, int protection, int flags, int fd, off_t offset) {
  return map(at, n, protection, flags, fd, offset, CALLER);
}
