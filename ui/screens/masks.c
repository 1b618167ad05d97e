/* Masks: each photograph with its mask, to be looked at and corrected. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ui/screens/masks.h"
#include "ui/screens/screens.h"

struct masks_state *masks_state(struct app *a) {
  if (!a->state[SCREEN_MASKS]) {
    struct masks_state *s = calloc(1, sizeof *s);
    if (s) s->brush = 1.5, s->elements = -1;
    a->state[SCREEN_MASKS] = s;
  }
  return a->state[SCREEN_MASKS];
}

/* --- changing ------------------------------------------------------------------------------------------------------------------------ */

static struct mask_edit *edit(struct app *a) {
  struct masks_state *s = masks_state(a);
  if (!s || !*s->opened) return NULL;
  s->stale = true;
  s->elements = -1;
  return &s->edit;
}

static void invert(struct app *a, const char *argument) {
  struct mask_edit *m = edit(a);
  (void)argument;
  if (!m) return;
  mask_remember(m);
  mask_invert(m);
}

static void grow_by(struct app *a, int sign) {
  struct mask_edit *m = edit(a);
  if (!m) return;
  mask_remember(m);
  mask_grow(m, sign * (m->mask.w / 128 + 1));
}

static void grow(struct app *a, const char *argument) {
  (void)argument;
  grow_by(a, 1);
}

static void shrink(struct app *a, const char *argument) {
  (void)argument;
  grow_by(a, -1);
}

static void undo(struct app *a, const char *argument) {
  struct mask_edit *m = edit(a);
  (void)argument;
  if (m && !mask_undo(m)) app_say(a, "nothing to undo");
}

void masks_to_pixels(const struct masks_state *s, int x, int y, double *px, double *py, double *radius) {
  *px = (x + 0.5) / s->cells.w * s->photograph.w;
  *py = (y + 0.5) / s->cells.h * s->photograph.h;
  *radius = s->brush / s->cells.w * s->photograph.w;
}

static void paint(struct app *a, bool on) {
  struct masks_state *s = masks_state(a);
  double x, y, radius;
  struct mask_edit *m = edit(a);
  if (!m || s->cells.w < 1 || s->x < 0) return;
  masks_to_pixels(s, s->x, s->y, &x, &y, &radius);
  mask_remember(m);
  mask_brush(m, x, y, radius, on);
}

static void brush(struct app *a, const char *argument) {
  (void)argument;
  paint(a, true);
}

static void erase(struct app *a, const char *argument) {
  (void)argument;
  paint(a, false);
}

static void larger(struct app *a, const char *argument) {
  (void)argument;
  if (masks_state(a) && masks_state(a)->brush < 20) masks_state(a)->brush *= 1.5, masks_state(a)->stale = true;
}

static void smaller(struct app *a, const char *argument) {
  (void)argument;
  if (masks_state(a) && masks_state(a)->brush > 0.4) masks_state(a)->brush /= 1.5, masks_state(a)->stale = true;
}

static void move(struct app *a, int dx, int dy) {
  struct masks_state *s = masks_state(a);
  if (!s || s->cells.w < 1) return;
  if (s->x < 0) s->x = s->cells.w / 2, s->y = s->cells.h / 2;
  if (s->x + dx >= 0 && s->x + dx < s->cells.w) s->x += dx;
  if (s->y + dy >= 0 && s->y + dy < s->cells.h) s->y += dy;
  s->stale = true;
}

#define MOVE(name, dx, dy)                                \
  static void name(struct app *a, const char *argument) { \
    (void)argument;                                       \
    move(a, dx, dy);                                      \
  }
MOVE(left, -1, 0)
MOVE(right, 1, 0)
MOVE(up, 0, -1)
MOVE(down, 0, 1)

static int wanted; /* row that waits for the answer */

static void go_to(struct app *a) {
  masks_state(a)->list.selected = wanted;
  masks_open(a);
}

static void save_or_not(struct app *a, int how) {
  if (how == 0) masks_save(a, NULL);
  if (how == 1) masks_close(masks_state(a));
  if (how < 2) go_to(a);
}

static void select_row(struct app *a, int row) {
  static const struct choice choices[] = {{"s", "save"}, {"x", "throw the changes away"}, {"Esc", "stay with this photograph"}};
  struct masks_state *s = masks_state(a);
  const struct subject *x = app_subject(a);
  if (!s || !x || row < 0 || row >= x->photographs) return;
  wanted = row;
  if (s->edit.changed)
    overlay_choose(a, "Mask", "The mask has been changed and not been saved.", choices, 3, save_or_not);
  else
    go_to(a);
}

static void next(struct app *a, const char *argument) {
  (void)argument;
  if (masks_state(a)) select_row(a, masks_state(a)->list.selected + 1);
}

static void previous(struct app *a, const char *argument) {
  (void)argument;
  if (masks_state(a)) select_row(a, masks_state(a)->list.selected - 1);
}

static const struct action actions[] = {
    {"mask.next", "n ]", "next", "The next photograph.", next},
    {"mask.previous", "N [", NULL, "The photograph before.", previous},
    {"mask.save", "s Enter", "accept", "Keep the mask with the subject; files beside the photographs are never changed.", masks_save},
    {"mask.derive", "r", "derive", "Derive the masks that are not accepted anew, after those that are.", masks_derive},
    {"mask.brush", "Space", "paint", "Add to the mask at the cursor; also: drag with the left button.", brush},
    {"mask.erase", "e", "erase", "Take away at the cursor; also: drag with the right button.", erase},
    {"mask.undo", "u", "undo", "Take the last change back.", undo},
    {"mask.grow", "+ =", "grow", "The mask a little larger all round.", grow},
    {"mask.shrink", "-", "shrink", "The mask a little smaller all round.", shrink},
    {"mask.invert", "i", "invert", "What was the subject is the background, and the other way.", invert},
    {"mask.forget", "z", NULL, "The mask is no longer an accepted one; it is kept as .bak.", masks_forget},
    {"mask.larger-brush", ">", NULL, "A larger brush.", larger},
    {"mask.smaller-brush", "<", NULL, "A smaller brush.", smaller},
    {"mask.left", "Left h", NULL, "The cursor to the left.", left},
    {"mask.right", "Right l", NULL, "The cursor to the right.", right},
    {"mask.up", "Up k", NULL, "The cursor up.", up},
    {"mask.down", "Down j", NULL, "The cursor down.", down},
    {0},
};

/* --- mouse ----------------------------------------------------------------------------------------------------------------------------- */

static void drag(struct app *a, const struct input_event *ev) {
  struct masks_state *s = masks_state(a);
  double x, y, radius;
  struct mask_edit *m = edit(a);
  if (!m || s->cells.w < 1) return;
  masks_to_pixels(s, ev->x - s->cells.x, ev->y - s->cells.y, &x, &y, &radius);
  if (ev->mouse == MOUSE_PRESS) mask_remember(m);
  if (ev->mouse == MOUSE_PRESS || !s->dragging) s->last_x = x, s->last_y = y;
  mask_line(m, s->last_x, s->last_y, x, y, radius, ev->button != 3);
  s->last_x = x;
  s->last_y = y;
  s->dragging = true;
}

static void mouse(struct app *a, struct rect r, const struct input_event *ev) {
  struct masks_state *s = masks_state(a);
  if (!s) return;
  if (ev->mouse == MOUSE_RELEASE)
    s->dragging = false;
  else if (ev->mouse == MOUSE_WHEEL_UP)
    larger(a, NULL);
  else if (ev->mouse == MOUSE_WHEEL_DOWN)
    smaller(a, NULL);
  else if (rect_holds(s->cells, ev->x, ev->y) && (ev->mouse == MOUSE_PRESS || s->dragging))
    drag(a, ev);
  else if (ev->mouse == MOUSE_PRESS && ev->x < r.x + masks_list_width(r) && ev->y > r.y)
    select_row(a, s->list.first + ev->y - r.y - 1);
}

static void changed(struct app *a) {
  struct masks_state *s = masks_state(a);
  const struct subject *x = app_subject(a);
  if (x && s->list.selected >= x->photographs) s->list.selected = 0;
  if (a->screen == SCREEN_MASKS && !s->edit.changed) masks_open(a);
}

static void enter(struct app *a) {
  if (!masks_state(a)) return;
  changed(a);
  masks_derive_missing(a);
}

static void release(struct app *a) {
  masks_close(masks_state(a));
}

const struct screen masks_screen = {
    .title = "Masks", .actions = actions, .enter = enter, .changed = changed, .draw = masks_draw, .mouse = mouse, .release = release};
