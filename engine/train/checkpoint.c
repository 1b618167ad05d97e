#include "train/checkpoint.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "convert/lora_write.h"

enum { PIECE = 1 << 26, PATH = 4300 }; /* elements of a flat block in one file: 256 MiB in fp32 */

/* --- directories ------------------------------------------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *s, int kind, struct FTW *f) {
  (void)s;
  (void)kind;
  (void)f;
  return remove(path);
}

void remove_tree(const char *path) {
  nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void sync_folder(const char *path) {
  int fd = open(path, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return;
  fsync(fd); /* where a file system cannot, the rename is still atomic */
  close(fd);
}

/* Renames from to to and makes it last. */
static bool settle(const char *parent, const char *from, const char *to, struct err *e) {
  sync_folder(from);
  if (rename(from, to) != 0) return err_set_errno(e, ERR_FAILED, "%s: cannot be renamed to %s", from, to);
  sync_folder(parent);
  return true;
}

static void state_path(const char *run_dir, int step, const char *end, char *out, size_t n) {
  snprintf(out, n, "%s/state/step-%06d%s", run_dir, step, end);
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
  for (int i = 0; i < o->groups; i++)
    if (o->group[i].set->count > most) most = o->group[i].set->count;
  void *buffer =
      o->b->op->host_memory ? NULL : malloc((size_t)(most < PIECE ? most : PIECE) * sizeof(float)); /* else it is written as it lies */
  if (!buffer && !o->b->op->host_memory) return err_set(e, ERR_FAILED, "out of memory for a copy of the weights");
  bool ok = true;
  for (int i = 0; ok && i < o->groups; i++) {
    const struct opt_group *g = o->group + i;
    const struct block block[] = {{dir, names[i], "weights", g->set->w, DT_F32, g->set->count},
                                  {dir, names[i], "moment1", g->m.data, g->m.type, g->set->count},
                                  {dir, names[i], "moment2", g->v.data, g->v.type, g->set->count},
                                  {dir, names[i], "average", g->ema, DT_F32, g->ema ? g->set->count : 0}};
    for (int j = 0; ok && j < 4; j++) ok = f(o->b, block + j, buffer, e);
  }
  free(buffer);
  return ok;
}

/* --- the state ------------------------------------------------------------------------------------------------------------------------- */

void run_state_release(struct run_state *s) {
  free(s->checkpoint);
  s->checkpoint = NULL;
  s->kept = 0;
}

bool run_state_made(struct run_state *s, int step, struct err *e) {
  if (s->kept > 0 && s->checkpoint[s->kept - 1] == step) return true;
  int *p = realloc(s->checkpoint, ((size_t)s->kept + 1) * sizeof *p);
  if (!p) return err_set(e, ERR_FAILED, "out of memory while noting a checkpoint");
  s->checkpoint = p;
  p[s->kept++] = step;
  return true;
}

static bool write_info(const char *dir, const struct run_state *s, const struct optimizer *o, struct err *e) {
  char path[PATH], *text = NULL;
  size_t size = 0;
  FILE *f = open_memstream(&text, &size);
  if (!f) return err_set(e, ERR_FAILED, "out of memory while saving the state");
  fprintf(f,
          "{\"version\": 1, \"step\": %d, \"optimizer_step\": %d, \"sampled\": %d, \"last_loss\": \"%a\",\n \"identity\": \"%s\",\n "
          "\"checkpoints\": [",
          s->step, o->step, s->sampled, s->last_loss, s->identity);
  for (int i = 0; i < s->kept; i++) fprintf(f, "%s%d", i ? ", " : "", s->checkpoint[i]);
  fprintf(f, "]}\n");
  bool ok = fclose(f) == 0;
  snprintf(path, sizeof path, "%s/info.json", dir);
  ok = ok ? write_file(path, text, size, e) : err_set(e, ERR_FAILED, "out of memory while saving the state");
  free(text);
  return ok;
}

/* Steps of the complete states, in no order: calls f for each; unfinished ones (a name that goes on after the number) are removed when tidy. */
static void each_state(const char *run_dir, bool tidy, void (*f)(const char *path, int step, void *user), void *user) {
  char dir[PATH], path[PATH + 300];
  snprintf(dir, sizeof dir, "%s/state", run_dir);
  DIR *d = opendir(dir);
  for (struct dirent *x; d && (x = readdir(d));) {
    int step, end = 0;
    if (sscanf(x->d_name, "step-%d%n", &step, &end) != 1) continue;
    snprintf(path, sizeof path, "%s/%s", dir, x->d_name);
    if (x->d_name[end] == '\0')
      f(path, step, user);
    else if (tidy)
      remove_tree(path);
  }
  if (d) closedir(d);
}

static void keep_highest(const char *path, int step, void *user) {
  (void)path;
  int *highest = user;
  if (step > *highest) *highest = step;
}

static void remove_other(const char *path, int step, void *user) {
  if (step != *(int *)user) remove_tree(path);
}

bool state_save(const char *run_dir, const struct run_state *s, const struct optimizer *o, const char *const *names, struct err *e) {
  char parent[PATH], dir[PATH], temporary[PATH];
  int step = s->step;
  snprintf(parent, sizeof parent, "%s/state", run_dir);
  state_path(run_dir, s->step, "", dir, sizeof dir);
  state_path(run_dir, s->step, ".new", temporary, sizeof temporary);
  if (access(dir, F_OK) == 0) return write_info(dir, s, o, e); /* the same step again: only the notes differ */
  remove_tree(temporary);
  bool ok = make_dirs(temporary, e) && each_block(temporary, o, names, save_block, e) && write_info(temporary, s, o, e) &&
            settle(parent, temporary, dir, e);
  if (ok)
    each_state(run_dir, true, remove_other, &step);
  else
    remove_tree(temporary);
  return ok;
}

static bool read_info(const char *dir, struct run_state *s, int *optimizer_step, struct err *e) {
  struct source source;
  char loss[64];
  int64_t number[3];
  int n = 0;
  source_dir(&source, dir);
  struct json *j = json_open(&source, "info.json", e);
  bool ok = j && json_int(j, "step", 0, 0, INT32_MAX, number, e) && json_int(j, "optimizer_step", 0, 0, INT32_MAX, number + 1, e) &&
            json_int(j, "sampled", -1, -1, INT32_MAX, number + 2, e) && json_string(j, "last_loss", "0", loss, sizeof loss, e) &&
            json_string(j, "identity", "", s->identity, sizeof s->identity, e);
  const cJSON *list = ok ? cJSON_GetObjectItemCaseSensitive(json_node(j), "checkpoints") : NULL, *x;
  cJSON_ArrayForEach(x, list) n++;
  s->checkpoint = NULL;
  if (ok && n > 0 && !(s->checkpoint = calloc((size_t)n, sizeof *s->checkpoint)))
    ok = err_set(e, ERR_FAILED, "out of memory while reading %s", dir);
  s->kept = 0;
  if (ok) {
    cJSON_ArrayForEach(x, list) s->checkpoint[s->kept++] = x->valueint;
    s->step = (int)number[0];
    *optimizer_step = (int)number[1];
    s->sampled = (int)number[2];
    s->last_loss = strtod(loss, NULL);
  }
  json_close(j);
  return ok;
}

bool state_find(const char *run_dir, struct run_state *s, bool *found, struct err *e) {
  char dir[PATH];
  int step = -1, ignored;
  each_state(run_dir, true, keep_highest, &step);
  *found = step >= 0;
  if (!*found) return true;
  state_path(run_dir, step, "", dir, sizeof dir);
  return read_info(dir, s, &ignored, e);
}

bool state_peek(const char *run_dir, int *step) {
  int highest = -1;
  each_state(run_dir, false, keep_highest, &highest);
  if (highest >= 0) *step = highest;
  return highest >= 0;
}

bool state_load(const char *run_dir, const struct run_state *s, struct optimizer *o, const char *const *names, struct err *e) {
  char dir[PATH];
  struct run_state again;
  state_path(run_dir, s->step, "", dir, sizeof dir);
  if (!read_info(dir, &again, &o->step, e)) return false;
  run_state_release(&again);
  if (!each_block(dir, o, names, load_block, e)) return false;
  for (int i = 0; i < o->groups; i++) param_set_changed(o->group[i].set);
  return true;
}

/* --- checkpoints --------------------------------------------------------------------------------------------------------------------------- */

void checkpoint_path(const char *run_dir, int step, bool final, char *out, size_t n) {
  if (final)
    snprintf(out, n, "%s/checkpoints/final", run_dir);
  else
    snprintf(out, n, "%s/checkpoints/step-%06d", run_dir, step);
}

/* The weights of the group called name for the host to read; NULL where it is not trained (*e untouched) or memory is out. */
static const float *host_weights(const struct optimizer *o, const char *const *names, const char *name, bool averaged, float **copy,
                                 struct err *e) {
  *copy = NULL;
  for (int i = 0; i < o->groups; i++) {
    const struct opt_group *g = o->group + i;
    if (strcmp(names[i], name) == 0) return model_host(o->b, averaged && g->ema ? g->ema : g->set->w, g->set->count, copy, e);
  }
  return NULL;
}

static bool write_lora(struct model *m, const char *dir, const float *unet, const float *text, const struct checkpoint_want *w,
                       struct err *e) {
  char temporary[PATH], path[PATH + 64], parent[PATH], step[32];
  snprintf(temporary, sizeof temporary, "%s.new", dir);
  snprintf(path, sizeof path, "%s/pytorch_lora_weights.safetensors", temporary);
  snprintf(parent, sizeof parent, "%.*s", (int)(strrchr(dir, '/') - dir), dir);
  snprintf(step, sizeof step, "%d", w->step);
  struct st_pair meta[] = {{"pdmbooth_step", step}, {"pdmbooth_base_model_hash", m->hash}};
  remove_tree(temporary);
  bool ok = make_dirs(temporary, e) &&
            lora_save(path, unet ? unet_lora(m->unet) : NULL, unet, text ? clip_lora(m->text) : NULL, text, w->dtype, meta, 2, e) &&
            settle(parent, temporary, dir, e);
  if (!ok) remove_tree(temporary);
  return ok;
}

bool checkpoint_write(struct model *m, const struct optimizer *o, const char *const *names, const char *dir,
                      const struct checkpoint_want *w, struct err *e) {
  struct err mine = {0};
  char parent[PATH];
  snprintf(parent, sizeof parent, "%.*s", (int)(strrchr(dir, '/') - dir), dir);
  float *copy[2];
  const float *unet = host_weights(o, names, "unet", w->averaged, &copy[0], &mine);
  const float *text = host_weights(o, names, "text_encoder", w->averaged, &copy[1], &mine);
  bool ok = mine.code == ERR_OK ? make_dirs(parent, e) : err_set(e, mine.code, "%s", mine.text);
  if (ok) remove_tree(dir); /* of a run that was stopped after writing it and before noting it */
  if (ok) ok = w->lora ? write_lora(m, dir, unet, text, w, e) : model_save(m, dir, unet, text, w->dtype, e);
  free(copy[0]);
  free(copy[1]);
  return ok;
}

void checkpoint_tidy(const char *run_dir) {
  char dir[PATH], path[PATH + 300];
  snprintf(dir, sizeof dir, "%s/checkpoints", run_dir);
  DIR *d = opendir(dir);
  for (struct dirent *x; d && (x = readdir(d));) {
    bool own = strncmp(x->d_name, "step-", 5) == 0 || strncmp(x->d_name, "final.", 6) == 0;
    const char *end = strchr(x->d_name, '.');
    if (!own || !end || (strcmp(end, ".new") != 0 && strncmp(end, ".tmp-", 5) != 0)) continue;
    snprintf(path, sizeof path, "%s/%s", dir, x->d_name);
    remove_tree(path);
  }
  if (d) closedir(d);
}

void checkpoint_prune(const char *run_dir, struct run_state *s, int keep) {
  while (keep > 0 && s->kept > keep) {
    char path[PATH];
    checkpoint_path(run_dir, s->checkpoint[0], false, path, sizeof path);
    remove_tree(path);
    memmove(s->checkpoint, s->checkpoint + 1, (size_t)--s->kept * sizeof *s->checkpoint);
  }
}

void swap_averaged(struct optimizer *o) {
  for (int i = 0; i < o->groups; i++) {
    struct opt_group *g = o->group + i;
    if (!g->ema) continue;
    float *w = g->set->w;
    param_set_bind(g->set, g->ema, g->set->g);
    g->ema = w;
    param_set_changed(g->set);
  }
}
