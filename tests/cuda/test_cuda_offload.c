/* Weights, gradients and moments in the host's memory, with the cuda backend on the simulated device: bit for bit what comes out with everything on
 * the card, in fp32 and with copies in bf16, whatever order the streams' work is done in (as late as allowed, and at random), without anything
 * that the simulator forbids. The host updates with ref's arithmetic here, which rounds where the card's kernel does; the cpu backend's differs
 * in last bits. Then mistakes in the order of copies and kernels, and calls that fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>

#include <cudasim.h>

#include "../unit/offload.h"

extern const struct backend_ops backend_cuda;

static void show_violations(void) {
  for (int i = 0; cudasim_violation(i); i++) print_error("simulator: %s\n", cudasim_violation(i));
}

/* The distance of both runs with the streams in an order of seed. */
static double distance(const struct offload_case *k, unsigned seed) {
  struct offload_result here, away;
  cudasim_interleave(seed);
  offload_do(k, false, &here);
  offload_do(k, true, &away);
  double d = offload_compare(&here, &away);
  assert_true(here.norm[0] > 0 && here.loss[0] > 0);
  offload_free(&here);
  offload_free(&away);
  return d;
}

static void check_same(const struct offload_case *k, unsigned seed) {
  double d = distance(k, seed);
  show_violations();
  print_message("%s, %s, seed %u: %.3g\n", k->model, k->act == DT_F32 ? "fp32" : "bf16", seed, d);
  assert_int_equal(cudasim_check(), 0);
  assert_true(d <= 0);
}

static void test_fp32(void **state) {
  (void)state;
  struct offload_case k = {.backend = "cuda", .model = "sd1", .text = true, .accumulation = 1, .steps = 2, .threads = 1};
  for (unsigned seed = 0; seed < 4; seed++) check_same(&k, seed);
}

static void test_bf16(void **state) {
  (void)state;
  struct offload_case k = {
      .backend = "cuda", .model = "sd1", .act = DT_BF16, .text = true, .ema = true, .accumulation = 2, .steps = 2, .threads = 1};
  for (unsigned seed = 0; seed < 4; seed++) check_same(&k, seed);
  k.recompute = true;
  check_same(&k, 4);
}

/* The weights below adapters are on the card in the kernels' type alone; what is trained stays there whole. */
static void test_lora(void **state) {
  (void)state;
  struct offload_case k = {
      .backend = "cuda", .model = "sd1", .act = DT_BF16, .text = true, .lora = true, .accumulation = 1, .steps = 2, .threads = 1};
  check_same(&k, 0);
  k.act = DT_F32;
  check_same(&k, 1);
}

/* Data gradients by products want the weights in another order still. */
static void without_library(struct backend *b) {
  (void)b;
  cudasim_refuse(CUDASIM_REFUSE_SHAPES);
}

static void test_by_products(void **state) {
  (void)state;
  struct offload_case k = {
      .backend = "cuda", .model = "sd2", .act = DT_BF16, .accumulation = 1, .steps = 2, .threads = 1, .opened = without_library};
  check_same(&k, 0);
  k.act = DT_F32;
  check_same(&k, 1);
  assert_true(cudasim_launches("turn_kernel") > 0);
  cudasim_refuse(CUDASIM_REFUSE_NOTHING);
}

/* --- mistakes: calls of the table left out, or done without what they are to wait for --------------------------------------------------- */

static void no_mark(struct backend *b, int mark) {
  (void)b, (void)mark;
}
static void no_copy_fill(struct backend *b, struct param *p, const float *values) {
  (void)b, (void)p, (void)values;
}
enum { NEVER = BACKEND_MARKS - 1 }; /* a mark that nobody makes */
static void early_send(struct backend *b, int mark, void *dst, const void *src, size_t bytes, int after) {
  (void)after;
  backend_cuda.send(b, mark, dst, src, bytes, NEVER);
}
static void early_fetch(struct backend *b, int mark, void *dst, const void *src, size_t bytes, int after) {
  (void)after;
  backend_cuda.fetch(b, mark, dst, src, bytes, NEVER);
}
static void short_send(struct backend *b, int mark, void *dst, const void *src, size_t bytes, int after) {
  backend_cuda.send(b, mark, dst, src, bytes > 64 ? bytes - 64 : bytes, after);
}

static void test_mistakes(void **state) {
  (void)state;
  struct backend_ops op[7];
  static const char *const what[7] = {"computing does not wait for weights",
                                      "the host does not wait for gradients",
                                      "nothing is marked as used",
                                      "weights are sent while the chunk is in use",
                                      "gradients are fetched before they are there",
                                      "copies are not made anew",
                                      "the end of a block is not sent"};
  struct offload_case k = {.backend = "cuda", .model = "sd1", .act = DT_BF16, .text = true, .accumulation = 2, .steps = 2, .threads = 1};
  int unnoticed = 0;
  for (int i = 0; i < 7; i++) op[i] = backend_cuda;
  op[0].follow = no_mark;
  op[1].wait = no_mark;
  op[2].mark = no_mark;
  op[3].send = early_send;
  op[4].fetch = early_fetch;
  op[5].copy_fill = no_copy_fill;
  op[6].send = short_send;
  for (int i = 0; i < 7; i++) {
    bool found = false;
    k.op = &op[i];
    for (unsigned seed = 0; seed < 6 && !found; seed++) found = !(distance(&k, seed) <= 0) || cudasim_check() > 0;
    cudasim_forgive();
    print_message("%s: %s\n", what[i], found ? "found" : "NOT FOUND");
    unnoticed += !found;
  }
  cudasim_interleave(0);
  assert_int_equal(unnoticed, 0);
}

/* --- bytes ------------------------------------------------------------------------------------------------------------------------------ */

static size_t card_before, pinned_before;
static void note_bytes(struct backend *b) {
  (void)b;
  card_before = cudasim_bytes();
  pinned_before = cudasim_pinned_peak();
}

/* What the planner is told is what is taken, to the byte; a step takes nothing anew but its workspace and the backend's scratch. */
static void test_bytes(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) {
    struct offload_case k = {.backend = "cuda",
                             .model = "sd1",
                             .act = i % 2 ? DT_BF16 : DT_F32,
                             .text = true,
                             .ema = i > 1,
                             .accumulation = 1,
                             .opened = note_bytes};
    struct offload_bench *f = calloc(1, sizeof *f);
    f->k = &k;
    cudasim_reset();
    offload_open(f, true);
    struct param_set *set[3] = {unet_params(f->m->unet), clip_params(f->m->text), vae_params(f->m->vae)};
    struct lodge_need need = lodge_need(f->b, set, 3);
    int64_t unlodged = set[2]->lodge ? 0 : (int64_t)f->b->op->taken((size_t)set[2]->count * sizeof(float)), pinned = need.host;
    assert_true(set[0]->lodge && set[1]->lodge && (unlodged == 0) == (set[2]->lodge != NULL));
    for (int s = 0; s < 2; s++)
      pinned += offload_host_bytes(f->b, set[s], DT_F32, k.ema) - 2 * (int64_t)backend_ref.taken((size_t)set[s]->count * sizeof(float));
    int64_t result = (int64_t)f->b->op->taken(optimizer_result_bytes(0));
    assert_int_equal(cudasim_bytes() - card_before, need.card + need.chunks + unlodged + result);
    assert_int_equal(cudasim_pinned_peak() - pinned_before, pinned);
    print_message("%s: card %lld + %lld in chunks, host %lld\n", i % 2 ? "bf16" : "fp32", (long long)need.card, (long long)need.chunks,
                  (long long)pinned);
    offload_close(f);
    free(f);
  }
}

/* --- failures --------------------------------------------------------------------------------------------------------------------------- */

/* A call that fails: the pass says so, everything is given back. Beforehand: n counted calls that succeed. */
static bool fails_at(const struct offload_case *k, long n) {
  struct offload_bench *f = calloc(1, sizeof *f);
  struct err e = {0};
  f->k = k;
  offload_open(f, true);
  long before = cudasim_calls();
  cudasim_fail(n, 719);
  bool ok = true;
  for (int i = 0; ok && i < k->steps; i++) {
    offload_slots(f, i);
    f->train = true;
    ok = workspace_run(&f->m->work, f->b, k->act, offload_pass, f, NULL, &e) && optimizer_step(&f->opt, 1e-3, optimizer_norm(&f->opt), &e);
  }
  bool beyond = cudasim_calls() - before < n;
  cudasim_fail(0, 0);
  if (!ok && (e.code != ERR_FIT || !strstr(e.text, "cudaErrorLaunchFailure"))) fail_msg("call %ld: \"%s\"", n, e.text);
  if (ok && !beyond && f->b->fault.code == ERR_OK) fail_msg("call %ld failed and nobody noticed", n);
  f->b->fault = (struct err){0};
  offload_close(f);
  free(f);
  cudasim_forgive();
  cudasim_reset();
  return !beyond;
}

static void test_calls_fail(void **state) {
  (void)state;
  struct offload_case k = {.backend = "cuda", .model = "sd1", .act = DT_BF16, .accumulation = 1, .steps = 2, .threads = 1};
  long n = 1, tried = 0;
  while (fails_at(&k, n)) n += 151, tried++;
  print_message("%ld of about %ld calls failed in turn\n", tried, n);
  assert_true(tried > 5);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_fp32),        cmocka_unit_test(test_bf16),  cmocka_unit_test(test_lora),
                                     cmocka_unit_test(test_by_products), cmocka_unit_test(test_bytes), cmocka_unit_test(test_mistakes),
                                     cmocka_unit_test(test_calls_fail)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
