#include "plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "font.h"
#include "text.h"

enum { WIDTH = 1200, HEIGHT = 900, LEFT = 110, RIGHT = 24, SCALE = 2 };

static const struct color paper = {255, 255, 255}, ink = {40, 40, 46}, grid = {226, 226, 230};

struct panel {
  int top, bottom;
  double step_min, step_max, max;
};

/* One curve: a member of struct metrics. */
struct curve {
  const char *name;
  size_t offset;
  struct color color;
};

static const struct curve loss_curves[] = {
    {"total", offsetof(struct metrics, total), {60, 60, 66}},   {"instance", offsetof(struct metrics, instance), {214, 80, 30}},
    {"prior", offsetof(struct metrics, prior), {30, 110, 200}}, {"pdm", offsetof(struct metrics, pdm), {24, 140, 80}},
    {"probe", offsetof(struct metrics, probe), {150, 60, 170}},
};
static const struct curve norm_curves[] = {{"gradient norm", offsetof(struct metrics, grad_norm), {90, 70, 160}}};

static double value_of(const struct metrics *m, const struct curve *c) {
  double v;
  memcpy(&v, (const char *)m + c->offset, sizeof v);
  return v;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* -1: out of memory. The top of the axis: the 99th hundredth of all values, so that one spike does not flatten the rest. */
static double top_of(const struct metrics *rows, int n, const struct curve *c, int curves) {
  double *v = malloc(sizeof *v * (size_t)(n * curves + 1)), top = 0;
  int have = 0;
  if (!v) return -1;
  for (int i = 0; i < n; i++) {
    for (int j = 0; j < curves; j++) {
      double x = value_of(&rows[i], &c[j]);
      if (isfinite(x)) v[have++] = x;
    }
  }
  qsort(v, (size_t)have, sizeof *v, compare);
  if (have) top = v[(int)(0.99 * (have - 1))] * 1.1;
  free(v);
  return top > 0 ? top : 1;
}

static double nice_step(double range, int ticks) {
  double raw = range / ticks, power = pow(10, floor(log10(raw))), f = raw / power;
  return power * (f <= 1 ? 1 : f <= 2 ? 2 : f <= 5 ? 5 : 10);
}

static double x_of(const struct panel *p, double step) {
  double range = p->step_max - p->step_min;
  return LEFT + (range > 0 ? (step - p->step_min) / range : 0.5) * (WIDTH - LEFT - RIGHT);
}

static double y_of(const struct panel *p, double v) {
  double y = p->bottom - v / p->max * (p->bottom - p->top);
  return y < p->top ? p->top : y;
}

static void draw_axes(struct image *im, const struct panel *p, const char *name) {
  char label[32];
  double dy = nice_step(p->max, 5), range = p->step_max - p->step_min, dx = range >= 1 ? fmax(1, nice_step(range, 8)) : 1;
  for (double v = 0; v <= p->max * 1.0001; v += dy) {
    int y = (int)y_of(p, v);
    draw_rect(im, LEFT, y, WIDTH - LEFT - RIGHT, 1, grid);
    text_put(label, sizeof label, "%.4g", v);
    draw_text(im, LEFT - 8 - text_width(label, SCALE), y - FONT_H * SCALE / 2, SCALE, ink, label);
  }
  for (double v = ceil(p->step_min / dx) * dx; v <= p->step_max; v += dx) {
    int x = (int)x_of(p, v);
    draw_rect(im, x, p->top, 1, p->bottom - p->top, grid);
    text_put(label, sizeof label, "%.0f", v);
    draw_text(im, x - text_width(label, SCALE) / 2, p->bottom + 6, SCALE, ink, label);
  }
  draw_rect(im, LEFT, p->top, 2, p->bottom - p->top, ink);
  draw_rect(im, LEFT, p->bottom, WIDTH - LEFT - RIGHT, 2, ink);
  draw_text(im, WIDTH - RIGHT - text_width("step", SCALE), p->bottom + 28, SCALE, ink, "step");
  draw_text(im, 10, p->top - 30, SCALE, ink, name);
}

/* Pale: as measured. Strong: the exponential average over about n / 20 steps. Few points (the probe) are joined as they are. */
static void draw_curve(struct image *im, const struct panel *p, const struct metrics *rows, int n, const struct curve *c) {
  struct color pale = {(unsigned char)(255 - (255 - c->color.r) / 4), (unsigned char)(255 - (255 - c->color.g) / 4),
                       (unsigned char)(255 - (255 - c->color.b) / 4)};
  double keep = 1 - 1 / fmax(1, n / 20.0);
  for (int pass = 0; pass < 2; pass++) {
    double mean = 0, weight = 0, x0 = 0, y0 = 0;
    bool sparse = !strcmp(c->name, "probe"), first = true;
    for (int i = 0; i < n; i++) {
      double v = value_of(&rows[i], c);
      if (!isfinite(v)) continue;
      mean = keep * mean + (1 - keep) * v;
      weight = keep * weight + (1 - keep);
      double x = x_of(p, rows[i].step), y = y_of(p, pass && !sparse ? mean / weight : v);
      if (!first) draw_line(im, x0, y0, x, y, pass ? 2.2 : 1, pass ? c->color : pale);
      if (sparse && pass) draw_rect(im, (int)x - 4, (int)y - 4, 9, 9, c->color);
      x0 = x, y0 = y, first = false;
    }
  }
}

static bool has_values(const struct metrics *rows, int n, const struct curve *c) {
  for (int i = 0; i < n; i++) {
    if (isfinite(value_of(&rows[i], c))) return true;
  }
  return false;
}

static bool draw_panel(struct image *im, int top, int bottom, const char *name, const struct metrics *rows, int n, const struct curve *c,
                       int curves) {
  struct panel p = {
      .top = top, .bottom = bottom, .step_min = rows[0].step, .step_max = rows[n - 1].step, .max = top_of(rows, n, c, curves)};
  if (p.max < 0) return false;
  draw_axes(im, &p, name);
  int x = LEFT + 220;
  for (int i = curves; i-- > 0;) {
    if (has_values(rows, n, &c[i])) draw_curve(im, &p, rows, n, &c[i]);
  }
  for (int i = 0; curves > 1 && i < curves; i++) {
    if (!has_values(rows, n, &c[i])) continue;
    draw_rect(im, x, top - 22, 24, 5, c[i].color);
    x += 34;
    x += draw_text(im, x, top - 30, SCALE, ink, c[i].name) + 30;
  }
  return true;
}

bool plot_curves(const char *path, const char *title, const struct metrics *rows, int n, struct err *e) {
  struct image im;
  if (n < 1) return true;
  if (!image_new(&im, WIDTH, HEIGHT, 3)) return err_set(e, ERR_FIT, "out of memory");
  draw_rect(&im, 0, 0, WIDTH, HEIGHT, paper);
  draw_text(&im, 10, 8, SCALE, ink, title);
  bool ok = draw_panel(&im, 80, 540, "loss", rows, n, loss_curves, sizeof loss_curves / sizeof *loss_curves) &&
            draw_panel(&im, 650, 830, "gradient norm", rows, n, norm_curves, 1);
  ok = ok ? image_write_png(path, &im, NULL, 0, e) : err_set(e, ERR_FIT, "out of memory for the curves");
  image_release(&im);
  return ok;
}
