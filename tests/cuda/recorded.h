/* What the tests of training steps on the simulated device share. */
#ifndef PDMBOOTH_TESTS_CUDA_RECORDED_H
#define PDMBOOTH_TESTS_CUDA_RECORDED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <cudasim.h>

#include "../unit/offload.h"

enum { CAPTURE_UNSUPPORTED = 900 };

static inline void show_violations(void) {
  for (int i = 0; cudasim_violation(i); i++) print_error("simulator: %s\n", cudasim_violation(i));
}

/* Everything as at the start; not recorded: the first recording fails, and no other is tried. */
static inline void begin_with(bool recorded) {
  cudasim_reset();
  if (!recorded) cudasim_fail_in("cudaStreamBeginCapture", 1, CAPTURE_UNSUPPORTED);
}

#endif
