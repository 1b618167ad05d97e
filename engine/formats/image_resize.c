/* Pillow's Resample.c for 8-bit pictures: coefficients in double, rounded to 22 bits; columns first, then rows, 8 bits in between. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/image.h"

enum { PRECISION_BITS = 32 - 8 - 2 };

/* For each output position: which inputs, and their weights. */
struct kernel {
  int size; /* weights kept for each output */
  int *first, *count;
  int *weight; /* [out, size] */
};

static double bilinear(double x) {
  x = fabs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

static double bicubic(double x) {
  const double a = -0.5;
  x = fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  return x < 2.0 ? (((x - 5) * x + 8) * x - 4) * a : 0.0;
}

static void kernel_release(struct kernel *k) {
  free(k->first);
  free(k->count);
  free(k->weight);
}

static int to_fixed(double w) {
  return (int)(w < 0 ? -0.5 + w * (1 << PRECISION_BITS) : 0.5 + w * (1 << PRECISION_BITS));
}

static bool kernel_new(struct kernel *k, int in, int out, enum image_filter f) {
  double (*filter)(double) = f == FILTER_BICUBIC ? bicubic : bilinear;
  double scale = (double)in / out, stretch = scale < 1.0 ? 1.0 : scale;
  double support = (f == FILTER_BICUBIC ? 2.0 : 1.0) * stretch, ss = 1.0 / stretch;
  *k = (struct kernel){.size = (int)ceil(support) * 2 + 1};
  k->first = calloc((size_t)out, sizeof *k->first);
  k->count = calloc((size_t)out, sizeof *k->count);
  k->weight = calloc((size_t)out * (size_t)k->size, sizeof *k->weight);
  double *w = calloc((size_t)k->size, sizeof *w);
  if (k->first == NULL || k->count == NULL || k->weight == NULL || w == NULL) {
    free(w);
    return false;
  }
  for (int i = 0; i < out; i++) {
    double center = (i + 0.5) * scale, sum = 0.0;
    int low = (int)(center - support + 0.5), high = (int)(center + support + 0.5);
    low = low < 0 ? 0 : low;
    high = high > in ? in : high;
    for (int x = low; x < high; x++) sum += w[x - low] = filter((x - center + 0.5) * ss);
    for (int x = low; x < high; x++)
      k->weight[(size_t)i * (size_t)k->size + (size_t)(x - low)] = to_fixed(sum != 0.0 ? w[x - low] / sum : w[x - low]);
    k->first[i] = low;
    k->count[i] = high - low;
  }
  free(w);
  return true;
}

static unsigned char clip(int v) {
  v >>= PRECISION_BITS;
  return (unsigned char)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* Rows [first, first + rows) of in, squeezed to the width of out. */
static void squeeze_columns(const struct image *in, int first, const struct kernel *k, struct image *out) {
  size_t c = (size_t)in->channels;
  for (int y = 0; y < out->h; y++) {
    const unsigned char *row = in->px + (size_t)(first + y) * (size_t)in->w * c;
    unsigned char *to = out->px + (size_t)y * (size_t)out->w * c;
    for (int x = 0; x < out->w; x++)
      for (size_t ch = 0; ch < c; ch++) {
        const int *w = k->weight + (size_t)x * (size_t)k->size;
        const unsigned char *from = row + (size_t)k->first[x] * c + ch;
        int sum = 1 << (PRECISION_BITS - 1);
        for (int i = 0; i < k->count[x]; i++) sum += from[(size_t)i * c] * w[i];
        *to++ = clip(sum);
      }
  }
}

/* offset: the row of the picture that is in's first. sum: scratch, one number for each byte of a row. */
static void squeeze_rows(const struct image *in, int offset, const struct kernel *k, struct image *out, int *sum) {
  size_t n = (size_t)in->w * (size_t)in->channels;
  for (int y = 0; y < out->h; y++) {
    const unsigned char *from = in->px + (size_t)(k->first[y] - offset) * n;
    unsigned char *to = out->px + (size_t)y * n;
    for (size_t i = 0; i < n; i++) sum[i] = 1 << (PRECISION_BITS - 1);
    for (int r = 0; r < k->count[y]; r++, from += n) {
      int w = k->weight[(size_t)y * (size_t)k->size + (size_t)r];
      for (size_t i = 0; i < n; i++) sum[i] += from[i] * w;
    }
    for (size_t i = 0; i < n; i++) to[i] = clip(sum[i]);
  }
}

static bool resample(const struct image *in, int w, int h, enum image_filter f, struct image *out) {
  struct kernel across = {0}, down = {0};
  struct image middle = {0};
  int *sum = NULL;
  bool good = kernel_new(&across, in->w, w, f) && kernel_new(&down, in->h, h, f);
  if (!good) goto done;
  int first = h != in->h ? down.first[0] : 0, end = h != in->h ? down.first[h - 1] + down.count[h - 1] : in->h;
  good = image_new(&middle, w, end - first, in->channels);
  if (!good) goto done;
  if (w != in->w)
    squeeze_columns(in, first, &across, &middle);
  else
    memcpy(middle.px, in->px + (size_t)first * (size_t)w * (size_t)in->channels, (size_t)w * (size_t)middle.h * (size_t)in->channels);
  if (h == in->h) {
    *out = middle;
    middle = (struct image){0};
    goto done;
  }
  sum = malloc((size_t)w * (size_t)in->channels * sizeof *sum);
  good = sum != NULL && image_new(out, w, h, in->channels);
  if (good) squeeze_rows(&middle, first, &down, out, sum);
done:
  free(sum);
  image_release(&middle);
  kernel_release(&across);
  kernel_release(&down);
  return good;
}

/* Positions by repeated addition, as Pillow's affine transform: its rounding is part of the result. */
static bool nearest(const struct image *in, int w, int h, struct image *out) {
  double sx = (double)in->w / w, sy = (double)in->h / h, y = sy * 0.5;
  size_t c = (size_t)in->channels;
  if (!image_new(out, w, h, in->channels)) return false;
  unsigned char *to = out->px;
  for (int j = 0; j < h; j++, y += sy) {
    int row = (int)y < in->h ? (int)y : in->h - 1;
    double x = sx * 0.5;
    for (int i = 0; i < w; i++, x += sx, to += c) {
      int column = (int)x < in->w ? (int)x : in->w - 1;
      memcpy(to, in->px + ((size_t)row * (size_t)in->w + (size_t)column) * c, c);
    }
  }
  return true;
}

bool image_resize(const struct image *in, int w, int h, enum image_filter f, struct image *out, struct err *e) {
  *out = (struct image){0};
  if (w < 1 || h < 1) return err_set(e, ERR_FAILED, "a picture cannot be resized to %d x %d", w, h);
  if (f == FILTER_NEAREST ? nearest(in, w, h, out) : resample(in, w, h, f, out)) return true;
  image_release(out);
  return err_set(e, ERR_FIT, "out of memory for a picture of %d x %d", w, h);
}

bool image_resize_to(struct image *im, int w, int h, enum image_filter f, struct err *e) {
  struct image out;
  if (im->w == w && im->h == h) return true;
  if (!image_resize(im, w, h, f, &out, e)) return false;
  image_release(im);
  *im = out;
  return true;
}

void image_fit(int side, int *w, int *h) {
  int longer = *w > *h ? *w : *h;
  if (longer <= side) return;
  *w = (int)((int64_t)*w * side / longer);
  *h = (int)((int64_t)*h * side / longer);
  *w += *w == 0;
  *h += *h == 0;
}

void image_short_side(int w, int h, int size, int *out_w, int *out_h) {
  int shorter = w <= h ? w : h, longer = w <= h ? h : w;
  int stretched = (int)((double)size * longer / shorter);
  *out_w = w <= h ? size : stretched;
  *out_h = w <= h ? stretched : size;
}
