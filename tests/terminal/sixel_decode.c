#include "terminal/sixel_decode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SIDE = 8192, REGISTERS = 1024 };

struct decoder {
  const char *p, *end;
  int x, y, w, h, repeat, colour; /* w, h: largest reached */
  uint32_t registers[REGISTERS];
  struct image im; /* grows in both directions */
  unsigned char *set;
};

static bool grow(struct decoder *d, int w, int h) {
  if (w <= d->im.w && h <= d->im.h) return true;
  if (w > MOST_SIDE || h > MOST_SIDE) return false;
  int nw = d->im.w > 0 ? d->im.w : 64, nh = d->im.h > 0 ? d->im.h : 64;
  while (nw < w) nw *= 2;
  while (nh < h) nh *= 2;
  struct image im = {0};
  unsigned char *set = calloc((size_t)nw, (size_t)nh);
  if (set == NULL || !image_new(&im, nw, nh, 3)) {
    free(set);
    return false;
  }
  for (int y = 0; y < d->im.h; y++) {
    memcpy(im.px + 3 * (size_t)y * (size_t)nw, d->im.px + 3 * (size_t)y * (size_t)d->im.w, 3 * (size_t)d->im.w);
    memcpy(set + (size_t)y * (size_t)nw, d->set + (size_t)y * (size_t)d->im.w, (size_t)d->im.w);
  }
  image_release(&d->im);
  free(d->set);
  d->im = im;
  d->set = set;
  return true;
}

/* Up to n numbers divided by semicolons; returns how many there were. */
static int numbers(struct decoder *d, int *out, int n) {
  int count = 0;
  for (int value = 0;; value = 0) {
    while (d->p < d->end && *d->p >= '0' && *d->p <= '9') value = value < 100000 ? value * 10 + *d->p++ - '0' : (d->p++, value);
    if (count < n) out[count] = value;
    count++;
    if (d->p >= d->end || *d->p != ';') return count < n ? count : n;
    d->p++;
  }
}

static double hue_part(double m1, double m2, double hue) {
  hue = fmod(hue + 360, 360);
  return hue < 60 ? m1 + (m2 - m1) * hue / 60 : hue < 180 ? m2 : hue < 240 ? m1 + (m2 - m1) * (240 - hue) / 60 : m1;
}

static uint32_t rgb_percent(double r, double g, double b) {
  return (uint32_t)lround(r * 255) << 16 | (uint32_t)lround(g * 255) << 8 | (uint32_t)lround(b * 255);
}

static uint32_t colour_of(int kind, const int *v) {
  if (kind == 2) return rgb_percent(v[0] / 100.0, v[1] / 100.0, v[2] / 100.0);
  double l = v[1] / 100.0, s = v[2] / 100.0, m2 = l <= 0.5 ? l * (1 + s) : l + s - l * s, m1 = 2 * l - m2, hue = v[0] - 120; /* 0 is blue */
  return rgb_percent(hue_part(m1, m2, hue + 120), hue_part(m1, m2, hue), hue_part(m1, m2, hue - 120));
}

static void take_colour(struct decoder *d) {
  int v[5] = {0};
  int n = numbers(d, v, 5);
  d->colour = v[0] % REGISTERS;
  if (n == 5) d->registers[d->colour] = colour_of(v[1], v + 2);
}

static bool draw(struct decoder *d, int bits) {
  int n = d->repeat;
  d->repeat = 1;
  if (n > MOST_SIDE || !grow(d, d->x + n, d->y + 6)) return false;
  for (int k = 0; k < 6; k++) {
    if ((bits >> k & 1) == 0) continue;
    for (int x = d->x; x < d->x + n; x++) {
      size_t at = (size_t)(d->y + k) * (size_t)d->im.w + (size_t)x;
      uint32_t rgb = d->registers[d->colour];
      for (int i = 0; i < 3; i++) d->im.px[3 * at + (size_t)i] = (unsigned char)(rgb >> (16 - 8 * i));
      d->set[at] = 1;
    }
    if (d->y + k + 1 > d->h) d->h = d->y + k + 1;
  }
  d->x += n;
  if (d->x > d->w) d->w = d->x;
  return true;
}

static bool step(struct decoder *d) {
  int v[4] = {0};
  char c = *d->p++;
  if (c >= '?' && c <= '~') return draw(d, c - '?');
  switch (c) {
    case '#':
      take_colour(d);
      return true;
    case '"':
      numbers(d, v, 4);
      return true;
    case '$':
      d->x = 0;
      return true;
    case '-':
      d->x = 0;
      d->y += 6;
      return true;
    case '!':
      numbers(d, &d->repeat, 1);
      return d->repeat > 0;
    default:
      return c == '\n' || c == '\r';
  }
}

/* What was reached alone, without the room to grow. */
static bool crop(struct decoder *d, struct image *out, unsigned char **set) {
  unsigned char *kept = calloc((size_t)d->w, (size_t)d->h);
  if (kept == NULL || !image_new(out, d->w, d->h, 3)) {
    free(kept);
    return false;
  }
  for (int y = 0; y < d->h; y++) {
    memcpy(out->px + 3 * (size_t)y * (size_t)d->w, d->im.px + 3 * (size_t)y * (size_t)d->im.w, 3 * (size_t)d->w);
    memcpy(kept + (size_t)y * (size_t)d->w, d->set + (size_t)y * (size_t)d->im.w, (size_t)d->w);
  }
  if (set != NULL) *set = kept;
  if (set == NULL) free(kept);
  return true;
}

bool decode_sixels(const char *data, size_t n, struct image *out, unsigned char **set) {
  *out = (struct image){0};
  if (set != NULL) *set = NULL;
  if (n > 2 && data[0] == '\033' && data[1] == 'P') data += 2, n -= 2;
  const char *start = memchr(data, 'q', n);
  if (start == NULL) return false;
  struct decoder d = {.p = start + 1, .end = data + n, .repeat = 1};
  bool ok = true;
  while (ok && d.p < d.end && *d.p != '\033') ok = step(&d);
  ok = ok && d.w > 0 && d.h > 0 && crop(&d, out, set);
  image_release(&d.im);
  free(d.set);
  return ok;
}

double picture_rmse(const struct image *a, const struct image *b) {
  if (a->w != b->w || a->h != b->h || a->channels != b->channels) return 1;
  size_t n = (size_t)a->w * (size_t)a->h * (size_t)a->channels;
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += ((double)a->px[i] - b->px[i]) * ((double)a->px[i] - b->px[i]);
  return n > 0 ? sqrt(sum / (double)n) / 255 : 0;
}
