/* How the Masks screen looks. */
#include <math.h>
#include <string.h>

#include "train/automask.h"
#include "ui/mosaic.h"
#include "ui/screens/masks.h"

int masks_list_width(struct rect r) {
  return r.w < 90 ? 18 : 30;
}

/* What the list says of a mask, and in which colours. */
static const char *kind_word(enum mask_kind kind, enum style *style) {
  static const char *const words[] = {"none", "derived", "given", "accepted"};
  static const enum style styles[] = {STYLE_WARN, STYLE_TEXT, STYLE_OK, STYLE_OK};
  *style = styles[kind];
  return words[kind];
}

static void draw_row(struct app *a, struct rect r, const struct subject *x, int row) {
  char ignored[4096];
  enum style own, style = row == masks_state(a)->list.selected ? STYLE_SELECTED : STYLE_TEXT;
  enum mask_kind kind = subject_mask_kind(x, row, ignored, sizeof ignored);
  const char *word = kind_word(kind, &own);
  bool wide = r.w >= 26;
  canvas_field(&a->canvas, r.x, r.y, r.w, ALIGN_LEFT, style, "");
  canvas_put(&a->canvas, r.x, r.y, style == STYLE_SELECTED ? style : own,
             kind >= MASK_GIVEN     ? canvas_sign(&a->canvas, SIGN_CHECK)
             : kind == MASK_DERIVED ? canvas_sign(&a->canvas, SIGN_CIRCLE)
                                    : " ");
  canvas_field(&a->canvas, r.x + 2, r.y, r.w - (wide ? 11 : 2), ALIGN_LEFT, style, x->photograph[row]);
  if (wide) canvas_field(&a->canvas, r.x + r.w - 8, r.y, 8, ALIGN_LEFT, style == STYLE_SELECTED ? style : own, word);
}

/* "derives masks: 2/4" below the list while a process does. */
static void draw_work(struct app *a, struct rect r) {
  const struct masks_state *s = masks_state(a);
  const struct job *job = s->pid ? jobs_find(&a->jobs, s->pid) : NULL;
  char says[1024];
  if (!job || r.h < 2) return;
  canvas_field(&a->canvas, r.x, r.y, r.w, ALIGN_LEFT, STYLE_ACCENT, strcmp(s->deriving, a->subject) ? s->deriving : "derives masks");
  canvas_field(&a->canvas, r.x, r.y + 1, r.w, ALIGN_LEFT, STYLE_DIM, jobs_says(job, says, sizeof says));
}

static void draw_list(struct app *a, struct rect r, const struct subject *x) {
  struct masks_state *s = masks_state(a);
  struct rect in = canvas_box(&a->canvas, r, STYLE_BORDER, "Photographs");
  if (s->pid) {
    draw_work(a, rect_bottom(in, 2));
    in = rect_inset(in, 0, 0, 0, 2);
  }
  list_clamp(&s->list, x->photographs, in.h);
  for (int i = 0; i < in.h && s->list.first + i < x->photographs; i++)
    draw_row(a, (struct rect){in.x, in.y + i, in.w, 1}, x, s->list.first + i);
}

/* The brush as a ring, light and dark, so that it shows on anything. */
static void draw_brush(const struct masks_state *s, struct image *im) {
  double cx, cy, radius;
  if (s->x < 0 || s->cells.w < 1) return;
  masks_to_pixels(s, s->x, s->y, &cx, &cy, &radius);
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

/* Where the mask comes from, how sure that is, and how much of the photograph is trained on. */
static void draw_facts(struct app *a, struct rect r) {
  struct masks_state *s = masks_state(a);
  enum style style;
  const char *word = kind_word(s->kind, &style);
  int n = masks_elements(s), all = s->grid_w * s->grid_h, at = r.x + 1;
  if (!*s->opened) return;
  at += canvas_printf(&a->canvas, at, r.y, s->kind == MASK_MISSING ? style : STYLE_TEXT, "%s",
                      s->kind == MASK_MISSING ? "no mask yet" : word);
  if (isfinite(s->confidence))
    at += canvas_printf(&a->canvas, at, r.y, s->confidence < AUTOMASK_SURE ? STYLE_WARN : STYLE_TEXT, ", confidence %.2f%s", s->confidence,
                        s->confidence < AUTOMASK_SURE ? ": look closely" : "");
  if (n >= 0) canvas_printf(&a->canvas, at, r.y, n ? STYLE_DIM : STYLE_ERROR, "; leaves %d of %d training elements", n, all);
}

static void draw_mask(struct app *a, struct rect r) {
  struct masks_state *s = masks_state(a);
  char title[300];
  const struct subject *x = app_subject(a);
  text_put(title, sizeof title, "%s: %.1f %% of the picture%s", x->photograph[s->list.selected], 100 * mask_share(&s->edit),
           s->edit.changed ? ", changed and not saved" : "");
  struct rect in = canvas_box(&a->canvas, r, STYLE_FOCUS, title);
  draw_facts(a, rect_bottom(in, 1));
  in = rect_inset(in, 0, 0, 0, 1);
  make_picture(s);
  if (!s->shown) return;
  s->cells =
      mosaic_place(&a->canvas, album_box(a, in), s->shown, (struct cell_size){a->facts.cell_w, a->facts.cell_h}, a->theme.depth, false);
  if (s->x >= s->cells.w) s->x = s->cells.w - 1;
  if (s->y >= s->cells.h) s->y = s->cells.h - 1;
}

void masks_draw(struct app *a, struct rect r) {
  struct masks_state *s = masks_state(a);
  const struct subject *x = app_subject(a);
  if (!s) return;
  if (!x || !x->photographs) {
    canvas_paragraph(&a->canvas, rect_inset(r, 1, 1, 1, 1), 0, STYLE_DIM, "There are no photographs.");
    return;
  }
  struct rect list = rect_left(r, masks_list_width(r));
  draw_list(a, list, x);
  draw_mask(a, rect_inset(r, list.w, 0, 0, 0));
}
