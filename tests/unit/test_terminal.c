/* Asking a terminal what it can do: pseudo-terminals that answer, answer otherwise, or say nothing. */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "ui/terminal.h"

/* In the child: input and output are the terminal; the result goes through the pipe. */
static void look(const char *slave, int result) {
  int fd = open(slave, O_RDWR);
  const struct winsize size = {.ws_row = 30, .ws_col = 100};
  struct termios before, after;
  struct terminal t;
  if (fd < 0 || dup2(fd, STDIN_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0 || ioctl(fd, TIOCSWINSZ, &size) || tcgetattr(fd, &before))
    _exit(1);
  terminal_look(&t);
  if (tcgetattr(fd, &after) || before.c_lflag != after.c_lflag) _exit(2);
  if (write(result, &t, sizeof t) != sizeof t) _exit(3);
  _exit(0);
}

/* What terminal_look finds on a terminal of that name that gives the answer to its question. */
static struct terminal on_terminal(const char *name, const char *answer) {
  struct terminal t = {0};
  char asked[16] = "";
  int result[2], status, master = posix_openpt(O_RDWR | O_NOCTTY);
  assert_true(master >= 0 && !grantpt(master) && !unlockpt(master) && !pipe(result));
  setenv("TERM", name, 1);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (!pid) look(ptsname(master), result[1]);
  struct pollfd p = {.fd = master, .events = POLLIN};
  if (strcmp(name, "dumb") && poll(&p, 1, 10000) > 0 && read(master, asked, sizeof asked - 1) > 0) {
    assert_string_equal(asked, "\033[c");
    assert_int_equal(write(master, answer, strlen(answer)), strlen(answer));
  }
  assert_int_equal(read(result[0], &t, sizeof t), sizeof t);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
  close(master);
  close(result[0]);
  close(result[1]);
  return t;
}

static void test_sixel(void **state) {
  (void)state;
  unsetenv("COLORTERM");
  struct terminal t = on_terminal("xterm-256color", "\033[?62;4;22c");
  assert_true(t.there && t.answered && t.sixel && t.colours == 256 && t.columns == 100 && t.rows == 30);
  assert_string_equal(t.name, "xterm-256color");
  t = on_terminal("xterm", "\033[?64;14;42;44c");
  assert_true(t.answered && !t.sixel && t.colours == 8);
  t = on_terminal("foot", "key\033[?4c"); /* what was typed comes before it */
  assert_true(t.answered && t.sixel);
  setenv("COLORTERM", "truecolor", 1);
  t = on_terminal("vt100", "\033[?1;0c");
  assert_true(t.answered && !t.sixel && t.colours == 1 << 24);
}

static void test_silent(void **state) {
  (void)state;
  unsetenv("COLORTERM");
  struct terminal t = on_terminal("vt100", "");
  assert_true(t.there && !t.answered && !t.sixel && !t.colours);
  t = on_terminal("dumb", "");
  assert_true(t.there && !t.answered && !t.colours);
}

static void test_none(void **state) {
  (void)state;
  struct terminal t;
  int null = open("/dev/null", O_RDWR), saved = dup(STDIN_FILENO);
  assert_true(null >= 0 && saved >= 0 && dup2(null, STDIN_FILENO) == STDIN_FILENO);
  setenv("TERM", "xterm-direct", 1);
  terminal_look(&t);
  assert_true(!t.there && !t.answered && t.colours == 1 << 24);
  dup2(saved, STDIN_FILENO);
  close(saved);
  close(null);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_sixel), cmocka_unit_test(test_silent), cmocka_unit_test(test_none)};
  return cmocka_run_group_tests_name("terminal", tests, NULL, NULL);
}
