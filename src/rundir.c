#include "rundir.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "info.h"
#include "plot.h"
#include "sheet.h"

struct run_row {
  char file[96]; /* below the run directory */
  int prompt, picture;
  uint64_t seed;
  char label[200]; /* the prompt */
};

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
    r->resumed = resume && has_run(r->path);
    if (!resume && has_results(r->path)) {
      return err_set(e, ERR_USAGE, "%s already holds a run; add --resume to go on with it, or name another --run-dir", dir);
    }
    return true;
  }
  file_name_from(r->profile->settings.subject.name, subject, sizeof subject);
  if (!text_put(folder, sizeof folder, "%s/runs/%s", here, subject)) return too_long(e);
  if (resume && find_newest(folder, r->profile->name, r->path, sizeof r->path) && has_run(r->path) && !is_done(r->path)) {
    r->resumed = true;
    return true;
  }
  return new_name(r, folder, e);
}

static bool make_writable(const char *path, struct err *e) {
  struct err inner = {0};
  if (!make_dirs(path, &inner)) return err_set(e, ERR_INPUT, "the run directory cannot be made: %s", inner.text);
  if (access(path, W_OK | X_OK)) return err_set_errno(e, ERR_INPUT, "the run directory %s cannot be written", path);
  return true;
}

/* Names in the log which lines of the frozen profile the resumed run sees changed. */
static void log_changes(struct rundir *r, const char *text) {
  char path[4096], line[1200], message[1300];
  size_t n;
  struct err ignored = {0};
  text_put(path, sizeof path, "%s/profile.ini", r->path);
  char *old = text_file_read(path, NULL, "", &n, &ignored);
  for (const char *p = text; old && *p; p += strcspn(p, "\n"), p += *p == '\n') {
    size_t len = strcspn(p, "\n");
    if (len < 2 || len > 1000) continue;
    snprintf(line, sizeof line, "%.*s\n", (int)len, p);
    if (strstr(old, line)) continue;
    text_put(message, sizeof message, "the profile has changed since the run began; now %.*s", (int)len, p);
    rundir_log(r, LOG_WARN, message);
  }
  free(old);
}

static bool write_text(const struct rundir *r, const char *name, const char *text, struct err *e) {
  char path[4096];
  if (!text) return no_memory(e);
  return text_put(path, sizeof path, "%s/%s", r->path, name) ? write_file(path, text, strlen(text), e) : too_long(e);
}

static bool write_facts(struct rundir *r, const struct embedded_file *embedded, struct err *e) {
  char *frozen = profile_text(r->profile), *info = info_text(&r->profile->settings, embedded);
  if (frozen && r->resumed) log_changes(r, frozen);
  bool ok = write_text(r, "info.json", info, e) && write_text(r, "profile.ini", frozen, e);
  free(frozen);
  free(info);
  return ok;
}

bool rundir_find(struct rundir *r, const struct profile *p, const char *dir, bool resume, struct err *e) {
  *r = (struct rundir){.profile = p, .sample_step = -1};
  return choose_path(r, dir, resume, e);
}

bool rundir_open(struct rundir *r, const struct profile *p, const struct embedded_file *embedded, const char *dir, bool resume,
                 struct err *e) {
  char path[4096];
  if (!rundir_find(r, p, dir, resume, e) || !make_writable(r->path, e)) return false;
  text_put(path, sizeof path, "%s/log.txt", r->path);
  r->log = fopen(path, "a");
  if (!r->log) return err_set_errno(e, ERR_INPUT, "cannot write %s", path);
  text_put(path, sizeof path, "%s/summary.json", r->path);
  if (r->resumed) unlink(path); /* the run is under way again */
  text_put(path, sizeof path, "%s/metrics.csv", r->path);
  return metrics_load(r, path, e) && write_facts(r, embedded, e);
}

void rundir_close(struct rundir *r) {
  if (r->log) fclose(r->log);
  if (r->csv) fclose(r->csv);
  event_file_close(&r->events);
  free(r->rows);
  free(r->samples);
  r->log = r->csv = NULL;
  r->rows = NULL;
  r->samples = NULL;
}

void rundir_log(struct rundir *r, enum log_level level, const char *text) {
  static const char *const word[] = {"debug", "info", "warning"};
  char stamp[32];
  time_t now = time(NULL);
  struct tm t;
  if (!r->log) return;
  localtime_r(&now, &t);
  strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", &t);
  fprintf(r->log, "%s %s: %s\n", stamp, word[level], text);
  fflush(r->log);
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

static bool remember(struct rundir *r, const struct sample_event *s, const char *file, struct err *e) {
  if (r->n_samples == r->cap_samples) {
    int cap = r->cap_samples ? r->cap_samples * 2 : 64;
    struct run_row *more = realloc(r->samples, (size_t)cap * sizeof *more);
    if (!more) return no_memory(e);
    r->samples = more;
    r->cap_samples = cap;
  }
  struct run_row *row = &r->samples[r->n_samples++];
  *row = (struct run_row){.prompt = s->prompt_index, .picture = s->picture_index, .seed = s->seed};
  text_put(row->file, sizeof row->file, "%s", file);
  text_put(row->label, sizeof row->label, "%s", s->prompt);
  return true;
}

void rundir_sample_path(const struct rundir *r, const struct sample_event *s, char *buf, size_t n) {
  text_put(buf, n, "%s/samples/step-%06d/%d-%d.png", r->path, s->step, s->prompt_index, s->picture_index);
}

bool rundir_sample(struct rundir *r, const struct sample_event *s, struct err *e) {
  char file[96], path[4096], dir[4096];
  if (s->step != r->sample_step && !rundir_sheet(r, e)) return false;
  r->sample_step = s->step;
  text_put(dir, sizeof dir, "%s/samples/step-%06d", r->path, s->step);
  text_put(file, sizeof file, "samples/step-%06d/%d-%d.png", s->step, s->prompt_index, s->picture_index);
  rundir_sample_path(r, s, path, sizeof path);
  struct png_text text[SAMPLE_TEXTS];
  struct strings owner = {0};
  int n = sample_texts(s, s->picture, &owner, text);
  bool ok = (n >= 0 || no_memory(e)) && make_dirs(dir, e) && image_write_png(path, s->picture, text, n, e) && remember(r, s, file, e);
  strings_release(&owner);
  return ok && rundir_event_sample(r, s, path, e);
}

/* Rows are prompts, columns are seeds; a picture that is missing leaves its cell empty. */
static bool write_sheet(struct rundir *r, int rows, int columns, struct strings *o, struct err *e) {
  const char **file = calloc((size_t)(rows * columns), sizeof *file), **label = calloc((size_t)rows, sizeof *label);
  const char **seed = calloc((size_t)columns, sizeof *seed);
  bool ok = file && label && seed;
  for (int i = 0; ok && i < r->n_samples; i++) {
    const struct run_row *s = &r->samples[i];
    file[s->prompt * columns + s->picture] = strings_printf(o, "%s/%s", r->path, s->file);
    label[s->prompt] = s->label;
    seed[s->picture] = strings_printf(o, "seed %llu", (unsigned long long)s->seed);
    ok = file[s->prompt * columns + s->picture] && seed[s->picture];
  }
  for (int i = 0; ok && i < rows; i++) label[i] = label[i] ? label[i] : "";
  for (int i = 0; ok && i < columns; i++) seed[i] = seed[i] ? seed[i] : "";
  const char *title = strings_printf(o, "%s, step %d", r->profile->name, r->sample_step);
  struct sheet s = {.title = title, .columns = columns, .row_label = label, .column_label = seed};
  text_put(r->last_sheet, sizeof r->last_sheet, "%s/samples/step-%06d.png", r->path, r->sample_step);
  ok = ok && title ? sheet_write_files(r->last_sheet, &s, file, rows * columns, e) : no_memory(e);
  free(file);
  free(label);
  free(seed);
  return ok;
}

bool rundir_sheet(struct rundir *r, struct err *e) {
  int rows = 0, columns = 0;
  for (int i = 0; i < r->n_samples; i++) {
    if (r->samples[i].prompt >= rows) rows = r->samples[i].prompt + 1;
    if (r->samples[i].picture >= columns) columns = r->samples[i].picture + 1;
  }
  if (!rows) return true;
  struct strings owner = {0};
  bool ok = write_sheet(r, rows, columns, &owner, e);
  strings_release(&owner);
  r->n_samples = 0;
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
