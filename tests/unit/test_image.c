/* Pictures: every kind of PNG, JPEG and WebP that a camera or a browser writes, damaged ones, Pillow's resizing bit for bit. */
#include "formats/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <jpeglib.h>
#include <webp/encode.h>

#include <cmocka.h>

#include "folder.h"

/* A growing file in memory. */
struct buffer {
  unsigned char *data;
  size_t size;
};

static void put(struct buffer *b, const void *data, size_t n) {
  b->data = realloc(b->data, b->size + n + 1);
  assert_non_null(b->data);
  memcpy(b->data + b->size, data, n);
  b->size += n;
}

static void put32(struct buffer *b, unsigned v, bool big) {
  unsigned char out[4];
  for (int i = 0; i < 4; i++) out[i] = (unsigned char)(v >> 8 * (big ? 3 - i : i));
  put(b, out, 4);
}

static struct blob as_blob(const struct buffer *b) {
  return (struct blob){.data = b->data, .size = b->size};
}

/* --- PNG -------------------------------------------------------------------------------------------------------------- */

static void chunk(struct buffer *b, const char *type, const void *data, size_t n) {
  size_t start = b->size + 4;
  put32(b, (unsigned)n, true);
  put(b, type, 4);
  if (n > 0) put(b, data, n);
  put32(b, (unsigned)crc32(0, b->data + start, (unsigned)(n + 4)), true);
}

struct png_kind {
  int w, h, type, depth;
  const unsigned char *rows; /* [h, stride] */
  size_t stride;
  const void *palette, *transparent, *exif;
  size_t palette_n, transparent_n, exif_n;
};

static struct buffer make_png(const struct png_kind *k) {
  struct buffer b = {0}, raw = {0}, head = {0};
  for (int y = 0; y < k->h; y++) {
    put(&raw, "", 1); /* filter: none */
    put(&raw, k->rows + (size_t)y * k->stride, k->stride);
  }
  put32(&head, (unsigned)k->w, true);
  put32(&head, (unsigned)k->h, true);
  put(&head, (const unsigned char[]){(unsigned char)k->depth, (unsigned char)k->type, 0, 0, 0}, 5);
  uLongf n = compressBound(raw.size);
  unsigned char *packed = malloc(n);
  assert_int_equal(compress(packed, &n, raw.data, raw.size), Z_OK);
  put(&b, "\x89PNG\r\n\x1a\n", 8);
  chunk(&b, "IHDR", head.data, head.size);
  if (k->palette != NULL) chunk(&b, "PLTE", k->palette, k->palette_n);
  if (k->transparent != NULL) chunk(&b, "tRNS", k->transparent, k->transparent_n);
  chunk(&b, "IDAT", packed, n);
  if (k->exif != NULL) chunk(&b, "eXIf", k->exif, k->exif_n);
  chunk(&b, "IEND", NULL, 0);
  free(packed);
  free(raw.data);
  free(head.data);
  return b;
}

/* Decodes and compares; want holds w * h * 3 bytes. */
static void expect_rgb(const struct buffer *b, int w, int h, const unsigned char *want, int tolerance) {
  struct blob blob = as_blob(b);
  struct image im;
  struct err e = {0};
  if (!image_decode(&blob, "test", &im, &e)) fail_msg("%s", e.text);
  assert_int_equal(im.w, w);
  assert_int_equal(im.h, h);
  assert_int_equal(im.channels, 3);
  for (int i = 0; i < w * h * 3; i++)
    if (abs(im.px[i] - want[i]) > tolerance) fail_msg("byte %d is %d, want %d", i, im.px[i], want[i]);
  image_release(&im);
}

static void expect_mask(const struct buffer *b, const unsigned char *want, int n) {
  struct blob blob = as_blob(b);
  struct image im;
  struct err e = {0};
  if (!image_decode_mask(&blob, "test", &im, &e)) fail_msg("%s", e.text);
  assert_int_equal(im.channels, 1);
  assert_int_equal(im.w * im.h, n);
  assert_memory_equal(im.px, want, (size_t)n);
  image_release(&im);
}

static void test_png_kinds(void **state) {
  (void)state;
  static const unsigned char rgb[] = {10, 20, 30, 40, 50, 60}, grey_alpha[] = {7, 0, 200, 128}, rgba[] = {1, 2, 3, 0, 4, 5, 6, 255},
                             bits[] = {0x1B}, index[] = {1, 0}, colours[] = {9, 8, 7, 255, 0, 128}, clear[] = {0},
                             grey16[] = {0x12, 0xFF, 0x80, 0x00}, rgb16[] = {1, 255, 2, 0, 3, 128, 255, 255, 0, 0, 127, 127};
  const struct {
    struct png_kind kind;
    unsigned char want[12], mask[4];
  } row[] = {
      {{2, 1, 2, 8, rgb, 6, 0, 0, 0, 0, 0, 0}, {10, 20, 30, 40, 50, 60}, {18, 48}},
      {{2, 1, 4, 8, grey_alpha, 4, 0, 0, 0, 0, 0, 0}, {7, 7, 7, 200, 200, 200}, {0, 128}},
      {{2, 1, 6, 8, rgba, 8, 0, 0, 0, 0, 0, 0}, {1, 2, 3, 4, 5, 6}, {0, 255}},
      {{4, 1, 0, 2, bits, 1, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 85, 85, 85, 170, 170, 170, 255, 255, 255}, {0, 85, 170, 255}},
      {{2, 1, 3, 8, index, 2, colours, 0, 0, 6, 0, 0}, {255, 0, 128, 9, 8, 7}, {91, 8}},
      {{2, 1, 3, 8, index, 2, colours, clear, 0, 6, 1, 0}, {255, 0, 128, 9, 8, 7}, {255, 0}},
      {{2, 1, 0, 16, grey16, 4, 0, 0, 0, 0, 0, 0}, {0x12, 0x12, 0x12, 128, 128, 128}, {0x12, 128}},
      {{2, 1, 2, 16, rgb16, 12, 0, 0, 0, 0, 0, 0}, {1, 2, 3, 255, 0, 127}, {2, 91}},
  };
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
    struct buffer b = make_png(&row[i].kind);
    expect_rgb(&b, row[i].kind.w, 1, row[i].want, 0);
    expect_mask(&b, row[i].mask, row[i].kind.w);
    free(b.data);
  }
}

/* --- orientation ------------------------------------------------------------------------------------------------------ */

static struct buffer make_exif(int orientation, bool big, bool prefix) {
  struct buffer b = {0};
  unsigned tag = 0x112, type = 3;
  if (prefix) put(&b, "Exif\0\0", 6);
  put(&b, big ? "MM\0*" : "II*\0", 4);
  put32(&b, 8, big);
  put(&b, big ? "\0\2" : "\2\0", 2);
  put(&b, big ? "\1\0\0\3\0\0\0\1\0\5\0\0" : "\0\1\3\0\1\0\0\0\5\0\0\0", 12); /* another tag first */
  unsigned char entry[12] = {0};
  entry[big ? 0 : 1] = (unsigned char)(tag >> 8);
  entry[big ? 1 : 0] = (unsigned char)tag;
  entry[big ? 3 : 2] = (unsigned char)type;
  entry[big ? 7 : 4] = 1;
  entry[big ? 9 : 8] = (unsigned char)orientation;
  put(&b, entry, sizeof entry);
  put32(&b, 0, big);
  return b;
}

/* Stored: 3 x 2 letters "abc" / "def". Upright according to the EXIF standard. */
static const struct {
  int w, h;
  const char *px;
} upright[9] = {{3, 2, "abcdef"}, {3, 2, "abcdef"}, {3, 2, "cbafed"}, {3, 2, "fedcba"}, {3, 2, "defabc"},
                {2, 3, "adbecf"}, {2, 3, "daebfc"}, {2, 3, "fcebda"}, {2, 3, "cfbead"}};

static void letters(int orientation, unsigned char out[18]) {
  for (int i = 0; i < 18; i++) out[i] = (unsigned char)upright[orientation].px[i / 3];
}

static void test_png_orientation(void **state) {
  (void)state;
  for (int o = 0; o <= 9; o++) {
    unsigned char want[18];
    struct buffer exif = make_exif(o, o % 2 == 0, false);
    const struct png_kind kind = {.w = 3,
                                  .h = 2,
                                  .type = 0,
                                  .depth = 8,
                                  .rows = (const unsigned char *)"abcdef",
                                  .stride = 3,
                                  .exif = exif.data,
                                  .exif_n = exif.size};
    struct buffer b = make_png(&kind);
    letters(o == 9 ? 0 : o, want);
    expect_rgb(&b, upright[o == 9 ? 0 : o].w, upright[o == 9 ? 0 : o].h, want, 0);
    free(b.data);
    free(exif.data);
  }
}

struct jpeg_kind {
  int w, h, components;
  J_COLOR_SPACE in, stored;
  const unsigned char *px;
  const struct buffer *exif;
  bool progressive;
};

static struct buffer make_jpeg(const struct jpeg_kind *k) {
  struct jpeg_compress_struct c;
  struct jpeg_error_mgr err;
  unsigned char *data = NULL;
  unsigned long n = 0;
  struct buffer b = {0};
  c.err = jpeg_std_error(&err);
  jpeg_create_compress(&c);
  jpeg_mem_dest(&c, &data, &n);
  c.image_width = (JDIMENSION)k->w;
  c.image_height = (JDIMENSION)k->h;
  c.input_components = k->components;
  c.in_color_space = k->in;
  jpeg_set_defaults(&c);
  jpeg_set_colorspace(&c, k->stored);
  jpeg_set_quality(&c, 100, TRUE);
  if (k->progressive) jpeg_simple_progression(&c);
  jpeg_start_compress(&c, TRUE);
  if (k->exif != NULL) jpeg_write_marker(&c, JPEG_APP0 + 1, k->exif->data, (unsigned)k->exif->size);
  for (int y = 0; y < k->h; y++) {
    JSAMPROW row = (JSAMPROW)(uintptr_t)(k->px + (size_t)y * (size_t)k->w * (size_t)k->components);
    jpeg_write_scanlines(&c, &row, 1);
  }
  jpeg_finish_compress(&c);
  jpeg_destroy_compress(&c);
  put(&b, data, n);
  free(data);
  return b;
}

/* n x n pixels of one colour. */
static unsigned char *plain(int n, const unsigned char *colour, int components) {
  unsigned char *px = malloc((size_t)n * (size_t)n * (size_t)components);
  assert_non_null(px);
  for (int i = 0; i < n * n; i++) memcpy(px + i * components, colour, (size_t)components);
  return px;
}

static void test_jpeg_colours(void **state) {
  (void)state;
  static const unsigned char rgb[] = {200, 100, 50}, grey[] = {77}, cmyk[] = {255 - 0, 255 - 128, 255 - 255, 255 - 51};
  static const unsigned char inked[] = {204, 102, 0}; /* no cyan, half magenta, all yellow, a fifth black */
  const struct {
    int components;
    J_COLOR_SPACE in, stored;
    const unsigned char *colour, want[3];
    bool progressive;
  } row[] = {
      {3, JCS_RGB, JCS_YCbCr, rgb, {200, 100, 50}, false}, {3, JCS_RGB, JCS_YCbCr, rgb, {200, 100, 50}, true},
      {3, JCS_RGB, JCS_RGB, rgb, {200, 100, 50}, false},   {1, JCS_GRAYSCALE, JCS_GRAYSCALE, grey, {77, 77, 77}, false},
      {4, JCS_CMYK, JCS_CMYK, cmyk, {204, 102, 0}, false}, {4, JCS_CMYK, JCS_YCCK, cmyk, {204, 102, 0}, true},
  };
  assert_memory_equal(row[4].want, inked, 3);
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
    unsigned char *px = plain(16, row[i].colour, row[i].components), *want = plain(16, row[i].want, 3);
    const struct jpeg_kind kind = {.w = 16,
                                   .h = 16,
                                   .components = row[i].components,
                                   .in = row[i].in,
                                   .stored = row[i].stored,
                                   .px = px,
                                   .progressive = row[i].progressive};
    struct buffer b = make_jpeg(&kind);
    expect_rgb(&b, 16, 16, want, 2);
    free(b.data);
    free(px);
    free(want);
  }
}

/* One letter for each 16 x 16 block, so that the lossy coding leaves the middle of each alone. */
static void check_blocks(const struct buffer *b, int o) {
  struct blob blob = as_blob(b);
  struct image im;
  struct err e = {0};
  if (!image_decode(&blob, "test", &im, &e)) fail_msg("%s", e.text);
  assert_int_equal(im.w, upright[o].w * 16);
  assert_int_equal(im.h, upright[o].h * 16);
  for (int i = 0; i < 6; i++) {
    int x = i % upright[o].w * 16 + 8, y = i / upright[o].w * 16 + 8;
    int want = (upright[o].px[i] - 'a') * 40 + 10;
    assert_in_range(im.px[(y * im.w + x) * 3] + 3, want, want + 6);
  }
  image_release(&im);
}

static void test_jpeg_orientation(void **state) {
  (void)state;
  unsigned char px[48 * 32];
  for (int i = 0; i < 48 * 32; i++) px[i] = (unsigned char)((i / 48 / 16 * 3 + i % 48 / 16) * 40 + 10);
  for (int o = 1; o <= 8; o++) {
    struct buffer exif = make_exif(o, o % 3 == 0, true);
    const struct jpeg_kind kind = {
        .w = 48, .h = 32, .components = 1, .in = JCS_GRAYSCALE, .stored = JCS_GRAYSCALE, .px = px, .exif = &exif};
    struct buffer b = make_jpeg(&kind);
    check_blocks(&b, o);
    free(b.data);
    free(exif.data);
  }
}

/* --- WebP ------------------------------------------------------------------------------------------------------------- */

static void riff_chunk(struct buffer *b, const char *type, const void *data, size_t n) {
  put(b, type, 4);
  put32(b, (unsigned)n, false);
  put(b, data, n);
  if (n % 2 != 0) put(b, "", 1);
}

/* A plain lossless WebP (which holds one chunk) in the extended container, with EXIF behind it. */
static struct buffer extend_webp(const unsigned char *plain_webp, size_t n, int w, int h, const struct buffer *exif) {
  struct buffer b = {0};
  unsigned char head[10] = {0x08};
  head[4] = (unsigned char)(w - 1);
  head[7] = (unsigned char)(h - 1);
  put(&b, "RIFF\0\0\0\0WEBP", 12);
  riff_chunk(&b, "VP8X", head, sizeof head);
  put(&b, plain_webp + 12, n - 12);
  riff_chunk(&b, "EXIF", exif->data, exif->size);
  unsigned size = (unsigned)b.size - 8;
  for (int i = 0; i < 4; i++) b.data[4 + i] = (unsigned char)(size >> 8 * i);
  return b;
}

static void test_webp(void **state) {
  (void)state;
  unsigned char px[18], want[18];
  uint8_t *coded = NULL;
  letters(1, px);
  size_t n = WebPEncodeLosslessRGB(px, 3, 2, 9, &coded);
  assert_true(n > 0);
  struct buffer b = {0};
  put(&b, coded, n);
  expect_rgb(&b, 3, 2, px, 0);
  free(b.data);
  for (int o = 1; o <= 8; o++) {
    struct buffer exif = make_exif(o, false, o == 3);
    b = extend_webp(coded, n, 3, 2, &exif);
    letters(o, want);
    expect_rgb(&b, upright[o].w, upright[o].h, want, 0);
    free(b.data);
    free(exif.data);
  }
  WebPFree(coded);
  static const uint8_t rgba[] = {10, 20, 30, 128, 40, 50, 60, 255};
  n = WebPEncodeLosslessRGBA(rgba, 2, 1, 8, &coded);
  b = (struct buffer){0};
  put(&b, coded, n);
  expect_rgb(&b, 2, 1, (const unsigned char[]){10, 20, 30, 40, 50, 60}, 0);
  expect_mask(&b, (const unsigned char[]){128, 255}, 2);
  free(b.data);
  WebPFree(coded);
}

/* --- damage ----------------------------------------------------------------------------------------------------------- */

static void expect_refusal(const void *data, size_t n, const char *part) {
  struct err e = {0};
  struct image im = {0};
  unsigned char *exact = malloc(n + 1); /* of its own, so that a read past the end is seen */
  memcpy(exact, data, n);
  exact = realloc(exact, n > 0 ? n : 1);
  const struct blob blob = {.data = exact, .size = n};
  if (image_decode(&blob, "holiday.jpg", &im, &e)) fail_msg("a damaged picture of %zu bytes was read", n);
  assert_int_equal(e.code, ERR_INPUT);
  assert_null(im.px);
  if (strstr(e.text, part) == NULL || strstr(e.text, "holiday.jpg") == NULL) fail_msg("%s", e.text);
  free(exact);
}

static struct buffer noisy_jpeg(bool progressive) {
  unsigned char px[40 * 40 * 3];
  for (size_t i = 0; i < sizeof px; i++) px[i] = (unsigned char)(i * i * 7 >> 3);
  const struct jpeg_kind kind = {
      .w = 40, .h = 40, .components = 3, .in = JCS_RGB, .stored = JCS_YCbCr, .px = px, .progressive = progressive};
  return make_jpeg(&kind);
}

static struct buffer noisy_png(void) {
  unsigned char px[40 * 40 * 3];
  for (size_t i = 0; i < sizeof px; i++) px[i] = (unsigned char)(i * i * 7 >> 3);
  const struct png_kind kind = {.w = 40, .h = 40, .type = 2, .depth = 8, .rows = px, .stride = 120};
  return make_png(&kind);
}

static void test_truncated(void **state) {
  (void)state;
  struct buffer b = noisy_png();
  for (size_t n = 8; n + 12 < b.size; n += n < 80 ? 1 : 97) expect_refusal(b.data, n, "PNG");
  free(b.data);
  for (int progressive = 0; progressive < 2; progressive++) {
    b = noisy_jpeg(progressive);
    for (size_t n = 3; n + 8 < b.size; n += n < 700 ? 13 : 97) expect_refusal(b.data, n, "JPEG");
    free(b.data);
  }
  unsigned char px[18];
  uint8_t *coded = NULL;
  letters(1, px);
  size_t size = WebPEncodeLosslessRGB(px, 3, 2, 9, &coded);
  for (size_t n = 12; n + 2 < size; n++) expect_refusal(coded, n, "WebP");
  WebPFree(coded);
}

static void test_not_a_picture(void **state) {
  (void)state;
  expect_refusal("this is a text", 14, "not a PNG, JPEG or WebP");
  expect_refusal("", 0, "not a PNG, JPEG or WebP");
  expect_refusal("GIF89a", 6, "not a PNG, JPEG or WebP");
  struct buffer b = {0};
  put(&b, "\x89PNG\r\n\x1a\n", 8);
  chunk(&b, "IHDR", "\0\0\xff\xff\0\0\xff\xff\10\2\0\0\0", 13);
  chunk(&b, "IDAT", "", 0);
  expect_refusal(b.data, b.size, "too large");
  free(b.data);
  struct image im;
  struct err e = {0};
  assert_false(image_read("/nonexistent/a.png", &im, &e));
  assert_int_equal(e.code, ERR_INPUT);
  assert_non_null(strstr(e.text, "/nonexistent/a.png"));
}

/* Flips bytes all over the files: whatever comes out, nothing is read or written out of bounds (the sanitizers watch). */
static void test_mangled(void **state) {
  (void)state;
  struct buffer file[3] = {noisy_png(), noisy_jpeg(false), noisy_jpeg(true)};
  uint32_t x = 99;
  for (int round = 0; round < 450; round++) {
    struct buffer copy = {0};
    struct image im = {0};
    struct err e = {0};
    put(&copy, file[round % 3].data, file[round % 3].size);
    for (int i = 0; i < 3; i++) {
      x = x * 1664525u + 1013904223u;
      size_t limit = round % 2 == 0 ? copy.size : 200; /* headers more often */
      copy.data[(x >> 8) % (limit < copy.size ? limit : copy.size)] ^= (unsigned char)(x >> 3 | 1);
    }
    struct blob blob = as_blob(&copy);
    if (!image_decode(&blob, "test", &im, &e)) assert_true(e.code == ERR_INPUT || e.code == ERR_FIT);
    image_release(&im);
    free(copy.data);
  }
  for (int i = 0; i < 3; i++) free(file[i].data);
}

/* --- resizing, cropping, writing -------------------------------------------------------------------------------------- */

static void noise(unsigned char *out, size_t n) {
  uint32_t x = 12345;
  for (size_t i = 0; i < n; i++) {
    x = x * 1664525u + 1013904223u;
    out[i] = (unsigned char)((x & 0x10000) != 0 ? (x >> 24) * 2 : 255 * (x >> 31));
  }
}

static void test_resize(void **state) {
  (void)state;
  static const struct {
    int channels, w, h, to_w, to_h;
    enum image_filter filter;
    const char *digest;
  } row[] = {
#include "resize_table.inc"
  };
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
    struct image in, out;
    struct err e = {0};
    char digest[65];
    assert_true(image_new(&in, row[i].w, row[i].h, row[i].channels));
    noise(in.px, (size_t)in.w * (size_t)in.h * (size_t)in.channels);
    assert_true(image_resize(&in, row[i].to_w, row[i].to_h, row[i].filter, &out, &e));
    sha256_hex(out.px, (size_t)out.w * (size_t)out.h * (size_t)out.channels, digest);
    if (memcmp(digest, row[i].digest, 16) != 0)
      fail_msg("row %zu: %d x %d to %d x %d, filter %d differs from Pillow", i, in.w, in.h, out.w, out.h, (int)row[i].filter);
    image_release(&in);
    image_release(&out);
  }
}

static void test_short_side(void **state) {
  (void)state;
  static const int row[][5] = {{640, 427, 512, 767, 512}, {427, 640, 512, 512, 767}, {512, 512, 64, 64, 64}, {3, 1000, 512, 512, 170666}};
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
    int w, h;
    image_short_side(row[i][0], row[i][1], row[i][2], &w, &h);
    assert_int_equal(w, row[i][3]);
    assert_int_equal(h, row[i][4]);
  }
}

static void test_crop_and_flip(void **state) {
  (void)state;
  struct image in, out;
  struct err e = {0};
  assert_true(image_new(&in, 4, 2, 1));
  memcpy(in.px, "abcdefgh", 8);
  assert_true(image_crop(&in, 1, 0, 3, 2, &out, &e));
  assert_memory_equal(out.px, "bcdfgh", 6);
  image_flip(&out);
  assert_memory_equal(out.px, "dcbhgf", 6);
  image_release(&out);
  assert_false(image_crop(&in, 2, 0, 3, 1, &out, &e));
  assert_false(image_crop(&in, -1, 0, 3, 1, &out, &e));
  assert_false(image_resize(&in, 0, 5, FILTER_BILINEAR, &out, &e));
  image_release(&in);
}

static void test_write_png(void **state) {
  (void)state;
  char dir[1024], path[1100], text[64];
  struct image im, back;
  struct err e = {0};
  const struct png_text pair[] = {{"prompt", "a photo of sks dog"}, {"Title", "H\xC3\xBCndchen"}};
  folder_make(dir, sizeof dir);
  snprintf(path, sizeof path, "%s/out.png", dir);
  for (int channels = 1; channels <= 3; channels += 2) {
    assert_true(image_new(&im, 5, 7, channels));
    noise(im.px, (size_t)(35 * channels));
    assert_true(image_write_png(path, &im, pair, 2, &e));
    assert_true(image_read(path, &back, &e));
    for (int i = 0; i < 35 * 3; i++) assert_int_equal(back.px[i], im.px[channels == 3 ? i : i / 3]);
    image_release(&back);
    image_release(&im);
  }
  assert_true(image_png_text(path, "prompt", text, sizeof text));
  assert_string_equal(text, "a photo of sks dog");
  assert_true(image_png_text(path, "Title", text, sizeof text));
  assert_string_equal(text, "H\xC3\xBCndchen");
  assert_false(image_png_text(path, "absent", text, sizeof text));
  assert_int_equal(folder_count(dir), 1);
  assert_true(image_new(&im, 1, 1, 3));
  snprintf(path, sizeof path, "%s/no/such/out.png", dir);
  assert_false(image_write_png(path, &im, NULL, 0, &e));
  assert_int_equal(e.code, ERR_FAILED);
  image_release(&im);
  folder_remove(dir);
}

static void test_one_pixel(void **state) {
  (void)state;
  static const unsigned char px[] = {9, 99, 199};
  const struct png_kind kind = {.w = 1, .h = 1, .type = 2, .depth = 8, .rows = px, .stride = 3};
  struct buffer b = make_png(&kind);
  expect_rgb(&b, 1, 1, px, 0);
  free(b.data);
  const struct jpeg_kind jpeg = {.w = 1, .h = 1, .components = 3, .in = JCS_RGB, .stored = JCS_YCbCr, .px = px};
  b = make_jpeg(&jpeg);
  expect_rgb(&b, 1, 1, px, 3);
  free(b.data);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_png_kinds),     cmocka_unit_test(test_png_orientation),
      cmocka_unit_test(test_jpeg_colours),  cmocka_unit_test(test_jpeg_orientation),
      cmocka_unit_test(test_webp),          cmocka_unit_test(test_truncated),
      cmocka_unit_test(test_not_a_picture), cmocka_unit_test(test_mangled),
      cmocka_unit_test(test_resize),        cmocka_unit_test(test_short_side),
      cmocka_unit_test(test_crop_and_flip), cmocka_unit_test(test_write_png),
      cmocka_unit_test(test_one_pixel),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
