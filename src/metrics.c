/* metrics.csv: one row a step, appended and flushed; and read again when a run goes on. Beside it the event file, which follows it. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rundir.h"

static const char header[] = "step,instance,prior,pdm,total,lr,grad_norm,seconds,probe\n";
enum { COLUMNS = 8 };

static bool keep_row(struct rundir *r, const struct metrics *m) {
  if (r->n_rows == r->cap_rows) {
    int cap = r->cap_rows ? r->cap_rows * 2 : 1024;
    struct metrics *more = realloc(r->rows, (size_t)cap * sizeof *more);
    if (!more) return false;
    r->rows = more;
    r->cap_rows = cap;
  }
  r->rows[r->n_rows++] = *m;
  return true;
}

static void put_row(FILE *f, const struct metrics *m) {
  const double v[COLUMNS] = {m->instance, m->prior, m->pdm, m->total, m->lr, m->grad_norm, m->seconds, m->probe};
  fprintf(f, "%d", m->step);
  for (int i = 0; i < COLUMNS; i++) {
    if (isfinite(v[i])) {
      fprintf(f, ",%.9g", v[i]);
    } else {
      fputs(isnan(v[i]) ? "," : ",inf", f);
    }
  }
  fputc('\n', f);
}

static bool parse_row(const char *line, struct metrics *m) {
  double v[COLUMNS];
  char *end;
  long step = strtol(line, &end, 10);
  if (end == line) return false;
  for (int i = 0; i < COLUMNS; i++) {
    if (*end != ',') return false;
    const char *cell = end + 1;
    v[i] = strtod(cell, &end);
    if (end == cell) v[i] = NAN;
  }
  if (*end != '\n') return false;
  *m = (struct metrics){.step = (int)step,
                        .instance = v[0],
                        .prior = v[1],
                        .pdm = v[2],
                        .total = v[3],
                        .lr = v[4],
                        .grad_norm = v[5],
                        .seconds = v[6],
                        .probe = v[7]};
  return true;
}

bool metrics_load(struct rundir *r, const char *path, struct err *e) {
  char line[512];
  struct metrics m;
  FILE *f = fopen(path, "r");
  if (!f) return errno == ENOENT || err_set_errno(e, ERR_INPUT, "cannot read %s", path);
  bool ok = true;
  while (ok && fgets(line, sizeof line, f)) ok = !parse_row(line, &m) || keep_row(r, &m);
  fclose(f);
  return ok || err_set(e, ERR_FAILED, "out of memory");
}

/* The file anew with the rows before step: what a stopped run measured after its last state is measured again. */
static bool rewrite(struct rundir *r, const char *path, int step, struct err *e) {
  char *text = NULL;
  size_t n = 0;
  FILE *f = open_memstream(&text, &n);
  if (!f) return err_set(e, ERR_FAILED, "out of memory");
  fputs(header, f);
  int kept = 0;
  for (int i = 0; i < r->n_rows; i++) {
    if (r->rows[i].step >= step) continue;
    r->rows[kept++] = r->rows[i];
    put_row(f, &r->rows[i]);
  }
  r->n_rows = kept;
  bool ok = !fclose(f) && write_file(path, text, n, e);
  free(text);
  return ok;
}

/* The rows up to that step begin the event file, whatever an earlier process left. */
static bool begin_events(struct rundir *r, int last_row, int first_picture, struct err *e) {
  int n = 0;
  while (n < r->n_rows && r->rows[n].step <= last_row) n++;
  return r->events.open || event_file_open(&r->events, r->path, r->rows, n, first_picture, e);
}

bool rundir_event_sample(struct rundir *r, const struct sample_event *s, const char *path, struct err *e) {
  return begin_events(r, s->step, s->step, e) && event_file_sample(&r->events, s->step, s->prompt_index, s->picture_index, path, e);
}

/* Ready for a row of that step: a run that goes on, or goes back after a divergence, cuts what comes after. */
static bool prepare(struct rundir *r, int step, struct err *e) {
  char path[4096];
  if (r->csv.fd >= 0 && (r->n_rows == 0 || r->rows[r->n_rows - 1].step < step)) return true;
  append_close(&r->csv);
  text_put(path, sizeof path, "%s/metrics.csv", r->path);
  event_file_close(&r->events); /* made anew, without what is cut */
  return rewrite(r, path, step, e) && append_open(&r->csv, path, e);
}

/* What is kept is what the file says, to nine digits: curves do not depend on whether the run was interrupted. */
static bool take_row(struct rundir *r, const struct metrics *m, struct err *e) {
  char line[512] = "";
  struct metrics as_written;
  struct err later = {0}; /* what the file does not take now is kept there */
  if (!prepare(r, m->step, e)) return false;
  FILE *f = fmemopen(line, sizeof line, "w");
  if (!f) return err_set(e, ERR_FAILED, "out of memory");
  put_row(f, m);
  fclose(f);
  if (!parse_row(line, &as_written) || !keep_row(r, &as_written)) return err_set(e, ERR_FAILED, "out of memory");
  r->row_begun = m->step;
  append_text(&r->csv, line, strlen(line), &later);
  return true;
}

bool rundir_metrics(struct rundir *r, const struct metrics *m, struct err *e) {
  if (r->row_begun != m->step && !take_row(r, m, e)) return false;
  if (!append_flush(&r->csv, e) || !begin_events(r, m->step - 1, m->step, e) || !event_file_metrics(&r->events, m, e)) return false;
  r->row_begun = 0;
  return true;
}

bool rundir_sync(struct rundir *r, struct err *e) {
  return r->csv.fd < 0 || append_sync(&r->csv, e);
}
