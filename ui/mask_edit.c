#include "ui/mask_edit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t pixels(const struct image *im) {
  return (size_t)im->w * (size_t)im->h;
}

bool mask_begin(struct mask_edit *m, int w, int h, const struct image *from) {
  *m = (struct mask_edit){.undos = 0};
  if (!image_new(&m->mask, w, h, 1)) return false;
  for (int y = 0; from && from->px && y < h; y++) {
    const unsigned char *row = from->px + (size_t)((long)y * from->h / h) * (size_t)from->w;
    for (int x = 0; x < w; x++) m->mask.px[(size_t)y * (size_t)w + (size_t)x] = row[(long)x * from->w / w] ? 255 : 0;
  }
  return true;
}

void mask_end(struct mask_edit *m) {
  image_release(&m->mask);
  for (int i = 0; i < m->undos; i++) image_release(&m->before[i]);
  *m = (struct mask_edit){.undos = 0};
}

void mask_remember(struct mask_edit *m) {
  struct image copy;
  m->changed = true;
  if (!image_new(&copy, m->mask.w, m->mask.h, 1)) return; /* then this cannot be undone */
  memcpy(copy.px, m->mask.px, pixels(&copy));
  if (m->undos == MASK_UNDOS) image_release(&m->before[--m->undos]);
  memmove(m->before + 1, m->before, (size_t)m->undos++ * sizeof *m->before);
  m->before[0] = copy;
}

bool mask_undo(struct mask_edit *m) {
  if (!m->undos) return false;
  image_release(&m->mask);
  m->mask = m->before[0];
  memmove(m->before, m->before + 1, (size_t)--m->undos * sizeof *m->before);
  return true;
}

void mask_invert(struct mask_edit *m) {
  for (size_t i = 0; i < pixels(&m->mask); i++) m->mask.px[i] = m->mask.px[i] ? 0 : 255;
}

/* Sets dist[i] to whether a pixel of `value` lies within radius along one line of n pixels, `step` apart. */
static void spread_line(const unsigned char *in, unsigned char *out, size_t n, size_t step, int radius, unsigned char value) {
  long last = -1000000;
  for (size_t i = 0; i < n; i++) {
    if (in[i * step] == value) last = (long)i;
    if ((long)i - last <= radius) out[i * step] = value;
  }
  last = 1000000000;
  for (size_t i = n; i-- > 0;) {
    if (in[i * step] == value) last = (long)i;
    if (last - (long)i <= radius) out[i * step] = value;
  }
}

/* A square of that radius, which is two lines one after the other; repeated with a smaller one the corners come nearer to a circle. */
bool mask_grow(struct mask_edit *m, int radius) {
  size_t w = (size_t)m->mask.w, h = (size_t)m->mask.h;
  unsigned char value = radius < 0 ? 0 : 255, *half = malloc(w * h);
  if (!half) return false;
  memcpy(half, m->mask.px, w * h);
  for (size_t y = 0; y < h; y++) spread_line(m->mask.px + y * w, half + y * w, w, 1, abs(radius), value);
  memcpy(m->mask.px, half, w * h);
  for (size_t x = 0; x < w; x++) spread_line(half + x, m->mask.px + x, h, w, abs(radius), value);
  free(half);
  return true;
}

void mask_brush(struct mask_edit *m, double cx, double cy, double radius, bool on) {
  int top = (int)floor(cy - radius), bottom = (int)ceil(cy + radius), left = (int)floor(cx - radius), right = (int)ceil(cx + radius);
  for (int y = top < 0 ? 0 : top; y <= bottom && y < m->mask.h; y++) {
    for (int x = left < 0 ? 0 : left; x <= right && x < m->mask.w; x++) {
      double dx = x + 0.5 - cx, dy = y + 0.5 - cy;
      if (dx * dx + dy * dy <= radius * radius) m->mask.px[(size_t)y * (size_t)m->mask.w + (size_t)x] = on ? 255 : 0;
    }
  }
}

void mask_line(struct mask_edit *m, double x0, double y0, double x1, double y1, double radius, bool on) {
  double length = hypot(x1 - x0, y1 - y0), step = radius > 2 ? radius / 2 : 1;
  int n = (int)(length / step) + 1;
  for (int i = 0; i <= n; i++) mask_brush(m, x0 + (x1 - x0) * i / n, y0 + (y1 - y0) * i / n, radius, on);
}

double mask_share(const struct mask_edit *m) {
  size_t n = 0;
  for (size_t i = 0; i < pixels(&m->mask); i++) n += m->mask.px[i] != 0;
  return pixels(&m->mask) ? (double)n / (double)pixels(&m->mask) : 0;
}

/* A pixel of the mask with one outside beside it. */
static bool at_edge(const struct image *m, int x, int y, int thick) {
  for (int k = 0; k < 4; k++) {
    int nx = x + (k == 0) * thick - (k == 1) * thick, ny = y + (k == 2) * thick - (k == 3) * thick;
    bool inside = nx >= 0 && ny >= 0 && nx < m->w && ny < m->h;
    if (inside && !m->px[(size_t)ny * (size_t)m->w + (size_t)nx]) return true;
  }
  return false;
}

bool mask_overlay(const struct image *photograph, const struct mask_edit *m, struct image *out) {
  const struct image *k = &m->mask;
  int thick = k->w / 200 + 1;
  if (photograph->w != k->w || photograph->h != k->h || photograph->channels != 3 || !image_new(out, k->w, k->h, 3)) return false;
  for (int y = 0; y < k->h; y++) {
    for (int x = 0; x < k->w; x++) {
      size_t i = (size_t)y * (size_t)k->w + (size_t)x;
      const unsigned char *in = photograph->px + 3 * i, edge[3] = {255, 40, 180};
      bool on = k->px[i] != 0, drawn = on && at_edge(k, x, y, thick);
      for (int c = 0; c < 3; c++) out->px[3 * i + (size_t)c] = drawn ? edge[c] : on ? in[c] : (unsigned char)(in[c] / 4 + 12);
    }
  }
  return true;
}
