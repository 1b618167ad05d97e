/* Numbers beside a plot: ticks, labels, smoothing, the window of steps. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ui/plot.h"

int plot_ticks(double low, double high, int most, double *out, double *step) {
  *step = 0;
  if (!(high > low) || most < 1 || !isfinite(low) || !isfinite(high)) return 0;
  double rough = (high - low) / most, power = pow(10, floor(log10(rough)));
  static const double nice[] = {1, 2, 5, 10, 20};
  for (int i = 0; i < 5; i++) {
    *step = nice[i] * power;
    double first = ceil(low / *step - 1e-9) * *step;
    int n = (int)floor((high - first) / *step + 1e-9) + 1;
    if (n > most) continue;
    for (int k = 0; k < n; k++) out[k] = first + k * *step == 0 ? 0 : (round(first / *step) + k) * *step;
    return n > 0 ? n : 0;
  }
  return 0;
}

static int decimals(double v, double step) {
  if (step > 0) return step >= 1 ? 0 : (int)ceil(-log10(step) - 1e-9);
  double size = fabs(v);
  return size == 0 ? 0 : size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : (int)ceil(-log10(size)) + 2;
}

void plot_number(double v, double step, char *out, size_t n) {
  double size = fabs(v);
  if (!isfinite(v)) {
    snprintf(out, n, "%s", isnan(v) ? "NaN" : v > 0 ? "inf" : "-inf");
  } else if (size != 0 && (size < 1e-4 || size >= 1e9) && !(step >= 1e-4 && step < 1e9)) {
    snprintf(out, n, "%.*e", step > 0 ? 0 : 1, v);
  } else if (size >= 10000 && fmod(step > 0 ? step : 1000, 100) == 0) {
    double unit = size >= 1e6 && fmod(step > 0 ? step : 1e6, 1e5) == 0 ? 1e6 : 1e3;
    snprintf(out, n, "%.*f%s", fmod(step, unit) == 0 && fmod(v, unit) == 0 ? 0 : 1, v / unit, unit == 1e6 ? "M" : "k");
  } else {
    int d = decimals(v, step);
    snprintf(out, n, "%.*f", d > 8 ? 8 : d, v);
  }
}

void plot_smooth(const double *values, int n, double weight, double *out) {
  double mean = 0, left = 1;
  for (int i = 0; i < n; i++) {
    double v = values[i];
    if (!isfinite(v)) {
      out[i] = v;
      continue;
    }
    mean = weight * mean + (1 - weight) * v;
    left *= weight;
    out[i] = mean / (1 - left);
  }
}

int plot_nearest(const struct plot_series *s, double step) {
  int low = 0, high = s->n - 1;
  if (s->n < 1) return -1;
  while (low < high) { /* the first that is not before step */
    int mid = (low + high) / 2;
    if (s->step[mid] < step) {
      low = mid + 1;
    } else {
      high = mid;
    }
  }
  return low > 0 && fabs(s->step[low - 1] - step) <= fabs(s->step[low] - step) ? low - 1 : low;
}

/* The steps of all series; false: there are none. */
static bool whole_range(const struct plot *p, double *from, double *to) {
  bool any = false;
  for (int i = 0; i < p->n_series; i++) {
    const struct plot_series *s = &p->series[i];
    if (s->n < 1) continue;
    *from = any ? fmin(*from, s->step[0]) : s->step[0];
    *to = any ? fmax(*to, s->step[s->n - 1]) : s->step[s->n - 1];
    any = true;
  }
  return any;
}

static void set_window(struct plot *p, double from, double width, double whole_from, double whole_to) {
  double whole = whole_to - whole_from;
  if (width >= whole) {
    p->from = p->to = 0; /* all */
    return;
  }
  width = fmax(width, fmin(4, whole));
  from = fmin(fmax(from, whole_from), whole_to - width);
  p->from = from;
  p->to = from + width;
}

void plot_zoom(struct plot *p, double step, double factor) {
  double a, b;
  if (!whole_range(p, &a, &b)) return;
  double from = p->to > p->from ? p->from : a, to = p->to > p->from ? p->to : b;
  step = fmin(fmax(step, from), to);
  set_window(p, step - (step - from) * factor, (to - from) * factor, a, b);
}

void plot_pan(struct plot *p, double part) {
  double a, b;
  if (!whole_range(p, &a, &b) || p->to <= p->from) return;
  double width = p->to - p->from;
  set_window(p, p->from + part * width, width, a, b);
}
