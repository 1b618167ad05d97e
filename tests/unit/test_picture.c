/* Whole pictures of the two tiny models against diffusers' loop (tests/reference/dump_samplers.py): 20 steps, guidance 7.5, from the
 * same noise; final latents and 8-bit pictures. The tolerance is that of two fp32 programs through 40 passes of a random network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "train/picture.h"
#include "unit/folder.h"
#include "unit/reference.h"

enum { CHANNELS = 4, STEPS = 20 };

struct fixture {
  struct backend *b;
  struct model *m;
  struct st_file *f;
  int h, w;     /* of the latents */
  float *noise; /* NHWC */
  struct err e;
};

static void to_nhwc(const float *nchw, int h, int w, float *out) {
  for (int c = 0; c < CHANNELS; c++)
    for (int i = 0; i < h * w; i++) out[i * CHANNELS + c] = nchw[c * h * w + i];
}

static float *read_latents(struct fixture *t, const char *name) {
  int64_t n;
  float *nchw = reference_floats(t->f, name, &n), *out = malloc((size_t)n * sizeof *out);
  assert_int_equal(n, t->h * t->w * CHANNELS);
  to_nhwc(nchw, t->h, t->w, out);
  free(nchw);
  return out;
}

static void open_model(struct fixture *t, const char *name, int h, int w) {
  char path[4096], file[64];
  struct source s;
  *t = (struct fixture){.h = h, .w = w};
  snprintf(file, sizeof file, "data/%s", name);
  source_dir(&s, tests_path(file, path, sizeof path));
  t->b = backend_open("ref", 1, &t->e);
  assert_non_null(t->b);
  t->m = model_open(t->b, &s, &(struct model_want){0}, &t->e);
  if (t->m == NULL) fail_msg("%s", t->e.text);
  snprintf(file, sizeof file, "samplers_%s.safetensors", name);
  t->f = reference_open(file);
  t->noise = read_latents(t, "noise");
}

static void close_model(struct fixture *t) {
  free(t->noise);
  st_close(t->f);
  model_close(t->m);
  backend_close(t->b);
}

static struct picture_job job(const struct fixture *t, enum sampler_kind kind) {
  int f = vae_factor(t->m->vae);
  return (struct picture_job){.sampler = kind, .steps = STEPS, .guidance = 7.5, .negative = "", .width = t->w * f, .height = t->h * f};
}

static void expect_picture(struct fixture *t, const char *name, const struct image *im) {
  int64_t n;
  float *want = reference_floats(t->f, name, &n);
  assert_int_equal(n, (int64_t)im->w * im->h * 3);
  for (int64_t i = 0; i < n; i++)
    if (!(fabs((double)im->px[i] - want[i]) <= 1)) fail_msg("%s[%d]: %d, diffusers has %d", name, (int)i, im->px[i], (int)want[i]);
  free(want);
}

static void one_case(struct fixture *t, const char *name, const char *spacing, enum sampler_kind kind, double *worst) {
  char key[64];
  struct image im;
  struct picture_job j = job(t, kind);
  const char *prompt = "a photo of sks dog";
  float *got = malloc((size_t)(t->h * t->w * CHANNELS) * sizeof *got);
  snprintf(t->m->schedule.spacing, sizeof t->m->schedule.spacing, "%s", spacing);
  if (!pictures_make(t->m, DT_F32, &j, &prompt, NULL, 1, t->noise, &im, got, NULL, NULL, &t->e)) fail_msg("%s: %s", name, t->e.text);
  snprintf(key, sizeof key, "%s.latents", name);
  float *want = read_latents(t, key);
  double difference = 0, scale = 0;
  for (int i = 0; i < t->h * t->w * CHANNELS; i++) {
    difference += pow((double)got[i] - want[i], 2);
    scale += pow(want[i], 2);
  }
  double relative = sqrt(difference / scale);
  *worst = fmax(*worst, relative);
  if (!(relative <= 2e-5)) fail_msg("%s: relative difference %g", key, relative);
  snprintf(key, sizeof key, "%s.picture", name);
  expect_picture(t, key, &im);
  image_release(&im);
  free(want);
  free(got);
}

static void all_samplers(const char *model, int h, int w) {
  static const struct {
    const char *name, *spacing;
    enum sampler_kind kind;
  } cases[] = {{"pndm.leading", "leading", SAMPLER_PNDM},        {"ddim.leading", "leading", SAMPLER_DDIM},
               {"dpmpp.linspace", "linspace", SAMPLER_DPMPP_2M}, {"dpmpp.leading", "leading", SAMPLER_DPMPP_2M},
               {"euler.linspace", "linspace", SAMPLER_EULER},    {"euler.leading", "leading", SAMPLER_EULER}};
  struct fixture t;
  double worst = 0;
  open_model(&t, model, h, w);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) one_case(&t, cases[i].name, cases[i].spacing, cases[i].kind, &worst);
  print_message("%s: final latents of all samplers within %.2g relative\n", model, worst);
  close_model(&t);
}

static void test_sd1(void **state) {
  (void)state;
  all_samplers("sd1", 8, 8);
}

static void test_sd2(void **state) {
  (void)state;
  all_samplers("sd2", 8, 12);
}

/* A picture alone and the same picture among others: at most one grey level apart; the shared prompt is embedded once. */
static void test_batch(void **state) {
  static const char *const prompts[] = {"a photo of sks dog", "a photo of dog", "a photo of sks dog"};
  static const uint64_t seeds[] = {7, 8, 9};
  struct fixture t;
  struct image three[3], one;
  (void)state;
  open_model(&t, "sd1", 8, 8);
  struct picture_job j = job(&t, SAMPLER_DPMPP_2M);
  j.steps = 4;
  assert_true(pictures_make(t.m, DT_F32, &j, prompts, seeds, 3, NULL, three, NULL, NULL, NULL, &t.e));
  for (int i = 0; i < 3; i++) {
    int most = 0;
    assert_true(pictures_make(t.m, DT_F32, &j, prompts + i, seeds + i, 1, NULL, &one, NULL, NULL, NULL, &t.e));
    for (int k = 0; k < one.w * one.h * 3; k++) most = abs(one.px[k] - three[i].px[k]) > most ? abs(one.px[k] - three[i].px[k]) : most;
    assert_true(most <= 1);
    image_release(&one);
  }
  assert_memory_not_equal(three[0].px, three[2].px, 64);
  for (int i = 0; i < 3; i++) image_release(&three[i]);
  close_model(&t);
}

static int stop_at_third(void *user) {
  return ++*(int *)user == 3 ? ERR_SIGINT : 0;
}

static void test_stop(void **state) {
  struct fixture t;
  struct image im;
  int asked = 0;
  uint64_t seed = 1;
  const char *prompt = "a photo of dog";
  (void)state;
  open_model(&t, "sd1", 8, 8);
  struct picture_job j = job(&t, SAMPLER_PNDM);
  assert_false(pictures_make(t.m, DT_F32, &j, &prompt, &seed, 1, NULL, &im, NULL, stop_at_third, &asked, &t.e));
  assert_int_equal(t.e.code, ERR_SIGINT);
  assert_int_equal(asked, 3);
  assert_null(im.px);
  close_model(&t);
}

static void test_bad_size(void **state) {
  struct fixture t;
  uint64_t seed = 1;
  const char *prompt = "a photo of dog";
  (void)state;
  open_model(&t, "sd1", 8, 8);
  struct picture_job j = job(&t, SAMPLER_PNDM);
  j.width++;
  assert_false(pictures_make(t.m, DT_F32, &j, &prompt, &seed, 1, NULL, NULL, NULL, NULL, NULL, &t.e));
  assert_int_equal(t.e.code, ERR_USAGE);
  close_model(&t);
}

/* Pixels to latents of a whole batch equal those of each picture alone. */
static void test_encode(void **state) {
  struct fixture t;
  struct image im[2];
  float both[2 * 8 * 8 * CHANNELS], one[8 * 8 * CHANNELS];
  (void)state;
  open_model(&t, "sd1", 8, 8);
  int side = 8 * vae_factor(t.m->vae);
  for (int i = 0; i < 2; i++) {
    assert_true(image_new(&im[i], side, side, 3));
    for (int k = 0; k < side * side * 3; k++) im[i].px[k] = (unsigned char)(k * (i + 3) % 251);
  }
  assert_true(pictures_encode(t.m, DT_F32, im, 2, NULL, both, &t.e));
  for (int i = 0; i < 2; i++) {
    assert_true(pictures_encode(t.m, DT_F32, im + i, 1, NULL, one, &t.e));
    assert_memory_equal(one, both + i * 8 * 8 * CHANNELS, sizeof one);
    image_release(&im[i]);
  }
  close_model(&t);
}

static void test_rounding(void **state) {
  const float x[12] = {-2, -1, -1 + 1.0f / 255, 0, 1, 2, NAN, INFINITY, -INFINITY, -1 + 3.0f / 255, 0.5f, -0.5f};
  const int want[12] = {0, 0, 0, 128, 255, 255, 0, 255, 0, 2, 191, 64};
  struct image im;
  (void)state;
  assert_true(picture_from_floats(&im, x, 2, 2));
  for (int i = 0; i < 12; i++)
    if (i != 2 && i != 9) /* halves, that rounding of x decides */
      assert_int_equal(im.px[i], want[i]);
  image_release(&im);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sd1),      cmocka_unit_test(test_sd2),    cmocka_unit_test(test_batch),    cmocka_unit_test(test_stop),
      cmocka_unit_test(test_bad_size), cmocka_unit_test(test_encode), cmocka_unit_test(test_rounding),
  };
  return cmocka_run_group_tests_name("picture", tests, NULL, NULL);
}
