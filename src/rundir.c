#include "rundir.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "changes.h"
#include "info.h"
#include "plot.h"
#include "sheet.h"

static bool no_memory(struct err *e) {
  return err_set(e, ERR_FIT, "out of memory");
}

static bool is_done(const char *dir) {
  char path[4096], text[4096];
  if (!text_put(path, sizeof path, "%s/summary.json", dir)) return false;
  FILE *f = fopen(path, "r");
  if (!f) return false;
  size_t n = fread(text, 1, sizeof text - 1, f);
  fclose(f);
  text[n] = 0;
  return strstr(text, "\"status\":\"done\"") != NULL;
}

static bool has_run(const char *dir) {
  char path[4096];
  return text_put(path, sizeof path, "%s/profile.ini", dir) && is_file(path);
}

/* Whether there is something to lose: what a run that was refused at its start leaves may be used again. */
static bool has_results(const char *dir) {
  static const char *const name[] = {"metrics.csv", "samples", "checkpoints", "state"};
  char path[4096];
  for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
    if (text_put(path, sizeof path, "%s/%s", dir, name[i]) && !access(path, F_OK)) return true;
  }
  return false;
}

/* "20260131-120000-demo" of profile demo: fifteen characters of time, a minus, the name. */
static bool is_run_name(const char *name, const char *profile) {
  return strlen(name) > 16 && name[8] == '-' && name[15] == '-' && strspn(name, "0123456789") == 8 && !strcmp(name + 16, profile);
}

/* The newest run of the profile in folder; false where there is none. */
static bool find_newest(const char *folder, const char *profile, char *out, size_t n) {
  char best[256] = "";
  DIR *d = opendir(folder);
  for (struct dirent *entry; d && (entry = readdir(d));) {
    if (is_run_name(entry->d_name, profile) && strcmp(entry->d_name, best) > 0) text_put(best, sizeof best, "%s", entry->d_name);
  }
  if (d) closedir(d);
  return *best && text_put(out, n, "%s/%s", folder, best);
}

static bool cannot_make(const struct err *inner, struct err *e) {
  err_set(e, ERR_INPUT, "the run directory cannot be made: %s", inner->text);
  if (e) e->number = inner->number;
  return false;
}

static bool too_long(struct err *e) {
  return err_set(e, ERR_USAGE, "the path of the run directory is too long");
}

/* A new name: the time to the second; a run begun within the same second takes the next free one. */
static bool new_name(struct rundir *r, const char *folder, struct err *e) {
  for (time_t now = time(NULL);; now++) {
    char stamp[32];
    struct tm t;
    localtime_r(&now, &t);
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &t);
    if (!text_put(r->path, sizeof r->path, "%s/%s-%s", folder, stamp, r->profile->name)) return too_long(e);
    if (access(r->path, F_OK)) return true;
  }
}

static bool choose_path(struct rundir *r, const char *dir, bool resume, struct err *e) {
  char here[3000], folder[3400], subject[128];
  if (!getcwd(here, sizeof here)) return err_set_errno(e, ERR_INPUT, "cannot tell the current directory");
  if (dir) {
    const char *slash = *dir == '/' ? "" : "/";
    if (!*dir || !text_put(r->path, sizeof r->path, "%s%s%s", *dir == '/' ? "" : here, slash, dir)) return too_long(e);
    return true;
  }
  file_name_from(r->profile->settings.subject.name, subject, sizeof subject);
  if (!text_put(folder, sizeof folder, "%s/runs/%s", here, subject)) return too_long(e);
  if (resume && find_newest(folder, r->profile->name, r->path, sizeof r->path) && has_run(r->path) && !is_done(r->path)) return true;
  return new_name(r, folder, e);
}

static bool make_writable(const char *path, struct err *e) {
  struct err inner = {0};
  if (!make_dirs(path, &inner)) return cannot_make(&inner, e);
  if (access(path, W_OK | X_OK)) return err_set_errno(e, ERR_INPUT, "the run directory %s cannot be written", path);
  return true;
}

static bool write_text(const struct rundir *r, const char *name, const char *text, struct err *e) {
  char path[4096];
  if (!text) return no_memory(e);
  return text_put(path, sizeof path, "%s/%s", r->path, name) ? write_file(path, text, strlen(text), e) : too_long(e);
}

static bool check_changes(const struct rundir *r, const char *info, struct err *e) {
  return !r->resumed || !has_results(r->path) || changes_check(r->path, r->profile, info, e);
}

bool rundir_unchanged(const struct rundir *r, const struct embedded_file *embedded, struct err *e) {
  char *info = r->resumed ? info_text(&r->profile->settings, embedded) : NULL;
  bool ok = !r->resumed || (info ? check_changes(r, info, e) : no_memory(e));
  free(info);
  return ok;
}

static bool write_facts(struct rundir *r, const struct embedded_file *embedded, struct err *e) {
  char *frozen = profile_text(r->profile), *info = info_text(&r->profile->settings, embedded);
  bool ok = ((frozen && info) || no_memory(e)) && check_changes(r, info, e);
  ok = ok && write_text(r, "info.json", info, e) && write_text(r, "profile.ini", frozen, e);
  free(frozen);
  free(info);
  return ok;
}

/* samples/step-NNNNNN.png of the highest step, when an earlier process drew it. */
static void find_sheet(struct rundir *r) {
  char dir[4000], best[32] = "";
  text_put(dir, sizeof dir, "%s/samples", r->path);
  DIR *d = opendir(dir);
  for (struct dirent *x; d && (x = readdir(d));) {
    int step, end = 0;
    bool sheet = sscanf(x->d_name, "step-%d.png%n", &step, &end) == 1 && end > 0 && !x->d_name[end];
    if (sheet && strcmp(x->d_name, best) > 0) text_put(best, sizeof best, "%s", x->d_name);
  }
  if (d) closedir(d);
  if (*best) text_put(r->last_sheet, sizeof r->last_sheet, "%s/%s", dir, best);
}

static bool begin(struct rundir *r, const struct embedded_file *embedded, struct err *e) {
  char path[4096];
  if (!write_facts(r, embedded, e)) return false;
  text_put(path, sizeof path, "%s/log.txt", r->path);
  if (!append_open(&r->log, path, e)) return false;
  text_put(path, sizeof path, "%s/summary.json", r->path);
  if (r->resumed) unlink(path); /* the run is under way again */
  find_sheet(r);
  text_put(path, sizeof path, "%s/metrics.csv", r->path);
  return metrics_load(r, path, e);
}

static bool in_use(struct rundir *r, const char *holder, struct err *e) {
  r->busy = true;
  return err_set(e, ERR_FAILED, "%s is in use by %s; --wait waits for it", r->path, holder);
}

static bool already_there(const struct rundir *r, struct err *e) {
  return err_set(e, ERR_USAGE, "%s already holds a run; add --resume to go on with it, or name another --run-dir", r->path);
}

bool rundir_find(struct rundir *r, const struct profile *p, const char *dir, bool resume, struct err *e) {
  char path[4096], holder[LOCK_TEXT];
  *r = (struct rundir){.profile = p, .lock = {-1}, .log = {.fd = -1}, .csv = {.fd = -1}};
  if (!choose_path(r, dir, resume, e)) return false;
  text_put(path, sizeof path, "%s/lock", r->path);
  if (lock_is_held(path, holder)) return in_use(r, holder, e);
  r->resumed = resume && has_run(r->path);
  return resume || !has_results(r->path) || already_there(r, e);
}

/* The directory itself. One with a name of its own is made by exactly one process: *taken, where another was faster. */
static bool make_own(struct rundir *r, bool fresh, bool *taken, struct err *e) {
  char folder[3500];
  struct err inner = {0};
  *taken = false;
  if (!fresh) return make_writable(r->path, e);
  fs_parent(r->path, folder, sizeof folder);
  if (!make_dirs(folder, &inner)) return cannot_make(&inner, e);
  if (mkdir(r->path, 0777) == 0) return true;
  *taken = errno == EEXIST;
  return err_set_errno(e, ERR_INPUT, "the run directory cannot be made: %s", r->path);
}

/* Before anything in it is written or removed. */
static bool lock_run(struct rundir *r, struct err *e) {
  char path[4096], holder[LOCK_TEXT];
  struct err inner = {0};
  text_put(path, sizeof path, "%s/lock", r->path);
  enum lock_answer got = lock_take(&r->lock, path, holder, &inner);
  if (got == LOCK_BUSY) return in_use(r, holder, e);
  if (got == LOCK_HELD) return true;
  err_set(e, ERR_INPUT, "the run directory cannot be written: %s", inner.text);
  if (e) e->number = inner.number;
  return false;
}

bool rundir_open(struct rundir *r, const struct profile *p, const struct embedded_file *embedded, const char *dir, bool resume,
                 struct err *e) {
  struct err tried;
  bool made, taken = false;
  do {
    tried = (struct err){0};
    made = rundir_find(r, p, dir, resume, &tried) && make_own(r, !dir && !r->resumed, &taken, &tried);
  } while (!made && !r->busy && taken);
  if (!made) {
    if (e) *e = tried;
    return false;
  }
  if (!lock_run(r, e)) return false;
  r->resumed = resume && has_run(r->path); /* another process may have been here just now */
  if (!resume && has_results(r->path)) return already_there(r, e);
  return begin(r, embedded, e);
}

void rundir_close(struct rundir *r) {
  append_close(&r->log);
  append_close(&r->csv);
  event_file_close(&r->events);
  lock_release(&r->lock);
  free(r->rows);
  r->rows = NULL;
}

void rundir_log(struct rundir *r, enum log_level level, const char *text) {
  static const char *const word[] = {"debug", "info", "warning"};
  char stamp[32], line[1400];
  time_t now = time(NULL);
  struct tm t;
  struct err ignored = {0}; /* what could not be written comes later */
  if (r->log.fd < 0) return;
  localtime_r(&now, &t);
  strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", &t);
  int n = snprintf(line, sizeof line - 1, "%s %s: %s", stamp, word[level], text);
  if (n > (int)sizeof line - 2) n = (int)sizeof line - 2;
  line[n++] = '\n';
  append_text(&r->log, line, (size_t)n, &ignored);
}

/* The name that AUTOMATIC1111 gives to a sampler, for tools that read its "parameters". */
static const char *known_sampler(const char *name) {
  static const char *const names[][2] = {{"pndm", "PLMS"}, {"ddim", "DDIM"}, {"dpmpp_2m", "DPM++ 2M"}, {"euler", "Euler"}};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (!strcmp(names[i][0], name)) return names[i][1];
  }
  return name;
}

int sample_texts(const struct sample_event *s, const struct image *im, struct strings *o, struct png_text *out) {
  const char *before = *s->negative ? "\nNegative prompt: " : "";
  unsigned long long seed = s->seed;
  int n = 0;
  out[n++] = (struct png_text){
      "parameters",
      strings_printf(o, "%.3000s%s%.3000s\nSteps: %d, Sampler: %s, CFG scale: %g, Seed: %llu, Size: %dx%d, Version: pdmbooth-tui %s",
                     s->prompt, before, s->negative, s->steps, known_sampler(s->sampler), s->guidance, seed, im->w, im->h,
                     program_version)};
  out[n++] = (struct png_text){"prompt", s->prompt};
  out[n++] = (struct png_text){"negative", s->negative};
  out[n++] = (struct png_text){"seed", strings_printf(o, "%llu", seed)};
  out[n++] = (struct png_text){"sampler", s->sampler};
  out[n++] = (struct png_text){"steps", strings_printf(o, "%d", s->steps)};
  out[n++] = (struct png_text){"guidance", strings_printf(o, "%g", s->guidance)};
  out[n++] = (struct png_text){"training_step", strings_printf(o, "%d", s->step)};
  for (int i = 0; i < n; i++) {
    if (!out[i].value) return -1;
  }
  return n;
}

static void sample_path(const struct rundir *r, int step, int prompt, int picture, char *out, size_t n) {
  text_put(out, n, "%s/samples/step-%06d/%d-%d.png", r->path, step, prompt, picture);
}

void rundir_sample_path(const struct rundir *r, const struct sample_event *s, char *buf, size_t n) {
  sample_path(r, s->step, s->prompt_index, s->picture_index, buf, n);
}

bool rundir_sample(struct rundir *r, const struct sample_event *s, struct err *e) {
  char path[4096], dir[4096];
  text_put(dir, sizeof dir, "%s/samples/step-%06d", r->path, s->step);
  rundir_sample_path(r, s, path, sizeof path);
  struct png_text text[SAMPLE_TEXTS];
  struct strings owner = {0};
  int n = sample_texts(s, s->picture, &owner, text);
  bool ok = (n >= 0 || no_memory(e)) && make_dirs(dir, e) && image_write_png(path, s->picture, text, n, e);
  strings_release(&owner);
  return ok && rundir_event_sample(r, s, path, e);
}

/* Rows are prompts, columns are seeds; a picture that is missing leaves its cell empty. */
static bool write_sheet(struct rundir *r, int step, struct strings *o, struct err *e) {
  const struct settings *s = &r->profile->settings;
  int columns = s->samples.count, cells = s->prompts.tests * columns;
  const char **file = calloc((size_t)cells, sizeof *file), **seed = calloc((size_t)columns, sizeof *seed);
  bool ok = file && seed;
  for (int i = 0; ok && i < cells; i++) {
    char path[4096];
    sample_path(r, step, i / columns, i % columns, path, sizeof path);
    file[i] = is_file(path) ? strings_add(o, path, strlen(path)) : "";
    ok = file[i] != NULL;
  }
  for (int i = 0; ok && i < columns; i++) {
    seed[i] = strings_printf(o, "seed %llu", (unsigned long long)s->samples.seed + (unsigned long long)i);
    ok = seed[i] != NULL;
  }
  const char *title = strings_printf(o, "%s, step %d", r->profile->name, step);
  struct sheet sheet = {.title = title, .columns = columns, .row_label = s->prompts.test, .column_label = seed};
  text_put(r->last_sheet, sizeof r->last_sheet, "%s/samples/step-%06d.png", r->path, step);
  ok = ok && title ? sheet_write_files(r->last_sheet, &sheet, file, cells, e) : no_memory(e);
  free(file);
  free(seed);
  return ok;
}

bool rundir_sheet(struct rundir *r, int step, struct err *e) {
  struct strings owner = {0};
  if (r->profile->settings.prompts.tests == 0) return true;
  bool ok = write_sheet(r, step, &owner, e);
  strings_release(&owner);
  return ok;
}

bool rundir_curves(struct rundir *r, struct err *e) {
  char path[4096], title[512];
  text_put(path, sizeof path, "%s/curves.png", r->path);
  text_put(title, sizeof title, "%s: %s", r->profile->name, r->profile->settings.prompts.instance);
  return plot_curves(path, title, r->rows, r->n_rows, e);
}

bool rundir_summary(struct rundir *r, const char *json, struct err *e) {
  return write_text(r, "summary.json", json, e);
}
