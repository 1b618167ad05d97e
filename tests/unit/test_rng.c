/* Random numbers: known answers, accuracy of the normals, independence of how they are asked for. */
#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Random123, tests/kat_vectors, "philox4x32 10": counter, key, answer */
static const uint32_t KNOWN[][10] = {
    {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
    {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
    {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
};

static void test_known_answers(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof KNOWN / sizeof KNOWN[0]; i++) {
    const uint32_t *k = KNOWN[i];
    struct rng_counter c = {.seed = (uint64_t)k[5] << 32 | k[4], .index = k[1], .step = k[2], .stream = k[3]};
    uint32_t out[4];
    rng_block(&c, k[0], out);
    assert_memory_equal(out, k + 6, sizeof out);
  }
}

static const struct rng_counter COUNTER = {.seed = 0x123456789abcdef0u, .stream = RNG_SAMPLE, .step = 7, .index = 3};

static void test_numbers_in_order(void **state) {
  (void)state;
  for (uint32_t n = 0; n < 64; n++) {
    uint32_t out[4];
    rng_block(&COUNTER, n / 4, out);
    assert_int_equal(rng_u32(&COUNTER, n), out[n % 4]);
  }
}

/* Distance in units in the last place of x. */
static double ulps(float x, long double exact) {
  float next = nextafterf(fabsf(x), INFINITY) - fabsf(x);
  return (double)fabsl((long double)x - exact) / next;
}

static void test_normals_are_exact_to_2_ulp(void **state) {
  (void)state;
  enum { N = 1 << 20 };
  float *z = malloc(N * sizeof *z);
  double worst = 0;
  rng_normal(&COUNTER, z, 0, N);
  for (uint32_t i = 0; i < N; i += 2) {
    long double u = (rng_u32(&COUNTER, i) + 0.5L) / 4294967296.0L, turn = rng_u32(&COUNTER, i + 1) / 4294967296.0L;
    long double radius = sqrtl(-2 * logl(u)), angle = 2 * 3.14159265358979323846264338328L * turn;
    worst = fmax(worst, fmax(ulps(z[i], radius * cosl(angle)), ulps(z[i + 1], radius * sinl(angle))));
  }
  free(z);
  print_message("largest error of %d normals: %.6f ulp\n", N, worst);
  assert_true(worst < 0.51); /* rounding to float is half; the arithmetic before it must not show */
}

/* FNV-1a over the bits: the same on every machine, compiler and optimisation level. */
static void test_normals_are_the_same_everywhere(void **state) {
  (void)state;
  enum { N = 1 << 16 };
  float z[256];
  uint64_t hash = 14695981039346656037u;
  for (int64_t first = 0; first < N; first += 256) {
    rng_normal(&COUNTER, z, first, 256);
    for (int i = 0; i < 256; i++) {
      uint32_t bits;
      memcpy(&bits, &z[i], sizeof bits);
      hash = (hash ^ bits) * 1099511628211u;
    }
  }
  assert_true(hash == 0xfc8dc549cfaf84e8u); /* gcc and clang, with and without FMA */
}

static void test_normals_moments(void **state) {
  (void)state;
  enum { N = 1 << 18 };
  float *z = malloc(N * sizeof *z);
  double m[5] = {0};
  rng_normal(&COUNTER, z, 0, N);
  for (int i = 0; i < N; i++)
    for (int k = 1; k <= 4; k++) m[k] += pow(z[i], k) / N;
  double pairs = 0; /* neighbours come from one radius and must be independent all the same */
  for (int i = 0; i < N; i += 2) pairs += (double)z[i] * z[i + 1] * 2 / N;
  free(z);
  assert_true(fabs(m[1]) < 0.01 && fabs(m[2] - 1) < 0.015 && fabs(m[3]) < 0.03 && fabs(m[4] - 3) < 0.1 && fabs(pairs) < 0.015);
}

static void test_any_part_of_the_sequence(void **state) {
  (void)state;
  float all[64], part[64];
  rng_normal(&COUNTER, all, 0, 64);
  for (int first = 0; first < 9; first++)
    for (int n = 0; first + n <= 30; n++) {
      memset(part, 0xff, sizeof part);
      rng_normal(&COUNTER, part, first, n);
      assert_memory_equal(part, all + first, (size_t)n * sizeof *part);
      assert_true(isnan(part[n]));
    }
}

static void test_counters_do_not_meet(void **state) {
  (void)state;
  struct rng_counter c[5] = {COUNTER, COUNTER, COUNTER, COUNTER, COUNTER};
  c[1].seed++, c[2].stream++, c[3].step++, c[4].index++;
  for (int i = 0; i < 5; i++)
    for (int j = 0; j < i; j++) assert_int_not_equal(rng_u32(&c[i], 0), rng_u32(&c[j], 0));
}

static void test_below_and_uniform(void **state) {
  (void)state;
  int count[7] = {0};
  for (uint32_t n = 0; n < 70000; n++) {
    uint32_t x = rng_below(&COUNTER, n, 7);
    float u = rng_uniform(&COUNTER, n);
    assert_true(x < 7);
    assert_true(u >= 0 && u < 1);
    count[x]++;
  }
  for (int i = 0; i < 7; i++) assert_in_range(count[i], 9700, 10300);
  assert_int_equal(rng_below(&COUNTER, 0, 1), 0);
}

static void test_permutation(void **state) {
  (void)state;
  int first_is[5] = {0};
  for (uint32_t epoch = 0; epoch < 5000; epoch++) {
    struct rng_counter c = {.seed = 1, .stream = RNG_SHUFFLE, .step = epoch};
    int p[5], seen = 0;
    rng_permutation(&c, p, 5);
    for (int i = 0; i < 5; i++) seen |= 1 << p[i];
    assert_int_equal(seen, 31);
    first_is[p[0]]++;
  }
  for (int i = 0; i < 5; i++) assert_in_range(first_is[i], 880, 1120);
  int one = 9;
  rng_permutation(&COUNTER, &one, 1);
  assert_int_equal(one, 0);
  rng_permutation(&COUNTER, NULL, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_known_answers),
      cmocka_unit_test(test_numbers_in_order),
      cmocka_unit_test(test_normals_are_exact_to_2_ulp),
      cmocka_unit_test(test_normals_are_the_same_everywhere),
      cmocka_unit_test(test_normals_moments),
      cmocka_unit_test(test_any_part_of_the_sequence),
      cmocka_unit_test(test_counters_do_not_meet),
      cmocka_unit_test(test_below_and_uniform),
      cmocka_unit_test(test_permutation),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
