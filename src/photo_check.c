#include "photo_check.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

enum { LOOK_SIDE = 512, PRINT = 8, ALIKE_BITS = 4 };
/* A blurred picture: below the first, or below the second as a part of what the others have. */
static const double blurred = 25, blurred_part = 0.12;

/* BT.601 luminance of a w x h reduction; *out is released by the caller. */
static bool grey(const struct image *im, int w, int h, struct image *out) {
  struct image small = {0};
  struct err ignored = {0};
  if (!image_resize(im, w, h, FILTER_BILINEAR, &small, &ignored)) return false;
  bool ok = image_new(out, w, h, 1);
  for (size_t i = 0; ok && i < (size_t)w * (size_t)h; i++) {
    const unsigned char *p = small.px + i * (size_t)small.channels;
    out->px[i] = small.channels < 3 ? p[0] : (unsigned char)((299 * p[0] + 587 * p[1] + 114 * p[2]) / 1000);
  }
  image_release(&small);
  return ok;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Variance of the Laplacian of the pixels from (x0, y0) to before (x1, y1). */
static double detail(const struct image *g, int x0, int y0, int x1, int y1) {
  double sum = 0, squares = 0;
  int n = 0;
  for (int y = y0 > 1 ? y0 : 1; y < y1 && y + 1 < g->h; y++) {
    for (int x = x0 > 1 ? x0 : 1; x < x1 && x + 1 < g->w; x++, n++) {
      const unsigned char *p = g->px + (size_t)y * (size_t)g->w + (size_t)x;
      double v = p[-1] + p[1] + p[-g->w] + p[g->w] - 4 * p[0];
      sum += v;
      squares += v * v;
    }
  }
  return n ? squares / n - sum / n * (sum / n) : 0;
}

/* That of the tile which is sharper than all but a few: a sharp subject before a plain or blurred background is sharp. */
static double sharpness(const struct image *g) {
  enum { TILES = 8, FEW = 3 };
  double tile[TILES * TILES];
  for (int i = 0; i < TILES * TILES; i++) {
    int x = i % TILES, y = i / TILES;
    tile[i] = detail(g, x * g->w / TILES, y * g->h / TILES, (x + 1) * g->w / TILES, (y + 1) * g->h / TILES);
  }
  qsort(tile, TILES * TILES, sizeof *tile, by_size);
  return tile[TILES * TILES - 1 - FEW];
}

bool photo_measure(const struct image *im, struct photo_facts *out) {
  struct image g = {0}, tiny = {0};
  int longer = im->w > im->h ? im->w : im->h;
  double part = longer > LOOK_SIDE ? (double)LOOK_SIDE / longer : 1;
  int w = (int)(im->w * part), h = (int)(im->h * part);
  out->w = im->w;
  out->h = im->h;
  bool ok = grey(im, w ? w : 1, h ? h : 1, &g) && grey(im, PRINT + 1, PRINT, &tiny);
  if (ok) {
    out->sharpness = sharpness(&g);
    out->print = 0;
    for (int y = 0; y < PRINT; y++) {
      for (int x = 0; x < PRINT; x++) {
        const unsigned char *p = tiny.px + y * (PRINT + 1) + x;
        out->print = out->print << 1 | (p[1] > p[0]);
      }
    }
  }
  image_release(&g);
  image_release(&tiny);
  return ok;
}

static int bits(uint64_t v) {
  int n = 0;
  for (; v; v &= v - 1) n++;
  return n;
}

/* The middle one of the others; 0: too few to tell. */
static double usual(const struct photo_facts *photo, int n, int but) {
  double *v = n > 3 ? malloc((size_t)n * sizeof *v) : NULL, result = 0;
  int k = 0;
  for (int i = 0; v && i < n; i++) {
    if (i != but && !*photo[i].trouble) v[k++] = photo[i].sharpness;
  }
  if (k > 2) {
    qsort(v, (size_t)k, sizeof *v, by_size);
    result = v[k / 2];
  }
  free(v);
  return result;
}

static void add(char *buf, size_t size, const char *text) {
  size_t n = strlen(buf);
  text_put(buf + n, size - n, "%s%s", n ? "; " : "", text);
}

const char *photo_judge(const struct photo_facts *photo, int n, int i, int least, char *buf, size_t size) {
  const struct photo_facts *p = photo + i;
  char part[400];
  if (size) *buf = 0;
  if (*p->trouble) {
    add(buf, size, p->trouble);
    return buf;
  }
  text_put(part, sizeof part, "small (%dx%d)", p->w, p->h);
  if (p->w < least || p->h < least) add(buf, size, part);
  if (p->sharpness < blurred || p->sharpness < blurred_part * usual(photo, n, i)) add(buf, size, "blurred");
  for (int k = 0; k < i; k++) {
    if (*photo[k].trouble || bits(photo[k].print ^ p->print) > ALIKE_BITS) continue;
    text_put(part, sizeof part, "nearly the same as %s", photo[k].name);
    add(buf, size, part);
    break;
  }
  if (p->turned) add(buf, size, "turned by EXIF");
  return buf;
}
