#include "ui/mosaic.h"

#include <stdlib.h>
#include <string.h>

/* A bit that looks random along rows and columns, the same for a place in every frame. */
static unsigned coin(int x, int y) {
  unsigned k = (unsigned)(y + 1) * 2654435761u ^ (unsigned)(x + 1) * 2246822519u;
  k ^= k >> 15;
  k *= 2654435761u;
  return k >> 20 & 1;
}

static int clamp(int v) {
  return v < 0 ? 0 : v > 255 ? 255 : v;
}

static uint32_t pixel(const struct image *im, int x, int y) {
  const unsigned char *p = im->px + 3 * ((size_t)y * (size_t)im->w + (size_t)x);
  return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

/* One pixel becomes a colour the terminal has; what is lost goes to its neighbours (Floyd and Steinberg), below [3, w + 2] of the next row. */
static void reduce_pixel(struct image *im, int x, int y, enum colour_depth depth, int *right, int *below) {
  unsigned char *px = im->px + 3 * ((size_t)y * (size_t)im->w + (size_t)x);
  int want[3];
  for (int i = 0; i < 3; i++) want[i] = clamp(px[i] + right[i] / 16);
  uint32_t got = colour_shown(depth, (uint32_t)want[0] << 16 | (uint32_t)want[1] << 8 | (uint32_t)want[2]);
  for (int i = 0; i < 3; i++) {
    px[i] = (unsigned char)(got >> (16 - 8 * i));
    int lost = want[i] - px[i];
    below[3 * x + i] += 3 * lost;
    below[3 * (x + 1) + i] += 5 * lost;
    below[3 * (x + 2) + i] += lost;
    right[i] = 7 * lost;
  }
}

/* To 16 colours or fewer. Of 256 the nearest one is good enough: diffusion would only be noise at this size. */
static bool reduce(struct image *im, enum colour_depth depth) {
  if (depth >= DEPTH_256) return true;
  size_t row = 3 * ((size_t)im->w + 2);
  int *lost = calloc(2 * row, sizeof *lost);
  if (lost == NULL) return false;
  for (int y = 0; y < im->h; y++) {
    int *now = lost + (y % 2 != 0 ? row : 0), *below = lost + (y % 2 != 0 ? 0 : row), right[3] = {0};
    memset(below, 0, row * sizeof *below);
    for (int x = 0; x < im->w; x++) {
      for (int i = 0; i < 3; i++) right[i] += now[3 * (x + 1) + i];
      reduce_pixel(im, x, y, depth, right, below);
    }
  }
  free(lost);
  return true;
}

/* The colour shown for a pixel of a reduced picture. */
static uint32_t shown(const struct image *im, int x, int y, enum colour_depth depth) {
  return depth == DEPTH_256 ? colour_shown(depth, pixel(im, x, y)) : pixel(im, x, y);
}

static void half_blocks(struct canvas *c, struct rect r, const struct image *im, enum colour_depth depth) {
  for (int y = 0; y < r.h; y++) {
    for (int x = 0; x < r.w; x++) {
      uint32_t top = shown(im, x, 2 * y, depth), bottom = shown(im, x, 2 * y + 1, depth);
      bool up = coin(r.x + x, r.y + y);
      canvas_put_colours(c, r.x + x, r.y + y, up ? "▀" : "▄", up ? top : bottom, up ? bottom : top);
    }
  }
}

/* Four pixels of a cell, lit or not; the complement in reverse video looks the same. */
static void quarter_blocks(struct canvas *c, struct rect r, const struct image *im) {
  static const char *const blocks[16] = {" ", "▘", "▝", "▀", "▖", "▌", "▞", "▛", "▗", "▚", "▐", "▜", "▄", "▙", "▟", "█"};
  for (int y = 0; y < r.h; y++) {
    for (int x = 0; x < r.w; x++) {
      int lit = 0;
      for (int k = 0; k < 4; k++) {
        int px = 2 * x + (k & 1), py = 2 * y + (k >> 1);
        lit |= (pixel(im, px, py) != 0) << k;
      }
      bool swap = lit == 0 || (lit != 15 && coin(r.x + x, r.y + y));
      canvas_put(c, r.x + x, r.y + y, STYLE_TEXT, blocks[swap ? 15 - lit : lit]);
      if (swap) canvas_mark(c, (struct rect){r.x + x, r.y + y, 1, 1}, MARK_REVERSE);
    }
  }
}

static const char ramp[] = ".:-=+*o#%@";

/* Without block characters: with colours the character hides in its own colour. */
static void characters(struct canvas *c, struct rect r, const struct image *im, enum colour_depth depth) {
  for (int y = 0; y < r.h; y++) {
    for (int x = 0; x < r.w; x++) {
      int luma = colour_luma(pixel(im, x, y));
      char text[2] = {ramp[luma * 10 / 256], 0};
      if (depth == DEPTH_MONO) {
        canvas_put(c, r.x + x, r.y + y, STYLE_TEXT, text);
      } else {
        uint32_t rgb = shown(im, x, y, depth);
        canvas_put_colours(c, r.x + x, r.y + y, text, rgb, rgb);
      }
    }
  }
}

struct rect mosaic_draw(struct canvas *c, struct rect r, const struct picture *p, struct cell_size cell, enum colour_depth depth,
                        bool smooth) {
  struct rect part = layout_fit(r, p->full.w, p->full.h, cell, true);
  if (rect_empty(rect_meet(part, c->clip))) return part;
  int across = c->utf8 && depth == DEPTH_MONO ? 2 : 1, down = c->utf8 ? 2 : 1;
  bool large = p->small.px == NULL || part.w * across > p->small.w || part.h * down > p->small.h;
  struct image im;
  bool ramp_of_greys = !c->utf8 && depth == DEPTH_MONO;
  if (!picture_scale(large ? &p->full : &p->small, part.w * across, part.h * down, smooth, &im) ||
      (!ramp_of_greys && !reduce(&im, depth))) {
    canvas_fill(c, part, STYLE_TEXT);
  } else if (!c->utf8) {
    characters(c, part, &im, depth);
  } else if (depth == DEPTH_MONO) {
    quarter_blocks(c, part, &im);
  } else {
    half_blocks(c, part, &im, depth);
  }
  image_release(&im);
  return part;
}

struct rect mosaic_place(struct canvas *c, struct rect r, struct picture *p, struct cell_size cell, enum colour_depth depth, bool smooth) {
  struct rect part = mosaic_draw(c, r, p, cell, depth, smooth);
  canvas_picture(c, part, p, smooth);
  return part;
}
