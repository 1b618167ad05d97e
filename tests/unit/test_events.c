/* TensorBoard's event files: the CRC against published values, every record parsed back, and runs that were stopped and gone on with. */
#include <glob.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "event_file.h"
#include "folder.h"
#include "samples.h"
#include "text.h"
#include "tfevents.h"

/* --- a reader of our own, for what the writer may write ------------------------------------------------------------------- */

struct message {
  const unsigned char *p, *end;
};

static uint64_t little(const unsigned char *p, int bytes) {
  uint64_t v = 0;
  for (int i = bytes; i-- > 0;) v = v << 8 | p[i];
  return v;
}

static uint64_t varint(struct message *m) {
  uint64_t v = 0;
  for (int shift = 0;; shift += 7) {
    assert_true(m->p < m->end && shift < 64);
    v |= (uint64_t)(*m->p & 127) << shift;
    if (!(*m->p++ & 128)) return v;
  }
}

/* The next field: its number, and its value as a number or as bytes; 0 at the end. */
static int next_field(struct message *m, uint64_t *number, struct message *bytes) {
  if (m->p == m->end) return 0;
  uint64_t key = varint(m);
  int wire = (int)(key & 7), width = wire == 1 ? 8 : 4;
  *bytes = (struct message){0};
  *number = 0;
  if (wire == 0) {
    *number = varint(m);
  } else if (wire == 2) {
    uint64_t n = varint(m);
    assert_true(n <= (uint64_t)(m->end - m->p));
    *bytes = (struct message){m->p, m->p + n};
    m->p += n;
  } else {
    assert_true((wire == 1 || wire == 5) && m->end - m->p >= width);
    *number = little(m->p, width);
    m->p += width;
  }
  return (int)(key >> 3);
}

enum { MOST_VALUES = 10 };
struct event {
  double wall;
  int64_t step;
  char version[32];
  bool started;
  int values;
  struct value {
    char tag[64];
    float scalar;
    int w, h, png_bytes;
  } value[MOST_VALUES];
};

static void take_text(struct message m, char *out, size_t n) {
  assert_true((size_t)(m.end - m.p) < n);
  snprintf(out, n, "%.*s", (int)(m.end - m.p), (const char *)m.p);
}

static void take_image(struct message m, struct value *v) {
  uint64_t number;
  struct message bytes;
  for (int field; (field = next_field(&m, &number, &bytes));) {
    if (field == 1) v->h = (int)number;
    if (field == 2) v->w = (int)number;
    if (field == 3) assert_int_equal(number, 3);
    if (field == 4) v->png_bytes = (int)(bytes.end - bytes.p);
  }
}

static void take_value(struct message m, struct value *v) {
  uint64_t number;
  struct message bytes;
  v->scalar = NAN;
  for (int field; (field = next_field(&m, &number, &bytes));) {
    if (field == 1) take_text(bytes, v->tag, sizeof v->tag);
    if (field == 4) take_image(bytes, v);
    if (field != 2) continue;
    uint32_t bits = (uint32_t)number;
    memcpy(&v->scalar, &bits, sizeof bits);
  }
}

static void take_event(struct message m, struct event *e) {
  uint64_t number, inner;
  struct message bytes, value;
  *e = (struct event){0};
  for (int field; (field = next_field(&m, &number, &bytes));) {
    if (field == 1) memcpy(&e->wall, &number, sizeof e->wall);
    if (field == 2) e->step = (int64_t)number;
    if (field == 3) take_text(bytes, e->version, sizeof e->version);
    if (field == 7) e->started = next_field(&bytes, &inner, &value) == 1 && inner == 1;
    while (field == 5 && next_field(&bytes, &inner, &value) == 1) {
      assert_true(e->values < MOST_VALUES);
      take_value(value, &e->value[e->values++]);
    }
  }
}

/* Every record of the bytes, with both CRCs checked; how many. */
static int read_events(const unsigned char *p, size_t n, struct event *out, int most) {
  int have = 0;
  for (const unsigned char *end = p + n; p < end; have++) {
    assert_true(end - p >= 16 && have < most);
    uint64_t length = little(p, 8);
    assert_true(length <= (uint64_t)(end - p - 16));
    assert_int_equal(little(p + 8, 4), crc32c_masked(p, 8));
    assert_int_equal(little(p + 12 + length, 4), crc32c_masked(p + 12, length));
    take_event((struct message){p + 12, p + 12 + length}, &out[have]);
    p += 16 + length;
  }
  return have;
}

/* --- tests ----------------------------------------------------------------------------------------------------------------- */

/* RFC 3720 appendix B.4, and the check value of every catalogue of CRCs. */
static void test_crc(void **state) {
  (void)state;
  unsigned char ramp[32], zeros[32] = {0};
  for (int i = 0; i < 32; i++) ramp[i] = (unsigned char)i;
  assert_int_equal(crc32c("123456789", 9), 0xe3069283u);
  assert_int_equal(crc32c(zeros, 32), 0x8a9136aau);
  assert_int_equal(crc32c(ramp, 32), 0x46dd794eu);
  assert_int_equal(crc32c("", 0), 0);
  assert_int_equal(crc32c_masked("", 0), 0xa282ead8u);
  assert_int_equal(crc32c_masked("123456789", 9), (0xe3069283u >> 15 | 0xe3069283u << 17) + 0xa282ead8u);
}

static void test_golden(void **state) {
  (void)state;
  /* what TensorFlow writes for the first record of a file at 1 second after 1970 */
  static const unsigned char want[] = {0x18, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22, 0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x1a, 0x0d};
  struct tf_bytes b = {0};
  tf_version(&b, 1);
  assert_int_equal(b.n, 8 + 4 + 24 + 4);
  assert_memory_equal(b.p, want, sizeof want);
  assert_memory_equal(b.p + sizeof want, "brain.Event:2", 13);
  tf_release(&b);
}

static void test_records(void **state) {
  (void)state;
  struct tf_bytes b = {0};
  struct event e[4];
  unsigned char png[300] = {0x89, 'P', 'N', 'G', [16] = 0, 0, 1, 44, 0, 0, 0, 7};
  const struct metrics m = {
      .step = 300, .instance = 0.5, .prior = NAN, .pdm = INFINITY, .total = -1.25, .lr = 1e-6, .grad_norm = 3, .probe = NAN};
  tf_version(&b, 10);
  tf_scalars(&b, 11.5, &m);
  tf_picture(&b, 12, 1 << 30, "samples/prompt_3", png, sizeof png);
  tf_picture(&b, 12, 1, "too short for a PNG", png, 20);
  assert_int_equal(read_events(b.p, b.n, e, 4), 3);
  assert_string_equal(e[0].version, "brain.Event:2");
  assert_true(e[1].step == 300 && e[1].values == 5 && e[1].wall > 11.4 && e[1].wall < 11.6);
  assert_string_equal(e[1].value[0].tag, "loss/instance");
  assert_true(e[1].value[0].scalar > 0.49f && e[1].value[0].scalar < 0.51f);
  assert_string_equal(e[1].value[1].tag, "loss/total");
  assert_true(e[1].value[1].scalar < -1.24f && e[1].value[1].scalar > -1.26f);
  assert_string_equal(e[1].value[2].tag, "train/lr");
  const struct value *v = &e[2].value[0];
  assert_true(e[2].step == 1 << 30 && e[2].values == 1 && v->w == 300 && v->h == 7 && v->png_bytes == sizeof png);
  assert_string_equal(v->tag, "samples/prompt_3");
  tf_release(&b);
}

struct fixture {
  char dir[256];
};

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  folder_make(f->dir, sizeof f->dir);
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

/* The events of the only event file there is. */
static int events_of(const struct fixture *f, struct event *out, int most) {
  char pattern[300];
  glob_t g;
  struct blob b;
  struct err e = {0};
  snprintf(pattern, sizeof pattern, "%s/events.out.tfevents.*", f->dir);
  assert_int_equal(glob(pattern, 0, NULL, &g), 0);
  assert_int_equal(g.gl_pathc, 1);
  if (!blob_map(g.gl_pathv[0], &b, &e)) fail_msg("%s", e.text);
  int n = read_events(b.data, b.size, out, most);
  blob_close(&b);
  globfree(&g);
  return n;
}

static void write_sample(const struct fixture *f, int step, int prompt, int picture, char *path, size_t n) {
  char dir[400];
  struct image im;
  struct err e = {0};
  snprintf(dir, sizeof dir, "%s/samples/step-%06d", f->dir, step);
  assert_true(make_dirs(dir, &e) && image_new(&im, 3, 2, 3));
  samples_path(f->dir, &(struct sample_file){step, prompt, picture}, path, n);
  if (!image_write_png(path, &im, NULL, 0, &e)) fail_msg("%s", e.text);
  image_release(&im);
}

static void test_resume(void **state) {
  const struct fixture *f = *state;
  struct event_file file;
  struct event e[16];
  struct err err = {0};
  char path[600], stale[600];
  struct metrics m[5];
  for (int i = 0; i < 5; i++)
    m[i] = (struct metrics){
        .step = i + 1, .instance = i, .prior = NAN, .pdm = NAN, .total = i, .lr = 1, .grad_norm = 1, .seconds = 2, .probe = NAN};
  assert_true(event_file_open(&file, f->dir, NULL, 0, 0, &err));
  for (int i = 0; i < 4; i++) assert_true(event_file_metrics(&file, &m[i], &err));
  write_sample(f, 2, 0, 0, path, sizeof path);
  assert_true(event_file_sample(&file, 2, 0, 0, path, &err));
  write_sample(f, 4, 0, 0, path, sizeof path);
  assert_true(event_file_sample(&file, 4, 0, 0, path, &err));
  write_sample(f, 2, 0, 1, path, sizeof path);
  assert_true(event_file_sample(&file, 2, 0, 1, path, &err));                     /* not the first picture */
  assert_true(event_file_sample(&file, 2, EVENT_PICTURE_PROMPTS, 0, path, &err)); /* not one of the first prompts */
  event_file_close(&file);
  assert_int_equal(events_of(f, e, 16), 1 + 4 + 2);
  assert_false(e[1].started);
  snprintf(stale, sizeof stale, "%s/events.out.tfevents.0000000001.host.1.0", f->dir);
  assert_true(write_file(stale, "torn", 4, &err));
  /* went on from step 2: steps 3 and 4 and the picture of step 4 come again */
  assert_true(event_file_open(&file, f->dir, m, 2, 3, &err));
  for (int i = 2; i < 5; i++) assert_true(event_file_metrics(&file, &m[i], &err));
  event_file_close(&file);
  int n = events_of(f, e, 16), steps = 0, pictures = 0;
  for (int i = 0; i < n; i++) {
    if (e[i].values == 1) pictures++, assert_true(e[i].step == 2 && e[i].value[0].w == 3 && e[i].value[0].h == 2);
    if (e[i].values > 1) assert_int_equal(e[i].step, ++steps);
  }
  assert_true(e[1].started && steps == 5 && pictures == 1 && n == 2 + 5 + 1);
  for (int i = 3; i < n; i++) assert_true(e[i].wall + 0.001 > e[2].wall);
}

static void test_samples_list(void **state) {
  const struct fixture *f = *state;
  struct sample_list l;
  struct err e = {0};
  char path[600];
  assert_true(samples_list(&l, f->dir, &e) && !l.n);
  write_sample(f, 12, 1, 0, path, sizeof path);
  write_sample(f, 3, 10, 2, path, sizeof path);
  write_sample(f, 3, 2, 11, path, sizeof path);
  write_sample(f, 3, 2, 9, path, sizeof path);
  snprintf(path, sizeof path, "%s/samples/step-000003/2-9.png.tmp", f->dir);
  assert_true(write_file(path, "x", 1, &e));
  snprintf(path, sizeof path, "%s/samples/step-000003.png", f->dir);
  assert_true(write_file(path, "x", 1, &e));
  assert_true(samples_list(&l, f->dir, &e) && l.n == 4);
  const struct sample_file *s = l.file;
  assert_true(s[0].step == 3 && s[0].prompt == 2 && s[0].picture == 9 && s[1].picture == 11 && s[2].prompt == 10 && s[3].step == 12);
  samples_release(&l);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_crc), cmocka_unit_test(test_golden), cmocka_unit_test(test_records), TEST(test_resume), TEST(test_samples_list),
  };
  return cmocka_run_group_tests_name("events", tests, NULL, NULL);
}
