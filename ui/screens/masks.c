/* Masks: each photograph with its mask, to be looked at and corrected. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "assets/embedded.h"
#include "ui/ini_edit.h"
#include "profile.h"
#include "ui/app.h"
#include "ui/list.h"
#include "ui/mask_edit.h"
#include "ui/mosaic.h"
#include "ui/screens/screens.h"

enum { LIST_WIDTH = 24 };

struct masks_state {
  struct list list;
  char opened[4096]; /* path of the photograph that is being worked on */
  struct image photograph;
  struct mask_edit edit;
  struct picture *shown;
  bool stale;        /* shown is to be made again */
  struct rect cells; /* where it was drawn */
  double brush;      /* radius in cells */
  int x, y;          /* cursor, in cells of the picture; -1: not shown yet */
  double last_x, last_y;
  bool dragging;
};

static struct masks_state *state(struct app *a) {
  if (!a->state[SCREEN_MASKS]) {
    struct masks_state *s = calloc(1, sizeof *s);
    if (s) s->brush = 1.5;
    a->state[SCREEN_MASKS] = s;
  }
  return a->state[SCREEN_MASKS];
}

/* --- opening and saving ------------------------------------------------------------------------------------------------------------ */

static bool open_blob(const char *path, struct blob *b, struct err *e) {
  struct source source;
  if (strncmp(path, "embedded:", 9)) return blob_map(path, b, e);
  source_embedded(&source, embedded_files, "demo-subject");
  return source_open(&source, path + 9, b, e);
}

static bool read_image(const char *path, bool mask, struct image *out, struct err *e) {
  struct blob b;
  if (!open_blob(path, &b, e)) return false;
  bool ok = mask ? image_decode_mask(&b, path, out, e) : image_decode(&b, path, out, e);
  blob_close(&b);
  return ok;
}

static void close_photograph(struct masks_state *s) {
  image_release(&s->photograph);
  mask_end(&s->edit);
  picture_unref(s->shown);
  s->shown = NULL;
  s->opened[0] = 0;
}

static void open_photograph(struct app *a) {
  struct masks_state *s = state(a);
  const struct subject *x = app_subject(a);
  char path[4096], mask[4096];
  struct image from = {0};
  struct err e = {0};
  if (!s || !x || s->list.selected >= x->photographs) return;
  subject_photograph(x, s->list.selected, path, sizeof path);
  if (!strcmp(path, s->opened)) return;
  close_photograph(s);
  bool there = subject_mask(x, s->list.selected, mask, sizeof mask) && read_image(mask, true, &from, &e);
  bool ok = !e.code && read_image(path, false, &s->photograph, &e) &&
            (mask_begin(&s->edit, s->photograph.w, s->photograph.h, there ? &from : NULL) || err_set(&e, ERR_FAILED, "out of memory"));
  image_release(&from);
  if (!ok) {
    app_complain(a, "%s", e.text);
    return;
  }
  text_put(s->opened, sizeof s->opened, "%s", path);
  s->stale = true;
  s->x = s->y = -1;
}

/* SUBJECT/masks/NAME.png */
static void own_mask(const struct subject *x, int i, char *out, size_t n) {
  const char *name = x->photograph[i], *dot = strrchr(name, '.');
  text_put(out, n, "%s/masks/%.*s.png", x->dir, dot ? (int)(dot - name) : (int)strlen(name), name);
}

/* The masks of the others as they are now: a directory of masks holds all of them. */
static bool copy_others(const struct subject *x, int but, struct err *e) {
  char from[4096], to[4096];
  for (int i = 0; i < x->photographs; i++) {
    struct image im = {0};
    own_mask(x, i, to, sizeof to);
    if (i == but || is_file(to) || !subject_mask(x, i, from, sizeof from)) continue;
    bool ok = read_image(from, true, &im, e) && image_write_png(to, &im, NULL, 0, e);
    image_release(&im);
    if (!ok) return false;
  }
  return true;
}

/* The profile is told where the masks are now. */
static bool use_own_masks(const struct subject *x, struct err *e) {
  char profile[4096], dir[4096];
  size_t n;
  const char *const value[] = {dir};
  text_put(dir, sizeof dir, "%s/masks", x->dir);
  char *text = text_file_read(subject_profile(x, profile, sizeof profile), NULL, "", &n, e);
  if (!text) return false;
  char *next = ini_with(text, key_find("subject", "mask_dir"), value, 1);
  bool ok = next && (!strcmp(next, text) || ini_save(profile, next, e));
  free(text);
  free(next);
  return ok;
}

static void save(struct app *a, const char *argument) {
  struct masks_state *s = state(a);
  struct subject *x = app_subject(a);
  char path[4096], dir[4096];
  struct err e = {0};
  (void)argument;
  if (!s || !x || !*s->opened) return;
  text_put(dir, sizeof dir, "%s/masks", x->dir);
  own_mask(x, s->list.selected, path, sizeof path);
  bool ok = make_dirs(dir, &e) && image_write_png(path, &s->edit.mask, NULL, 0, &e) && copy_others(x, s->list.selected, &e) &&
            use_own_masks(x, &e);
  if (!ok) {
    app_complain(a, "%s", e.text);
    return;
  }
  s->edit.changed = false;
  app_say(a, "the mask is kept with the subject: %s", path);
  store_reload(&a->store, &e);
}

/* --- changing ------------------------------------------------------------------------------------------------------------------------ */

static struct mask_edit *edit(struct app *a) {
  struct masks_state *s = state(a);
  if (!s || !*s->opened) return NULL;
  s->stale = true;
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

/* The middle of a cell of the picture, in pixels of the photograph; radius of the brush there. */
static void to_pixels(const struct masks_state *s, int x, int y, double *px, double *py, double *radius) {
  *px = (x + 0.5) / s->cells.w * s->photograph.w;
  *py = (y + 0.5) / s->cells.h * s->photograph.h;
  *radius = s->brush / s->cells.w * s->photograph.w;
}

static void paint(struct app *a, bool on) {
  struct masks_state *s = state(a);
  double x, y, radius;
  struct mask_edit *m = edit(a);
  if (!m || s->cells.w < 1 || s->x < 0) return;
  to_pixels(s, s->x, s->y, &x, &y, &radius);
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
  if (state(a) && state(a)->brush < 20) state(a)->brush *= 1.5, state(a)->stale = true;
}

static void smaller(struct app *a, const char *argument) {
  (void)argument;
  if (state(a) && state(a)->brush > 0.4) state(a)->brush /= 1.5, state(a)->stale = true;
}

static void move(struct app *a, int dx, int dy) {
  struct masks_state *s = state(a);
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
  state(a)->list.selected = wanted;
  open_photograph(a);
}

static void save_or_not(struct app *a, int how) {
  if (how == 0) save(a, NULL);
  if (how == 1) close_photograph(state(a));
  if (how < 2) go_to(a);
}

static void select_row(struct app *a, int row) {
  static const struct choice choices[] = {{"s", "save"}, {"x", "throw the changes away"}, {"Esc", "stay with this photograph"}};
  struct masks_state *s = state(a);
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
  if (state(a)) select_row(a, state(a)->list.selected + 1);
}

static void previous(struct app *a, const char *argument) {
  (void)argument;
  if (state(a)) select_row(a, state(a)->list.selected - 1);
}

static const struct action actions[] = {
    {"mask.next", "n ]", "next", "The next photograph.", next},
    {"mask.previous", "N [", NULL, "The photograph before.", previous},
    {"mask.save", "s Enter", "accept", "Keep the mask with the subject; files beside the photographs are never changed.", save},
    {"mask.brush", "Space", "paint", "Add to the mask at the cursor; also: drag with the left button.", brush},
    {"mask.erase", "e", "erase", "Take away at the cursor; also: drag with the right button.", erase},
    {"mask.undo", "u", "undo", "Take the last change back.", undo},
    {"mask.grow", "+ =", "grow", "The mask a little larger all round.", grow},
    {"mask.shrink", "-", "shrink", "The mask a little smaller all round.", shrink},
    {"mask.invert", "i", "invert", "What was the subject is the background, and the other way.", invert},
    {"mask.larger-brush", ">", NULL, "A larger brush.", larger},
    {"mask.smaller-brush", "<", NULL, "A smaller brush.", smaller},
    {"mask.left", "Left h", NULL, "The cursor to the left.", left},
    {"mask.right", "Right l", NULL, "The cursor to the right.", right},
    {"mask.up", "Up k", NULL, "The cursor up.", up},
    {"mask.down", "Down j", NULL, "The cursor down.", down},
    {0},
};

/* --- drawing ----------------------------------------------------------------------------------------------------------------------------- */

static void draw_list(struct app *a, struct rect r, const struct subject *x) {
  struct masks_state *s = state(a);
  char ignored[4096];
  struct rect in = canvas_box(&a->canvas, r, STYLE_BORDER, "Photographs");
  list_clamp(&s->list, x->photographs, in.h);
  for (int i = 0; i < in.h && s->list.first + i < x->photographs; i++) {
    int row = s->list.first + i;
    bool has = subject_mask(x, row, ignored, sizeof ignored);
    enum style style = row == s->list.selected ? STYLE_SELECTED : has ? STYLE_TEXT : STYLE_WARN;
    canvas_field(&a->canvas, in.x, in.y + i, in.w, ALIGN_LEFT, style, "");
    canvas_put(&a->canvas, in.x, in.y + i, style, has ? canvas_sign(&a->canvas, SIGN_CHECK) : " ");
    canvas_field(&a->canvas, in.x + 2, in.y + i, in.w - 2, ALIGN_LEFT, style, x->photograph[row]);
  }
}

/* The brush as a ring, light and dark, so that it shows on anything. */
static void draw_brush(const struct masks_state *s, struct image *im) {
  double cx, cy, radius;
  if (s->x < 0 || s->cells.w < 1) return;
  to_pixels(s, s->x, s->y, &cx, &cy, &radius);
  double wide = im->w / 160.0 + 1;
  for (int y = (int)(cy - radius - wide); y <= cy + radius + wide; y++) {
    for (int x = (int)(cx - radius - wide); x <= cx + radius + wide; x++) {
      double off = hypot(x + 0.5 - cx, y + 0.5 - cy) - radius;
      if (x < 0 || y < 0 || x >= im->w || y >= im->h || fabs(off) > wide) continue;
      memset(im->px + 3 * ((size_t)y * (size_t)im->w + (size_t)x), off < 0 ? 255 : 0, 3);
    }
  }
}

static void make_picture(struct masks_state *s) {
  struct image over;
  if (!s->stale || !mask_overlay(&s->photograph, &s->edit, &over)) return;
  draw_brush(s, &over);
  struct picture *p = s->shown ? picture_again(s->shown, &over) : picture_new(&over);
  if (!p) return;
  picture_unref(s->shown);
  s->shown = p;
  s->stale = false;
}

static void draw_mask(struct app *a, struct rect r) {
  struct masks_state *s = state(a);
  char title[300];
  const struct subject *x = app_subject(a);
  text_put(title, sizeof title, "%s: %.1f %% of the picture%s", x->photograph[s->list.selected], 100 * mask_share(&s->edit),
           s->edit.changed ? ", changed and not saved" : "");
  struct rect in = canvas_box(&a->canvas, r, STYLE_FOCUS, title);
  make_picture(s);
  if (!s->shown) return;
  s->cells =
      mosaic_place(&a->canvas, album_box(a, in), s->shown, (struct cell_size){a->facts.cell_w, a->facts.cell_h}, a->theme.depth, false);
  if (s->x >= s->cells.w) s->x = s->cells.w - 1;
  if (s->y >= s->cells.h) s->y = s->cells.h - 1;
}

static void draw(struct app *a, struct rect r) {
  struct masks_state *s = state(a);
  const struct subject *x = app_subject(a);
  if (!s) return;
  if (!x || !x->photographs) {
    canvas_paragraph(&a->canvas, rect_inset(r, 1, 1, 1, 1), 0, STYLE_DIM, "There are no photographs.");
    return;
  }
  struct rect list = rect_left(r, r.w < 90 ? 16 : LIST_WIDTH);
  draw_list(a, list, x);
  draw_mask(a, rect_inset(r, list.w, 0, 0, 0));
}

static void drag(struct app *a, const struct input_event *ev) {
  struct masks_state *s = state(a);
  double x, y, radius;
  struct mask_edit *m = edit(a);
  if (!m || s->cells.w < 1) return;
  to_pixels(s, ev->x - s->cells.x, ev->y - s->cells.y, &x, &y, &radius);
  if (ev->mouse == MOUSE_PRESS) mask_remember(m);
  if (ev->mouse == MOUSE_PRESS || !s->dragging) s->last_x = x, s->last_y = y;
  mask_line(m, s->last_x, s->last_y, x, y, radius, ev->button != 3);
  s->last_x = x;
  s->last_y = y;
  s->dragging = true;
}

static void mouse(struct app *a, struct rect r, const struct input_event *ev) {
  struct masks_state *s = state(a);
  if (!s) return;
  if (ev->mouse == MOUSE_RELEASE)
    s->dragging = false;
  else if (ev->mouse == MOUSE_WHEEL_UP)
    larger(a, NULL);
  else if (ev->mouse == MOUSE_WHEEL_DOWN)
    smaller(a, NULL);
  else if (rect_holds(s->cells, ev->x, ev->y) && (ev->mouse == MOUSE_PRESS || s->dragging))
    drag(a, ev);
  else if (ev->mouse == MOUSE_PRESS && ev->x < r.x + LIST_WIDTH && ev->y > r.y)
    select_row(a, s->list.first + ev->y - r.y - 1);
}

static void changed(struct app *a) {
  struct masks_state *s = state(a);
  const struct subject *x = app_subject(a);
  if (x && s->list.selected >= x->photographs) s->list.selected = 0;
  if (a->screen == SCREEN_MASKS && !s->edit.changed) open_photograph(a);
}

static void enter(struct app *a) {
  if (state(a)) changed(a);
}

static void release(struct app *a) {
  close_photograph(state(a));
}

const struct screen masks_screen = {
    .title = "Masks", .actions = actions, .enter = enter, .changed = changed, .draw = draw, .mouse = mouse, .release = release};
