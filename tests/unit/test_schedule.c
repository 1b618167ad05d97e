/* The noise process against diffusers (tests/reference/dump_sampler_math.py): every bit of alphas_cumprod; of the rescaled one all but
 * the last bits, since torch.sqrt of a vector is not always the nearest float. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diffusion/schedule.h"
#include "unit/reference.h"

static struct schedule parse(const char *text) {
  struct err e = {0};
  struct schedule s;
  struct json *j = json_parse(text, strlen(text), "scheduler_config.json", &e);
  assert_non_null(j);
  if (!schedule_from_json(&s, j, &e)) fail_msg("%s", e.text);
  json_close(j);
  return s;
}

static void expect_abar(struct st_file *f, const char *name, const struct schedule *s, double tolerance) {
  int64_t n;
  float *want = reference_floats(f, name, &n);
  assert_int_equal(n, s->steps);
  for (int i = 0; i < n; i++)
    if (!(fabs(s->abar[i] - (double)want[i]) <= tolerance))
      fail_msg("%s[%d]: %.9g, diffusers has %.9g", name, i, s->abar[i], (double)want[i]);
  free(want);
}

static void test_abar(void **state) {
  static const char *const cases[][2] = {
      {"abar.default", "{}"},
      {"abar.linear", "{\"beta_schedule\": \"linear\"}"},
      {"abar.scaled_linear", "{\"beta_schedule\": \"scaled_linear\", \"beta_start\": 0.00085, \"beta_end\": 0.012}"},
      {"abar.squaredcos_cap_v2", "{\"beta_schedule\": \"squaredcos_cap_v2\"}"},
      {"abar.odd", "{\"beta_schedule\": \"scaled_linear\", \"beta_start\": 0.001, \"beta_end\": 0.02, \"num_train_timesteps\": 77}"},
      {"abar.rescaled",
       "{\"beta_schedule\": \"scaled_linear\", \"beta_start\": 0.00085, \"beta_end\": 0.012, \"rescale_betas_zero_snr\": true}"},
  };
  struct st_file *f = reference_open("sampler_math.safetensors");
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct schedule s = parse(cases[i][1]);
    expect_abar(f, cases[i][0], &s, strcmp(cases[i][0], "abar.rescaled") == 0 ? 1e-6 : 0);
  }
  st_close(f);
}

static void test_trained_betas(void **state) {
  char text[1024] = "{\"trained_betas\": [";
  int64_t n;
  struct st_file *f = reference_open("sampler_math.safetensors");
  float *betas = reference_floats(f, "trained_betas", &n);
  (void)state;
  for (int i = 0; i < n; i++) snprintf(text + strlen(text), sizeof text - strlen(text), "%s%.17g", i > 0 ? ", " : "", (double)betas[i]);
  strncat(text, "]}", sizeof text - strlen(text) - 1);
  struct schedule s = parse(text);
  expect_abar(f, "abar.trained", &s, 0);
  free(betas);
  st_close(f);
}

static void test_fields(void **state) {
  (void)state;
  struct schedule s = parse("{\"_class_name\": \"PNDMScheduler\", \"prediction_type\": \"v_prediction\", \"steps_offset\": 0}");
  assert_int_equal(s.prediction, PREDICT_V);
  assert_int_equal(s.steps_offset, 1);
  assert_string_equal(s.spacing, "");
  assert_string_equal(s.class_name, "PNDMScheduler");
  assert_false(s.set_alpha_given);
  s = parse("{\"timestep_spacing\": \"trailing\", \"set_alpha_to_one\": true}");
  assert_string_equal(s.spacing, "trailing");
  assert_true(s.set_alpha_given && s.set_alpha_to_one);
}

static void test_refused(void **state) {
  static const char *const cases[][2] = {
      {"{\"prediction_type\": \"sample\"}", "prediction_type"},
      {"{\"beta_schedule\": \"sigmoid\"}", "beta_schedule"},
      {"{\"timestep_spacing\": \"karras\"}", "timestep_spacing"},
      {"{\"num_train_timesteps\": 0}", "num_train_timesteps"},
      {"{\"beta_start\": -1}", "beta_start"},
      {"{\"trained_betas\": [0.1, \"x\"]}", "trained_betas[1]"},
      {"{\"trained_betas\": []}", "trained_betas"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct err e = {0};
    struct schedule s;
    struct json *j = json_parse(cases[i][0], strlen(cases[i][0]), "the_file.json", &e);
    assert_non_null(j);
    assert_false(schedule_from_json(&s, j, &e));
    assert_int_equal(e.code, ERR_INPUT);
    if (strstr(e.text, cases[i][1]) == NULL || strstr(e.text, "the_file.json") == NULL)
      fail_msg("%s: the message names not both file and key: %s", cases[i][0], e.text);
    json_close(j);
  }
}

/* snr = abar / (1 - abar); weights as min-SNR's formulas give them at both ends. */
static void test_min_snr(void **state) {
  struct schedule s;
  (void)state;
  assert_true(schedule_make(&s, "scaled_linear", 0.00085, 0.012, 1000, PREDICT_EPSILON, NULL));
  for (int t = 0; t < 1000; t += 37) {
    double snr = s.abar[t] / (1 - s.abar[t]);
    assert_true(fabs(schedule_snr(&s, t) - snr) <= 1e-12 * snr);
    s.prediction = PREDICT_EPSILON;
    assert_true(fabs(schedule_min_snr(&s, t, 5) - fmin(snr, 5) / snr) < 1e-12);
    s.prediction = PREDICT_V;
    assert_true(fabs(schedule_min_snr(&s, t, 5) - fmin(snr, 5) / (snr + 1)) < 1e-12);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_abar),    cmocka_unit_test(test_trained_betas), cmocka_unit_test(test_fields),
      cmocka_unit_test(test_refused), cmocka_unit_test(test_min_snr),
  };
  return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
