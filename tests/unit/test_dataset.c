/* Photographs, crops and masks: against Pillow and torchvision where the reference has them, and every complaint. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>

#include "reference.h"
#include "train/dataset.h"
#include "train/mask.h"
#include "training.h"

static void test_sizes(void **state) {
  (void)state;
  static const int in[][6] = {{80, 60, 64, 64, 85, 64},   {60, 80, 64, 64, 64, 85},    {64, 64, 64, 64, 64, 64},
                              {100, 100, 64, 48, 64, 64}, {300, 100, 64, 48, 144, 48}, {100, 300, 48, 64, 48, 144},
                              {30, 20, 64, 64, 96, 64}};
  for (size_t i = 0; i < sizeof in / sizeof *in; i++) {
    int w, h, sw, sh;
    cover_size(in[i][0], in[i][1], in[i][2], in[i][3], &w, &h);
    assert_int_equal(w, in[i][4]);
    assert_int_equal(h, in[i][5]);
    if (in[i][2] != in[i][3]) continue;
    image_short_side(in[i][0], in[i][1], in[i][2], &sw, &sh);
    assert_true(w == sw && h == sh);
  }
  static const int centre[][2] = {{0, 0}, {1, 0}, {2, 1}, {3, 2}, {4, 2}, {5, 2}, {6, 3}, {7, 4}}; /* Python: round(d / 2) */
  for (size_t i = 0; i < sizeof centre / sizeof *centre; i++) assert_int_equal(center_offset(10 + centre[i][0], 10), centre[i][1]);
}

/* Masks at latent size: bit for bit as the reference's PIL resize. */
static void test_latent_masks(void **state) {
  (void)state;
  static const char *const name[] = {"blob64", "rect48x80", "thin64", "sparse32", "same8", "sparse40x24", "sparse96", "up6"};
  struct st_file *f = reference_open("losses.safetensors");
  for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
    char key[64];
    snprintf(key, sizeof key, "mask.%s.in", name[i]);
    const struct st_tensor *in = st_find(f, key);
    snprintf(key, sizeof key, "mask.%s.out", name[i]);
    const struct st_tensor *want = st_find(f, key);
    assert_non_null(in);
    assert_non_null(want);
    int w = (int)in->dim[1], h = (int)in->dim[0], gw = (int)want->dim[1], gh = (int)want->dim[0];
    struct image mask;
    assert_true(image_new(&mask, w, h, 1));
    memcpy(mask.px, in->data, in->bytes);
    float *out = calloc((size_t)(gw * gh), sizeof *out), *flipped = calloc((size_t)(gw * gh), sizeof *out);
    int selected = mask_to_grid(&mask, 0, 0, w, h, false, gw, gh, out), sum = 0;
    for (int k = 0; k < gw * gh; k++) {
      assert_true(out[k] == want->data[k]);
      sum += want->data[k];
    }
    assert_int_equal(selected, sum);
    assert_true(mask_to_grid(&mask, 0, 0, w, h, true, gw, gh, flipped) >= 0);
    for (int y = 0; y < gh; y++)
      for (int x = 0; x < gw; x++) assert_true(strcmp(name[i], "blob64") != 0 || flipped[y * gw + x] == out[y * gw + gw - 1 - x]);
    free(out);
    free(flipped);
    image_release(&mask);
  }
  st_close(f);
}

static struct dataset_want want_of(const char *dir, int w, int h, bool masks) {
  return (struct dataset_want){.images = dir, .mask_dir = "", .hold_out = "", .masks = masks, .width = w, .height = h};
}

static void test_reading(void **state) {
  (void)state;
  struct err e = {0};
  struct dataset d;
  char dir[256];
  folder_make(dir, sizeof dir);
  made_up_photographs(dir, 3, 90, 70);
  struct dataset_want w = want_of(dir, 64, 48, true);
  w.hold_out = "photo-1.png";
  if (!dataset_open(&d, NULL, &w, &e)) fail_msg("%s", e.text);
  assert_true(d.photographs == 2 && d.held_out == 1);
  assert_string_equal(d.photograph[0].name, "photo-0.png");
  assert_string_equal(d.photograph[1].name, "photo-2.png");
  assert_string_equal(d.photograph[2].name, "photo-1.png");
  assert_true(d.photograph[0].rgb.w == 64 && d.photograph[0].rgb.h == 49 && d.photograph[0].mask.w == 64);
  assert_string_not_equal(d.photograph[0].hash, d.photograph[1].hash);
  float px[2][48 * 64 * 3], grid[2][48];
  crop_pixels(&d.photograph[0].rgb, 0, 1, 64, 48, false, px[0]);
  crop_pixels(&d.photograph[0].rgb, 0, 1, 64, 48, true, px[1]);
  for (int i = 0; i < 48 * 64 * 3; i++) assert_true(px[0][i] >= -1 && px[0][i] <= 1);
  assert_true(px[0][3 * 5] == px[1][3 * (63 - 5)]);
  assert_true(px[0][0] == ((float)d.photograph[0].rgb.px[64 * 3] / 255 - 0.5f) / 0.5f);
  int n = photograph_mask(&d, d.photograph, 0, 1, false, 8, 6, grid[0]);
  assert_in_range(n, 5, 30);
  assert_int_equal(photograph_mask(&d, d.photograph, 0, 1, true, 8, 6, grid[1]), n);
  /* the one that is held out: its mask where it has one, else all */
  assert_in_range(photograph_mask(&d, d.photograph + 2, 0, 1, true, 8, 6, grid[1]), 5, 30);
  dataset_close(&d);
  char held_out_mask[300];
  snprintf(held_out_mask, sizeof held_out_mask, "%s/masks/photo-1.png", dir);
  assert_int_equal(unlink(held_out_mask), 0);
  if (!dataset_open(&d, NULL, &w, &e)) fail_msg("%s", e.text);
  assert_int_equal(photograph_mask(&d, d.photograph + 2, 0, 1, true, 8, 6, grid[1]), 48);
  dataset_close(&d);
  folder_remove_all(dir);
}

/* With a margin a square photograph, its mask too, is larger than the crop, and the centre crop another picture. */
static void test_margin(void **state) {
  (void)state;
  struct err e = {0};
  struct dataset d, plain;
  char dir[256];
  folder_make(dir, sizeof dir);
  made_up_photographs(dir, 1, 80, 80);
  struct dataset_want w = want_of(dir, 64, 64, true);
  if (!dataset_open(&plain, NULL, &w, &e)) fail_msg("%s", e.text);
  w.margin = 0.25;
  if (!dataset_open(&d, NULL, &w, &e)) fail_msg("%s", e.text);
  assert_true(plain.photograph->rgb.w == 64 && d.photograph->rgb.w == 80 && d.photograph->rgb.h == 80 && d.photograph->mask.w == 80);
  assert_string_not_equal(d.photograph->hash, plain.photograph->hash);
  dataset_close(&plain);
  dataset_close(&d);
  folder_remove_all(dir);
}

static void refused(const struct dataset_want *w, const char *text) {
  struct err e = {0};
  struct dataset d;
  assert_false(dataset_open(&d, NULL, w, &e));
  if (e.code != ERR_INPUT || !strstr(e.text, text)) fail_msg("%d: %s, expected \"%s\"", (int)e.code, e.text, text);
}

static void write_mask(const char *dir, const char *name, int w, int h) {
  char path[4200];
  struct err e = {0};
  struct image im;
  assert_true(image_new(&im, w, h, 1));
  im.px[w * h / 2 + w / 2] = 255;
  snprintf(path, sizeof path, "%s/%s", dir, name);
  assert_true(image_write_png(path, &im, NULL, 0, &e));
  image_release(&im);
}

static void test_complaints(void **state) {
  (void)state;
  char dir[256], path[4200];
  struct err e = {0};
  folder_make(dir, sizeof dir);
  struct dataset_want w = want_of(dir, 64, 64, true);
  refused(&w, "no photographs");
  made_up_photographs(dir, 1, 80, 60);
  w.hold_out = "photo-7.png";
  refused(&w, "photo-7.png");
  w.hold_out = " photo-0.png ,";
  refused(&w, "held out");
  w.hold_out = "";
  write_mask(dir, "masks/photo-0.png", 60, 60);
  refused(&w, "another aspect");
  write_mask(dir, "masks/photo-0.png", 40, 30); /* any size of the same aspect */
  struct dataset d;
  assert_true(dataset_open(&d, NULL, &w, &e));
  assert_int_equal(d.photograph[0].mask.w, 85);
  dataset_close(&d);
  snprintf(path, sizeof path, "%s/masks/photo-0.png", dir);
  assert_int_equal(unlink(path), 0);
  refused(&w, "masks/photo-0.png: the mask");
  write_mask(dir, "masks/photo-0.png.png", 80, 60); /* with the photograph's extension */
  assert_true(dataset_open(&d, NULL, &w, &e));
  dataset_close(&d);
  w.masks = false;
  snprintf(path, sizeof path, "%s/broken.jpg", dir);
  assert_true(write_file(path, "no picture", 10, &e));
  refused(&w, "broken.jpg");
  folder_remove_all(dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes), cmocka_unit_test(test_latent_masks), cmocka_unit_test(test_reading),
                                     cmocka_unit_test(test_margin), cmocka_unit_test(test_complaints)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
