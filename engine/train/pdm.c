/* Q* of the pairs that training asks for (pdm.h): one pass up to the layer for each, from the trajectory's latents. */
#include "train/pdm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train/encode.h"
#include "train/trajectory.h"

enum { PAIRS_A_FILE = 32, PAIR_HEADER = 80 /* bytes of the header for a pair, about */ };

struct pdm_targets {
  int tokens, channels;
  int pairs, files, photographs;
  struct draw_pair *pair; /* [pairs] sorted */
  float **mask;           /* [photographs][tokens], entries NULL where all rows count */
  int *rows;              /* [photographs] rows kept */
  struct st_file **file;  /* [files] */
};

/* --- groups of photographs ------------------------------------------------------------------------------------------------------- */

struct groups {
  const struct pdm_job *j;
  int size, n; /* photographs in one, number of groups */
  int *order;  /* photographs by their hash, so that names do not matter */
  struct trajectory *t;
};

static int by_hash(const void *a, const void *b, void *d) {
  const struct photograph *p = ((const struct dataset *)d)->photograph;
  int x = *(const int *)a, y = *(const int *)b, k = strcmp(p[x].hash, p[y].hash);
  return k ? k : x - y;
}

static void groups_release(struct groups *g) {
  free(g->order);
  free(g->t);
}

static bool groups_init(struct groups *g, const struct pdm_job *j, struct err *e) {
  int n = j->d->photographs;
  *g = (struct groups){.j = j, .size = j->batch > 0 && j->batch < n ? j->batch : n};
  if (g->size > 64) g->size = 64;
  g->n = (n + g->size - 1) / g->size;
  g->order = calloc((size_t)n, sizeof *g->order);
  g->t = calloc((size_t)g->n, sizeof *g->t);
  bool ok = (g->order && g->t) || err_set(e, ERR_FIT, "out of memory for %d photographs", n);
  for (int i = 0; ok && i < n; i++) g->order[i] = i;
  if (ok) qsort_r(g->order, (size_t)n, sizeof *g->order, by_hash, j->d);
  for (int i = 0; ok && i < g->n; i++) {
    int first = i * g->size;
    ok = trajectory_init(g->t + i, j, g->order + first, n - first < g->size ? n - first : g->size, e);
  }
  if (!ok) groups_release(g);
  return ok;
}

/* Latents of a photograph at k. */
static bool groups_read(const struct groups *g, int photograph, int k, float *out, struct err *e) {
  int at = 0;
  while (g->order[at] != photograph) at++;
  return trajectory_read(g->t + at / g->size, at % g->size, k, out, e);
}

/* Lowest k whose level is t or above. */
static int next_visited(const struct pdm_job *j, int t) {
  int k = 0;
  while (trajectory_level(j, k) < t) k++;
  return k;
}

/* --- one Q ------------------------------------------------------------------------------------------------------------------------ */

enum { MOST_AT_ONCE = 8 };

struct q_run {
  const struct pdm_job *j;
  const struct groups *g;
  struct pdm_targets *t;
  struct latent_size size;
  int batch;          /* pairs at once */
  float *latents, *q; /* [batch][h, w, c]; [batch][tokens, channels] */
  uint16_t *rows;     /* [PAIRS_A_FILE][tokens, channels] */
  const char *key;
  int64_t done, total;
};

/* A small picture alone leaves most of a machine idle. A pair's batch is set by its place in the list, so that its Q* does not depend on
   where a run was stopped. */
static int pairs_at_once(const struct latent_size *s) {
  int n = 4096 / (s->h * s->w);
  return n < 1 ? 1 : n > MOST_AT_ONCE ? MOST_AT_ONCE : n;
}

static struct tensor predict(struct ctx *c, const struct pdm_job *j, const struct tensor *x, const struct tensor *text, const float *t,
                             struct unet_tap *tap) {
  struct unet_options plain = {0};
  struct tensor own = tensor_slice(*text, 0, x->dim[0]);
  return unet_forward(c, j->m->unet, x, t, &own, tap, &plain, NULL);
}

/* The first n pictures of x lie at level[] and go down to t[], each by one DDIM step. */
static void step_between(struct ctx *c, const struct pdm_job *j, const struct tensor *x, const struct tensor *text, const float *level,
                         const float *t, int n) {
  struct unet_tap none = {.handle = -1};
  struct tensor part = tensor_slice(*x, 0, n);
  struct tensor out = predict(c, j, &part, text, level, &none);
  for (int i = 0; i < n && !c->failed; i++) {
    struct tensor one = tensor_slice(part, i, 1), prediction = tensor_slice(out, i, 1);
    ddim_move(c, &j->m->schedule, &one, &prediction, (int)level[i], (int)t[i]);
  }
  ctx_free(c, &out);
}

/* Q of n pairs to r->q; place[i]: where pair i stands there. Those between two visited levels come first. */
static bool some_q(struct ctx *c, struct q_run *r, const struct tensor *text, const struct draw_pair *pair, int n, int *place) {
  const struct pdm_job *j = r->j;
  float level[MOST_AT_ONCE], t[MOST_AT_ONCE];
  int between = 0, last = n;
  for (int i = 0; i < n; i++) {
    int k = next_visited(j, pair[i].t), at = trajectory_level(j, k);
    place[i] = at != pair[i].t || planning(c) ? between++ : --last;
    level[place[i]] = (float)at;
    t[place[i]] = (float)pair[i].t;
    if (!planning(c) && !groups_read(r->g, pair[i].photograph, k, r->latents + place[i] * r->size.count, c->err)) c->failed = true;
  }
  struct tensor x = ctx_upload(c, DT_F32, 4, (int64_t[]){n, r->size.h, r->size.w, r->size.channels}, r->latents);
  if (!c->failed && between > 0) step_between(c, j, &x, text, level, t, between);
  struct unet_tap tap = {.handle = j->handle, .stop = true};
  struct tensor none = predict(c, j, &x, text, t, &tap);
  if (!c->failed) ctx_download(c, r->q, &tap.q);
  ctx_free(c, &tap.q);
  ctx_free(c, &none);
  ctx_free(c, &x);
  return ctx_ok(c);
}

/* --- files of rows ------------------------------------------------------------------------------------------------------------------ */

static void rows_path(const struct pdm_job *j, int file, const char *end, char *out, size_t n) {
  snprintf(out, n, "%s/qstar/rows-%04d%s.safetensors", j->state_dir, file, end);
}

static void pair_name(const struct draw_pair *p, char out[48]) {
  snprintf(out, 48, "p%d.t%d", p->photograph, p->t);
}

/* Opens file number i; NULL where it is missing or belongs to other settings: it is computed again then. */
static struct st_file *open_file(const struct pdm_job *j, int i, const char *end, const char *key) {
  char path[4200];
  struct err ignored = {0};
  rows_path(j, i, end, path, sizeof path);
  struct st_file *f = access(path, R_OK) == 0 ? st_open_path(path, &ignored) : NULL;
  const char *had = f ? st_metadata(f, "key") : NULL;
  if (had && strcmp(had, key) == 0) return f;
  st_close(f);
  return NULL;
}

static bool open_rows(struct pdm_targets *t, const struct pdm_job *j, int i, const char *key) {
  return (t->file[i] = open_file(j, i, "", key)) != NULL;
}

/* Keeps the rows inside the mask, rounded to half precision. q [tokens, channels]. */
static void keep_rows(const struct q_run *r, int photograph, const float *q, uint16_t *out) {
  const float *mask = r->t->mask[photograph];
  for (int i = 0; i < r->t->tokens; i++) {
    if (mask && mask[i] == 0) continue;
    for (int c = 0; c < r->t->channels; c++) *out++ = f32_to_f16(q[(int64_t)i * r->t->channels + c]);
  }
}

/* The rows of a pair that a stopped run had; NULL: none. */
static const struct st_tensor *kept_rows(const struct q_run *r, const struct st_file *part, const struct draw_pair *p) {
  char name[48];
  pair_name(p, name);
  const struct st_tensor *z = part ? st_find(part, name) : NULL;
  bool good = z && z->type == DT_F16 && z->rank == 2 && z->dim[0] == r->t->rows[p->photograph] && z->dim[1] == r->t->channels;
  return good ? z : NULL;
}

/* Rows of n pairs to out [n][tokens, channels]: those that were kept, or computed. False on failure, or when asked to stop before
   computing. */
static bool rows_of(struct ctx *c, struct q_run *r, const struct tensor *text, const struct st_file *part, const struct draw_pair *pair,
                    int n, uint16_t *out) {
  int64_t whole = (int64_t)r->t->tokens * r->t->channels;
  int place[MOST_AT_ONCE], kept = 0;
  for (; kept < n; kept++) {
    const struct st_tensor *z = kept_rows(r, part, pair + kept);
    if (z)
      memcpy(out + kept * whole, z->data, z->bytes);
    else if (r->t->rows[pair[kept].photograph] > 0)
      break;
  }
  if (kept == n) return true;
  if (!tell_goes_on(r->j->sink, c->err) || !some_q(c, r, text, pair, n, place)) return false;
  for (int i = 0; i < n; i++) keep_rows(r, pair[i].photograph, r->q + place[i] * whole, out + i * whole);
  return true;
}

static bool save_rows(const struct q_run *r, int file, const char *end, const struct st_entry *z, int n, struct err *e) {
  char path[4200];
  rows_path(r->j, file, end, path, sizeof path);
  return st_write(path, z, n, &(struct st_pair){"key", r->key}, 1, e);
}

/* Names the rows of n pairs for a file; those without rows are left out. Returns how many. */
static int name_rows(const struct q_run *r, const struct draw_pair *pair, int n, struct st_entry *z, char (*name)[48]) {
  int64_t whole = (int64_t)r->t->tokens * r->t->channels;
  int named = 0;
  for (int i = 0; i < n; i++) {
    int64_t rows = r->t->rows[pair[i].photograph];
    if (rows == 0) continue;
    pair_name(pair + i, name[named]);
    z[named] = (struct st_entry){
        .name = name[named], .type = DT_F16, .data_type = DT_F16, .rank = 2, .data = r->rows + i * whole, .dim = {rows, r->t->channels}};
    named++;
  }
  return named;
}

/* A whole file, waiting for room where there is none. */
static bool save_file(const struct q_run *r, int file, const struct st_entry *z, int n, struct err *e) {
  char path[4200];
  int64_t bytes = 65536;
  bool ok;
  rows_path(r->j, file, "", path, sizeof path);
  for (int i = 0; i < n; i++) bytes += z[i].dim[0] * z[i].dim[1] * (int64_t)sizeof(uint16_t);
  if (!room_for(r->j->room, path, bytes, e)) return false;
  do ok = save_rows(r, file, "", z, n, e);
  while (!ok && room_again(r->j->room, path, e));
  return ok;
}

/* One file of rows. Stopped on the way, what there is goes into a file of its own that the next call takes over. */
static bool write_rows(struct ctx *c, struct q_run *r, const struct tensor *text, int file) {
  struct st_entry z[PAIRS_A_FILE];
  char name[PAIRS_A_FILE][48], path[4200];
  struct st_file *part = open_file(r->j, file, ".part", r->key);
  const struct draw_pair *pair = r->t->pair + file * PAIRS_A_FILE;
  int64_t whole = (int64_t)r->t->tokens * r->t->channels;
  int n = r->t->pairs - file * PAIRS_A_FILE, done = 0;
  if (n > PAIRS_A_FILE) n = PAIRS_A_FILE;
  while (done < n) {
    int some = n - done < r->batch ? n - done : r->batch;
    if (!rows_of(c, r, text, part, pair + done, some, r->rows + done * whole)) break;
    done += some;
    r->done += some;
    tell_progress(r->j->sink, "pdm targets", r->done, r->total);
  }
  struct err ignored = {0}; /* the reason for stopping is what counts */
  bool ok = done == n;
  int named = name_rows(r, pair, done, z, name);
  if (ok)
    ok = save_file(r, file, z, named, c->err);
  else
    save_rows(r, file, ".part", z, named, &ignored);
  st_close(part);
  rows_path(r->j, file, ".part", path, sizeof path);
  if (ok) unlink(path);
  return ok;
}

static bool compute_rows(struct ctx *c, void *user) {
  struct q_run *r = user;
  struct tensor text = class_text(c, r->j, r->batch);
  bool ok = true;
  if (planning(c)) {
    struct draw_pair any[MOST_AT_ONCE] = {{0}};
    int place[MOST_AT_ONCE];
    ok = some_q(c, r, &text, any, r->batch, place);
  } else
    for (int i = 0; ok && i < r->t->files; i++) {
      if (r->t->file[i]) continue; /* kept by an earlier run */
      ok = write_rows(c, r, &text, i);
      ok = ok && (open_rows(r->t, r->j, i, r->key) ||
                  err_set(c->err, ERR_FAILED, "%s/qstar: cannot read back what was written", r->j->state_dir));
    }
  ctx_free(c, &text);
  return ctx_ok(c) && ok;
}

/* --- everything ----------------------------------------------------------------------------------------------------------------------- */

/* What the rows depend on. */
static void rows_key(const struct pdm_targets *t, const struct groups *g, char out[65]) {
  struct sha256 s;
  sha256_begin(&s);
  for (int i = 0; i < g->n; i++) sha256_add(&s, g->t[i].key, 64);
  sha256_add(&s, g->order, (size_t)t->photographs * sizeof *g->order);
  sha256_add(&s, g->j->layer, strlen(g->j->layer) + 1);
  sha256_add(&s, t->pair, (size_t)t->pairs * sizeof *t->pair);
  for (int i = 0; i < t->photographs; i++)
    if (t->mask[i]) sha256_add(&s, t->mask[i], (size_t)t->tokens * sizeof **t->mask);
  sha256_end(&s, out);
}

static bool make_masks(struct pdm_targets *t, const struct pdm_job *j, int gw, int gh, struct err *e) {
  for (int i = 0; i < t->photographs; i++) {
    const struct photograph *p = j->d->photograph + i;
    int x, y;
    t->rows[i] = t->tokens;
    if (!j->masked) continue;
    t->mask[i] = calloc((size_t)t->tokens, sizeof **t->mask);
    if (!t->mask[i]) return err_set(e, ERR_FIT, "out of memory for the mask of %s", p->name);
    photograph_center(j->d, p, &x, &y);
    t->rows[i] = photograph_mask(j->d, p, x, y, false, gw, gh, t->mask[i]);
    if (t->rows[i] < 0) return err_set(e, ERR_FIT, "out of memory for the mask of %s", p->name);
    if (t->rows[i] == 0) tell(j->sink, LOG_WARN, "%s: the mask is empty in the centre crop, its PDM loss will be 0", p->name);
  }
  return true;
}

static struct pdm_targets *targets_new(const struct pdm_job *j, struct err *e) {
  struct latent_size s = latent_size_of(j->m, j->d->width, j->d->height);
  int gw, gh;
  unet_pdm_grid(j->m->unet, j->handle, s.h, s.w, &gh, &gw);
  struct pdm_targets *t = calloc(1, sizeof *t);
  if (t) {
    *t = (struct pdm_targets){.tokens = gw * gh,
                              .channels = (int)unet_pdm_channels(j->m->unet, j->handle),
                              .pairs = j->pairs,
                              .files = (j->pairs + PAIRS_A_FILE - 1) / PAIRS_A_FILE,
                              .photographs = j->d->photographs};
    t->pair = calloc((size_t)j->pairs + 1, sizeof *t->pair);
    t->mask = calloc((size_t)t->photographs, sizeof *t->mask);
    t->rows = calloc((size_t)t->photographs, sizeof *t->rows);
    t->file = calloc((size_t)t->files + 1, sizeof *t->file);
  }
  bool ok = (t && t->pair && t->mask && t->rows && t->file) || err_set(e, ERR_FIT, "out of memory for the PDM targets");
  if (ok && j->pairs > 0) memcpy(t->pair, j->pair, (size_t)j->pairs * sizeof *t->pair);
  if (ok && make_masks(t, j, gw, gh, e)) return t;
  pdm_close(t);
  return NULL;
}

void pdm_close(struct pdm_targets *t) {
  if (!t) return;
  for (int i = 0; t->mask && i < t->photographs; i++) free(t->mask[i]);
  for (int i = 0; t->file && i < t->files; i++) st_close(t->file[i]);
  free(t->mask);
  free(t->rows);
  free(t->pair);
  free(t->file);
  free(t);
}

/* How many of the files of rows are there; opens those. */
static int open_all(struct pdm_targets *t, const struct pdm_job *j, const char *key) {
  int n = 0;
  for (int i = 0; i < t->files; i++) n += t->file[i] != NULL || open_rows(t, j, i, key);
  return n;
}

static bool make_trajectories(const struct groups *g, int64_t total, struct err *e) {
  const struct pdm_job *j = g->j;
  if (j->steps < j->m->schedule.steps - 1)
    tell(j->sink, LOG_WARN, "PDM targets with %d of %d inversion steps: faster, an approximation", j->steps, j->m->schedule.steps - 1);
  for (int i = 0; i < g->n; i++) {
    bool kept = trajectory_complete(g->t + i);
    tell(j->sink, LOG_INFO,
         kept ? "PDM targets: the inversion of %d photographs is found in %s" : "PDM targets: inverting %d photographs into %s", g->t[i].n,
         g->t[i].dir);
    if (!trajectory_make(g->t + i, i * 2 * (int64_t)j->steps, total, e)) return false;
  }
  return true;
}

static bool make_rows(struct q_run *r, int kept, struct err *e) {
  char dir[4200];
  size_t whole = (size_t)r->t->tokens * (size_t)r->t->channels;
  snprintf(dir, sizeof dir, "%s/qstar", r->j->state_dir);
  r->batch = pairs_at_once(&r->size);
  r->latents = calloc((size_t)(r->size.count * r->batch), sizeof *r->latents);
  r->q = calloc(whole * (size_t)r->batch, sizeof *r->q);
  r->rows = calloc(whole * PAIRS_A_FILE, sizeof *r->rows);
  r->done = r->total - r->t->pairs + (int64_t)kept * PAIRS_A_FILE;
  bool ok = (r->latents && r->q && r->rows) || err_set(e, ERR_FIT, "out of memory for the PDM targets");
  ok = ok && room_dirs(r->j->room, dir, e) && workspace_run(&r->j->m->work, r->j->m->b, r->j->act, compute_rows, r, NULL, e);
  free(r->latents);
  free(r->q);
  free(r->rows);
  return ok;
}

struct pdm_targets *pdm_make(const struct pdm_job *j, struct err *e) {
  struct groups g;
  char key[65];
  struct pdm_targets *t = targets_new(j, e);
  if (!t || !groups_init(&g, j, e)) {
    pdm_close(t);
    return NULL;
  }
  rows_key(t, &g, key);
  int kept = open_all(t, j, key);
  bool ok = kept == t->files;
  if (!ok) {
    int64_t total = g.n * 2 * (int64_t)j->steps + t->pairs;
    struct q_run r = {.j = j, .g = &g, .t = t, .size = latent_size_of(j->m, j->d->width, j->d->height), .key = key, .total = total};
    ok = make_trajectories(&g, total, e) && make_rows(&r, kept, e);
  }
  groups_release(&g);
  if (ok) return t;
  pdm_close(t);
  return NULL;
}

/* Bytes of the rows of pairs first .. pairs - 1. */
static int64_t rows_bytes(const struct pdm_targets *t, int first) {
  int64_t bytes = 0;
  for (int i = first; i < t->pairs; i++)
    bytes += (int64_t)t->rows[t->pair[i].photograph] * t->channels * (int64_t)sizeof(uint16_t) + PAIR_HEADER;
  return bytes;
}

bool pdm_work(const struct pdm_job *j, struct pdm_work *w, struct err *e) {
  struct groups g;
  char key[65];
  *w = (struct pdm_work){0};
  struct pdm_targets *t = targets_new(j, e);
  if (!t || !groups_init(&g, j, e)) {
    pdm_close(t);
    return false;
  }
  rows_key(t, &g, key);
  int kept = open_all(t, j, key) * PAIRS_A_FILE;
  w->passes = kept < t->pairs ? t->pairs - kept : 0;
  w->state_bytes = w->passes > 0 ? rows_bytes(t, kept) : 0;
  for (int i = 0; i < g.n && w->passes > 0; i++) {
    int64_t missing = trajectory_missing(g.t + i);
    w->levels += missing;
    w->pictures += missing * g.t[i].n;
    if (missing > 0) w->cache_bytes += trajectory_disk(j, g.t[i].n);
  }
  groups_release(&g);
  pdm_close(t);
  return true;
}

bool pdm_plan_rows(struct ctx *c, const struct pdm_job *j) {
  struct latent_size s = latent_size_of(j->m, j->d->width, j->d->height);
  struct q_run r = {.j = j, .size = s, .batch = pairs_at_once(&s)};
  int64_t whole = pdm_row_count(j) * unet_pdm_channels(j->m->unet, j->handle);
  r.latents = calloc((size_t)(s.count * r.batch), sizeof *r.latents);
  r.q = calloc((size_t)(whole * r.batch), sizeof *r.q);
  bool ok = (r.latents && r.q) || err_set(c->err, ERR_FIT, "out of memory for the PDM targets");
  ok = ok && compute_rows(c, &r);
  free(r.latents);
  free(r.q);
  return ok;
}

int pdm_at_once(const struct pdm_job *j) {
  struct latent_size s = latent_size_of(j->m, j->d->width, j->d->height);
  return pairs_at_once(&s);
}

int64_t pdm_row_count(const struct pdm_job *j) {
  struct latent_size s = latent_size_of(j->m, j->d->width, j->d->height);
  int gw, gh;
  unet_pdm_grid(j->m->unet, j->handle, s.h, s.w, &gh, &gw);
  return (int64_t)gw * gh;
}

int64_t pdm_buffers(const struct pdm_job *j) {
  struct latent_size s = latent_size_of(j->m, j->d->width, j->d->height);
  int64_t whole = pdm_row_count(j) * unet_pdm_channels(j->m->unet, j->handle);
  int together = j->pairs < PAIRS_A_FILE ? j->pairs : PAIRS_A_FILE;
  return whole * (pairs_at_once(&s) * (int64_t)sizeof(float) + together * (int64_t)sizeof(uint16_t)) +
         s.count * pairs_at_once(&s) * (int64_t)sizeof(float);
}

int64_t pdm_inversion_buffers(const struct pdm_job *j, int n) {
  return trajectory_buffers(j, n);
}

bool pdm_plan_inversion(struct ctx *c, const struct pdm_job *j, int n) {
  return trajectory_plan(c, j, n);
}

/* --- reading ---------------------------------------------------------------------------------------------------------------------------- */

int pdm_tokens(const struct pdm_targets *t) {
  return t->tokens;
}

int pdm_channels(const struct pdm_targets *t) {
  return t->channels;
}

const float *pdm_mask(const struct pdm_targets *t, int photograph) {
  return t->mask[photograph];
}

static int find_pair(const struct pdm_targets *t, int photograph, int timestep) {
  int low = 0, high = t->pairs;
  while (low < high) {
    int middle = (low + high) / 2;
    const struct draw_pair *p = t->pair + middle;
    if (p->photograph < photograph || (p->photograph == photograph && p->t < timestep))
      low = middle + 1;
    else
      high = middle;
  }
  return low < t->pairs && t->pair[low].photograph == photograph && t->pair[low].t == timestep ? low : -1;
}

bool pdm_read(const struct pdm_targets *t, int photograph, int timestep, float *out) {
  int i = find_pair(t, photograph, timestep);
  if (i < 0) return false;
  memset(out, 0, (size_t)t->tokens * (size_t)t->channels * sizeof *out);
  if (t->rows[photograph] == 0) return true;
  char name[48];
  pair_name(t->pair + i, name);
  const struct st_tensor *z = st_find(t->file[i / PAIRS_A_FILE], name);
  if (!z || z->rank != 2 || z->dim[0] != t->rows[photograph] || z->dim[1] != t->channels) return false;
  int64_t row = 0;
  bool ok = true;
  for (int k = 0; ok && k < t->tokens; k++) {
    if (t->mask[photograph] && t->mask[photograph][k] == 0) continue;
    ok = st_floats(z, row++ * t->channels, t->channels, out + (int64_t)k * t->channels);
  }
  st_forget(t->file[i / PAIRS_A_FILE]); /* or the pages of all pairs would gather in memory */
  return ok;
}
