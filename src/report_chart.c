/* Curves of a run as inline SVG: pale as measured, strong smoothed; the numbers of a place show when the pointer rests there. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "html.h"
#include "report.h"

enum { WIDTH = 460, HEIGHT = 220, LEFT = 64, RIGHT = 10, TOP = 10, BOTTOM = 26 };
enum { BUCKETS = 300, PLACES = 80, FEW = 40 };

/* One chart: a member of struct metrics. */
struct curve {
  const char *title, *note, *css;
  size_t offset;
  bool exact; /* there is no noise to smooth */
};

static const struct curve curves[] = {
    {"Loss, total", "the weighted sum that is trained on", "total", offsetof(struct metrics, total), false},
    {"Loss on the photographs", "instance", "instance", offsetof(struct metrics, instance), false},
    {"Loss on the class images", "prior", "prior", offsetof(struct metrics, prior), false},
    {"Loss of the feature maps", "pdm", "pdm", offsetof(struct metrics, pdm), false},
    {"Loss on held-out photographs", "probe: fixed noise and timesteps", "probe", offsetof(struct metrics, probe), false},
    {"Gradient norm", "before clipping", "other", offsetof(struct metrics, grad_norm), false},
    {"Learning rate", "", "other", offsetof(struct metrics, lr), true},
    {"Seconds a step", "", "other", offsetof(struct metrics, seconds), false},
};

/* The values that are finite, in the order of their steps. */
struct points {
  int n, lost;                   /* lost: infinite */
  bool plain;                    /* few, or exact: drawn as they are */
  double *step, *value, *smooth; /* [n], one block owned by step */
};

static double value_of(const struct metrics *m, const struct curve *c) {
  double v;
  memcpy(&v, (const char *)m + c->offset, sizeof v);
  return v;
}

/* The exponential mean over about n / 20 values, freed of its start at zero. */
static void smooth(struct points *p) {
  double keep = 1 - 1 / fmax(1, p->n / 20.0), mean = 0, weight = 0;
  for (int i = 0; i < p->n; i++) {
    mean = keep * mean + (1 - keep) * p->value[i];
    weight = keep * weight + (1 - keep);
    p->smooth[i] = mean / weight;
  }
}

static bool collect(struct points *p, const struct report *r, const struct curve *c) {
  *p = (struct points){0};
  double *block = malloc(3 * sizeof *block * (size_t)(r->n_rows + 1));
  if (!block) return false;
  p->step = block;
  p->value = block + r->n_rows;
  p->smooth = p->value + r->n_rows;
  for (int i = 0; i < r->n_rows; i++) {
    double v = value_of(&r->rows[i], c);
    p->lost += isinf(v) != 0;
    if (!isfinite(v)) continue;
    p->step[p->n] = r->rows[i].step;
    p->value[p->n++] = v;
  }
  p->plain = c->exact || p->n <= FEW;
  smooth(p);
  return true;
}

struct frame {
  double step_min, step_max, min, max; /* values: from a tick to a tick */
  double tick;
};

static double nice_step(double range, int ticks) {
  double raw = range / ticks, power = pow(10, floor(log10(raw))), f = raw / power;
  return power * (f <= 1 ? 1 : f <= 2 ? 2 : f <= 5 ? 5 : 10);
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* From the least value (or zero, where that is not far) to the 99th hundredth: one spike does not flatten the rest. */
static bool fit(struct frame *f, const struct points *p) {
  double *sorted = malloc(sizeof *sorted * (size_t)p->n);
  if (!sorted) return false;
  memcpy(sorted, p->value, sizeof *sorted * (size_t)p->n);
  qsort(sorted, (size_t)p->n, sizeof *sorted, compare);
  double least = sorted[0], top = p->n > 100 ? sorted[(int)(0.99 * (p->n - 1))] : sorted[p->n - 1];
  free(sorted);
  if (least > 0 && least < top / 2) least = 0;
  double range = top - least;
  if (!(range > fabs(top) * 1e-9)) { /* all the same */
    range = fabs(top) > 0 ? fabs(top) : 1;
    least = top > 0 ? 0 : top - range / 2;
  }
  f->tick = nice_step(range, 4);
  f->min = floor(least / f->tick) * f->tick;
  f->max = ceil((least + range * 1.02) / f->tick) * f->tick;
  f->step_min = p->step[0];
  f->step_max = p->step[p->n - 1];
  return true;
}

static double x_of(const struct frame *f, double step) {
  double range = f->step_max - f->step_min;
  return LEFT + (range > 0 ? (step - f->step_min) / range : 0.5) * (WIDTH - LEFT - RIGHT);
}

static double y_of(const struct frame *f, double v) {
  double y = HEIGHT - BOTTOM - (v - f->min) / (f->max - f->min) * (HEIGHT - TOP - BOTTOM);
  return fmin(fmax(y, TOP - 4), HEIGHT - BOTTOM);
}

static void draw_axes(FILE *out, const struct frame *f) {
  double range = f->step_max - f->step_min, dx = range >= 1 ? fmax(1, nice_step(range, 5)) : 1;
  for (int i = 0; f->min + i * f->tick <= f->max + f->tick / 2; i++) {
    double v = f->min + i * f->tick, y = y_of(f, v);
    if (fabs(v) < f->tick / 1000) v = 0;
    fprintf(out, "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" class=\"y\">%.4g</text>", LEFT, y, WIDTH - RIGHT,
            LEFT - 6, y + 4, v);
  }
  for (double v = ceil(f->step_min / dx) * dx; v <= f->step_max; v += dx) {
    double x = x_of(f, v);
    fprintf(out, "<path class=\"tick\" d=\"M%.1f %dv4\"/><text x=\"%.1f\" y=\"%d\" class=\"%s\">%.0f</text>", x, HEIGHT - BOTTOM, x,
            HEIGHT - 8, x > WIDTH - RIGHT - 20 ? "x last" : "x", v);
  }
  fprintf(out, "<path class=\"axis\" d=\"M%d %dH%d\"/>", LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT);
}

/* Of each of at most BUCKETS stretches the least and the greatest value, in their order: what is drawn looks as all values would. */
static void draw_measured(FILE *out, const struct frame *f, const struct points *p) {
  fputs("<path class=\"raw\" d=\"", out);
  int buckets = p->n < 2 * BUCKETS ? p->n : BUCKETS;
  for (int b = 0; b < buckets; b++) {
    int from = (int)((int64_t)b * p->n / buckets), to = (int)((int64_t)(b + 1) * p->n / buckets), low = from, high = from;
    for (int i = from; i < to; i++) {
      if (p->value[i] < p->value[low]) low = i;
      if (p->value[i] > p->value[high]) high = i;
    }
    int first = low < high ? low : high, second = low < high ? high : low;
    fprintf(out, "%c%.1f %.1f", b ? 'L' : 'M', x_of(f, p->step[first]), y_of(f, p->value[first]));
    if (second != first) fprintf(out, "L%.1f %.1f", x_of(f, p->step[second]), y_of(f, p->value[second]));
  }
  fputs("\"/>", out);
}

/* The last of each stretch; few values (the probe) are joined as they are, with a dot for each. */
static void draw_line(FILE *out, const struct frame *f, const struct points *p) {
  const double *v = p->plain ? p->value : p->smooth;
  fputs("<path class=\"line\" d=\"", out);
  int buckets = p->n < BUCKETS ? p->n : BUCKETS;
  for (int b = 0; b < buckets; b++) {
    int i = (int)((int64_t)(b + 1) * p->n / buckets) - 1;
    fprintf(out, "%c%.1f %.1f", b ? 'L' : 'M', x_of(f, p->step[i]), y_of(f, v[i]));
  }
  fputs("\"/>", out);
  for (int i = 0; p->n <= FEW && i < p->n; i++)
    fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.6\"/>", x_of(f, p->step[i]), y_of(f, v[i]));
}

/* Stretches that light up under the pointer and tell their numbers. */
static void draw_places(FILE *out, const struct frame *f, const struct points *p) {
  int places = p->n < PLACES ? p->n : PLACES;
  double wide = (double)(WIDTH - LEFT - RIGHT) / (places > 1 ? places - 1 : 1);
  for (int b = 0; b < places; b++) {
    int i = places > 1 ? (int)((int64_t)b * (p->n - 1) / (places - 1)) : 0;
    double x = x_of(f, p->step[i]), left = fmax(x - wide / 2, LEFT), right = fmin(x + wide / 2, WIDTH - RIGHT);
    fprintf(out,
            "<g class=\"place\"><rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"/><circle cx=\"%.1f\" cy=\"%.1f\" "
            "r=\"3.4\"/><title>step %.0f: %.5g",
            left, TOP, right - left, HEIGHT - TOP - BOTTOM, x, y_of(f, p->plain ? p->value[i] : p->smooth[i]), p->step[i], p->value[i]);
    if (!p->plain) fprintf(out, "\nsmoothed: %.5g", p->smooth[i]);
    fputs("</title></g>", out);
  }
}

static bool draw_chart(FILE *out, const struct curve *c, const struct points *p) {
  struct frame f;
  if (!p->n) return true;
  if (!fit(&f, p)) return false;
  fprintf(out, "<figure class=\"chart %s\"><figcaption><b>%s</b> <span>%s</span><span class=\"now\">%.4g</span></figcaption>", c->css,
          c->title, c->note, p->plain ? p->value[p->n - 1] : p->smooth[p->n - 1]);
  fprintf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s over %d steps\">", WIDTH, HEIGHT, c->title, p->n);
  draw_axes(out, &f);
  if (!p->plain) draw_measured(out, &f, p);
  draw_line(out, &f, p);
  draw_places(out, &f, p);
  fputs("</svg>", out);
  if (p->lost) fprintf(out, "<p class=\"warn\">%d value%s not finite and not drawn.</p>", p->lost, p->lost == 1 ? " is" : "s are");
  fputs("</figure>\n", out);
  return true;
}

bool report_charts(const struct report *r, FILE *out, struct err *e) {
  bool ok = true;
  fputs("<section><h2>Curves</h2>\n", out);
  if (!r->n_rows) fputs("<p class=\"none\">No step has been trained.</p>\n", out);
  fputs("<div class=\"charts\">\n", out);
  for (size_t i = 0; ok && r->n_rows && i < sizeof curves / sizeof *curves; i++) {
    struct points p;
    ok = collect(&p, r, &curves[i]) && draw_chart(out, &curves[i], &p);
    free(p.step);
  }
  fputs("</div></section>\n", out);
  return ok || err_set(e, ERR_FAILED, "out of memory");
}
