#include "train/mask.h"

void mask_binarise(struct image *mask) {
  for (int64_t i = 0; i < (int64_t)mask->w * mask->h; i++) mask->px[i] = mask->px[i] > 0 ? 255 : 0;
}

int mask_to_grid(const struct image *mask, int x, int y, int w, int h, bool flip, int gw, int gh, float *out) {
  struct image crop = {0}, small = {0};
  struct err e = {0};
  int selected = -1;
  if (!image_crop(mask, x, y, w, h, &crop, &e)) return -1;
  if (flip) image_flip(&crop);
  if (image_resize(&crop, gw, gh, FILTER_BICUBIC, &small, &e)) {
    selected = 0;
    for (int64_t i = 0; i < (int64_t)gw * gh; i++) {
      out[i] = small.px[i] > 0 ? 1.0f : 0.0f;
      selected += small.px[i] > 0;
    }
  }
  image_release(&small);
  image_release(&crop);
  return selected;
}
