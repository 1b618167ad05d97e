/* Pictures: PNG, JPEG and WebP as photographs and as masks, and the text inside a PNG. */
#include "formats/image.h"

#include "fuzz.h"

static void check_picture(const struct image *im, int channels) {
  double sum = 0;
  if (im->w < 1 || im->h < 1 || im->channels != channels) fuzz_fail("a picture of wrong dimensions");
  for (size_t i = 0; i < (size_t)im->w * (size_t)im->h * (size_t)im->channels; i++) sum += im->px[i];
  fuzz_use(sum);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  const struct blob b = {.data = data, .size = n};
  struct image im, small;
  struct err e = {0}, e2 = {0}, e3 = {0};
  char text[256];
  bool ok = image_decode(&b, "picture", &im, &e);
  fuzz_check_error(ok, &e);
  if (ok) {
    check_picture(&im, 3);
    if ((int64_t)im.w * im.h < 1 << 20 && image_resize(&im, 7, 5, FILTER_BICUBIC, &small, &e2)) image_release(&small);
  }
  image_release(&im);
  ok = image_decode_mask(&b, "mask", &im, &e3);
  fuzz_check_error(ok, &e3);
  if (ok) check_picture(&im, 1);
  image_release(&im);
  const char *path = n > 8 && data[0] == 0x89 ? fuzz_file(data, n) : NULL;
  if (path != NULL) image_png_text(path, "prompt", text, sizeof text);
  return 0;
}
