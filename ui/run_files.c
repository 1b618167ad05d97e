#include "ui/run_files.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/percent.h"

enum { LOG_LINES = 2000, LOG_BYTES = 200000 };

/* Opens the file at `at`, or at its beginning where it is another file than before or shorter; *anew then. NULL: nothing new. */
static FILE *open_at(const char *run, const char *name, off_t *at, ino_t *inode, bool *anew) {
  char path[4096];
  struct stat st;
  *anew = false;
  if (!text_put(path, sizeof path, "%s/%s", run, name) || stat(path, &st)) return NULL;
  if (st.st_ino != *inode || st.st_size < *at) {
    *anew = *inode != 0;
    *at = 0;
    *inode = st.st_ino;
  }
  if (st.st_size == *at) return NULL;
  FILE *f = fopen(path, "r");
  if (f && fseeko(f, *at, SEEK_SET)) fclose(f), f = NULL;
  return f;
}

/* A row of metrics.csv, by the file's own header order: step and eight numbers, an empty cell is NaN. */
static bool parse_row(const char *line, struct metrics *m) {
  double v[8];
  char *end;
  long step = strtol(line, &end, 10);
  if (end == line) return false;
  for (int i = 0; i < 8; i++) {
    v[i] = NAN;
    if (*end != ',') continue;
    const char *cell = end + 1;
    v[i] = strtod(cell, &end);
    if (end == cell) v[i] = NAN;
  }
  *m = (struct metrics){(int)step, v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]};
  return true;
}

static bool keep_row(struct run_view *v, const struct metrics *m) {
  while (v->n_rows && v->rows[v->n_rows - 1].step >= m->step) v->n_rows--; /* gone back to a checkpoint */
  if (v->n_rows == v->cap_rows) {
    int cap = v->cap_rows ? v->cap_rows * 2 : 1024;
    struct metrics *more = realloc(v->rows, (size_t)cap * sizeof *more);
    if (!more) return false;
    v->rows = more;
    v->cap_rows = cap;
  }
  v->rows[v->n_rows++] = *m;
  return true;
}

bool run_read_rows(struct run_view *v) {
  char line[512];
  bool anew, changed;
  struct metrics m;
  FILE *f = open_at(v->path, "metrics.csv", &v->csv_at, &v->csv_inode, &anew);
  if (!f) return false;
  changed = anew;
  if (anew) v->n_rows = 0;
  while (fgets(line, sizeof line, f)) {
    size_t n = strlen(line);
    if (line[n - 1] != '\n') break; /* not all of it is written yet */
    v->csv_at += (off_t)n;
    if (parse_row(line, &m)) changed |= keep_row(v, &m);
  }
  fclose(f);
  return changed;
}

static void keep_line(struct run_view *v, const char *line) {
  if (v->n_log == v->cap_log) {
    int cap = v->cap_log ? v->cap_log * 2 : 128;
    char **more = cap <= LOG_LINES ? realloc(v->log, (size_t)cap * sizeof *more) : NULL;
    if (more) {
      v->log = more;
      v->cap_log = cap;
    } else if (v->n_log) {
      free(v->log[0]);
      memmove(v->log, v->log + 1, (size_t)--v->n_log * sizeof *v->log);
    } else {
      return;
    }
  }
  char *copy = strdup(line);
  if (copy) v->log[v->n_log++] = copy;
}

bool run_read_log(struct run_view *v) {
  char line[4096];
  bool anew, changed = false;
  FILE *f = open_at(v->path, "log.txt", &v->log_at, &v->log_inode, &anew);
  if (!f) return false;
  if (anew) {
    for (int i = 0; i < v->n_log; i++) free(v->log[i]);
    v->n_log = 0;
  }
  if (!v->log_at && !fseeko(f, 0, SEEK_END) && ftello(f) > LOG_BYTES) {
    fseeko(f, -LOG_BYTES, SEEK_END);
    v->log_at = ftello(f);
    if (fgets(line, sizeof line, f)) v->log_at += (off_t)strlen(line);
  } else {
    fseeko(f, v->log_at, SEEK_SET);
  }
  while (fgets(line, sizeof line, f)) {
    size_t n = strlen(line);
    if (line[n - 1] != '\n' && n < sizeof line - 1) break;
    v->log_at += (off_t)n;
    line[strcspn(line, "\n")] = 0;
    keep_line(v, line);
    changed = true;
  }
  fclose(f);
  return changed;
}

/* --- folders --------------------------------------------------------------------------------------------------------------------- */

/* Names in RUN/folder that are "step-DIGITS" and no more; their numbers, ascending. Returns how many, -1: out of memory. */
static int list_steps(const char *run, const char *folder, int **out) {
  char path[4096];
  int n = 0, cap = 0;
  *out = NULL;
  text_put(path, sizeof path, "%s/%s", run, folder);
  DIR *d = opendir(path);
  for (struct dirent *x; d && (x = readdir(d));) {
    char *end;
    if (strncmp(x->d_name, "step-", 5)) continue;
    long step = strtol(x->d_name + 5, &end, 10);
    if (end == x->d_name + 5 || *end || step < 0 || step > 100000000) continue;
    if (n == cap) {
      int *more = realloc(*out, (size_t)(cap = cap ? cap * 2 : 32) * sizeof **out);
      if (!more) break;
      *out = more;
    }
    int i = n++;
    for (; i > 0 && (*out)[i - 1] > step; i--) (*out)[i] = (*out)[i - 1];
    (*out)[i] = (int)step;
  }
  if (d) closedir(d);
  return n;
}

static int by_place(const void *a, const void *b) {
  const struct run_sample *x = a, *y = b;
  if (x->step != y->step) return x->step < y->step ? -1 : 1;
  if (x->prompt != y->prompt) return x->prompt < y->prompt ? -1 : 1;
  return (x->picture > y->picture) - (x->picture < y->picture);
}

static void add_step(const char *run, int step, struct run_sample **all, int *n, int *cap) {
  char path[4096];
  text_put(path, sizeof path, "%s/samples/step-%06d", run, step);
  DIR *d = opendir(path);
  for (struct dirent *x; d && (x = readdir(d));) {
    int prompt, picture, end = 0;
    if (sscanf(x->d_name, "%d-%d.png%n", &prompt, &picture, &end) != 2 || !end || x->d_name[end]) continue;
    if (prompt < 0 || picture < 0 || prompt >= MAX_TEST_PROMPTS) continue;
    if (*n == *cap) {
      int want = *cap ? *cap * 2 : 128;
      struct run_sample *more = realloc(*all, (size_t)want * sizeof *more);
      if (!more) break;
      *all = more;
      *cap = want;
    }
    (*all)[(*n)++] = (struct run_sample){step, prompt, picture};
  }
  if (d) closedir(d);
}

bool run_read_samples(struct run_view *v) {
  int *step, n = 0, cap = 0, steps = list_steps(v->path, "samples", &step);
  struct run_sample *all = NULL;
  for (int i = 0; i < steps; i++) add_step(v->path, step[i], &all, &n, &cap);
  free(step);
  if (n) qsort(all, (size_t)n, sizeof *all, by_place);
  bool changed = n != v->n_samples || (n && memcmp(all, v->samples, (size_t)n * sizeof *all));
  free(v->samples);
  v->samples = all;
  v->n_samples = n;
  return changed;
}

bool run_read_checkpoints(struct run_view *v) {
  char path[4096];
  int *step, n = list_steps(v->path, "checkpoints", &step);
  struct run_checkpoint *all = calloc((size_t)n + 1, sizeof *all);
  if (!all) return free(step), false;
  for (int i = 0; i < n; i++) all[i].step = step[i];
  free(step);
  text_put(path, sizeof path, "%s/checkpoints/final", v->path);
  if (is_directory(path)) all[n++] = (struct run_checkpoint){.step = v->n_rows ? v->rows[v->n_rows - 1].step : v->steps, .final = true};
  bool changed = n != v->n_checkpoints;
  for (int i = 0; i < n && !changed; i++) changed = all[i].step != v->checkpoints[i].step || all[i].final != v->checkpoints[i].final;
  free(v->checkpoints);
  v->checkpoints = all;
  v->n_checkpoints = n;
  return changed;
}

bool run_read_marks(struct run_view *v) {
  char path[4096], line[4 * ENGINE_PROMPT], prompt[3 * ENGINE_PROMPT];
  int n = 0;
  struct run_mark m, *all = NULL;
  text_put(path, sizeof path, "%s/journal.csv", v->path);
  FILE *f = fopen(path, "r");
  if (!f) return false;
  while (fgets(line, sizeof line, f)) {
    m.value[0] = prompt[0] = 0;
    if (sscanf(line, "%d,%31[^,\n],%31[^,\n],%*[^,\n],%1535[^,\n]", &m.step, m.what, m.value, prompt) < 2) continue;
    percent_decode(prompt, m.prompt, sizeof m.prompt);
    struct run_mark *more = realloc(all, (size_t)(n + 1) * sizeof *more);
    if (!more) break;
    all = more;
    all[n++] = m;
  }
  fclose(f);
  bool changed = n != v->n_marks;
  free(v->marks);
  v->marks = all;
  v->n_marks = n;
  return changed;
}
