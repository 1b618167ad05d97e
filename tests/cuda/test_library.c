/* NVIDIA's libraries, opened without a card: every function in use is there under its name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cuda/library.h"

static void test_open(void **state) {
  (void)state;
  struct cuda c = {.device = 0};
  struct backend b = {.state = &c};
  struct err e = {.code = ERR_OK};
  bool ok = cuda_libraries_open(&b, &e);
  if (!ok) print_error("%s\n", e.text);
  assert_true(ok);
  assert_int_equal(cudnn(&b)->GetVersion() / 10000, CUDNN_MAJOR);
  assert_true(strlen(cublaslt(&b)->GetStatusString(CUBLAS_STATUS_NOT_SUPPORTED)) > 4);
  print_message("cuDNN %zu\n", cudnn(&b)->GetVersion());
  cuda_libraries_close(&b);
  assert_null(c.libraries);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_open)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
