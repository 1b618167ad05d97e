/* Draws: pure functions of seed, step and example; every photograph once an epoch; pairs known beforehand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "train/draw.h"

static struct draw make(uint64_t seed) {
  struct draw d = {.seed = seed, .photographs = 5, .class_images = 7, .batch = 2, .accumulation = 3, .timesteps = 1000, .flip = true};
  struct err e = {0};
  assert_true(draw_init(&d, &e));
  return d;
}

static void test_pure(void **state) {
  (void)state;
  struct draw a = make(1), b = make(1), c = make(2);
  int differ = 0;
  for (int s = 0; s < 50; s++) {
    struct draw_example x, y, z;
    draw_example(&a, s, s % 3, s % 2, &x);
    for (int k = 49; k >= s; k -= 7) draw_example(&b, k, 0, 0, &y); /* in any order */
    draw_example(&b, s, s % 3, s % 2, &y);
    draw_example(&c, s, s % 3, s % 2, &z);
    assert_memory_equal(&x, &y, sizeof x);
    differ += x.t[SLOT_PDM] != z.t[SLOT_PDM];
    for (int k = 0; k < SLOT_KINDS; k++) assert_in_range(x.t[k], 0, 999);
  }
  assert_true(differ > 40);
  draw_release(&a);
  draw_release(&b);
  draw_release(&c);
}

/* Position g of the run takes place g % 5 of a permutation: each photograph once in five examples. */
static void test_epochs(void **state) {
  (void)state;
  struct draw d = make(3);
  int seen[5] = {0}, first[5], changed = 0;
  for (int g = 0; g < 60; g++) {
    struct draw_example x;
    draw_example(&d, g / 6, g % 6 / 2, g % 2, &x);
    seen[x.photograph]++;
    if (g < 5) first[g] = x.photograph;
    changed += first[g % 5] != x.photograph;
    if (g % 5 == 4)
      for (int i = 0; i < 5; i++) assert_int_equal(seen[i], g / 5 + 1);
    assert_in_range(x.class_image, 0, 6);
  }
  assert_true(changed > 20); /* drawn anew */
  draw_release(&d);
}

/* No two draws of a step share a counter. */
static void test_counters(void **state) {
  (void)state;
  struct draw d = make(4);
  struct rng_counter all[64];
  int n = 0;
  for (int e = 0; e < 6; e++) {
    struct draw_example x;
    draw_example(&d, 9, e / 2, e % 2, &x);
    for (int k = 0; k < SLOT_KINDS; k++) {
      all[n++] = x.noise[k];
      all[n++] = x.posterior[k];
      all[n++] = x.offset[k];
    }
  }
  for (int i = 0; i < n; i++)
    for (int j = 0; j < i; j++) assert_false(all[i].stream == all[j].stream && all[i].step == all[j].step && all[i].index == all[j].index);
  draw_release(&d);
}

static void test_pairs(void **state) {
  (void)state;
  struct draw d = make(5);
  struct err e = {0};
  int n;
  struct draw_pair *p = draw_pairs(&d, 40, &n, &e);
  assert_non_null(p);
  assert_in_range(n, 200, 240);
  for (int i = 1; i < n; i++)
    assert_true(p[i - 1].photograph < p[i].photograph || (p[i - 1].photograph == p[i].photograph && p[i - 1].t < p[i].t));
  for (int g = 0; g < 240; g++) {
    struct draw_example x;
    bool found = false;
    draw_example(&d, g / 6, g % 6 / 2, g % 2, &x);
    for (int i = 0; i < n; i++) found |= p[i].photograph == x.photograph && p[i].t == x.t[SLOT_PDM];
    assert_true(found);
  }
  free(p);
  draw_release(&d);
}

static void test_crops(void **state) {
  (void)state;
  struct draw d = make(6);
  int seen_x[4] = {0}, differ = 0, flips = 0;
  for (int s = 0; s < 200; s++) {
    int x, y, x2, y2;
    struct draw_example ex;
    draw_crop(&d, s, 0, 0, 0, 3, 9, &x, &y);
    draw_crop(&d, s, 0, 0, 1, 3, 9, &x2, &y2);
    assert_in_range(x, 0, 3);
    assert_in_range(y, 0, 9);
    seen_x[x]++;
    differ += x != x2 || y != y2;
    draw_crop(&d, s, 0, 0, 0, 0, 0, &x, &y);
    assert_true(x == 0 && y == 0);
    draw_example(&d, s, 0, 0, &ex);
    flips += ex.flip;
  }
  for (int i = 0; i < 4; i++) assert_in_range(seen_x[i], 25, 75);
  assert_true(differ > 150);
  assert_in_range(flips, 70, 130);
  draw_release(&d);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_pure), cmocka_unit_test(test_epochs), cmocka_unit_test(test_counters),
                                     cmocka_unit_test(test_pairs), cmocka_unit_test(test_crops)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
