/* Log: what the run has said, with a filter. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ui/app.h"
#include "ui/screens/screens.h"

struct log_state {
  char filter[200];
  bool warnings;
  int back; /* lines above the end */
};

static struct log_state *state(struct app *a) {
  if (!a->state[SCREEN_LOG]) a->state[SCREEN_LOG] = calloc(1, sizeof(struct log_state));
  return a->state[SCREEN_LOG];
}

static bool shown(const struct log_state *s, const char *line) {
  return (!s->warnings || strstr(line, " warning: ")) && (!*s->filter || strcasestr(line, s->filter));
}

static void scroll(struct app *a, int by) {
  struct log_state *s = state(a);
  if (s && (s->back += by) < 0) s->back = 0;
}

static void set_filter(struct app *a, const char *text) {
  struct log_state *s = state(a);
  if (!s) return;
  text_put(s->filter, sizeof s->filter, "%s", text);
  s->back = 0;
}

static void filter(struct app *a, const char *argument) {
  if (argument)
    set_filter(a, argument);
  else
    overlay_ask(a, "Only lines with", state(a) ? state(a)->filter : "", set_filter, NULL);
}

static void warnings(struct app *a, const char *argument) {
  (void)argument;
  if (state(a)) state(a)->warnings = !state(a)->warnings;
}

#define SCROLL(name, by)                                  \
  static void name(struct app *a, const char *argument) { \
    (void)argument;                                       \
    scroll(a, by);                                        \
  }
SCROLL(up, 1)
SCROLL(down, -1)
SCROLL(page_up, 10)
SCROLL(page_down, -10)
SCROLL(oldest, 1000000)
SCROLL(newest, -1000000)

static const struct action actions[] = {
    {"log.filter", "/", "filter", "Show only lines that hold a text.", filter},
    {"log.warnings", "w", "warnings", "Show only warnings; again: all.", warnings},
    {"log.up", "Up k", NULL, "Older lines.", up},
    {"log.down", "Down j", NULL, "Newer lines.", down},
    {"log.page-up", "PgUp", NULL, "Ten lines back.", page_up},
    {"log.page-down", "PgDn", NULL, "Ten lines on.", page_down},
    {"log.oldest", "Home g", NULL, "To the first line.", oldest},
    {"log.newest", "End G", NULL, "To the last line, which then stays in view.", newest},
    {0},
};

static void draw_line(struct app *a, struct rect r, int y, const char *line) {
  bool warning = strstr(line, " warning: ") != NULL;
  size_t stamp = strlen(line) > 20 && line[4] == '-' && line[13] == ':' ? 20 : 0;
  if (stamp) canvas_printf(&a->canvas, r.x, y, STYLE_DIM, "%.8s", line + 11);
  canvas_field(&a->canvas, r.x + (stamp ? 9 : 0), y, r.w - (stamp ? 10 : 1), ALIGN_LEFT, warning ? STYLE_WARN : STYLE_TEXT, line + stamp);
}

static void draw(struct app *a, struct rect r) {
  struct log_state *s = state(a);
  const struct run_view *v = &a->runs.view;
  char title[400];
  int n = 0;
  if (!s) return;
  text_put(title, sizeof title, "%s %s%s%s%s", v->subject, v->name, *s->filter ? ", lines with " : "", s->filter,
           s->warnings ? ", warnings" : "");
  struct rect in = canvas_box(&a->canvas, r, STYLE_BORDER, *v->path ? title : "No run yet");
  for (int i = 0; i < v->n_log; i++) n += shown(s, v->log[i]);
  if (s->back > n - in.h) s->back = n > in.h ? n - in.h : 0;
  int row = in.h - 1, skip = s->back;
  if (n < in.h) row = n - 1;
  for (int i = v->n_log; i-- > 0 && row >= 0;) {
    if (!shown(s, v->log[i]) || skip-- > 0) continue;
    draw_line(a, in, in.y + row--, v->log[i]);
  }
  canvas_scrollbar(&a->canvas, r.x + r.w - 1, in.y, in.h, n - in.h - s->back, in.h, n, STYLE_BORDER);
}

static void mouse(struct app *a, struct rect r, const struct input_event *ev) {
  (void)r;
  if (ev->mouse == MOUSE_WHEEL_UP) scroll(a, 3);
  if (ev->mouse == MOUSE_WHEEL_DOWN) scroll(a, -3);
}

const struct screen log_screen = {.title = "Log", .actions = actions, .draw = draw, .mouse = mouse};
