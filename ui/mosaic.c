#include "ui/mosaic.h"

#include <string.h>

/* Thresholds of ordered dithering (Bayer), 0 to 63. */
static int bayer(int x, int y) {
  int v = 0;
  for (int bit = 0; bit < 3; bit++) {
    int a = x >> bit & 1, b = y >> bit & 1;
    v = v << 2 | (a ^ b) << 1 | b;
  }
  return v;
}

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

/* The colour shown for a pixel: a threshold is added before the nearest of few colours is taken. */
static uint32_t shown(const struct image *im, int x, int y, enum colour_depth depth) {
  uint32_t rgb = pixel(im, x, y);
  if (depth == DEPTH_TRUE) return rgb;
  int spread = depth == DEPTH_256 ? 24 : depth == DEPTH_16 ? 96 : 160;
  int add = bayer(x, y) * spread / 64 - spread / 2;
  uint32_t moved = 0;
  for (int shift = 16; shift >= 0; shift -= 8) moved = moved << 8 | (uint32_t)clamp((int)(rgb >> shift & 255) + add);
  return colour_shown(depth, moved);
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
        lit |= (colour_luma(pixel(im, px, py)) > 4 * bayer(px, py)) << k;
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
      int luma = clamp(colour_luma(pixel(im, x, y)) + bayer(x, y) / 4 - 8);
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
  if (!picture_scale(large ? &p->full : &p->small, part.w * across, part.h * down, smooth, &im)) {
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
