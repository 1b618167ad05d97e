/* Command lines: every type of option, what a wrong one is told, the help's columns, and the tables of all commands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "commands.h"
#include "diffusion/sampler.h"

struct options {
  bool flag;
  const char *text;
  struct text_list list;
  int whole, word, size[2];
  double number;
  uint64_t seed;
  int64_t bytes;
};

#define AT(field) .offset = offsetof(struct options, field)
static const char *const words[] = {"red", "green", "blue", NULL};
static const struct option_spec table[] = {
    {"flag", NULL, "a flag", OPTION_FLAG, AT(flag)},
    {"text", "TEXT", "a text", OPTION_TEXT, AT(text)},
    {"list", "ITEM", "a list", OPTION_LIST, AT(list)},
    {"whole", "N", "a whole number", OPTION_WHOLE, AT(whole), -5, 10},
    {"number", "X", "a number", OPTION_NUMBER, AT(number), 0, 2},
    {"seed", "N", "a seed", OPTION_SEED, AT(seed)},
    {"word", NULL, "a word, described at such length that the description needs more than one line of the terminal", OPTION_WORD, AT(word),
     .words = words},
    {"size", "WxH", "a size", OPTION_SIZE, AT(size), 8, 64},
    {"an-option-with-a-long-name", "ITEM", "has a line of its own", OPTION_BYTES, AT(bytes), 0, 1e12},
    {0},
};
static const struct command_spec command = {.name = "try",
                                            .operands = "ONE TWO",
                                            .about = "A command.",
                                            .options = table,
                                            .options_size = sizeof(struct options),
                                            .defaults = &(const struct options){.whole = 7, .text = "none"}};

/* argv of up to six words; the caller releases *l. */
static enum err_code read_line(struct cmdline *l, struct err *e, const char *const *argv) {
  int argc = 0;
  while (argv[argc]) argc++;
  *e = (struct err){0};
  cmdline_read(l, &command, argc, (char **)(uintptr_t)argv, e);
  return e->code;
}
#define READ(...) read_line(&l, &e, (const char *const[]){__VA_ARGS__, NULL})

static void test_types(void **state) {
  (void)state;
  struct cmdline l;
  struct err e;
  assert_int_equal(READ("a", "--flag", "--text", "--flag", "--list=1", "b", "--list", "", "--whole", "-5", "--number=1.5"), ERR_OK);
  const struct options *o = l.options;
  assert_true(o->flag && o->whole == -5 && o->number > 1.4 && o->number < 1.6);
  assert_string_equal(o->text, "--flag");
  assert_true(o->list.n == 2 && !strcmp(o->list.text[0], "1") && !*o->list.text[1]);
  assert_true(l.operands == 2 && !strcmp(l.operand[0], "a") && !strcmp(l.operand[1], "b"));
  cmdline_release(&l);
  assert_int_equal(
      READ("--seed=18446744073709551615", "--word", "blue", "--size", "8x64", "--an-option-with-a-long-name=2K", "--", "--flag", "-"),
      ERR_OK);
  o = l.options;
  assert_true(o->seed == UINT64_MAX && o->word == 2 && o->size[0] == 8 && o->size[1] == 64 && o->bytes == 2048);
  assert_true(!o->flag && l.operands == 2 && !strcmp(l.operand[0], "--flag") && !strcmp(l.operand[1], "-"));
  cmdline_release(&l);
}

static void test_defaults(void **state) {
  (void)state;
  struct cmdline l;
  struct err e;
  assert_int_equal(READ("--size=32"), ERR_OK);
  const struct options *o = l.options;
  assert_true(o->whole == 7 && !strcmp(o->text, "none") && o->size[0] == 32 && o->size[1] == 32 && !l.help);
  cmdline_release(&l);
  assert_int_equal(READ("--flag", "--help", "--nonsense"), ERR_OK);
  assert_true(l.help);
  cmdline_release(&l);
  assert_int_equal(READ("--text=", "-h"), ERR_OK);
  assert_true(l.help && !*((const struct options *)l.options)->text);
  cmdline_release(&l);
}

static void test_refused(void **state) {
  (void)state;
  static const char *const cases[][3] = {
      {"--none", NULL, "unknown option --none; see pdmbooth-tui try --help"},
      {"--none=1", NULL, "unknown option --none=1;"},
      {"--fla", NULL, "unknown option --fla;"},
      {"-x", NULL, "unknown option -x;"},
      {"--flag=yes", NULL, "--flag takes no value"},
      {"--text", NULL, "--text needs a value; see pdmbooth-tui try --help"},
      {"--whole", "11", "--whole 11 is not allowed: it must be a whole number from -5 to 10"},
      {"--whole", "", "--whole  is not allowed"},
      {"--whole", "1.0", "a whole number"},
      {"--whole", "99999999999999999999", "a whole number"},
      {"--number", "2.1", "--number 2.1 is not allowed: it must be a number from 0 to 2"},
      {"--number", "nan", "a number from 0 to 2"},
      {"--seed", "-1", "a whole number from 0 to 18446744073709551615"},
      {"--seed", "18446744073709551616", "a whole number from 0"},
      {"--word", "gree", "--word gree is not allowed: it must be red, green or blue"},
      {"--size", "8x", "a size such as 512x768, each from 8 to 64"},
      {"--size", "8x65", "each from 8 to 64"},
      {"--size", "x8", "each from 8 to 64"},
      {"--an-option-with-a-long-name", "-1", "a number of bytes"},
      {"--an-option-with-a-long-name", "2X", "a number of bytes"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct cmdline l;
    struct err e;
    if (READ(cases[i][0], cases[i][1]) != ERR_USAGE || !strstr(e.text, cases[i][2])) fail_msg("%s: %s", cases[i][0], e.text);
    cmdline_release(&l);
  }
}

/* The help at a width, and the length of its longest line. */
static char *help_at(int width, size_t *longest) {
  char *text = NULL;
  size_t n = 0;
  FILE *f = open_memstream(&text, &n);
  assert_non_null(f);
  cmdline_help(&command, width, f);
  assert_int_equal(fclose(f), 0);
  *longest = 0;
  for (const char *p = text; *p; p += strcspn(p, "\n"), p += *p == '\n') {
    if (strcspn(p, "\n") > *longest) *longest = strcspn(p, "\n");
  }
  return text;
}

static void test_help(void **state) {
  (void)state;
  size_t longest;
  char *text = help_at(60, &longest);
  assert_true(longest <= 60);
  assert_non_null(strstr(text, "Usage: pdmbooth-tui try ONE TWO [OPTION...]\n\nA command.\n"));
  assert_non_null(strstr(text, "\n  --flag                 a flag\n  --text TEXT            a text\n"));
  assert_non_null(strstr(text, "\n  --word red|green|blue  a word,"));
  assert_non_null(strstr(text, "\n  --an-option-with-a-long-name ITEM\n                         has a line of its own\n"));
  free(text);
  text = help_at(48, &longest);
  assert_true(longest <= 48);
  free(text);
}

/* What every command promises to parsing, help, manual and completions. */
static void check_table(const struct command_spec *c) {
  assert_true(*c->summary && *c->about && c->operands && c->run && command_find(c->name) == c);
  for (const struct option_spec *o = c->options; o && o->name; o++) {
    size_t n = strlen(o->help);
    if (!n || o->help[n - 1] == '.') fail_msg("%s --%s: the help is missing or ends with a full stop", c->name, o->name);
    if ((o->type == OPTION_FLAG) != (!o->value && !o->words)) fail_msg("%s --%s: what stands for its value?", c->name, o->name);
    if ((o->type == OPTION_WORD || o->type == OPTION_NAME) != (o->words != NULL)) fail_msg("%s --%s: words", c->name, o->name);
    if (o->offset >= c->options_size) fail_msg("%s --%s: outside the options struct", c->name, o->name);
    bool number = o->type == OPTION_WHOLE || o->type == OPTION_NUMBER || o->type == OPTION_SIZE || o->type == OPTION_BYTES;
    if (number != (o->max > o->min)) fail_msg("%s --%s: limits", c->name, o->name);
    if (option_find(c, (char[64]){'-', '-', 0}) == o) fail_msg("%s: an option without a name", c->name);
    for (const struct option_spec *p = c->options; p < o; p++) {
      if (!strcmp(p->name, o->name)) fail_msg("%s --%s stands twice", c->name, o->name);
      if (p->offset == o->offset) fail_msg("%s --%s and --%s have the same place", c->name, o->name, p->name);
    }
  }
}

static void test_commands(void **state) {
  (void)state;
  for (int i = 0; commands[i]; i++) check_table(commands[i]);
  for (int i = 0; i < SAMPLER_KINDS; i++) assert_string_equal(sampler_words[i], sampler_names[i]);
  assert_null(sampler_words[SAMPLER_KINDS]);
  assert_null(command_find("none"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_types), cmocka_unit_test(test_defaults), cmocka_unit_test(test_refused),
      cmocka_unit_test(test_help),  cmocka_unit_test(test_commands),
  };
  return cmocka_run_group_tests_name("cmdline", tests, NULL, NULL);
}
