/* Help: made from the table of actions. */
#include <string.h>

#include "ui/app.h"
#include "ui/list.h"
#include "ui/screens/screens.h"

static struct list scroll;

static void move(int by) {
  scroll.first += by;
  if (scroll.first < 0) scroll.first = 0;
}

#define MOVE(name, by)                                    \
  static void name(struct app *a, const char *argument) { \
    (void)a;                                              \
    (void)argument;                                       \
    move(by);                                             \
  }
MOVE(up, -1)
MOVE(down, 1)
MOVE(page_up, -10)
MOVE(page_down, 10)

static const struct action actions[] = {
    {"help.up", "Up k", NULL, "Scroll up.", up},
    {"help.down", "Down j", "scroll", "Scroll down.", down},
    {"help.page-up", "PgUp", NULL, "Ten lines up.", page_up},
    {"help.page-down", "PgDn Space", NULL, "Ten lines down.", page_down},
    {0},
};

static void draw_action(struct app *a, struct rect r, int y, const struct action *x) {
  char text[64];
  if (y < r.y || y >= r.y + r.h) return;
  canvas_field(&a->canvas, r.x + 2, y, 14, ALIGN_LEFT, STYLE_KEY, action_keys(x, text, sizeof text));
  canvas_field(&a->canvas, r.x + 17, y, 22, ALIGN_LEFT, STYLE_DIM, x->name);
  canvas_field(&a->canvas, r.x + 40, y, r.w - 41, ALIGN_LEFT, STYLE_TEXT, x->help);
}

/* Lines from y on; returns the line behind them. */
static int draw_group(struct app *a, struct rect r, int y, const char *title, const struct action *table) {
  if (y >= r.y && y < r.y + r.h) canvas_text(&a->canvas, r.x + 1, y, STYLE_TITLE, title);
  y++;
  for (; table->name; table++) draw_action(a, r, y++, table);
  return y + 1;
}

static void draw(struct app *a, struct rect r) {
  int order[SCREEN_COUNT + 1], n = 0, lines = 0;
  if (a->screen_before != SCREEN_HELP) order[n++] = a->screen_before;
  order[n++] = -1;
  for (int i = 0; i < SCREEN_COUNT; i++) {
    if (i != a->screen_before) order[n++] = i;
  }
  for (int i = 0; i < n; i++) {
    for (const struct action *x = order[i] < 0 ? global_actions : screens[order[i]]->actions; x->name; x++) lines++;
    lines += 2;
  }
  if (scroll.first > lines - r.h) scroll.first = lines > r.h ? lines - r.h : 0;
  int y = r.y - scroll.first;
  for (int i = 0; i < n; i++)
    y = draw_group(a, r, y, order[i] < 0 ? "Everywhere" : screens[order[i]]->title,
                   order[i] < 0 ? global_actions : screens[order[i]]->actions);
  canvas_scrollbar(&a->canvas, r.x + r.w - 1, r.y, r.h, scroll.first, r.h, lines, STYLE_BORDER);
}

static void mouse(struct app *a, struct rect r, const struct input_event *ev) {
  (void)a;
  (void)r;
  if (ev->mouse == MOUSE_WHEEL_UP) move(-3);
  if (ev->mouse == MOUSE_WHEEL_DOWN) move(3);
}

static void enter(struct app *a) {
  (void)a;
  scroll.first = 0;
}

const struct screen help_screen = {.title = "Help", .actions = actions, .enter = enter, .draw = draw, .mouse = mouse};
