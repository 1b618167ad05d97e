/* Device memory and pinned memory.
 *
 * Blocks lie in one large range of addresses that is never accessible as a whole. Each has its own pages, with guards before and behind; its end
 * is at the end of a page up to 256 bytes, so what runs over hits the guard. Blocks are accessible while device work runs, and at no other time:
 * the handler of SIGSEGV opens what that work touches, a chunk at a time, and closes it when the work is done. What else is touched it notes, opens
 * as well, and lets the program go on. Addresses are not used again after cudaFree. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#include <map>
#include <vector>

#include "stream.hpp"

namespace cudasim {

enum : size_t { PAGE = 4096, ALIGN = 256, GUARD = 1 << 20, PATTERN = 16 << 20, LARGE = 32 << 20, CHUNK = 2 << 20 };

struct block {
  char *pages; /* accessible pages [pages, pages + mapped) */
  size_t mapped;
  char *p; /* what the caller has: [p, p + bytes) */
  size_t bytes;
  long number;
  int device;
  bool pinned, freed;
};

typedef std::map<char *, block> blocks; /* by the end of their pages */
static blocks &all() {
  static blocks *b = new blocks; /* outlives exit's handlers */
  return *b;
}
struct guarded {
  char *pages;
  size_t mapped;
  const char *what;
};
static std::vector<guarded> &others() {
  static std::vector<guarded> *v = new std::vector<guarded>;
  return *v;
}

static char *arena, *arena_end, *next_free;
static long numbers;
static size_t used, peak, pinned_used, pinned_peak;
static int open_depth;
static std::function<std::string()> &running = *new std::function<std::string()>; /* never destroyed */

/* What the handler opened; closed again when device work ends. */
enum { OPENED = 1 << 14 };
static struct {
  char *p;
  size_t bytes;
} opened[OPENED];
static int n_opened;

/* --- finding ------------------------------------------------------------------------------------------------------------------------ */

static block *find(const void *at) {
  blocks &b = all();
  auto i = b.upper_bound((char *)at);
  return i != b.end() && (char *)at >= i->second.pages ? &i->second : NULL;
}

/* The block that a stray address is nearest to. */
static block *nearest(char *at) {
  blocks &b = all();
  auto behind = b.upper_bound(at); /* ends behind at */
  block *next = behind != b.end() ? &behind->second : NULL;
  block *before = behind != b.begin() ? &std::prev(behind)->second : NULL;
  if (!next || !before) return next ? next : before;
  return at - (before->p + before->bytes) <= next->p - at ? before : next;
}

place place_of(const void *p, size_t *left) {
  *left = 0;
  if ((char *)p < arena || (char *)p >= arena_end) return place::host;
  block *b = find(p);
  if (!b || b->freed || (char *)p < b->p || (char *)p >= b->p + b->bytes) return place::freed;
  *left = (size_t)(b->p + b->bytes - (char *)p);
  return b->pinned ? place::pinned : place::device;
}

static void say_stray(const char *what, const void *p) {
  block *b = nearest((char *)p);
  if (b && b->freed && (char *)p >= b->p && (char *)p < b->p + b->bytes)
    violation("%s: memory used after it was freed (block %ld of %zu bytes, byte %td)", what, b->number, b->bytes, (char *)p - b->p);
  else if (b)
    violation("%s: address outside of every block (block %ld of %zu bytes, byte %td)", what, b->number, b->bytes, (char *)p - b->p);
}

bool expect_device(const void *p, size_t bytes, const char *what) {
  size_t left;
  if (bytes == 0) return true;
  switch (place_of(p, &left)) {
    case place::host: violation("%s: host memory where device memory is due", what); return false;
    case place::pinned: violation("%s: pinned host memory where device memory is due", what); return false;
    case place::freed: say_stray(what, p); return false;
    case place::device: break;
  }
  if (bytes > left) violation("%s: %zu bytes where the block has %zu left", what, bytes, left);
  return bytes <= left;
}

bool expect_host(const void *p, size_t bytes, const char *what) {
  size_t left;
  if (bytes == 0) return true;
  switch (place_of(p, &left)) {
    case place::device: violation("%s: device memory where host memory is due", what); return false;
    case place::freed: say_stray(what, p); return false;
    case place::pinned:
      if (bytes > left) violation("%s: %zu bytes where the pinned block has %zu left", what, bytes, left);
      return bytes <= left;
    case place::host: break;
  }
  return p != NULL;
}

bool unwritten(const void *p, size_t bytes, size_t *at) {
  const unsigned char *c = (const unsigned char *)p;
  size_t first = (size_t)(-(uintptr_t)c & 3);
  for (size_t i = first; i + 4 <= bytes; i += 4) {
    uint32_t w;
    memcpy(&w, c + i, 4);
    if (w == 0xffffffffu) {
      *at = i;
      return true;
    }
  }
  return false;
}

/* --- the handler ---------------------------------------------------------------------------------------------------------------------- */

static const char *access_of(void *context) {
#if defined(__x86_64__)
  return ((ucontext_t *)context)->uc_mcontext.gregs[REG_ERR] & 2 ? "writes" : "reads";
#else
  (void)context;
  return "accesses";
#endif
}

/* False where there is no room to remember it: then it is not opened. */
static bool open_range(char *p, size_t bytes) {
  if (n_opened == OPENED || mprotect(p, bytes, PROT_READ | PROT_WRITE)) return false;
  opened[n_opened].p = p;
  opened[n_opened++].bytes = bytes;
  return true;
}

static void close_opened() {
  for (int i = 0; i < n_opened; i++) mprotect(opened[i].p, opened[i].bytes, PROT_NONE);
  n_opened = 0;
}

/* Where nothing may be: a page of NaN. */
static void open_page(char *at) {
  char *page = (char *)((uintptr_t)at & ~(PAGE - 1));
  if (open_range(page, PAGE)) memset(page, 0xff, PAGE);
}

/* Device work in a block. Where too much is open already, all of it is closed and opened anew as it is touched. */
static void device_touch(block *b, char *at) {
  size_t from = (size_t)(at - b->pages) / CHUNK * CHUNK, left = b->mapped - from;
  size_t bytes = left < CHUNK ? left : (size_t)CHUNK;
  if (open_range(b->pages + from, bytes)) return;
  close_opened();
  if (!open_range(b->pages + from, bytes)) abort(); /* the system gives no more mappings */
}

/* Host code in device memory: noted, the whole block opened until device work has run. */
static void host_fault(block *b, char *at, const char *does) {
  violation("host code %s device memory (block %ld of %zu bytes, byte %td)", does, b->number, b->bytes, at - b->p);
  open_range(b->pages, b->mapped);
}

static void stray_fault(char *at, const char *does) {
  std::string who = open_depth && running ? running() : "host code";
  block *b = nearest(at);
  for (auto &g : others())
    if (at >= g.pages - GUARD && at < g.pages + g.mapped + GUARD) {
      violation("%s %s %s out of bounds (%td bytes behind its end)", who.c_str(), does, g.what, at - (g.pages + g.mapped));
      b = NULL;
    }
  if (b && b->freed && at >= b->pages && at < b->pages + b->mapped)
    violation("%s %s memory after it was freed (block %ld of %zu bytes, byte %td)", who.c_str(), does, b->number, b->bytes, at - b->p);
  else if (b)
    violation("%s %s memory out of bounds (block %ld of %zu bytes, byte %td)", who.c_str(), does, b->number, b->bytes, at - b->p);
  open_page(at);
  if (open_depth) set_sticky(cudaErrorIllegalAddress);
}

static struct sigaction earlier_segv, earlier_bus;

static void fault(int number, siginfo_t *info, void *context) {
  char *at = (char *)info->si_addr;
  int saved = errno;
  if (at < arena || at >= arena_end) { /* not ours: as if we were not there */
    sigaction(SIGSEGV, &earlier_segv, NULL);
    sigaction(SIGBUS, &earlier_bus, NULL);
    return;
  }
  (void)number;
  block *b = find(at);
  if (b && !b->freed && open_depth)
    device_touch(b, at);
  else if (b && !b->freed)
    host_fault(b, at, access_of(context));
  else
    stray_fault(at, access_of(context));
  errno = saved;
}

static void install_handler() {
  struct sigaction a;
  memset(&a, 0, sizeof a);
  a.sa_sigaction = fault;
  a.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
  sigaction(SIGSEGV, &a, &earlier_segv);
  sigaction(SIGBUS, &a, &earlier_bus);
}

/* Others (cmocka, at each test) put a handler of their own in its place: device work needs this one. */
static void keep_handler() {
  struct sigaction now;
  if (arena && sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_sigaction != fault) install_handler();
}

/* --- pages ------------------------------------------------------------------------------------------------------------------------------ */

static bool have_arena() {
  if (arena) return true;
  for (size_t bytes = (size_t)4 << 40; bytes >= (size_t)16 << 30; bytes /= 4) {
    void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) continue;
    arena = (char *)p;
    arena_end = arena + bytes;
    next_free = arena + GUARD;
    install_handler();
    return true;
  }
  return false;
}

/* A file of 0xff bytes, mapped again and again: large blocks are filled without being touched. */
static int pattern_file() {
  static int fd = -1;
  if (fd >= 0) return fd;
  fd = memfd_create("cudasim", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, PATTERN)) return -1;
  void *p = mmap(NULL, PATTERN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (p == MAP_FAILED) return -1;
  memset(p, 0xff, PATTERN);
  munmap(p, PATTERN);
  return fd;
}

static bool fill_pages(char *pages, size_t mapped) {
  if (mapped >= LARGE && pattern_file() >= 0) {
    for (size_t at = 0; at < mapped; at += PATTERN) {
      size_t part = mapped - at < PATTERN ? mapped - at : (size_t)PATTERN;
      if (mmap(pages + at, part, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, pattern_file(), 0) == MAP_FAILED) return false;
    }
    return true;
  }
  if (mprotect(pages, mapped, PROT_READ | PROT_WRITE)) return false;
  memset(pages, 0xff, mapped);
  return true;
}

static char *take_pages(size_t mapped) {
  if (!have_arena() || (size_t)(arena_end - next_free) < mapped + 2 * GUARD) return NULL;
  char *pages = next_free;
  if (!fill_pages(pages, mapped)) return NULL;
  next_free += mapped + GUARD;
  return pages;
}

static void poison(const block &b, bool on) {
#if CUDASIM_ASAN
  size_t head = (size_t)(b.p - b.pages);
  if (on) {
    __asan_poison_memory_region(b.pages, head);
    __asan_poison_memory_region(b.p + b.bytes, b.mapped - head - b.bytes);
  } else {
    __asan_unpoison_memory_region(b.pages, head);
    __asan_unpoison_memory_region(b.p + b.bytes, b.mapped - head - b.bytes);
  }
#else
  (void)b, (void)on;
#endif
}

static size_t rounded_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

static char *take_block(size_t bytes, bool pinned) {
  size_t kept = rounded_up(bytes, ALIGN), mapped = rounded_up(kept, PAGE);
  char *pages = take_pages(mapped);
  if (!pages) return NULL;
  block b = {pages, mapped, pages + mapped - kept, bytes, ++numbers, device.current, pinned, false};
  all()[pages + mapped] = b;
  poison(b, true);
  if (!pinned) mprotect(pages, mapped, PROT_NONE);
  (pinned ? pinned_used : used) += bytes;
  if (used > peak) peak = used;
  if (pinned_used > pinned_peak) pinned_peak = pinned_used;
  return b.p;
}

static void look_at_margins(block *b) {
  poison(*b, false);
  const char *before = b->pages, *behind = b->p + b->bytes, *end = b->pages + b->mapped;
  bool bad_before = false, bad_behind = false;
  for (const char *c = before; c < b->p; c++) bad_before |= *c != (char)0xff;
  for (const char *c = behind; c < end; c++) bad_behind |= *c != (char)0xff;
  if (bad_before) violation("memory before block %ld of %zu bytes was written", b->number, b->bytes);
  if (bad_behind) violation("memory behind block %ld of %zu bytes was written", b->number, b->bytes);
  if (bad_before) memset(b->pages, 0xff, (size_t)(b->p - before));
  if (bad_behind) memset(b->p + b->bytes, 0xff, (size_t)(end - behind));
  poison(*b, true);
}

/* Gives the pages back; the addresses stay unusable. */
static void drop(block *b) {
  {
    open_memory o;
    look_at_margins(b);
  }
  poison(*b, false);
  mmap(b->pages, b->mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  b->freed = true;
  (b->pinned ? pinned_used : used) -= b->bytes;
}

open_memory::open_memory() {
  if (open_depth++ == 0) keep_handler();
}
open_memory::~open_memory() {
  if (--open_depth == 0) close_opened();
}

void set_running(std::function<std::string()> describe) { running = describe; }

void check_margins() {
  open_memory o;
  for (auto &e : all())
    if (!e.second.freed) look_at_margins(&e.second);
}

static size_t leaks(bool pinned) {
  size_t n = 0;
  for (auto &e : all()) n += !e.second.freed && e.second.pinned == pinned;
  return n;
}
size_t device_leaks() { return leaks(false); }
size_t pinned_leaks() { return leaks(true); }

void memory_reset() {
  for (auto &e : all())
    if (!e.second.freed) drop(&e.second);
  close_opened();
  all().clear();
  peak = pinned_peak = 0;
}

void *guarded_pages(size_t bytes, const char *what) {
  size_t mapped = rounded_up(bytes, PAGE);
  char *pages = take_pages(mapped);
  if (!pages) abort();
  others().push_back({pages, mapped, what});
  return pages + mapped - bytes;
}

static cudaError_t take_pinned(void **p, size_t bytes) {
  if (!p) return cudaErrorInvalidValue;
  *p = NULL;
  if (bytes == 0) return cudaSuccess;
  *p = take_block(bytes, true);
  return *p ? cudaSuccess : cudaErrorMemoryAllocation;
}

static size_t used_by(int d) {
  size_t n = 0;
  for (auto &e : all())
    if (!e.second.freed && !e.second.pinned && e.second.device == d) n += e.second.bytes;
  return n;
}

static cudaError_t give_back(void *p, bool pinned, const char *what) {
  if (!p) return cudaSuccess;
  block *b = find(p);
  if (!b || b->p != p || b->pinned != pinned) {
    violation("%s: not what was taken", what);
    return cudaErrorInvalidValue;
  }
  if (b->freed) {
    violation("%s: freed twice (block %ld of %zu bytes)", what, b->number, b->bytes);
    return cudaErrorInvalidValue;
  }
  drop(b);
  return cudaSuccess;
}

}  // namespace cudasim

using namespace cudasim;

extern "C" {

size_t cudasim_bytes(void) { return used; }
size_t cudasim_peak(void) { return peak; }
size_t cudasim_pinned_peak(void) { return pinned_peak; }
bool cudasim_is_device(const void *p, size_t bytes) {
  size_t left;
  return place_of(p, &left) == place::device && bytes <= left;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
  API;
  size_t taken = used_by(device.current);
  if (free_bytes) *free_bytes = device.memory > taken ? device.memory - taken : 0;
  if (total) *total = device.memory;
  return cudaSuccess;
}
cudaError_t cudaMalloc(void **p, size_t bytes) {
  API;
  if (unsafe_in_capture(__func__)) return failed(cudaErrorStreamCaptureUnsupported);
  count_wait();
  if (!p) return failed(cudaErrorInvalidValue);
  *p = NULL;
  if (bytes == 0) return cudaSuccess;
  if (bytes > device.memory || used_by(device.current) > device.memory - bytes) return failed(cudaErrorMemoryAllocation);
  *p = take_block(bytes, false);
  return failed(*p ? cudaSuccess : cudaErrorMemoryAllocation);
}
/* As the real one waits for whatever may still use the block. */
cudaError_t cudaFree(void *p) {
  API;
  if (unsafe_in_capture(__func__)) return failed(cudaErrorStreamCaptureUnsupported);
  count_wait();
  drain_all();
  return failed(sticky() != cudaSuccess ? sticky() : give_back(p, false, "cudaFree"));
}
cudaError_t cudaMallocHost(void **p, size_t bytes) {
  API;
  if (unsafe_in_capture(__func__)) return failed(cudaErrorStreamCaptureUnsupported);
  return failed(take_pinned(p, bytes));
}
cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned) {
  API;
  if (unsafe_in_capture(__func__)) return failed(cudaErrorStreamCaptureUnsupported);
  return failed(take_pinned(p, bytes));
}
cudaError_t cudaFreeHost(void *p) {
  API;
  if (unsafe_in_capture(__func__)) return failed(cudaErrorStreamCaptureUnsupported);
  count_wait();
  drain_all();
  return failed(sticky() != cudaSuccess ? sticky() : give_back(p, true, "cudaFreeHost"));
}
/* Memory that is only registered stays where it is: copies treat it as pageable. */
cudaError_t cudaHostRegister(void *p, size_t bytes, unsigned) {
  API;
  return failed(expect_host(p, bytes, "cudaHostRegister") ? cudaSuccess : cudaErrorInvalidValue);
}
cudaError_t cudaHostUnregister(void *p) {
  API;
  return failed(p ? cudaSuccess : cudaErrorInvalidValue);
}
cudaError_t cudaHostGetDevicePointer(void **d, void *host, unsigned) {
  size_t left;
  API;
  if (!d || place_of(host, &left) != place::pinned) return failed(cudaErrorInvalidValue);
  *d = host;
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *a, const void *p) {
  size_t left;
  API;
  if (!a) return failed(cudaErrorInvalidValue);
  place where = place_of(p, &left);
  memset(a, 0, sizeof *a);
  a->type = where == place::device ? cudaMemoryTypeDevice : where == place::pinned ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
  a->device = where == place::device ? find(p)->device : -1;
  a->devicePointer = where == place::device || where == place::pinned ? (void *)p : NULL;
  a->hostPointer = where == place::pinned ? (void *)p : NULL;
  return cudaSuccess;
}
}
