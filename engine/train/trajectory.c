/* Inversion and reconstruction (trajectory.h; method.md section 5), for k = 1 .. steps with t = level(k), s = level(k - 1):
 *   inversion        out = unet(x_s, t, c);  eps from out at level s;  z = (x_s - sqrt(1 - abar_s) eps) / sqrt(abar_s);
 *                    x_t = sqrt(abar_t) z + sqrt(1 - abar_t) eps
 *   reconstruction   out = unet(x_t, t, c);  eps from out at level t;  the same step the other way
 *   eps = out, or for v-prediction sqrt(abar) out + sqrt(1 - abar) x at the level of x */
#include "train/trajectory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "train/encode.h"

enum { CHUNK = 100, HEADER = 256 /* bytes before the numbers of a file, about */ };

int trajectory_level(const struct pdm_job *j, int k) {
  int64_t top = j->m->schedule.steps - 1;
  return (int)((2 * k * top + j->steps) / (2 * (int64_t)j->steps));
}

/* x' = sqrt(abar_to) (x - sqrt(1 - abar_from) eps) / sqrt(abar_from) + sqrt(1 - abar_to) eps = r x + q eps, or with eps from v: r x + q (a v + s x) */
void ddim_move(struct ctx *c, const struct schedule *s, struct tensor *x, struct tensor *prediction, int from, int to) {
  double a = sqrt(s->abar[from]), noise = sqrt(1 - s->abar[from]);
  double r = sqrt(s->abar[to]) / a, q = sqrt(1 - s->abar[to]) - r * noise;
  struct tensor f32 = {0};
  if (prediction->type != DT_F32) {
    f32 = ctx_new(c, DT_F32, prediction->rank, prediction->dim);
    if (!c->failed) c->b->op->cast(c->b, &f32, prediction);
  }
  double of_x = s->prediction == PREDICT_V ? r + q * noise : r, of_out = s->prediction == PREDICT_V ? q * a : q;
  if (!c->failed) c->b->op->axpby(c->b, x, (float)of_out, f32.rank ? &f32 : prediction, (float)of_x);
  ctx_free(c, &f32);
}

struct tensor class_text(struct ctx *c, const struct pdm_job *j, int n) {
  struct tensor one = model_embed(c, j->m, &j->class_prompt, 1);
  struct tensor all = ctx_new_3d(c, one.type, n, one.dim[1], one.dim[2]);
  for (int i = 0; i < n && !c->failed; i++) c->b->op->move(c->b, tensor_slice(all, i, 1).data, one.data, tensor_bytes(&one));
  ctx_free(c, &one);
  return all;
}

/* --- names and keys ----------------------------------------------------------------------------------------------------------- */

static void make_key(struct trajectory *t) {
  const struct pdm_job *j = t->j;
  struct sha256 s;
  char text[256];
  sha256_begin(&s);
  int n = snprintf(text, sizeof text, "trajectory 1\n%s\n%s %s\n%dx%d %d of %d, prediction %d\n", j->m->hash,
                   j->engine ? j->engine : j->m->b->op->name, dtype_name(j->act), j->d->width, j->d->height, j->steps, j->m->schedule.steps,
                   (int)j->m->schedule.prediction);
  sha256_add(&s, text, (size_t)n);
  sha256_add(&s, j->class_prompt, strlen(j->class_prompt) + 1);
  sha256_add(&s, j->m->schedule.abar, (size_t)j->m->schedule.steps * sizeof *j->m->schedule.abar);
  for (int i = 0; i < t->n; i++) sha256_add(&s, j->d->photograph[t->photograph[i]].hash, 64);
  sha256_end(&s, t->key);
}

bool trajectory_init(struct trajectory *t, const struct pdm_job *j, const int *photograph, int n, struct err *e) {
  *t = (struct trajectory){.j = j, .photograph = photograph, .n = n};
  make_key(t);
  int k = snprintf(t->dir, sizeof t->dir, "%s/pdm/%.40s", j->cache_dir, t->key);
  return (k > 0 && k < (int)sizeof t->dir - 64) || err_set(e, ERR_USAGE, "%s: the path of the cache directory is too long", j->cache_dir);
}

static void chunk_path(const struct trajectory *t, int chunk, char *out, size_t n) {
  snprintf(out, n, "%s/levels-%04d.safetensors", t->dir, chunk);
}

/* Levels of a chunk that a stopped run had: from k up to the chunk's end. */
static void part_path(const struct trajectory *t, char *out, size_t n) {
  snprintf(out, n, "%s/levels-part.safetensors", t->dir);
}

static void inversion_path(const struct trajectory *t, char *out, size_t n) {
  snprintf(out, n, "%s/inversion.safetensors", t->dir);
}

/* Lowest k that is on disk with everything above it; steps + 1 where nothing is. */
static int lowest_kept(const struct trajectory *t) {
  int k = t->j->steps + 1;
  for (int chunk = t->j->steps / CHUNK; chunk >= 0; chunk--) {
    char path[4200];
    chunk_path(t, chunk, path, sizeof path);
    if (access(path, R_OK) != 0) break;
    k = chunk * CHUNK;
  }
  return k;
}

bool trajectory_complete(const struct trajectory *t) {
  return lowest_kept(t) == 0;
}

/* k that the inversion reached, its latents in x where x is not NULL; 0 where there is none. */
static int inversion_kept(const struct trajectory *t, float *x, int64_t count) {
  char path[4200];
  inversion_path(t, path, sizeof path);
  if (access(path, R_OK) != 0) return 0;
  struct err ignored = {0}; /* a file that cannot be read is computed again */
  struct st_file *f = st_open_path(path, &ignored);
  if (!f) return 0;
  const struct st_tensor *z = st_find(f, "latents");
  const char *level = st_metadata(f, "k");
  int k = level ? atoi(level) : 0;
  bool good = z && k > 0 && k <= t->j->steps && (!x || (z->bytes == (size_t)count * sizeof *x && st_floats(z, 0, count, x)));
  st_close(f);
  return good ? k : 0;
}

static int chunk_end(const struct trajectory *t, int k) {
  int last = k / CHUNK * CHUNK + CHUNK - 1;
  return last < t->j->steps ? last : t->j->steps;
}

/* k that the part reaches down to, below what is whole; its levels in chunk (at k % CHUNK) where chunk is not NULL. low: where there is none. */
static int part_kept(const struct trajectory *t, int low, float *chunk, int64_t count) {
  char path[4200];
  struct err ignored = {0};
  part_path(t, path, sizeof path);
  struct st_file *f = low > 0 && access(path, R_OK) == 0 ? st_open_path(path, &ignored) : NULL;
  if (!f) return low;
  const struct st_tensor *z = st_find(f, "latents");
  const char *number = st_metadata(f, "k");
  int k = number ? atoi(number) : -1;
  bool good = z && k >= 0 && chunk_end(t, k) == low - 1 && z->dim[0] == low - k;
  if (good && chunk)
    good = z->bytes == (size_t)((low - k) * count) * sizeof *chunk && st_floats(z, 0, (low - k) * count, chunk + k % CHUNK * count);
  st_close(f);
  return good ? k : low;
}

int64_t trajectory_missing(const struct trajectory *t) {
  int low = part_kept(t, lowest_kept(t), NULL, 0);
  return low <= t->j->steps ? low : 2 * (int64_t)t->j->steps - inversion_kept(t, NULL, 0);
}

/* --- computing ------------------------------------------------------------------------------------------------------------------ */

struct run {
  const struct trajectory *t;
  struct latent_size size;
  int64_t count; /* of all pictures' latents */
  float *x;      /* [n, h, w, c] */
  float *chunk;  /* [CHUNK][n, h, w, c] */
  float *pixels;
  float *scratch; /* [h, w, 2 c]: what a planning run writes, which is nothing */
  int low;        /* lowest k kept, steps + 1: none */
  int inverted;   /* k that x stands at where low is steps + 1 */
  int64_t done, total;
};

static bool check_finite(struct ctx *c, const struct run *r, int k) {
  for (int64_t i = 0; i < r->count; i++)
    if (!isfinite(r->x[i])) {
      c->failed = true;
      return err_set(c->err, ERR_NUMERIC, "the PDM inversion is not finite any more at level %d of %d; try precision = fp32",
                     trajectory_level(r->t->j, k), r->t->j->m->schedule.steps);
    }
  return true;
}

static bool write_latents(const struct run *r, const char *path, int levels, const float *data, int k, struct err *e) {
  char number[32];
  snprintf(number, sizeof number, "%d", k);
  struct st_entry z = {.name = "latents",
                       .type = DT_F32,
                       .data_type = DT_F32,
                       .data = data,
                       .rank = 5,
                       .dim = {levels, r->t->n, r->size.h, r->size.w, r->size.channels}};
  struct st_pair meta[] = {{"k", number}, {"key", r->t->key}};
  return st_write(path, &z, 1, meta, 2, e);
}

/* The same, counted before and waiting for room where there is none. */
static bool keep_latents(const struct run *r, const char *path, int levels, const float *data, int k, struct err *e) {
  bool ok;
  if (!room_for(r->t->j->room, path, levels * r->count * (int64_t)sizeof *data, e)) return false;
  do ok = write_latents(r, path, levels, data, k, e);
  while (!ok && room_again(r->t->j->room, path, e));
  return ok;
}

static bool keep_inversion(struct ctx *c, struct run *r, int k, const struct tensor *x) {
  char path[4200];
  ctx_download(c, r->x, x);
  inversion_path(r->t, path, sizeof path);
  c->failed |= !check_finite(c, r, k) || !keep_latents(r, path, 1, r->x, k, c->err);
  return !c->failed;
}

/* One pass and one step from level k to level k2 (told: the one that the network is told). */
static bool one_step(struct ctx *c, const struct run *r, struct tensor *x, const struct tensor *text, int k, int k2, int told) {
  const struct pdm_job *j = r->t->j;
  struct unet_tap none = {.handle = -1};
  struct unet_options plain = {0};
  float t[256];
  for (int i = 0; i < r->t->n; i++) t[i] = (float)trajectory_level(j, told);
  struct tensor out = unet_forward(c, j->m->unet, x, t, text, &none, &plain, NULL);
  if (!c->failed) ddim_move(c, &j->m->schedule, x, &out, trajectory_level(j, k), trajectory_level(j, k2));
  ctx_free(c, &out);
  return ctx_ok(c);
}

/* After each pass: progress, and whether to go on. */
static bool went(struct ctx *c, struct run *r) {
  tell_progress(r->t->j->sink, "pdm targets", ++r->done, r->total);
  c->failed |= !tell_goes_on(r->t->j->sink, c->err);
  return !c->failed;
}

static bool first_latents(struct ctx *c, struct run *r) {
  const struct pdm_job *j = r->t->j;
  for (int i = 0; i < r->t->n; i++) {
    const float *m = center_moments(c, j->m, j->d, j->d->photograph + r->t->photograph[i], false, r->pixels);
    if (!m || !moments_to_latents(c, j->m, m, NULL, &r->size, r->x + i * r->size.count)) return false;
  }
  return true;
}

/* The same for one picture; x and chunk, which may hold what was read from disk, are left alone. */
static bool plan_first_latents(struct ctx *c, struct run *r) {
  const struct pdm_job *j = r->t->j;
  return encode_pixels(c, j->m, r->pixels, j->d->width, j->d->height, r->scratch) &&
         moments_to_latents(c, j->m, r->scratch, NULL, &r->size, r->scratch);
}

static bool invert(struct ctx *c, struct run *r, struct tensor *x, const struct tensor *text) {
  int steps = r->t->j->steps;
  for (int k = r->inverted; k < steps && one_step(c, r, x, text, k, k + 1, k + 1); k++) {
    if (planning(c)) break;
    bool on = went(c, r);
    if (!on) c->failed = false; /* asked to stop: what there is can still be kept */
    if (!on || (k + 1) % CHUNK == 0 || k + 1 == steps) on &= keep_inversion(c, r, k + 1, x);
    c->failed |= !on;
    if (!on) break;
  }
  return !c->failed;
}

static bool keep_level(struct ctx *c, struct run *r, int k, const struct tensor *x) {
  char path[4200];
  int first = k / CHUNK * CHUNK, last = chunk_end(r->t, k);
  ctx_download(c, r->chunk + (k - first) * r->count, x);
  if (k > first) return true;
  memcpy(r->x, r->chunk, (size_t)r->count * sizeof *r->x);
  chunk_path(r->t, k / CHUNK, path, sizeof path);
  c->failed |= !check_finite(c, r, k) || !keep_latents(r, path, last - first + 1, r->chunk, first, c->err);
  return !c->failed;
}

/* Asked to stop: what there is of the chunk of k. */
static void keep_part(const struct run *r, int k) {
  char path[4200];
  struct err ignored = {0}; /* the reason for stopping is what counts */
  part_path(r->t, path, sizeof path);
  if (k % CHUNK != 0) write_latents(r, path, chunk_end(r->t, k) - k + 1, r->chunk + k % CHUNK * r->count, k, &ignored);
}

static bool reconstruct(struct ctx *c, struct run *r, struct tensor *x, const struct tensor *text) {
  int k = r->low;
  if (k > r->t->j->steps) {
    k = r->t->j->steps;
    if (!planning(c) && !keep_level(c, r, k, x)) return false;
  }
  for (; k > 0 && one_step(c, r, x, text, k, k - 1, k); k--) {
    if (planning(c)) break;
    if (!keep_level(c, r, k - 1, x)) break;
    if (!went(c, r)) {
      keep_part(r, k - 1);
      break;
    }
  }
  return !c->failed;
}

static bool compute(struct ctx *c, void *user) {
  struct run *r = user;
  bool fresh = r->low > r->t->j->steps && r->inverted == 0;
  if (planning(c) && !plan_first_latents(c, r)) return false;
  if (fresh && !planning(c) && !first_latents(c, r)) return false;
  struct tensor text = class_text(c, r->t->j, r->t->n);
  struct tensor x = ctx_upload(c, DT_F32, 4, (int64_t[]){r->t->n, r->size.h, r->size.w, r->size.channels}, r->x);
  if (!c->failed && (planning(c) || r->low > r->t->j->steps)) invert(c, r, &x, &text);
  if (!c->failed) reconstruct(c, r, &x, &text);
  ctx_free(c, &x);
  ctx_free(c, &text);
  return ctx_ok(c);
}

/* Where to go on from: r->low and r->inverted, and the latents there. */
static bool find_start(struct run *r, struct err *e) {
  int whole = lowest_kept(r->t);
  r->low = part_kept(r->t, whole, r->chunk, r->count);
  if (r->low < whole) {
    memcpy(r->x, r->chunk + r->low % CHUNK * r->count, (size_t)r->count * sizeof *r->x);
    return true;
  }
  if (r->low > r->t->j->steps) {
    r->inverted = inversion_kept(r->t, r->x, r->count);
    return true;
  }
  for (int i = 0; i < r->t->n; i++)
    if (!trajectory_read(r->t, i, r->low, r->x + i * r->size.count, e)) return false;
  return true;
}

/* What only an unfinished one needs. */
static void remove_parts(const struct trajectory *t) {
  char path[4200];
  inversion_path(t, path, sizeof path);
  unlink(path);
  part_path(t, path, sizeof path);
  unlink(path);
}

static bool make_rest(const struct trajectory *t, int64_t done, int64_t total, struct err *e) {
  struct run r = {.t = t, .size = latent_size_of(t->j->m, t->j->d->width, t->j->d->height), .total = total};
  r.count = r.size.count * t->n;
  r.done = done + 2 * (int64_t)t->j->steps - trajectory_missing(t);
  r.x = calloc((size_t)r.count, sizeof *r.x);
  r.chunk = calloc((size_t)r.count * CHUNK, sizeof *r.chunk);
  r.pixels = calloc((size_t)t->j->d->width * (size_t)t->j->d->height * 3, sizeof *r.pixels);
  r.scratch = calloc((size_t)r.size.count * 2, sizeof *r.scratch);
  bool ok = (r.x && r.chunk && r.pixels && r.scratch) || err_set(e, ERR_FIT, "out of memory for the latents of %d photographs", t->n);
  if (ok) tell_progress(t->j->sink, "pdm targets", r.done, r.total);
  ok = ok && find_start(&r, e) && workspace_run(&t->j->m->work, t->j->m->b, t->j->act, compute, &r, NULL, e);
  free(r.x);
  free(r.chunk);
  free(r.pixels);
  free(r.scratch);
  return ok;
}

/* Runs share the cache: one makes it, the others wait. */
bool trajectory_make(const struct trajectory *t, int64_t done, int64_t total, struct err *e) {
  char path[4200];
  struct lock lock = {-1};
  if (trajectory_complete(t)) { /* whoever made it may have been killed before these were gone */
    remove_parts(t);
    return true;
  }
  snprintf(path, sizeof path, "%s/lock", t->dir);
  bool ok = room_dirs(t->j->room, t->dir, e) && room_lock(t->j->room, &lock, path, "PDM targets", e);
  if (ok) fs_tidy(t->dir, NULL);
  ok = ok && (trajectory_complete(t) || make_rest(t, done, total, e));
  if (ok) remove_parts(t);
  lock_release(&lock);
  return ok;
}

bool trajectory_plan(struct ctx *c, const struct pdm_job *j, int n) {
  struct trajectory t = {.j = j, .n = n};
  struct run r = {.t = &t, .size = latent_size_of(j->m, j->d->width, j->d->height), .low = j->steps + 1};
  r.count = r.size.count * n;
  r.x = calloc((size_t)r.count, sizeof *r.x);
  r.pixels = calloc((size_t)j->d->width * (size_t)j->d->height * 3, sizeof *r.pixels);
  r.scratch = calloc((size_t)r.size.count * 2, sizeof *r.scratch);
  bool ok = (r.x && r.pixels && r.scratch) || err_set(c->err, ERR_FIT, "out of memory for the latents of %d photographs", n);
  ok = ok && compute(c, &r);
  free(r.x);
  free(r.pixels);
  free(r.scratch);
  return ok;
}

int64_t trajectory_buffers(const struct pdm_job *j, int n) {
  struct latent_size s = latent_size_of(j->m, j->d->width, j->d->height);
  int levels = j->steps + 1 < CHUNK ? j->steps + 1 : CHUNK;
  return (int64_t)sizeof(float) * ((1 + levels) * s.count * n + 2 * s.count + (int64_t)j->d->width * j->d->height * 3);
}

int64_t trajectory_disk(const struct pdm_job *j, int n) {
  struct latent_size s = latent_size_of(j->m, j->d->width, j->d->height);
  int64_t files = j->steps / CHUNK + 1;
  return (int64_t)sizeof(float) * (j->steps + 1) * s.count * n + files * HEADER;
}

bool trajectory_read(const struct trajectory *t, int i, int k, float *out, struct err *e) {
  char path[4200];
  struct latent_size s = latent_size_of(t->j->m, t->j->d->width, t->j->d->height);
  chunk_path(t, k / CHUNK, path, sizeof path);
  struct st_file *f = st_open_path(path, e);
  if (!f) return false;
  const struct st_tensor *z = st_find(f, "latents");
  int64_t first = ((int64_t)(k % CHUNK) * t->n + i) * s.count;
  bool ok =
      z && z->rank == 5 && z->dim[1] == t->n && (int64_t)(z->bytes / sizeof *out) >= first + s.count && st_floats(z, first, s.count, out);
  st_close(f);
  return ok || err_set(e, ERR_INPUT, "%s: not the latents of this run's photographs; delete the file, it will be computed again", path);
}
