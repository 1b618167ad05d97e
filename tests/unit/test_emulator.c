/* The terminal that the interface's tests look at must itself be right. */
#include "terminal/emulator.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "terminal/session.h"
#include "terminal/sixel_decode.h"

static struct emulator *make(int w, int h) {
  struct emulator_options o = {.w = w, .h = h, .cell = {4, 6}, .sixel = true, .synchronized = true, .utf8 = true};
  struct emulator *e = emulator_new(&o);
  assert_non_null(e);
  return e;
}

static void feed(struct emulator *e, const char *text) {
  emulator_feed(e, text, strlen(text));
}

/* A fresh w x h screen shows want after text. */
static void screen_is(int w, int h, const char *text, const char *want) {
  struct emulator *e = make(w, h);
  feed(e, text);
  char *got = emulator_text(e);
  assert_string_equal(got, want);
  free(got);
  assert_int_equal(emulator_modes(e).unknown, 0);
  emulator_free(e);
}

static void text_and_cursor(void **state) {
  (void)state;
  screen_is(5, 3, "abcdefg\r\nX", "abcde\nfg\nX\n");
  screen_is(5, 2, "abcde\r\nX", "abcde\nX\n"); /* the wrap waits for the next character */
  screen_is(5, 2, "a\nb\nc\nd", "  c\n   d\n");
  screen_is(6, 3, "\033[2;3Hx\033[Ay\033[2Dz\033[1Gw\033[3dv", "w zy\n  x\n v\n");
  screen_is(6, 2, "座钟\033[1;2Hx", " x钟\n\n");
  screen_is(6, 1, "e\xcc\x81x", "e\xcc\x81x\n");
  screen_is(8, 1, "a\tb", "a      b\n");
  screen_is(8, 1, "ab\033[3b", "abbbb\n");
}

static void erasing_and_shifting(void **state) {
  (void)state;
  screen_is(5, 3, "aaaaa\r\nbbbbb\r\nccccc\033[2;3H\033[J", "aaaaa\nbb\n\n");
  screen_is(5, 3, "aaaaa\r\nbbbbb\r\nccccc\033[2;3H\033[1J", "\n   bb\nccccc\n");
  screen_is(5, 1, "abcde\033[1;3H\033[K", "ab\n");
  screen_is(5, 1, "abcde\033[1;3H\033[1K", "   de\n");
  screen_is(6, 1, "abcdef\033[1;3H\033[2X", "ab  ef\n");
  screen_is(6, 1, "abcdef\033[1;3H\033[2P", "abef\n");
  screen_is(6, 1, "abcdef\033[1;3H\033[2@", "ab  cd\n");
}

static void scrolling_regions(void **state) {
  (void)state;
  screen_is(2, 4, "a\r\nb\r\nc\r\nd\033[2;3r\033[3;1H\n", "a\nc\n\nd\n");
  screen_is(2, 4, "a\r\nb\r\nc\r\nd\033[2;3r\033[2;1H\033M", "a\n\nb\nd\n");
  screen_is(2, 4, "a\r\nb\r\nc\r\nd\033[2;1H\033[L", "a\n\nb\nc\n");
  screen_is(2, 4, "a\r\nb\r\nc\r\nd\033[1;1H\033[2M", "c\nd\n\n\n");
  screen_is(2, 4, "a\r\nb\r\nc\r\nd\033[S", "b\nc\nd\n\n");
  screen_is(2, 4, "a\r\nb\r\nc\r\nd\033[2T", "\n\na\nb\n");
}

static void looks(void **state) {
  (void)state;
  struct emulator *e = make(10, 1);
  feed(e, "\033[1;4;38;5;208;48;2;1;2;3ma\033[22;39mb\033[0;7;95mc\033[38:2::9:8:7md\033[me");
  const struct emulator_look *a = &emulator_at(e, 0, 0)->look, *b = &emulator_at(e, 1, 0)->look, *c = &emulator_at(e, 2, 0)->look;
  assert_int_equal(a->fg, 208);
  assert_int_equal(a->bg, EMU_RGB | 0x010203);
  assert_int_equal(a->attributes, EMU_BOLD | EMU_UNDERLINE);
  assert_true(b->fg == EMU_DEFAULT && b->bg == a->bg && b->attributes == EMU_UNDERLINE);
  assert_true(c->fg == 13 && c->bg == EMU_DEFAULT && c->attributes == EMU_REVERSE);
  assert_int_equal(emulator_at(e, 3, 0)->look.fg, EMU_RGB | 0x090807);
  assert_int_equal(emulator_at(e, 4, 0)->look.attributes, 0);
  emulator_free(e);
}

static void alternate_screen(void **state) {
  (void)state;
  struct emulator *e = make(5, 2);
  feed(e, "ab\033[?1049h\033[?25l\033[?1006;1000h\033[?1hX");
  struct emulator_modes m = emulator_modes(e);
  assert_true(m.alternate && !m.cursor_shown && m.mouse && m.mouse_sgr && m.cursor_keys);
  feed(e, "\033[?1049l\033[?25h\033[?1000lc");
  m = emulator_modes(e);
  assert_true(!m.alternate && m.cursor_shown && !m.mouse);
  char *text = emulator_text(e);
  assert_string_equal(text, "abc\n\n");
  free(text);
  emulator_free(e);
}

static void answers(void **state) {
  (void)state;
  struct emulator *e = make(80, 24);
  char got[512];
  feed(e, "\033[?1;1;0S\033[?2;1;0S\033[16t\033[14t\033[?2026$p\033[2;3H\033[6n\033[c");
  got[emulator_answers(e, got, sizeof got - 1)] = 0;
  assert_string_equal(got, "\033[?1;0;256S\033[?2;0;320;144S\033[6;6;4t\033[4;144;320t\033[?2026;2$y\033[2;3R\033[?62;4;22c");
  assert_int_equal(emulator_answers(e, got, sizeof got), 0);
  emulator_free(e);
}

/* 8 x 6 red pixels, two cells. */
static const char red[] = "\033Pq#1;2;100;0;0#1!8~\033\\";

static void pixels_stand_over_cells(void **state) {
  (void)state;
  struct emulator *e = make(10, 5);
  struct image im;
  struct rect r;
  bool whole;
  feed(e, "\033[2;3H");
  feed(e, red);
  assert_int_equal(emulator_pictures(e), 1);
  assert_true(emulator_picture_at(e, 3, 1, &r));
  assert_true(r.x == 2 && r.y == 1 && r.w == 2 && r.h == 1);
  assert_true(emulator_pixels(e, r, &im, &whole) && whole && im.w == 8 && im.h == 6 && im.px[0] == 255 && im.px[1] == 0);
  image_release(&im);
  feed(e, "\033[1;1H\033[M"); /* a line goes: the picture moves with the text */
  assert_true(emulator_picture_at(e, 2, 0, &r));
  assert_false(emulator_picture_at(e, 2, 1, &r));
  feed(e, "\033[1;3Hx"); /* text destroys what it covers */
  assert_false(emulator_picture_at(e, 2, 0, &r));
  assert_true(emulator_picture_at(e, 3, 0, &r) && r.w == 1);
  feed(e, "\033[1;1H\033[K");
  assert_int_equal(emulator_pictures(e), 0);
  emulator_free(e);
}

static void holes_are_seen(void **state) {
  (void)state;
  struct emulator *e = make(10, 5);
  bool whole;
  struct image im;
  feed(e, "\033Pq#1;2;0;100;0#1!5~!2?~\033\\");
  assert_true(emulator_pixels(e, (struct rect){0, 0, 2, 1}, &im, &whole));
  assert_false(whole);
  image_release(&im);
  emulator_free(e);
}

static void pictures_in_the_last_row_scroll(void **state) {
  (void)state;
  struct emulator *e = make(10, 3);
  struct rect r;
  feed(e, "top\033[3;1H");
  feed(e, red);
  char *text = emulator_text(e);
  assert_string_equal(text, "\n\n\n"); /* `top` is gone: this is what the interface must not do */
  free(text);
  assert_true(emulator_picture_at(e, 0, 1, &r));
  emulator_free(e);
}

static void sixel_colours_and_repeats(void **state) {
  (void)state;
  struct image im;
  unsigned char *set;
  static const char data[] = "\033P0;1;0q\"1;1;4;12#0;2;0;0;100#1;1;120;50;100#0!2@$#1!4A-#0~\033\\";
  assert_true(decode_sixels(data, sizeof data - 1, &im, &set));
  assert_true(im.w == 4 && im.h == 12);
  assert_true(set[0] && set[1] && !set[2] && set[4] && set[6 * 4] && !set[6 * 4 + 1]);
  assert_int_equal(im.px[2], 255);                           /* blue */
  assert_true(im.px[3 * 4] == 255 && im.px[3 * 4 + 2] == 0); /* hue 120 on a scale whose 0 is blue: red */
  image_release(&im);
  free(set);
  assert_false(decode_sixels("\033Pq\033\\", 5, &im, NULL));
  assert_false(decode_sixels("\033Pq!999999~\033\\", 14, &im, NULL));
  assert_false(decode_sixels("nothing", 7, &im, NULL));
}

/* Rubbish neither crashes nor writes outside. */
static void any_bytes_are_taken(void **state) {
  (void)state;
  static const char alphabet[] = "\033\033[[;;0123456789?$!#~Pq@ABCDHJKLMPSTXbdfghlmnprstu\\]\a\n\r\b\t \xe5\xba\xa7\xcc\x81\xff";
  struct emulator *e = make(20, 6);
  unsigned r = 1;
  for (int i = 0; i < 300000; i++) {
    r = r * 1664525u + 1013904223u;
    char byte = alphabet[(r >> 8) % (sizeof alphabet - 1)];
    emulator_feed(e, &byte, 1);
    if (r % 997 == 0) emulator_resize(e, 1 + (int)(r >> 9) % 40, 2 + (int)(r >> 15) % 12);
    char got[64];
    emulator_answers(e, got, sizeof got);
  }
  emulator_free(e);
}

static void a_session_talks_to_a_program(void **state) {
  (void)state;
  struct emulator_options o = {.w = 40, .h = 5, .cell = {8, 16}, .utf8 = true};
  struct session s;
  char *argv[] = {"sh", "-c", "printf 'size '; stty size; printf 'name? '; read name; echo \"[$name]\"; exit 7", NULL};
  assert_true(session_start(&s, &o, "xterm", argv));
  assert_true(session_expect(&s, "size 5 40", true, 5000));
  assert_true(session_expect(&s, "name?", true, 5000));
  session_type(&s, "clock", 5);
  assert_true(session_key(&s, "Enter"));
  assert_false(session_key(&s, "NoSuchKey"));
  assert_true(session_expect(&s, "[clock]", true, 5000));
  assert_false(session_expect(&s, "[poodle]", true, 100));
  for (int i = 0; i < 100 && session_running(&s); i++) session_pump(&s, 50);
  assert_int_equal(s.pid, 0);
  assert_int_equal(s.status >> 8, 7);
  session_end(&s);
}

int main(void) {
  if (setlocale(LC_ALL, "C.UTF-8") == NULL) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(text_and_cursor),
      cmocka_unit_test(erasing_and_shifting),
      cmocka_unit_test(scrolling_regions),
      cmocka_unit_test(looks),
      cmocka_unit_test(alternate_screen),
      cmocka_unit_test(answers),
      cmocka_unit_test(pixels_stand_over_cells),
      cmocka_unit_test(holes_are_seen),
      cmocka_unit_test(pictures_in_the_last_row_scroll),
      cmocka_unit_test(sixel_colours_and_repeats),
      cmocka_unit_test(any_bytes_are_taken),
      cmocka_unit_test(a_session_talks_to_a_program),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
