/* Errors: one table gives code, process exit status and meaning. */
#ifndef PDMBOOTH_BASE_ERR_H
#define PDMBOOTH_BASE_ERR_H

#include <stdbool.h>

/* X(name, exit status, meaning); the man page's table is made from this one. */
#define ERR_TABLE(X)                                                \
  X(OK, 0, "done")                                                  \
  X(FAILED, 1, "failed")                                            \
  X(USAGE, 2, "wrong usage or profile")                             \
  X(INPUT, 3, "an input is missing or unreadable")                  \
  X(FIT, 4, "does not fit this machine, or the device is unusable") \
  X(NUMERIC, 5, "numerical failure")                                \
  X(SIGINT, 130, "stopped by SIGINT, can be resumed")               \
  X(SIGTERM, 143, "stopped by SIGTERM, can be resumed")

enum err_code {
#define X(name, status, text) ERR_##name = status,
  ERR_TABLE(X)
#undef X
};

/* Filled by the function that failed: one sentence saying what, where and what to do. Owned by the caller, zeroed before use. */
struct err {
  enum err_code code;
  char text[1024];
  int number; /* errno of the call that failed, 0: none (fs_is_full tells a full disk by it) */
};

/* Sets *e (e may be NULL) and returns false, so that "return err_set(...)" ends a function. The first error stays: a later call is ignored.
   Control characters in the message become question marks. */
bool err_set(struct err *e, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Appends errno's text after the message and keeps its number. Whatever could not be done for want of memory (ENOMEM) has the code ERR_FIT. */
bool err_set_errno(struct err *e, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Control characters of a text that is shown to question marks, in place. */
void err_make_printable(char *text);
/* Static text: the meaning of a code in ERR_TABLE. */
const char *err_meaning(enum err_code code);

#endif
