/* Loss curves: numbers, ticks, smoothing, windows, and golden pictures of whole plots. GOLDEN_UPDATE=1 writes those anew. */
#include "ui/plot.h"

#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "terminal/golden.h"

enum { POINTS = 400 };

/* A falling, noisy loss, the same everywhere. */
static void make_loss(double *step, double *value, int n, double scale, unsigned seed) {
  for (int i = 0; i < n; i++) {
    seed = seed * 1664525u + 1013904223u;
    step[i] = i + 1;
    value[i] = scale * (0.08 + 0.3 / (1 + i * 40.0 / n)) * (0.7 + 0.6 * (seed >> 8) / 16777216.0);
  }
}

static double steps[POINTS], instance[POINTS], prior[POINTS], pdm[POINTS];

static struct plot_series named(const char *name, const double *value, int n, enum style style) {
  return (struct plot_series){name, steps, value, n, style, PLOT_SOLID};
}

static void fill(struct plot_series out[3]) {
  make_loss(steps, instance, POINTS, 1, 1);
  make_loss(steps, prior, POINTS, 0.5, 2);
  make_loss(steps, pdm, POINTS, 0.05, 3);
  out[0] = named("instance", instance, POINTS, STYLE_CURVE_0);
  out[1] = named("prior", prior, POINTS, STYLE_CURVE_1);
  out[2] = named("pdm", pdm, POINTS, STYLE_CURVE_2);
}

static void golden(const char *name, const struct plot *p, int w, int h, bool utf8) {
  struct canvas c = {.utf8 = utf8};
  assert_true(canvas_resize(&c, w, h));
  plot_draw(&c, canvas_rect(&c), p);
  char *dump = canvas_dump(&c), path[4096];
  snprintf(path, sizeof path, "%s/terminal/golden/plot-%s.txt", getenv("PDMBOOTH_TESTS"), name);
  const char *update = getenv("GOLDEN_UPDATE");
  bool same = golden_compare(path, dump, update != NULL && *update != 0, stdout);
  free(dump);
  canvas_release(&c);
  if (!same) fail_msg("the plot `%s` is not as it was", name);
}

static void numbers(void **state) {
  (void)state;
  static const struct {
    double v, step;
    const char *text;
  } cases[] = {{0.05, 0.05, "0.05"},    {0.3, 0.1, "0.3"},     {200, 200, "200"},
               {12500, 2500, "12.5k"},  {40000, 20000, "40k"}, {0, 0.1, "0.0"},
               {1e-6, 0, "1.0e-06"},    {0.03125, 0, "0.0312"}, {0.5, 0, "0.500"},
               {1.5, 0, "1.50"},        {2e6, 1e6, "2M"},      {1500000, 500000, "1.5M"},
               {(double)NAN, 0, "NaN"}, {99.5, 0, "99.5"},     {-(double)INFINITY, 0, "-inf"},
               {1234, 1, "1234"},       {0, 0, "0"},           {10050, 50, "10050"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[32];
    plot_number(cases[i].v, cases[i].step, text, sizeof text);
    assert_string_equal(text, cases[i].text);
  }
}

static void ticks_are_round_and_inside(void **state) {
  (void)state;
  double out[64], step;
  assert_int_equal(plot_ticks(0, 1, 5, out, &step), 3); /* 0, 0.5, 1 */
  assert_true(step == 0.5 && out[2] == 1);
  assert_int_equal(plot_ticks(1, 1, 5, out, &step), 0);
  assert_int_equal(plot_ticks(0, (double)NAN, 5, out, &step), 0);
  for (int i = 0; i < 2000; i++) {
    double low = sin(i) * pow(10, i % 9 - 4), width = (1.1 + cos(i * 7)) * pow(10, i % 11 - 6);
    int most = 2 + i % 12, n = plot_ticks(low, low + width, most, out, &step);
    assert_in_range(n, 1, most);
    double digits = step / pow(10, floor(log10(step) + 1e-9));
    assert_true(fabs(digits - 1) < 1e-6 || fabs(digits - 2) < 1e-6 || fabs(digits - 5) < 1e-6);
    for (int k = 0; k < n; k++) {
      assert_true(out[k] >= low - width * 1e-6 && out[k] <= low + width * (1 + 1e-6));
      if (k > 0) assert_true(fabs(out[k] - out[k - 1] - step) < step * 1e-6 + fabs(low) * 1e-14);
    }
  }
}

static void smoothing_is_debiased(void **state) {
  (void)state;
  double flat[50], out[50];
  for (int i = 0; i < 50; i++) flat[i] = i == 20 ? (double)NAN : 3;
  plot_smooth(flat, 50, 0.97, out);
  for (int i = 0; i < 50; i++)
    assert_true(i == 20 ? isnan(out[i]) : fabs(out[i] - 3) < 1e-9); /* without the correction it would begin near 0 */
  plot_smooth((const double[]){1, 3, 5}, 3, 0.5, out);
  assert_true(fabs(out[0] - 1) < 1e-12 && fabs(out[1] - (0.25 * 1 + 0.5 * 3) / 0.75) < 1e-12);
  plot_smooth((const double[]){1, 3, 5}, 3, 0, out);
  assert_true(out[0] == 1 && out[1] == 3 && out[2] == 5);
}

static void nearest_points(void **state) {
  (void)state;
  struct plot_series s = {.step = (const double[]){10, 20, 50}, .n = 3};
  assert_int_equal(plot_nearest(&s, -5), 0);
  assert_int_equal(plot_nearest(&s, 15), 0);
  assert_int_equal(plot_nearest(&s, 16), 1);
  assert_int_equal(plot_nearest(&s, 36), 2);
  assert_int_equal(plot_nearest(&s, 1e9), 2);
  s.n = 0;
  assert_int_equal(plot_nearest(&s, 1), -1);
}

static void zoom_and_pan_stay_within(void **state) {
  (void)state;
  struct plot_series s[3];
  fill(s);
  struct plot p = {.series = s, .n_series = 3};
  plot_zoom(&p, 100, 0.5);
  assert_true(fabs((p.to - p.from) - 399 / 2.0) < 1e-9);
  assert_true(fabs((100 - p.from) / (p.to - p.from) - 99 / 399.0) < 1e-9); /* what was under the pointer stays there */
  plot_pan(&p, 50);
  assert_true(p.to == 400);
  plot_pan(&p, -50);
  assert_true(p.from == 1);
  for (int i = 0; i < 40; i++) plot_zoom(&p, 30, 0.5);
  assert_true(p.to - p.from >= 3.99);
  for (int i = 0; i < 40; i++) plot_zoom(&p, 30, 2);
  assert_true(p.from == 0 && p.to == 0);
}

static void columns_and_steps_agree(void **state) {
  (void)state;
  struct plot_series s[3];
  fill(s);
  struct plot p = {.series = s, .n_series = 3};
  struct canvas c = {.utf8 = true};
  assert_true(canvas_resize(&c, 80, 20));
  struct plot_frame f = plot_draw(&c, canvas_rect(&c), &p);
  assert_true(f.from == 1 && f.to == 400);
  for (int x = f.area.x; x < f.area.x + f.area.w; x++) assert_int_equal(plot_column_of(&f, plot_step_at(&f, x)), x);
  canvas_release(&c);
}

static void golden_linear(void **state) {
  (void)state;
  struct plot_series s[3];
  fill(s);
  struct plot p = {.series = s, .n_series = 3, .legend = true};
  golden("linear", &p, 80, 20, true);
  golden("linear-ascii", &p, 80, 20, false);
  golden("small", &p, 34, 8, true);
}

static void golden_log_and_smooth(void **state) {
  (void)state;
  struct plot_series s[3];
  fill(s);
  struct plot_mark marks[] = {{100, PLOT_SAMPLE}, {200, PLOT_SAMPLE}, {200, PLOT_CHECKPOINT}, {250, PLOT_SPIKE}, {333, PLOT_NAN}};
  struct plot p = {.series = s,
                   .n_series = 3,
                   .legend = true,
                   .logarithmic = true,
                   .smoothing = 0.95,
                   .marks = marks,
                   .n_marks = 5,
                   .has_cursor = true,
                   .cursor = 150};
  golden("log", &p, 100, 24, true);
  p.cursor = 390; /* the legend makes room */
  p.from = 300;
  p.to = 400;
  golden("window", &p, 100, 24, true);
  golden("window-ascii", &p, 60, 16, false);
}

static void golden_gaps(void **state) {
  (void)state;
  struct plot_series s[3];
  fill(s);
  for (int i = 100; i < 200; i++) instance[i] = (double)NAN;
  instance[300] = (double)INFINITY;
  struct plot p = {.series = s, .n_series = 1, .legend = true};
  golden("gaps", &p, 60, 12, true);
}

static void odd_series(void **state) {
  (void)state;
  double one[] = {0.5}, zero[] = {0, 0, 0}, nan[] = {(double)NAN, (double)NAN}, negative[] = {-1, -2};
  make_loss(steps, instance, POINTS, 1, 1);
  struct plot_series s = named("x", one, 1, STYLE_CURVE_0);
  struct plot p = {.series = &s, .n_series = 1, .legend = true};
  golden("one-point", &p, 40, 8, true);
  s = named("x", zero, 3, STYLE_CURVE_0);
  golden("zeros", &p, 40, 8, true);
  s = named("x", nan, 2, STYLE_CURVE_0);
  golden("nothing", &p, 40, 8, true);
  p.logarithmic = true;
  s = named("x", negative, 2, STYLE_CURVE_0);
  golden("nothing", &p, 40, 8, true); /* what is not above 0 cannot be shown */
}

/* A spike of one point among 100,000 is seen, and drawing is quick. */
static void many_points_are_decimated_by_extremes(void **state) {
  (void)state;
  enum { MANY = 100000 };
  double *x = malloc(MANY * sizeof *x), *y = malloc(MANY * sizeof *y);
  for (int i = 0; i < MANY; i++) x[i] = i, y[i] = 0.1;
  y[54321] = 1;
  struct plot_series s = {"spike", x, y, MANY, STYLE_CURVE_0, PLOT_SOLID};
  struct plot p = {.series = &s, .n_series = 1};
  struct canvas c = {.utf8 = true};
  assert_true(canvas_resize(&c, 100, 30));
  struct timespec a, b;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
  struct plot_frame f = plot_draw(&c, canvas_rect(&c), &p);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
  int column = plot_column_of(&f, 54321), height = 0;
  for (int y0 = f.area.y; y0 < f.area.y + f.area.h; y0++) height += canvas_at(&c, column, y0)->style == STYLE_CURVE_0;
  assert_true(height > f.area.h * 8 / 10);
  double ms = (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
  print_message("100,000 points: %.1f ms\n", ms);
  assert_true(ms < 200);
  canvas_release(&c);
  free(x);
  free(y);
}

/* Any size, any window: nothing outside the rectangle is touched, nothing crashes. */
static void stays_in_its_rectangle(void **state) {
  (void)state;
  struct plot_series s[3];
  fill(s);
  unsigned r = 7;
  for (int i = 0; i < 400; i++) {
    r = r * 1664525u + 1013904223u;
    struct canvas c = {.utf8 = r >> 31};
    assert_true(canvas_resize(&c, 60, 20));
    struct rect box = {(int)(r >> 8) % 20, (int)(r >> 12) % 10, (int)(r >> 16) % 50, (int)(r >> 20) % 15};
    struct plot p = {.series = s,
                     .n_series = 3,
                     .legend = true,
                     .from = (int)(r >> 5) % 500 - 50,
                     .has_cursor = true,
                     .cursor = (int)(r >> 3) % 500,
                     .logarithmic = r >> 29 & 1};
    p.to = p.from + (int)(r >> 9) % 300;
    plot_draw(&c, box, &p);
    for (int y = 0; y < 20; y++) {
      for (int x = 0; x < 60; x++) {
        if (!rect_holds(box, x, y)) assert_string_equal(canvas_at(&c, x, y)->text, " ");
      }
    }
    canvas_release(&c);
  }
}

int main(void) {
  if (setlocale(LC_ALL, "C.UTF-8") == NULL) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(numbers),
      cmocka_unit_test(ticks_are_round_and_inside),
      cmocka_unit_test(smoothing_is_debiased),
      cmocka_unit_test(nearest_points),
      cmocka_unit_test(zoom_and_pan_stay_within),
      cmocka_unit_test(columns_and_steps_agree),
      cmocka_unit_test(golden_linear),
      cmocka_unit_test(golden_log_and_smooth),
      cmocka_unit_test(golden_gaps),
      cmocka_unit_test(odd_series),
      cmocka_unit_test(many_points_are_decimated_by_extremes),
      cmocka_unit_test(stays_in_its_rectangle),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
