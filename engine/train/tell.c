#include "train/tell.h"

#include <stdarg.h>
#include <stdio.h>

void tell(const struct sink *s, enum log_level level, const char *fmt, ...) {
  if (!s || !s->log) return;
  char text[1024];
  va_list a;
  va_start(a, fmt);
  vsnprintf(text, sizeof text, fmt, a);
  va_end(a);
  s->log(s->user, level, text);
}

void tell_progress(const struct sink *s, const char *stage, int64_t done, int64_t total) {
  if (s && s->progress) s->progress(s->user, stage, done, total);
}

int tell_stop_code(void *user) {
  const struct sink *s = user;
  enum engine_command c = s && s->poll ? s->poll(s->user) : ENGINE_GO_ON;
  return c == ENGINE_STOP_SIGINT ? ERR_SIGINT : c == ENGINE_STOP_SIGTERM ? ERR_SIGTERM : ERR_OK;
}

bool tell_goes_on(const struct sink *s, struct err *e) {
  int code = tell_stop_code((void *)s);
  return code == ERR_OK || err_set(e, (enum err_code)code, "stopped; continue with --resume");
}
