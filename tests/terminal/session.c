#include "terminal/session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static struct winsize size_of(const struct emulator_options *o, int w, int h) {
  return (struct winsize){(unsigned short)h, (unsigned short)w, (unsigned short)(w * o->cell.w), (unsigned short)(h * o->cell.h)};
}

bool session_start(struct session *s, const struct emulator_options *options, const char *term, char *const *argv) {
  *s = (struct session){.fd = -1, .answers = true};
  s->screen = emulator_new(options);
  if (s->screen == NULL) return false;
  struct winsize size = size_of(options, options->w, options->h);
  s->pid = forkpty(&s->fd, NULL, NULL, &size);
  if (s->pid == 0) {
    setenv("TERM", term, 1);
    execvp(argv[0], argv);
    perror(argv[0]);
    _exit(127);
  }
  if (s->pid < 0) perror("forkpty");
  if (s->pid < 0) s->pid = 0;
  if (s->fd >= 0) fcntl(s->fd, F_SETFL, O_NONBLOCK);
  if (s->fd >= 0) fcntl(s->fd, F_SETFD, FD_CLOEXEC);
  return s->pid > 0;
}

void session_end(struct session *s) {
  if (s->pid > 0) {
    kill(s->pid, SIGKILL);
    waitpid(s->pid, &s->status, 0);
  }
  if (s->fd >= 0) close(s->fd);
  emulator_free(s->screen);
  *s = (struct session){.fd = -1};
}

/* Blocks on a full pseudo-terminal, reading meanwhile: the program may be writing. */
static void write_all(struct session *s, const char *bytes, size_t n) {
  while (n > 0 && s->fd >= 0) {
    ssize_t k = write(s->fd, bytes, n);
    if (k > 0) {
      bytes += k;
      n -= (size_t)k;
    } else if (k < 0 && errno == EAGAIN) {
      session_pump(s, 10);
    } else if (!(k < 0 && errno == EINTR)) {
      return;
    }
  }
}

static void give_answers(struct session *s) {
  char bytes[1024];
  for (size_t n; (n = emulator_answers(s->screen, bytes, sizeof bytes)) > 0;) {
    if (s->answers) write_all(s, bytes, n);
  }
}

bool session_pump(struct session *s, int ms) {
  static char bytes[65536];
  struct pollfd p = {.fd = s->fd, .events = POLLIN};
  if (poll(&p, 1, ms) <= 0 || s->fd < 0) return false; /* without a descriptor poll only waits */
  ssize_t n = read(s->fd, bytes, sizeof bytes);
  if (n > 0) {
    s->bytes += n;
    emulator_feed(s->screen, bytes, (size_t)n);
    give_answers(s);
    return true;
  }
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  close(s->fd); /* the other side has closed */
  s->fd = -1;
  return false;
}

bool session_running(struct session *s) {
  if (s->pid <= 0) return false;
  if (waitpid(s->pid, &s->status, WNOHANG) == 0) return true;
  while (session_pump(s, 20)) continue;
  s->pid = 0;
  return false;
}

bool session_settle(struct session *s, int quiet, int limit) {
  long long start = now_ms(), last = start;
  while (now_ms() - last < quiet || emulator_modes(s->screen).in_update) {
    if (now_ms() - start > limit || s->fd < 0) return s->fd < 0;
    if (session_pump(s, 20)) last = now_ms();
  }
  return true;
}

bool session_expect(struct session *s, const char *text, bool present, int limit) {
  long long start = now_ms();
  int x, y;
  for (;;) {
    bool open = emulator_modes(s->screen).in_update;
    if (!open && emulator_contains(s->screen, text, &x, &y) == present) return true;
    if (now_ms() - start > limit) return false;
    if (!session_pump(s, 50) && s->fd < 0) return emulator_contains(s->screen, text, &x, &y) == present;
  }
}

void session_type(struct session *s, const char *bytes, size_t n) {
  write_all(s, bytes, n);
}

/* Cursor keys differ by mode. */
static bool cursor_key(struct session *s, const char *name) {
  static const struct {
    const char *name;
    char final;
  } keys[] = {{"Up", 'A'}, {"Down", 'B'}, {"Right", 'C'}, {"Left", 'D'}, {"Home", 'H'}, {"End", 'F'}};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    if (strcmp(name, keys[i].name) != 0) continue;
    char bytes[3] = {'\033', emulator_modes(s->screen).cursor_keys ? 'O' : '[', keys[i].final};
    write_all(s, bytes, sizeof bytes);
    return true;
  }
  return false;
}

bool session_key(struct session *s, const char *name) {
  static const struct {
    const char *name, *bytes;
  } keys[] = {{"Enter", "\r"},       {"Tab", "\t"},         {"S-Tab", "\033[Z"},   {"Esc", "\033"},     {"Space", " "},
              {"BackSpace", "\177"}, {"Delete", "\033[3~"}, {"Insert", "\033[2~"}, {"PgUp", "\033[5~"}, {"PgDn", "\033[6~"},
              {"F1", "\033OP"},      {"F2", "\033OQ"},      {"F3", "\033OR"},      {"F4", "\033OS"},    {"F5", "\033[15~"},
              {"F6", "\033[17~"},    {"F7", "\033[18~"},    {"F8", "\033[19~"},    {"F9", "\033[20~"},  {"F10", "\033[21~"},
              {"F11", "\033[23~"},   {"F12", "\033[24~"}};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    if (strcmp(name, keys[i].name) != 0) continue;
    write_all(s, keys[i].bytes, strlen(keys[i].bytes));
    return true;
  }
  if (cursor_key(s, name)) return true;
  size_t n = strlen(name);
  if (n == 3 && strncmp(name, "C-", 2) == 0) {
    write_all(s, &(char){(char)(name[2] & 0x1F)}, 1);
  } else if (n == 3 && strncmp(name, "M-", 2) == 0) {
    write_all(s, (char[]){'\033', name[2]}, 2);
  } else if (n == 1 || (n > 1 && n <= 4 && (unsigned char)name[0] >= 0xC0)) {
    write_all(s, name, n);
  } else {
    return false;
  }
  return true;
}

static void send_mouse(struct session *s, int button, int x, int y, bool release) {
  char bytes[64];
  struct emulator_modes modes = emulator_modes(s->screen);
  if (!modes.mouse) return;
  int n = modes.mouse_sgr ? snprintf(bytes, sizeof bytes, "\033[<%d;%d;%d%c", button, x, y, release ? 'm' : 'M')
                          : snprintf(bytes, sizeof bytes, "\033[M%c%c%c", 32 + (release ? 3 : button), 32 + x, 32 + y);
  write_all(s, bytes, (size_t)n);
}

bool session_mouse(struct session *s, const char *what, int x, int y) {
  static const struct {
    const char *what;
    int button;
    bool press, release;
  } kinds[] = {{"press", 0, true, false}, {"release", 0, false, true},   {"drag", 32, true, false},      {"click", 0, true, true},
               {"right", 2, true, true},  {"wheel-up", 64, true, false}, {"wheel-down", 65, true, false}};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (strcmp(what, kinds[i].what) != 0) continue;
    if (kinds[i].press) send_mouse(s, kinds[i].button, x, y, false);
    if (kinds[i].release) send_mouse(s, kinds[i].button, x, y, true);
    return true;
  }
  return false;
}

void session_resize(struct session *s, int w, int h) {
  struct winsize before;
  if (s->fd < 0 || ioctl(s->fd, TIOCGWINSZ, &before) != 0) return;
  struct emulator_options o = {.cell = {before.ws_xpixel / before.ws_col, before.ws_ypixel / before.ws_row}};
  struct winsize size = size_of(&o, w, h);
  emulator_resize(s->screen, w, h);
  ioctl(s->fd, TIOCSWINSZ, &size);
}
