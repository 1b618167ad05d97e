#include "ui/run_view.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/lock.h"
#include "profile.h"
#include "ui/run_files.h"

static const char *const state_names[] = {"empty", "running", "paused", "stopped", "done", "failed"};

const char *run_state_name(enum run_status s) {
  return state_names[s];
}

/* --- summary.json -------------------------------------------------------------------------------------------------------------- */

static cJSON *read_summary(const char *path) {
  char file[4096];
  struct err ignored = {0};
  size_t n;
  if (!text_put(file, sizeof file, "%s/summary.json", path) || !is_file(file)) return NULL;
  char *text = text_file_read(file, NULL, "", &n, &ignored);
  cJSON *root = text ? cJSON_Parse(text) : NULL;
  free(text);
  return root;
}

static bool copy_text(const cJSON *root, const char *member, char *out, size_t n) {
  const cJSON *o = cJSON_GetObjectItemCaseSensitive(root, member);
  if (n) *out = 0;
  return cJSON_IsString(o) && text_put(out, n, "%s", o->valuestring) && *out;
}

bool run_summary_text(const char *path, const char *member, char *out, size_t n) {
  cJSON *root = read_summary(path);
  bool ok = root && copy_text(root, member, out, n);
  cJSON_Delete(root);
  return ok;
}

bool run_summary_number(const char *path, const char *member, const char *inner, double *out) {
  cJSON *root = read_summary(path);
  const cJSON *o = cJSON_GetObjectItemCaseSensitive(root, member);
  if (inner) o = cJSON_GetObjectItemCaseSensitive(o, inner);
  bool ok = cJSON_IsNumber(o);
  if (ok) *out = o->valuedouble;
  cJSON_Delete(root);
  return ok;
}

enum run_status run_state_of(const char *path, char *holder, size_t holder_n, char *error, size_t error_n) {
  char lock[4096], who[LOCK_TEXT], status[32] = "";
  struct live live;
  if (holder_n) *holder = 0;
  if (error_n) *error = 0;
  text_put(lock, sizeof lock, "%s/lock", path);
  if (lock_is_held(lock, who)) {
    if (holder_n) text_put(holder, holder_n, "%s", who);
    return live_read(path, &live) && live.paused ? RUN_PAUSED : RUN_WORKING;
  }
  cJSON *root = read_summary(path);
  if (root) {
    copy_text(root, "status", status, sizeof status);
    if (error_n) copy_text(root, "error", error, error_n);
    cJSON_Delete(root);
    if (!strcmp(status, "done")) return RUN_DONE;
    return !strcmp(status, "sigint") || !strcmp(status, "sigterm") ? RUN_STOPPED : RUN_FAILED;
  }
  char csv[4096];
  text_put(csv, sizeof csv, "%s/metrics.csv", path);
  return is_file(csv) ? RUN_STOPPED : RUN_EMPTY;
}

/* --- the profile --------------------------------------------------------------------------------------------------------------------- */

static bool take_key(void *user, const char *section, const char *name, const char *value, int line, struct err *e) {
  struct run_view *v = user;
  (void)line;
  (void)e;
  if (!strcmp(section, "train") && !strcmp(name, "steps")) v->steps = atoi(value);
  if (!strcmp(section, "train") && !strcmp(name, "mode")) v->lora = !strcmp(value, "lora");
  if (!strcmp(section, "train") && !strcmp(name, "lr")) v->rate = atof(value);
  if (!strcmp(section, "samples") && !strcmp(name, "seed")) v->seed = strtoull(value, NULL, 10);
  if (!strcmp(section, "prompts") && !strcmp(name, "test") && v->prompts < MAX_TEST_PROMPTS) {
    const char *copy = strings_add(&v->owner, value, strlen(value));
    if (copy) v->prompt[v->prompts++] = copy;
  }
  return true;
}

/* The frozen profile of the run; it may not be there yet. */
static void read_profile(struct run_view *v) {
  char path[4096];
  size_t n;
  struct err ignored = {0};
  text_put(path, sizeof path, "%s/profile.ini", v->path);
  char *text = is_file(path) ? text_file_read(path, NULL, "", &n, &ignored) : NULL;
  if (!text) return;
  v->prompts = 0;
  v->profile_read = ini_read(path, text, n, take_key, v, &ignored);
  free(text);
}

/* --- all of it ------------------------------------------------------------------------------------------------------------------------ */

void run_view_open(struct run_view *v, const char *path) {
  *v = (struct run_view){.steps = 0};
  text_put(v->path, sizeof v->path, "%s", path);
  char copy[3500];
  text_put(copy, sizeof copy, "%s", path);
  size_t n = strlen(copy);
  while (n > 1 && copy[n - 1] == '/') copy[--n] = 0;
  char *slash = strrchr(copy, '/');
  text_put(v->name, sizeof v->name, "%s", slash ? slash + 1 : copy);
  if (slash) *slash = 0;
  char *before = slash ? strrchr(copy, '/') : NULL;
  text_put(v->subject, sizeof v->subject, "%s", before ? before + 1 : "");
}

void run_view_close(struct run_view *v) {
  for (int i = 0; i < v->n_log; i++) free(v->log[i]);
  free(v->log);
  free(v->rows);
  free(v->samples);
  free(v->checkpoints);
  free(v->marks);
  strings_release(&v->owner);
  *v = (struct run_view){.steps = 0};
}

static bool update_state(struct run_view *v) {
  enum run_status before = v->state;
  struct live live = {0};
  char path[4096];
  struct stat st;
  v->state = run_state_of(v->path, v->holder, sizeof v->holder, v->error, sizeof v->error);
  if (v->state == RUN_WORKING || v->state == RUN_PAUSED) live_read(v->path, &live);
  bool changed = v->state != before || live.done != v->live.done || strcmp(live.stage, v->live.stage) != 0;
  text_put(path, sizeof path, "%s/live.txt", v->path);
  if (!stat(path, &st)) v->live_at = (double)st.st_mtim.tv_sec + (double)st.st_mtim.tv_nsec * 1e-9;
  v->live = live;
  return changed;
}

bool run_view_update(struct run_view *v) {
  bool changed = update_state(v);
  if (!v->profile_read) read_profile(v);
  changed |= run_read_rows(v);
  changed |= run_read_samples(v);
  changed |= run_read_checkpoints(v);
  changed |= run_read_marks(v);
  changed |= run_read_log(v);
  v->version += changed;
  return changed;
}

const char *run_sample_path(const struct run_view *v, const struct run_sample *s, char *buf, size_t n) {
  text_put(buf, n, "%s/samples/step-%06d/%d-%d.png", v->path, s->step, s->prompt, s->picture);
  return buf;
}

const char *run_checkpoint_path(const struct run_view *v, const struct run_checkpoint *c, char *buf, size_t n) {
  if (c->final)
    text_put(buf, n, "%s/checkpoints/final", v->path);
  else
    text_put(buf, n, "%s/checkpoints/step-%06d", v->path, c->step);
  return buf;
}

static const char *asked_prompt(const struct run_view *v, int number, int *n) {
  *n = 0;
  for (int i = 0; i < v->n_marks; i++) {
    bool first = *v->marks[i].prompt != 0;
    for (int k = 0; k < i && first; k++) first = strcmp(v->marks[k].prompt, v->marks[i].prompt) != 0;
    if (first && (*n)++ == number) return v->marks[i].prompt;
  }
  return "";
}

const char *run_prompt(const struct run_view *v, int number) {
  int n;
  return number < v->prompts ? v->prompt[number] : asked_prompt(v, number - v->prompts, &n);
}

int run_prompts(const struct run_view *v) {
  int n;
  asked_prompt(v, -1, &n);
  return v->prompts + n > 0 ? v->prompts + n : 1;
}

int run_samples_at(const struct run_view *v, int step) {
  int best = -1;
  for (int i = 0; i < v->n_samples && v->samples[i].step <= step; i++) {
    if (best < 0 || v->samples[i].step != v->samples[best].step) best = i;
  }
  return best < 0 && v->n_samples ? 0 : best;
}

const struct metrics *run_row_at(const struct run_view *v, int step) {
  int low = 0, high = v->n_rows;
  while (low < high) {
    int middle = (low + high) / 2;
    if (v->rows[middle].step <= step)
      low = middle + 1;
    else
      high = middle;
  }
  return low ? &v->rows[low - 1] : NULL;
}
