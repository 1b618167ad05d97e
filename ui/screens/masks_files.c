/* Where masks come from and go to: accepted ones lie with the subject in masks/, derived ones in derived/. The files beside the photographs are never touched. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assets/embedded.h"
#include "profile.h"
#include "train/automask.h"
#include "train/mask.h"
#include "ui/ini_edit.h"
#include "ui/screens/masks.h"

enum { WORK_SIDE = 1024, LATENT_SIDE = 8 }; /* LATENT_SIDE: of every Stable Diffusion */

/* --- reading ------------------------------------------------------------------------------------------------------------------------ */

static bool open_blob(const char *path, struct blob *b, struct err *e) {
  struct source source;
  if (strncmp(path, "embedded:", 9)) return blob_map(path, b, e);
  source_embedded(&source, embedded_files, "demo-subject");
  return source_open(&source, path + 9, b, e);
}

static bool read_image(const char *path, bool mask, struct image *out, struct err *e) {
  struct blob b;
  if (!open_blob(path, &b, e)) return false;
  bool ok = mask ? image_decode_mask(&b, path, out, e) : image_decode(&b, path, out, e);
  blob_close(&b);
  return ok;
}

/* Large photographs are worked on in less detail, so that a stroke of the brush is drawn at once. */
static bool reduce(struct image *im, struct err *e) {
  int w = im->w, h = im->h;
  image_fit(WORK_SIDE, &w, &h);
  return image_resize_to(im, w, h, FILTER_BILINEAR, e);
}

/* Pixels that a latent is wide, by the model's vae/config.json. */
static int latent_side(const char *model) {
  struct source source;
  struct blob b;
  struct err ignored = {0};
  int side = LATENT_SIDE;
  if (!strcmp(model, "embedded"))
    source_embedded(&source, embedded_files, "tiny-sd");
  else
    source_dir(&source, model);
  if (!source_has(&source, "vae/config.json") || !source_open(&source, "vae/config.json", &b, &ignored)) return side;
  cJSON *root = cJSON_ParseWithLength((const char *)b.data, b.size);
  int n = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(root, "block_out_channels"));
  if (n > 0 && n < 8) side = 1 << (n - 1);
  cJSON_Delete(root);
  blob_close(&b);
  return side;
}

/* What is trained on, as the profile says. */
static void read_grid(struct masks_state *s, const struct subject *x) {
  char path[4096];
  struct err ignored = {0};
  struct profile *p = calloc(1, sizeof *p);
  s->grid_w = s->grid_h = 0;
  if (p && profile_load(p, subject_profile(x, path, sizeof path), embedded_files, NULL, 0, &ignored)) {
    int side = latent_side(p->settings.model.path);
    s->width = p->settings.train.width;
    s->height = p->settings.train.height;
    s->grid_w = s->width / side;
    s->grid_h = s->height / side;
  }
  if (p) profile_release(p);
  free(p);
}

int masks_elements(struct masks_state *s) {
  int w, h;
  if (s->elements >= 0 || s->grid_w < 1 || s->grid_h < 1 || !s->edit.mask.px) return s->elements;
  /* the middle of the mask, with the proportions of what is trained on */
  w = s->edit.mask.w;
  h = (int)((int64_t)w * s->height / s->width);
  if (h > s->edit.mask.h) h = s->edit.mask.h, w = (int)((int64_t)h * s->width / s->height);
  float *grid = w > 0 && h > 0 ? malloc((size_t)s->grid_w * (size_t)s->grid_h * sizeof *grid) : NULL;
  if (grid)
    s->elements = mask_to_grid(&s->edit.mask, (s->edit.mask.w - w) / 2, (s->edit.mask.h - h) / 2, w, h, false, s->grid_w, s->grid_h, grid);
  free(grid);
  return s->elements;
}

void masks_close(struct masks_state *s) {
  image_release(&s->photograph);
  mask_end(&s->edit);
  picture_unref(s->shown);
  s->shown = NULL;
  s->opened[0] = 0;
}

static double confidence_of(const char *path) {
  char text[40];
  return image_png_text(path, AUTOMASK_CONFIDENCE, text, sizeof text) ? strtod(text, NULL) : NAN;
}

void masks_open(struct app *a) {
  struct masks_state *s = masks_state(a);
  const struct subject *x = app_subject(a);
  char path[4096], mask[4096];
  struct image from = {0};
  struct err e = {0};
  if (!s || !x || s->list.selected >= x->photographs) return;
  subject_photograph(x, s->list.selected, path, sizeof path);
  if (!strcmp(path, s->opened)) return;
  masks_close(s);
  s->kind = subject_mask_kind(x, s->list.selected, mask, sizeof mask);
  s->confidence = s->kind == MASK_DERIVED ? confidence_of(mask) : NAN;
  bool there = s->kind != MASK_MISSING && read_image(mask, true, &from, &e);
  bool ok = !e.code && read_image(path, false, &s->photograph, &e) && reduce(&s->photograph, &e) &&
            (mask_begin(&s->edit, s->photograph.w, s->photograph.h, there ? &from : NULL) || err_set(&e, ERR_FAILED, "out of memory"));
  image_release(&from);
  if (!ok) return app_complain(a, "%s", e.text);
  read_grid(s, x);
  text_put(s->opened, sizeof s->opened, "%s", path);
  s->stale = true;
  s->elements = -1;
  s->x = s->y = -1;
}

/* --- writing ------------------------------------------------------------------------------------------------------------------------ */

/* SUBJECT/masks/NAME.png */
static void own_mask(const struct subject *x, int i, char *out, size_t n) {
  const char *name = x->photograph[i], *dot = strrchr(name, '.');
  text_put(out, n, "%s/masks/%.*s.png", x->dir, dot ? (int)(dot - name) : (int)strlen(name), name);
}

/* The masks of files beside the photographs: a directory of masks holds all that are given. */
static bool copy_given(const struct subject *x, int but, struct err *e) {
  char from[4096], to[4096];
  for (int i = 0; i < x->photographs; i++) {
    struct image im = {0};
    if (i == but || subject_mask_kind(x, i, from, sizeof from) != MASK_GIVEN) continue;
    own_mask(x, i, to, sizeof to);
    bool ok = read_image(from, true, &im, e) && image_write_png(to, &im, NULL, 0, e);
    image_release(&im);
    if (!ok) return false;
  }
  return true;
}

/* The profile is told where the masks are now. */
static bool use_own_masks(const struct subject *x, struct err *e) {
  char profile[4096], dir[4096];
  size_t n;
  const char *const value[] = {dir};
  text_put(dir, sizeof dir, "%s/masks", x->dir);
  char *text = text_file_read(subject_profile(x, profile, sizeof profile), NULL, "", &n, e);
  if (!text) return false;
  char *next = ini_with(text, key_find("subject", "mask_dir"), value, 1);
  bool ok = next && (!strcmp(next, text) || ini_save(profile, next, e));
  free(text);
  free(next);
  return ok;
}

static int not_accepted(const struct subject *x) {
  char ignored[4096];
  int n = 0;
  for (int i = 0; i < x->photographs; i++) n += subject_mask_kind(x, i, ignored, sizeof ignored) < MASK_GIVEN;
  return n;
}

void masks_save(struct app *a, const char *argument) {
  struct masks_state *s = masks_state(a);
  struct subject *x = app_subject(a);
  char path[4096], dir[4096];
  struct err e = {0};
  (void)argument;
  if (!s || !x || !*s->opened) return;
  bool was_changed = s->edit.changed;
  text_put(dir, sizeof dir, "%s/masks", x->dir);
  own_mask(x, s->list.selected, path, sizeof path);
  bool ok = make_dirs(dir, &e) && image_write_png(path, &s->edit.mask, NULL, 0, &e) && copy_given(x, s->list.selected, &e) &&
            use_own_masks(x, &e);
  if (!ok) return app_complain(a, "%s", e.text);
  s->edit.changed = false;
  s->kind = MASK_OWN;
  store_reload(&a->store, &e);
  x = app_subject(a);
  int others = x ? not_accepted(x) : 0;
  if (was_changed && others)
    app_say(a, "kept with the subject; r derives the other %d after it", others);
  else
    app_say(a, "the mask is kept with the subject: %s", path);
}

void masks_forget(struct app *a, const char *argument) {
  struct masks_state *s = masks_state(a);
  const struct subject *x = app_subject(a);
  char path[4096], backup[4110];
  struct err e = {0};
  (void)argument;
  if (!s || !x || s->list.selected >= x->photographs) return;
  own_mask(x, s->list.selected, path, sizeof path);
  text_put(backup, sizeof backup, "%s.bak", path);
  if (!is_file(path)) return app_say(a, "this photograph has no accepted mask");
  if (rename(path, backup)) return app_complain(a, "%s cannot be put away", path);
  if (!copy_given(x, -1, &e)) app_complain(a, "%s", e.text);
  app_say(a, "no longer accepted (kept as .bak); r derives it anew");
  masks_close(s);
  store_reload(&a->store, &e);
  masks_open(a);
}

/* --- deriving ------------------------------------------------------------------------------------------------------------------------ */

static void ended(struct app *a, const struct job_end *end) {
  struct masks_state *s = masks_state(a);
  struct err ignored = {0};
  s->pid = 0;
  if (end->status)
    app_complain(a, "%s", *end->text ? end->text : "the masks could not be derived");
  else
    app_say(a, "the masks of %s are derived: s accepts one, corrected or not", s->deriving);
  store_reload(&a->store, &ignored);
  if (s->edit.changed || strcmp(a->subject, s->deriving)) return;
  masks_close(s);
  if (a->screen == SCREEN_MASKS) masks_open(a);
}

void masks_derive(struct app *a, const char *argument) {
  struct masks_state *s = masks_state(a);
  const struct subject *x = app_subject(a);
  char profile[4096], dir[4096];
  struct err e = {0};
  (void)argument;
  if (!s || !x) return;
  if (s->pid) return app_say(a, "masks of %s are being derived", s->deriving);
  if (!not_accepted(x)) return app_say(a, "every mask is accepted: z takes that back, then r derives it anew");
  text_put(dir, sizeof dir, "%s/derived", x->dir);
  const char *const word[] = {"masks", subject_profile(x, profile, sizeof profile), "--out", dir, "--set", "subject.auto_mask=true", NULL};
  if (!jobs_start(&a->jobs, word, false, true, dir, &e)) return app_complain(a, "%s", e.text);
  jobs_last(&a->jobs)->ended = ended;
  s->pid = jobs_last(&a->jobs)->pid;
  text_put(s->deriving, sizeof s->deriving, "%s", x->name);
  text_put(s->tried, sizeof s->tried, "%s", x->name);
  a->update_at = 1e-9;
}

void masks_derive_missing(struct app *a) {
  struct masks_state *s = masks_state(a);
  const struct subject *x = app_subject(a);
  if (!s || !x || !x->photographs || x->masks == x->photographs || s->pid || !strcmp(s->tried, x->name)) return;
  if (!runs_working(&a->runs) && !jobs_training(&a->jobs, NULL)) masks_derive(a, NULL);
}
