/* Steps of training runs with the cuda backend on the simulated device: how often the host waits for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <cudasim.h>

#include "../unit/training.h"

enum { MOST_STEPS = 16 };

static void show_violations(void) {
  for (int i = 0; cudasim_violation(i); i++) print_error("simulator: %s\n", cudasim_violation(i));
}

/* --- whole runs ----------------------------------------------------------------------------------------------------------------------- */

struct seen {
  struct metrics row[MOST_STEPS];
  long waits[MOST_STEPS]; /* until after step i + 1 */
  int rows;
};

static void on_metrics(void *user, const struct metrics *m) {
  struct seen *s = user;
  assert_true(s->rows < MOST_STEPS);
  s->waits[s->rows] = cudasim_waits();
  s->row[s->rows++] = *m;
}

static void on_log(void *user, enum log_level level, const char *text) {
  (void)user, (void)level;
  if (getenv("PDMBOOTH_TEST_LOG")) fprintf(stderr, "# %s\n", text);
}

/* All three slots, masks, crops that move. */
static struct settings run_of(const struct place *p, int accumulation) {
  struct settings s = short_run(p->model, p->images, p->run);
  s.engine.device = "cuda";
  s.train.steps = 8;
  s.train.accumulation = accumulation;
  s.train.flip = false;
  s.losses.mask_prior = false;
  s.losses.pdm_steps = 2;
  s.samples.every = 0;
  s.checkpoints.every = 0;
  s.prompts.tests = 0;
  return s;
}

/* Once in every step but the first ones, which encode photographs once for all. */
static void check_waits(int accumulation) {
  struct place p;
  struct seen seen = {0};
  struct err e = {0};
  struct run_result r;
  struct sink sink = {.user = &seen, .metrics = on_metrics, .log = on_log};
  place_make(&p, "data/sd1", 2, 80, 96);
  struct settings s = run_of(&p, accumulation);
  if (!engine_run(&s, NULL, &sink, &r, &e)) fail_msg("%s", e.text);
  folder_remove_all(p.root);
  assert_int_equal(seen.rows, s.train.steps);
  for (int i = 1; i < seen.rows; i++) print_message("accumulation %d, step %d: %ld waits\n", accumulation, i + 1, seen.waits[i] - seen.waits[i - 1]);
  for (int i = seen.rows - 3; i < seen.rows; i++) assert_int_equal(seen.waits[i] - seen.waits[i - 1], 1);
  show_violations();
  assert_int_equal(cudasim_check(), 0);
}

static void test_waits(void **state) {
  (void)state;
  check_waits(1);
  check_waits(3);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_waits)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
