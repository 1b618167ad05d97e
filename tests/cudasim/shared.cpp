/* Shared memory: each variable on pages of its own, its end at a guard, filled with NaN for each block. */
#include <string.h>
#include <vector>

#include "block.hpp"

namespace cudasim {

enum : size_t { UNIT = 16, TILE = 32 /* what SHARED_TILE asks for */, MOST = 227 << 10, MARGIN = 64 };

unsigned long long block_number = 1;

struct shared_memory {
  const char *name;
  char *p; /* [p, p + kept), of which bytes are the variable */
  size_t bytes, kept;
};
static std::vector<shared_memory *> &used = *new std::vector<shared_memory *>; /* never destroyed */
static size_t fixed_bytes, dynamic_bytes;
static char *dynamic_end; /* of MOST bytes */

static size_t rounded_up(size_t n, size_t unit = UNIT) { return (n + unit - 1) / unit * unit; }

/* Under the address sanitizer every byte beside the variable is poisoned. Else those near it are watched. */
static void fence(char *first, char *p, size_t bytes, size_t kept) {
#if CUDASIM_ASAN
  __asan_poison_memory_region(first, (size_t)(p - first));
  __asan_poison_memory_region(p + bytes, kept - bytes);
#else
  (void)first, (void)p, (void)bytes, (void)kept;
#endif
}

static shared_memory *new_memory(const char *name, size_t bytes, size_t align) {
  static char text[64][80];
  static unsigned n;
  char *what = text[n++ % 64];
  snprintf(what, sizeof text[0], "shared memory %s", name);
  size_t kept = rounded_up(bytes, align > UNIT ? align : UNIT); /* the end lies at the end of a page */
  char *p = (char *)guarded_pages(kept + MARGIN, what) + MARGIN;
  fence(p - MARGIN, p, bytes, kept);
  return new shared_memory{name, p, bytes, kept};
}

void *shared_slow(struct shared_variable *v, size_t bytes, size_t align) {
  if (align > TILE) violation("kernel %s: shared memory %s aligned to %zu bytes", kernel_name(), v->name, align);
  if (!v->memory) v->memory = new_memory(v->name, bytes, align);
  shared_memory *m = (shared_memory *)v->memory;
  memset(m->p, 0xff, bytes);
  used.push_back(m);
  fixed_bytes += bytes;
  v->block = block_number;
  return v->p = m->p;
}

void *dynamic_shared(size_t) {
  if (dynamic_bytes == 0) violation("kernel %s: dynamic shared memory, but the launch gave none", kernel_name());
  return dynamic_end - rounded_up(dynamic_bytes);
}

static void set_dynamic(size_t bytes) {
  if (!dynamic_end) dynamic_end = (char *)guarded_pages(MOST + MARGIN, "dynamic shared memory") + MOST + MARGIN;
  if (bytes == dynamic_bytes) return;
  char *first = dynamic_end - MOST - MARGIN, *p = dynamic_end - rounded_up(bytes);
#if CUDASIM_ASAN
  __asan_unpoison_memory_region(first, MOST + MARGIN);
#endif
  memset(first, 0xff, MOST + MARGIN);
  fence(first, p, bytes, rounded_up(bytes));
  dynamic_bytes = bytes;
}

void shared_begin(size_t dynamic) {
  block_number++;
  used.clear();
  fixed_bytes = 0;
  if (dynamic == 0 && dynamic_bytes == 0) return;
  set_dynamic(dynamic);
  memset(dynamic_end - rounded_up(dynamic), 0xff, CUDASIM_ASAN ? dynamic : rounded_up(dynamic));
}

#if !CUDASIM_ASAN
static void look(const char *name, char *p, size_t bytes, size_t kept) {
  bool before = false, behind = false;
  for (size_t i = 0; i < MARGIN; i++) before |= p[-1 - (long)i] != (char)0xff;
  for (size_t i = bytes; i < kept; i++) behind |= p[i] != (char)0xff;
  if (before) violation("kernel %s: shared memory before %s was written", kernel_name(), name);
  if (behind) violation("kernel %s: shared memory behind %s was written", kernel_name(), name);
  if (before) memset(p - MARGIN, 0xff, MARGIN);
  if (behind) memset(p + bytes, 0xff, kept - bytes);
}
#endif

size_t shared_end() {
#if !CUDASIM_ASAN
  for (shared_memory *m : used) look(m->name, m->p, m->bytes, m->kept);
  if (dynamic_bytes) look("the dynamic part", dynamic_end - rounded_up(dynamic_bytes), dynamic_bytes, rounded_up(dynamic_bytes));
#endif
  return fixed_bytes;
}

}  // namespace cudasim
