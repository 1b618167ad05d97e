/* Class images on disk and their making (prior.h); method.md section 7: by default PNDM, 50 steps, guidance 7.5. */
#include "train/prior.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/fs.h"
#include "train/picture.h"
#include "train/room.h"
#include "train/tell.h"

enum { PATH = 4096 };

/* --- the directory ---------------------------------------------------------------------------------------------------------- */

/* Everything that the pictures of the default directory depend on. */
static void hash_job(const struct model *m, enum dtype act, const struct settings *s, char out[65]) {
  char text[512];
  struct sha256 h;
  sha256_begin(&h);
  sha256_add(&h, m->hash, strlen(m->hash));
  sha256_add(&h, s->prompts.class_prompt, strlen(s->prompts.class_prompt) + 1);
  sha256_add(&h, s->prompts.negative, strlen(s->prompts.negative) + 1);
  int n = snprintf(text, sizeof text, "%s %d %.17g %d %d %s %s %d %.17g %.17g", sampler_names[s->prior.sampler], s->prior.steps,
                   s->prior.guidance, s->train.width, s->train.height, dtype_name(act), m->schedule.spacing, (int)m->schedule.prediction,
                   m->schedule.abar[0], m->schedule.abar[m->schedule.steps - 1]);
  sha256_add(&h, text, (size_t)n);
  sha256_end(&h, out);
}

bool prior_dir(const struct model *m, enum dtype act, const struct settings *s, char *out, size_t size, struct err *e) {
  char name[64], hash[65];
  const char *base = s->engine.cache_dir[0] != '\0' ? s->engine.cache_dir : s->run_dir;
  const char *given = s->prior.dir;
  int n;
  snprintf(name, sizeof name, "%.40s", s->subject.class_name);
  for (char *p = name; *p != '\0'; p++)
    if (!isalnum((unsigned char)*p)) *p = '-';
  hash_job(m, act, s, hash);
  if (given[0] != '\0')
    n = snprintf(out, size, "%s", given);
  else
    n = snprintf(out, size, "%s/class/%s-%.16s", base, name, hash);
  return n < (int)size || err_set(e, ERR_USAGE, "%s: the path of the class images is too long", given[0] != '\0' ? given : base);
}

static bool is_picture(const char *name) {
  static const char *const end[] = {".png", ".jpg", ".jpeg", ".webp"};
  const char *dot = strrchr(name, '.');
  for (size_t i = 0; dot != NULL && name[0] != '.' && i < sizeof end / sizeof *end; i++)
    if (strcasecmp(dot, end[i]) == 0) return true;
  return false;
}

static void picture_name(int index, char *out, size_t n) {
  snprintf(out, n, "class-%06d-seed%d.png", index, index);
}

/* Index of a picture that this program made; -1: somebody else's. */
static int own_index(const char *name) {
  int index = -1;
  char again[64];
  if (sscanf(name, "class-%d-", &index) != 1 || index < 0) return -1;
  picture_name(index, again, sizeof again);
  return strcmp(name, again) == 0 ? index : -1;
}

static int picture_entry(const struct dirent *entry) {
  return is_picture(entry->d_name);
}

static int by_name(const struct dirent **a, const struct dirent **b) {
  return strcmp((*a)->d_name, (*b)->d_name);
}

struct listing {
  struct dirent **entry; /* [n] pictures by name */
  int n, foreign;        /* of these, not made here */
};

/* A directory that does not exist is an empty one. */
static bool list(const char *dir, struct listing *l, struct err *e) {
  *l = (struct listing){.entry = NULL};
  l->n = scandir(dir, &l->entry, picture_entry, by_name);
  if (l->n < 0) {
    l->n = 0;
    l->entry = NULL;
    return errno == ENOENT || err_set_errno(e, ERR_INPUT, "%s: cannot read the directory of class images", dir);
  }
  for (int i = 0; i < l->n; i++) l->foreign += own_index(l->entry[i]->d_name) < 0;
  return true;
}

static void listing_release(struct listing *l) {
  for (int i = 0; i < l->n; i++) free(l->entry[i]);
  free(l->entry);
}

/* Pictures to be there that are made here: indices 0 .. result - 1. */
static int own_wanted(const struct listing *l, int images) {
  return images > l->foreign ? images - l->foreign : 0;
}

/* have[i]: the own picture i is there. Returns how many are missing. */
static int mark_present(const struct listing *l, bool *have, int wanted) {
  int missing = wanted;
  for (int i = 0; i < l->n; i++) {
    int index = own_index(l->entry[i]->d_name);
    if (index >= 0 && index < wanted && !have[index]) {
      have[index] = true;
      missing--;
    }
  }
  return missing;
}

int prior_missing(const struct model *m, enum dtype act, const struct settings *s, struct err *e) {
  char dir[PATH];
  struct listing l;
  if (!prior_dir(m, act, s, dir, sizeof dir, e) || !list(dir, &l, e)) return -1;
  int wanted = own_wanted(&l, s->prior.images), missing = -1;
  bool *have = calloc((size_t)wanted + 1, sizeof *have);
  if (have != NULL)
    missing = mark_present(&l, have, wanted);
  else
    err_set(e, ERR_FIT, "out of memory");
  free(have);
  listing_release(&l);
  return missing;
}

/* --- making ------------------------------------------------------------------------------------------------------------------ */

struct making {
  struct model *m;
  enum dtype act;
  const struct settings *s;
  const struct sink *sink;
  const char *dir;
  struct latent_size size;
  struct room room;
  int wanted, missing, done;
  bool *have; /* [wanted], owned */
  /* one batch */
  struct image *picture;
  float *latents, *nchw; /* [batch, h, w, c]; [c, h, w] of one */
  uint64_t *seed;
  const char **prompt;
};

static void transpose(const float *in, int rows, int columns, float *out) {
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < columns; c++) out[c * rows + r] = in[r * columns + c];
}

static void latents_path(const char *dir, const char *picture, char *out, size_t n) {
  const char *dot = strrchr(picture, '.');
  snprintf(out, n, "%s/.latents/%.*s.safetensors", dir, (int)(dot - picture), picture);
}

static bool write_latents(const struct making *k, int index, const float *latents, struct err *e) {
  char name[64], path[PATH], seed[32];
  int area = k->size.h * k->size.w;
  picture_name(index, name, sizeof name);
  latents_path(k->dir, name, path, sizeof path);
  snprintf(seed, sizeof seed, "%d", index);
  transpose(latents, area, k->size.channels, k->nchw);
  struct st_entry t = {
      .name = "latents", .type = DT_F32, .data_type = DT_F32, .data = k->nchw, .rank = 3, .dim = {k->size.channels, k->size.h, k->size.w}};
  struct st_pair meta[] = {{"model", k->m->hash}, {"prompt", k->s->prompts.class_prompt}, {"seed", seed}};
  return st_write(path, &t, 1, meta, 3, e);
}

static bool write_picture(const struct making *k, int index, const struct image *im, struct err *e) {
  char name[64], path[PATH], seed[32], steps[32], guidance[32];
  const struct settings *s = k->s;
  picture_name(index, name, sizeof name);
  if (snprintf(path, sizeof path, "%s/%s", k->dir, name) >= (int)sizeof path)
    return err_set(e, ERR_USAGE, "%s: the path is too long", k->dir);
  snprintf(seed, sizeof seed, "%d", index);
  snprintf(steps, sizeof steps, "%d", s->prior.steps);
  snprintf(guidance, sizeof guidance, "%g", s->prior.guidance);
  struct png_text text[] = {{"prompt", s->prompts.class_prompt},
                            {"negative", s->prompts.negative},
                            {"seed", seed},
                            {"sampler", sampler_names[s->prior.sampler]},
                            {"steps", steps},
                            {"guidance", guidance}};
  return image_write_png(path, im, text, (int)(sizeof text / sizeof *text), e);
}

/* Latents first: a picture that is there has them. */
static bool put(struct making *k, int index, const float *latents, const struct image *im, struct err *e) {
  int64_t bytes = k->size.count * (int64_t)sizeof *latents + (int64_t)im->w * im->h * 3;
  bool ok;
  if (!room_for(&k->room, k->dir, bytes, e)) return false;
  do ok = write_latents(k, index, latents, e) && write_picture(k, index, im, e);
  while (!ok && room_again(&k->room, k->dir, e));
  return ok;
}

static bool keep(struct making *k, int first, int n, struct err *e) {
  bool ok = true;
  for (int i = 0; ok && i < n; i++) {
    if (k->have[first + i]) continue;
    ok = put(k, first + i, k->latents + i * k->size.count, &k->picture[i], e);
    if (ok) tell_progress(k->sink, "class images", ++k->done, k->missing);
  }
  for (int i = 0; i < n; i++) image_release(&k->picture[i]);
  return ok;
}

static bool make_batch(struct making *k, int first, int n, struct err *e) {
  const struct settings *s = k->s;
  struct picture_job j = {.sampler = (enum sampler_kind)s->prior.sampler,
                          .steps = s->prior.steps,
                          .guidance = s->prior.guidance,
                          .negative = s->prompts.negative,
                          .width = s->train.width,
                          .height = s->train.height};
  bool complete = true;
  for (int i = 0; i < n; i++) {
    k->seed[i] = (uint64_t)(first + i);
    k->prompt[i] = s->prompts.class_prompt;
    complete = complete && k->have[first + i];
  }
  if (complete) return true;
  return pictures_make(k->m, k->act, &j, k->prompt, k->seed, n, NULL, k->picture, k->latents, tell_stop_code, (void *)k->sink, e) &&
         keep(k, first, n, e);
}

static bool make_all(struct making *k, struct err *e) {
  int batch = k->s->prior.batch > 0 ? k->s->prior.batch : 1;
  size_t n = (size_t)batch, count = (size_t)k->size.count;
  bool ok = false;
  k->picture = calloc(n, sizeof *k->picture);
  k->latents = malloc(n * count * sizeof *k->latents);
  k->nchw = malloc(count * sizeof *k->nchw);
  k->seed = malloc(n * sizeof *k->seed);
  k->prompt = malloc(n * sizeof *k->prompt);
  if (k->picture == NULL || k->latents == NULL || k->nchw == NULL || k->seed == NULL || k->prompt == NULL) {
    err_set(e, ERR_FIT, "out of memory for %d class images at once: lower batch in [prior]", batch);
  } else {
    ok = tell_goes_on(k->sink, e);
    for (int i = 0; ok && i < k->wanted; i += batch) ok = make_batch(k, i, k->wanted - i < batch ? k->wanted - i : batch, e);
  }
  free(k->prompt);
  free(k->seed);
  free(k->nchw);
  free(k->latents);
  free(k->picture);
  return ok;
}

/* A directory that the user named may hold pictures of another prompt: they are used, as the reference does, but not silently. */
static void warn_of_other_prompt(const struct making *k) {
  char path[PATH + 64], name[64], prompt[1024];
  for (int i = 0; i < k->wanted; i++) {
    picture_name(i, name, sizeof name);
    snprintf(path, sizeof path, "%s/%s", k->dir, name);
    if (k->have[i] && image_png_text(path, "prompt", prompt, sizeof prompt) && strcmp(prompt, k->s->prompts.class_prompt) != 0) {
      tell(k->sink, LOG_WARN, "%s was made for \"%s\", the class prompt is now \"%s\": it is used as it is", path, prompt,
           k->s->prompts.class_prompt);
      return;
    }
  }
}

/* What is there: wanted, have, missing. */
static bool survey(struct making *k, struct err *e) {
  struct listing l;
  if (!list(k->dir, &l, e)) return false;
  free(k->have);
  k->wanted = own_wanted(&l, k->s->prior.images);
  k->have = calloc((size_t)k->wanted + 1, sizeof *k->have);
  if (k->have != NULL) k->missing = mark_present(&l, k->have, k->wanted);
  listing_release(&l);
  return k->have != NULL || err_set(e, ERR_FIT, "out of memory");
}

/* With the lock held: what a killed process left half-written goes, what another has made meanwhile counts. */
static bool make_locked(struct making *k, const char *latents, struct err *e) {
  fs_tidy(k->dir, "class-");
  fs_tidy(latents, "class-");
  if (!survey(k, e)) return false;
  if (k->missing == 0) return true;
  tell(k->sink, LOG_INFO, "making %d class images of \"%s\" in %s", k->missing, k->s->prompts.class_prompt, k->dir);
  tell_progress(k->sink, "class images", 0, k->missing);
  return make_all(k, e);
}

static bool make_missing(struct making *k, struct err *e) {
  char latents[PATH], path[PATH];
  struct lock lock = {-1};
  bool ok = survey(k, e);
  if (ok) warn_of_other_prompt(k);
  if (ok && k->missing > 0) {
    snprintf(latents, sizeof latents, "%.3072s/.latents", k->dir);
    snprintf(path, sizeof path, "%.3072s/.latents/lock", k->dir);
    ok = room_dirs(&k->room, latents, e) && room_lock(&k->room, &lock, path, "class images", e) && make_locked(k, latents, e);
    lock_release(&lock);
  }
  free(k->have);
  return ok;
}

/* --- what training gets ------------------------------------------------------------------------------------------------------- */

/* Kept latents count only where they are of this model and size. */
static bool latents_fit(const struct prior *p, const char *path, const char *hash) {
  struct blob b;
  if (!blob_map(path, &b, NULL)) /* asked first, since absence is no error here */
    return false;
  blob_close(&b);
  struct st_file *f = st_open_path(path, NULL);
  const struct st_tensor *t = f != NULL ? st_find(f, "latents") : NULL;
  const char *model = f != NULL ? st_metadata(f, "model") : NULL;
  bool fits = t != NULL && model != NULL && strcmp(model, hash) == 0 && t->rank == 3 && t->dim[0] == p->size.channels &&
              t->dim[1] == p->size.h && t->dim[2] == p->size.w;
  st_close(f);
  return fits;
}

static bool add(struct prior *p, const char *name, const char *hash) {
  char path[PATH];
  if (snprintf(path, sizeof path, "%s/%s", p->dir, name) >= (int)sizeof path) return false;
  p->path[p->n] = strdup(path);
  latents_path(p->dir, name, path, sizeof path);
  if (own_index(name) >= 0 && latents_fit(p, path, hash)) p->latents[p->n] = strdup(path);
  return p->path[p->n++] != NULL;
}

static bool collect(struct prior *p, const struct model *m, int images, struct err *e) {
  struct listing l;
  if (!list(p->dir, &l, e)) return false;
  int wanted = own_wanted(&l, images);
  bool ok = true;
  for (int i = 0; ok && i < l.n && p->n < images; i++)
    if (own_index(l.entry[i]->d_name) < wanted) /* -1 for pictures of others */
      ok = add(p, l.entry[i]->d_name, m->hash);
  listing_release(&l);
  if (ok && p->n < images) return err_set(e, ERR_INPUT, "%s: class images vanished while this program ran", p->dir);
  return ok || err_set(e, ERR_FIT, "out of memory for the list of class images");
}

struct prior *prior_make(struct model *m, enum dtype act, const struct settings *s, const struct sink *sink, struct err *e) {
  struct prior *p = calloc(1, sizeof *p);
  size_t n = (size_t)s->prior.images + 1;
  if (p == NULL || (p->path = calloc(n, sizeof *p->path)) == NULL || (p->latents = calloc(n, sizeof *p->latents)) == NULL) {
    err_set(e, ERR_FIT, "out of memory for the list of class images");
    goto fail;
  }
  p->size = latent_size_of(m, s->train.width, s->train.height);
  if (!prior_dir(m, act, s, p->dir, sizeof p->dir, e)) goto fail;
  struct making k = {.m = m,
                     .act = act,
                     .s = s,
                     .sink = sink,
                     .dir = p->dir,
                     .size = p->size,
                     .room = {.sink = sink, .stop = s->engine.on_full == FULL_STOP}};
  if (make_missing(&k, e) && collect(p, m, s->prior.images, e)) return p;
fail:
  prior_delete(p);
  return NULL;
}

void prior_delete(struct prior *p) {
  if (p == NULL) return;
  for (int i = 0; i < p->n; i++) {
    free(p->path[i]);
    free(p->latents[i]);
    if (p->mask != NULL) free(p->mask[i]);
  }
  free(p->latents);
  free(p->mask);
  free(p->path);
  free(p);
}

static bool read_picture(void *user, int i, struct image *out, struct err *e) {
  const struct prior *p = user;
  return image_read(p->path[i], out, e);
}

static bool read_latents(void *user, int i, float *out, struct err *e) {
  const struct prior *p = user;
  struct st_file *f = st_open_path(p->latents[i], e);
  const struct st_tensor *t = f != NULL ? st_find(f, "latents") : NULL;
  float *nchw = malloc((size_t)p->size.count * sizeof *nchw);
  bool ok = t != NULL && nchw != NULL && st_floats(t, 0, p->size.count, nchw);
  if (ok)
    transpose(nchw, p->size.channels, p->size.h * p->size.w, out);
  else
    err_set(e, ERR_INPUT, "%s: cannot read the latents of a class image: delete the file, and the picture beside it", p->latents[i]);
  free(nchw);
  st_close(f);
  return ok;
}

void prior_pictures(struct prior *p, bool latents, struct class_pictures *out) {
  for (int i = 0; i < p->n; i++) latents = latents && p->latents[i] != NULL;
  *out = (struct class_pictures){.n = p->n, .user = p, .picture = read_picture, .latents = latents ? read_latents : NULL};
}
