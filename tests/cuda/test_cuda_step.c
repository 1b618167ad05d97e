/* Runs of training with the cuda backend on the simulated device: how often the host waits for it; that steps which are recorded as CUDA graphs and launched
 * again compute bit for bit what steps compute that are not. */
#include "recorded.h"

enum { MOST_STEPS = 16 };

struct seen {
  struct metrics row[MOST_STEPS];
  long waits[MOST_STEPS], calls[MOST_STEPS]; /* until after step i + 1 */
  int rows;
  char note[512]; /* of recordings */
  int scaled;     /* told how often the loss's scale changed */
};

static void on_metrics(void *user, const struct metrics *m) {
  struct seen *s = user;
  assert_true(s->rows < MOST_STEPS);
  s->waits[s->rows] = cudasim_waits();
  s->calls[s->rows] = cudasim_calls();
  s->row[s->rows++] = *m;
}

static void on_log(void *user, enum log_level level, const char *text) {
  struct seen *s = user;
  (void)level;
  if (strstr(text, "CUDA graphs")) snprintf(s->note, sizeof s->note, "%s", text);
  s->scaled += strstr(text, "scaled by") != NULL;
  if (getenv("PDMBOOTH_TEST_LOG")) fprintf(stderr, "# %s\n", text);
}

/* All three slots, masks, crops that move; nothing between the steps. */
static struct settings run_of(const struct place *p) {
  struct settings s = short_run(p->model, p->images, p->run);
  s.engine.device = "cuda";
  s.train.steps = 7;
  s.train.width = s.train.height = 48;
  s.train.flip = false;
  s.losses.mask_prior = false;
  s.losses.pdm_steps = 2;
  s.prior.images = 1;
  s.samples.every = 0;
  s.checkpoints.every = 0;
  s.checkpoints.save_weights = false;
  s.prompts.tests = 0;
  return s;
}

static void run_it(const struct place *p, struct settings *s, bool recorded, struct seen *out) {
  struct err e = {0};
  struct run_result r;
  struct sink sink = {.user = out, .metrics = on_metrics, .log = on_log};
  *out = (struct seen){.rows = 0};
  begin_with(recorded);
  folder_remove_all(p->run);
  if (!engine_run(s, NULL, &sink, &r, &e)) fail_msg("%s", e.text);
  assert_int_equal(out->rows, s->train.steps);
  assert_true((out->note[0] == 0) == recorded);
  print_message("  %s: %ld recordings, %ld launches of them, %ld calls in the last step, %ld waits\n",
                recorded ? "recorded" : "not recorded", cudasim_calls_of("cudaGraphInstantiateWithFlags"),
                cudasim_calls_of("cudaGraphLaunch"), out->calls[out->rows - 1] - out->calls[out->rows - 2],
                out->waits[out->rows - 1] - out->waits[out->rows - 2]);
  show_violations();
  assert_int_equal(cudasim_check(), 0);
}

/* Once in every step but the first ones, which encode photographs once for all. */
static void check_waits(int accumulation) {
  struct place p;
  struct seen seen;
  place_make(&p, "data/sd1", 2, 56, 64);
  struct settings s = run_of(&p);
  s.train.accumulation = accumulation;
  run_it(&p, &s, true, &seen);
  folder_remove_all(p.root);
  assert_true(cudasim_calls_of("cudaGraphLaunch") >= (s.train.steps - 1) * accumulation - 1);
  for (int i = seen.rows - 3; i < seen.rows; i++) assert_int_equal(seen.waits[i] - seen.waits[i - 1], 1);
}

static void test_waits(void **state) {
  (void)state;
  check_waits(1);
  check_waits(3);
}

static bool same(double a, double b) {
  return memcmp(&a, &b, sizeof a) == 0;
}

static void check_run(const char *what, const struct place *p, struct settings *s) {
  struct seen recorded, plain;
  print_message("%s\n", what);
  run_it(p, s, true, &recorded);
  assert_true(cudasim_calls_of("cudaGraphLaunch") >= s->train.steps - 2);
  run_it(p, s, false, &plain);
  for (int i = 0; i < s->train.steps; i++) {
    const struct metrics *a = &recorded.row[i], *b = &plain.row[i];
    if (same(a->instance, b->instance) && same(a->prior, b->prior) && same(a->pdm, b->pdm) && same(a->total, b->total) &&
        same(a->grad_norm, b->grad_norm) && same(a->probe, b->probe))
      continue;
    fail_msg("%s: step %d: %.17g %.17g %.17g %.17g %.17g, not recorded %.17g %.17g %.17g %.17g %.17g", what, i + 1, a->instance, a->prior,
             a->pdm, a->grad_norm, a->probe, b->instance, b->prior, b->pdm, b->grad_norm, b->probe);
  }
  assert_int_equal(recorded.scaled, plain.scaled);
}

static void test_runs(void **state) {
  (void)state;
  struct place p;
  place_make(&p, "data/sd1", 2, 56, 64);
  struct settings s = run_of(&p);
  s.train.mode = MODE_FULL;
  s.train.text_encoder = true;
  s.train.steps = 5;
  check_run("full, with the text encoder", &p, &s);
  s.train.precision = PRECISION_BF16;
  s.train.recompute = true;
  s.train.gradients = GRADIENTS_BF16;
  s.train.moments = MOMENTS_8BIT;
  s.train.ema_decay = 0.9;
  check_run("full in bf16, recomputed, bf16 gradients, 8-bit moments, averaged", &p, &s);
  s = run_of(&p);
  s.train.accumulation = 2;
  s.train.precision = PRECISION_BF16;
  s.prompts.tests = s.samples.count = 1;
  s.samples.every = 3;
  check_run("LoRA in bf16, two micro-batches, samples between the steps", &p, &s);
  s = run_of(&p);
  s.train.precision = PRECISION_FP16;
  s.train.batch = 2;
  s.train.lr = 0.3;
  check_run("LoRA in fp16, two examples", &p, &s);
  s = run_of(&p);
  s.subject.hold_out = "photo-1.png"; /* 64 pictures a probe */
  s.probe_every = 4;
  s.losses.pdm = s.losses.prior = false;
  s.train.batch = s.train.steps = 4;
  check_run("LoRA with probes", &p, &s);
  folder_remove_all(p.root);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_waits), cmocka_unit_test(test_runs)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
