#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/thread.h"
#include "commands.h"
#include "progress_json.h"
#include "text.h"

enum { BAR = 24 };
static const double redraw = 0.1, plain_pause = 5, plain_longest = 600; /* seconds */

bool progress_init(struct progress *p, bool quiet, bool json, struct err *e) {
  *p = (struct progress){.style = isatty(STDERR_FILENO) ? PROGRESS_BAR : PROGRESS_PLAIN};
  if (quiet && json) return err_set(e, ERR_USAGE, "--quiet and --json exclude each other");
  if (quiet) p->style = PROGRESS_QUIET;
  if (json) p->style = PROGRESS_JSON;
  return true;
}

static void put_time(double seconds, char *out, size_t n) {
  int64_t s = (int64_t)(seconds + 0.5);
  if (s >= 3600) {
    text_put(out, n, "%lld:%02d:%02d", (long long)(s / 3600), (int)(s / 60 % 60), (int)(s % 60));
  } else {
    text_put(out, n, "%d:%02d", (int)(s / 60), (int)(s % 60));
  }
}

/* Units a second since the stage began here, 0: none yet. */
static double rate_of(const struct progress *p, int64_t done, double now) {
  return done > p->first && now > p->began ? (double)(done - p->first) / (now - p->began) : 0;
}

/* "120/300, 2.1 a second, 1:25 left" */
static void put_numbers(const struct progress *p, int64_t done, int64_t total, double now, char *out, size_t n) {
  double rate = rate_of(p, done, now);
  int w = snprintf(out, n, "%lld/%lld", (long long)done, (long long)total);
  if (rate > 0) {
    double each = 1 / rate;
    char left[32];
    put_time(each * (double)(total - done), left, sizeof left);
    if (each < 1) {
      text_put(out + w, n - (size_t)w, ", %.3g a second, %s left", rate, left);
    } else {
      text_put(out + w, n - (size_t)w, ", %.3g s each, %s left", each, left);
    }
  }
}

static void draw_bar(struct progress *p, int64_t done, int64_t total, double now) {
  char numbers[128], bar[BAR + 1];
  put_numbers(p, done, total, now, numbers, sizeof numbers);
  int full = total > 0 ? (int)(done * BAR / total) : 0;
  for (int i = 0; i < BAR; i++) bar[i] = i < full ? '#' : '.';
  bar[BAR] = 0;
  fprintf(stderr, "\r%s [%s] %s%s%s\033[K", p->stage, bar, numbers, *p->note ? ", " : "", p->note);
  fflush(stderr);
  p->drawn = true;
}

static void begin_stage(struct progress *p, const char *stage, int64_t done, double now) {
  progress_end(p);
  text_put(p->stage, sizeof p->stage, "%s", stage);
  p->first = done;
  p->began = now;
  p->told = now - plain_longest;
  p->tenth = -1;
}

static void plain_line(struct progress *p, int64_t done, int64_t total, double now) {
  int tenth = total > 0 ? (int)(done * 10 / total) : 10;
  bool end = done >= total && p->tenth<10, due = tenth> p->tenth && now - p->told >= plain_pause;
  if (!end && !due && now - p->told < plain_longest) return;
  char numbers[128];
  put_numbers(p, done, total, now, numbers, sizeof numbers);
  fprintf(stderr, "%s: %s%s%s\n", p->stage, numbers, *p->note ? ", " : "", p->note);
  p->tenth = tenth;
  p->told = now;
}

void progress_show(struct progress *p, const char *stage, int64_t done, int64_t total) {
  double now = now_seconds();
  if (strcmp(stage, p->stage) || done < p->first) begin_stage(p, stage, done, now);
  if (p->style == PROGRESS_QUIET) return;
  if (p->style == PROGRESS_PLAIN) {
    plain_line(p, done, total, now);
  } else if (done >= total || done == p->first || now - p->told >= redraw) {
    if (p->style == PROGRESS_BAR) draw_bar(p, done, total, now);
    if (p->style == PROGRESS_JSON) json_progress(stage, done, total, rate_of(p, done, now));
    p->told = now;
  }
}

void progress_line(struct progress *p, enum log_level level, const char *text) {
  if (level == LOG_DEBUG || p->style == PROGRESS_QUIET) return;
  if (p->style == PROGRESS_JSON) {
    json_log(level, text);
    return;
  }
  fprintf(stderr, "%s%s%s\n", p->drawn ? "\r\033[K" : "", level == LOG_WARN ? "warning: " : "", text);
  p->drawn = false;
}

void progress_metrics(struct progress *p, const struct metrics *m) {
  if (p->style == PROGRESS_JSON) json_metrics(m);
}

void progress_sample(struct progress *p, const struct sample_event *s, const char *path) {
  if (p->style == PROGRESS_JSON) json_sample(s, path);
}

void progress_checkpoint(struct progress *p, int step, const char *path, bool final) {
  if (p->style == PROGRESS_JSON) json_checkpoint(step, path, final);
}

int progress_error(struct progress *p, const struct err *e) {
  progress_end(p);
  if (p->style != PROGRESS_JSON) return say_error(e);
  json_error(e);
  return e->code;
}

void progress_end(struct progress *p) {
  if (p->drawn) fputc('\n', stderr);
  p->drawn = false;
}
