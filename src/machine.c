#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "text.h"

static const char *const simd[] = {"sse2",     "sse4_1",   "avx",      "avx2",        "fma",         "f16c",        "avx_vnni", "avx512f",
                                   "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16",
                                   "asimd",    "asimddp",  "bf16",     "i8mm",        "sve",         "sve2"};

static bool has_word(const char *text, const char *word) {
  size_t n = strlen(word);
  for (const char *p = text; (p = strstr(p, word)); p += n) {
    if (p > text && (p[-1] == ' ' || p[-1] == '\t') && (!p[n] || p[n] == ' ' || p[n] == '\n')) return true;
  }
  return false;
}

const char *machine_simd(char *buf, size_t n) {
  char line[8192] = "";
  FILE *f = fopen("/proc/cpuinfo", "r");
  size_t w = 0;
  *buf = 0;
  while (f && fgets(line, sizeof line, f)) {
    if (!strncmp(line, "flags", 5) || !strncmp(line, "Features", 8)) break;
    *line = 0;
  }
  if (f) fclose(f);
  for (size_t i = 0; i < sizeof simd / sizeof *simd && w < n; i++) {
    if (has_word(line, simd[i])) w += (size_t)snprintf(buf + w, n - w, "%s%s", w ? " " : "", simd[i]);
  }
  return buf;
}

static bool read_text(const char *path, char *out, size_t n) {
  FILE *f = fopen(path, "r");
  size_t have = f ? fread(out, 1, n - 1, f) : 0;
  if (f) fclose(f);
  out[have] = 0;
  return have > 0;
}

/* This process's group in the hierarchy whose line in /proc/self/cgroup holds the marker. */
static bool own_group(const char *marker, char *out, size_t n) {
  char text[8192];
  if (!read_text("/proc/self/cgroup", text, sizeof text)) return false;
  const char *at = strstr(text, marker);
  if (!at) return false;
  at += strlen(marker);
  return text_put(out, n, "%.*s", (int)strcspn(at, "\n"), at);
}

/* quota and period, both in microseconds, of one group; 0: none */
static double quota_of(const char *mount, const char *group, bool v2) {
  char path[4300], text[64];
  double quota = 0, period = 0;
  if (v2) {
    text_put(path, sizeof path, "%s%s/cpu.max", mount, group);
    if (!read_text(path, text, sizeof text) || sscanf(text, "%lf %lf", &quota, &period) != 2) return 0;
  } else {
    text_put(path, sizeof path, "%s%s/cpu.cfs_quota_us", mount, group);
    if (read_text(path, text, sizeof text)) quota = strtod(text, NULL);
    text_put(path, sizeof path, "%s%s/cpu.cfs_period_us", mount, group);
    if (read_text(path, text, sizeof text)) period = strtod(text, NULL);
  }
  return quota > 0 && period > 0 ? quota / period : 0;
}

/* The least of the group's and its parents'; inside a container the path may not exist, its root does. */
double machine_quota(void) {
  static const struct {
    const char *marker, *mount;
    bool v2;
  } kind[] = {{"0::", "/sys/fs/cgroup", true}, {":cpu,cpuacct:", "/sys/fs/cgroup/cpu", false}, {":cpu:", "/sys/fs/cgroup/cpu", false}};
  double least = 0;
  for (size_t i = 0; i < sizeof kind / sizeof *kind; i++) {
    char group[4096];
    if (!own_group(kind[i].marker, group, sizeof group)) continue;
    for (char *slash = group + strlen(group); slash; slash = strrchr(group, '/')) {
      *slash = 0;
      double q = quota_of(kind[i].mount, group, kind[i].v2);
      if (q > 0 && (!(least > 0) || q < least)) least = q;
    }
  }
  return least;
}

int64_t machine_physical_memory(void) {
  long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? (int64_t)pages * page : 0;
}

int64_t machine_disk_free(const char *path) {
  struct statvfs s;
  char up[4096];
  if (!text_put(up, sizeof up, "%s", path)) return -1;
  while (statvfs(up, &s)) {
    char *slash = strrchr(up, '/');
    if (!slash || (slash == up && !up[1])) return -1;
    slash[slash == up] = 0;
  }
  return (int64_t)s.f_bavail * (int64_t)s.f_frsize;
}
