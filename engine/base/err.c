#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* XSI and GNU strerror_r differ; _Generic on the result would hide it worse than this pair does. */
static const char *errno_text(int number, char *buf, size_t n) {
#if defined(__GLIBC__) && defined(_GNU_SOURCE)
  return strerror_r(number, buf, n);
#else
  return strerror_r(number, buf, n) == 0 ? buf : "unknown error";
#endif
}

/* What files say goes into messages: it must not start a new line or command the terminal. */
void err_make_printable(char *text) {
  for (; *text != 0; text++)
    if ((unsigned char)*text < 0x20 || *text == 0x7f) *text = '?';
}

__attribute__((format(printf, 3, 0))) static bool set(struct err *e, enum err_code code, const char *fmt, va_list args) {
  if (e == NULL || e->code != ERR_OK) return false;
  e->code = code;
  vsnprintf(e->text, sizeof e->text, fmt, args);
  err_make_printable(e->text);
  return true;
}

bool err_set(struct err *e, enum err_code code, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  set(e, code, fmt, args);
  va_end(args);
  return false;
}

bool err_set_errno(struct err *e, enum err_code code, const char *fmt, ...) {
  int number = errno;
  va_list args;
  va_start(args, fmt);
  bool fresh = set(e, number == ENOMEM ? ERR_FIT : code, fmt, args);
  va_end(args);
  if (fresh) {
    char buf[128];
    e->number = number;
    size_t used = strlen(e->text);
    snprintf(e->text + used, sizeof e->text - used, ": %s", errno_text(number, buf, sizeof buf));
  }
  return false;
}

const char *err_meaning(enum err_code code) {
  switch (code) {
#define X(name, status, text) \
  case ERR_##name:            \
    return text;
    ERR_TABLE(X)
#undef X
  }
  return "unknown";
}
