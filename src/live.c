#include "live.h"

#include <inttypes.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "text.h"

static const double pause_between = 0.5; /* seconds */

static double wall_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Resident bytes, as the kernel tells. */
static int64_t memory_now(void) {
  long long all, resident = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  bool ok = f && fscanf(f, "%lld %lld", &all, &resident) == 2;
  if (f) fclose(f);
  return ok ? resident * sysconf(_SC_PAGESIZE) : 0;
}

static void measure(struct live *l) {
  struct timespec t;
  cpu_set_t set;
  double now = wall_seconds();
  int processors = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  double spent = (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
  if (l->told <= 0) l->load = (double)NAN;
  if (l->told > 0 && now - l->told > 0.01) l->load = fmin((spent - l->spent) / (now - l->told) / processors, 1);
  l->memory = memory_now();
  l->spent = spent;
  l->told = now;
}

static void write_line(struct live *l, const char *run_dir) {
  char path[4096], temporary[4100];
  if (!text_put(path, sizeof path, "%s/live.txt", run_dir) || !text_put(temporary, sizeof temporary, "%s.tmp", path)) return;
  FILE *f = fopen(temporary, "w");
  if (!f) return;
  measure(l);
  fprintf(f, "%s\t%" PRId64 "\t%" PRId64 "\t%.3f\t%" PRId64 "\t%d\t%ld\t%" PRId64 "\t%.3f\n", l->stage, l->done, l->total, l->began,
          l->first, l->paused, (long)getpid(), l->memory, l->load);
  if (fclose(f) || rename(temporary, path)) unlink(temporary);
}

void live_put(struct live *l, const char *run_dir, const char *stage, int64_t done, int64_t total) {
  double now = wall_seconds();
  bool fresh = strcmp(l->stage, stage) || done < l->first;
  if (fresh) {
    text_put(l->stage, sizeof l->stage, "%s", stage);
    l->first = done;
    l->began = now;
  }
  l->done = done;
  l->total = total;
  if (!fresh && done < total && now - l->told < pause_between && now >= l->told) return;
  write_line(l, run_dir);
}

void live_pause(struct live *l, const char *run_dir, bool paused) {
  if (paused == l->paused) return;
  l->paused = paused;
  write_line(l, run_dir);
}

void live_end(const char *run_dir) {
  char path[4096];
  if (text_put(path, sizeof path, "%s/live.txt", run_dir)) unlink(path);
}

bool live_read(const char *run_dir, struct live *out) {
  char path[4096], line[256];
  *out = (struct live){.load = (double)NAN};
  if (!text_put(path, sizeof path, "%s/live.txt", run_dir)) return false;
  FILE *f = fopen(path, "r");
  if (!f) return false;
  int paused = 0;
  bool ok = fgets(line, sizeof line, f) &&
            sscanf(line, "%63[^\t]\t%" SCNd64 "\t%" SCNd64 "\t%lf\t%" SCNd64 "\t%d\t%ld\t%" SCNd64 "\t%lf", out->stage, &out->done,
                   &out->total, &out->began, &out->first, &paused, &out->pid, &out->memory, &out->load) >= 7;
  out->paused = paused;
  fclose(f);
  return ok;
}

double live_rate(const struct live *l, double at) {
  return l->done > l->first && at > l->began ? (double)(l->done - l->first) / (at - l->began) : 0;
}
