/* base/: errors, number formats, the pool, parameters, what the machine says of itself. */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/param.h"
#include "base/pool.h"
#include "base/tensor.h"
#include "base/thread.h"

static void test_err(void **state) {
  (void)state;
  struct err e = {0};
  assert_false(err_set(&e, ERR_INPUT, "%s: %d", "a", 7));
  assert_false(err_set(&e, ERR_FAILED, "later"));
  assert_int_equal(e.code, ERR_INPUT);
  assert_string_equal(e.text, "a: 7");
  assert_false(err_set(NULL, ERR_INPUT, "nobody listens"));
  e = (struct err){0};
  errno = ENOENT;
  err_set_errno(&e, ERR_INPUT, "/x");
  assert_string_equal(e.text, "/x: No such file or directory");
  e = (struct err){0};
  errno = ENOENT;
  err_set_errno(&e, ERR_INPUT, "%2000d", 1); /* longer than the text: cut, not overrun */
  assert_int_equal(strlen(e.text), sizeof e.text - 1);
  assert_string_equal(err_meaning(ERR_FIT), "does not fit this machine, or the device is unusable");
  assert_int_equal(ERR_SIGTERM, 143);
}

static void test_tensor(void **state) {
  (void)state;
  float data[24];
  struct tensor t = tensor_3d(data, DT_F32, 2, 3, 4), u;
  assert_int_equal(tensor_count(&t), 24);
  assert_int_equal(tensor_bytes(&t), 96);
  assert_int_equal(tensor_last(&t), 4);
  assert_int_equal(tensor_rows(&t), 6);
  u = tensor_slice(t, 1, 1);
  assert_ptr_equal(u.data, data + 12);
  assert_int_equal(tensor_count(&u), 12);
  assert_false(tensor_same_shape(&t, &u));
  u = tensor_reshape(t, 2, (const int64_t[]){6, 4});
  assert_int_equal(u.rank, 2);
  assert_false(tensor_same_shape(&t, &u));
  t.data = NULL;
  assert_null(tensor_slice(t, 1, 1).data);
  struct tensor scalar = tensor_of(data, DT_BF16, 0, NULL);
  assert_int_equal(tensor_count(&scalar), 1);
  assert_int_equal(tensor_bytes(&scalar), 2);
  assert_string_equal(dtype_name(DT_BF16), "BF16");
}

/* Every f16 there and back, and every midpoint between neighbours: ties go to the even one. */
static void test_f16(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 0x10000; i++) {
    float x = f16_to_f32((uint16_t)i);
    if (isnan(x))
      assert_true(isnan(f16_to_f32(f32_to_f16(x))));
    else
      assert_int_equal(f32_to_f16(x), i);
  }
  for (uint32_t i = 0; i < 0x7bff; i++) {
    float a = f16_to_f32((uint16_t)i), b = f16_to_f32((uint16_t)(i + 1)), middle = (a + b) / 2;
    assert_int_equal(f32_to_f16(middle), i % 2 == 0 ? i : i + 1);
    assert_int_equal(f32_to_f16(-nextafterf(middle, 0)), 0x8000 | i);
    assert_int_equal(f32_to_f16(nextafterf(middle, INFINITY)), i + 1);
  }
  assert_true(f16_to_f32(1) == 0x1p-24f);
  assert_int_equal(f32_to_f16(65519.996f), 0x7bff);
  assert_int_equal(f32_to_f16(65520.0f), 0x7c00);
  assert_int_equal(f32_to_f16(-INFINITY), 0xfc00);
  assert_int_equal(f32_to_f16(FLT_MIN), 0);
}

static void test_bf16(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 0x10000; i++) {
    float x = bf16_to_f32((uint16_t)i);
    if (isnan(x))
      assert_true(isnan(bf16_to_f32(f32_to_bf16(x))));
    else
      assert_int_equal(f32_to_bf16(x), i);
  }
  assert_int_equal(f32_to_bf16(1.00390625f), 0x3f80); /* a tie: down to even */
  assert_int_equal(f32_to_bf16(1.01171875f), 0x3f82); /* a tie: up to even */
  assert_int_equal(f32_to_bf16(FLT_MAX), 0x7f80);
  uint32_t quiet = 0x7f800001; /* a NaN whose upper half is infinity's */
  float x;
  memcpy(&x, &quiet, sizeof x);
  assert_true(isnan(bf16_to_f32(f32_to_bf16(x))));
}

static void test_pool_basics(void **state) {
  (void)state;
  struct pool *p = pool_new(NULL, SIZE_MAX);
  size_t a, b, c, d;
  assert_true(pool_take(p, 1, &a) && pool_take(p, 128, &b) && pool_take(p, 65, &c));
  assert_int_equal(a, 0);
  assert_int_equal(b, 64);
  assert_int_equal(c, 192);
  assert_int_equal(pool_used(p), 320);
  pool_give(p, b);
  pool_give(p, b); /* given back already: nothing happens */
  pool_give(p, 12345);
  assert_int_equal(pool_used(p), 192);
  assert_true(pool_take(p, 64, &d));
  assert_int_equal(d, 64); /* into the hole */
  pool_give(p, a);
  pool_give(p, d);
  assert_true(pool_take(p, 192, &d)); /* joined holes */
  assert_int_equal(d, 0);
  assert_false(pool_take(p, SIZE_MAX - 10, &a));
  assert_int_equal(pool_peak(p), 320);
  pool_reset(p);
  assert_int_equal(pool_used(p), 0);
  assert_int_equal(pool_peak(p), 320);
  pool_delete(p);
}

/* The same blocks in use, the same fingerprint, however that came about; others, another. */
static void test_pool_fingerprint(void **state) {
  (void)state;
  struct pool *p = pool_new(NULL, SIZE_MAX), *q = pool_new(NULL, 4096);
  size_t a, b, c;
  assert_true(pool_fingerprint(p) == pool_fingerprint(q));
  assert_true(pool_take(p, 100, &a) && pool_take(q, 64, &b) && pool_take(q, 64, &c));
  assert_false(pool_fingerprint(p) == pool_fingerprint(q));
  pool_give(q, b);
  pool_give(q, c);
  assert_true(pool_take(q, 128, &b));
  assert_true(pool_fingerprint(p) == pool_fingerprint(q));
  assert_true(pool_take(p, 64, &c) && pool_take(q, 64, &c));
  pool_give(p, a);
  assert_false(pool_fingerprint(p) == pool_fingerprint(q));
  pool_delete(p);
  pool_delete(q);
}

enum { LIVE = 60, ROUNDS = 4000 };

/* The same pseudo-random calls against p; trace: every offset. Checks alignment and that no two live blocks meet. */
static void churn(struct pool *p, size_t *trace) {
  size_t offset[LIVE], size[LIVE] = {0};
  uint32_t x = 1;
  for (int i = 0; i < ROUNDS; i++) {
    x = x * 1664525u + 1013904223u;
    int k = (int)(x >> 8) % LIVE;
    trace[i] = 0;
    if (size[k] != 0) {
      pool_give(p, offset[k]);
      size[k] = 0;
      continue;
    }
    size[k] = 1 + (x >> 16) % 5000;
    assert_true(pool_take(p, size[k], &offset[k]));
    assert_int_equal(offset[k] % 64, 0);
    for (int o = 0; o < LIVE; o++)
      assert_true(o == k || size[o] == 0 || offset[o] + size[o] <= offset[k] || offset[k] + size[k] <= offset[o]);
    trace[i] = offset[k];
  }
  for (int k = 0; k < LIVE; k++)
    if (size[k] != 0) pool_give(p, offset[k]);
  assert_int_equal(pool_used(p), 0);
}

/* What the counting backend plans is what a real run gets, in a region of exactly the planned peak. */
static void test_pool_plan(void **state) {
  (void)state;
  static size_t planned[ROUNDS], real[ROUNDS];
  struct pool *p = pool_new(NULL, SIZE_MAX);
  churn(p, planned);
  size_t peak = pool_peak(p);
  pool_delete(p);
  p = pool_new(NULL, peak);
  churn(p, real);
  assert_memory_equal(planned, real, sizeof real);
  assert_int_equal(pool_peak(p), peak);
  size_t all, more;
  assert_true(pool_take(p, peak, &all));
  assert_false(pool_take(p, 1, &more));
  pool_delete(p);
}

static void test_param(void **state) {
  (void)state;
  struct param_set *s = param_set_new();
  const int64_t shape[] = {3, 5}, huge[] = {INT64_MAX / 2, 4}, bad[] = {-1};
  struct param *a = param_add(s, 2, shape, "block.%d.weight", 0), *b = param_add(s, 1, shape, "block.%d.bias", 0);
  assert_non_null(a);
  assert_non_null(b);
  assert_null(param_add(s, 2, huge, "huge"));
  assert_null(param_add(s, 1, bad, "bad"));
  assert_null(param_add(s, 1, shape, "%600d", 1));
  assert_int_equal(s->n, 2);
  assert_int_equal(a->count, 15);
  assert_int_equal(b->offset, 16);
  assert_int_equal(s->count, 32);
  assert_ptr_equal(param_find(s, "block.0.bias"), b);
  assert_null(param_find(s, "block.1.bias"));
  float w[32], g[32];
  param_set_freeze(s, true);
  b->frozen = false;
  param_set_bind(s, w, g);
  assert_ptr_equal(b->w, w + 16);
  assert_ptr_equal(b->g, g + 16);
  assert_null(a->g);
  assert_int_equal(param_set_trained(s), 3);
  uint32_t before = a->version;
  uint64_t frozen = param_set_frozen(s);
  b->version++;
  assert_true(param_set_frozen(s) == frozen);
  param_set_changed(s);
  assert_false(param_set_frozen(s) == frozen);
  assert_int_equal(a->version, before + 1);
  param_set_bind(s, NULL, NULL);
  assert_null(a->w);
  param_set_delete(s);
}

static void test_many_params(void **state) {
  (void)state;
  struct param_set *s = param_set_new();
  const int64_t one = 1;
  struct param *first = param_add(s, 1, &one, "p0");
  for (int i = 1; i < 1000; i++) assert_non_null(param_add(s, 1, &one, "p%d", i));
  assert_ptr_equal(param_find(s, "p0"), first);
  assert_int_equal(param_find(s, "p999")->offset, 999 * 16);
  param_set_delete(s);
}

static void test_machine(void **state) {
  (void)state;
  assert_in_range(machine_cores(), 1, 100000);
  assert_true(machine_memory() > 64u << 20);
  assert_true(machine_memory_available() > 0 && machine_memory_available() <= machine_memory());
  double a = now_seconds();
  assert_true(now_seconds() >= a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_err),       cmocka_unit_test(test_tensor),      cmocka_unit_test(test_f16),
      cmocka_unit_test(test_bf16),      cmocka_unit_test(test_pool_basics), cmocka_unit_test(test_pool_fingerprint),
      cmocka_unit_test(test_pool_plan), cmocka_unit_test(test_param),       cmocka_unit_test(test_many_params),
      cmocka_unit_test(test_machine),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
