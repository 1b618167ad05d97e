/* engine_sample from given noise: final latents as diffusers' (tests/data/samplers_sd1), dumps in Python's layouts, order of delivery,
 * refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "diffusion/sampler.h"
#include "formats/npy.h"
#include "pdmbooth.h"
#include "unit/folder.h"
#include "unit/reference.h"

enum { LATENTS = 4 * 8 * 8 };

struct fixture {
  struct sample_job j;
  struct sink sink;
  struct err e;
  char dir[256], model[4096], noise[300];
  int samples;
  uint64_t seed[8];
  int prompt[8], side;
};

static bool on_sample(void *user, const struct sample_event *s, struct err *e) {
  struct fixture *t = user;
  (void)e;
  assert_in_range(t->samples, 0, 7);
  t->seed[t->samples] = s->seed;
  t->prompt[t->samples++] = s->prompt_index;
  t->side = s->picture->w;
  return true;
}

static void set_up(struct fixture *t, const char *const *prompts, int n) {
  *t = (struct fixture){.samples = 0};
  folder_make(t->dir, sizeof t->dir);
  snprintf(t->noise, sizeof t->noise, "%s/in.npy", t->dir);
  t->sink = (struct sink){.user = t, .sample = on_sample};
  t->j = (struct sample_job){.model = tests_path("data/sd1", t->model, sizeof t->model),
                             .lora = "",
                             .scale = 1,
                             .prompts = prompts,
                             .n_prompts = n,
                             .negative = "",
                             .count = 1,
                             .sampler = SAMPLER_DPMPP_2M,
                             .steps = 20,
                             .batch = 2,
                             .guidance = 7.5,
                             .device = "ref",
                             .threads = 1,
                             .latents_in = "",
                             .dump_dir = ""};
}

static void expect_npy(const char *dir, const char *name, const float *want, int64_t n, double tolerance) {
  char path[400];
  struct npy a;
  double difference = 0, scale = 0;
  snprintf(path, sizeof path, "%s/%s", dir, name);
  assert_true(npy_read(path, &a, NULL));
  assert_int_equal(a.dim[0], 1);
  for (int64_t i = 0; i < n; i++) {
    difference += pow((double)a.data[i] - want[i], 2);
    scale += pow(want[i], 2);
  }
  if (!(sqrt(difference) <= tolerance * sqrt(scale))) fail_msg("%s: relative difference %g", name, sqrt(difference / scale));
  npy_release(&a);
}

static void test_given_noise(void **state) {
  static const char *const prompt = "a photo of sks dog";
  struct fixture t;
  struct npy text;
  char path[400];
  int64_t n;
  struct st_file *f = reference_open("samplers_sd1.safetensors");
  float *noise = reference_floats(f, "noise", &n), *want = reference_floats(f, "dpmpp.leading.latents", &n);
  (void)state;
  set_up(&t, &prompt, 1);
  t.j.latents_in = t.noise;
  t.j.dump_dir = t.dir;
  assert_true(npy_write(t.noise, 4, (int64_t[]){1, 4, 8, 8}, noise, &t.e));
  if (!engine_sample(&t.j, NULL, &t.sink, &t.e)) fail_msg("%s", t.e.text);
  assert_int_equal(t.samples, 1);
  assert_int_equal(t.side, 64);
  expect_npy(t.dir, "noise.npy", noise, LATENTS, 0);
  expect_npy(t.dir, "latents.npy", want, LATENTS, 2e-5);
  snprintf(path, sizeof path, "%s/negative.npy", t.dir);
  assert_true(npy_read(path, &text, NULL));
  assert_int_equal(text.rank, 3);
  assert_int_equal(text.dim[1], 77);
  npy_release(&text);
  free(want);
  free(noise);
  st_close(f);
  folder_remove(t.dir);
}

/* Prompts in order, the seeds of each counted up; a batch reaches over prompts. */
static void test_order(void **state) {
  static const char *const prompts[] = {"a photo of dog", "dog in the snow"};
  struct fixture t;
  (void)state;
  set_up(&t, prompts, 2);
  t.j.count = 3;
  t.j.seed = 40;
  t.j.steps = 1;
  t.j.batch = 4;
  t.j.width = 32;
  t.j.height = 48;
  if (!engine_sample(&t.j, NULL, &t.sink, &t.e)) fail_msg("%s", t.e.text);
  assert_int_equal(t.samples, 6);
  assert_int_equal(t.side, 32);
  for (int i = 0; i < 6; i++) {
    assert_int_equal(t.prompt[i], i / 3);
    assert_int_equal(t.seed[i], 40 + i % 3);
  }
  folder_remove(t.dir);
}

static void expect_refusal(struct fixture *t, enum err_code code, const char *word) {
  t->e = (struct err){.code = ERR_OK};
  assert_false(engine_sample(&t->j, NULL, &t->sink, &t->e));
  if (t->e.code != code || strstr(t->e.text, word) == NULL) fail_msg("code %d: %s", (int)t->e.code, t->e.text);
  assert_int_equal(t->samples, 0);
}

static void test_refused(void **state) {
  static const char *const prompt = "a photo of dog";
  float noise[LATENTS] = {0};
  struct fixture t;
  (void)state;
  set_up(&t, &prompt, 1);
  t.j.latents_in = t.noise;
  expect_refusal(&t, ERR_INPUT, t.noise);
  assert_true(npy_write(t.noise, 4, (int64_t[]){1, 2, 16, 8}, noise, NULL));
  expect_refusal(&t, ERR_INPUT, "initial noise");
  assert_true(npy_write(t.noise, 4, (int64_t[]){1, 4, 8, 8}, noise, NULL));
  t.j.width = 128;
  expect_refusal(&t, ERR_USAGE, "128 x");
  t.j.latents_in = "";
  t.j.width = 65;
  expect_refusal(&t, ERR_USAGE, "multiples of");
  t.j.width = 64;
  t.j.steps = 5000;
  expect_refusal(&t, ERR_USAGE, "5000");
  t.j.steps = 2;
  t.j.lora = "/nonexistent/lora.safetensors";
  expect_refusal(&t, ERR_INPUT, t.j.lora);
  t.j.lora = "";
  t.j.n_prompts = 0;
  expect_refusal(&t, ERR_USAGE, "prompt");
  t.j.n_prompts = 1;
  t.j.model = "embedded";
  expect_refusal(&t, ERR_INPUT, "embedded");
  folder_remove(t.dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_given_noise), cmocka_unit_test(test_order), cmocka_unit_test(test_refused)};
  return cmocka_run_group_tests_name("sample", tests, NULL, NULL);
}
