#include "train/mask.h"

#include <stdlib.h>
#include <string.h>

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

/* A pixel is what most of the 5 x 5 around it are. old: a copy. */
static void majority(const struct image *old, struct image *mask) {
  enum { R = 2 };
  for (int y = 0; y < mask->h; y++)
    for (int x = 0; x < mask->w; x++) {
      int in = 0, all = 0;
      for (int v = y < R ? 0 : y - R; v <= y + R && v < mask->h; v++)
        for (int u = x < R ? 0 : x - R; u <= x + R && u < mask->w; u++, all++) in += old->px[(int64_t)v * mask->w + u] > 0;
      if (2 * in != all) mask->px[(int64_t)y * mask->w + x] = 2 * in > all ? 255 : 0;
    }
}

/* The piece of one value around pixel i: its pixels in stack, marked in seen. Returns how many. */
static int piece(const struct image *mask, int i, unsigned char *seen, int *stack) {
  int n = 0, done = 0;
  stack[n++] = i;
  seen[i] = 1;
  while (done < n) {
    int at = stack[done++], x = at % mask->w, y = at / mask->w;
    const int next[4] = {x > 0 ? at - 1 : -1, x + 1 < mask->w ? at + 1 : -1, y > 0 ? at - mask->w : -1,
                         y + 1 < mask->h ? at + mask->w : -1};
    for (int k = 0; k < 4; k++)
      if (next[k] >= 0 && !seen[next[k]] && mask->px[next[k]] == mask->px[i]) {
        seen[next[k]] = 1;
        stack[n++] = next[k];
      }
  }
  return n;
}

/* Turns the pieces of value that have fewer than least pixels. */
static void turn_small(struct image *mask, unsigned char value, int least, unsigned char *seen, int *stack) {
  int n = mask->w * mask->h;
  memset(seen, 0, (size_t)n);
  for (int i = 0; i < n; i++) {
    if (seen[i] || mask->px[i] != value) continue;
    int size = piece(mask, i, seen, stack);
    for (int k = 0; size < least && k < size; k++) mask->px[stack[k]] = (unsigned char)(255 - value);
  }
}

bool mask_tidy(struct image *mask) {
  int n = mask->w * mask->h, in = 0;
  unsigned char *seen = malloc((size_t)n);
  int *stack = malloc((size_t)n * sizeof *stack);
  bool ok = seen && stack;
  if (ok) {
    memcpy(seen, mask->px, (size_t)n);
    majority(&(struct image){.w = mask->w, .h = mask->h, .channels = 1, .px = seen}, mask);
    for (int i = 0; i < n; i++) in += mask->px[i] > 0;
    turn_small(mask, 255, in / 50, seen, stack);
    turn_small(mask, 0, n / 1000, seen, stack);
  }
  free(seen);
  free(stack);
  return ok;
}
