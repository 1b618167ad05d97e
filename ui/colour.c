#include "ui/colour.h"

static const uint32_t standard[16] = {0x000000, 0xcd0000, 0x00cd00, 0xcdcd00, 0x0000ee, 0xcd00cd, 0x00cdcd, 0xe5e5e5,
                                      0x7f7f7f, 0xff0000, 0x00ff00, 0xffff00, 0x5c5cff, 0xff00ff, 0x00ffff, 0xffffff};
static const int levels[6] = {0, 95, 135, 175, 215, 255};

uint32_t colour_of_index(int index) {
  if (index < 16) return standard[index & 15];
  if (index >= 232) return (uint32_t)(8 + 10 * (index - 232)) * 0x010101u;
  index -= 16;
  return (uint32_t)levels[index / 36] << 16 | (uint32_t)levels[index / 6 % 6] << 8 | (uint32_t)levels[index % 6];
}

/* Squared distance, weighted by what the eye sees of each primary. */
static int distance(uint32_t a, uint32_t b) {
  int r = (int)(a >> 16 & 255) - (int)(b >> 16 & 255), g = (int)(a >> 8 & 255) - (int)(b >> 8 & 255), l = (int)(a & 255) - (int)(b & 255);
  return 3 * r * r + 4 * g * g + 2 * l * l;
}

static int nearest_level(int v) {
  return v < 48 ? 0 : v < 115 ? 1 : (v - 35) / 40;
}

static int nearest_of_256(uint32_t rgb) {
  int r = (int)(rgb >> 16 & 255), g = (int)(rgb >> 8 & 255), b = (int)(rgb & 255);
  int cube = 16 + 36 * nearest_level(r) + 6 * nearest_level(g) + nearest_level(b);
  int mean = (3 * r + 6 * g + b) / 10, step = mean < 8 ? 0 : (mean - 3) / 10;
  int grey = 232 + (step > 23 ? 23 : step);
  return distance(rgb, colour_of_index(grey)) < distance(rgb, colour_of_index(cube)) ? grey : cube;
}

static int nearest_of_standard(uint32_t rgb, int n) {
  int best = 0;
  for (int i = 1; i < n; i++) {
    if (distance(rgb, standard[i]) < distance(rgb, standard[best])) best = i;
  }
  return best;
}

int32_t colour_nearest(enum colour_depth depth, uint32_t rgb) {
  switch (depth) {
    case DEPTH_TRUE:
      return (int32_t)(rgb & 0xffffff);
    case DEPTH_256:
      return nearest_of_256(rgb);
    case DEPTH_16:
      return nearest_of_standard(rgb, 16);
    case DEPTH_8:
      return nearest_of_standard(rgb, 8);
    case DEPTH_MONO:
      break;
  }
  return 0;
}

uint32_t colour_shown(enum colour_depth depth, uint32_t rgb) {
  if (depth == DEPTH_TRUE) return rgb;
  if (depth == DEPTH_MONO) return colour_luma(rgb) >= 128 ? 0xffffff : 0;
  return colour_of_index(colour_nearest(depth, rgb));
}

int colour_luma(uint32_t rgb) {
  return (int)((299 * (rgb >> 16 & 255) + 587 * (rgb >> 8 & 255) + 114 * (rgb & 255)) / 1000);
}
