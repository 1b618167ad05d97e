/* Counting of points (fault.h). Nothing here allocates: it is called from malloc. */
#include "fault.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <unwind.h>

enum { PLACES = 1 << 17 };

struct range {
  uintptr_t from, to;
  enum fault_kind kind;
};

static struct {
  enum fault_kind kind;
  long at, number;
  bool stays, half;
  char report[512];
  uintptr_t base; /* where the program lies */
  struct range range[256];
  int ranges;
} plan;
static atomic_long points;
static atomic_bool ready, started;
static uint32_t place[PLACES]; /* of each point */

typedef int main_function(int argc, char **argv, char **environment);
typedef int start_function(main_function *main, int argc, char **argv, main_function *init, void (*fini)(void), void (*rtld_fini)(void),
                           void *stack_end);
static main_function *program;

/* By system calls: streams and open() may be the ones that fail. */
static void append(const char *path, const void *data, size_t n) {
  int saved = errno;
  long fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd >= 0) {
    (void)!syscall(SYS_write, fd, data, n);
    syscall(SYS_close, fd);
  }
  errno = saved;
}

static void report(const char *text) {
  if (plan.report[0] != 0) append(plan.report, text, strlen(text));
}

static const struct range *range_of(uintptr_t at) {
  for (int i = 0; i < plan.ranges; i++)
    if (at >= plan.range[i].from && at < plan.range[i].to) return &plan.range[i];
  return NULL;
}

struct trail {
  uint32_t hash;
  int left; /* frames of the program still to be taken */
};

static void mix(uint32_t *h, uintptr_t v) { /* FNV-1a */
  for (size_t i = 0; i < sizeof v; i++) *h = (*h ^ (v >> 8 * i & 0xff)) * 0x01000193u;
}

static _Unwind_Reason_Code add_frame(struct _Unwind_Context *c, void *user) {
  struct trail *t = user;
  const struct range *r = range_of(_Unwind_GetIP(c));
  if (r == &plan.range[0]) {
    mix(&t->hash, _Unwind_GetIP(c) - r->from);
    t->left--;
  }
  return t->left > 0 ? _URC_NO_REASON : _URC_END_OF_STACK;
}

/* Where in the code a point lies: the caller and the innermost functions of the program. */
static uint32_t place_of(const void *caller) {
  static _Thread_local bool busy; /* whatever the unwinder allocates has no place */
  struct trail t = {0x811c9dc5u, plan.kind == FAULT_FILE ? 6 : 2};
  const struct range *r = range_of((uintptr_t)caller);
  if (busy) return 0;
  busy = true;
  if (r != NULL) mix(&t.hash, (uintptr_t)caller - r->from);
  _Unwind_Backtrace(add_frame, &t);
  busy = false;
  return t.hash;
}

bool fault_due(enum fault_kind kind, const char *function, const void *caller) {
  if (!atomic_load(&ready) || !atomic_load(&started) || kind == FAULT_NONE || kind != plan.kind) return false;
  long n = atomic_fetch_add(&points, 1) + 1;
  if (plan.at == 0 && n <= PLACES) place[n - 1] = place_of(caller);
  bool due = plan.at > 0 && (n == plan.at || (plan.stays && n > plan.at));
  if (n == plan.at) {
    char text[256];
    snprintf(text, sizeof text, "hit %s %#lx\n", function, (unsigned long)((uintptr_t)caller - plan.base));
    report(text);
  }
  return due;
}

enum fault_kind fault_owner(const void *caller) {
  const struct range *r = range_of((uintptr_t)caller);
  return r != NULL ? r->kind : FAULT_NONE;
}

void *fault_real(const char *name) {
  return dlsym(RTLD_NEXT, name);
}

int fault_errno(void) {
  static const int number[] = {ENOSPC, EIO, EACCES};
  return plan.number > 0 ? (int)plan.number : number[plan.at % 3];
}

bool fault_half(void) {
  return plan.half;
}

/* libgomp and libstdc++ end the program when memory is out, oneDNN throws: they are not asked to do better. */
static enum fault_kind kind_of(const char *path) {
  static const char *const copes[] = {"/libcjson.", "/libinih.", "/libpng16.", "/libjpeg.", "/libwebp.", "/libwebpdemux.", "/libz."};
  if (strstr(path, "/libc.so") != NULL || strstr(path, "/libc-2") != NULL) return FAULT_MEMORY;
  for (size_t i = 0; i < sizeof copes / sizeof *copes; i++)
    if (strstr(path, copes[i]) != NULL) return FAULT_LIBRARY;
  return FAULT_NONE;
}

/* The program itself comes first and has no name. */
static int add_object(struct dl_phdr_info *info, size_t size, void *user) {
  int *objects = user;
  (void)size;
  enum fault_kind kind = (*objects)++ == 0 ? FAULT_MEMORY : kind_of(info->dlpi_name);
  if (*objects == 1) plan.base = info->dlpi_addr;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *h = &info->dlpi_phdr[i];
    if (kind == FAULT_NONE || h->p_type != PT_LOAD || (h->p_flags & PF_X) == 0) continue;
    if (plan.ranges == (int)(sizeof plan.range / sizeof *plan.range)) break;
    uintptr_t from = info->dlpi_addr + h->p_vaddr;
    plan.range[plan.ranges++] = (struct range){from, from + h->p_memsz, kind};
  }
  return 0;
}

static long number(const char *name) {
  const char *text = getenv(name);
  return text != NULL ? strtol(text, NULL, 10) : 0;
}

__attribute__((constructor)) static void begin(void) {
  const char *kind = getenv("FAULT_KIND"), *to = getenv("FAULT_REPORT");
  int objects = 0;
  if (kind == NULL) return;
  plan.kind = strcmp(kind, "memory") == 0    ? FAULT_MEMORY
              : strcmp(kind, "library") == 0 ? FAULT_LIBRARY
              : strcmp(kind, "file") == 0    ? FAULT_FILE
                                             : FAULT_NONE;
  plan.at = number("FAULT_AT");
  plan.number = number("FAULT_ERRNO");
  plan.stays = number("FAULT_STAYS") != 0;
  plan.half = number("FAULT_HALF") != 0;
  snprintf(plan.report, sizeof plan.report, "%s", to != NULL ? to : "");
  dl_iterate_phdr(add_object, &objects);
  atomic_store(&ready, true);
}

static int start(int argc, char **argv, char **environment) {
  atomic_store(&started, true);
  return program(argc, argv, environment);
}

/* Counting begins with main: what runs before it is not the project's, but for example the CUDA runtime's, which is linked in, registers its kernels
   there and does not look whether it got memory. */
start_function __libc_start_main; /* the C library declares it nowhere */

int __libc_start_main(main_function *main, int argc, char **argv, main_function *init, void (*fini)(void), void (*rtld_fini)(void),
                      void *stack_end) {
  start_function *real;
  void *p = fault_real("__libc_start_main");
  memcpy(&real, &p, sizeof real);
  program = main;
  return real(start, argc, argv, init, fini, rtld_fini, stack_end);
}

__attribute__((destructor)) static void end(void) {
  char text[64], path[sizeof plan.report + 8];
  long n = atomic_load(&points);
  snprintf(text, sizeof text, "points %ld\n", n);
  if (!atomic_exchange(&ready, false)) return;
  report(text);
  snprintf(path, sizeof path, "%s.places", plan.report);
  if (plan.at == 0 && plan.report[0] != 0) append(path, place, (size_t)(n < PLACES ? n : PLACES) * sizeof *place);
}
