/* Life and memory: the device is the host. */
#include "backend/ref/ref.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HUGE_PAGE = 2 << 20 };

bool ref_open(struct backend *b, struct err *e) {
  (void)e;
  b->threads = 1;
  return true;
}

void ref_close(struct backend *b) {
  (void)b;
}

const char *ref_describe(const struct backend *b) {
  (void)b;
  return "ref: plain C, 1 thread";
}

size_t ref_taken(size_t bytes) {
  size_t page = bytes < HUGE_PAGE ? (size_t)sysconf(_SC_PAGESIZE) : HUGE_PAGE;
  if (bytes == 0) bytes = 1;
  return bytes > SIZE_MAX - page ? 0 : (bytes + page - 1) / page * page;
}

/* Fresh pages of the kernel are zero. Touching 4 KiB pages one by one costs 11 us each, so huge ones are asked for. */
void *ref_alloc(struct backend *b, size_t bytes, struct err *e) {
  (void)b;
  size_t n = ref_taken(bytes);
  void *p = n ? mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : MAP_FAILED;
  if (p == MAP_FAILED) {
    err_set(e, ERR_FIT, "no %.1f MiB of memory: close other programs, or choose a smaller batch or resolution", (double)bytes / (1 << 20));
    return NULL;
  }
#ifdef MADV_HUGEPAGE
  if (n >= HUGE_PAGE) (void)madvise(p, n, MADV_HUGEPAGE); /* a wish; without it things are slower, not wrong */
#endif
  return p;
}

void ref_release(struct backend *b, void *p, size_t bytes) {
  (void)b;
  if (p) munmap(p, ref_taken(bytes));
}

void ref_copy(struct backend *b, void *dst, const void *src, size_t bytes) {
  (void)b;
  if (bytes) memmove(dst, src, bytes);
}

/* Nothing goes beside what is computed: every mark stands for something that is done. */
void ref_mark(struct backend *b, int mark) {
  (void)b;
  (void)mark;
}

void ref_copy_at_once(struct backend *b, int mark, void *dst, const void *src, size_t bytes, int after) {
  (void)mark;
  (void)after;
  ref_copy(b, dst, src, bytes);
}

size_t ref_copy_bytes(const struct param *p, enum dtype type) {
  (void)p;
  (void)type;
  return 0;
}

void ref_copy_fill(struct backend *b, struct param *p, const float *values) {
  ref_copy(b, p->w, values, (size_t)p->count * sizeof *values);
}

/* This backend packs nothing. */
void ref_drop_pack(struct backend *b, struct param *p) {
  (void)b;
  (void)p;
}
