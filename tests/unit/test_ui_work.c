/* What the screens work with: photographs that are looked at, pictures that are ordered, changes that make a run fit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "photo_check.h"
#include "samples.h"
#include "ui/complete.h"
#include "ui/orders.h"
#include "ui/screens/profile_state.h"

/* --- photographs --------------------------------------------------------------------------------------------------------------------- */

/* Patches of random brightness, `patch` pixels wide: sharp edges. */
static void patches(struct image *im, int w, int h, int patch, unsigned seed) {
  assert_true(image_new(im, w, h, 3));
  for (int y = 0; y < h; y++) {
    for (int x = 0; x < w; x++) {
      unsigned v = (unsigned)(x * 16 * 4 / w / patch) * 7919u + (unsigned)(y * 16 * 4 / h / patch) * 104729u + seed * 31u;
      v = (v ^ v >> 7) * 2654435761u;
      memset(im->px + 3 * ((size_t)y * (size_t)w + (size_t)x), (int)(v >> 24), 3);
    }
  }
}

static void blur(struct image *im) {
  struct image tiny = {0}, back = {0};
  struct err e = {0};
  int w = im->w, h = im->h;
  assert_true(image_resize(im, w / 24, h / 24, FILTER_BILINEAR, &tiny, &e));
  assert_true(image_resize(&tiny, w, h, FILTER_BICUBIC, &back, &e));
  image_release(&tiny);
  image_release(im);
  *im = back;
}

static void test_photos(void **state) {
  struct photo_facts photo[6] = {{.name = "a.png"}, {.name = "b.png"}, {.name = "c.png"},
                                 {.name = "d.png"}, {.name = "e.png"}, {.name = "f.png"}};
  struct image im = {0}, other = {0};
  struct err e = {0};
  char text[400];
  (void)state;
  for (unsigned i = 0; i < 3; i++) {
    patches(&im, 640, 600, 4, i + 1);
    assert_true(photo_measure(&im, &photo[i]));
    image_release(&im);
  }
  patches(&im, 640, 600, 4, 9);
  blur(&im);
  assert_true(photo_measure(&im, &photo[3]));
  image_release(&im);
  patches(&im, 640, 600, 4, 2); /* b.png, smaller */
  assert_true(image_resize(&im, 320, 300, FILTER_BICUBIC, &other, &e));
  assert_true(photo_measure(&other, &photo[4]));
  image_release(&im);
  image_release(&other);
  text_put(photo[5].trouble, sizeof photo[5].trouble, "it ends too soon");
  photo[1].turned = true;
  assert_string_equal(photo_judge(photo, 6, 0, 512, text, sizeof text), "");
  assert_string_equal(photo_judge(photo, 6, 1, 512, text, sizeof text), "turned by EXIF");
  assert_string_equal(photo_judge(photo, 6, 2, 512, text, sizeof text), "");
  assert_string_equal(photo_judge(photo, 6, 3, 512, text, sizeof text), "blurred");
  assert_string_equal(photo_judge(photo, 6, 4, 512, text, sizeof text), "small (320x300); nearly the same as b.png");
  assert_string_equal(photo_judge(photo, 6, 5, 512, text, sizeof text), "it ends too soon");
}

/* --- paths that are typed --------------------------------------------------------------------------------------------------------------- */

static void test_paths(void **state) {
  char dir[] = "/tmp/pdmbooth-paths-XXXXXX", text[400], path[400];
  (void)state;
  assert_non_null(mkdtemp(dir));
  static const char *const names[] = {"photos-dog", "photos-cat", "notes"};
  for (int i = 0; i < 3; i++) {
    text_put(path, sizeof path, "%s/%s", dir, names[i]);
    assert_int_equal(mkdir(path, 0700), 0);
  }
  text_put(text, sizeof text, "%s/p", dir);
  assert_int_equal(path_complete(text, sizeof text), 2);
  assert_string_equal(text + strlen(dir), "/photos-");
  text_put(text, sizeof text, "%s/photos-c", dir);
  assert_int_equal(path_complete(text, sizeof text), 1);
  assert_string_equal(text + strlen(dir), "/photos-cat/");
  text_put(text, sizeof text, "%s/x", dir);
  assert_int_equal(path_complete(text, sizeof text), 0);
  assert_string_equal(text + strlen(dir), "/x");
  for (int i = 0; i < 3; i++) {
    text_put(path, sizeof path, "%s/%s", dir, names[i]);
    rmdir(path);
  }
  rmdir(dir);
}

/* --- pictures that are ordered -------------------------------------------------------------------------------------------------------- */

static void test_names(void **state) {
  char one[128], other[128], tiny[16];
  (void)state;
  sample_file_name("a photo of sks dog, in the snow!", 7, one, sizeof one);
  assert_int_equal(strncmp(one, "a-photo-of-sks-dog-in-the-snow-", 31), 0);
  assert_string_equal(one + strlen(one) - 6, "-7.png");
  assert_string_not_equal(one, sample_file_name("a photo of sks dog  in the snow!", 7, other, sizeof other));
  assert_null(strchr(sample_file_name("../../etc/\xe7\x8b\x97 dog", 1, other, sizeof other), '/'));
  assert_int_equal(strncmp(other, "etc-dog-", 8), 0);
  assert_true(strlen(sample_file_name("\xe7\x8b\x97", 1, other, sizeof other)) == strlen("12345678-1.png"));
  sample_file_name("a long one", 1, tiny, sizeof tiny); /* cut, and within its bounds */
  assert_int_equal(strlen(tiny), sizeof tiny - 1);
}

static void test_orders(void **state) {
  struct run_view *v = calloc(1, sizeof *v);
  struct run_checkpoint step = {.step = 200}, final = {.step = 300, .final = true};
  struct orders o = {.n = 0};
  char path[4096];
  (void)state;
  assert_non_null(v);
  text_put(v->path, sizeof v->path, "/runs/dog/1");
  struct order_key k = {.run = v, .checkpoint = &step, .scale = 1, .seed = 3};
  assert_int_equal(strncmp(order_picture(&k, "a dog", path, sizeof path), "/runs/dog/1/compare/step-000200/a-dog-", 38), 0);
  v->lora = true;
  k.scale = 0.75;
  assert_int_equal(strncmp(order_picture(&k, "a dog", path, sizeof path), "/runs/dog/1/compare/step-000200/scale-0.75/a-dog-", 49), 0);
  k.scale = 0;
  assert_int_equal(strncmp(order_picture(&k, "a dog", path, sizeof path), "/runs/dog/1/compare/base/a-dog-", 31), 0);
  k.scale = 1;
  assert_int_equal(order_state(&o, &k, "a dog"), ORDER_NONE);
  assert_true(order_add(&o, &k, "a dog") && order_add(&o, &k, "a cat") && order_add(&o, &k, "a dog"));
  assert_int_equal(o.n, 1);
  assert_int_equal(orders_pictures(&o), 2);
  assert_int_equal(order_state(&o, &k, "a cat"), ORDER_WAITS);
  k.checkpoint = &final;
  assert_int_equal(order_state(&o, &k, "a cat"), ORDER_NONE);
  o.pid = 1; /* the first one is under way: what is asked for now is another process's */
  k.checkpoint = &step;
  assert_int_equal(order_state(&o, &k, "a cat"), ORDER_DRAWN);
  assert_true(order_add(&o, &k, "a cow"));
  assert_int_equal(o.n, 2);
  assert_int_equal(order_state(&o, &k, "a cow"), ORDER_WAITS);
  orders_end(&o);
  assert_int_equal(o.n, 1);
  assert_int_equal(order_state(&o, &k, "a cat"), ORDER_NONE);
  k.seed = 4;
  for (int i = 0; i < MAX_ORDERS * ORDER_PROMPTS; i++) {
    char prompt[32];
    text_put(prompt, sizeof prompt, "%d", i);
    if (!order_add(&o, &k, prompt)) break;
  }
  assert_int_equal(orders_pictures(&o), (MAX_ORDERS - 1) * ORDER_PROMPTS + 1);
  orders_release(&o);
  free(v);
}

/* --- what makes a run fit ---------------------------------------------------------------------------------------------------------- */

static void test_remedies(void **state) {
  struct remedy r[MAX_REMEDIES];
  (void)state;
  int n = remedies_of(
      "this run needs 9.80 GiB (...); what would take less: batch = 1 (6.10 GiB, fits), moments = 8bit (900.0 MiB), "
      "resolution = 256x384 (1.20 GiB, fits)",
      r);
  assert_int_equal(n, 3);
  assert_string_equal(r[0].name, "batch");
  assert_string_equal(r[0].value, "1");
  assert_string_equal(r[0].takes, "6.10 GiB");
  assert_true(r[0].fits && !r[1].fits && r[2].fits);
  assert_string_equal(r[1].name, "moments");
  assert_string_equal(r[2].value, "256x384");
  assert_int_equal(remedies_of("a machine with more memory is needed", r), 0);
  assert_int_equal(remedies_of("what would take less: batch", r), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_photos), cmocka_unit_test(test_paths),    cmocka_unit_test(test_names),
      cmocka_unit_test(test_orders), cmocka_unit_test(test_remedies),
  };
  cmocka_set_message_output(CM_OUTPUT_TAP);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
