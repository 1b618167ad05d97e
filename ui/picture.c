#include "ui/picture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL_SIDE = 192 };

/* --- scaling --------------------------------------------------------------------------------------------------------------- */

/* Which source pixels make up each pixel along one axis. */
struct taps {
  int *first, *n; /* [to] */
  float *weight;  /* [to, room] */
  int room;
};

static void taps_release(struct taps *t) {
  free(t->first);
  free(t->n);
  free(t->weight);
}

/* Pixel i covers [i, i + 1) * from / to. */
static void area_tap(struct taps *t, int i, int from, int to) {
  double a = (double)i * from / to, b = (double)(i + 1) * from / to;
  int first = (int)a, last = (int)ceil(b) - 1;
  if (last >= from) last = from - 1;
  t->first[i] = first;
  t->n[i] = last - first + 1;
  for (int k = first; k <= last; k++) t->weight[i * t->room + k - first] = (float)((fmin(b, k + 1) - fmax(a, k)) / (b - a));
}

static void linear_tap(struct taps *t, int i, int from, int to) {
  double centre = fmin(fmax((i + 0.5) * from / to - 0.5, 0), from - 1);
  int first = (int)centre;
  t->first[i] = first;
  t->n[i] = first + 1 < from ? 2 : 1;
  t->weight[i * t->room] = t->n[i] == 2 ? (float)(first + 1 - centre) : 1;
  if (t->n[i] == 2) t->weight[i * t->room + 1] = (float)(centre - first);
}

static bool taps_init(struct taps *t, int from, int to, bool smooth) {
  t->room = from > to ? from / to + 2 : 2;
  t->first = calloc((size_t)to, sizeof *t->first);
  t->n = calloc((size_t)to, sizeof *t->n);
  t->weight = calloc((size_t)to * (size_t)t->room, sizeof *t->weight);
  if (t->first == NULL || t->n == NULL || t->weight == NULL) return false;
  for (int i = 0; i < to; i++) {
    if (from > to) {
      area_tap(t, i, from, to);
    } else if (smooth) {
      linear_tap(t, i, from, to);
    } else {
      t->first[i] = (int)(((long long)i * 2 + 1) * from / (2LL * to));
      t->n[i] = 1;
      t->weight[i * t->room] = 1;
    }
  }
  return true;
}

/* One source row [in.w, 3] to one of w pixels. */
static void scale_row(const unsigned char *in, const struct taps *t, int w, float *out) {
  for (int x = 0; x < w; x++) {
    const float *weight = t->weight + x * t->room;
    const unsigned char *p = in + 3 * t->first[x];
    float r = 0, g = 0, b = 0;
    for (int k = 0; k < t->n[x]; k++, p += 3) {
      r += weight[k] * p[0];
      g += weight[k] * p[1];
      b += weight[k] * p[2];
    }
    out[3 * x] = r;
    out[3 * x + 1] = g;
    out[3 * x + 2] = b;
  }
}

/* Rows are scaled across when they are needed and the last one is kept, since neighbours share it. */
static void scale_all(const struct image *in, const struct taps *across, const struct taps *down, float *row, float *sum,
                      struct image *out) {
  int have = -1;
  size_t n = 3 * (size_t)out->w;
  for (int y = 0; y < out->h; y++) {
    memset(sum, 0, n * sizeof *sum);
    for (int k = 0; k < down->n[y]; k++) {
      int source = down->first[y] + k;
      float weight = down->weight[y * down->room + k];
      if (source != have) scale_row(in->px + 3 * (size_t)source * (size_t)in->w, across, out->w, row);
      have = source;
      for (size_t i = 0; i < n; i++) sum[i] += weight * row[i];
    }
    unsigned char *to = out->px + (size_t)y * n;
    for (size_t i = 0; i < n; i++) to[i] = (unsigned char)(sum[i] + 0.5f);
  }
}

bool picture_scale(const struct image *in, int w, int h, bool smooth, struct image *out) {
  *out = (struct image){0};
  struct taps across = {0}, down = {0};
  float *rows = calloc(6 * (size_t)w, sizeof *rows);
  bool ok = rows != NULL && taps_init(&across, in->w, w, smooth) && taps_init(&down, in->h, h, smooth) && image_new(out, w, h, 3);
  if (ok) scale_all(in, &across, &down, rows, rows + 3 * (size_t)w, out);
  free(rows);
  taps_release(&across);
  taps_release(&down);
  return ok;
}

/* --- life ------------------------------------------------------------------------------------------------------------------ */

static bool grey_to_rgb(struct image *im) {
  struct image rgb = {0};
  if (!image_new(&rgb, im->w, im->h, 3)) return false;
  for (int i = 0; i < im->w * im->h; i++) memset(rgb.px + 3 * i, im->px[i], 3);
  image_release(im);
  *im = rgb;
  return true;
}

/* Screens of text cells need no more; made once, on the thread that loads. */
static bool make_small(struct picture *p) {
  int side = p->full.w > p->full.h ? p->full.w : p->full.h;
  if (side <= SMALL_SIDE) return true;
  int w = p->full.w * SMALL_SIDE / side, h = p->full.h * SMALL_SIDE / side;
  return picture_scale(&p->full, w < 1 ? 1 : w, h < 1 ? 1 : h, true, &p->small);
}

struct picture *picture_new(struct image *im) {
  static atomic_uint_fast64_t last_id;
  struct picture *p = calloc(1, sizeof *p);
  bool ok = p != NULL && im->w > 0 && im->h > 0 && (im->channels == 3 || grey_to_rgb(im));
  if (!ok) {
    image_release(im);
    free(p);
    return NULL;
  }
  p->full = *im;
  *im = (struct image){0};
  atomic_init(&p->references, 1);
  p->id = atomic_fetch_add(&last_id, 1) + 1;
  p->version = 1;
  if (make_small(p)) return p;
  picture_unref(p);
  return NULL;
}

struct picture *picture_again(const struct picture *before, struct image *im) {
  struct picture *p = picture_new(im);
  if (p == NULL) return NULL;
  p->id = before->id;
  p->version = before->version + 1;
  return p;
}

struct picture *picture_ref(struct picture *p) {
  if (p != NULL) atomic_fetch_add(&p->references, 1);
  return p;
}

void picture_unref(struct picture *p) {
  if (p == NULL || atomic_fetch_sub(&p->references, 1) > 1) return;
  image_release(&p->full);
  image_release(&p->small);
  free(p);
}
