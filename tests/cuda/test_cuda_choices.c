/* Algorithms of the simulated library that are chosen by measuring, on a clock that the tests make up:
 *   fastest    the faster one is taken, the library's first where they are about as fast; in rehearsals alone, each shape once; and that many bytes are then taken
 *   products   the same of products
 *   text       what was measured goes on as text: it stands whatever is measured later; of another card, or damaged, it does not
 *   refused    what all algorithms refuse is done by products, now and when it is read
 *   memory     without memory for measuring the library's first choice stands, and is not noted
 *   failures   every call of a measuring rehearsal fails in turn: a sentence or none, and nothing is left behind */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <cuda_runtime.h>
#include <cudasim.h>

#include "backend/backend.h"

extern const struct backend_ops backend_cuda;

enum { GEMM = 0, PRECOMPUTED = 1 /* the library's first, which works in 256 KiB */, SIDE = 12, CHANNELS = 16 };
static const size_t WORK = 256 << 10;

static struct backend *open_cuda(void) {
  struct err e = {.code = ERR_OK};
  struct backend *b = backend_open_ops(&backend_cuda, 1, &e);
  if (!b) fail_msg("cuda does not open: %s", e.text);
  return b;
}

static void seem(double gemm, double precomputed) {
  cudasim_time("cudnnConvolutionForward", GEMM, gemm);
  cudasim_time("cudnnConvolutionForward", PRECOMPUTED, precomputed);
}

static long measurements(void) {
  return cudasim_calls_of("cudaEventElapsedTime");
}

static void end(struct backend *b) {
  backend_close(b);
  for (int i = 0; cudasim_violation(i); i++) print_error("simulator: %s\n", cudasim_violation(i));
  assert_int_equal(cudasim_check(), 0);
  cudasim_reset();
  assert_int_equal(cudasim_violations(), 0);
}

/* A frozen 3x3 convolution of n pictures in BF16. */
struct layer {
  struct tensor x, y;
  struct param w;
  struct conv_shape s;
};

static struct layer layer_of(int n) {
  return (struct layer){.x = tensor_4d(NULL, DT_BF16, n, SIDE, SIDE, CHANNELS),
                        .y = tensor_4d(NULL, DT_BF16, n, SIDE, SIDE, CHANNELS),
                        .w = {.rank = 4, .dim = {CHANNELS, CHANNELS, 3, 3}, .count = CHANNELS * CHANNELS * 9, .frozen = true, .version = 1},
                        .s = {.kh = 3, .kw = 3, .stride = 1, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1}};
}

/* What a convolution of n pictures would take of memory. */
static struct backend_need rehearsed(struct backend *b, int n) {
  struct layer l = layer_of(n);
  b->op->rehearse(b, true);
  b->op->conv(b, &l.y, &l.x, &l.w, NULL, &l.s);
  struct backend_need need = b->need;
  b->op->rehearse(b, false);
  b->op->drop_pack(b, &l.w);
  return need;
}

/* The bytes that it then takes. */
static size_t taken(struct backend *b, int n) {
  struct err e = {.code = ERR_OK};
  struct layer l = layer_of(n);
  l.x.data = b->op->alloc(b, tensor_bytes(&l.x), &e);
  l.y.data = b->op->alloc(b, tensor_bytes(&l.y), &e);
  l.w.w = b->op->alloc(b, (size_t)l.w.count * sizeof *l.w.w, &e);
  size_t before = cudasim_bytes();
  b->op->conv(b, &l.y, &l.x, &l.w, NULL, &l.s);
  size_t bytes = cudasim_bytes() - before;
  if (b->fault.code != ERR_OK) print_error("%s\n", b->fault.text);
  assert_int_equal(b->fault.code, ERR_OK);
  b->op->drop_pack(b, &l.w);
  b->op->release(b, l.x.data, tensor_bytes(&l.x));
  b->op->release(b, l.y.data, tensor_bytes(&l.y));
  b->op->release(b, l.w.w, (size_t)l.w.count * sizeof *l.w.w);
  return bytes;
}

static char *text_of(struct backend *b) {
  struct err e = {.code = ERR_OK};
  char *text = b->op->choices(b, &e);
  assert_non_null(text);
  return text;
}

/* Lines behind the first. */
static int lines_of(struct backend *b) {
  char *text = text_of(b);
  int n = -1;
  for (const char *p = text; *p; p++) n += *p == '\n';
  free(text);
  return n;
}

static void test_fastest(void **state) {
  (void)state;
  for (int slow = 0; slow < 2; slow++) {
    struct backend *b = open_cuda();
    size_t before = cudasim_bytes();
    seem(slow ? 3 : 1, 2);
    struct backend_need need = rehearsed(b, 1);
    assert_int_equal(need.scratch, slow ? WORK : 0);
    assert_int_equal(cudasim_bytes(), before);
    long measured = measurements();
    assert_true(measured >= 6);
    assert_int_equal(taken(b, 1), need.scratch + need.packed);
    seem(slow ? 1 : 3, 2);
    rehearsed(b, 1);
    taken(b, 2); /* never rehearsed: the library's first, not measured */
    assert_int_equal(measurements(), measured);
    assert_int_equal(lines_of(b), 1);
    assert_int_equal(cudasim_bytes(), before + WORK);
    end(b);
  }
}

static void test_about_as_fast(void **state) {
  (void)state;
  struct backend *b = open_cuda();
  seem(1.96, 2);
  assert_int_equal(rehearsed(b, 1).scratch, WORK);
  seem(1.8, 2);
  assert_int_equal(rehearsed(b, 2).scratch, 0);
  end(b);
}

/* --- products ----------------------------------------------------------------------------------------------------------------------------- */

enum { ROWS = 24, COLUMNS = 64 };

static void product_seems(double first, double second) {
  cudasim_time("cublasLtMatmul", 0, first);
  cudasim_time("cublasLtMatmul", 1, second);
}

/* A linear layer with a bias, in BF16. */
static void rehearse_product(struct backend *b) {
  struct param w = {.rank = 2, .dim = {COLUMNS, COLUMNS}, .count = COLUMNS * COLUMNS}, bias = {.rank = 1, .dim = {COLUMNS}, .count = COLUMNS};
  struct tensor x = tensor_2d(NULL, DT_BF16, ROWS, COLUMNS), y = x;
  b->op->rehearse(b, true);
  b->op->linear(b, &y, &x, &w, &bias, 1, 0);
  b->op->rehearse(b, false);
}

/* The same computed: the milliseconds that it seems to take. */
static float linear(struct backend *b) {
  struct err e = {.code = ERR_OK};
  float ms = 0;
  cudaEvent_t begin, end;
  char *memory = b->op->alloc(b, 1 << 20, &e);
  struct param w = {.rank = 2, .dim = {COLUMNS, COLUMNS}, .count = COLUMNS * COLUMNS, .w = (float *)(void *)memory};
  struct param bias = {.rank = 1, .dim = {COLUMNS}, .count = COLUMNS, .w = (float *)(void *)(memory + (64 << 10))};
  struct tensor x = tensor_2d(memory + (128 << 10), DT_BF16, ROWS, COLUMNS), y = tensor_2d(memory + (192 << 10), DT_BF16, ROWS, COLUMNS);
  uint16_t first;
  assert_true(cudaEventCreate(&begin) == cudaSuccess && cudaEventCreate(&end) == cudaSuccess);
  assert_true(cudaEventRecord(begin, NULL) == cudaSuccess && cudaEventSynchronize(begin) == cudaSuccess);
  b->op->linear(b, &y, &x, &w, &bias, 1, 0);
  b->op->download(b, &first, y.data, sizeof first); /* waits */
  assert_true(cudaEventRecord(end, NULL) == cudaSuccess && cudaEventSynchronize(end) == cudaSuccess);
  assert_int_equal(cudaEventElapsedTime(&ms, begin, end), cudaSuccess);
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  b->op->release(b, memory, 1 << 20);
  assert_int_equal(b->fault.code, ERR_OK);
  return ms;
}

static void test_products(void **state) {
  (void)state;
  for (int slow = 0; slow < 2; slow++) {
    struct backend *b = open_cuda();
    product_seems(2, slow ? 3 : 1);
    rehearse_product(b);
    assert_int_equal(measurements(), 8);
    assert_int_equal(lines_of(b), 1);
    assert_true(linear(b) == (slow ? 2 : 1));
    char *text = text_of(b);
    print_message("%s", strchr(text, '\n') + 1);
    end(b);
    b = open_cuda();
    product_seems(slow ? 5 : 1, slow ? 1 : 5);
    assert_true(b->op->take_choices(b, text, false));
    rehearse_product(b);
    assert_int_equal(measurements(), 0);
    assert_true(linear(b) == 5);
    free(text);
    end(b);
  }
}

/* --- text ----------------------------------------------------------------------------------------------------------------------------- */

/* Of a backend that found no work space fastest for one picture and for two. */
static char *text_of_two(void) {
  struct backend *b = open_cuda();
  seem(1, 2);
  rehearsed(b, 1);
  rehearsed(b, 2);
  char *text = text_of(b);
  end(b);
  return text;
}

static void test_text(void **state) {
  (void)state;
  char *text = text_of_two();
  print_message("%s", text);
  for (int no_more = 0; no_more < 2; no_more++) {
    struct backend *b = open_cuda();
    seem(3, 2);
    assert_true(b->op->take_choices(b, text, no_more));
    assert_int_equal(rehearsed(b, 1).scratch + rehearsed(b, 2).scratch, 0);
    assert_int_equal(measurements(), 0);
    char *again = text_of(b);
    assert_string_equal(again, text);
    free(again);
    assert_int_equal(rehearsed(b, 3).scratch, WORK);
    assert_int_equal(measurements() > 0, !no_more);
    assert_int_equal(lines_of(b), no_more ? 2 : 3);
    end(b);
  }
  free(text);
}

/* Each byte of the text changed or missing: at worst measured anew. */
static void test_damaged(void **state) {
  (void)state;
  char *text = text_of_two(), *bad = malloc(strlen(text) + 1);
  size_t n = strlen(text);
  struct backend *b = open_cuda();
  for (size_t i = 0; i < n; i++) {
    memcpy(bad, text, n + 1);
    bad[i] = bad[i] == '1' ? '2' : '1';
    assert_false(b->op->take_choices(b, bad, false));
    assert_true(lines_of(b) <= 2);
    memcpy(bad, text, n + 1);
    bad[i] = 0;
    b->op->take_choices(b, bad, false);
  }
  assert_false(b->op->take_choices(b, "", true));
  end(b);
  b = open_cuda();
  seem(3, 2);
  memcpy(bad, text, n + 1);
  strrchr(bad, '#')[-2] = '9'; /* of the second shape */
  assert_false(b->op->take_choices(b, bad, true));
  assert_int_equal(lines_of(b), 1);
  assert_int_equal(rehearsed(b, 1).scratch, 0);
  assert_int_equal(rehearsed(b, 2).scratch, WORK);
  assert_true(measurements() > 0);
  end(b);
  free(bad);
  free(text);
}

static void test_another_card(void **state) {
  (void)state;
  char *text = text_of_two();
  cudasim_device(NULL, 0, "9.0");
  struct backend *b = open_cuda();
  assert_false(b->op->take_choices(b, text, true));
  assert_int_equal(lines_of(b), 0);
  seem(3, 2);
  assert_int_equal(rehearsed(b, 1).scratch, WORK);
  assert_true(measurements() > 0);
  end(b);
  free(text);
}

/* --- what goes wrong -------------------------------------------------------------------------------------------------------------------- */

static void test_refused(void **state) {
  (void)state;
  struct backend *b = open_cuda();
  cudasim_refuse(CUDASIM_REFUSE_CALLS);
  struct backend_need need = rehearsed(b, 1);
  cudasim_refuse(CUDASIM_REFUSE_NOTHING);
  assert_true(need.scratch > WORK);
  char *text = text_of(b);
  assert_non_null(strstr(text, "= ffffffffffffffff 0 #"));
  assert_int_equal(lines_of(b), 2); /* and the product that is done in its place, which is refused, too */
  assert_int_equal(taken(b, 1), need.scratch + need.packed);
  assert_int_equal(measurements(), 0);
  end(b);
  b = open_cuda();
  assert_true(b->op->take_choices(b, text, false));
  assert_int_equal(rehearsed(b, 1).scratch, need.scratch);
  end(b);
  free(text);
}

static void test_no_memory(void **state) {
  (void)state;
  cudasim_device(NULL, (size_t)16 << 20, NULL);
  struct backend *b = open_cuda();
  struct err e = {.code = ERR_OK};
  struct backend_memory m;
  assert_true(b->op->memory(b, &m, &e));
  void *rest = b->op->alloc(b, m.free - (2 << 20), &e);
  assert_non_null(rest);
  seem(1, 2);
  assert_int_equal(rehearsed(b, 512).scratch, WORK);
  assert_int_equal(b->fault.code, ERR_OK);
  assert_int_equal(lines_of(b), 0);
  b->op->release(b, rest, m.free - (2 << 20));
  end(b);
}

/* Codes: of a lost card, of memory, of a call that did nothing. */
static void test_failures(void **state) {
  (void)state;
  static const int code[] = {719, 2, 1};
  for (int k = 0; k < 3; k++) {
    int faults = 0;
    for (long at = 1;; at++) {
      struct backend *b = open_cuda();
      long before = cudasim_calls();
      seem(1, 2);
      cudasim_fail(at, code[k]);
      rehearsed(b, 1);
      rehearse_product(b);
      bool over = cudasim_calls() - before < at, failed = b->fault.code != ERR_OK, leaves = strstr(b->fault.text, "giving back") != NULL;
      cudasim_fail(0, 0);
      if (failed) assert_non_null(strstr(b->fault.text, "failed in"));
      if (over) assert_int_equal(lines_of(b), 2);
      faults += failed;
      backend_close(b);
      cudasim_forgive();
      cudasim_reset();
      if (!failed && cudasim_found("leak: 1 handles")) leaves = true; /* what failed was the call that destroys one */
      if (code[k] != 719 && !leaves) assert_int_equal(cudasim_violations(), 0);
      cudasim_forgive();
      if (over) break;
      assert_true(at < 200);
    }
    print_message("code %d: %d calls of a rehearsal end in a fault\n", code[k], faults);
    assert_true(faults >= 10);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_fastest),      cmocka_unit_test(test_about_as_fast), cmocka_unit_test(test_products), cmocka_unit_test(test_text),      cmocka_unit_test(test_damaged),
      cmocka_unit_test(test_another_card), cmocka_unit_test(test_refused),       cmocka_unit_test(test_no_memory), cmocka_unit_test(test_failures),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
