#include "ui/term.h"

#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <ncurses.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "ui/description.h"

/* Everything on that is switched on, in the order that undoes it: end of a string, synchronized update, attributes, cursor, mouse, paste, screen. */
#define RESTORE "\033\\\033[?2026l\033[0m\033[?25h\033[?1002l\033[?1000l\033[?1006l\033[?2004l\033[?1049l"
static const char restore[] = RESTORE "\r", modes[] = "\033[?1000h\033[?1002h\033[?1006h\033[?2004h";

static struct termios cooked;
static volatile sig_atomic_t taken; /* the terminal is ours now */
static bool started;                /* ncurses is */
static SCREEN *screen;

void term_write(const void *bytes, size_t n) {
  const char *p = bytes;
  while (n > 0) {
    ssize_t k = write(STDOUT_FILENO, p, n);
    if (k < 0 && errno == EAGAIN) poll(&(struct pollfd){.fd = STDOUT_FILENO, .events = POLLOUT}, 1, 1000);
    if (k < 0 && errno != EINTR && errno != EAGAIN) return;
    if (k > 0) p += k, n -= (size_t)k;
  }
}

/* --- asking -------------------------------------------------------------------------------------------------------------------------- */

/* Background colour, colour 255, what became of a background in 24 bits, size of sixels, registers, cell, window, synchronized updates; device attributes
   last: whatever answers nothing else answers these. */
static const char queries[] =
    "\033]11;?\033\\\033]4;255;?\033\\\033[48;2;1;2;3m\033P$qm\033\\\033[0m\033[?2;1;0S\033[?2;4;0S\033[?1;1;0S\033[16t\033[14t\033[?2026$p\033[c";

static bool has_parameter(const char *p, const char *end, int wanted) {
  while (p < end) {
    char *next;
    if (strtol(p, &next, 10) == wanted) return true;
    p = next == p ? p + 1 : next;
    while (p < end && *p == ';') p++;
  }
  return false;
}

/* One answer, from its CSI to its final byte. */
static void read_answer(const char *a, const char *end, struct term_facts *f) {
  int x, y, v;
  switch (*end) {
    case 'c': /* the first parameter is the terminal's level; 4 among the others: sixel */
      if (a[2] == '?' && memchr(a, ';', (size_t)(end - a))) f->sixel |= has_parameter(memchr(a, ';', (size_t)(end - a)), end, 4);
      break;
    case 'S':
      if (sscanf(a, "\033[?1;0;%dS", &v) == 1 && v > 1) f->registers = v;
      if (sscanf(a, "\033[?2;0;%d;%dS", &x, &y) == 2 && x > 0 && y > 0) f->max_w = x, f->max_h = y;
      break;
    case 't':
      if (sscanf(a, "\033[6;%d;%dt", &y, &x) == 2 && x > 0 && y > 0 && x < 200 && y < 200) f->cell_h = y, f->cell_w = x;
      break;
    case 'y':
      if (sscanf(a, "\033[?2026;%d$y", &v) == 1) f->sync = v == 1 || v == 2;
      break;
    default:
      break;
  }
}

/* OSC 11 ; rgb:RRRR/GGGG/BBBB */
static void read_background(const char *text, size_t n, struct term_facts *f) {
  static const char begin[] = "\033]11;rgb:";
  const char *at = memmem(text, n, begin, sizeof begin - 1);
  char copy[32] = "";
  unsigned r, g, b;
  if (!at) return;
  at += sizeof begin - 1;
  size_t left = n - (size_t)(at - text);
  memcpy(copy, at, left < sizeof copy - 1 ? left : sizeof copy - 1);
  if (sscanf(copy, "%2x%*[0-9a-fA-F]/%2x%*[0-9a-fA-F]/%2x", &r, &g, &b) == 3 || sscanf(copy, "%2x/%2x/%2x", &r, &g, &b) == 3)
    f->light = 299 * r + 587 * g + 114 * b > 128000;
}

/* The attributes as DECRQSS tells them, "DCS 1 $ r 0;48:2::1:2:3 m": whether the background is the one that was set. A terminal without 24 bits has taken another one. */
static bool kept_background(const char *text, size_t n) {
  static const char begin[] = "\033P1$r";
  const char *at = memmem(text, n, begin, sizeof begin - 1), *end = text + n;
  int have[8], k = 0;
  bool within = false;
  for (at = at ? at + sizeof begin - 1 : end; at < end && *at != 'm' && *at != 27 && k < 8;) {
    char *next;
    long v = strtol(at, &next, 10);
    if (next == at) {
      at++;
      continue;
    }
    at = next;
    if (within) have[k++] = (int)v;
    within |= v == 48;
  }
  const int *rgb = k == 4 ? have + 1 : have + 2; /* a colour space may stand before the three */
  return (k == 4 || k == 5) && have[0] == 2 && rgb[0] == 1 && rgb[1] == 2 && rgb[2] == 3;
}

void term_read_answers(const char *text, size_t n, struct term_facts *f) {
  static const char palette[] = "\033]4;255;rgb";
  const char *end = text + n;
  read_background(text, n, f);
  f->palette |= memmem(text, n, palette, sizeof palette - 1) != NULL;
  f->direct |= kept_background(text, n);
  for (const char *a = text; (a = memchr(a, 27, (size_t)(end - a))) && end - a > 3;) {
    const char *last = a + 2;
    if (a[1] != '[') {
      a++;
      continue;
    }
    while (last < end && (*last < '@' || *last > '~')) last++;
    if (last == end) return;
    read_answer(a, last, f);
    a = last;
  }
}

static bool fenced(const char *text, size_t n) {
  for (size_t i = 0; i + 3 < n; i++) {
    size_t j = i + 3;
    if (memcmp(text + i, "\033[?", 3)) continue;
    while (j < n && ((text[j] >= '0' && text[j] <= '9') || text[j] == ';')) j++;
    if (j < n && text[j] == 'c') return true;
  }
  return false;
}

/* Sends the queries and waits for the answer to the last of them, a second at most without any. The terminal is raw. */
static void ask(struct term_facts *f) {
  char text[1024];
  size_t n = 0;
  struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
  term_write(queries, sizeof queries - 1);
  while (n < sizeof text - 1 && !fenced(text, n) && poll(&p, 1, 1000) > 0) {
    ssize_t k = read(STDIN_FILENO, text + n, sizeof text - 1 - n);
    if (k <= 0) break;
    n += (size_t)k;
  }
  text[n] = 0;
  term_read_answers(text, n, f);
}

/* Where the largest picture is as large as the window, it grows with it. */
static void cell_from_window(struct term_facts *f) {
  struct winsize w;
  if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) && w.ws_xpixel && w.ws_col && w.ws_row && w.ws_ypixel) {
    f->cell_w = w.ws_xpixel / w.ws_col;
    f->cell_h = w.ws_ypixel / w.ws_row;
    if (f->max_is_window) f->max_w = w.ws_xpixel, f->max_h = w.ws_ypixel;
    f->max_is_window = f->max_w == w.ws_xpixel && f->max_h == w.ws_ypixel;
  }
}

/* NO_COLOR: no-color.org. What COLORTERM says has entered the description (description_begin). */
static int count_colours(void) {
  const char *no = getenv("NO_COLOR");
  if ((no && *no) || !has_colors()) return 1;
  return COLORS >= 1 << 24 ? 1 << 24 : COLORS >= 256 ? 256 : COLORS >= 16 ? 16 : 8;
}

/* --- taking and giving back --------------------------------------------------------------------------------------------------------- */

static void make_raw(void) {
  struct termios raw = cooked;
  cfmakeraw(&raw);
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

/* What has come and nobody read: late answers must not reach the shell. */
static void drain(void) {
  char text[256];
  struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
  while (poll(&p, 1, 0) > 0 && p.revents & POLLIN && read(STDIN_FILENO, text, sizeof text) > 0) continue;
}

/* Only what may be called in a signal handler. */
static void on_fatal(int number) {
  static const char text[] = "pdmbooth-tui: a fatal signal; the terminal is restored\r\n";
  if (taken) {
    taken = 0;
    ssize_t ignored = write(STDOUT_FILENO, restore, sizeof restore - 1);
    tcsetattr(STDIN_FILENO, TCSANOW, &cooked);
    ignored = write(STDOUT_FILENO, text, sizeof text - 1);
    (void)ignored;
  }
  signal(number, SIG_DFL);
  raise(number);
}

static void catch_fatal(void) {
  static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGQUIT};
  static char stack[32768];
  sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
  struct sigaction a = {.sa_handler = on_fatal, .sa_flags = SA_ONSTACK | SA_RESETHAND | SA_NODEFER};
  for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) sigaction(fatal[i], &a, NULL);
}

/* tmux built with sixels says that it shows them whatever is outside, and writes a box in their place where the terminal there cannot. It knows which. */
static bool shown_outside(void) {
  char features[512] = "";
  FILE *f = popen("tmux display-message -p '#{client_termfeatures}' 2>/dev/null", "re");
  if (!f) return true;
  bool told = fgets(features, sizeof features, f) && *features != '\n';
  return pclose(f) != 0 || !told || strstr(features, "sixel");
}

static bool start_ncurses(const struct term_facts *f, struct err *e) {
  char name[128];
  const char *type = description_type(f->palette, name, sizeof name);
  description_begin(type, f->direct);
  screen = newterm(type, stdout, stdin);
  description_end();
  if (!screen)
    return err_set(e, ERR_USAGE, "the terminal type %s is not known here; set TERM, or use --plain", type && *type ? type : "(none)");
  set_term(screen);
  nonl();
  if (has_colors()) {
    start_color();
    use_default_colors();
  }
  curs_set(0);
  return started = true;
}

bool term_open(struct term_facts *f, struct err *e) {
  *f = (struct term_facts){.registers = 256, .cell_w = 10, .cell_h = 20, .colours = 1};
  if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &cooked))
    return err_set(e, ERR_USAGE, "standard input and output are not a terminal; use --batch PROFILE.ini, or --plain");
  setlocale(LC_ALL, "");
  setlocale(LC_NUMERIC, "C"); /* numbers in files have a point */
  f->utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
  f->tmux = getenv("TMUX") != NULL;
  catch_fatal();
  make_raw();
  taken = 1;
  ask(f);
  if (f->tmux && f->sixel) f->sixel = shown_outside();
  cell_from_window(f);
  tcsetattr(STDIN_FILENO, TCSADRAIN, &cooked); /* what ncurses shall find and give back */
  if (!start_ncurses(f, e)) {
    term_close();
    return false;
  }
  make_raw();
  f->colours = count_colours();
  term_write(modes, sizeof modes - 1);
  return true;
}

static void leave(void) {
  if (!taken) return;
  if (started) endwin();
  fflush(stdout);
  term_write(restore, sizeof restore - 1);
  drain();
  tcsetattr(STDIN_FILENO, TCSADRAIN, &cooked);
  taken = 0;
}

void term_close(void) {
  leave();
  if (screen) delscreen(screen);
  screen = NULL;
  started = false;
}

static void enter(void) {
  taken = 1;
  make_raw();
  term_write("\033[?1049h\033[?25l", 14);
  term_write(modes, sizeof modes - 1);
  clearok(curscr, TRUE);
}

void term_retake(void) {
  if (started) enter();
}

void term_suspend(void) {
  sigset_t stop, before;
  leave();
  sigemptyset(&stop);
  sigaddset(&stop, SIGTSTP);
  signal(SIGTSTP, SIG_DFL);
  pthread_sigmask(SIG_UNBLOCK, &stop, &before);
  kill(0, SIGTSTP); /* the whole job, as the terminal would */
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (started) enter();
}

void term_resized(struct term_facts *f, int *columns, int *rows) {
  struct winsize w = {0};
  *columns = 80, *rows = 24;
  if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) && w.ws_col && w.ws_row) *columns = w.ws_col, *rows = w.ws_row;
  cell_from_window(f);
  if (started && is_term_resized(*rows, *columns)) resizeterm(*rows, *columns);
  if (started) clearok(curscr, TRUE);
}

bool term_divert_errors(const char *path) {
  int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  bool ok = dup2(fd, STDERR_FILENO) >= 0;
  close(fd);
  return ok;
}

int term_keep_errors(void) {
  return fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
}

void term_restore_errors(int kept) {
  if (kept < 0) return;
  dup2(kept, STDERR_FILENO);
  close(kept);
}
