/* What every frame has: names of the screens and the run under way above, keys or a message below. */
#include <math.h>
#include <string.h>

#include "base/thread.h"
#include "ui/app.h"

struct rect chrome_body(const struct app *a) {
  return rect_inset(canvas_rect(&a->canvas), 0, 1, 0, 1);
}

/* --- above ---------------------------------------------------------------------------------------------------------------------- */

static int tab_width(const struct app *a, int screen) {
  return a->canvas.w >= 70 ? (int)strlen(screens[screen]->title) + 4 : 3;
}

int chrome_tab_at(const struct app *a, int x) {
  int at = 0;
  for (int i = 0; i < SCREEN_COUNT; i++) {
    int w = tab_width(a, i);
    if (x >= at && x < at + w) return i;
    at += w;
  }
  return -1;
}

static void draw_tabs(struct app *a) {
  int x = 0;
  for (int i = 0; i < SCREEN_COUNT; i++) {
    int w = tab_width(a, i);
    enum style style = i == a->screen ? STYLE_SELECTED : STYLE_STATUS;
    canvas_field(&a->canvas, x, 0, w, ALIGN_LEFT, style, "");
    canvas_printf(&a->canvas, x + 1, 0, i == a->screen ? STYLE_SELECTED : STYLE_STATUS_KEY, "%d", i + 1);
    if (w > 3) canvas_text(&a->canvas, x + 3, 0, style, screens[i]->title);
    x += w;
  }
}

/* The run under way in a few words, at the right. */
static void draw_work(struct app *a) {
  char text[200] = "", queue[40] = "";
  const struct run_item *work = runs_working(&a->runs);
  const struct run_view *v = &a->runs.view;
  int left = 0;
  for (int i = 0; i < SCREEN_COUNT; i++) left += tab_width(a, i);
  if (a->queue.n) text_put(queue, sizeof queue, " +%d", a->queue.n);
  if (work && !strcmp(work->path, v->path) && *v->live.stage && v->live.total > 0) {
    text_put(text, sizeof text, "%s: %s %d%%%s", work->subject, work->state == RUN_PAUSED ? "paused," : v->live.stage,
             (int)(v->live.done * 100 / v->live.total), queue);
  } else if (work) {
    text_put(text, sizeof text, "%s: %s%s", work->subject, run_state_name(work->state), queue);
  } else {
    text_put(text, sizeof text, "%s", a->subject);
  }
  int w = text_columns(text, a->canvas.utf8) + 2;
  if (w > a->canvas.w - left) w = a->canvas.w - left;
  if (w > 2) canvas_field(&a->canvas, a->canvas.w - w, 0, w - 1, ALIGN_LEFT, STYLE_STATUS, text);
}

/* --- below ------------------------------------------------------------------------------------------------------------------------ */

static int draw_hints(struct app *a, const struct action *table, int x, int y) {
  char key[32];
  for (; table->name; table++) {
    if (!table->hint) continue;
    action_key(table, key, sizeof key);
    int w = text_columns(key, a->canvas.utf8) + 1 + text_columns(table->hint, a->canvas.utf8) + 2;
    if (x + w > a->canvas.w) continue;
    x += canvas_text(&a->canvas, x, y, STYLE_STATUS_KEY, key);
    canvas_text(&a->canvas, x + 1, y, STYLE_STATUS, table->hint);
    x += w - text_columns(key, a->canvas.utf8);
  }
  return x;
}

static void draw_bottom(struct app *a) {
  int y = a->canvas.h - 1;
  canvas_field(&a->canvas, 0, y, a->canvas.w, ALIGN_LEFT, STYLE_STATUS, "");
  if (*a->message && now_seconds() < a->message_until) {
    canvas_field(&a->canvas, 1, y, a->canvas.w - 2, ALIGN_LEFT, a->message_style, a->message);
    return;
  }
  int x = draw_hints(a, screens[a->screen]->actions, 1, y);
  draw_hints(a, global_actions, x, y);
}

void chrome_draw(struct app *a) {
  canvas_clear(&a->canvas);
  canvas_field(&a->canvas, 0, 0, a->canvas.w, ALIGN_LEFT, STYLE_STATUS, "");
  draw_tabs(a);
  draw_work(a);
  struct rect body = chrome_body(a), before = canvas_clip(&a->canvas, body);
  if (body.h < 6 || body.w < 30) {
    canvas_paragraph(&a->canvas, body, 0, STYLE_WARN, "The window is too small: 30 columns and 8 rows are the least.");
  } else {
    screens[a->screen]->draw(a, body);
  }
  canvas_unclip(&a->canvas, before);
  draw_bottom(a);
  overlay_draw(a);
}
