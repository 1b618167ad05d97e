/* --help from the tables: wrapped, options in columns. */
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cmdline.h"
#include "text.h"

enum { INDENT = 2, WIDEST_NAME = 27 };

int cmdline_width(void) {
  struct winsize w;
  if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) || !w.ws_col) return 80;
  return w.ws_col < 40 ? 40 : w.ws_col > 120 ? 120 : w.ws_col;
}

/* Bytes of the first n that go into a line of width columns: as many whole words as fit, at least one. */
static size_t line_length(const char *text, size_t n, size_t width) {
  if (n <= width) return n;
  size_t end = width;
  while (end > 0 && text[end] != ' ') end--;
  if (!end) end = strcspn(text, " ");
  return end < n ? end : n;
}

void cmdline_wrap(const char *text, int at, int width, FILE *out) {
  for (const char *p = text; *p;) {
    size_t paragraph = strcspn(p, "\n");
    size_t n = line_length(p, paragraph, (size_t)(width - at));
    fprintf(out, "%.*s\n", (int)n, p);
    p += n;
    p += strspn(p, " ");
    if (*p == '\n') p++;
    if (*p) fprintf(out, "%*s", at, "");
  }
}

/* name, then text from column at on; a name that reaches into it has a line of its own. */
static void print_item(const char *name, const char *text, int at, int width, FILE *out) {
  int used = fprintf(out, "%*s%s", INDENT, "", name);
  if (used + INDENT > at) {
    fputc('\n', out);
    used = 0;
  }
  fprintf(out, "%*s", at - used, "");
  cmdline_wrap(text, at, width, out);
}

const char *option_value(const struct option_spec *o, char *buf, size_t n) {
  if (o->value) return o->value;
  size_t w = 0;
  *buf = 0;
  for (int i = 0; o->words && o->words[i] && w < n; i++) w += (size_t)snprintf(buf + w, n - w, "%s%s", i ? "|" : "", o->words[i]);
  return buf;
}

/* "--device auto|cpu" */
static const char *option_text(const struct option_spec *o, char *buf, size_t n) {
  char words[256];
  const char *value = option_value(o, words, sizeof words);
  text_put(buf, n, "--%s%s%s", o->name, *value ? " " : "", value);
  return buf;
}

/* Column of the texts: after the longest name that is not overlong. */
static int text_column(const struct option_spec *options) {
  char buf[300];
  int longest = 0;
  for (const struct option_spec *o = options; o && o->name; o++) {
    int n = (int)strlen(option_text(o, buf, sizeof buf));
    if (n <= WIDEST_NAME && n > longest) longest = n;
  }
  return longest + 2 * INDENT;
}

void cmdline_help(const struct command_spec *c, int width, FILE *out) {
  char buf[300];
  const char *blank = *c->operands ? " " : "";
  fprintf(out, "Usage: pdmbooth-tui %s%s%s%s\n\n", c->name, blank, c->operands, c->options && c->options->name ? " [OPTION...]" : "");
  cmdline_wrap(c->about, 0, width, out);
  int at = text_column(c->options);
  for (const struct option_spec *o = c->options; o && o->name; o++) {
    if (o == c->options) fputc('\n', out);
    print_item(option_text(o, buf, sizeof buf), o->help, at, width, out);
  }
}

void cmdline_general_help(const struct command_spec *const *commands, int width, FILE *out) {
  char name[100];
  int at = 0;
  for (int i = 0; commands[i]; i++) {
    int n = (int)(strlen(commands[i]->name) + strlen(commands[i]->operands)) + 1;
    if (n > at && n <= WIDEST_NAME) at = n;
  }
  fputs(
      "Usage: pdmbooth-tui [--plain] [--attach RUN_DIR]\n"
      "       pdmbooth-tui --batch PROFILE.ini [OPTION...]\n"
      "       pdmbooth-tui COMMAND [OPERAND...] [OPTION...]\n"
      "       pdmbooth-tui --help | --version\n\n",
      out);
  cmdline_wrap(
      "Without a command, on a terminal, it opens the workstation: subjects, masks, prompts, training, comparison; ? shows the keys. --plain "
      "prints what changes line by line and reads actions as lines, --attach opens a run on the Train screen.",
      0, width, out);
  fputc('\n', out);
  for (int i = 0; commands[i]; i++) {
    text_put(name, sizeof name, "%s %s", commands[i]->name, commands[i]->operands);
    print_item(name, commands[i]->summary, at + 2 * INDENT, width, out);
  }
  fputc('\n', out);
  cmdline_wrap(
      "Each command has its own --help, such as pdmbooth-tui sample --help.\n"
      "Try it: pdmbooth-tui --batch embedded:demo trains the model inside the program on photographs inside the program.\n"
      "Manual: pdmbooth-tui(1), profiles: pdmbooth-profile(5).",
      0, width, out);
}
