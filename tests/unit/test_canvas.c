/* Canvas, widths, layout, themes: the parts of the interface that are plain functions of their arguments. */
#include "ui/canvas.h"

#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ui/picture.h"
#include "ui/theme.h"

static struct canvas make(int w, int h, bool utf8) {
  struct canvas c = {.utf8 = utf8};
  assert_true(canvas_resize(&c, w, h));
  return c;
}

/* The canvas as text must be exactly this; releases it. */
static void shows(struct canvas *c, const char *text) {
  char *dump = canvas_dump(c);
  assert_string_equal(dump, text);
  free(dump);
  canvas_release(c);
}

/* --- widths ---------------------------------------------------------------------------------------------------------------- */

static void widths_of_scripts(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int width;
  } cases[] = {{"clock", 5},
               {"座钟", 4},               /* Chinese */
               {"ساعة", 4},               /* Arabic */
               {"e\xcc\x81t\xc3\xa9", 3}, /* a combining acute, and the letter in one piece */
               {"\xcc\x81", 1},           /* a mark without a base */
               {"🐩", 2},
               {"👩‍🎨", 4}, /* joined by U+200D: shown as two */
               {"👍🏽", 2},    /* a skin tone */
               {"❤️", 1},      /* a variation selector */
               {"a\xe2\x80\xae"
                "b",
                2},             /* right-to-left override */
               {"\x1b[31m", 5}, /* escape sequences are not let through */
               {"\xff\xfe", 2},
               {"\xd7\xa9\xd6\xb8\xd7\x81", 1}, /* Hebrew with two points */
               {"", 0}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) assert_int_equal(text_columns(cases[i].text, true), cases[i].width);
  assert_int_equal(text_columns("座钟", false), 2);
}

static void hostile_text_is_harmless(void **state) {
  (void)state;
  struct canvas c = make(12, 1, true);
  canvas_text(&c, 0, 0, STYLE_TEXT,
              "a\x1b]0;x\x07\xc2\x9b"
              "b\xe2\x80\xae\n");
  shows(&c,
        "a\xef\xbf\xbd]0;x\xef\xbf\xbd\xef\xbf\xbd"
        "b\n");
  c = make(8, 1, false);
  canvas_text(&c, 0, 0, STYLE_TEXT, "\xc3\xa9t\xe5\xba\xa7\x1b");
  shows(&c, "?t??\n");
}

static void marks_beyond_the_cell_are_dropped(void **state) {
  (void)state;
  char text[200] = "e";
  for (int i = 0; i < 60; i++) strncat(text, "\xcc\x81", sizeof text - strlen(text) - 1);
  strncat(text, "x", sizeof text - strlen(text) - 1);
  struct canvas c = make(4, 1, true);
  assert_int_equal(canvas_text(&c, 0, 0, STYLE_TEXT, text), 2);
  shows(&c, "e\xcc\x81\xcc\x81\xcc\x81\xcc\x81x\n");
}

static void wraps_at_spaces_and_between_wide(void **state) {
  (void)state;
  struct canvas c = make(8, 7, true);
  assert_int_equal(canvas_paragraph(&c, canvas_rect(&c), 0, STYLE_TEXT, "one two three\nunbreakablelong\n\n座钟座钟座"), 7);
  shows(&c, "one two\nthree\nunbreaka\nblelong\n\n座钟座钟\n座\n");
  assert_int_equal(text_lines("座钟", 1, true), 2); /* wider than the line: goes on all the same */
  assert_int_equal(text_lines("a  b", 1, true), 2);
  assert_int_equal(text_lines("", 10, true), 0);
}

/* --- drawing --------------------------------------------------------------------------------------------------------------- */

static void fields_are_cut_and_padded(void **state) {
  (void)state;
  struct canvas c = make(20, 5, true);
  canvas_field(&c, 0, 0, 8, ALIGN_LEFT, STYLE_TEXT, "mantel clock");
  canvas_field(&c, 10, 0, 8, ALIGN_RIGHT, STYLE_TEXT, "座钟");
  canvas_field(&c, 0, 1, 4, ALIGN_LEFT, STYLE_TEXT, "座钟座");
  canvas_text(&c, 4, 1, STYLE_TEXT, "|");
  canvas_field(&c, 0, 2, 6, ALIGN_CENTRE, STYLE_TEXT, "ab");
  canvas_text(&c, 6, 2, STYLE_TEXT, "|");
  canvas_field_end(&c, 0, 3, 8, STYLE_TEXT, "/data/photos/clock");
  canvas_field(&c, 0, 4, 1, ALIGN_LEFT, STYLE_TEXT, "xyz");
  shows(&c, "mantel …      座钟\n座… |\n  ab  |\n…s/clock\n…\n");
}

static void boxes_join(void **state) {
  (void)state;
  for (int utf8 = 0; utf8 < 2; utf8++) {
    struct canvas c = make(12, 5, utf8);
    struct rect in = canvas_box(&c, canvas_rect(&c), STYLE_BORDER, "loss");
    assert_int_equal(in.w, 10);
    assert_int_equal(in.h, 3);
    canvas_hline(&c, 0, 2, 12, STYLE_BORDER);
    canvas_vline(&c, 5, 2, 3, STYLE_BORDER);
    shows(&c, utf8 ? "┌─ loss ───┐\n│          │\n├────┬─────┤\n│    │     │\n└────┴─────┘\n"
                   : "+- loss ---+\n|          |\n+----+-----+\n|    |     |\n+----+-----+\n");
  }
}

static void clipping_and_wide_halves(void **state) {
  (void)state;
  struct canvas c = make(10, 1, true);
  canvas_text(&c, 0, 0, STYLE_TEXT, "座钟座钟座");
  struct rect before = canvas_clip(&c, (struct rect){3, 0, 4, 1});
  canvas_text(&c, 0, 0, STYLE_TEXT, "abcdefghij");
  canvas_unclip(&c, before);
  const struct cell *half = canvas_at(&c, 2, 0);
  assert_string_equal(half->text, " ");
  assert_int_equal(half->width, 1);
  shows(&c, "座 defg 座\n");
  c = make(5, 1, true);
  canvas_text(&c, 0, 0, STYLE_TEXT, "ab座钟"); /* the last one is cut by the edge */
  assert_int_equal(canvas_at(&c, 3, 0)->width, 0);
  assert_int_equal(canvas_at(&c, 4, 0)->width, 1);
  shows(&c, "ab座\n");
}

static void every_wide_cell_is_whole(void **state) {
  (void)state;
  struct canvas c = make(23, 7, true);
  unsigned r = 1;
  static const char *const texts[] = {"座钟x", "ab", "🐩", "é座", " "};
  for (int i = 0; i < 20000; i++) {
    r = r * 1664525u + 1013904223u;
    int x = (int)(r >> 8) % 30 - 4, y = (int)(r >> 16) % 9 - 1;
    struct rect before = canvas_clip(&c, (struct rect){x - 2, y - 1, (int)(r >> 4) % 9, 3});
    canvas_text(&c, x, y, STYLE_TEXT, texts[(r >> 24) % 5]);
    canvas_unclip(&c, before);
  }
  for (int y = 0; y < c.h; y++) {
    for (int x = 0; x < c.w; x++) {
      const struct cell *cell = canvas_at(&c, x, y);
      if (cell->width == 2) assert_int_equal(canvas_at(&c, x + 1, y)->width, 0);
      if (cell->width == 0) assert_int_equal(canvas_at(&c, x - 1, y)->width, 2);
      assert_int_equal(cell->width == 0, cell->text[0] == 0);
    }
  }
  canvas_release(&c);
}

static void bars(void **state) {
  (void)state;
  struct canvas c = make(10, 4, true);
  canvas_bar(&c, 0, 0, 10, 0.55, STYLE_BAR, STYLE_BAR_REST);
  canvas_bar(&c, 0, 1, 10, (double)NAN, STYLE_BAR, STYLE_BAR_REST);
  canvas_bar(&c, 0, 2, 10, 7, STYLE_BAR, STYLE_BAR_REST);
  canvas_sparkline(&c, 0, 3, 5, (const double[]){9, 0, 1, (double)NAN, 3, 4}, 6, 0, 4, STYLE_BAR);
  shows(&c, "█████▌░░░░\n░░░░░░░░░░\n██████████\n▁▃ ▆█\n");
  c = make(1, 6, false);
  canvas_scrollbar(&c, 0, 0, 6, 14, 6, 20, STYLE_BORDER); /* at the end */
  shows(&c, "|\n|\n|\n|\n|\n#\n");
}

static void pictures_are_noted_whole(void **state) {
  (void)state;
  struct canvas c = make(20, 10, true);
  struct image im;
  assert_true(image_new(&im, 2, 2, 3));
  struct picture *p = picture_new(&im);
  canvas_picture(&c, (struct rect){1, 1, 5, 5}, p, true);
  canvas_picture(&c, (struct rect){16, 1, 5, 5}, p, true); /* cut */
  canvas_picture(&c, (struct rect){8, 1, 5, 5}, p, true);
  assert_int_equal(c.n_pictures, 2);
  canvas_cover_pictures(&c, (struct rect){5, 5, 2, 2});
  assert_int_equal(c.n_pictures, 2);
  assert_true(c.pictures[0].cover.w == 1 && c.pictures[0].cover.x == 5 && rect_empty(c.pictures[1].cover));
  canvas_cover_pictures(&c, (struct rect){0, 0, 7, 9}); /* nothing is left to be seen of it */
  assert_int_equal(c.n_pictures, 1);
  assert_int_equal(c.pictures[0].cells.x, 8);
  for (int i = 0; i < 1000; i++) canvas_picture(&c, (struct rect){0, 0, 1, 1}, p, true);
  assert_int_equal(c.n_pictures, 1001);
  assert_int_equal(atomic_load(&p->references), 1002);
  canvas_release(&c);
  assert_int_equal(atomic_load(&p->references), 1);
  picture_unref(p);
}

/* --- layout ---------------------------------------------------------------------------------------------------------------- */

static void splits(void **state) {
  (void)state;
  static const struct {
    int length, gap, n;
    struct part parts[4];
    int sizes[4];
  } cases[] = {
      {80, 0, 2, {{20, 0, 0}, {10, 0, 1}}, {20, 60}},
      {80, 1, 3, {{10, 0, 1}, {10, 0, 1}, {10, 0, 1}}, {26, 26, 26}},
      {81, 1, 3, {{10, 0, 1}, {10, 0, 1}, {10, 0, 1}}, {26, 26, 27}},
      {100, 0, 3, {{10, 20, 1}, {10, 0, 1}, {10, 0, 2}}, {20, 30, 50}}, /* the limit's remainder goes to the others */
      {25, 1, 3, {{10, 0, 0}, {10, 0, 1}, {10, 0, 1}}, {10, 10, 3}},    /* too small: from the last on */
      {20, 1, 3, {{10, 0, 0}, {9, 0, 1}, {10, 0, 1}}, {10, 9, 0}},
      {0, 1, 2, {{10, 0, 0}, {9, 0, 1}}, {0, 0}},
      {50, 1, 3, {{10, 10, 1}, {0, 0, 0}, {10, 10, 1}}, {10, 0, 10}},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int sizes[4];
    layout_split(cases[i].length, cases[i].gap, cases[i].parts, cases[i].n, sizes);
    int sum = 0;
    for (int p = 0, shown = 0; p < cases[i].n; p++) {
      sum += sizes[p] + (sizes[p] > 0 && shown > 0 ? cases[i].gap : 0);
      shown += sizes[p] > 0;
      if (i != 3) assert_int_equal(sizes[p], cases[i].sizes[p]);
    }
    assert_true(sum <= cases[i].length);
    if (i == 3) assert_true(sizes[0] == 20 && sum == 100 && sizes[2] > sizes[1]);
  }
}

static void pictures_fit(void **state) {
  (void)state;
  struct rect box = {2, 3, 40, 20};
  struct rect r = layout_fit(box, 512, 512, (struct cell_size){10, 20}, true);
  assert_true(r.w == 40 && r.h == 20 && r.x == 2 && r.y == 3);
  r = layout_fit(box, 1000, 250, (struct cell_size){10, 20}, true);
  assert_true(r.w == 40 && r.h == 5 && r.y == 3 + 7);
  r = layout_fit(box, 40, 40, (struct cell_size){10, 20}, false); /* no larger than its own pixels */
  assert_true(r.w == 4 && r.h == 2);
  r = layout_fit(box, 1, 10000, (struct cell_size){0, 0}, true);
  assert_true(r.w == 1 && r.h == 20);
  assert_true(rect_empty(layout_fit(box, 0, 5, (struct cell_size){0, 0}, true)));
}

/* --- themes ---------------------------------------------------------------------------------------------------------------- */

/* WCAG's contrast of two colours. */
static double luminance(uint32_t rgb) {
  double sum = 0;
  static const double weight[] = {0.2126, 0.7152, 0.0722};
  for (int i = 0; i < 3; i++) {
    double v = (rgb >> (16 - 8 * i) & 255) / 255.0;
    sum += weight[i] * (v <= 0.03928 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4));
  }
  return sum;
}

static double contrast(uint32_t a, uint32_t b) {
  double x = luminance(a) + 0.05, y = luminance(b) + 0.05;
  return x > y ? x / y : y / x;
}

static bool is_line(int style) {
  return style == STYLE_BORDER || style == STYLE_GRID || style == STYLE_BAR_REST;
}

/* Every style of every theme can be read, the terminal's own colours taken as what the theme is made for. */
static void themes_can_be_read(void **state) {
  (void)state;
  for (int t = 0; theme_name(t) != NULL; t++) {
    const char *name = theme_name(t);
    bool light = strcmp(name, "light") == 0;
    double least = strcmp(name, "high-contrast") == 0 ? 7 : 4.5;
    for (int depth = DEPTH_MONO; depth <= DEPTH_TRUE; depth++) {
      struct theme theme;
      struct err e = {0};
      if (!theme_load(name, (enum colour_depth)depth, &theme, &e)) fail_msg("%s: %s", name, e.text);
      assert_string_equal(theme.name, name);
      for (int i = 0; i < STYLE_COLOURS; i++) {
        struct look look = theme.looks[i];
        int most = depth == DEPTH_TRUE ? 0xffffff : depth == DEPTH_256 ? 255 : depth == DEPTH_16 ? 15 : depth == DEPTH_8 ? 7 : -1;
        assert_in_range(look.fg + 1, 0, most + 1);
        assert_in_range(look.bg + 1, 0, most + 1);
        if (depth < DEPTH_256 || is_line(i)) continue;
        uint32_t own_fg = light ? 0x1f2328 : 0xd0d0d0, own_bg = light ? 0xffffff : 0x101010;
        uint32_t fg = look.fg < 0 ? own_fg : depth == DEPTH_TRUE ? (uint32_t)look.fg : colour_of_index(look.fg);
        uint32_t bg = look.bg < 0 ? own_bg : depth == DEPTH_TRUE ? (uint32_t)look.bg : colour_of_index(look.bg);
        if (contrast(fg, bg) < least) fail_msg("%s, %d colours, style %d: contrast %.2f", name, most + 1, i, contrast(fg, bg));
      }
    }
  }
}

static void themes_differ_where_colours_do_not(void **state) {
  (void)state;
  struct theme mono;
  struct err e = {0};
  assert_true(theme_load("dark", DEPTH_MONO, &mono, &e));
  assert_int_equal(mono.looks[STYLE_SELECTED].marks, MARK_REVERSE);
  assert_int_equal(mono.looks[STYLE_TEXT].marks, 0);
  struct theme few;
  assert_true(theme_load("dark", DEPTH_8, &few, &e));
  assert_int_equal(few.looks[STYLE_ACCENT].fg, 6); /* bright cyan on 8 colours: cyan, bold */
  assert_true(few.looks[STYLE_ACCENT].marks & MARK_BOLD);
}

static void own_theme_and_its_mistakes(void **state) {
  (void)state;
  struct theme theme;
  struct err e = {0};
  assert_true(theme_parse("[theme]\nname = mine\n[styles]\ntext = #102030\nok = on #ff0000 bold underline\n[styles.16]\nok = red\n",
                          "mine.ini", DEPTH_TRUE, &theme, &e));
  assert_string_equal(theme.name, "mine");
  assert_int_equal(theme.looks[STYLE_OK].fg, 0x102030); /* what is not said is as in `text` */
  assert_int_equal(theme.looks[STYLE_OK].bg, 0xff0000);
  assert_int_equal(theme.looks[STYLE_OK].marks, MARK_BOLD | MARK_UNDERLINE);
  assert_int_equal(theme.looks[STYLE_ERROR].fg, 0x102030);
  static const struct {
    const char *ini, *says;
  } bad[] = {{"[styles]\ntext = #12345\n", "x.ini:2: `#12345`"},
             {"[styles]\ntext = blueish\n", "`blueish`"},
             {"[styles]\n\ntekst = red\n", "x.ini:3: there is no style `tekst`"},
             {"[colours]\ntext = red\n", "[colours]"},
             {"[styles]\nnonsense\n", "x.ini:2"}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    e = (struct err){0};
    assert_false(theme_parse(bad[i].ini, "x.ini", DEPTH_256, &theme, &e));
    assert_int_equal(e.code, ERR_USAGE);
    if (strstr(e.text, bad[i].says) == NULL) fail_msg("%s", e.text);
  }
  e = (struct err){0};
  assert_false(theme_load("solarized", DEPTH_256, &theme, &e));
  assert_non_null(strstr(e.text, "colour-blind"));
  e = (struct err){0};
  assert_false(theme_load("./absent.ini", DEPTH_256, &theme, &e));
  assert_int_equal(e.code, ERR_INPUT);
}

static void nearest_colours(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 4096; i++) { /* the shortcut finds what a search of the whole palette finds, or something as near */
    uint32_t rgb = (i >> 8 & 15) * 17 << 16 | (i >> 4 & 15) * 17 << 8 | (i & 15) * 17;
    int got = colour_nearest(DEPTH_256, rgb);
    long best = -1, have = -1;
    for (int k = 16; k < 256; k++) {
      long d = 0;
      static const int weight[] = {3, 4, 2};
      for (int p = 0; p < 3; p++) {
        long v = (long)(rgb >> (16 - 8 * p) & 255) - (long)(colour_of_index(k) >> (16 - 8 * p) & 255);
        d += weight[p] * v * v;
      }
      if (best < 0 || d < best) best = d;
      if (k == got) have = d;
    }
    assert_true(have >= 0 && have <= best + best / 2 + 200);
  }
  assert_int_equal(colour_nearest(DEPTH_16, 0xfe0102), 9);
  assert_int_equal(colour_shown(DEPTH_MONO, 0x202020), 0);
}

int main(void) {
  if (setlocale(LC_ALL, "C.UTF-8") == NULL) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(widths_of_scripts),
      cmocka_unit_test(hostile_text_is_harmless),
      cmocka_unit_test(marks_beyond_the_cell_are_dropped),
      cmocka_unit_test(wraps_at_spaces_and_between_wide),
      cmocka_unit_test(fields_are_cut_and_padded),
      cmocka_unit_test(boxes_join),
      cmocka_unit_test(clipping_and_wide_halves),
      cmocka_unit_test(every_wide_cell_is_whole),
      cmocka_unit_test(bars),
      cmocka_unit_test(pictures_are_noted_whole),
      cmocka_unit_test(splits),
      cmocka_unit_test(pictures_fit),
      cmocka_unit_test(themes_can_be_read),
      cmocka_unit_test(themes_differ_where_colours_do_not),
      cmocka_unit_test(own_theme_and_its_mistakes),
      cmocka_unit_test(nearest_colours),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
