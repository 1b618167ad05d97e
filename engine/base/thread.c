#include "base/thread.h"

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The mask's size is not known beforehand: the kernel refuses one that is too small. */
int machine_cores(void) {
  for (int bits = 1024; bits <= 1 << 20; bits *= 4) {
    cpu_set_t *mask = CPU_ALLOC((size_t)bits);
    size_t size = CPU_ALLOC_SIZE((size_t)bits);
    if (mask == NULL) break;
    int n = sched_getaffinity(0, size, mask) == 0 ? CPU_COUNT_S(size, mask) : 0;
    CPU_FREE(mask);
    if (n > 0) return n;
  }
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? (int)online : 1;
}

double now_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Whole small file of /proc or /sys as text; false when absent. */
static bool slurp(const char *path, char *buf, size_t n) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  size_t used = 0;
  ssize_t got;
  while (used + 1 < n && (got = read(fd, buf + used, n - 1 - used)) > 0) used += (size_t)got;
  close(fd);
  buf[used] = 0;
  return true;
}

/* Number after "key" at the start of a line, 0 when absent. */
static uint64_t line_number(const char *text, const char *key) {
  size_t n = strlen(key);
  for (const char *line = text; line != NULL && *line != 0; line = strchr(line, '\n'), line = line != NULL ? line + 1 : NULL)
    if (strncmp(line, key, n) == 0) return strtoull(line + n, NULL, 10);
  return 0;
}

/* cgroup version 2 and version 1 differ in mount point and file names only. */
struct cgroup_kind {
  const char *marker; /* before the group's path in /proc/self/cgroup */
  const char *mount, *limit, *current, *inactive, *active;
};
static const struct cgroup_kind kinds[] = {
    {"0::", "/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file ", "active_file "},
    {":memory:", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ", "total_active_file "},
};

struct limits {
  uint64_t total, available;
};

static bool read_at(const struct cgroup_kind *k, const char *group, const char *file, char *buf, size_t n) {
  char path[4500];
  snprintf(path, sizeof path, "%s%s/%s", k->mount, group, file);
  return slurp(path, buf, n);
}

/* Lowers l by the limit of one group. Page cache counts as used there, yet it is given back on demand. */
static void apply_group(const struct cgroup_kind *k, const char *group, struct limits *l) {
  char text[16384];
  if (!read_at(k, group, k->limit, text, sizeof text) || strncmp(text, "max", 3) == 0) return;
  uint64_t limit = strtoull(text, NULL, 10), used = 0, cache = 0;
  if (limit == 0) return;
  if (read_at(k, group, k->current, text, sizeof text)) used = strtoull(text, NULL, 10);
  if (read_at(k, group, "memory.stat", text, sizeof text)) cache = line_number(text, k->inactive) + line_number(text, k->active);
  used -= cache < used ? cache : used;
  uint64_t left = used < limit ? limit - used : 0;
  l->total = limit < l->total ? limit : l->total;
  l->available = left < l->available ? left : l->available;
}

/* A group's parents limit it too; inside a container the path may not exist, its root does. */
static void apply_kind(const struct cgroup_kind *k, const char *groups, struct limits *l) {
  const char *at = strstr(groups, k->marker);
  if (at == NULL) return;
  char group[4096];
  const char *path = at + strlen(k->marker);
  snprintf(group, sizeof group, "%.*s", (int)strcspn(path, "\n"), path);
  for (;;) {
    apply_group(k, strcmp(group, "/") == 0 ? "" : group, l);
    char *slash = strrchr(group, '/');
    if (slash == NULL || group[1] == 0) return;
    slash[slash == group ? 1 : 0] = 0;
  }
}

static struct limits memory_limits(void) {
  char text[16384];
  long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  struct limits l = {0, 0};
  if (pages > 0 && page > 0) l.total = (uint64_t)pages * (uint64_t)page;
  l.available = slurp("/proc/meminfo", text, sizeof text) ? line_number(text, "MemAvailable:") * 1024 : 0;
  if (l.available == 0) l.available = l.total;
  if (slurp("/proc/self/cgroup", text, sizeof text))
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) apply_kind(&kinds[i], text, &l);
  return l;
}

static size_t process_line(const char *key) {
  char text[16384];
  return slurp("/proc/self/status", text, sizeof text) ? (size_t)line_number(text, key) * 1024 : 0;
}

size_t process_memory(void) {
  return process_line("VmRSS:");
}

size_t process_memory_peak(void) {
  return process_line("VmHWM:");
}

size_t machine_memory(void) {
  return (size_t)memory_limits().total;
}

size_t machine_memory_available(void) {
  return (size_t)memory_limits().available;
}
