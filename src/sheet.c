#include "sheet.h"

#include <stdlib.h>
#include <string.h>

#include "font.h"

enum { GAP = 6, SCALE = 2, LABEL_COLUMNS = 20, SEEN = 192, MAX_PIXELS = 200 * 1000 * 1000 };

static const struct color paper = {250, 250, 248}, ink = {30, 30, 34};

/* Where things go; all in pixels of the sheet. */
struct layout {
  int rows, cell_w, cell_h, factor, left, top, w, h;
};

static int column_lines_height(const struct sheet *s, int cell_w) {
  int height = 0, columns = cell_w / (FONT_W * SCALE);
  for (int i = 0; s->column_label && i < s->columns; i++) {
    int h = draw_wrapped(NULL, 0, 0, SCALE, ink, s->column_label[i], columns > 0 ? columns : 1, 3);
    if (h > height) height = h;
  }
  return height ? height + GAP : 0;
}

static struct layout plan(const struct sheet *s) {
  struct layout l = {.rows = (s->pictures + s->columns - 1) / s->columns};
  int w = 1, h = 1;
  for (int i = 0; i < s->pictures; i++) {
    if (s->picture[i].w > w) w = s->picture[i].w;
    if (s->picture[i].h > h) h = s->picture[i].h;
  }
  int longer = w > h ? w : h;
  l.factor = longer >= SEEN ? 1 : (SEEN + longer - 1) / longer;
  l.cell_w = w * l.factor;
  l.cell_h = h * l.factor;
  l.left = GAP + (s->row_label ? LABEL_COLUMNS * FONT_W * SCALE + GAP : 0);
  l.top = GAP + (s->title ? FONT_H * SCALE + 2 * GAP : 0) + column_lines_height(s, l.cell_w);
  l.w = l.left + s->columns * (l.cell_w + GAP);
  l.h = l.top + l.rows * (l.cell_h + GAP);
  int title = s->title ? text_width(s->title, SCALE) + 2 * GAP : 0;
  if (title > l.w && title < 4096) l.w = title;
  return l;
}

static void draw_labels(struct image *im, const struct sheet *s, const struct layout *l) {
  if (s->title) draw_text(im, GAP, GAP, SCALE, ink, s->title);
  int across = l->cell_w / (FONT_W * SCALE), y = GAP + (s->title ? FONT_H * SCALE + 2 * GAP : 0);
  for (int i = 0; s->column_label && i < s->columns; i++) {
    draw_wrapped(im, l->left + i * (l->cell_w + GAP), y, SCALE, ink, s->column_label[i], across > 0 ? across : 1, 3);
  }
  int lines = l->cell_h / (FONT_H * SCALE);
  for (int j = 0; s->row_label && j < l->rows; j++) {
    draw_wrapped(im, GAP, l->top + j * (l->cell_h + GAP), SCALE, ink, s->row_label[j], LABEL_COLUMNS, lines > 0 ? lines : 1);
  }
}

bool sheet_write(const char *path, const struct sheet *s, struct err *e) {
  struct layout l = plan(s);
  struct image im;
  if ((int64_t)l.w * l.h > MAX_PIXELS)
    return err_set(e, ERR_USAGE, "the contact sheet %s would have %dx%d pixels; use fewer pictures", path, l.w, l.h);
  if (!image_new(&im, l.w, l.h, 3)) return err_set(e, ERR_FIT, "out of memory");
  draw_rect(&im, 0, 0, l.w, l.h, paper);
  draw_labels(&im, s, &l);
  for (int i = 0; i < s->pictures; i++) {
    const struct image *p = &s->picture[i];
    int x = l.left + i % s->columns * (l.cell_w + GAP), y = l.top + i / s->columns * (l.cell_h + GAP);
    int factor = p->w && p->h && l.cell_w / p->w < l.cell_h / p->h ? l.cell_w / p->w : p->h ? l.cell_h / p->h : 1;
    if (p->px) draw_image(&im, x, y, p, factor > 0 ? factor : 1);
  }
  bool ok = image_write_png(path, &im, NULL, 0, e);
  image_release(&im);
  return ok;
}

bool sheet_write_files(const char *path, const struct sheet *s, const char *const *files, int n, struct err *e) {
  struct image *picture = calloc((size_t)(n > 0 ? n : 1), sizeof *picture);
  if (!picture) return err_set(e, ERR_FIT, "out of memory");
  bool ok = true;
  for (int i = 0; ok && i < n; i++) {
    if (files[i] && *files[i]) ok = image_read(files[i], &picture[i], e);
  }
  struct sheet copy = *s;
  copy.picture = picture;
  copy.pictures = n;
  ok = ok && sheet_write(path, &copy, e);
  for (int i = 0; i < n; i++) image_release(&picture[i]);
  free(picture);
  return ok;
}
