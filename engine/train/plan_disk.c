/* Bytes on disk of every stage, against what the file systems have. Pictures count as if PNG could not compress them, which noise comes near to. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "train/offload.h"
#include "train/plan.h"

enum { HEADER = 200, TEXTS = 1024 };
static const int64_t small_files = 1 << 20; /* profile, log, curves and the like */
static const double gib = 1.0 / (1 << 30);

/* --- sizes ------------------------------------------------------------------------------------------------------------------------------ */

static int64_t png_bytes(int64_t w, int64_t h) {
  return h * (3 * w + 1) * 1001 / 1000 + TEXTS;
}

static int64_t class_bytes(const struct trainer *t) {
  int64_t latents = 4 * latent_size_of(t->m, t->s->train.width, t->s->train.height).count + 2 * HEADER;
  return t->todo.classes * (png_bytes(t->s->train.width, t->s->train.height) + latents);
}

static int64_t sample_bytes(const struct trainer *t) {
  const struct settings *s = t->s;
  int longer = s->train.width > s->train.height ? s->train.width : s->train.height, times = longer >= 192 ? 1 : (191 + longer) / longer;
  int64_t pictures = (int64_t)s->prompts.tests * s->samples.count * png_bytes(s->train.width, s->train.height);
  int64_t sheet =
      png_bytes((int64_t)s->samples.count * (s->train.width * times + 6) + 320, (int64_t)s->prompts.tests * (s->train.height * times + 6));
  return s->prompts.tests > 0 ? t->todo.rounds * (pictures + sheet) : 0;
}

static int64_t set_bytes(const struct param_set *set, enum dtype type) {
  int64_t count = 0;
  for (int i = 0; set && i < set->n; i++) count += set->p[i]->count;
  return set ? count * (int64_t)dtype_size(type) + set->n * (int64_t)HEADER : 0;
}

/* A LoRA file, or a whole model with what is copied of the source's small files. */
static int64_t planned_checkpoint(const struct trainer *t) {
  enum dtype type = (enum dtype)t->s->checkpoints.dtype;
  const struct param_set *set[MODEL_SETS];
  model_sets(t->m, set);
  if (t->s->train.mode == MODE_LORA) return set_bytes(set[3], type) + set_bytes(set[4], type);
  return set_bytes(set[0], type) + set_bytes(set[1], type) + set_bytes(set[2], type) + 2 * small_files;
}

static int64_t planned_state(const struct trainer *t) {
  const struct param_set *const set[2] = {t->set[0], t->set[1]};
  enum dtype moments = t->plan.home > 0 ? offload_moments(moments_type(t->s)) : moments_type(t->s);
  int64_t bytes = (int64_t)optimizer_bytes(set, t->sets, moments, t->s->train.ema_decay > 0);
  for (int i = 0; i < t->sets; i++) bytes += t->set[i]->count * 4;
  return bytes + small_files / 16;
}

/* Checkpoints that are there at once: the new one is whole before the oldest goes. */
static int64_t checkpoints_at_once(const struct trainer *t) {
  int every = t->s->checkpoints.every, keep = t->s->checkpoints.keep + (t->s->checkpoints.keep > 0 ? t->s->checkpoints.keep_best : 0);
  int made = every > 0 ? (t->s->train.steps - 1) / every : 0;
  return keep > 0 && made > keep ? keep + 1 : made;
}

/* --- places ----------------------------------------------------------------------------------------------------------------------------- */

/* The directory, or the nearest one above it that is there already. */
static bool nearest(const char *path, char *out, size_t n, struct stat *st) {
  snprintf(out, n, "%s", *path ? path : ".");
  while (stat(out, st) != 0 || !S_ISDIR(st->st_mode)) {
    char *slash = strrchr(out, '/');
    if (!slash || slash == out) {
      snprintf(out, n, "%s", slash ? "/" : ".");
      return stat(out, st) == 0;
    }
    *slash = '\0';
  }
  return true;
}

static void add_place(struct trainer *t, dev_t device[PLAN_PLACES], const char *what, const char *path, int64_t bytes) {
  struct run_plan *p = &t->plan;
  struct plan_place *l = p->place + p->places;
  struct stat st = {0};
  struct statvfs v;
  if (bytes == 0 || !nearest(path, l->path, sizeof l->path, &st)) return;
  for (int i = 0; i < p->places; i++)
    if (device[i] == st.st_dev) {
      p->place[i].needed += bytes;
      return;
    }
  if (statvfs(l->path, &v) != 0) return;
  device[p->places++] = st.st_dev;
  l->what = what;
  l->needed = bytes;
  l->available = (int64_t)v.f_bavail * (int64_t)v.f_frsize;
}

static bool check_place(struct trainer *t, const struct plan_place *l, struct err *e) {
  if (l->needed > l->available)
    return err_set(e, ERR_FIT,
                   "the run writes up to %.2f GiB below %s (%s), where %.2f GiB are free: make room, or set keep or a larger every in "
                   "[checkpoints], dtype = bf16 there, or fewer samples",
                   (double)l->needed * gib, l->path, l->what, (double)l->available * gib);
  if (l->needed > l->available - l->available / 20)
    tell(t->sink, LOG_WARN, "the disk will be nearly full: up to %.2f of the %.2f GiB free below %s are written", (double)l->needed * gib,
         (double)l->available * gib, l->path);
  return true;
}

bool plan_disk(struct trainer *t, struct err *e) {
  const struct settings *s = t->s;
  struct run_plan *p = &t->plan;
  dev_t device[PLAN_PLACES];
  char class_dir[4096];
  bool final = s->train.mode == MODE_LORA || s->checkpoints.save_weights;
  int64_t one = planned_checkpoint(t), kept = checkpoints_at_once(t),
          state = 2 * planned_state(t); /* the old one stays until the new one has proved sound */
  p->stage[STAGE_CLASSES].disk = class_bytes(t);
  p->stage[STAGE_PDM].disk = t->todo.pdm.cache_bytes + t->todo.pdm.state_bytes;
  p->stage[STAGE_SAMPLES].disk = sample_bytes(t);
  p->stage[STAGE_TRAINING].disk = small_files + 128 * (int64_t)t->todo.steps;
  p->stage[STAGE_SAVING].disk = (kept + final) * one + state;
  int64_t keep = s->checkpoints.keep > 0 && kept > s->checkpoints.keep ? s->checkpoints.keep : kept;
  p->left = (keep + final) * one + p->stage[STAGE_SAMPLES].disk + p->stage[STAGE_TRAINING].disk;
  p->places = 0;
  add_place(t, device, "run directory", s->run_dir,
            p->stage[STAGE_SAVING].disk + p->stage[STAGE_SAMPLES].disk + p->stage[STAGE_TRAINING].disk + t->todo.pdm.state_bytes);
  add_place(t, device, "cache", t->cache_dir, t->todo.pdm.cache_bytes);
  if (t->todo.classes > 0) {
    if (!prior_dir(t->m, t->act, s, class_dir, sizeof class_dir, e)) return false;
    add_place(t, device, "class images", class_dir, p->stage[STAGE_CLASSES].disk);
  }
  for (int i = 0; i < p->places; i++)
    if (!check_place(t, p->place + i, e)) return false;
  return true;
}
