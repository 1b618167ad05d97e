/* The run directory as data, however far the run came. */
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "rundir.h"

static bool take_value(void *user, const char *section, const char *name, const char *value, int line, struct err *e) {
  struct report *r = user;
  const struct key *k = key_find(section, name);
  (void)line;
  if (!k) return true; /* of another version of the program */
  if (r->n_values == r->cap_values) {
    int cap = r->cap_values ? r->cap_values * 2 : 128;
    struct report_value *more = realloc(r->value, (size_t)cap * sizeof *more);
    if (!more) return err_set(e, ERR_FAILED, "out of memory");
    r->value = more;
    r->cap_values = cap;
  }
  const char *copy = strings_add(&r->owner, value, strlen(value));
  if (!copy) return err_set(e, ERR_FAILED, "out of memory");
  r->value[r->n_values++] = (struct report_value){k, copy};
  return true;
}

const char *report_value_of(const struct report *r, const char *section, const char *name, int i) {
  const struct key *k = key_find(section, name);
  for (int j = 0; j < r->n_values; j++) {
    if (r->value[j].key == k && i-- == 0) return r->value[j].text;
  }
  return "";
}

/* A file of the directory as text, NULL where it is missing. */
static char *text_of(const struct report *r, const char *name) {
  char path[4096];
  size_t n;
  struct err ignored = {0};
  return text_put(path, sizeof path, "%s/%s", r->dir, name) && is_file(path) ? text_file_read(path, NULL, "", &n, &ignored) : NULL;
}

static cJSON *json_of(const struct report *r, const char *name) {
  char *text = text_of(r, name);
  cJSON *json = text ? cJSON_Parse(text) : NULL;
  free(text);
  return json;
}

static bool read_profile(struct report *r, struct err *e) {
  char path[4096];
  size_t n = 0;
  if (!is_directory(r->dir)) return err_set(e, ERR_INPUT, "%s: there is no such directory", r->dir);
  if (!text_put(path, sizeof path, "%s/profile.ini", r->dir) || !is_file(path))
    return err_set(e, ERR_INPUT, "%s holds no run: there is no profile.ini in it", r->dir);
  char *text = text_file_read(path, NULL, "", &n, e);
  bool ok = text && ini_read(path, text, n, take_value, r, e);
  free(text);
  return ok;
}

static bool read_metrics(struct report *r, struct err *e) {
  char path[4096];
  struct rundir d = {0};
  text_put(path, sizeof path, "%s/metrics.csv", r->dir);
  bool ok = metrics_load(&d, path, e);
  r->rows = d.rows;
  r->n_rows = d.n_rows;
  return ok;
}

bool report_read(struct report *r, const char *run_dir, struct err *e) {
  *r = (struct report){.dir = run_dir};
  if (!read_profile(r, e) || !read_metrics(r, e) || !samples_list(&r->samples, run_dir, e)) return false;
  r->path = realpath(run_dir, NULL);
  r->summary = json_of(r, "summary.json");
  r->info = json_of(r, "info.json");
  r->log = text_of(r, "log.txt");
  return r->path || err_set(e, ERR_FAILED, "out of memory");
}

void report_release(struct report *r) {
  strings_release(&r->owner);
  samples_release(&r->samples);
  cJSON_Delete(r->summary);
  cJSON_Delete(r->info);
  free(r->value);
  free(r->rows);
  free(r->path);
  free(r->log);
}
