/* report.html: escaping, well-formed markup, and runs of every size: none, one step, ten thousand, pictures missing. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "assets/embedded.h"
#include "folder.h"
#include "html.h"
#include "report.h"
#include "rundir.h"

struct fixture {
  char dir[256], run[300];
};

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  folder_make(f->dir, sizeof f->dir);
  snprintf(f->run, sizeof f->run, "%s/it's a \"run\" & <more>", f->dir);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  char command[400];
  snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
  int rc = system(command);
  free(f);
  return rc;
}

/* A run directory of that many steps. */
static void make_run(const struct fixture *f, int steps, const char *const *sets, int n_sets) {
  struct rundir r;
  struct profile p;
  struct err e = {0};
  if (!profile_load(&p, "embedded:demo", embedded_files, sets, n_sets, &e) || !rundir_open(&r, &p, embedded_files, f->run, false, &e))
    fail_msg("%s", e.text);
  for (int i = 1; i <= steps; i++) {
    struct metrics m = {.step = i,
                        .instance = 0.5 + 0.4 * sin(i),
                        .prior = NAN,
                        .pdm = 0.25,
                        .total = 1.0 / i,
                        .lr = 1e-6,
                        .grad_norm = i == 2 ? INFINITY : i,
                        .probe = NAN};
    assert_true(rundir_metrics(&r, &m, &e));
  }
  rundir_close(&r);
  profile_release(&p);
}

static void write_text(const struct fixture *f, const char *name, const char *text) {
  char path[600];
  struct err e = {0};
  snprintf(path, sizeof path, "%s/%s", f->run, name);
  if (!write_file(path, text, strlen(text), &e)) fail_msg("%s", e.text);
}

static void add_sample(const struct fixture *f, int step, int prompt, int picture, int w, int h, const char *text) {
  char path[600], dir[500];
  struct image im;
  struct err e = {0};
  const struct png_text t[] = {{"prompt", text}, {"seed", "18446744073709551615"}};
  snprintf(dir, sizeof dir, "%s/samples/step-%06d", f->run, step);
  assert_true(make_dirs(dir, &e) && image_new(&im, w, h, 3));
  samples_path(f->run, &(struct sample_file){step, prompt, picture}, path, sizeof path);
  if (!image_write_png(path, &im, t, 2, &e)) fail_msg("%s", e.text);
  image_release(&im);
}

/* Every tag that is opened is closed, in order; attributes are quoted; returns the text, owned by the caller. */
static void check_markup(const char *text) {
  char open[32][16];
  int depth = 0;
  const char *p = strstr(text, "</style>"); /* CSS has no entities */
  assert_non_null(p);
  assert_non_null(strstr(text, "<html lang=\"en\"><head>"));
  snprintf(open[depth++], 16, "html");
  snprintf(open[depth++], 16, "head");
  for (p += 8; (p = strchr(p, '<')); p++) {
    char name[16];
    bool closing = p[1] == '/';
    const char *start = p + 1 + closing, *end = strchr(start, '>');
    int n = (int)strcspn(start, " >/");
    assert_true(end && n > 0 && n < 16);
    snprintf(name, sizeof name, "%.*s", n, start);
    int quotes = 0;
    for (const char *q = start; q < end; q++) quotes += *q == '"';
    if (quotes % 2) fail_msg("a quote too many: %.80s", p);
    if (!strcmp(name, "img") || !strcmp(name, "meta")) continue;
    if (closing) {
      if (!depth || strcmp(open[depth - 1], name)) fail_msg("</%s> closes %s: %.80s", name, depth ? open[depth - 1] : "nothing", p);
      depth--;
    } else if (end[-1] != '/') {
      assert_true(depth < 32);
      snprintf(open[depth++], 16, "%s", name);
    }
  }
  assert_int_equal(depth, 0);
}

static char *report_of(const struct fixture *f) {
  char path[600];
  size_t n;
  struct err e = {0};
  if (!report_write(f->run, embedded_files, &e)) fail_msg("%s", e.text);
  snprintf(path, sizeof path, "%s/report.html", f->run);
  char *text = text_file_read(path, NULL, "", &n, &e);
  if (!text) fail_msg("%s", e.text);
  check_markup(text);
  assert_null(strstr(text, "<script"));
  assert_null(strstr(text, "<link"));
  return text;
}

static int count(const char *text, const char *what) {
  int n = 0;
  for (const char *p = text; (p = strstr(p, what)); p += strlen(what)) n++;
  return n;
}

static void test_html(void **state) {
  (void)state;
  static const char *const base64[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"\xff\xef\x01~", "/+8Bfg=="}};
  char *text = NULL, want[80];
  size_t n;
  FILE *f = open_memstream(&text, &n);
  html_text(f, "<a href=\"x\" b='y'>&amp;\x01\xc3\xa4\n");
  fclose(f);
  assert_string_equal(text, "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;amp;\xef\xbf\xbd\xc3\xa4\n");
  free(text);
  for (int i = 0; i < 5; i++) {
    f = open_memstream(&text, &n);
    html_png(f, (const unsigned char *)base64[i][0], strlen(base64[i][0]));
    fclose(f);
    snprintf(want, sizeof want, "data:image/png;base64,%s", base64[i][1]);
    assert_string_equal(text, want);
    free(text);
  }
}

/* Refused at the start, or killed at once: there is only the profile. */
static void test_empty(void **state) {
  const struct fixture *f = *state;
  struct err e = {0};
  make_run(f, 0, NULL, 0);
  char *text = report_of(f);
  assert_non_null(strstr(text, "No step has been trained."));
  assert_non_null(strstr(text, "No samples have been drawn."));
  assert_non_null(strstr(text, "not finished"));
  assert_non_null(strstr(text, "--resume</pre>"));
  assert_int_equal(count(text, "<svg"), 0);
  free(text);
  assert_false(report_write("/nonexistent", embedded_files, &e));
  assert_true(e.code == ERR_INPUT && strstr(e.text, "no such directory"));
  e = (struct err){0};
  assert_false(report_write(f->dir, embedded_files, &e));
  assert_true(e.code == ERR_INPUT && strstr(e.text, "holds no run"));
}

static void test_one_step(void **state) {
  const struct fixture *f = *state;
  make_run(f, 1, NULL, 0);
  char *text = report_of(f);
  assert_int_equal(count(text, "<svg"), 6); /* prior and probe were not measured */
  assert_null(strstr(text, "nan"));
  assert_null(strstr(text, "inf\""));
  assert_non_null(strstr(text, "<title>step 1: 1</title>"));
  free(text);
}

/* Ten thousand steps make no larger picture than a few hundred. */
static void test_many_steps(void **state) {
  const struct fixture *f = *state;
  char csv[80];
  make_run(f, 0, NULL, 0);
  snprintf(csv, sizeof csv, "%s", "step,instance,prior,pdm,total,lr,grad_norm,seconds,probe\n");
  char *all = NULL;
  size_t n;
  FILE *file = open_memstream(&all, &n);
  fputs(csv, file);
  for (int i = 1; i <= 10000; i++)
    fprintf(file, "%d,%.6f,0.1,0.2,%.6f,1e-06,%s,0.5,%s\n", i, 0.5 + 0.3 * sin(i), 1.0 / i, i == 7 ? "inf" : "2", i % 1000 ? "" : "0.4");
  fclose(file);
  write_text(f, "metrics.csv", all);
  free(all);
  char *text = report_of(f);
  assert_int_equal(count(text, "<svg"), 8);
  if (strlen(text) > 250000) fail_msg("%zu bytes", strlen(text));
  assert_non_null(strstr(text, "<title>step 10000: "));
  assert_non_null(strstr(text, "1 value is not finite"));
  assert_null(strstr(text, "nan"));
  free(text);
}

static void test_escaping(void **state) {
  const struct fixture *f = *state;
  static const char *const sets[] = {"prompts.test=a {token} {class} <script>alert(\"1\")</script> & 'x'",
                                     "subject.name=</title><b>\"name\"", "train.seed=5", "subject.token=it's"};
  make_run(f, 3, sets, 4);
  write_text(f, "summary.json",
             "{\"status\":\"<i>failed\",\"error\":\"<b>bad\",\"losses\":{\"probe_first\":0,\"probe_last\":1},\"seconds\":3}");
  write_text(f, "info.json", "{\"<k>\":\"<v>\",\"photographs\":[{\"file\":\"<f>.png\",\"bytes\":3,\"sha256\":\"abc\"}],\"model\":7}");
  write_text(f, "log.txt", "2026-01-01 00:00:00 info: fine\n2026-01-01 00:00:00 warning: <u>careful\n");
  add_sample(f, 2, 0, 0, 300, 200, "<script>alert(2)</script> \"quoted\" it's");
  char *text = report_of(f);
  assert_non_null(strstr(text, "&lt;/title&gt;&lt;b&gt;&quot;name&quot;"));
  assert_non_null(strstr(text, "a it&#39;s dog &lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;x&#39;"));
  assert_non_null(strstr(text, "alt=\"&lt;script&gt;alert(2)&lt;/script&gt; &quot;quoted&quot; it&#39;s\""));
  assert_non_null(strstr(text, "seed 18446744073709551615"));
  assert_non_null(strstr(text, "warning: &lt;u&gt;careful"));
  assert_non_null(strstr(text, "&lt;f&gt;.png"));
  assert_non_null(strstr(text, "width=\"300\" height=\"200\""));
  /* the shell's quotes, then those of HTML */
  assert_non_null(strstr(text, "/it&#39;\\&#39;&#39;s a &quot;run&quot; &amp; &lt;more&gt;/profile.ini&#39;"));
  free(text);
}

/* Only what differs from the default of the mode is called changed. */
static void test_settings(void **state) {
  const struct fixture *f = *state;
  static const char *const sets[] = {"train.mode=full", "train.lr=1e-6", "train.steps=9", "train.seed=77"};
  make_run(f, 0, sets, 4);
  char *text = report_of(f), *changed = strstr(text, "Changed from the defaults"), *all = strstr(text, "<details>");
  assert_true(changed && all);
  *all = 0;
  assert_null(strstr(changed, "[train] lr<"));
  assert_null(strstr(changed, "[prompts] instance"));
  assert_null(strstr(changed, "[subject] name"));
  assert_non_null(strstr(changed, "<tr><th>[train] seed</th><td>77</td><td>0</td></tr>"));
  assert_non_null(strstr(changed, "[train] mode"));
  assert_non_null(strstr(all + 1, "<tr class=\"changed\"><th>[train] seed</th>"));
  assert_non_null(strstr(all + 1, "<tr><th>[train] lr</th>"));
  free(text);
}

static void test_samples(void **state) {
  const struct fixture *f = *state;
  make_run(f, 3, NULL, 0);
  for (int step = 0; step <= 200; step += 10) add_sample(f, step, 0, 0, 16, 16, "first");
  add_sample(f, 200, 0, 1, 16, 16, "first");
  add_sample(f, 200, 2, 0, 700, 500, "third"); /* the second prompt has none, the third no earlier ones */
  char path[600], *text;
  snprintf(path, sizeof path, "%s/samples/step-000010/0-0.png", f->run);
  write_text(f, "samples/step-000050/0-0.png", "no picture");
  text = report_of(f);
  assert_non_null(strstr(text, "Shown: 8 of 21 steps, 3 of 3 prompts."));
  assert_non_null(strstr(text, "All pictures of step 200"));
  assert_int_equal(count(text, "<img"), 7 + 1 + 2 + 1);
  assert_int_equal(count(text, "class=\"hole\""), 1 + 8 + 7 + 2 + 1);
  assert_non_null(strstr(text, "width=\"700\" height=\"500\""));
  free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_html), TEST(test_empty),    TEST(test_one_step), TEST(test_many_steps),
      TEST(test_escaping),         TEST(test_settings), TEST(test_samples),
  };
  return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
