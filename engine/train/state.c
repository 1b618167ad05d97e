#include "train/state.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "formats/json.h"
#include "formats/safetensors.h"

enum { PIECE = 1 << 26, PATH = 4300 }; /* elements of a flat block in one file: 256 MiB in fp32 */

static void state_path(const char *run_dir, int step, char *out, size_t n) {
  snprintf(out, n, "%s/state/step-%06d", run_dir, step);
}

/* --- flat blocks ---------------------------------------------------------------------------------------------------------------------- */

struct block {
  const char *dir, *network, *what; /* file NETWORK.WHAT.NNN.safetensors */
  void *device;
  enum dtype type;
  int64_t count;
};

static void piece_path(const struct block *k, int64_t i, char *out, size_t n) {
  snprintf(out, n, "%s/%s.%s.%03d.safetensors", k->dir, k->network, k->what, (int)i);
}

static bool save_block(struct backend *b, const struct block *k, void *buffer, struct err *e) {
  size_t size = dtype_size(k->type);
  for (int64_t first = 0; first < k->count; first += PIECE) {
    char path[PATH];
    int64_t n = k->count - first < PIECE ? k->count - first : PIECE;
    const void *from = (const char *)k->device + (size_t)first * size;
    if (buffer) b->op->download(b, buffer, from, (size_t)n * size);
    piece_path(k, first / PIECE, path, sizeof path);
    struct st_entry t = {.name = k->what, .type = k->type, .data_type = k->type, .data = buffer ? buffer : from, .rank = 1, .dim = {n}};
    if (!st_write(path, &t, 1, NULL, 0, e)) return false;
  }
  return true;
}

/* In parts, so that the file's pages do not all lie in memory beside what is made of them. */
static void upload_piece(struct backend *b, char *to, const struct st_file *f, const struct st_tensor *t) {
  const size_t part = 1 << 24;
  for (size_t at = 0; at < t->bytes; at += part) {
    b->op->upload(b, to + at, t->data + at, t->bytes - at < part ? t->bytes - at : part);
    st_forget(f);
  }
}

static bool load_block(struct backend *b, const struct block *k, void *buffer, struct err *e) {
  (void)buffer;
  size_t size = dtype_size(k->type);
  for (int64_t first = 0; first < k->count; first += PIECE) {
    char path[PATH];
    int64_t n = k->count - first < PIECE ? k->count - first : PIECE;
    piece_path(k, first / PIECE, path, sizeof path);
    struct st_file *f = st_open_path(path, e);
    if (!f) return false;
    const struct st_tensor *t = st_find(f, k->what);
    bool fits = t && t->type == k->type && t->bytes == (size_t)n * size;
    if (fits) upload_piece(b, (char *)k->device + (size_t)first * size, f, t);
    st_close(f);
    if (!fits) return err_set(e, ERR_INPUT, "%s: not a part of this run's state; start a new run directory", path);
  }
  return true;
}

/* All blocks of all groups through f. */
static bool each_block(const char *dir, const struct optimizer *o, const char *const *names,
                       bool (*f)(struct backend *, const struct block *, void *, struct err *), struct err *e) {
  int64_t most = 16;
  bool on_host = true;
  for (int i = 0; i < o->groups; i++) {
    if (o->group[i].set->count > most) most = o->group[i].set->count;
    on_host &= optimizer_backend(o, i)->op->host_memory;
  }
  void *buffer = on_host ? NULL : malloc((size_t)(most < PIECE ? most : PIECE) * sizeof(float)); /* else it is written as it lies */
  if (!buffer && !on_host) return err_set(e, ERR_FAILED, "out of memory for a copy of the weights");
  bool ok = true;
  for (int i = 0; ok && i < o->groups; i++) {
    const struct opt_group *g = o->group + i;
    const struct block block[] = {{dir, names[i], "weights", optimizer_weights(o, i), DT_F32, g->set->count},
                                  {dir, names[i], "moment1", g->m.data, g->m.type, g->set->count},
                                  {dir, names[i], "moment2", g->v.data, g->v.type, g->set->count},
                                  {dir, names[i], "scale1", g->m_scale.data, DT_F32, g->m_scale.data ? tensor_count(&g->m_scale) : 0},
                                  {dir, names[i], "scale2", g->v_scale.data, DT_F32, g->v_scale.data ? tensor_count(&g->v_scale) : 0},
                                  {dir, names[i], "average", g->ema, DT_F32, g->ema ? g->set->count : 0}};
    for (size_t j = 0; ok && j < sizeof block / sizeof *block; j++) ok = f(optimizer_backend(o, i), block + j, buffer, e);
  }
  free(buffer);
  return ok;
}

/* --- info.json ------------------------------------------------------------------------------------------------------------------------- */

void run_state_release(struct run_state *s) {
  free(s->checkpoint);
  s->checkpoint = NULL;
  s->kept = 0;
}

bool run_state_made(struct run_state *s, int step, double probe, struct err *e) {
  if (s->kept > 0 && s->checkpoint[s->kept - 1].step == step) return true;
  struct kept_checkpoint *p = realloc(s->checkpoint, ((size_t)s->kept + 1) * sizeof *p);
  if (!p) return err_set(e, ERR_FAILED, "out of memory while noting a checkpoint");
  s->checkpoint = p;
  p[s->kept++] = (struct kept_checkpoint){step, probe};
  return true;
}

enum { NUMBERS = 15 };

/* The floating-point members of a state, in the order of the file, to be read or written. */
static int numbers_of(struct run_state *s, double *out[NUMBERS]) {
  struct metrics *m = &s->pending;
  struct health *h = &s->health;
  double *const all[NUMBERS] = {&s->last_loss, &h->instance, &h->prior, &h->total,     &h->lowest,  &h->begin, &m->instance, &m->prior,
                                &m->pdm,       &m->total,    &m->lr,    &m->grad_norm, &m->seconds, &m->probe, NULL};
  int n = 0;
  for (; all[n]; n++) out[n] = all[n];
  return n;
}

/* Hexadecimal: every bit comes back. As text, since JSON has no NaN. */
static void put_info(FILE *f, const struct run_state *s, const struct optimizer *o) {
  struct run_state copy = *s;
  double *number[NUMBERS];
  int n = numbers_of(&copy, number);
  fprintf(f, "{\"version\": 2, \"step\": %d, \"optimizer_step\": %d, \"sampled\": %d, \"pictures\": %d, \"round\": \"%s\",\n", s->step,
          o->step, s->sampled, s->pictures, s->round);
  fprintf(f, " \"identity\": \"%s\", \"pending\": %d, \"health_seen\": %d, \"health_bad\": %d,\n", s->identity, s->pending.step,
          s->health.seen, s->health.bad);
  fprintf(f, " \"loss_scale\": \"%a\", \"scaled_updates\": %d,\n \"numbers\": [", s->loss_scale.scale, s->loss_scale.updates);
  for (int i = 0; i < n; i++) fprintf(f, "%s\"%a\"", i ? ", " : "", *number[i]);
  fprintf(f, "],\n \"checkpoints\": [");
  for (int i = 0; i < s->kept; i++)
    fprintf(f, "%s{\"step\": %d, \"probe\": \"%a\"}", i ? ", " : "", s->checkpoint[i].step, s->checkpoint[i].probe);
  fprintf(f, "]}\n");
}

static bool write_info(const char *dir, const struct run_state *s, const struct optimizer *o, struct err *e) {
  char path[PATH], *text = NULL;
  size_t size = 0;
  FILE *f = open_memstream(&text, &size);
  if (!f) return err_set(e, ERR_FAILED, "out of memory while saving the state");
  put_info(f, s, o);
  bool ok = fclose(f) == 0;
  snprintf(path, sizeof path, "%s/info.json", dir);
  ok = ok ? write_file(path, text, size, e) : err_set(e, ERR_FAILED, "out of memory while saving the state");
  free(text);
  return ok;
}

static bool read_numbers(const struct json *j, struct run_state *s, struct err *e) {
  const char *text[NUMBERS];
  double *number[NUMBERS];
  int n, want = numbers_of(s, number);
  if (!json_strings(j, "numbers", text, NUMBERS, &n, e)) return false;
  if (n != want) return err_set(e, ERR_INPUT, "%s: the state was written by another version; start a new run directory", json_name(j));
  for (int i = 0; i < n; i++) *number[i] = strtod(text[i], NULL);
  return true;
}

static bool read_checkpoints(const struct json *j, struct run_state *s, struct err *e) {
  const cJSON *list = cJSON_GetObjectItemCaseSensitive(json_node(j), "checkpoints"), *x;
  bool ok = true;
  cJSON_ArrayForEach(x, list) {
    const cJSON *step = cJSON_GetObjectItemCaseSensitive(x, "step"), *probe = cJSON_GetObjectItemCaseSensitive(x, "probe");
    if (ok && cJSON_IsNumber(step))
      ok = run_state_made(s, step->valueint, cJSON_IsString(probe) ? strtod(probe->valuestring, NULL) : NAN, e);
  }
  return ok;
}

static bool read_info(const char *dir, struct run_state *s, int *optimizer_step, struct err *e) {
  struct source source;
  static const char *const key[] = {"step",       "optimizer_step", "pending", "health_seen",
                                    "health_bad", "pictures",       "sampled", "scaled_updates"};
  int64_t v[8] = {0};
  char scale[40] = "";
  source_dir(&source, dir);
  struct json *j = json_open(&source, "info.json", e);
  *s = (struct run_state){.sampled = -1};
  bool ok = j && json_string(j, "identity", "", s->identity, sizeof s->identity, e) &&
            json_string(j, "round", "", s->round, sizeof s->round, e) && json_string(j, "loss_scale", "0", scale, sizeof scale, e);
  for (int i = 0; ok && i < 8; i++) ok = json_int(j, key[i], i == 6 ? -1 : 0, -1, INT32_MAX, v + i, e);
  ok = ok && read_numbers(j, s, e) && read_checkpoints(j, s, e);
  s->step = (int)v[0];
  *optimizer_step = (int)v[1];
  s->pending.step = (int)v[2];
  s->health.seen = (int)v[3];
  s->health.bad = (int)v[4];
  s->pictures = (int)v[5];
  s->sampled = (int)v[6];
  s->loss_scale = (struct loss_scale){strtod(scale, NULL), (int)v[7]};
  json_close(j);
  if (!ok) run_state_release(s);
  return ok;
}

/* --- the directory ------------------------------------------------------------------------------------------------------------------------- */

/* Calls f for each complete state. */
static void each_state(const char *run_dir, void (*f)(const char *path, int step, void *user), void *user) {
  char dir[PATH], path[PATH + 300];
  snprintf(dir, sizeof dir, "%s/state", run_dir);
  DIR *d = opendir(dir);
  for (struct dirent *x; d && (x = readdir(d));) {
    int step, end = 0;
    if (sscanf(x->d_name, "step-%d%n", &step, &end) != 1 || x->d_name[end] != '\0') continue;
    snprintf(path, sizeof path, "%s/%s", dir, x->d_name);
    f(path, step, user);
  }
  if (d) closedir(d);
}

static void keep_highest(const char *path, int step, void *user) {
  (void)path;
  int *highest = user;
  if (step > *highest) *highest = step;
}

struct below {
  int limit, highest;
};

static void keep_highest_below(const char *path, int step, void *user) {
  (void)path;
  struct below *b = user;
  if (step < b->limit && step > b->highest) b->highest = step;
}

static void remove_older(const char *path, int step, void *user) {
  if (step < *(int *)user) fs_remove_tree(path);
}

static int newest(const char *run_dir) {
  int step = -1;
  each_state(run_dir, keep_highest, &step);
  return step;
}

void state_keep_from(const char *run_dir, int step) {
  each_state(run_dir, remove_older, &step);
}

int state_drop(const char *run_dir, int step, bool last_too) {
  struct below x = {step, -1};
  char dir[PATH];
  each_state(run_dir, keep_highest_below, &x);
  if (x.highest < 0 && !last_too) return step;
  state_path(run_dir, step, dir, sizeof dir);
  fs_remove_tree(dir);
  return x.highest;
}

int64_t state_bytes(const struct optimizer *o) {
  int64_t bytes = 16384;
  for (int i = 0; i < o->groups; i++) {
    const struct opt_group *g = o->group + i;
    const struct param_set *set = g->set;
    bytes += set->count * (int64_t)sizeof(float) + (int64_t)optimizer_bytes(&set, 1, g->m.type, g->ema != NULL) + 16384;
  }
  return bytes;
}

bool state_save(const char *run_dir, const struct run_state *s, const struct optimizer *o, const char *const *names, struct err *e) {
  char dir[PATH], temporary[PATH + 32];
  state_path(run_dir, s->step, dir, sizeof dir);
  if (access(dir, F_OK) == 0) return write_info(dir, s, o, e); /* the same step again: only the notes differ */
  fs_temporary(dir, temporary, sizeof temporary);
  fs_remove_tree(temporary);
  bool ok = make_dirs(temporary, e) && each_block(temporary, o, names, save_block, e) && write_info(temporary, s, o, e) &&
            fs_settle(temporary, dir, e);
  if (!ok) fs_remove_tree(temporary);
  return ok;
}

bool state_find(const char *run_dir, struct run_state *s, bool *found, struct err *e) {
  char dir[PATH];
  int step = newest(run_dir), ignored;
  *found = step >= 0;
  if (!*found) return true;
  state_path(run_dir, step, dir, sizeof dir);
  return read_info(dir, s, &ignored, e);
}

bool state_peek(const char *run_dir, int *step) {
  int highest = newest(run_dir);
  if (highest >= 0) *step = highest;
  return highest >= 0;
}

bool state_load(const char *run_dir, const struct run_state *s, struct optimizer *o, const char *const *names, struct err *e) {
  char dir[PATH];
  struct run_state again;
  state_path(run_dir, s->step, dir, sizeof dir);
  if (!read_info(dir, &again, &o->step, e)) return false;
  run_state_release(&again);
  if (!each_block(dir, o, names, load_block, e)) return false;
  optimizer_changed(o);
  return true;
}

/* --- the end ------------------------------------------------------------------------------------------------------------------------------- */

bool state_done(const char *run_dir, const char *text, struct err *e) {
  char dir[PATH], path[PATH + 300];
  snprintf(dir, sizeof dir, "%s/state", run_dir);
  snprintf(path, sizeof path, "%s/done", dir);
  if (!make_dirs(dir, e) || !write_file(path, text, strlen(text), e)) return false;
  DIR *d = opendir(dir);
  for (struct dirent *x; d && (x = readdir(d));) {
    if (strcmp(x->d_name, ".") == 0 || strcmp(x->d_name, "..") == 0 || strcmp(x->d_name, "done") == 0) continue;
    snprintf(path, sizeof path, "%s/%s", dir, x->d_name);
    fs_remove_tree(path);
  }
  if (d) closedir(d);
  return true;
}

bool state_is_done(const char *run_dir, char *text, size_t n) {
  char path[PATH];
  struct err ignored = {0};
  struct blob b;
  snprintf(path, sizeof path, "%s/state/done", run_dir);
  if (access(path, R_OK) != 0 || !blob_map(path, &b, &ignored)) return false;
  snprintf(text, n, "%.*s", (int)b.size, (const char *)b.data);
  blob_close(&b);
  return true;
}
