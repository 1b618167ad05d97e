/* The run directory: what is written, what a second run may do with it, and sheets and curves as pictures. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>

#include "assets/embedded.h"
#include "base/fs.h"
#include "folder.h"
#include "plot.h"
#include "prompts.h"
#include "requests.h"
#include "rundir.h"
#include "sheet.h"

struct fixture {
  char dir[256], run[300];
  struct profile profile;
};

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  struct err e = {0};
  folder_make(f->dir, sizeof f->dir);
  snprintf(f->run, sizeof f->run, "%s/run", f->dir);
  if (!profile_load(&f->profile, "embedded:demo", embedded_files, NULL, 0, &e)) fail_msg("%s", e.text);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  char command[400];
  profile_release(&f->profile);
  snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
  int rc = system(command);
  free(f);
  return rc;
}

/* The file as text, released by the caller. */
static char *slurp(const struct fixture *f, const char *name) {
  char path[512];
  size_t n;
  struct err e = {0};
  snprintf(path, sizeof path, "%s/%s", f->run, name);
  char *text = text_file_read(path, NULL, "", &n, &e);
  if (!text) fail_msg("%s", e.text);
  return text;
}

static void add_steps(struct rundir *r, int first, int last) {
  struct err e = {0};
  for (int i = first; i <= last; i++) {
    struct metrics m = {
        .step = i, .instance = 0.5 / i, .prior = NAN, .pdm = 0.25, .total = 1.0 / i, .lr = 1e-4, .grad_norm = i, .probe = NAN};
    assert_true(rundir_metrics(r, &m, &e));
  }
}

static void test_layout(void **state) {
  struct fixture *f = *state;
  struct rundir r;
  struct err e = {0};
  assert_true(rundir_open(&r, &f->profile, embedded_files, f->run, false, &e));
  assert_false(r.resumed);
  rundir_log(&r, LOG_WARN, "something");
  add_steps(&r, 1, 3);
  assert_true(rundir_curves(&r, &e));
  rundir_close(&r);
  char *frozen = slurp(f, "profile.ini"), *info = slurp(f, "info.json"), *csv = slurp(f, "metrics.csv"), *log = slurp(f, "log.txt");
  assert_non_null(strstr(frozen, "[train]\nmode = full\n"));
  assert_non_null(strstr(info, "\"photographs\""));
  assert_non_null(strstr(info, "unet/diffusion_pytorch_model.safetensors"));
  assert_string_equal(csv,
                      "step,instance,prior,pdm,total,lr,grad_norm,seconds,probe\n1,0.5,,0.25,1,0.0001,1,0,\n2,0.25,,0.25,0.5,0.0001,2,0,\n"
                      "3,0.166666667,,0.25,0.333333333,0.0001,3,0,\n");
  assert_non_null(strstr(log, "warning: something\n"));
  free(frozen);
  free(info);
  free(csv);
  free(log);
}

/* Rows after the step that a resumed run goes on from are measured again; a changed profile is refused by the key's name. */
static void test_resume(void **state) {
  struct fixture *f = *state;
  struct rundir r;
  struct err e = {0};
  assert_true(rundir_open(&r, &f->profile, embedded_files, f->run, true, &e));
  assert_false(r.resumed); /* nothing to resume: begins */
  add_steps(&r, 1, 5);
  rundir_close(&r);
  assert_false(rundir_open(&r, &f->profile, embedded_files, f->run, false, &e));
  assert_int_equal(e.code, ERR_USAGE);
  assert_non_null(strstr(e.text, "--resume"));
  rundir_close(&r);
  e = (struct err){0};
  f->profile.settings.train.steps = 777; /* free */
  f->profile.settings.train.lr = 0.5;
  f->profile.settings.prompts.instance = "something else";
  assert_false(rundir_open(&r, &f->profile, embedded_files, f->run, true, &e));
  rundir_close(&r);
  assert_int_equal(e.code, ERR_USAGE);
  assert_non_null(strstr(e.text, "[train] lr: "));
  assert_non_null(strstr(e.text, " -> 0.5. "));
  assert_non_null(strstr(e.text, "[prompts] instance: a photo of sks dog -> something else"));
  assert_null(strstr(e.text, "777"));
  struct profile first;
  e = (struct err){0};
  assert_true(profile_load(&first, "embedded:demo", embedded_files, NULL, 0, &e));
  first.settings.train.steps = 777;
  assert_true(rundir_open(&r, &first, embedded_files, f->run, true, &e));
  assert_true(r.resumed);
  add_steps(&r, 4, 6);
  assert_int_equal(r.n_rows, 6);
  add_steps(&r, 2, 3); /* back after a divergence, in the same process */
  assert_int_equal(r.n_rows, 3);
  rundir_close(&r);
  profile_release(&first);
  char *csv = slurp(f, "metrics.csv");
  int lines = 0;
  for (const char *p = csv; *p; p++) lines += *p == '\n';
  assert_int_equal(lines, 4);
  free(csv);
}

/* Photographs, masks and model count by their contents. */
static void test_changed_files(void **state) {
  struct fixture *f = *state;
  struct rundir r;
  struct err e = {0};
  char images[300], path[400];
  snprintf(images, sizeof images, "%s/images", f->dir);
  assert_true(make_dirs(images, &e));
  for (int i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "%s/%d.png", images, i);
    assert_true(write_file(path, "one", 3, &e));
  }
  f->profile.settings.subject.images = images;
  assert_true(rundir_open(&r, &f->profile, embedded_files, f->run, false, &e));
  add_steps(&r, 1, 1);
  rundir_close(&r);
  assert_true(write_file(path, "two", 3, &e)); /* 1.png */
  snprintf(path, sizeof path, "%s/2.png", images);
  assert_true(write_file(path, "new", 3, &e));
  snprintf(path, sizeof path, "%s/0.png", images);
  assert_int_equal(unlink(path), 0);
  assert_false(rundir_open(&r, &f->profile, embedded_files, f->run, true, &e));
  rundir_close(&r);
  assert_int_equal(e.code, ERR_USAGE);
  assert_non_null(strstr(e.text, "photograph 0.png is gone; photograph 1.png is another one; photograph 2.png is new"));
}

/* Two at once: the second is told who the first is. */
static void test_lock(void **state) {
  struct fixture *f = *state;
  struct rundir a, b;
  struct err e = {0};
  char who[40];
  snprintf(who, sizeof who, "process %ld on ", (long)getpid());
  assert_true(rundir_open(&a, &f->profile, embedded_files, f->run, false, &e));
  assert_false(rundir_open(&b, &f->profile, embedded_files, f->run, true, &e));
  assert_true(b.busy && !a.busy);
  assert_int_equal(e.code, ERR_FAILED);
  assert_non_null(strstr(e.text, who));
  rundir_close(&b);
  rundir_close(&a);
  e = (struct err){0};
  assert_true(rundir_open(&b, &f->profile, embedded_files, f->run, true, &e));
  rundir_close(&b);
}

/* A torn last line goes, what could not be written comes later, and nothing else changes. */
static void test_append(void **state) {
  struct fixture *f = *state;
  struct append a;
  struct err e = {0};
  char path[400];
  size_t n;
  snprintf(path, sizeof path, "%s/text", f->dir);
  assert_true(write_file(path, "one\ntw", 6, &e));
  assert_true(append_open(&a, path, &e) && append_text(&a, "three\n", 6, &e));
  int fd = a.fd;
  a.fd = open("/dev/full", O_WRONLY);
  assert_false(append_text(&a, "four\n", 5, &e));
  assert_true(fs_is_full(e.number) && a.n == 5);
  assert_false(append_text(&a, "five\n", 5, &e));
  close(a.fd);
  a.fd = fd;
  e = (struct err){0};
  assert_true(append_sync(&a, &e) && a.n == 0);
  append_close(&a);
  char *text = text_file_read(path, NULL, "", &n, &e);
  assert_string_equal(text, "one\nthree\nfour\nfive\n");
  free(text);
}

/* What `control` sends is what the run gets: in order, not before its step, and gone once the next one is asked for. */
static void test_requests(void **state) {
  struct fixture *f = *state;
  struct requests r;
  struct engine_message m;
  struct err e = {0};
  char refused[REQUEST_TEXT + 20], path[400];
  static const char *const bad[] = {"lr", "lr=2", "lr=x", "samples.every=1.5", "checkpoint=3", "nothing", ""};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct request x;
    e = (struct err){0};
    assert_false(request_parse(bad[i], &x, &e));
    assert_int_equal(e.code, ERR_USAGE);
  }
  e = (struct err){0};
  assert_true(request_send(f->dir, "lr=1e-5", 3, &e) && request_send(f->dir, "samples.every=50", 0, &e));
  assert_true(request_send(f->dir, "sample", 0, &e) && request_send(f->dir, "pause", 0, &e));
  snprintf(path, sizeof path, "%s/control/rubbish", f->dir);
  assert_true(write_file(path, "", 0, &e));
  requests_open(&r, f->dir);
  requests_look(&r, refused);
  assert_string_equal(refused, "rubbish");
  assert_true(r.paused && !r.stop);
  assert_true(requests_next(&r, 2, &m) && m.kind == ENGINE_SET_SAMPLES_EVERY && m.value == 50 && m.id != 0);
  assert_true(requests_next(&r, 2, &m) && m.kind == ENGINE_SAMPLE);
  assert_false(requests_next(&r, 2, &m));
  requests_look(&r, refused);
  assert_true(requests_next(&r, 3, &m) && m.kind == ENGINE_SET_LR && m.value == 1e-5);
  snprintf(path, sizeof path, "%s/control", f->dir);
  assert_int_equal(folder_count(path), 1); /* until it is in the journal */
  assert_false(requests_next(&r, 4, &m));
  assert_int_equal(folder_count(path), 0);
  assert_true(request_send(f->dir, "go-on", 0, &e) && request_send(f->dir, "stop", 0, &e));
  requests_look(&r, refused);
  assert_true(!r.paused && r.stop);
  requests_close(&r);
}

/* Without --run-dir: runs/<subject>/<time>-<profile>, and --resume finds the newest that is not done. */
static void test_newest(void **state) {
  struct fixture *f = *state;
  struct rundir a, b;
  struct err e = {0};
  char here[4096];
  assert_non_null(getcwd(here, sizeof here));
  assert_int_equal(chdir(f->dir), 0);
  assert_true(rundir_open(&a, &f->profile, embedded_files, NULL, true, &e));
  assert_non_null(strstr(a.path, "/runs/poodle/"));
  assert_string_equal(a.path + strlen(a.path) - 5, "-demo");
  assert_true(rundir_open(&b, &f->profile, embedded_files, NULL, false, &e));
  assert_string_not_equal(a.path, b.path);
  rundir_close(&a);
  char newest[3500];
  snprintf(newest, sizeof newest, "%s", b.path);
  rundir_close(&b);
  assert_true(rundir_open(&a, &f->profile, embedded_files, NULL, true, &e));
  assert_true(a.resumed);
  assert_string_equal(a.path, newest);
  assert_true(rundir_summary(&a, "{\"status\":\"done\"}", &e));
  rundir_close(&a);
  assert_true(rundir_open(&a, &f->profile, embedded_files, NULL, true, &e));
  assert_false(a.resumed);
  rundir_close(&a);
  assert_int_equal(chdir(here), 0);
}

static void test_unwritable(void **state) {
  struct fixture *f = *state;
  struct rundir r;
  struct err e = {0};
  assert_false(rundir_open(&r, &f->profile, embedded_files, "/dev/null/run", false, &e));
  rundir_close(&r);
  assert_int_equal(e.code, ERR_INPUT);
  assert_non_null(strstr(e.text, "/dev/null"));
}

static void test_samples(void **state) {
  struct fixture *f = *state;
  struct rundir r;
  struct err e = {0};
  struct image im;
  char path[600], text[4096];
  assert_true(image_new(&im, 16, 8, 3));
  assert_true(rundir_open(&r, &f->profile, embedded_files, f->run, false, &e));
  f->profile.settings.prompts.test[1] = "zwei \xc3\xa4";
  f->profile.settings.prompts.tests = 3; /* the third has no pictures */
  for (int i = 0; i < 4; i++) {
    struct sample_event s = {.step = 7,
                             .prompt = f->profile.settings.prompts.test[i / 2],
                             .negative = "bad",
                             .prompt_index = i / 2,
                             .picture_index = i % 2,
                             .seed = 40 + (uint64_t)i % 2,
                             .sampler = "dpmpp_2m",
                             .steps = 20,
                             .guidance = 4.5,
                             .picture = &im};
    if (!rundir_sample(&r, &s, &e)) fail_msg("%s", e.text);
  }
  assert_true(rundir_sheet(&r, 7, &e));
  assert_non_null(strstr(r.last_sheet, "samples/step-000007.png"));
  rundir_close(&r);
  image_release(&im);
  snprintf(path, sizeof path, "%s/samples/step-000007/1-1.png", f->run);
  assert_true(image_png_text(path, "seed", text, sizeof text));
  assert_string_equal(text, "41");
  assert_true(image_png_text(path, "prompt", text, sizeof text));
  assert_string_equal(text, "zwei \xc3\xa4");
  assert_true(image_png_text(path, "parameters", text, sizeof text));
  assert_non_null(strstr(text, "\nNegative prompt: bad\nSteps: 20, Sampler: DPM++ 2M, CFG scale: 4.5, Seed: 41, Size: 16x8"));
  snprintf(path, sizeof path, "%s/samples/step-000007.png", f->run);
  assert_true(image_read(path, &im, &e));
  assert_true(im.w > 2 * 16 * 12 && im.h > 2 * 8 * 12); /* enlarged twelve times */
  image_release(&im);
}

static void test_sheet_pixels(void **state) {
  struct fixture *f = *state;
  struct image p[2], im;
  struct err e = {0};
  char path[600];
  for (int i = 0; i < 2; i++) {
    assert_true(image_new(&p[i], 96, 96, 3));
    memset(p[i].px, i ? 200 : 10, 96 * 96 * 3);
  }
  snprintf(path, sizeof path, "%s/sheet.png", f->dir);
  struct sheet s = {.columns = 2, .picture = p, .pictures = 2};
  assert_true(sheet_write(path, &s, &e));
  assert_true(image_read(path, &im, &e));
  assert_int_equal(im.w, 6 + 2 * (192 + 6));
  assert_int_equal(im.h, 6 + 192 + 6);
  assert_int_equal(im.px[(100 * im.w + 6) * 3], 10);
  assert_int_equal(im.px[(100 * im.w + 6 + 191) * 3], 10);
  assert_int_equal(im.px[(100 * im.w + 6 + 192) * 3], 250);
  assert_int_equal(im.px[(100 * im.w + 6 + 198) * 3], 200);
  image_release(&im);
  image_release(&p[0]);
  image_release(&p[1]);
}

/* One row, equal values, no finite value: nothing divides by zero. */
static void test_curves_degenerate(void **state) {
  struct fixture *f = *state;
  struct err e = {0};
  char path[600];
  struct metrics m[3] = {{.step = 1, .instance = NAN, .prior = NAN, .pdm = NAN, .total = NAN, .grad_norm = NAN, .probe = NAN}};
  snprintf(path, sizeof path, "%s/curves.png", f->dir);
  assert_true(plot_curves(path, "none", m, 1, &e));
  m[0].total = INFINITY;
  m[1] = m[2] = m[0];
  m[1].total = 0;
  assert_true(plot_curves(path, "same step", m, 3, &e));
}

static void test_prompts(void **state) {
  (void)state;
  struct prompts p = {0};
  struct err e = {0};
  assert_true(prompts_read(&p, "embedded:dreambooth", "live", embedded_files, &e));
  assert_int_equal(p.n, 25);
  assert_true(prompts_fill(&p, "sks", "cat", &e));
  assert_string_equal(p.text[11], "a sks cat wearing a santa hat");
  prompts_release(&p);
  p = (struct prompts){0};
  assert_false(prompts_read(&p, "embedded:dreambooth", NULL, embedded_files, &e));
  assert_non_null(strstr(e.text, "choose one with --section: prompts object, prompts live"));
  prompts_release(&p);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_layout),
      TEST(test_resume),
      TEST(test_changed_files),
      TEST(test_lock),
      TEST(test_append),
      TEST(test_requests),
      TEST(test_newest),
      TEST(test_unwritable),
      TEST(test_samples),
      TEST(test_sheet_pixels),
      TEST(test_curves_degenerate),
      cmocka_unit_test(test_prompts),
  };
  return cmocka_run_group_tests_name("rundir", tests, NULL, NULL);
}
