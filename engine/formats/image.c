#include "formats/image.h"

#include <stdlib.h>
#include <string.h>

#include "formats/image_codec.h"

bool image_new(struct image *im, int w, int h, int channels) {
  *im = (struct image){.w = w, .h = h, .channels = channels};
  if (w < 1 || h < 1 || channels < 1 || (size_t)w > SIZE_MAX / 8 / (size_t)h) return false;
  im->px = calloc((size_t)w * (size_t)h, (size_t)channels);
  return im->px != NULL;
}

void image_release(struct image *im) {
  free(im->px);
  *im = (struct image){0};
}

bool decoded_new(struct decoded *out, const char *name, int64_t w, int64_t h, int channels, struct err *e) {
  if (w < 1 || h < 1 || w > IMAGE_MAX_PIXELS / h)
    return err_set(e, ERR_INPUT, "%s: %lld x %lld pixels is too large, at most %d million are read", name, (long long)w, (long long)h,
                   IMAGE_MAX_PIXELS / 1000000);
  if (!image_new(&out->im, (int)w, (int)h, channels))
    return err_set(e, ERR_FIT, "%s: out of memory for %lld x %lld pixels", name, (long long)w, (long long)h);
  return true;
}

static unsigned read_number(const unsigned char *at, int n, bool big) {
  unsigned v = 0;
  for (int i = 0; i < n; i++) v = v << 8 | at[big ? i : n - 1 - i];
  return v;
}

int exif_orientation(const unsigned char *data, size_t n) {
  enum { ORIENTATION = 0x112, SHORT = 3, ENTRY = 12 };
  if (n >= 6 && memcmp(data, "Exif\0\0", 6) == 0) {
    data += 6;
    n -= 6;
  }
  if (n < 8 || (memcmp(data, "II*\0", 4) != 0 && memcmp(data, "MM\0*", 4) != 0)) return 1;
  bool big = data[0] == 'M';
  size_t at = read_number(data + 4, 4, big);
  if (at > n - 2) return 1;
  size_t entries = read_number(data + at, 2, big);
  for (at += 2; entries > 0 && n - at >= ENTRY; entries--, at += ENTRY) {
    if (read_number(data + at, 2, big) != ORIENTATION) continue;
    bool is_short = read_number(data + at + 2, 2, big) == SHORT;
    unsigned v = read_number(data + at + 8, is_short ? 2 : 4, big);
    return v >= 1 && v <= 8 ? (int)v : 1;
  }
  return 1;
}

static bool decode_stored(const struct blob *b, const char *name, bool alpha, struct decoded *out, struct err *e) {
  *out = (struct decoded){.orientation = 1};
  if (b->size >= 8 && memcmp(b->data, "\x89PNG\r\n\x1a\n", 8) == 0) return image_decode_png(b, name, alpha, out, e);
  if (b->size >= 3 && memcmp(b->data, "\xff\xd8\xff", 3) == 0) return image_decode_jpeg(b, name, out, e);
  if (b->size >= 12 && memcmp(b->data, "RIFF", 4) == 0 && memcmp(b->data + 8, "WEBP", 4) == 0)
    return image_decode_webp(b, name, alpha, out, e);
  return err_set(e, ERR_INPUT, "%s: not a PNG, JPEG or WebP picture", name);
}

/* Brings d upright, as PIL's exif_transpose, in d itself. */
static bool turn(struct decoded *d, const char *name, struct err *e) {
  const struct image in = d->im;
  int o = d->orientation, c = in.channels;
  bool swap = o >= 5, flip_x = o == 2 || o == 3 || o == 7 || o == 8, flip_y = o == 3 || o == 4 || o == 6 || o == 7;
  if (o == 1) return true;
  if (!image_new(&d->im, swap ? in.h : in.w, swap ? in.w : in.h, c)) {
    d->im = in;
    return err_set(e, ERR_FIT, "%s: out of memory", name);
  }
  unsigned char *to = d->im.px;
  for (int y = 0; y < d->im.h; y++)
    for (int x = 0; x < d->im.w; x++, to += c) {
      int sx = swap ? y : x, sy = swap ? x : y;
      sx = flip_x ? in.w - 1 - sx : sx;
      sy = flip_y ? in.h - 1 - sy : sy;
      memcpy(to, in.px + ((size_t)sy * (size_t)in.w + (size_t)sx) * (size_t)c, (size_t)c);
    }
  free(in.px);
  return true;
}

static bool decode_upright(const struct blob *b, const char *name, bool alpha, struct image *out, struct err *e) {
  struct decoded d;
  bool good = decode_stored(b, name, alpha, &d, e) && turn(&d, name, e);
  if (!good) image_release(&d.im);
  *out = d.im;
  return good;
}

bool image_decode(const struct blob *b, const char *name, struct image *out, struct err *e) {
  return decode_upright(b, name, false, out, e);
}

static bool read_with(bool (*decode)(const struct blob *, const char *, struct image *, struct err *), const char *path, struct image *out,
                      struct err *e) {
  struct blob b;
  *out = (struct image){0};
  if (!blob_map(path, &b, e)) return false;
  bool good = decode(&b, path, out, e);
  blob_close(&b);
  return good;
}

bool image_read(const char *path, struct image *out, struct err *e) {
  return read_with(image_decode, path, out, e);
}

bool image_read_mask(const char *path, struct image *out, struct err *e) {
  return read_with(image_decode_mask, path, out, e);
}

bool image_look(const char *path, int *w, int *h, bool *turned, struct err *e) {
  struct blob b;
  struct decoded d = {0};
  if (!blob_map(path, &b, e)) return false;
  bool good = decode_stored(&b, path, false, &d, e), swap = d.orientation >= 5;
  *w = swap ? d.im.h : d.im.w;
  *h = swap ? d.im.w : d.im.h;
  *turned = d.orientation > 1;
  image_release(&d.im);
  blob_close(&b);
  return good;
}

/* PIL's convert("L"): ITU-R 601 in 16 bits. */
static unsigned char luminance(const unsigned char *p) {
  return (unsigned char)((19595u * p[0] + 38470u * p[1] + 7471u * p[2] + 0x8000u) >> 16);
}

static bool all_opaque(const struct image *im) {
  size_t n = (size_t)im->w * (size_t)im->h;
  for (size_t i = 0; i < n; i++)
    if (im->px[4 * i + 3] != 255) return false;
  return true;
}

bool image_decode_mask(const struct blob *b, const char *name, struct image *out, struct err *e) {
  struct image full;
  *out = (struct image){0};
  if (!decode_upright(b, name, true, &full, e)) return false;
  bool by_alpha = full.channels == 4 && !all_opaque(&full), good = image_new(out, full.w, full.h, 1);
  size_t n = (size_t)full.w * (size_t)full.h, c = (size_t)full.channels;
  for (size_t i = 0; i < n && good; i++) out->px[i] = by_alpha ? full.px[4 * i + 3] : luminance(full.px + c * i);
  image_release(&full);
  return good || err_set(e, ERR_FIT, "%s: out of memory", name);
}

bool image_crop(const struct image *in, int x, int y, int w, int h, struct image *out, struct err *e) {
  *out = (struct image){0};
  if (x < 0 || y < 0 || w < 1 || h < 1 || w > in->w - x || h > in->h - y)
    return err_set(e, ERR_FAILED, "a crop of %d x %d at %d, %d leaves the picture of %d x %d", w, h, x, y, in->w, in->h);
  if (!image_new(out, w, h, in->channels)) return err_set(e, ERR_FIT, "out of memory for a crop of %d x %d", w, h);
  size_t c = (size_t)in->channels;
  for (int row = 0; row < h; row++)
    memcpy(out->px + (size_t)row * (size_t)w * c, in->px + ((size_t)(y + row) * (size_t)in->w + (size_t)x) * c, (size_t)w * c);
  return true;
}

void image_flip(struct image *im) {
  size_t c = (size_t)im->channels;
  for (int y = 0; y < im->h; y++) {
    unsigned char *left = im->px + (size_t)y * (size_t)im->w * c, *right = left + (size_t)(im->w - 1) * c;
    for (; left < right; left += c, right -= c)
      for (size_t k = 0; k < c; k++) {
        unsigned char kept = left[k];
        left[k] = right[k];
        right[k] = kept;
      }
  }
}
