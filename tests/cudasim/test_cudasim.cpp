/* Runs the tests of the simulator, in several orders of threads and streams. */
#include "test.hpp"

#include <stdlib.h>

static bool failed_now;

void expect(bool holds, const char *text, int line) {
  if (holds) return;
  failed_now = true;
  printf("# line %d: not so: %s\n", line, text);
}

void expect_found(const char *text, int line) {
  bool found = cudasim_found(text);
  if (!found) {
    failed_now = true;
    printf("# line %d: not found: %s\n", line, text);
    for (int i = 0; cudasim_violation(i); i++) printf("#   but: %s\n", cudasim_violation(i));
  }
  cudasim_forgive();
}

struct variant {
  const char *name;
  enum cudasim_order order;
  unsigned seed;
};

static bool run(const test &t, const variant &v, int number) {
  failed_now = false;
  cudasim_reset();
  cudasim_forgive();
  cudasim_order(v.order, v.seed);
  cudasim_interleave(v.seed);
  t.run();
  if (cudasim_check()) {
    failed_now = true;
    for (int i = 0; cudasim_violation(i); i++) printf("# violation: %s\n", cudasim_violation(i));
  }
  cudasim_reset();
  if (cudasim_violations()) {
    failed_now = true;
    for (int i = 0; cudasim_violation(i); i++) printf("# violation: %s\n", cudasim_violation(i));
  }
  printf("%s %d - %s, %s\n", failed_now ? "not ok" : "ok", number, t.name, v.name);
  return !failed_now;
}

int main() {
  static const variant variants[] = {{"forward", CUDASIM_FORWARD, 0}, {"reverse", CUDASIM_REVERSE, 7}, {"shuffled", CUDASIM_SHUFFLE, 11}};
  int n = 0, bad = 0;
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (const variant &v : variants)
    for (const auto *list : {&block_tests, &memory_tests, &stream_tests, &library_tests})
      for (const test &t : *list) bad += !run(t, v, ++n);
  printf("1..%d\n", n);
  return bad != 0;
}
