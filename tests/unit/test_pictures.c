/* Pictures in the terminal: scaling, mosaics, sixels decoded again, the cache and what a frame writes. */
#include "ui/picture.h"

#include <fcntl.h>
#include <locale.h>
#include <math.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "assets/embedded.h"
#include "terminal/sixel_decode.h"
#include "ui/frame.h"
#include "ui/mosaic.h"
#include "ui/quantize.h"

static const struct cell_size cell = {9, 19};

static struct picture *photograph(void) {
  static struct source photos;
  struct blob b;
  struct image im;
  struct err e = {0};
  source_embedded(&photos, embedded_files, "demo-subject/mantel_clock");
  assert_true(source_open(&photos, "1.jpg", &b, &e));
  if (!image_decode(&b, "1.jpg", &im, &e)) fail_msg("%s", e.text);
  blob_close(&b);
  struct picture *p = picture_new(&im);
  assert_non_null(p);
  return p;
}

/* Every pixel another colour, so that shifts show. */
static struct picture *pattern(int w, int h, unsigned seed) {
  struct image im;
  assert_true(image_new(&im, w, h, 3));
  for (int y = 0; y < h; y++) {
    for (int x = 0; x < w; x++) {
      unsigned char *p = im.px + 3 * (y * w + x);
      p[0] = (unsigned char)(x * 255 / w);
      p[1] = (unsigned char)(y * 255 / h);
      p[2] = (unsigned char)(128 + 127 * sin(hypot(x - w / 2.0, y - h / 2.0) / (10 + seed)));
    }
  }
  struct picture *p = picture_new(&im);
  assert_non_null(p);
  return p;
}

/* --- scaling --------------------------------------------------------------------------------------------------------------- */

static double coverage(int i, int from, int to, int k) {
  double a = (double)i * from / to, b = (double)(i + 1) * from / to;
  return fmax(0, fmin(b, k + 1) - fmax(a, k)) / (b - a);
}

static void downscaling_is_the_mean_of_the_area(void **state) {
  (void)state;
  static const int sizes[][2] = {{1, 1}, {7, 5}, {30, 17}, {36, 23}, {37, 23}};
  struct picture *p = pattern(37, 23, 0);
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
    int w = sizes[s][0], h = sizes[s][1];
    struct image out;
    assert_true(picture_scale(&p->full, w, h, true, &out));
    for (int i = 0; i < w * h; i++) {
      double sum = 0;
      for (int k = 0; k < 37 * 23; k++) sum += coverage(i % w, 37, w, k % 37) * coverage(i / w, 23, h, k / 37) * p->full.px[3 * k];
      assert_true(fabs(sum - out.px[3 * i]) <= 0.51);
    }
    image_release(&out);
  }
  picture_unref(p);
}

static void upscaling_repeats_or_blends(void **state) {
  (void)state;
  struct image im, out;
  assert_true(image_new(&im, 2, 1, 3));
  memset(im.px + 3, 200, 3);
  assert_true(picture_scale(&im, 8, 2, false, &out));
  for (int i = 0; i < 16; i++) assert_int_equal(out.px[3 * i], i % 8 < 4 ? 0 : 200);
  image_release(&out);
  assert_true(picture_scale(&im, 4, 1, true, &out));
  assert_int_equal(out.px[0], 0);
  assert_int_equal(out.px[3], 50);
  assert_int_equal(out.px[6], 150);
  assert_int_equal(out.px[9], 200);
  image_release(&out);
  image_release(&im);
}

static void grey_pictures_and_small_copies(void **state) {
  (void)state;
  struct image im;
  assert_true(image_new(&im, 1000, 10, 1));
  memset(im.px, 77, 10000);
  struct picture *p = picture_new(&im);
  assert_null(im.px);
  assert_int_equal(p->full.channels, 3);
  assert_int_equal(p->full.px[2999], 77);
  assert_int_equal(p->small.w, 192);
  assert_int_equal(p->small.h, 1);
  assert_int_equal(p->small.px[0], 77);
  assert_true(image_new(&im, 4, 4, 3));
  struct picture *again = picture_again(p, &im);
  assert_true(again->id == p->id && again->version == 2);
  picture_unref(p);
  picture_unref(again);
  im = (struct image){.w = 0, .h = 0, .channels = 3};
  assert_null(picture_new(&im));
}

/* --- mosaics --------------------------------------------------------------------------------------------------------------- */

static int row_equal(const struct canvas *c, int a, int b) {
  for (int x = 0; x < c->w; x++) {
    if (!cell_equal(canvas_at(c, x, a), canvas_at(c, x, b))) return 0;
  }
  return 1;
}

/* The colours a half-block cell shows, above and below. */
static void halves(const struct cell *at, uint32_t out[2]) {
  bool up = strcmp(at->text, "▀") == 0;
  out[0] = up ? at->fg : at->bg;
  out[1] = up ? at->bg : at->fg;
}

static void mosaic_shows_the_picture_without_blanks(void **state) {
  (void)state;
  struct picture *p = photograph();
  struct canvas c = {.utf8 = true};
  assert_true(canvas_resize(&c, 60, 30));
  struct rect r = mosaic_draw(&c, canvas_rect(&c), p, (struct cell_size){10, 20}, DEPTH_TRUE, true);
  assert_true(r.h == 30 && r.w == 60); /* a square photograph on cells of 1 to 2 */
  struct image want;
  assert_true(picture_scale(&p->full, 60, 60, true, &want));
  double sum = 0;
  for (int y = 0; y < 30; y++) {
    for (int x = 0; x < 60; x++) {
      const struct cell *at = canvas_at(&c, x, y);
      assert_true(at->style == STYLE_COLOURS && strcmp(at->text, " ") != 0);
      uint32_t half[2];
      halves(at, half);
      for (int k = 0; k < 2; k++) {
        for (int i = 0; i < 3; i++) sum += pow((int)(half[k] >> (16 - 8 * i) & 255) - want.px[3 * ((2 * y + k) * 60 + x) + i], 2);
      }
    }
    for (int other = 0; other < y; other++) assert_false(row_equal(&c, y, other));
  }
  assert_true(sqrt(sum / (3.0 * 60 * 60)) < 4); /* the small copy was scaled, not the photograph */
  image_release(&want);
  canvas_release(&c);
  picture_unref(p);
}

/* One colour all over: rows must differ all the same. */
static void even_flat_mosaics_have_no_equal_rows(void **state) {
  (void)state;
  struct image im;
  assert_true(image_new(&im, 64, 64, 3));
  struct picture *p = picture_new(&im);
  for (int depth = DEPTH_MONO; depth <= DEPTH_TRUE; depth++) {
    struct canvas c = {.utf8 = true};
    assert_true(canvas_resize(&c, 40, 20));
    mosaic_draw(&c, canvas_rect(&c), p, (struct cell_size){10, 20}, (enum colour_depth)depth, true);
    for (int i = 0; i < 800; i++) {
      const struct cell *at = canvas_at(&c, i % 40, i / 40);
      assert_true(strcmp(at->text, " ") != 0);
      uint32_t half[2];
      halves(at, half);
      if (depth > DEPTH_MONO) assert_true(colour_luma(half[0]) <= 8 && colour_luma(half[1]) <= 8);
    }
    for (int a = 0; a < 20 && depth > DEPTH_MONO; a++) {
      for (int b = 0; b < a; b++) assert_false(row_equal(&c, a, b));
    }
    canvas_release(&c);
  }
  picture_unref(p);
}

static void few_colours_are_dithered_to_the_right_mean(void **state) {
  (void)state;
  struct picture *p = photograph();
  for (int depth = DEPTH_8; depth <= DEPTH_256; depth++) {
    struct canvas c = {.utf8 = true};
    assert_true(canvas_resize(&c, 60, 30));
    mosaic_draw(&c, canvas_rect(&c), p, (struct cell_size){10, 20}, (enum colour_depth)depth, true);
    double got = 0, want = 0;
    for (int i = 0; i < 1800; i++) {
      uint32_t half[2];
      halves(canvas_at(&c, i % 60, i / 60), half);
      for (int k = 0; k < 2; k++) {
        got += colour_luma(half[k]) / 3600.0;
        assert_int_equal(half[k], colour_shown((enum colour_depth)depth, half[k])); /* a colour the terminal has */
      }
    }
    for (int i = 0; i < p->small.w * p->small.h; i++) {
      const unsigned char *px = p->small.px + 3 * i;
      want += (0.299 * px[0] + 0.587 * px[1] + 0.114 * px[2]) / (p->small.w * p->small.h);
    }
    if (fabs(got - want) > (depth == DEPTH_256 ? 6 : 25)) fail_msg("depth %d: mean luminance %.1f, not %.1f", depth, got, want);
    canvas_release(&c);
  }
  picture_unref(p);
}

static void mosaic_in_ascii(void **state) {
  (void)state;
  struct picture *p = pattern(80, 40, 5);
  for (int depth = DEPTH_MONO; depth <= DEPTH_256; depth += DEPTH_256) {
    struct canvas c = {.utf8 = false};
    assert_true(canvas_resize(&c, 40, 10));
    mosaic_draw(&c, canvas_rect(&c), p, (struct cell_size){10, 20}, (enum colour_depth)depth, true);
    for (int i = 0; i < 400; i++) {
      const char *text = canvas_at(&c, i % 40, i / 40)->text;
      assert_true(text[0] > ' ' && text[0] < 0x7F && text[1] == 0);
    }
    canvas_release(&c);
  }
  picture_unref(p);
}

/* --- sixels ---------------------------------------------------------------------------------------------------------------- */

static struct sixel_shape shape_for(int columns, int rows) {
  return (struct sixel_shape){.columns = columns, .rows = rows, .cell = cell, .colours = 256, .smooth = true};
}

#ifdef HAVE_SIXEL

/* RMSE where b lies (dx, dy) further: were the picture off by a pixel, this would be the smaller one. */
static double shifted(const struct image *a, const struct image *b, int dx, int dy) {
  struct image x = {0}, y = {0};
  assert_true(image_crop(a, 0, 0, a->w - dx, a->h - dy, &x, NULL) && image_crop(b, dx, dy, b->w - dx, b->h - dy, &y, NULL));
  double rmse = picture_rmse(&x, &y);
  image_release(&x);
  image_release(&y);
  return rmse;
}

static void sixels_decode_to_the_picture(void **state) {
  (void)state;
  static const int sizes[][2] = {{20, 10}, {41, 21}, {1, 1}, {3, 7}};
  struct picture *pictures[] = {photograph(), pattern(64, 64, 3)};
  for (int i = 0; i < 8; i++) {
    struct sixel_shape shape = shape_for(sizes[i % 4][0], sizes[i % 4][1]);
    struct picture *p = pictures[i / 4];
    struct sixel_data data;
    struct err e = {0};
    struct image want, got;
    if (!sixel_encode_picture(p, &shape, &data, &e)) fail_msg("%s", e.text);
    assert_int_equal(data.n_strips, 1);
    assert_true(sixel_pixels(p, &shape, &want));
    assert_true(want.h % 6 == 0 && want.w == shape.columns * cell.w && want.h <= shape.rows * cell.h && want.h > shape.rows * cell.h - 6);
    assert_true(decode_sixels(data.bytes, data.n, &got, NULL));
    assert_int_equal(got.w, want.w);
    assert_int_equal(got.h, want.h);
    double rmse = picture_rmse(&want, &got);
    print_message("%d x %d: RMSE %.4f, %zu bytes\n", want.w, want.h, rmse, data.n);
    /* what 256 colours cost: a photograph little, every pixel another colour more */
    assert_true(rmse < (i < 4 ? 0.01 : 0.025));
    assert_true(i >= 4 || want.w < 60 || (shifted(&want, &got, 1, 0) > 1.1 * rmse && shifted(&want, &got, 0, 1) > 1.1 * rmse));
    image_release(&want);
    image_release(&got);
    sixel_data_release(&data);
  }
  picture_unref(pictures[0]);
  picture_unref(pictures[1]);
}

/* Of a picture with fewer colours than there are registers nothing is lost but what percentages cannot say. */
static void few_colours_stay_as_they_are(void **state) {
  (void)state;
  static const unsigned char colours[5][3] = {{0, 0, 0}, {255, 255, 255}, {255, 0, 51}, {0, 153, 255}, {102, 102, 102}};
  struct image im;
  struct quantized q;
  assert_true(image_new(&im, 50, 31, 3));
  for (int i = 0; i < 50 * 31; i++) memcpy(im.px + 3 * i, colours[i * 7 % 11 % 5], 3);
  assert_true(quantize(&im, 256, &q));
  assert_int_equal(q.n, 5);
  for (int i = 0; i < 50 * 31; i++) assert_memory_equal(q.palette + 3 * q.index[i], im.px + 3 * i, 3);
  quantized_release(&q);
  assert_true(quantize(&im, 2, &q));
  assert_int_equal(q.n, 2);
  quantized_release(&q);
  image_release(&im);
}

/* Every pixel takes one of the palette's colours; the mean colour stays where few colours are diffused. */
static void quantizing_keeps_the_mean(void **state) {
  (void)state;
  struct picture *p = photograph();
  for (int colours = 8; colours <= 256; colours *= 4) {
    struct quantized q;
    double sum[3] = {0};
    int n = p->full.w * p->full.h;
    assert_true(quantize(&p->full, colours, &q));
    assert_true(q.n <= colours);
    for (int i = 0; i < n; i++) {
      assert_true(q.index[i] < q.n);
      for (int k = 0; k < 3; k++) sum[k] += p->full.px[3 * i + k] - q.palette[3 * q.index[i] + k];
    }
    for (int k = 0; k < 3; k++) assert_true(fabs(sum[k] / n) < 1.5);
    quantized_release(&q);
  }
  picture_unref(p);
}

static void long_sixels_are_cut_between_rows_of_cells(void **state) {
  (void)state;
  struct picture *p = photograph();
  struct sixel_shape shape = shape_for(40, 20);
  shape.strip_limit = 40000;
  struct sixel_data data;
  struct err e = {0};
  struct image want;
  if (!sixel_encode_picture(p, &shape, &data, &e)) fail_msg("%s", e.text);
  assert_true(data.n_strips > 1);
  assert_true(sixel_pixels(p, &shape, &want));
  int rows = 0;
  for (int i = 0; i < data.n_strips; i++) {
    struct image got;
    assert_true(data.strips[i].n <= shape.strip_limit);
    assert_true(decode_sixels(data.bytes + data.strips[i].at, data.strips[i].n, &got, NULL));
    assert_int_equal(data.strips[i].row * cell.h, rows); /* seamless */
    struct image part = {.w = want.w, .h = got.h, .channels = 3, .px = want.px + 3 * (size_t)rows * (size_t)want.w};
    assert_true(picture_rmse(&part, &got) < 0.01);
    rows += got.h;
    image_release(&got);
  }
  assert_int_equal(rows, want.h);
  image_release(&want);
  sixel_data_release(&data);
  shape.strip_limit = 500; /* not even one band */
  assert_false(sixel_encode_picture(p, &shape, &data, &e));
  assert_int_equal(e.code, ERR_FAILED);
  picture_unref(p);
}

/* Asks until it is there, at most five seconds. */
static const struct sixel_data *wait_for(struct sixels *s, struct picture *p, const struct sixel_shape *shape) {
  for (int i = 0; i < 500; i++) {
    sixels_begin(s);
    const struct sixel_data *data = sixels_get(s, p, shape);
    sixels_end(s);
    if (data != NULL) return data;
    struct pollfd event = {.fd = sixels_fd(s), .events = POLLIN};
    poll(&event, 1, 10);
    sixels_take_event(s);
  }
  fail_msg("no sixels within five seconds");
  return NULL;
}

static void cache_keeps_and_forgets(void **state) {
  (void)state;
  struct err e = {0};
  struct sixels *s = sixels_new(100000, &e);
  struct picture *pictures[8];
  struct sixel_shape shape = shape_for(16, 8);
  for (int i = 0; i < 8; i++) {
    pictures[i] = pattern(100, 100, (unsigned)i);
    wait_for(s, pictures[i], &shape);
  }
  assert_int_equal(sixels_state(s).encoded, 8);
  wait_for(s, pictures[7], &shape); /* kept */
  assert_int_equal(sixels_state(s).encoded, 8);
  assert_true(sixels_state(s).bytes < 200000);
  wait_for(s, pictures[0], &shape); /* the one that went first */
  assert_int_equal(sixels_state(s).encoded, 9);
  shape.columns = 15; /* another size is another picture */
  wait_for(s, pictures[0], &shape);
  assert_int_equal(sixels_state(s).encoded, 10);
  for (int i = 0; i < 8; i++) picture_unref(pictures[i]);
  sixels_free(s);
}

static void requests_nobody_renews_are_dropped(void **state) {
  (void)state;
  struct err e = {0};
  struct sixels *s = sixels_new(1 << 20, &e);
  struct picture *pictures[60];
  struct sixel_shape shape = shape_for(60, 30);
  sixels_begin(s);
  for (int i = 0; i < 60; i++) {
    pictures[i] = pattern(90, 90, (unsigned)i);
    assert_null(sixels_get(s, pictures[i], &shape));
  }
  sixels_end(s);
  sixels_begin(s);
  sixels_end(s); /* a frame that wants none of them */
  struct sixels_state after = sixels_state(s);
  assert_true(after.waiting <= 1); /* the one under way is finished */
  for (int i = 0; i < 500 && sixels_state(s).waiting > 0; i++) usleep(10000);
  assert_true(sixels_state(s).encoded < 30);
  for (int i = 0; i < 60; i++) picture_unref(pictures[i]);
  sixels_free(s);
}

/* --- frames ---------------------------------------------------------------------------------------------------------------- */

/* A screen of one picture (at 2, 1) of which everything is fresh. */
struct stage {
  struct canvas c;
  struct frame f;
  struct sixels *s;
  struct theme theme;
  struct graphics g;
  struct picture *p;
  struct rect r;
  unsigned char *changed;
};

static void stage_draw(struct stage *st, struct picture *p) {
  canvas_clear(&st->c);
  if (p != NULL) st->r = mosaic_place(&st->c, (struct rect){2, 1, 20, 10}, p, st->g.cell, DEPTH_256, true);
}

static struct stage *stage_new(void) {
  struct stage *st = calloc(1, sizeof *st);
  struct err e = {0};
  st->c.utf8 = true;
  assert_true(canvas_resize(&st->c, 40, 14));
  assert_true(theme_load("dark", DEPTH_256, &st->theme, &e));
  st->s = sixels_new(1 << 22, &e);
  st->g = (struct graphics){.sixel = true, .cell = {10, 20}, .synchronized = true};
  st->p = photograph();
  st->changed = calloc(40, 14);
  stage_draw(st, st->p);
  return st;
}

static void stage_free(struct stage *st) {
  sixels_free(st->s);
  picture_unref(st->p);
  canvas_release(&st->c);
  frame_release(&st->f);
  free(st->changed);
  free(st);
}

/* Composes; returns what is to be written, which the frame keeps until the next call. */
static const char *compose(struct stage *st, bool fresh, bool resting) {
  st->f.n = st->f.sent = 0;
  frame_compose(&st->f, &st->c, fresh ? NULL : st->changed, &st->g, st->s, &st->theme, resting);
  assert_false(st->f.failed);
  if (st->f.n == 0) return "";
  char *out = st->f.out;
  assert_true(st->f.n < st->f.room);
  out[st->f.n] = 0;
  return out;
}

static bool has_pixels(const char *out) {
  return strstr(out, "\033P") != NULL;
}

/* Frames until the pixels are there. */
static const char *compose_pixels(struct stage *st) {
  for (int i = 0; i < 500; i++) {
    const char *out = compose(st, false, true);
    if (has_pixels(out)) return out;
    usleep(10000);
  }
  fail_msg("no pixels within five seconds");
  return NULL;
}

static void only_dirty_pictures_are_written(void **state) {
  (void)state;
  struct stage *st = stage_new();
  assert_string_equal(frame_begin_update(&st->g), "\033[?2026h");
  assert_false(has_pixels(compose(st, true, false))); /* while scrubbing: none is even asked for */
  assert_int_equal(sixels_state(st->s).waiting, 0);
  const char *out = compose_pixels(st);
  out = strstr(out, "\033[0m\0338") + 6;                     /* below the last band the background */
  assert_true(strncmp(out, "\0337\033[2;3H\033P", 10) == 0); /* cursor kept, moved to the cell */
  assert_string_equal(st->f.out + st->f.n - strlen("\033\\\0338\033[?2026l"), "\033\\\0338\033[?2026l");
  assert_string_equal(compose(st, false, true), "\033[?2026l"); /* nothing has changed: nothing is written */
  st->changed[1 * 40 + 2] = 1;                                  /* ncurses has written a cell of it */
  assert_true(has_pixels(compose(st, false, true)));
  memset(st->changed, 0, 40 * 14);
  st->changed[0] = 1; /* and one beside it */
  assert_false(has_pixels(compose(st, false, true)));
  frame_forget(&st->f); /* cleared */
  assert_true(has_pixels(compose(st, false, true)));
  stage_free(st);
}

/* Another picture whose cells are equal to the old one's: ncurses writes nothing, the old pixels must go. */
static void stale_pixels_are_painted_over(void **state) {
  (void)state;
  struct stage *st = stage_new();
  compose_pixels(st);
  struct image copy;
  assert_true(picture_scale(&st->p->full, st->p->full.w, st->p->full.h, true, &copy));
  struct picture *again = picture_again(st->p, &copy);
  stage_draw(st, again);
  const char *out = compose(st, false, false);
  assert_false(has_pixels(out));
  int cells = 0;
  for (const char *at = out; (at = strstr(at, "▀")) != NULL; at++) cells++;
  for (const char *at = out; (at = strstr(at, "▄")) != NULL; at++) cells++;
  assert_int_equal(cells, st->r.w * st->r.h);
  assert_non_null(strstr(out, "\033[0;38;5;"));
  assert_string_equal(compose(st, false, false), "\033[?2026l"); /* once */
  st->c.pictures[0].picture->version--;                          /* the old one again, whose sixels are kept */
  assert_true(has_pixels(compose(st, false, true)));
  stage_draw(st, NULL);
  assert_false(has_pixels(compose(st, true, true))); /* ncurses has written every cell: nothing more to do */
  assert_int_equal(st->f.n, strlen("\033[?2026l"));
  picture_unref(again);
  stage_free(st);
}

/* A dialog over a picture: the rest of it stays, and where it is written anew the dialog is written over it. */
static void what_covers_a_picture_stands_over_it(void **state) {
  (void)state;
  struct stage *st = stage_new();
  const struct rect box = {st->r.x + 2, st->r.y + 2, 5, 3};
  compose_pixels(st);
  canvas_cover_pictures(&st->c, box);
  canvas_fill(&st->c, box, STYLE_TEXT);
  canvas_text(&st->c, box.x, box.y, STYLE_TEXT, "stop?");
  for (int y = box.y; y < box.y + box.h; y++) memset(st->changed + y * 40 + box.x, 1, (size_t)box.w);
  assert_string_equal(compose(st, false, true), "\033[?2026l"); /* ncurses has written the dialog */
  st->changed[(box.y + box.h) * 40 + box.x] = 1;               /* and a cell of the picture */
  const char *out = compose(st, false, true), *pixels = strstr(out, "\033P");
  assert_non_null(pixels);
  assert_non_null(strstr(pixels, "stop?"));
  assert_null(strstr(pixels, "▀")); /* no mosaic */
  assert_null(strstr(pixels, "▄"));
  stage_draw(st, st->p); /* closed: its cells are the picture's again */
  for (int y = box.y; y < box.y + box.h; y++) memset(st->changed + y * 40 + box.x, 1, (size_t)box.w);
  out = compose(st, false, true);
  assert_true(has_pixels(out) && strstr(strstr(out, "\033P"), "stop?") == NULL);
  stage_free(st);
}

static void the_last_row_stays_free(void **state) {
  (void)state;
  struct stage *st = stage_new();
  canvas_clear(&st->c);
  mosaic_place(&st->c, (struct rect){2, 4, 20, 10}, st->p, st->g.cell, DEPTH_256, true);
  assert_int_equal(st->c.n_pictures, 1);
  for (int i = 0; i < 20; i++) {
    assert_false(has_pixels(compose(st, false, true)));
    usleep(1000);
  }
  assert_int_equal(sixels_state(st->s).waiting + sixels_state(st->s).encoded, 0);
  st->g.sixel = false;
  stage_draw(st, st->p);
  assert_false(has_pixels(compose(st, false, true)));
  stage_free(st);
}

/* The reader of what is written: two numbers behind \033[ and their letter. */
static const char *after_move(const char *out, int *y, int *x) {
  int n = 0;
  assert_int_equal(sscanf(out, "\0337\033[%d;%dH%n", y, x, &n), 2);
  return out + n;
}

/* tmux shows pictures by itself: it gets what any terminal gets, in pieces that it does not drop. */
static void tmux_gets_what_it_takes(void **state) {
  (void)state;
  struct stage *st = stage_new();
  st->g.tmux = true;
  st->g.cell = (struct cell_size){20, 42}; /* bands and rows of cells end together */
  stage_draw(st, st->p);
  const char *out = compose_pixels(st);
  int x, y;
  assert_int_equal(strncmp(after_move(out, &y, &x), "\033P", 2), 0);
  assert_int_equal(x, st->r.x + 1);
  assert_int_equal(y, st->r.y + 1);
  assert_null(strstr(out, "tmux"));
  stage_free(st);
}

/* Where the last band of six pixels ends above the last row of cells, the background shows below and not the mosaic. */
static void no_mosaic_shows_below_pixels(void **state) {
  (void)state;
  struct stage *st = stage_new();
  for (int h = 17; h <= 20; h++) {
    st->g.cell = (struct cell_size){9, h};
    stage_draw(st, st->p);
    const char *out = strstr(compose_pixels(st), "\0337"), *spaces = out;
    int x, y, n = 0;
    out = after_move(out, &y, &x);
    if (st->r.h * h % 6 == 0) {
      assert_int_equal(strncmp(out, "\033P", 2), 0);
      continue;
    }
    assert_int_equal(y, st->r.y + st->r.h);
    assert_int_equal(x, st->r.x + 1);
    for (spaces = strchr(out, 'm') + 1; spaces[n] == ' '; n++) continue;
    assert_int_equal(n, st->r.w);
    assert_int_equal(strncmp(after_move(strstr(spaces, "\0337"), &y, &x), "\033P", 2), 0);
    assert_int_equal(y, st->r.y + 1);
  }
  stage_free(st);
}

/* Cells with colours of their own are the frame's to write, with no more than what changes from one to the next. */
static void mosaics_are_written_beside_ncurses(void **state) {
  (void)state;
  struct stage *st = stage_new();
  st->g.sixel = false;
  canvas_clear(&st->c);
  for (int i = 0; i < 3; i++) canvas_put_colours(&st->c, 5 + i, 3, "▀", 0xff0000, i == 2 ? 0x00ff00 : 0x0000ff);
  st->changed[3 * 40 + 5] = st->changed[3 * 40 + 6] = st->changed[3 * 40 + 7] = st->changed[0] = 1;
  assert_string_equal(compose(st, false, true), "\0337\033[4;6H\033[0;38;5;196;48;5;21m▀▀\033[48;5;46m▀\033[0m\0338\033[?2026l");
  st->changed[3 * 40 + 6] = 0;
  assert_string_equal(compose(st, false, true), "\0337\033[4;6H\033[0;38;5;196;48;5;21m▀\033[4;8H\033[48;5;46m▀\033[0m\0338\033[?2026l");
  struct theme mono;
  struct err e = {0};
  assert_true(theme_load("dark", DEPTH_MONO, &mono, &e));
  st->theme = mono; /* there ncurses writes all */
  assert_string_equal(compose(st, false, true), "\033[?2026l");
  stage_free(st);
}

static void a_slow_terminal_never_blocks(void **state) {
  (void)state;
  struct stage *st = stage_new();
  compose_pixels(st);
  int ends[2];
  assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
  size_t total = st->f.n, taken = 0;
  char *want = malloc(total), *got = malloc(total + 1);
  memcpy(want, st->f.out, total);
  fcntl(ends[1], F_SETPIPE_SZ, 4096);
  int waits = 0;
  enum frame_progress progress;
  while ((progress = frame_pump(&st->f, ends[1])) == FRAME_WAITS || taken < total) {
    waits += progress == FRAME_WAITS;
    ssize_t n = read(ends[0], got + taken, total + 1 - taken);
    if (n > 0) taken += (size_t)n;
    assert_true(waits < 100000);
  }
  assert_true(waits > 1);
  assert_int_equal(taken, total);
  assert_memory_equal(got, want, total);
  assert_int_equal(progress, FRAME_DONE);
  close(ends[0]);
  close(ends[1]);
  free(want);
  free(got);
  stage_free(st);
}

#else

static void without_libsixel_encoding_fails(void **state) {
  (void)state;
  struct picture *p = photograph();
  struct sixel_shape shape = shape_for(10, 5);
  struct sixel_data data;
  struct err e = {0};
  assert_false(sixel_encode_picture(p, &shape, &data, &e));
  assert_int_equal(e.code, ERR_FAILED);
  picture_unref(p);
}

#endif

int main(void) {
  if (setlocale(LC_ALL, "C.UTF-8") == NULL) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(downscaling_is_the_mean_of_the_area),
      cmocka_unit_test(upscaling_repeats_or_blends),
      cmocka_unit_test(grey_pictures_and_small_copies),
      cmocka_unit_test(mosaic_shows_the_picture_without_blanks),
      cmocka_unit_test(even_flat_mosaics_have_no_equal_rows),
      cmocka_unit_test(few_colours_are_dithered_to_the_right_mean),
      cmocka_unit_test(mosaic_in_ascii),
#ifdef HAVE_SIXEL
      cmocka_unit_test(sixels_decode_to_the_picture),
      cmocka_unit_test(few_colours_stay_as_they_are),
      cmocka_unit_test(quantizing_keeps_the_mean),
      cmocka_unit_test(long_sixels_are_cut_between_rows_of_cells),
      cmocka_unit_test(cache_keeps_and_forgets),
      cmocka_unit_test(requests_nobody_renews_are_dropped),
      cmocka_unit_test(only_dirty_pictures_are_written),
      cmocka_unit_test(stale_pixels_are_painted_over),
      cmocka_unit_test(what_covers_a_picture_stands_over_it), cmocka_unit_test(the_last_row_stays_free),
      cmocka_unit_test(tmux_gets_what_it_takes),
      cmocka_unit_test(no_mosaic_shows_below_pixels),
      cmocka_unit_test(mosaics_are_written_beside_ncurses),
      cmocka_unit_test(a_slow_terminal_never_blocks),
#else
      cmocka_unit_test(without_libsixel_encoding_fails),
#endif
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
