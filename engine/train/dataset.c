/* Photographs (dataset.h). The reference resizes photographs bilinearly, masks bicubically (both antialiased, 8 bits);
 * any value of a mask above zero is inside. */
#include "train/dataset.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "train/mask.h"

void cover_size(int w, int h, int width, int height, int *out_w, int *out_h) {
  if ((int64_t)width * h >= (int64_t)height * w) {
    *out_w = width;
    *out_h = (int)((int64_t)width * h / w);
  } else {
    *out_h = height;
    *out_w = (int)((int64_t)height * w / h);
  }
}

int center_offset(int size, int crop) {
  int d = size - crop;
  return d % 2 == 0 ? d / 2 : d / 2 + (d / 2) % 2; /* a half goes to the even neighbour, as Python's round */
}

void crop_pixels(const struct image *im, int x, int y, int w, int h, bool flip, float *out) {
  for (int r = 0; r < h; r++)
    for (int c = 0; c < w; c++) {
      const unsigned char *px = im->px + ((int64_t)(y + r) * im->w + x + (flip ? w - 1 - c : c)) * im->channels;
      for (int k = 0; k < 3; k++) *out++ = ((float)px[k] / 255.0f - 0.5f) / 0.5f;
    }
}

void photograph_center(const struct dataset *d, const struct photograph *p, int *x, int *y) {
  *x = center_offset(p->rgb.w, d->width);
  *y = center_offset(p->rgb.h, d->height);
}

int photograph_mask(const struct dataset *d, const struct photograph *p, int x, int y, bool flip, int gw, int gh, float *out) {
  if (!p->mask.px) {
    for (int i = 0; i < gw * gh; i++) out[i] = 1;
    return gw * gh;
  }
  return mask_to_grid(&p->mask, x, y, d->width, d->height, flip, gw, gh, out);
}

static void open_source(struct source *s, const struct embedded_file *embedded, const char *path) {
  char prefix[512];
  if (embedded && strncmp(path, "embedded:", 9) == 0) {
    snprintf(prefix, sizeof prefix, "demo-subject/%s", path + 9);
    source_embedded(s, embedded, prefix);
  } else {
    source_dir(s, path);
  }
}

static bool is_photograph(const char *name) {
  static const char *const end[] = {".png", ".jpg", ".jpeg", ".webp"};
  size_t n = strlen(name);
  for (size_t i = 0; i < sizeof end / sizeof *end; i++) {
    size_t k = strlen(end[i]);
    if (name[0] != '.' && n > k && strcasecmp(name + n - k, end[i]) == 0) return true;
  }
  return false;
}

/* Is name one of the comma-separated names (spaces around them do not count)? */
static bool in_list(const char *list, const char *name) {
  size_t n = strlen(name);
  for (const char *p = list; *p;) {
    p += strspn(p, ", ");
    size_t k = strcspn(p, ",");
    size_t word = k;
    while (word > 0 && p[word - 1] == ' ') word--;
    if (word == n && strncmp(p, name, n) == 0) return true;
    p += k;
  }
  return false;
}

/* Resizes *im in place. */
static bool resize_to(struct image *im, int w, int h, enum image_filter f, const char *name, struct err *e) {
  return image_resize_to(im, w, h, f, e) || err_set(e, ERR_INPUT, "%s: cannot be resized to %dx%d", name, w, h);
}

/* NAME.EXT.png, then NAME.png; relative: the place that a missing mask is reported under. */
static bool find_mask(const struct source *s, const char *dir, const char *name, char *relative, size_t n) {
  snprintf(relative, n, "%s%s.png", dir, name);
  if (source_has(s, relative)) return true;
  snprintf(relative, n, "%s%.*s.png", dir, (int)(strrchr(name, '.') - name), name);
  return source_has(s, relative);
}

/* Rounded sizes of one aspect differ by less than one pixel of either side. */
static bool same_aspect(int w, int h, int mw, int mh) {
  int64_t d = (int64_t)mw * h - (int64_t)mh * w;
  return llabs(d) <= (w > h ? w : h);
}

struct reading {
  const struct dataset_want *want;
  struct source photographs, masks;
  const char *mask_prefix; /* inside masks: "masks/" or "" */
};

/* Whether a photograph's mask is read: one that is held out may have none, and so may any where masks can be derived. */
enum mask_want { MASK_NONE, MASK_IF_THERE, MASK_NEEDED };

double mask_area(const struct image *mask) {
  int64_t in = 0, n = (int64_t)mask->w * mask->h;
  if (!mask->px) return 1;
  for (int64_t i = 0; i < n; i++) in += mask->px[i] > 0;
  return (double)in / (double)n;
}

bool photograph_take_mask(struct photograph *p, struct image *mask, const char *name, struct err *e) {
  image_release(&p->mask);
  p->mask = *mask;
  *mask = (struct image){0};
  if (!resize_to(&p->mask, p->rgb.w, p->rgb.h, FILTER_BICUBIC, name, e)) return false;
  mask_binarise(&p->mask);
  return true;
}

static bool read_mask(const struct reading *r, struct photograph *p, int w, int h, enum mask_want want, struct err *e) {
  char relative[600], path[4600];
  struct blob b;
  bool found = find_mask(&r->masks, r->mask_prefix, p->name, relative, sizeof relative);
  source_name(&r->masks, relative, path, sizeof path);
  if (!found && want == MASK_IF_THERE) return true;
  if (!found)
    return err_set(
        e, ERR_INPUT,
        "%s: the mask of photograph %s is missing; give one, switch auto_mask on to have it derived, or mask_dm and mask_pdm off", path,
        p->name);
  if (!source_open(&r->masks, relative, &b, e)) return false;
  bool ok = image_decode_mask(&b, path, &p->mask, e);
  blob_close(&b);
  if (!ok) return false;
  if (!same_aspect(w, h, p->mask.w, p->mask.h))
    return err_set(e, ERR_INPUT, "%s: a mask of %dx%d has another aspect than its photograph %s of %dx%d", path, p->mask.w, p->mask.h,
                   p->name, w, h);
  struct image mask = p->mask;
  p->mask = (struct image){0};
  if (mask_area(&mask) == 0) {
    image_release(&mask);
    return err_set(e, ERR_INPUT, "%s: the mask is all black: paint the subject white, or remove the file", path);
  }
  p->mask_given = true;
  return photograph_take_mask(p, &mask, path, e);
}

static void hash_center(const struct dataset *d, struct photograph *p) {
  struct sha256 s;
  int x, y, size[2] = {d->width, d->height};
  photograph_center(d, p, &x, &y);
  sha256_begin(&s);
  sha256_add(&s, size, sizeof size);
  for (int r = 0; r < d->height; r++) sha256_add(&s, p->rgb.px + ((int64_t)(y + r) * p->rgb.w + x) * 3, (size_t)d->width * 3);
  sha256_end(&s, p->hash);
}

/* Of a photograph: pictures of a few pixels are thumbnails or place-holders that lie among the others by mistake. */
static int least_side(const struct dataset *d) {
  int least = 16;
  least = d->width < least ? d->width : least;
  return d->height < least ? d->height : least;
}

/* hash: NULL, or receives that of the file. */
static bool decode_photograph(const struct source *s, const char *name, struct image *out, char *hash, struct err *e) {
  char path[4600];
  struct blob b;
  source_name(s, name, path, sizeof path);
  if (!source_open(s, name, &b, e)) return false;
  bool ok = image_decode(&b, path, out, e);
  if (hash) sha256_hex(b.data, b.size, hash);
  blob_close(&b);
  return ok;
}

bool photograph_original(const struct embedded_file *embedded, const struct dataset_want *w, const struct photograph *p, struct image *out,
                         char hash[65], struct err *e) {
  struct source s;
  open_source(&s, embedded, w->images);
  return decode_photograph(&s, p->name, out, hash, e);
}

static bool read_photograph(const struct reading *r, struct dataset *d, struct photograph *p, enum mask_want mask, struct err *e) {
  char path[4600];
  int w, h;
  source_name(&r->photographs, p->name, path, sizeof path);
  if (!decode_photograph(&r->photographs, p->name, &p->rgb, NULL, e)) return false;
  int was_w = p->own_w = p->rgb.w, was_h = p->own_h = p->rgb.h, least = least_side(d);
  if (was_w < least || was_h < least)
    return err_set(e, ERR_INPUT, "%s: a picture of %dx%d shows no subject; photographs need at least %d pixels on each side", path, was_w,
                   was_h, least);
  cover_size(was_w, was_h, (int)lround(d->width * (1 + d->margin)), (int)lround(d->height * (1 + d->margin)), &w, &h);
  if ((int64_t)w * h > (int64_t)1 << 28)
    return err_set(e, ERR_INPUT, "%s: a picture of %dx%d is too narrow to be cropped to %dx%d", path, was_w, was_h, d->width, d->height);
  if (!resize_to(&p->rgb, w, h, FILTER_BILINEAR, path, e)) return false;
  hash_center(d, p);
  return mask == MASK_NONE || read_mask(r, p, was_w, was_h, mask, e);
}

/* Counts first (photograph NULL), then fills in the names: those in training first, held-out ones after them. */
static void sort_names(const struct reading *r, const struct source_names *names, struct dataset *d) {
  int in = 0, out = 0;
  for (int i = 0; i < names->n; i++) {
    const char *name = names->name[i];
    if (!is_photograph(name)) continue;
    bool held = in_list(r->want->hold_out ? r->want->hold_out : "", name);
    struct photograph *p = d->photograph ? d->photograph + (held ? d->photographs + out : in) : NULL;
    if (p) snprintf(p->name, sizeof p->name, "%s", name);
    out += held;
    in += !held;
  }
  d->photographs = in;
  d->held_out = out;
}

static bool list_photographs(const struct reading *r, struct dataset *d, struct err *e) {
  struct source_names names;
  if (!source_names(&r->photographs, "", &names, e)) return false;
  sort_names(r, &names, d);
  bool ok = d->photographs > 0;
  if (!ok)
    err_set(e, ERR_INPUT, "%s: no photographs here%s (png, jpg, jpeg or webp)", r->want->images, d->held_out ? " but those held out" : "");
  if (ok) d->photograph = calloc((size_t)(d->photographs + d->held_out), sizeof *d->photograph);
  if (ok && !d->photograph) ok = err_set(e, ERR_FIT, "out of memory for %d photographs", d->photographs);
  if (ok) sort_names(r, &names, d);
  source_names_release(&names);
  return ok;
}

/* Every name in hold_out must be a photograph: a typing error would put it into training. */
static bool check_held_out(const struct dataset *d, const struct dataset_want *w, struct err *e) {
  for (const char *p = w->hold_out ? w->hold_out : ""; *p;) {
    p += strspn(p, ", ");
    size_t k = strcspn(p, ","), word = k;
    while (word > 0 && p[word - 1] == ' ') word--;
    bool found = word == 0;
    for (int i = 0; i < d->held_out; i++)
      found |= strlen(d->photograph[d->photographs + i].name) == word && strncmp(d->photograph[d->photographs + i].name, p, word) == 0;
    if (!found) return err_set(e, ERR_INPUT, "%s: no photograph %.*s, which hold_out names", w->images, (int)word, p);
    p += k;
  }
  return true;
}

bool dataset_open(struct dataset *d, const struct embedded_file *embedded, const struct dataset_want *w, struct err *e) {
  *d = (struct dataset){.width = w->width, .height = w->height, .margin = w->margin};
  struct reading r = {.want = w};
  bool own = w->mask_dir && *w->mask_dir;
  open_source(&r.photographs, embedded, w->images);
  open_source(&r.masks, embedded, own ? w->mask_dir : w->images);
  r.mask_prefix = own ? "" : "masks/";
  if (!list_photographs(&r, d, e)) return false;
  bool ok = check_held_out(d, w, e);
  for (int i = 0; ok && i < d->photographs + d->held_out; i++)
    ok = read_photograph(&r, d, d->photograph + i,
                         !w->masks                          ? MASK_NONE
                         : i < d->photographs && !w->derive ? MASK_NEEDED
                                                            : MASK_IF_THERE,
                         e);
  if (!ok) dataset_close(d);
  return ok;
}

void dataset_close(struct dataset *d) {
  for (int i = 0; d->photograph && i < d->photographs + d->held_out; i++) {
    struct photograph *p = d->photograph + i;
    image_release(&p->rgb);
    image_release(&p->mask);
    free(p->moments[0]);
    free(p->moments[1]);
  }
  free(d->photograph);
  *d = (struct dataset){0};
}
