/* Masks of class images (prior.h): derived as those of photographs are, but each picture alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train/automask.h"
#include "train/prior.h"
#include "train/segment.h"

enum { PATH = 4200 };

struct masking {
  struct prior *p;
  const struct gaze_job *j;
  struct room *room;
  int whole; /* pictures in which nothing was found */
};

static const char *file_name(const char *path) {
  const char *p = strrchr(path, '/');
  return p ? p + 1 : path;
}

static void mask_path(const struct masking *k, int i, const char *dir, char out[PATH]) {
  const char *name = file_name(k->p->path[i]);
  snprintf(out, PATH, "%.3000s/%s/%.*s.png", k->p->dir, dir, (int)(strrchr(name, '.') - name), name);
}

static bool file_hash(const char *path, char out[65], struct err *e) {
  struct blob b;
  if (!blob_map(path, &b, e)) return false;
  sha256_hex(b.data, b.size, out);
  blob_close(&b);
  return true;
}

/* What the mask of a picture depends on. */
static bool make_key(const struct masking *k, int i, char out[65], struct err *e) {
  struct sha256 s;
  char hash[65];
  if (!file_hash(k->p->path[i], hash, e)) return false;
  gaze_key(k->j, "class mask 1", &s);
  sha256_add(&s, hash, 64);
  sha256_end(&s, out);
  return true;
}

static bool derive(struct masking *k, int i, const char *path, const char *key, struct err *e) {
  struct image rgb = {0};
  struct gaze gaze = {0};
  struct segment_item item = {.rgb = &rgb, .gaze = &gaze};
  struct png_text text = {AUTOMASK_KEY, key};
  bool ok = image_read(k->p->path[i], &rgb, e) && gaze_at(k->j, &rgb, &gaze, e) && segment(&item, 1, e);
  if (ok && (item.share < 0.005 || item.share > 0.97)) {
    memset(item.mask.px, 255, (size_t)item.mask.w * (size_t)item.mask.h);
    k->whole++;
  }
  ok = ok && room_png(k->room, path, &item.mask, &text, 1, e);
  image_release(&item.mask);
  gaze_release(&gaze);
  image_release(&rgb);
  return ok;
}

static bool one_mask(struct masking *k, int i, struct err *e) {
  char path[PATH], key[65], have[128];
  mask_path(k, i, "masks", path);
  if (access(path, R_OK) != 0) {
    mask_path(k, i, ".masks", path);
    if (!make_key(k, i, key, e)) return false;
    bool kept = access(path, R_OK) == 0 && image_png_text(path, AUTOMASK_KEY, have, sizeof have) && strcmp(have, key) == 0;
    if (!kept && (!tell_goes_on(k->j->sink, e) || !derive(k, i, path, key, e))) return false;
  }
  k->p->mask[i] = strdup(path);
  return k->p->mask[i] || err_set(e, ERR_FIT, "out of memory for the masks of the class images");
}

static bool read_mask(void *user, int i, struct image *out, struct err *e) {
  const struct prior *p = user;
  return image_read_mask(p->mask[i], out, e);
}

int prior_masks_missing(const struct model *m, enum dtype act, const struct settings *s, struct err *e) {
  char dir[3072], masks[PATH], name[256];
  struct source there;
  int n = s->prior.images;
  if (!prior_dir(m, act, s, dir, sizeof dir, e)) return -1;
  snprintf(masks, sizeof masks, "%s/.masks", dir);
  source_dir(&there, masks);
  for (int i = 0; n > 0 && source_list(&there, "", i, name, sizeof name); i++) n--;
  return n;
}

bool prior_masks(struct prior *p, const struct gaze_job *j, struct room *room, struct class_pictures *out, int64_t before, struct err *e) {
  struct masking k = {.p = p, .j = j, .room = room};
  char dir[PATH];
  snprintf(dir, sizeof dir, "%.3072s/.masks", p->dir);
  p->mask = calloc((size_t)p->n + 1, sizeof *p->mask);
  if (!p->mask) return err_set(e, ERR_FIT, "out of memory for the masks of the class images");
  if (!room_dirs(room, dir, e)) return false;
  for (int i = 0; i < p->n; i++) {
    if (!one_mask(&k, i, e)) return false;
    tell_progress(j->sink, "masks", before + i + 1, before + p->n);
  }
  if (k.whole > 0) tell(j->sink, LOG_WARN, "in %d of %d class images no mask was found: all of them counts", k.whole, p->n);
  out->mask = read_mask;
  return true;
}
