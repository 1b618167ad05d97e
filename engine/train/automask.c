#include "train/automask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train/mask.h"
#include "train/palette.h"
#include "train/segment.h"

enum { PATH = 4600, SIDE = 1024 };

struct derivation {
  const struct automask_job *j;
  int n;
  struct image *rgb;         /* [n] originals, their long side at most SIDE */
  int (*size)[2];            /* [n] width and height of the originals */
  struct gaze *gaze;         /* [n] */
  struct segment_item *item; /* [n] */
  char (*hash)[65];          /* [n] of the files */
  char key[65];              /* of the photographs in training together */
  int64_t done, total;
};

int automask_missing(const struct dataset *d) {
  int n = 0;
  for (int i = 0; i < d->photographs + d->held_out; i++) n += d->photograph[i].mask.px == NULL;
  return n;
}

/* --- names --------------------------------------------------------------------------------------------------------------------- */

/* Without its ending, unless another photograph has the same name but for the ending. */
static int stem_length(const struct dataset *d, const struct photograph *p) {
  int n = (int)(strrchr(p->name, '.') - p->name);
  for (int i = 0; i < d->photographs + d->held_out; i++) {
    const struct photograph *o = d->photograph + i;
    if (o != p && strncmp(o->name, p->name, (size_t)n + 1) == 0 && !strchr(o->name + n + 1, '.')) return (int)strlen(p->name);
  }
  return n;
}

static void mask_path(const struct automask_job *j, const struct photograph *p, const char *end, char out[PATH]) {
  snprintf(out, PATH, "%s/%.*s%s.png", j->out_dir, stem_length(j->data, p), p->name, end);
}

/* Ours, or not there. */
static bool may_write(const char *path, struct err *e) {
  char value[128];
  if (access(path, F_OK) != 0 || image_png_text(path, AUTOMASK_KEY, value, sizeof value)) return true;
  return err_set(e, ERR_INPUT, "%s: this program did not write that file and leaves it as it is; choose another directory for the masks",
                 path);
}

/* Before anything is computed or written. */
static bool may_write_all(const struct automask_job *j, struct err *e) {
  char path[PATH];
  for (int i = 0; i < j->data->photographs + j->data->held_out; i++) {
    const struct photograph *p = j->data->photograph + i;
    if (p->mask_given && !j->all) continue;
    for (int k = 0; k < 2; k++) {
      mask_path(j, p, k == 0 ? "" : "-overlay", path);
      if (!may_write(path, e)) return false;
    }
  }
  return true;
}

/* --- keys ---------------------------------------------------------------------------------------------------------------------- */

/* What the masks of the photographs in training depend on. */
static void make_key(struct derivation *k) {
  const struct automask_job *j = k->j;
  struct sha256 s;
  gaze_key(&j->gaze, "mask 1", &s);
  for (int i = 0; i < j->data->photographs; i++) {
    const struct photograph *p = j->data->photograph + i;
    sha256_add(&s, k->hash[i], 64);
    if (p->mask_given) sha256_add(&s, p->mask.px, (size_t)p->mask.w * (size_t)p->mask.h);
  }
  sha256_end(&s, k->key);
}

static void key_of(const struct derivation *k, int i, char out[65]) {
  struct sha256 s;
  sha256_begin(&s);
  sha256_add(&s, k->key, 64);
  sha256_add(&s, k->hash[i], 64);
  sha256_add(&s, &i, sizeof i);
  sha256_end(&s, out);
}

/* The mask of an earlier call; false: there is none that fits. */
static bool take_kept(const struct derivation *k, int i) {
  struct photograph *p = k->j->data->photograph + i;
  char path[PATH], want[65], have[128];
  struct err ignored = {0};
  struct image mask = {0};
  mask_path(k->j, p, "", path);
  key_of(k, i, want);
  if (access(path, R_OK) != 0 || !image_png_text(path, AUTOMASK_KEY, have, sizeof have) || strcmp(have, want) != 0) return false;
  bool ok = image_read_mask(path, &mask, &ignored) && photograph_take_mask(p, &mask, path, &ignored);
  if (ok) tell(k->j->gaze.sink, LOG_INFO, "mask of %s: found in %s", p->name, path);
  image_release(&mask);
  return ok;
}

/* --- writing ------------------------------------------------------------------------------------------------------------------- */

static bool on_border(const struct image *mask, int x, int y) {
  bool here = mask->px[(int64_t)y * mask->w + x] > 127;
  for (int k = -1; k <= 1; k += 2) {
    if (x + k >= 0 && x + k < mask->w && (mask->px[(int64_t)y * mask->w + x + k] > 127) != here) return true;
    if (y + k >= 0 && y + k < mask->h && (mask->px[(int64_t)(y + k) * mask->w + x] > 127) != here) return true;
  }
  return false;
}

bool automask_overlay(const struct image *rgb, const struct image *mask, struct image *out, struct err *e) {
  static const unsigned char line[3] = {255, 40, 160};
  struct image m = {0};
  int w = rgb->w, h = rgb->h;
  image_fit(512, &w, &h);
  *out = (struct image){0};
  if (!image_resize(rgb, w, h, FILTER_BILINEAR, out, e) || !image_resize(mask, w, h, FILTER_BILINEAR, &m, e)) {
    image_release(out);
    return false;
  }
  for (int y = 0; y < h; y++)
    for (int x = 0; x < w; x++) {
      unsigned char *px = out->px + ((int64_t)y * w + x) * 3;
      bool in = m.px[(int64_t)y * w + x] > 127, edge = on_border(&m, x, y);
      for (int c = 0; c < 3; c++) px[c] = edge ? line[c] : in ? px[c] : (unsigned char)(px[c] / 3);
    }
  image_release(&m);
  return true;
}

/* In the photograph's own size, 0 and 255. */
static bool full_size(const struct derivation *k, int i, const struct image *mask, struct image *out, struct err *e) {
  if (!image_resize(mask, k->size[i][0], k->size[i][1], FILTER_BILINEAR, out, e)) return false;
  for (int64_t p = 0; p < (int64_t)out->w * out->h; p++) out->px[p] = out->px[p] > 127 ? 255 : 0;
  return true;
}

static bool write_files(const struct derivation *k, int i, const struct image *mask, struct err *e) {
  const struct photograph *p = k->j->data->photograph + i;
  char path[PATH], overlay[PATH], key[65], confidence[32];
  struct image picture = {0}, whole = {0};
  key_of(k, i, key);
  mask_path(k->j, p, "", path);
  mask_path(k->j, p, "-overlay", overlay);
  snprintf(confidence, sizeof confidence, "%.2f", k->item[i].confidence);
  const struct png_text text[] = {{AUTOMASK_KEY, key}, {AUTOMASK_CONFIDENCE, confidence}};
  int n = p->mask_given ? 1 : 2;
  bool ok = automask_overlay(&k->rgb[i], mask, &picture, e) && room_png(k->j->room, overlay, &picture, text, n, e) &&
            full_size(k, i, mask, &whole, e) && room_png(k->j->room, path, &whole, text, n, e);
  image_release(&picture);
  image_release(&whole);
  return ok;
}

static void show(const struct derivation *k, int i, double share, double confidence) {
  const struct sink *sink = k->j->gaze.sink;
  const struct photograph *p = k->j->data->photograph + i;
  char overlay[PATH];
  mask_path(k->j, p, "-overlay", overlay);
  if (sink && sink->mask) sink->mask(sink->user, p->name, overlay, share, confidence);
}

static void report(const struct derivation *k, int i) {
  const struct sink *sink = k->j->gaze.sink;
  const struct segment_item *z = k->item + i;
  const char *name = k->j->data->photograph[i].name;
  tell(sink, LOG_INFO, "mask of %s: derived, %.1f %% of the area, confidence %.2f", name, 100 * z->share, z->confidence);
  if (z->share < 0.005 || z->share > 0.97)
    tell(sink, LOG_WARN, "mask of %s: %s; supply masks/%.*s.png", name,
         z->share < 0.5 ? "hardly anything was found to be the subject" : "nearly all of it was taken for the subject",
         (int)(strrchr(name, '.') - name), name);
  else if (z->confidence < AUTOMASK_SURE)
    tell(sink, LOG_WARN, "mask of %s: uncertain; look at the overlay in %s and supply masks/%.*s.png where it is wrong", name,
         k->j->out_dir, (int)(strrchr(name, '.') - name), name);
}

/* --- deriving ------------------------------------------------------------------------------------------------------------------ */

static bool gaze_once(struct derivation *k, int i, struct err *e) {
  if (k->gaze[i].attention) return true;
  bool ok = gaze_at(&k->j->gaze, &k->rgb[i], &k->gaze[i], e);
  if (ok) tell_progress(k->j->gaze.sink, "masks", ++k->done, k->total + k->j->more);
  return ok;
}

/* A mask that tells something about the subject. */
static const struct image *lent(const struct photograph *p) {
  return p->mask.px && mask_area(&p->mask) < 0.97 ? &p->mask : NULL;
}

/* What was found for photograph i goes to disk and into the dataset; where nothing was found all of the picture counts, so that no loss goes missing. */
static bool keep(struct derivation *k, int i, struct segment_item *found, struct err *e) {
  struct photograph *p = k->j->data->photograph + i;
  k->item[i] = *found;
  if (!write_files(k, i, &found->mask, e)) return false;
  report(k, i);
  show(k, i, found->share, found->confidence);
  if (found->share == 0) memset(found->mask.px, 255, (size_t)found->mask.w * (size_t)found->mask.h);
  return photograph_take_mask(p, &found->mask, p->name, e);
}

/* Photographs at[0 .. n - 1] together; those with a mask lend theirs. */
static bool derive(struct derivation *k, const int *at, int n, struct err *e) {
  struct segment_item *part = calloc((size_t)n + 1, sizeof *part);
  bool ok = part || err_set(e, ERR_FIT, "out of memory for masks");
  for (int i = 0; ok && i < n; i++) {
    ok = gaze_once(k, at[i], e);
    part[i] = (struct segment_item){.rgb = &k->rgb[at[i]], .gaze = &k->gaze[at[i]], .given = lent(k->j->data->photograph + at[i])};
  }
  ok = ok && segment(part, n, e);
  for (int i = 0; part && i < n; i++) {
    if (ok && !k->j->data->photograph[at[i]].mask.px) ok = keep(k, at[i], part + i, e);
    image_release(&part[i].mask);
  }
  free(part);
  return ok;
}

/* Photographs in training: all that have no file together, whatever an earlier call left, so that a resumed run gets the same bits. */
static bool derive_training(struct derivation *k, int *at, struct err *e) {
  struct dataset *d = k->j->data;
  for (int i = 0; i < d->photographs; i++) {
    if (!d->photograph[i].mask_given) image_release(&d->photograph[i].mask);
    at[i] = i;
  }
  return derive(k, at, d->photographs, e);
}

static bool write_given(const struct derivation *k, struct err *e) {
  const struct dataset *d = k->j->data;
  for (int i = 0; k->j->all && i < k->n; i++) {
    if (!d->photograph[i].mask_given) continue;
    if (!write_files(k, i, &d->photograph[i].mask, e)) return false;
    show(k, i, mask_area(&d->photograph[i].mask), 1);
  }
  return true;
}

static bool derive_all(struct derivation *k, struct err *e) {
  struct dataset *d = k->j->data;
  int missing = 0, *at = calloc((size_t)k->n + 1, sizeof *at);
  bool ok = at || err_set(e, ERR_FIT, "out of memory for masks");
  for (int i = 0; i < d->photographs; i++) missing += !d->photograph[i].mask.px;
  if (ok && missing > 0) ok = derive_training(k, at, e);
  for (int i = d->photographs; ok && i < k->n; i++) {
    if (d->photograph[i].mask.px) continue;
    for (int p = 0; p < d->photographs; p++) at[p] = p;
    at[d->photographs] = i;
    ok = derive(k, at, d->photographs + 1, e);
  }
  free(at);
  return ok && write_given(k, e);
}

/* The original, made smaller where it is large, its size and its hash. */
static bool open_original(struct derivation *k, int i, struct err *e) {
  struct image *rgb = &k->rgb[i];
  if (!photograph_original(k->j->embedded, k->j->want, k->j->data->photograph + i, rgb, k->hash[i], e)) return false;
  int w = k->size[i][0] = rgb->w, h = k->size[i][1] = rgb->h;
  image_fit(SIDE, &w, &h);
  return image_resize_to(rgb, w, h, FILTER_BILINEAR, e);
}

static void derivation_release(struct derivation *k) {
  for (int i = 0; k->rgb && i < k->n; i++) image_release(&k->rgb[i]);
  for (int i = 0; k->gaze && i < k->n; i++) gaze_release(&k->gaze[i]);
  free(k->rgb);
  free(k->gaze);
  free(k->item);
  free(k->hash);
  free(k->size);
}

static bool derivation_init(struct derivation *k, const struct automask_job *j, struct err *e) {
  *k = (struct derivation){.j = j, .n = j->data->photographs + j->data->held_out, .total = automask_gazes(j->data)};
  size_t n = (size_t)k->n + 1;
  k->rgb = calloc(n, sizeof *k->rgb);
  k->size = calloc(n, sizeof *k->size);
  k->gaze = calloc(n, sizeof *k->gaze);
  k->item = calloc(n, sizeof *k->item);
  k->hash = calloc(n, sizeof *k->hash);
  bool ok = (k->rgb && k->size && k->gaze && k->item && k->hash) || err_set(e, ERR_FIT, "out of memory for masks");
  for (int i = 0; ok && i < k->n; i++) ok = open_original(k, i, e);
  if (ok) make_key(k);
  return ok;
}

/* Some of the training photographs' masks would not do: they are derived together. */
static void recall(const struct derivation *k) {
  struct dataset *d = k->j->data;
  bool all = true;
  for (int i = 0; i < d->photographs; i++) all = (d->photograph[i].mask.px || take_kept(k, i)) && all;
  for (int i = 0; i < d->photographs; i++)
    if (!all && !d->photograph[i].mask_given) image_release(&d->photograph[i].mask);
  for (int i = d->photographs; all && i < k->n; i++)
    if (!d->photograph[i].mask.px) take_kept(k, i);
}

bool automask_recall(const struct automask_job *j, struct err *e) {
  struct derivation k;
  if (automask_missing(j->data) == 0 || access(j->out_dir, F_OK) != 0) return true;
  bool ok = derivation_init(&k, j, e);
  if (ok) recall(&k);
  derivation_release(&k);
  return ok;
}

bool automask_make(const struct automask_job *j, struct err *e) {
  struct derivation k;
  if (automask_missing(j->data) == 0 && !j->all) return true;
  if (!may_write_all(j, e)) return false;
  bool ok = derivation_init(&k, j, e) && room_dirs(j->room, j->out_dir, e) && derive_all(&k, e);
  derivation_release(&k);
  return ok;
}

int automask_gazes(const struct dataset *d) {
  int training = 0, held = 0;
  for (int i = 0; i < d->photographs; i++) training += d->photograph[i].mask.px == NULL;
  for (int i = 0; i < d->held_out; i++) held += d->photograph[d->photographs + i].mask.px == NULL;
  return training + held > 0 ? d->photographs + held : 0;
}

/* Features, kinds, edges and maps of each pixel of the working size, and the features of all once more (segment_view.h). */
int64_t segment_buffers(int w, int h) {
  int64_t n = (int64_t)w * h, working = n < 65536 ? n : 65536;
  return working * (16 + (int64_t)sizeof(struct palette_row) + 8 * 4 + 16);
}

int64_t automask_buffers(const struct dataset *d) {
  int64_t sum = 0, largest = 0;
  for (int i = 0; i < d->photographs + d->held_out; i++) {
    int w = d->photograph[i].own_w, h = d->photograph[i].own_h;
    int64_t whole = (int64_t)w * h;
    if (whole > largest) largest = whole;
    image_fit(SIDE, &w, &h);
    sum += (int64_t)w * h * 4 + segment_buffers(w, h);
  }
  return sum + 3 * largest; /* the original on its way, or its mask */
}
