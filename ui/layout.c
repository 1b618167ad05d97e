#include "ui/layout.h"

#include <math.h>

static int smaller(int a, int b) {
  return a < b ? a : b;
}

static int larger(int a, int b) {
  return a > b ? a : b;
}

bool rect_empty(struct rect r) {
  return r.w <= 0 || r.h <= 0;
}

bool rect_holds(struct rect r, int x, int y) {
  return x >= r.x && y >= r.y && x < r.x + r.w && y < r.y + r.h;
}

struct rect rect_meet(struct rect a, struct rect b) {
  struct rect r = {larger(a.x, b.x), larger(a.y, b.y), 0, 0};
  r.w = smaller(a.x + a.w, b.x + b.w) - r.x;
  r.h = smaller(a.y + a.h, b.y + b.h) - r.y;
  if (r.w <= 0 || r.h <= 0) r.w = r.h = 0;
  return r;
}

struct rect rect_inset(struct rect r, int left, int top, int right, int bottom) {
  return (struct rect){r.x + smaller(left, r.w), r.y + smaller(top, r.h), larger(0, r.w - left - right), larger(0, r.h - top - bottom)};
}

struct rect rect_top(struct rect r, int rows) {
  return (struct rect){r.x, r.y, r.w, smaller(r.h, larger(0, rows))};
}

struct rect rect_bottom(struct rect r, int rows) {
  int h = smaller(r.h, larger(0, rows));
  return (struct rect){r.x, r.y + r.h - h, r.w, h};
}

struct rect rect_left(struct rect r, int columns) {
  return (struct rect){r.x, r.y, smaller(r.w, larger(0, columns)), r.h};
}

struct rect rect_right(struct rect r, int columns) {
  int w = smaller(r.w, larger(0, columns));
  return (struct rect){r.x + r.w - w, r.y, w, r.h};
}

/* Gives every part its minimum while there is room; returns what is left. */
static int give_minima(int length, int gap, const struct part *parts, int n, int *sizes) {
  int left = length;
  for (int i = 0, shown = 0; i < n; i++) {
    int before = shown > 0 ? gap : 0;
    bool wanted = parts[i].min > 0 || parts[i].weight > 0;
    int room = left - before;
    sizes[i] = wanted ? larger(0, smaller(parts[i].min, room)) : 0;
    if (!wanted || room <= 0) continue;
    left -= before + sizes[i];
    shown++;
  }
  return larger(0, left);
}

/* Shares left cells by weight among the parts that may still grow; returns what no part could take. */
static int share_once(int left, const struct part *parts, int n, int *sizes) {
  int weights = 0;
  for (int i = 0; i < n; i++) weights += parts[i].max == 0 || sizes[i] < parts[i].max ? parts[i].weight : 0;
  int pool = left;
  for (int i = 0; i < n && weights > 0; i++) {
    if (parts[i].weight <= 0 || (parts[i].max > 0 && sizes[i] >= parts[i].max)) continue;
    int share =
        (int)((long long)pool * parts[i].weight / weights); /* of what is left for the parts from here on: nothing is lost to rounding */
    pool -= share;
    weights -= parts[i].weight;
    if (parts[i].max > 0) share = smaller(share, parts[i].max - sizes[i]);
    sizes[i] += share;
    left -= share;
  }
  return left;
}

void layout_split(int length, int gap, const struct part *parts, int n, int *sizes) {
  int left = give_minima(length, gap, parts, n, sizes);
  for (int round = 0; round < n && left > 0; round++) {
    int rest = share_once(left, parts, n, sizes);
    if (rest == left) return;
    left = rest;
  }
}

enum { MOST_PARTS = 32 };

static void split_rect(struct rect r, int gap, const struct part *parts, int n, struct rect *out, bool down) {
  int sizes[MOST_PARTS] = {0};
  int kept = smaller(n, MOST_PARTS), at = down ? r.y : r.x, end = at + (down ? r.h : r.w);
  layout_split(end - at, gap, parts, kept, sizes);
  for (int i = 0; i < n; i++) {
    int size = i < kept ? sizes[i] : 0;
    int start = smaller(at, end);
    out[i] = down ? (struct rect){r.x, start, r.w, size} : (struct rect){start, r.y, size, r.h};
    if (size > 0) at += size + gap;
  }
}

void layout_columns(struct rect r, int gap, const struct part *parts, int n, struct rect *out) {
  split_rect(r, gap, parts, n, out, false);
}

void layout_rows(struct rect r, int gap, const struct part *parts, int n, struct rect *out) {
  split_rect(r, gap, parts, n, out, true);
}

struct rect layout_fit(struct rect box, int w, int h, struct cell_size cell, bool upscale) {
  if (rect_empty(box) || w <= 0 || h <= 0) return (struct rect){box.x, box.y, 0, 0};
  double cw = cell.w > 0 && cell.h > 0 ? cell.w : 8, ch = cell.w > 0 && cell.h > 0 ? cell.h : 16;
  double scale_w = box.w * cw / w, scale_h = box.h * ch / h;
  double scale = scale_w < scale_h ? scale_w : scale_h;
  if (!upscale && scale > 1) scale = 1;
  int most = larger(1, smaller(box.h, (int)(h * scale / ch + 0.5))), rows = most, columns = 1;
  double least = 1e9;
  for (int tried = most; tried > most - 3 && tried > 0; tried--) {
    int wide = larger(1, smaller(box.w, (int)(tried * ch * w / h / cw + 0.5)));
    double off = fabs(log(wide * cw * h / (tried * ch * w))) + 0.004 * (most - tried);
    if (off >= least) continue;
    least = off;
    rows = tried;
    columns = wide;
  }
  return (struct rect){box.x + (box.w - columns) / 2, box.y + (box.h - rows) / 2, columns, rows};
}
