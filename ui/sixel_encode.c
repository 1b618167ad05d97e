/* libsixel's encoder around our own pixels: its loaders never see a file. */
#include <stdlib.h>
#include <string.h>

#include "ui/quantize.h"
#include "ui/sixel.h"

bool sixel_pixels(const struct picture *p, const struct sixel_shape *shape, struct image *out) {
  int w = shape->columns * shape->cell.w, h = shape->rows * shape->cell.h;
  if (!picture_scale(&p->full, w, h, shape->smooth, out)) return false;
  if (h > 6) out->h = h - h % 6; /* the last rows are cut, not squeezed in: the rest stays in place */
  return true;
}

void sixel_data_release(struct sixel_data *d) {
  free(d->bytes);
  free(d->strips);
  *d = (struct sixel_data){0};
}

#ifdef HAVE_SIXEL

#undef PACKAGE_VERSION /* the library's header has one of its own */
#include <sixel.h>

struct sink {
  struct sixel_data *data;
  size_t room;
  bool failed;
};

static int take(char *bytes, int n, void *user) {
  struct sink *s = user;
  size_t need = s->data->n + (size_t)n;
  if (need > s->room) {
    char *grown = realloc(s->data->bytes, 2 * need);
    if (grown == NULL) {
      s->failed = true;
      return n;
    }
    s->data->bytes = grown;
    s->room = 2 * need;
  }
  memcpy(s->data->bytes + s->data->n, bytes, (size_t)n);
  s->data->n = need;
  return n;
}

/* Our own palette and pixels: the library's have five bits for each primary. It writes the sixels. */
static bool encode(unsigned char *px, int w, int h, int colours, struct sink *sink) {
  sixel_output_t *output = NULL;
  sixel_dither_t *dither = NULL;
  struct quantized q;
  struct image im = {.w = w, .h = h, .channels = 3, .px = px};
  if (!quantize(&im, colours, &q)) return false;
  bool ok =
      SIXEL_SUCCEEDED(sixel_output_new(&output, take, sink, NULL)) && SIXEL_SUCCEEDED(sixel_dither_new(&dither, q.n < 2 ? 2 : q.n, NULL));
  if (ok) {
    sixel_dither_set_palette(dither, q.palette);
    sixel_dither_set_pixelformat(dither, SIXEL_PIXELFORMAT_PAL8);
    ok = SIXEL_SUCCEEDED(sixel_encode(q.index, w, h, 1, dither, output)) && !sink->failed;
  }
  if (dither != NULL) sixel_dither_unref(dither);
  if (output != NULL) sixel_output_unref(output);
  quantized_release(&q);
  return ok;
}

static int common_divisor(int a, int b) {
  return b == 0 ? a : common_divisor(b, a % b);
}

/* Encodes in strips of the given rows of cells; false also where a strip exceeds the limit (*too_long). */
static bool encode_strips(struct image *im, const struct sixel_shape *shape, int rows, struct sixel_data *out, bool *too_long) {
  struct sink sink = {.data = out};
  int n = (shape->rows + rows - 1) / rows;
  *too_long = false;
  out->strips = calloc((size_t)n, sizeof *out->strips);
  if (out->strips == NULL) return false;
  for (int i = 0; i < n; i++) {
    int top = i * rows * shape->cell.h, h = im->h - top < rows * shape->cell.h ? im->h - top : rows * shape->cell.h;
    if (h <= 0) break;
    size_t at = out->n;
    if (!encode(im->px + 3 * (size_t)top * (size_t)im->w, im->w, h, shape->colours, &sink)) return false;
    out->strips[out->n_strips++] = (struct sixel_strip){i * rows, at, out->n - at};
    if (shape->strip_limit > 0 && out->n - at > shape->strip_limit) {
      *too_long = true;
      return false;
    }
  }
  return true;
}

bool sixel_encode_picture(const struct picture *p, const struct sixel_shape *shape, struct sixel_data *out, struct err *e) {
  struct image im;
  *out = (struct sixel_data){0};
  bool ok = sixel_pixels(p, shape, &im), too_long = ok;
  /* strips end where a band of six pixels and a row of cells end together */
  int unit = 6 / common_divisor(shape->cell.h, 6), rows = shape->rows;
  for (ok = false; too_long && !ok && rows > 0; rows = rows / 2 / unit * unit) {
    sixel_data_release(out);
    ok = encode_strips(&im, shape, rows, out, &too_long);
  }
  image_release(&im);
  if (ok) return true;
  sixel_data_release(out);
  return err_set(
      e, ERR_FAILED,
      too_long ? "a picture of %d x %d cells is too large for the terminal's sixels" : "no memory for the sixels of %d x %d cells",
      shape->columns, shape->rows);
}

#else

bool sixel_encode_picture(const struct picture *p, const struct sixel_shape *shape, struct sixel_data *out, struct err *e) {
  (void)p;
  (void)shape;
  *out = (struct sixel_data){0};
  return err_set(e, ERR_FAILED, "this build has no libsixel");
}

#endif
