#include "train/tell.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "formats/tokenizer.h"

void tell(const struct sink *s, enum log_level level, const char *fmt, ...) {
  if (!s || !s->log) return;
  char text[1024];
  va_list a;
  va_start(a, fmt);
  vsnprintf(text, sizeof text, fmt, a);
  va_end(a);
  err_make_printable(text);
  s->log(s->user, level, text);
}

void tell_lines(const struct sink *s, enum log_level level, const char *lines) {
  while (*lines) {
    size_t n = strcspn(lines, "\n");
    tell(s, level, "%.*s", (int)n, lines);
    lines += n + (lines[n] == '\n');
  }
}

void tell_progress(const struct sink *s, const char *stage, int64_t done, int64_t total) {
  if (s && s->progress) s->progress(s->user, stage, done, total);
}

/* How many bytes of text, at most max, end at the end of a character and, where that is not far, of a word. */
static int shown(const char *text, int max) {
  int n = (int)strnlen(text, (size_t)max + 1);
  if (n <= max) return n;
  for (n = max; n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80; n--) continue;
  for (int k = n; k > n - 20 && k > 0; k--)
    if (text[k] == ' ') return k;
  return n;
}

void tell_cut_prompts(const struct sink *s, const struct tokenizer *t, const char *const *prompt, int n) {
  enum { TOKENS = 77, HEAD = 60, TAIL = 300 };
  for (int i = 0; i < n; i++) {
    int32_t ids[TOKENS];
    int at = 0, lost = tokenizer_prompt(t, prompt[i], ids, TOKENS, &at);
    if (lost <= 0) continue;
    const char *rest = prompt[i] + at + strspn(prompt[i] + at, " ");
    int head = shown(prompt[i], HEAD), tail = shown(rest, TAIL);
    tell(s, LOG_WARN, "the prompt \"%.*s%s\" is %d token%s longer than the %d that the text encoder reads; cut off: \"%.*s%s\"", head,
         prompt[i], prompt[i][head] ? "..." : "", lost, lost == 1 ? "" : "s", TOKENS, tail, rest, rest[tail] ? "..." : "");
  }
}

int tell_stop_code(void *user) {
  const struct sink *s = user;
  enum engine_command c;
  while ((c = s && s->poll ? s->poll(s->user) : ENGINE_GO_ON) == ENGINE_PAUSE)
    nanosleep(&(struct timespec){.tv_nsec = 100 * 1000 * 1000}, NULL);
  return c == ENGINE_STOP_SIGINT ? ERR_SIGINT : c == ENGINE_STOP_SIGTERM ? ERR_SIGTERM : ERR_OK;
}

bool tell_goes_on(const struct sink *s, struct err *e) {
  int code = tell_stop_code((void *)s);
  return code == ERR_OK || err_set(e, (enum err_code)code, "stopped; continue with --resume");
}
