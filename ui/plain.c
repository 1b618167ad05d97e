#include "ui/plain.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/thread.h"

enum { COLUMNS = 80, ROWS = 24, SETTLE = 300 /* milliseconds */ };

/* The line without what only draws (lines, blocks, dots), for ears; false: nothing is left. */
static bool to_words(const char *line, char *out, size_t n) {
  size_t w = 0;
  uint32_t code;
  for (size_t bytes; (bytes = utf8_decode(line, &code)) > 0 && w + bytes + 1 < n; line += bytes) {
    bool drawing = (code >= 0x2500 && code < 0x25a0) || (code >= 0x2800 && code < 0x2900) || strchr("|+", (int)(code < 128 ? code : 'x'));
    if (drawing || code == ' ') {
      if (w && out[w - 1] != ' ') out[w++] = ' ';
    } else {
      memcpy(out + w, line, bytes);
      w += bytes;
    }
  }
  while (w && out[w - 1] == ' ') w--;
  out[w] = 0;
  return w > 0;
}

/* Prints the lines of the canvas that the frame before had not. */
static void print_changes(struct app *a, char **before) {
  chrome_draw(a);
  char *now = canvas_dump(&a->canvas);
  if (!now) return;
  for (const char *p = now; *p;) {
    char line[1024], framed[1028], words[1024];
    size_t n = strcspn(p, "\n");
    text_put(line, sizeof line, "%.*s", (int)n, p);
    text_put(framed, sizeof framed, "\n%s\n", line);
    bool same = *before && (strstr(*before, framed) || !strncmp(*before, framed + 1, strlen(framed + 1)));
    if (n && !same && to_words(line, words, sizeof words)) puts(words);
    p += n + (p[n] == '\n');
  }
  fflush(stdout);
  free(*before);
  *before = now;
  a->dirty = false;
}

static void press(struct app *a, int key, int modifiers) {
  app_event(a, &(struct input_event){.kind = INPUT_KEY, .key = key, .modifiers = modifiers});
}

/* A line that answers a question is its text; a line that names an action does that; else it is a key. */
static void take_line(struct app *a, char *line) {
  char name[64];
  int key, modifiers;
  line[strcspn(line, "\r\n")] = 0;
  size_t n = strcspn(line, " ");
  text_put(name, sizeof name, "%.*s", (int)n, line);
  const struct action *x = action_named(name);
  if (a->overlay.kind == OVERLAY_ASK || a->overlay.kind == OVERLAY_PALETTE) {
    if (*line) line_set(&a->overlay.line, line);
    app_event(a, &(struct input_event){.kind = INPUT_PASTE, .paste = ""});
    press(a, KEY_RETURN, 0);
  } else if (x && a->overlay.kind == OVERLAY_NONE) {
    x->run(a, line[n] ? line + n + 1 : NULL);
  } else if (!*line) {
    press(a, KEY_RETURN, 0);
  } else if (key_parse(line, &key, &modifiers)) {
    press(a, key, modifiers);
  } else {
    printf("%.60s is neither an action nor a key; \"help\" lists both\n", line);
  }
  app_changed(a);
}

static volatile sig_atomic_t ended;
static void on_end(int number) {
  ended = number;
}

/* False: standard input has ended. */
static bool take_input(struct app *a, char *line, size_t room) {
  struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
  if (poll(&p, 1, SETTLE) <= 0 || !p.revents) return true;
  size_t n = 0;
  char c;
  ssize_t k;
  while ((k = read(STDIN_FILENO, &c, 1)) == 1 && c != '\n') {
    if (n + 1 < room) line[n++] = c;
  }
  line[n] = 0;
  if (k <= 0 && !n) return false;
  take_line(a, line);
  return true;
}

int plain_loop(struct app *a, struct err *e) {
  char line[LINE_BYTES], *before = NULL;
  struct job_end end;
  setlocale(LC_ALL, "");
  setlocale(LC_NUMERIC, "C");
  a->canvas.utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
  if (!canvas_resize(&a->canvas, COLUMNS, ROWS)) return err_set(e, ERR_FAILED, "out of memory"), ERR_FAILED;
  signal(SIGTERM, on_end);
  signal(SIGHUP, on_end);
  a->dirty = true;
  while (!a->quit && !ended) {
    if (a->dirty) print_changes(a, &before);
    if (!take_input(a, line, sizeof line)) break;
    while (jobs_reap(&a->jobs, &end)) training_ended(a, &end);
    runs_notice(&a->runs);
    if (runs_update(&a->runs)) app_changed(a);
    training_look(a);
  }
  free(before);
  return ended ? 128 + (int)ended : a->status;
}
