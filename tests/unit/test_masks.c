/* Automatic masks: figures on the two demo subjects beside two plain ways, which they must clearly beat; and the parts. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "assets/embedded.h"
#include "nets/transformer.h"
#include "train/automask.h"
#include "train/mask.h"
#include "train/segment.h"
#include "unit/folder.h"

#ifdef __SANITIZE_ADDRESS__
enum { PICTURES = 3, APART = 1 }; /* each is looked at for some seconds there */
#else
enum { PICTURES = 5, APART = 2 };
#endif

static struct backend *backend;
static struct model *model;

static int open_all(void **state) {
  struct err e = {0};
  struct source s;
  struct model_want none = {0};
  (void)state;
  source_embedded(&s, embedded_files, "tiny-sd");
  backend = backend_open("cpu", 0, &e);
  model = backend ? model_open(backend, &s, &none, &e) : NULL;
  if (!model) print_message("# %s\n", e.text);
  return model ? 0 : -1;
}

static int close_all(void **state) {
  (void)state;
  model_close(model);
  backend_close(backend);
  return 0;
}

/* --- the demo subjects --------------------------------------------------------------------------------------------------------- */

struct subject {
  const char *name, *class_name;
  struct image rgb[PICTURES], truth[PICTURES];
  struct gaze gaze[PICTURES];
};

static struct gaze_job job_of(const char *class_name) {
  return (struct gaze_job){.m = model, .act = DT_F32, .class_name = class_name, .prompt = "", .width = 64, .height = 64};
}

static void subject_open(struct subject *s, const char *name, const char *class_name) {
  struct source files;
  char path[64];
  struct err e = {0};
  *s = (struct subject){.name = name, .class_name = class_name};
  snprintf(path, sizeof path, "demo-subject/%s", name);
  source_embedded(&files, embedded_files, path);
  struct gaze_job job = job_of(class_name);
  for (int i = 0; i < PICTURES; i++) {
    struct blob b;
    snprintf(path, sizeof path, "%d.jpg", i + 1);
    assert_true(source_open(&files, path, &b, &e) && image_decode(&b, path, &s->rgb[i], &e));
    blob_close(&b);
    snprintf(path, sizeof path, "masks/%d.png", i + 1);
    assert_true(source_open(&files, path, &b, &e) && image_decode_mask(&b, path, &s->truth[i], &e));
    blob_close(&b);
    if (!gaze_at(&job, &s->rgb[i], &s->gaze[i], &e)) fail_msg("%s", e.text);
  }
}

static void subject_close(struct subject *s) {
  for (int i = 0; i < PICTURES; i++) {
    image_release(&s->rgb[i]);
    image_release(&s->truth[i]);
    gaze_release(&s->gaze[i]);
  }
}

/* Intersection over union. */
static double iou(const struct image *a, const struct image *b) {
  int64_t both = 0, either = 0;
  assert_true(a->w == b->w && a->h == b->h);
  for (int64_t i = 0; i < (int64_t)a->w * a->h; i++) {
    both += a->px[i] > 0 && b->px[i] > 0;
    either += a->px[i] > 0 || b->px[i] > 0;
  }
  return either ? (double)both / (double)either : 1;
}

/* Mean over the photographs whose mask is not given; given -1: none. worst: the lowest. */
static double segmented(struct subject *s, int given, double *worst) {
  struct segment_item item[PICTURES];
  struct err e = {0};
  double sum = 0;
  int n = 0;
  for (int i = 0; i < PICTURES; i++)
    item[i] = (struct segment_item){.rgb = &s->rgb[i], .gaze = &s->gaze[i], .given = i == given ? &s->truth[i] : NULL};
  if (!segment(item, PICTURES, &e)) fail_msg("%s", e.text);
  for (int i = 0; i < PICTURES; i++) {
    if (i == given) continue;
    double k = iou(&item[i].mask, &s->truth[i]);
    *worst = fmin(*worst, k);
    sum += k;
    n++;
    image_release(&item[i].mask);
  }
  return sum / n;
}

/* Otsu's threshold on the distance from the mean colour of the border. */
static void threshold_mask(const struct image *rgb, struct image *out) {
  double mean[3] = {0}, count = 0, all = 0, below = 0, sum = 0, total = 0, best = -1;
  int histogram[444] = {0}, cut = 0, n = rgb->w * rgb->h;
  assert_true(image_new(out, rgb->w, rgb->h, 1));
  for (int i = 0; i < n; i++) {
    int x = i % rgb->w, y = i / rgb->w;
    if (x > 3 && y > 3 && x < rgb->w - 4 && y < rgb->h - 4) continue;
    for (int c = 0; c < 3; c++) mean[c] += rgb->px[i * 3 + c];
    count++;
  }
  for (int i = 0; i < n; i++) {
    double d = 0;
    for (int c = 0; c < 3; c++) d += pow(rgb->px[i * 3 + c] - mean[c] / count, 2);
    histogram[(int)sqrt(d)]++;
  }
  for (int k = 0; k < 444; k++) all += histogram[k], total += (double)k * histogram[k];
  for (int k = 0; k < 443; k++) {
    below += histogram[k];
    sum += (double)k * histogram[k];
    double between = below > 0 && below < all ? below * (all - below) * pow((total - sum) / (all - below) - sum / below, 2) : 0;
    if (between > best) best = between, cut = k;
  }
  for (int i = 0; i < n; i++) {
    double d = 0;
    for (int c = 0; c < 3; c++) d += pow(rgb->px[i * 3 + c] - mean[c] / count, 2);
    out->px[i] = (int)sqrt(d) > cut ? 255 : 0;
  }
}

/* 60 percent of width and height. */
static void ellipse_mask(const struct image *rgb, struct image *out) {
  assert_true(image_new(out, rgb->w, rgb->h, 1));
  for (int y = 0; y < rgb->h; y++)
    for (int x = 0; x < rgb->w; x++) {
      double u = (x + 0.5) / rgb->w - 0.5, v = (y + 0.5) / rgb->h - 0.5;
      out->px[y * rgb->w + x] = u * u + v * v < 0.09 ? 255 : 0;
    }
}

static double plain(const struct subject *s, void (*make)(const struct image *, struct image *)) {
  double sum = 0;
  for (int i = 0; i < PICTURES; i++) {
    struct image m = {0};
    make(&s->rgb[i], &m);
    sum += iou(&m, &s->truth[i]);
    image_release(&m);
  }
  return sum / PICTURES;
}

static void check_subject(const char *name, const char *class_name) {
  struct subject s;
  double worst = 1, worst_one = 1, sure = 1, one, apart = 0;
  subject_open(&s, name, class_name);
  double alone = segmented(&s, -1, &worst);
  one = segmented(&s, 1, &worst_one);
  for (int i = 0; i < APART; i++) { /* each without the others, as class images are */
    struct err e = {0};
    struct segment_item item = {.rgb = &s.rgb[i], .gaze = &s.gaze[i]};
    assert_true(segment(&item, 1, &e));
    apart += iou(&item.mask, &s.truth[i]) / APART;
    sure = fmin(sure, item.confidence);
    image_release(&item.mask);
  }
  double colour = plain(&s, threshold_mask), ellipse = plain(&s, ellipse_mask);
  print_message(
      "# %s: IoU %.3f (worst %.3f), with one mask given %.3f (worst %.3f), each apart %.3f; colour threshold %.3f, ellipse %.3f\n", name,
      alone, worst, one, worst_one, apart, colour, ellipse);
  assert_true(alone > 0.85 && one > 0.9 && apart > 0.75);
  assert_true(alone > colour + 0.15 && alone > ellipse + 0.15);
  assert_true(sure > 0.3);
  subject_close(&s);
}

static void test_poodle(void **state) {
  (void)state;
  check_subject("poodle", "dog");
}

static void test_mantel_clock(void **state) {
  (void)state;
  check_subject("mantel_clock", "clock");
}

/* --- gazes --------------------------------------------------------------------------------------------------------------------- */

static void test_gaze_repeats(void **state) {
  struct image rgb = {0};
  struct gaze a, b;
  struct err e = {0};
  (void)state;
  assert_true(image_new(&rgb, 150, 90, 3));
  for (int i = 0; i < 150 * 90 * 3; i++) rgb.px[i] = (unsigned char)(i * 7 % 251);
  struct gaze_job job = job_of("stuffed animal"); /* two words; the picture is wider than high */
  assert_true(gaze_at(&job, &rgb, &a, &e) && gaze_at(&job, &rgb, &b, &e));
  assert_true(a.w > a.h && a.w == b.w && a.h == b.h);
  assert_memory_equal(a.attention, b.attention, (size_t)a.w * (size_t)a.h * sizeof(float));
  assert_memory_equal(a.q, b.q, (size_t)a.w * (size_t)a.h * (size_t)a.channels * sizeof(float));
  double mean = 0;
  for (int i = 0; i < a.w * a.h; i++) mean += a.attention[i] / (a.w * a.h);
  assert_true(fabs(mean - 1) < 1e-4);
  gaze_release(&a);
  gaze_release(&b);
  job.class_name = " ";
  assert_false(gaze_at(&job, &rgb, &a, &e));
  assert_int_equal(e.code, ERR_INPUT);
  image_release(&rgb);
}

/* Softmax of q k^T written out, for two heads. */
static void test_attention_share(void **state) {
  enum { N = 2, TQ = 5, TK = 7, C = 6, HEADS = 2, FIRST = 2, COUNT = 3 };
  float q[N * TQ * C], k[N * TK * C], share[N * TQ];
  struct attention a = {.heads = HEADS, .q = {.out = C}};
  struct err e = {0};
  (void)state;
  void *memory = backend->op->alloc(backend, 1 << 16, &e);
  struct pool *pool = pool_new(memory, 1 << 16);
  struct ctx c = {.b = backend, .pool = pool, .act = DT_F32, .err = &e};
  for (int i = 0; i < N * TQ * C; i++) q[i] = sinf((float)i * 1.3f);
  for (int i = 0; i < N * TK * C; i++) k[i] = cosf((float)i * 0.7f);
  struct attention_tape t = {.q = ctx_upload(&c, DT_F32, 3, (int64_t[]){N, TQ, C}, q),
                             .k = ctx_upload(&c, DT_F32, 3, (int64_t[]){N, TK, C}, k)};
  t.v = ctx_like(&c, &t.k);
  attention_share(&c, &a, &t, FIRST, COUNT, share);
  assert_true(ctx_ok(&c));
  for (int n = 0; n < N; n++)
    for (int i = 0; i < TQ; i++) {
      double want = 0;
      for (int h = 0; h < HEADS; h++) {
        double in = 0, all = 0;
        for (int j = 0; j < TK; j++) {
          double dot = 0;
          for (int d = 0; d < C / HEADS; d++)
            dot += (double)q[(n * TQ + i) * C + h * C / HEADS + d] * k[(n * TK + j) * C + h * C / HEADS + d];
          double p = exp(dot / sqrt((double)C / HEADS));
          all += p;
          in += j >= FIRST && j < FIRST + COUNT ? p : 0;
        }
        want += in / all / HEADS;
      }
      assert_true(fabs(share[n * TQ + i] - want) < 1e-5);
    }
  attention_tape_drop(&c, &t);
  pool_delete(pool);
  backend->op->release(backend, memory, 1 << 16);
}

/* --- small things -------------------------------------------------------------------------------------------------------------- */

static void test_tidy(void **state) {
  struct image m = {0};
  (void)state;
  assert_true(image_new(&m, 100, 100, 1));
  for (int y = 20; y < 80; y++)
    for (int x = 20; x < 80; x++) m.px[y * 100 + x] = 255;
  for (int x = 0; x < 100; x++) m.px[50 * 100 + x] = 255; /* a line */
  for (int y = 90; y < 95; y++)
    for (int x = 90; x < 95; x++) m.px[y * 100 + x] = 255; /* an island */
  for (int y = 40; y < 43; y++)
    for (int x = 40; x < 43; x++) m.px[y * 100 + x] = 0; /* a hole of less than a thousandth */
  for (int y = 60; y < 66; y++)
    for (int x = 60; x < 66; x++) m.px[y * 100 + x] = 0; /* one that stays */
  assert_true(mask_tidy(&m));
  assert_int_equal(m.px[50 * 100 + 5], 0);
  assert_int_equal(m.px[92 * 100 + 92], 0);
  assert_int_equal(m.px[41 * 100 + 41], 255);
  assert_int_equal(m.px[63 * 100 + 63], 0);
  assert_int_equal(m.px[30 * 100 + 30], 255);
  image_release(&m);
}

static void test_overlay(void **state) {
  struct image rgb = {0}, mask = {0}, out = {0};
  struct err e = {0};
  (void)state;
  assert_true(image_new(&rgb, 1000, 500, 3) && image_new(&mask, 1000, 500, 1));
  memset(rgb.px, 90, 1000 * 500 * 3);
  for (int y = 0; y < 500; y++) memset(mask.px + y * 1000 + 500, 255, 500);
  assert_true(automask_overlay(&rgb, &mask, &out, &e));
  assert_true(out.w == 512 && out.h == 256);
  assert_int_equal(out.px[(100 * 512 + 20) * 3], 30);
  assert_int_equal(out.px[(100 * 512 + 500) * 3], 90);
  image_release(&rgb);
  image_release(&mask);
  image_release(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_poodle),          cmocka_unit_test(test_mantel_clock), cmocka_unit_test(test_gaze_repeats),
      cmocka_unit_test(test_attention_share), cmocka_unit_test(test_tidy),         cmocka_unit_test(test_overlay),
  };
  cmocka_set_message_output(CM_OUTPUT_TAP);
  return cmocka_run_group_tests(tests, open_all, close_all);
}
