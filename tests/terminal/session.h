/* A program in a pseudo-terminal whose other side is the emulator: start, type, wait, look. */
#ifndef PDMBOOTH_TESTS_TERMINAL_SESSION_H
#define PDMBOOTH_TESTS_TERMINAL_SESSION_H

#include <sys/types.h>

#include "terminal/emulator.h"

struct session {
  struct emulator *screen;
  pid_t pid;       /* 0: none runs */
  int fd;          /* the pseudo-terminal's master */
  int status;      /* of waitpid, once it has ended */
  long long bytes; /* received so far */
  bool answers;    /* false: questions are left unanswered, as a dumb terminal does */
};

/* argv[0] is looked for in PATH; the environment is the caller's with TERM set to term. False: prints why to standard error. */
bool session_start(struct session *s, const struct emulator_options *options, const char *term, char *const *argv);
/* Ends the program if it still runs (SIGKILL) and frees. */
void session_end(struct session *s);
bool session_running(struct session *s); /* false once it has ended and everything it wrote has been read */

/* Reads what the program writes for at most ms; returns after the first output. False: nothing came. */
bool session_pump(struct session *s, int ms);
/* Until nothing has come for quiet ms and no synchronized update is open; at most limit ms. False: it never became quiet. */
bool session_settle(struct session *s, int quiet, int limit);
/* Until the text is (present) or is not on the screen; false after limit ms. */
bool session_expect(struct session *s, const char *text, bool present, int limit);

void session_type(struct session *s, const char *bytes, size_t n);
/* A key by name: a character, or Enter, Tab, S-Tab, Esc, Space, BackSpace, Delete, Insert, Up, Down, Left, Right, Home, End, PgUp, PgDn, F1 to F12,
   C-x, M-x. False: there is no such key. */
bool session_key(struct session *s, const char *name);
/* what: press, release, drag, click, right, wheel-up, wheel-down; from 1 at the upper left. Nothing is sent while the program has not asked for it.
   False: unknown. */
bool session_mouse(struct session *s, const char *what, int x, int y);
void session_resize(struct session *s, int w, int h);

#endif
