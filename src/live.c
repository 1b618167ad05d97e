#include "live.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
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

static void write_line(const struct live *l, const char *run_dir) {
  char path[4096], temporary[4100];
  if (!text_put(path, sizeof path, "%s/live.txt", run_dir) || !text_put(temporary, sizeof temporary, "%s.tmp", path)) return;
  FILE *f = fopen(temporary, "w");
  if (!f) return;
  fprintf(f, "%s\t%" PRId64 "\t%" PRId64 "\t%.3f\t%" PRId64 "\t%d\t%ld\n", l->stage, l->done, l->total, l->began, l->first, l->paused,
          (long)getpid());
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
  l->told = now;
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

bool live_alive(const struct live *l) {
  return l->pid > 0 && (!kill((pid_t)l->pid, 0) || errno == EPERM);
}

bool live_read(const char *run_dir, struct live *out) {
  char path[4096], line[256];
  *out = (struct live){.total = 0};
  if (!text_put(path, sizeof path, "%s/live.txt", run_dir)) return false;
  FILE *f = fopen(path, "r");
  if (!f) return false;
  int paused = 0;
  bool ok = fgets(line, sizeof line, f) && sscanf(line, "%63[^\t]\t%" SCNd64 "\t%" SCNd64 "\t%lf\t%" SCNd64 "\t%d\t%ld", out->stage,
                                                  &out->done, &out->total, &out->began, &out->first, &paused, &out->pid) == 7;
  out->paused = paused;
  fclose(f);
  return ok;
}

double live_rate(const struct live *l, double at) {
  return l->done > l->first && at > l->began ? (double)(l->done - l->first) / (at - l->began) : 0;
}
