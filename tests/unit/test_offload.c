/* Weights, gradients and moments in the host's memory (train/offload.h): the same numbers as with everything on the device, bit for bit where the
 * device's arithmetic is the host's. The same on the simulated GPU: tests/cuda/test_cuda_offload.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>

#include "offload.h"

static void check_same(const struct offload_case *k) {
  struct offload_result here, away;
  offload_do(k, false, &here);
  offload_do(k, true, &away);
  double d = offload_compare(&here, &away);
  assert_true(here.norm[0] > 0 && here.loss[0] > 0);
  if (!(d <= 0)) fail_msg("%s on %s: away from what the device makes by %.3g", k->model, k->backend, d);
  offload_free(&here);
  offload_free(&away);
}

static void test_unet(void **state) {
  (void)state;
  check_same(&(struct offload_case){.backend = "ref", .model = "sd1", .accumulation = 1, .steps = 3, .threads = 1});
}

static void test_text_too(void **state) {
  (void)state;
  check_same(&(struct offload_case){.backend = "ref", .model = "sd1", .text = true, .accumulation = 1, .steps = 3, .threads = 1});
}

static void test_accumulation(void **state) {
  (void)state;
  check_same(&(struct offload_case){.backend = "ref", .model = "sd2", .text = true, .accumulation = 2, .steps = 2, .threads = 1});
}

static void test_recomputation(void **state) {
  (void)state;
  check_same(&(struct offload_case){
      .backend = "ref", .model = "sd1", .text = true, .recompute = true, .accumulation = 2, .steps = 2, .threads = 1});
}

static void test_average(void **state) {
  (void)state;
  check_same(
      &(struct offload_case){.backend = "ref", .model = "sd1", .text = true, .ema = true, .accumulation = 1, .steps = 4, .threads = 1});
}

static void test_frozen_ones(void **state) {
  (void)state;
  check_same(&(struct offload_case){.backend = "ref", .model = "sd1", .frozen = true, .accumulation = 1, .steps = 2, .threads = 1});
}

/* Packs of its own, threads, moments in BF16, activations in BF16. */
static void test_fast(void **state) {
  (void)state;
  static const enum dtype type[] = {DT_F32, DT_BF16};
  for (int i = 0; i < 4; i++)
    check_same(&(struct offload_case){.backend = "auto",
                                      .model = "sd1",
                                      .act = type[i % 2],
                                      .moments = type[i / 2],
                                      .text = true,
                                      .ema = i == 2,
                                      .recompute = i == 3,
                                      .accumulation = 1 + i % 2,
                                      .steps = 3,
                                      .threads = 2});
}

/* Where nothing would be copied frozen networks stay as they are. */
static void test_adapters(void **state) {
  (void)state;
  check_same(
      &(struct offload_case){.backend = "auto", .model = "sd1", .text = true, .lora = true, .accumulation = 1, .steps = 2, .threads = 2});
}

/* A parameter is in one block, the blocks are in order, and a UNet has many. */
static void test_blocks(void **state) {
  (void)state;
  struct err e = {0};
  struct backend *b = backend_open("ref", 1, &e);
  struct model *m = tiny_model(b, "sd1", &(struct model_want){.train_unet = true});
  struct param_set *set[2] = {unet_params(m->unet), clip_params(m->text)};
  for (int i = 0; i < 2; i++) {
    int64_t at = 0;
    for (int k = 0; k < set[i]->blocks; k++) {
      struct lodge_range r = lodge_range(set[i], k);
      assert_true(r.from == at && r.to > r.from && r.last > r.first);
      at = r.to;
    }
    assert_int_equal(at, set[i]->count);
    assert_true(set[i]->blocks >= 4);
  }
  model_close(m);
  backend_close(b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_blocks),       cmocka_unit_test(test_unet),          cmocka_unit_test(test_text_too),
      cmocka_unit_test(test_accumulation), cmocka_unit_test(test_recomputation), cmocka_unit_test(test_average),
      cmocka_unit_test(test_frozen_ones),  cmocka_unit_test(test_fast),          cmocka_unit_test(test_adapters)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
