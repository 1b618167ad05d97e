/* Class images: made where missing, resumed bit for bit, other people's pictures counted and never touched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>

#include "train/picture.h"
#include "train/prior.h"
#include "unit/folder.h"

enum { IMAGES = 5, SIDE = 64, LATENTS = 8 * 8 * 4 };

struct fixture {
  struct backend *b;
  struct model *m;
  struct settings s;
  struct sink sink;
  char dir[256], latents[300];
  int done, stop_after; /* pictures announced; 0: never stop */
  int warnings;
  struct err e;
};

static void on_progress(void *user, const char *stage, int64_t done, int64_t total) {
  struct fixture *t = user;
  assert_string_equal(stage, "class images");
  assert_true(done <= total);
  t->done = (int)done;
}

static void on_log(void *user, enum log_level level, const char *text) {
  struct fixture *t = user;
  (void)text;
  t->warnings += level == LOG_WARN;
}

static enum engine_command on_poll(void *user) {
  const struct fixture *t = user;
  return t->stop_after > 0 && t->done >= t->stop_after ? ENGINE_STOP_SIGTERM : ENGINE_GO_ON;
}

static void open_all(struct fixture *t) {
  char path[4096];
  struct source source;
  *t = (struct fixture){.done = 0};
  folder_make(t->dir, sizeof t->dir);
  snprintf(t->latents, sizeof t->latents, "%s/.latents", t->dir);
  source_dir(&source, tests_path("data/sd1", path, sizeof path));
  t->b = backend_open("ref", 1, &t->e);
  t->m = t->b != NULL ? model_open(t->b, &source, &(struct model_want){.train_unet = false}, &t->e) : NULL;
  if (t->m == NULL) fail_msg("%s", t->e.text);
  t->s.subject.class_name = "dog";
  t->s.prompts.class_prompt = "a photo of dog";
  t->s.prompts.negative = "";
  t->s.train.width = t->s.train.height = SIDE;
  t->s.prior.images = IMAGES;
  t->s.prior.dir = t->dir;
  t->s.prior.sampler = SAMPLER_DPMPP_2M;
  t->s.prior.steps = t->s.prior.batch = 2;
  t->s.prior.guidance = 3;
  t->s.engine.cache_dir = t->dir;
  t->s.run_dir = t->dir;
  t->sink = (struct sink){.user = t, .log = on_log, .progress = on_progress, .poll = on_poll};
}

static void close_all(struct fixture *t) {
  folder_remove(t->latents);
  folder_remove(t->dir);
  model_close(t->m);
  backend_close(t->b);
}

static struct prior *make(struct fixture *t) {
  struct prior *p = prior_make(t->m, DT_F32, &t->s, &t->sink, &t->e);
  if (p == NULL) fail_msg("%s", t->e.text);
  return p;
}

static void expect_same_files(const char *a, const char *b) {
  struct blob x, y;
  assert_true(blob_map(a, &x, NULL) && blob_map(b, &y, NULL));
  assert_int_equal(x.size, y.size);
  assert_memory_equal(x.data, y.data, x.size);
  blob_close(&x);
  blob_close(&y);
}

static void test_made_and_found_again(void **state) {
  struct fixture t;
  char text[64];
  (void)state;
  open_all(&t);
  assert_int_equal(prior_missing(t.m, DT_F32, &t.s, &t.e), IMAGES);
  struct prior *p = make(&t);
  assert_int_equal(p->n, IMAGES);
  assert_int_equal(t.done, IMAGES);
  assert_int_equal(prior_missing(t.m, DT_F32, &t.s, &t.e), 0);
  assert_true(image_png_text(p->path[3], "prompt", text, sizeof text));
  assert_string_equal(text, "a photo of dog");
  assert_true(image_png_text(p->path[3], "seed", text, sizeof text));
  assert_string_equal(text, "3");
  prior_delete(p);
  t.done = 0;
  p = make(&t);
  assert_int_equal(t.done, 0);
  assert_int_equal(p->n, IMAGES);
  prior_delete(p);
  t.s.prior.images = 2; /* fewer: the first ones */
  p = make(&t);
  assert_int_equal(p->n, 2);
  assert_non_null(strstr(p->path[1], "class-000001-seed1.png"));
  prior_delete(p);
  close_all(&t);
}

static void test_latents_fit_picture(void **state) {
  struct fixture t;
  struct class_pictures c;
  struct image im;
  float kept[LATENTS], again[LATENTS];
  (void)state;
  open_all(&t);
  struct prior *p = make(&t);
  prior_pictures(p, false, &c);
  assert_null(c.latents);
  prior_pictures(p, true, &c);
  assert_non_null(c.latents);
  assert_true(c.latents(c.user, 1, kept, &t.e) && c.picture(c.user, 1, &im, &t.e));
  assert_int_equal(im.w, SIDE);
  const char *prompt = t.s.prompts.class_prompt;
  uint64_t seed = 1;
  struct picture_job j = {SAMPLER_DPMPP_2M, 2, 3, "", SIDE, SIDE};
  assert_true(pictures_make(t.m, DT_F32, &j, &prompt, &seed, 1, NULL, NULL, again, NULL, NULL, &t.e));
  for (int i = 0; i < LATENTS; i++) assert_true(kept[i] - again[i] < 1e-4f && again[i] - kept[i] < 1e-4f);
  image_release(&im);
  prior_delete(p);
  close_all(&t);
}

/* Stopped after two of five, a third lost, and taken up again: the same files as in one go. */
static void test_resume(void **state) {
  struct fixture one, two;
  (void)state;
  open_all(&one);
  open_all(&two);
  struct prior *whole = make(&one);
  two.stop_after = 2;
  assert_null(prior_make(two.m, DT_F32, &two.s, &two.sink, &two.e));
  assert_int_equal(two.e.code, ERR_SIGTERM);
  two.e = (struct err){.code = ERR_OK};
  two.stop_after = 0;
  assert_int_equal(prior_missing(two.m, DT_F32, &two.s, &two.e), IMAGES - 2);
  char lost[400];
  snprintf(lost, sizeof lost, "%s/class-000001-seed1.png", two.dir);
  assert_int_equal(unlink(lost), 0);
  struct prior *parts = make(&two);
  for (int i = 0; i < IMAGES; i++) {
    expect_same_files(whole->path[i], parts->path[i]);
    expect_same_files(whole->latents[i], parts->latents[i]);
  }
  assert_int_equal(folder_count(two.dir), IMAGES + 1); /* and .latents: nothing temporary */
  prior_delete(whole);
  prior_delete(parts);
  close_all(&one);
  close_all(&two);
}

static void test_foreign_pictures(void **state) {
  struct fixture t;
  char path[400], copy[400];
  struct image im;
  struct class_pictures c;
  (void)state;
  open_all(&t);
  assert_true(image_new(&im, 30, 20, 3));
  snprintf(path, sizeof path, "%s/My Dog.PNG", t.dir);
  snprintf(copy, sizeof copy, "%s/.copy", t.dir);
  assert_true(image_write_png(path, &im, NULL, 0, &t.e) && image_write_png(copy, &im, NULL, 0, &t.e));
  image_release(&im);
  assert_int_equal(prior_missing(t.m, DT_F32, &t.s, &t.e), IMAGES - 1);
  struct prior *p = make(&t);
  assert_int_equal(p->n, IMAGES);
  assert_string_equal(p->path[0], path);
  assert_null(p->latents[0]);
  expect_same_files(path, copy);
  prior_pictures(p, true, &c);
  assert_null(c.latents); /* not every picture has them */
  prior_delete(p);
  t.s.prompts.class_prompt = "a photo of cat";
  t.warnings = 0;
  prior_delete(make(&t));
  assert_int_equal(t.warnings, 1);
  close_all(&t);
}

static void test_default_directory(void **state) {
  struct fixture t;
  char other[3072];
  (void)state;
  open_all(&t);
  t.s.prior.dir = "";
  t.s.subject.class_name = "../wild dog";
  t.s.prior.images = 1;
  struct prior *p = make(&t);
  assert_non_null(strstr(p->dir, "/class/---wild-dog-"));
  snprintf(other, sizeof other, "%s", p->dir);
  prior_delete(p);
  t.s.prior.guidance = 4; /* another hash */
  assert_int_equal(prior_missing(t.m, DT_F32, &t.s, &t.e), 1);
  t.s.prior.guidance = 3;
  assert_int_equal(prior_missing(t.m, DT_F32, &t.s, &t.e), 0);
  char inside[3200];
  snprintf(inside, sizeof inside, "%s/.latents", other);
  folder_remove(inside);
  folder_remove(other);
  snprintf(inside, sizeof inside, "%s/class", t.dir);
  folder_remove(inside);
  close_all(&t);
}

static void test_unusable_directory(void **state) {
  struct fixture t;
  char file[300];
  (void)state;
  open_all(&t);
  snprintf(file, sizeof file, "%s/file", t.dir);
  assert_true(write_file(file, "x", 1, &t.e));
  t.s.prior.dir = file;
  assert_null(prior_make(t.m, DT_F32, &t.s, &t.sink, &t.e));
  assert_non_null(strstr(t.e.text, file));
  close_all(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_made_and_found_again), cmocka_unit_test(test_latents_fit_picture), cmocka_unit_test(test_resume),
      cmocka_unit_test(test_foreign_pictures),     cmocka_unit_test(test_default_directory),   cmocka_unit_test(test_unusable_directory),
  };
  return cmocka_run_group_tests_name("prior", tests, NULL, NULL);
}
