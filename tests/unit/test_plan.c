/* The plan against what a run does: the region of the passes to the page, limits that shrink until nothing helps, recomputation of some blocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>

#include "train/forecast.h"
#include "training.h"

static struct run_plan plan_of(const struct settings *s) {
  struct run_plan p;
  struct err e = {0};
  if (!engine_plan(s, NULL, NULL, &(struct plan_options){.measure = false}, &p, &e)) fail_msg("%s", e.text);
  return p;
}

/* What limits are compared with: not what this process had before. */
static int64_t highest(const struct run_plan *p) {
  int64_t most = 0;
  for (int i = 0; i < PLAN_STAGES; i++) most = p->stage[i].memory > most ? p->stage[i].memory : most;
  return most;
}

/* --- bytes ------------------------------------------------------------------------------------------------------------------------------ */

/* Two steps, everything on: the region that was reserved is the one of the plan, and every page of it was used. */
static void check_run(const char *model, int w, int h, bool full, bool recompute, bool probe, bool away) {
  struct place p;
  struct run_result r;
  struct err e = {0};
  place_make(&p, model, 2, w + 8, h);
  struct settings s = short_run(p.model, p.images, p.run);
  s.train.width = w, s.train.height = h;
  s.train.steps = 2, s.samples.every = s.checkpoints.every = 0;
  s.train.mode = full ? MODE_FULL : MODE_LORA;
  s.train.text_encoder = full;
  s.train.recompute = recompute;
  s.train.gradients = recompute ? GRADIENTS_BF16 : GRADIENTS_FP32;
  s.engine.offload = away ? OFFLOAD_YES : OFFLOAD_NO;
  s.checkpoints.save_weights = false;
  s.subject.hold_out = probe ? "photo-1.png" : ""; /* 64 passes */
  struct run_plan plan = plan_of(&s);
  assert_int_equal(access(p.run, F_OK), -1); /* planning leaves nothing */
  if (!engine_run(&s, NULL, NULL, &r, &e)) fail_msg("%s", e.text);
  int64_t most = 0, page = sysconf(_SC_PAGESIZE);
  for (int i = 0; i < PLAN_STAGES; i++) most = plan.stage[i].work > most ? plan.stage[i].work : most;
  assert_true(r.work_planned > 0 && r.work_planned <= most);
  assert_in_range(r.work_touched, r.work_planned - page, r.work_planned + page);
  assert_int_equal(plan.recomputed, recompute ? plan.blocks : 0);
  assert_true(plan.offloaded == away && (plan.home > 0) == (away && full) && (plan.away > plan.home) == (away && full));
  folder_remove_all(p.root);
}

static void test_planned_is_touched(void **state) {
  (void)state;
  check_run("data/sd1", 64, 64, false, false, true, false);
  check_run("data/sd1", 48, 72, true, false, false, false);
  check_run("data/sd1", 48, 72, true, false, false, true);
  check_run("data/sd2", 64, 48, true, true, false, false);
  check_run("../assets/tiny-sd", 64, 64, false, false, false, false);
}

/* Parts add up, and are those of the model: weights of the three networks, gradients and moments of what is trained. */
static void test_parts(void **state) {
  (void)state;
  struct place p;
  place_make(&p, "../assets/tiny-sd", 2, 64, 64);
  struct settings s = short_run(p.model, p.images, p.run);
  s.train.mode = MODE_FULL;
  struct run_plan fp32 = plan_of(&s);
  assert_int_equal(fp32.moments, 2 * fp32.gradients + (int64_t)backend_ref.taken(4 * sizeof(double))); /* and the norm with the losses of three slots */
  assert_int_equal(fp32.averaged, 0);
  assert_true(fp32.weights > fp32.gradients && fp32.gradients > 22 << 20);
  int64_t sum =
      fp32.process + fp32.weights + fp32.packed + fp32.gradients + fp32.moments + fp32.averaged + fp32.scratch + fp32.work + fp32.buffers;
  assert_int_equal(sum, fp32.memory);
  s.train.moments = MOMENTS_BF16;
  s.train.ema_decay = 0.9;
  struct run_plan bf16 = plan_of(&s);
  assert_true(bf16.moments < fp32.moments * 6 / 10);
  assert_int_equal(bf16.averaged, bf16.gradients);
  s.train.moments = MOMENTS_8BIT;
  struct run_plan bytes = plan_of(&s);
  assert_true(bytes.moments < fp32.moments * 3 / 10 && bytes.moments > fp32.moments / 4);
  s.train.gradients = GRADIENTS_BF16;
  assert_true(plan_of(&s).gradients < fp32.gradients * 6 / 10);
  s.train.gradients = GRADIENTS_FP32;
  s.train.mode = MODE_LORA;
  struct run_plan lora = plan_of(&s);
  assert_true(lora.gradients < 1 << 20 && lora.memory < fp32.memory);
  s.train.batch = 2;
  assert_true(plan_of(&s).work > lora.work * 3 / 2);
  int64_t work = plan_of(&s).work; /* of 16 bits: a good half, the same for both types */
  s.train.precision = PRECISION_BF16;
  int64_t half = plan_of(&s).work;
  s.train.precision = PRECISION_FP16;
  assert_true(plan_of(&s).work == half && half < work * 3 / 4);
  s.train.precision = PRECISION_TF32;
  assert_true(plan_of(&s).work == work);
  folder_remove_all(p.root);
}

/* --- limits ------------------------------------------------------------------------------------------------------------------------------ */

/* Limits that are close to one another mean something only where the process itself stays as large as it is. */
static void steady_process(void) {
#ifdef __SANITIZE_ADDRESS__
  skip(); /* what the sanitizer keeps of freed memory comes and goes */
#endif
}

static struct settings large_run(const struct place *p) {
  struct settings s = short_run(p->model, p->images, p->run);
  s.train.mode = MODE_FULL;
  s.train.text_encoder = true;
  s.train.batch = 3;
  s.prior.images = s.prior.batch = s.samples.count = s.samples.batch = 24;
  return s;
}

/* Limits from the plan downwards: each plan fits its limit or is refused; less memory never means fewer blocks computed again; a refusal names what
   would fit and leaves nothing on disk. */
static void test_shrinking_limits(void **state) {
  (void)state;
  steady_process();
  struct place p;
  place_make(&p, "../assets/tiny-sd", 6, 64, 64);
  struct settings s = large_run(&p);
  const struct run_plan whole = plan_of(&s);
  assert_false(whole.replanned);
  int64_t limit = highest(&whole), step = whole.work / 12;
  bool some = false, fewer_samples = false, refused = false;
  for (int last = 0; !refused; limit -= step) {
    struct run_plan plan;
    struct err e = {0};
    s.engine.memory = limit;
    refused = !engine_plan(&s, NULL, NULL, &(struct plan_options){.measure = false}, &plan, &e);
    if (refused) {
      assert_int_equal(e.code, ERR_FIT);
      assert_non_null(strstr(e.text, "memory in [engine] allows"));
      assert_non_null(strstr(e.text, "mode = lora ("));
      assert_int_equal(plan.recomputed, plan.blocks);
      assert_int_equal(plan.samples_batch, 1);
      break;
    }
    assert_true(highest(&plan) <= limit);
    assert_true(plan.recomputed >= last);
    last = plan.recomputed;
    some |= plan.recomputed > 0 && plan.recomputed < plan.blocks;
    fewer_samples |= plan.samples_batch < 24 && plan.samples_batch > 1;
    assert_true(limit > step);
  }
  assert_true(refused && some && fewer_samples);
  s.engine.memory = limit / 2; /* the process may take less now than when it was refused */
  struct run_result r;
  struct err e = {0};
  assert_false(engine_run(&s, NULL, NULL, &r, &e));
  assert_int_equal(e.code, ERR_FIT);
  assert_int_equal(access(p.run, F_OK), -1);
  folder_remove_all(p.root);
}

/* Moments of fewer bits are taken only where they are allowed, only when nothing else helps, and no fewer than needed. */
static void test_fewer_bits(void **state) {
  (void)state;
  steady_process();
  struct place p;
  struct run_plan plan;
  struct err e = {0};
  place_make(&p, "../assets/tiny-sd", 1, 64, 64);
  struct settings s = short_run(p.model, p.images, p.run);
  s.train.mode = MODE_FULL;
  s.train.recompute = true;
  s.prior.batch = s.samples.batch = 1;
  plan = plan_of(&s);
  s.engine.memory = highest(&plan) - (8 << 20);
  assert_false(engine_plan(&s, NULL, NULL, &(struct plan_options){.measure = false}, &plan, &e));
  assert_non_null(strstr(e.text, "moments = bf16 ("));
  assert_non_null(strstr(e.text, "moments = 8bit ("));
  s.engine.least_moments = MOMENTS_8BIT;
  plan = plan_of(&s);
  assert_true(plan.moments_kind == MOMENTS_BF16 && plan.replanned && highest(&plan) <= s.engine.memory);
  s.engine.memory = highest(&plan) - plan.moments * 4 / 10;
  plan = plan_of(&s);
  assert_true(plan.moments_kind == MOMENTS_8BIT && plan.replanned && highest(&plan) <= s.engine.memory);
  s.engine.least_moments = MOMENTS_BF16;
  assert_false(engine_plan(&s, NULL, NULL, &(struct plan_options){.measure = false}, &plan, &e));
  s.engine.memory = 0;
  assert_int_equal(plan_of(&s).moments_kind, MOMENTS_FP32);
  folder_remove_all(p.root);
}

/* --- the result -------------------------------------------------------------------------------------------------------------------------- */

/* Everything is trained, on the photographs alone; nothing is sampled or saved. */
static struct settings steps_only(const struct place *p, int steps) {
  struct settings s = short_run(p->model, p->images, p->run);
  s.train.mode = MODE_FULL;
  s.train.text_encoder = true;
  s.train.steps = steps;
  s.samples.every = s.checkpoints.every = s.prompts.tests = 0;
  s.losses.prior = s.losses.pdm = s.checkpoints.save_weights = false;
  return s;
}

struct seen {
  struct metrics row[8];
  int rows, recomputed;
};

static void on_metrics(void *user, const struct metrics *m) {
  struct seen *s = user;
  assert_true(s->rows < 8);
  s->row[s->rows] = *m;
  s->row[s->rows++].seconds = 0;
}

static void on_plan(void *user, const struct run_plan *p) {
  ((struct seen *)user)->recomputed = p->recomputed;
}

static bool run_fits(const struct settings *s, struct seen *seen) {
  struct err e = {0};
  struct run_result r;
  struct sink sink = {.user = seen, .metrics = on_metrics, .plan = on_plan};
  memset(seen, 0, sizeof *seen);
  bool ok = engine_run(s, NULL, &sink, &r, &e);
  if (!ok && e.code != ERR_FIT) fail_msg("%s", e.text);
  return ok;
}

static void run_seen(const struct settings *s, struct seen *seen) {
  if (!run_fits(s, seen)) fail_msg("the run does not fit");
}

/* A run with some of its blocks computed again. What the process holds besides counts too and changes from run to run (under a sanitizer by more than
   the blocks), so the limit is looked for, from the middle between all blocks and none. */
static void run_with_some_blocks(struct settings *s, int blocks, int64_t middle, int64_t range, struct seen *seen) {
  s->engine.memory = middle;
  for (int tries = 0; tries < 12; tries++) {
    bool fits = run_fits(s, seen);
    if (fits && seen->recomputed > 0 && seen->recomputed < blocks) return;
    s->engine.memory += fits && !seen->recomputed ? -range / 4 : range / 4;
  }
  fail_msg("no limit has some blocks computed again");
}

/* Some blocks computed again: the same numbers, bit for bit. */
static void test_some_blocks(void **state) {
  (void)state;
  struct place p;
  struct seen a, b;
  place_make(&p, "../assets/tiny-sd", 2, 64, 64);
  struct settings s = steps_only(&p, 2);
  s.train.batch = 2;
  struct run_plan whole = plan_of(&s);
  s.train.recompute = true;
  int64_t least = plan_of(&s).work;
  s.train.recompute = false;
  run_with_some_blocks(&s, whole.blocks, highest(&whole) - (whole.work - least) / 2, whole.work - least, &b);
  s.engine.memory = 0;
  run_seen(&s, &a);
  assert_int_equal(a.recomputed, 0);
  assert_int_equal(b.rows, 2);
  assert_memory_equal(a.row, b.row, 2 * sizeof *a.row);
  folder_remove_all(p.root);
}

/* Gradients in bf16: the same losses before the first update, the same norm but for a rounding of each, and what follows from that. */
static void test_half_gradients(void **state) {
  (void)state;
  struct place p;
  struct seen a, b;
  place_make(&p, "data/sd1", 2, 64, 64);
  struct settings s = steps_only(&p, 3);
  run_seen(&s, &a);
  s.train.gradients = GRADIENTS_BF16;
  s.train.moments = MOMENTS_8BIT;
  run_seen(&s, &b);
  assert_true(a.rows == 3 && b.rows == 3);
  assert_true(a.row[0].total == b.row[0].total);
  double off = fabs(b.row[0].grad_norm / a.row[0].grad_norm - 1), after = fabs(b.row[2].total / a.row[2].total - 1);
  print_message("gradients in bf16, moments in 8 bits: the norm is off by %.2g, the third loss by %.2g\n", off, after);
  assert_true(off > 0 && off < 1e-3 && after > 0 && after < 1e-2);
  folder_remove_all(p.root);
}

/* --- time -------------------------------------------------------------------------------------------------------------------------------- */

/* Every stage that has work to do gets its share of the time, also when operations are timed one by one; more steps take longer. */
static void test_seconds(void **state) {
  (void)state;
  struct place p;
  struct run_plan plan;
  struct err e = {0};
  place_make(&p, "data/sd1", 2, 64, 64);
  struct settings s = short_run(p.model, p.images, p.run);
  s.subject.hold_out = "photo-1.png";
  for (int measure = 0; measure < 2; measure++) {
    double sum = 0;
    if (!engine_plan(&s, NULL, NULL, &(struct plan_options){.measure = measure}, &plan, &e)) fail_msg("%s", e.text);
    for (int i = 0; i < PLAN_STAGES; i++) {
      assert_true((plan.stage[i].seconds > 0) == (plan.stage[i].units > 0));
      sum += plan.stage[i].seconds;
    }
    assert_true(fabs(sum - plan.seconds) < 1e-9 * sum && plan.flops > 0);
    assert_int_equal(plan.measured, measure);
  }
  double flops = plan.flops;
  s.train.steps *= 100;
  assert_true(plan_of(&s).flops > 5 * flops);
  folder_remove_all(p.root);
}

/* Half of a stage took twice its plan: the other half will, and so will the stages to come. */
static void test_forecast(void **state) {
  (void)state;
  struct forecast f;
  struct run_plan p = {.places = 0};
  static const char *const name[PLAN_STAGES] = {"loading",  "masks",   "class images", "pdm targets", "encoding",
                                                "training", "samples", "probe",        "saving"};
  for (int i = 0; i < PLAN_STAGES; i++) p.stage[i].name = name[i];
  p.stage[2].seconds = 100;
  p.stage[5].seconds = 40;
  p.stage[7].seconds = 10;
  forecast_begin(&f, NULL);
  forecast_plan(&f, &p, 1);
  assert_true(fabs(forecast_left(&f) - 150) < 1e-9);
  f.sink.progress(f.sink.user, "class images", 0, 8);
  f.sink.progress(f.sink.user, "class images", 4, 8);
  f.stage[2].spent = 100;
  assert_true(fabs(forecast_left(&f) - (100 + 2 * 50)) < 1e-6);
  f.sink.progress(f.sink.user, "class images", 8, 8);
  f.sink.progress(f.sink.user, "training", 3, 10);
  f.stage[2].spent = 50;
  assert_true(fabs(forecast_left(&f) - 25) < 1e-3);
}

static void progress_after(struct forecast *f, double seconds, const char *stage, int64_t done, int64_t total) {
  f->since -= seconds;
  f->sink.progress(f->sink.user, stage, done, total);
}

/* The first 40 of 100 units are to take nine tenths of the time, and do. */
static void test_uneven_stage(void **state) {
  (void)state;
  struct forecast f;
  struct run_plan p = {.places = 0};
  for (int i = 0; i < PLAN_STAGES; i++) p.stage[i].name = "none";
  p.stage[0] = (struct plan_stage){.name = "pdm targets", .seconds = 100, .early = 40, .early_seconds = 90};
  forecast_begin(&f, NULL);
  forecast_plan(&f, &p, 1);
  progress_after(&f, 0, "pdm targets", 0, 100);
  for (int i = 1; i <= 100; i++) {
    progress_after(&f, i <= 40 ? 90.0 / 40 : 10.0 / 60, "pdm targets", i, 100);
    double is = i <= 40 ? 100 - i * 90.0 / 40 : (100 - i) * 10.0 / 60;
    assert_true(fabs(forecast_left(&f) - is) < 0.1);
  }
}

/* A plan twice too fast, a first step five times slower than the others, pictures that are made four at once: within 10 % after a few. */
static void test_warm_pace(void **state) {
  (void)state;
  struct forecast f;
  struct run_plan p = {.places = 0};
  for (int i = 0; i < PLAN_STAGES; i++) p.stage[i].name = "none";
  p.stage[0].name = "loading", p.stage[0].seconds = 1;
  p.stage[1].name = "class images", p.stage[1].seconds = 40;
  p.stage[2].name = "training", p.stage[2].seconds = 500;
  forecast_begin(&f, NULL);
  forecast_plan(&f, &p, 1);
  progress_after(&f, 100, "class images", 0, 40); /* a cold disk says nothing about the others */
  assert_true(fabs(forecast_left(&f) - 541) < 0.1);
  for (int i = 1; i <= 40; i++) progress_after(&f, i % 4 == 1 ? 8 : 0.01, "class images", i, 40);
  print_message("before training: %.0f s left\n", forecast_left(&f));
  assert_true(fabs(forecast_left(&f) - 1000) < 20);
  progress_after(&f, 0, "training", 0, 500);
  for (int i = 1; i <= 6; i++) progress_after(&f, i == 1 ? 10 : 2, "training", i, 500);
  print_message("6 of 500 steps: %.0f s left, 988 are\n", forecast_left(&f));
  assert_true(fabs(forecast_left(&f) / 988 - 1) < 0.02);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_planned_is_touched),
                                     cmocka_unit_test(test_parts),
                                     cmocka_unit_test(test_shrinking_limits),
                                     cmocka_unit_test(test_fewer_bits),
                                     cmocka_unit_test(test_some_blocks),
                                     cmocka_unit_test(test_half_gradients),
                                     cmocka_unit_test(test_seconds),
                                     cmocka_unit_test(test_forecast),
                                     cmocka_unit_test(test_uneven_stage),
                                     cmocka_unit_test(test_warm_pace)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
