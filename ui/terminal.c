#include "ui/terminal.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { WAIT = 300, SIXEL = 4 }; /* milliseconds for the whole answer; the attribute that means sixel */

static long colours_of(const char *term, const char *colorterm) {
  if (!*term || !strcmp(term, "dumb")) return 0;
  if (!strcmp(colorterm, "truecolor") || !strcmp(colorterm, "24bit") || strstr(term, "direct")) return 1L << 24;
  if (strstr(term, "256")) return 256;
  return strstr(term, "mono") || !strncmp(term, "vt1", 3) || !strncmp(term, "vt2", 3) ? 0 : 8;
}

/* The answer up to its final c: "\033[?62;4;22c". Others that were under way come before it. */
static bool read_answer(char *buf, size_t n) {
  size_t have = 0;
  struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
  while (have + 1 < n && poll(&p, 1, WAIT) > 0) {
    if (read(STDIN_FILENO, buf + have, 1) != 1) break;
    buf[++have] = 0;
    if (buf[have - 1] == 'c' && strstr(buf, "\033[?")) return true;
  }
  return false;
}

static void take_attributes(struct terminal *t, const char *answer) {
  const char *p = strstr(answer, "\033[?") + 3;
  t->answered = true;
  for (; *p && *p != 'c'; p += *p == ';') {
    char *end;
    long v = strtol(p, &end, 10);
    if (end == p) return;
    t->sixel |= v == SIXEL;
    p = end;
  }
}

static void ask(struct terminal *t) {
  struct termios saved, raw;
  char answer[128] = "";
  if (tcgetattr(STDIN_FILENO, &saved)) return;
  raw = saved;
  raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  if (tcsetattr(STDIN_FILENO, TCSANOW, &raw)) return;
  if (write(STDOUT_FILENO, "\033[c", 3) == 3 && read_answer(answer, sizeof answer)) take_attributes(t, answer);
  tcsetattr(STDIN_FILENO, TCSANOW, &saved);
}

void terminal_look(struct terminal *t) {
  const char *term = getenv("TERM"), *colorterm = getenv("COLORTERM");
  struct winsize w;
  *t = (struct terminal){.there = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)};
  snprintf(t->name, sizeof t->name, "%s", term ? term : "");
  t->colours = colours_of(t->name, colorterm ? colorterm : "");
  if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &w)) {
    t->columns = w.ws_col;
    t->rows = w.ws_row;
  }
  if (t->there && strcmp(t->name, "dumb")) ask(t);
}
