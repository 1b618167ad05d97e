/* Samplers against diffusers without a network (tests/reference/dump_sampler_math.py): the prediction is 0.6 x + 0.5 sin(t / 120).
 * Timesteps are equal, sigmas within two units in the last place, final values within 1e-5 of the largest one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "diffusion/sampler.h"
#include "unit/reference.h"

enum { ELEMENTS = 6, ROOM = 1 << 16 };
static const char *const spacings[] = {"default", "leading", "linspace", "trailing"};
static const int step_counts[] = {1, 2, 5, 20, 50, 333};

struct fixture {
  struct st_file *f;
  struct ctx c;
  struct err e;
  void *room;
  float *x;
};

static int set_up(void **state) {
  struct fixture *t = calloc(1, sizeof *t);
  int64_t n;
  assert_non_null(t);
  t->f = reference_open("sampler_math.safetensors");
  t->x = reference_floats(t->f, "x", &n);
  assert_int_equal(n, ELEMENTS);
  t->room = aligned_alloc(64, ROOM);
  assert_non_null(t->room);
  memset(t->room, 0, ROOM);
  t->c = (struct ctx){.b = backend_open("ref", 1, &t->e), .pool = pool_new(t->room, ROOM), .act = DT_F32, .err = &t->e};
  assert_true(t->c.b != NULL && t->c.pool != NULL);
  *state = t;
  return 0;
}

static int tear_down(void **state) {
  struct fixture *t = *state;
  pool_delete(t->c.pool);
  backend_close(t->c.b);
  free(t->room);
  free(t->x);
  st_close(t->f);
  free(t);
  return 0;
}

static void sd_schedule(struct schedule *s, enum prediction p, const char *spacing) {
  assert_true(schedule_make(s, "scaled_linear", 0.00085, 0.012, 1000, p, NULL));
  if (strcmp(spacing, "default") != 0) snprintf(s->spacing, sizeof s->spacing, "%s", spacing);
}

/* Runs the sampler over the analytic network; out [ELEMENTS]. */
static void sample(struct ctx *c, struct sampler *s, const float *start, float *out) {
  float x[ELEMENTS], p[ELEMENTS];
  for (int k = 0; k < ELEMENTS; k++) x[k] = start[k] * (float)sampler_init_sigma(s);
  struct tensor xt = ctx_upload(c, DT_F32, 1, (int64_t[]){ELEMENTS}, x), pt = ctx_like(c, &xt);
  for (int i = 0; i < sampler_evaluations(s); i++) {
    sampler_input(s, c, i, &pt, &xt);
    ctx_download(c, p, &pt);
    for (int k = 0; k < ELEMENTS; k++) p[k] = 0.6f * p[k] + (float)(0.5 * sin(sampler_timestep(s, i) / 120.0));
    c->b->op->upload(c->b, pt.data, p, sizeof p);
    sampler_step(s, c, i, &xt, &pt);
  }
  ctx_download(c, out, &xt);
  sampler_delete(s, c);
  ctx_free(c, &pt);
  ctx_free(c, &xt);
  assert_true(ctx_ok(c));
  assert_int_equal(pool_used(c->pool), 0);
}

/* Largest difference relative to the largest wanted value. */
static double distance(const float *a, const float *want, int64_t n) {
  double most = 0, scale = 1e-30;
  for (int64_t i = 0; i < n; i++) {
    most = fmax(most, fabs((double)a[i] - want[i]));
    scale = fmax(scale, fabs(want[i]));
  }
  return most / scale;
}

static void one_case(struct fixture *t, enum prediction p, int kind, const char *spacing, int steps, double *worst) {
  char name[128];
  int64_t n;
  float got[ELEMENTS];
  struct schedule schedule;
  snprintf(name, sizeof name, "%s.%s.%s.%d.latents", p == PREDICT_V ? "v_prediction" : "epsilon", sampler_names[kind], spacing, steps);
  if (st_find(t->f, name) == NULL) return;
  sd_schedule(&schedule, p, spacing);
  struct sampler *s = sampler_new((enum sampler_kind)kind, &schedule, steps, &t->e);
  if (s == NULL) fail_msg("%s: %s", name, t->e.text);
  sample(&t->c, s, t->x, got);
  float *want = reference_floats(t->f, name, &n);
  double d = distance(got, want, n);
  if (!(d <= 1e-5)) fail_msg("%s: relative difference %g", name, d);
  *worst = fmax(*worst, d);
  free(want);
}

static void test_latents(void **state) {
  double worst = 0;
  for (int p = 0; p < 2; p++)
    for (int kind = 0; kind < SAMPLER_KINDS; kind++)
      for (size_t k = 0; k < sizeof spacings / sizeof *spacings; k++)
        for (size_t i = 0; i < sizeof step_counts / sizeof *step_counts; i++)
          one_case(*state, p == 0 ? PREDICT_EPSILON : PREDICT_V, kind, spacings[k], step_counts[i], &worst);
  print_message("largest relative difference of final values: %.2g\n", worst);
}

static void expect_lists(struct fixture *t, int kind, const char *spacing, int steps) {
  char name[128];
  int64_t n;
  struct schedule schedule;
  sd_schedule(&schedule, PREDICT_EPSILON, spacing);
  struct sampler *s = sampler_new((enum sampler_kind)kind, &schedule, steps, &t->e);
  assert_non_null(s);
  snprintf(name, sizeof name, "epsilon.%s.%s.%d.timesteps", sampler_names[kind], spacing, steps);
  float *want = reference_floats(t->f, name, &n);
  assert_int_equal(sampler_evaluations(s), n);
  for (int i = 0; i < n; i++)
    if (sampler_timestep(s, i) != want[i])
      fail_msg("%s[%d]: %.9g, diffusers has %.9g", name, i, (double)sampler_timestep(s, i), (double)want[i]);
  free(want);
  if (kind == SAMPLER_DPMPP_2M || kind == SAMPLER_EULER) {
    snprintf(name, sizeof name, "epsilon.%s.%s.%d.sigmas", sampler_names[kind], spacing, steps);
    want = reference_floats(t->f, name, &n);
    assert_int_equal(sampler_evaluations(s) + 1, n);
    for (int i = 0; i < n; i++)
      if (!(fabs((double)sampler_sigma(s, i) - want[i]) <= 2.4e-7 * want[i]))
        fail_msg("%s[%d]: %.9g, diffusers has %.9g", name, i, (double)sampler_sigma(s, i), (double)want[i]);
    free(want);
  }
  sampler_delete(s, &t->c);
}

static void test_timesteps_and_sigmas(void **state) {
  for (int kind = 0; kind < SAMPLER_KINDS; kind++)
    for (size_t k = 0; k < sizeof spacings / sizeof *spacings; k++)
      for (size_t i = 0; i + 1 < sizeof step_counts / sizeof *step_counts; i++) expect_lists(*state, kind, spacings[k], step_counts[i]);
}

/* The lists of the dumps that were made with the tiny models, at 20 and 50 steps. */
static void test_model_lists(void **state) {
  static const struct {
    const char *name, *spacing;
    enum sampler_kind kind;
  } cases[] = {{"pndm.leading", "leading", SAMPLER_PNDM},        {"ddim.leading", "leading", SAMPLER_DDIM},
               {"dpmpp.linspace", "linspace", SAMPLER_DPMPP_2M}, {"dpmpp.leading", "leading", SAMPLER_DPMPP_2M},
               {"euler.linspace", "linspace", SAMPLER_EULER},    {"euler.leading", "leading", SAMPLER_EULER}};
  struct st_file *f = reference_open("samplers_sd1.safetensors");
  struct fixture *t = *state;
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
    for (int steps = 20; steps <= 50; steps += 30) {
      char name[128];
      int64_t n;
      struct schedule schedule;
      sd_schedule(&schedule, PREDICT_EPSILON, cases[k].spacing);
      struct sampler *s = sampler_new(cases[k].kind, &schedule, steps, &t->e);
      snprintf(name, sizeof name, "%s.timesteps%d", cases[k].name, steps);
      float *want = reference_floats(f, name, &n);
      assert_int_equal(sampler_evaluations(s), n);
      for (int i = 0; i < n; i++) assert_true(sampler_timestep(s, i) == want[i]);
      free(want);
      snprintf(name, sizeof name, "%s.init_noise_sigma%d", cases[k].name, steps);
      want = reference_floats(f, name, &n);
      assert_true(fabs(sampler_init_sigma(s) - want[0]) <= 2.4e-7 * want[0]);
      free(want);
      sampler_delete(s, &t->c);
    }
  st_close(f);
}

static void test_refused(void **state) {
  struct fixture *t = *state;
  static const int bad[] = {0, -3, 1000, 1001, 100000};
  struct schedule schedule;
  sd_schedule(&schedule, PREDICT_EPSILON, "leading");
  for (int kind = 0; kind < SAMPLER_KINDS; kind++)
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
      struct err e = {0};
      assert_null(sampler_new((enum sampler_kind)kind, &schedule, bad[i], &e));
      assert_int_equal(e.code, ERR_USAGE);
    }
  (void)t;
}

static void test_names(void **state) {
  enum sampler_kind k;
  (void)state;
  for (int i = 0; i < SAMPLER_KINDS; i++) {
    assert_true(sampler_by_name(sampler_names[i], &k));
    assert_int_equal(k, i);
  }
  assert_false(sampler_by_name("heun", &k));
}

/* The same calls on the counting backend take exactly the memory of the real ones. */
static void test_plan(void **state) {
  struct fixture *t = *state;
  size_t peak[2];
  float out[ELEMENTS];
  for (int plan = 0; plan < 2; plan++) {
    struct err e = {0};
    struct backend *b = plan ? backend_open_ops(&backend_count, 1, &e) : t->c.b;
    struct pool *pool = plan ? pool_new(NULL, SIZE_MAX) : pool_new(t->room, ROOM);
    struct ctx c = {.b = b, .pool = pool, .act = DT_F32, .err = &e};
    struct schedule schedule;
    sd_schedule(&schedule, PREDICT_EPSILON, "leading");
    struct sampler *s = sampler_new(SAMPLER_PNDM, &schedule, 10, &e);
    struct tensor x = ctx_new(&c, DT_F32, 1, (int64_t[]){ELEMENTS}), p = ctx_like(&c, &x);
    for (int i = 0; i < sampler_evaluations(s); i++) {
      sampler_input(s, &c, i, &p, &x);
      sampler_step(s, &c, i, &x, &p);
    }
    ctx_download(&c, out, &x);
    sampler_delete(s, &c);
    peak[plan] = pool_peak(pool);
    pool_delete(pool);
    if (plan) backend_close(b);
  }
  assert_int_equal(peak[0], peak[1]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_latents),     cmocka_unit_test(test_timesteps_and_sigmas),
      cmocka_unit_test(test_model_lists), cmocka_unit_test(test_refused),
      cmocka_unit_test(test_names),       cmocka_unit_test(test_plan),
  };
  return cmocka_run_group_tests_name("sampler", tests, set_up, tear_down);
}
