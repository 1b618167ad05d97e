#include "ui/frame.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TMUX_LIMIT = 1 << 20, TMUX_MARGIN = 64 << 10 }; /* tmux drops a longer string; doubled ESCs and the wrapping need some of it */

const char *frame_begin_update(const struct graphics *g) {
  return g->synchronized ? "\033[?2026h" : "";
}

/* --- the buffer ------------------------------------------------------------------------------------------------------------ */

static void add(struct frame *f, const char *bytes, size_t n) {
  if (f->n + n >= f->room) {
    size_t room = 2 * (f->n + n) + 4096;
    char *grown = realloc(f->out, room);
    if (grown == NULL) {
      f->failed = true;
      return;
    }
    f->out = grown;
    f->room = room;
  }
  memcpy(f->out + f->n, bytes, n);
  f->n += n;
}

static void add_text(struct frame *f, const char *text) {
  add(f, text, strlen(text));
}

static void add_format(struct frame *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add_format(struct frame *f, const char *fmt, ...) {
  char text[128];
  va_list args;
  va_start(args, fmt);
  int n = vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  if (n > 0) add(f, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

/* Within a passed-through string every ESC is doubled. */
static void add_doubled(struct frame *f, const char *bytes, size_t n) {
  for (size_t i = 0; i < n;) {
    const char *escape = memchr(bytes + i, '\033', n - i);
    size_t end = escape != NULL ? (size_t)(escape - bytes) : n;
    add(f, bytes + i, end - i);
    if (escape != NULL) add(f, "\033\033", 2);
    i = escape != NULL ? end + 1 : n;
  }
}

/* --- cells ----------------------------------------------------------------------------------------------------------------- */

static void add_colour(struct frame *f, int32_t colour, enum colour_depth depth, bool background) {
  int base = background ? 10 : 0;
  if (colour == COLOUR_DEFAULT) return;
  if (depth == DEPTH_TRUE) {
    add_format(f, ";%d;2;%d;%d;%d", 38 + base, (int)(colour >> 16 & 255), (int)(colour >> 8 & 255), (int)(colour & 255));
  } else if (depth == DEPTH_256) {
    add_format(f, ";%d;5;%d", 38 + base, (int)colour);
  } else {
    add_format(f, ";%d", (int)(colour < 8 ? 30 + colour : 90 + colour - 8) + base);
  }
}

static void add_cell(struct frame *f, const struct cell *cell, const struct theme *theme) {
  struct look look = theme_look(theme, cell);
  add_text(f, "\033[0");
  if (look.marks & MARK_BOLD) add_text(f, ";1");
  if (look.marks & MARK_DIM) add_text(f, ";2");
  if (look.marks & MARK_UNDERLINE) add_text(f, ";4");
  if (look.marks & MARK_REVERSE) add_text(f, ";7");
  if (theme->depth != DEPTH_MONO) add_colour(f, look.fg, theme->depth, false);
  if (theme->depth != DEPTH_MONO) add_colour(f, look.bg, theme->depth, true);
  add_text(f, "m");
  add_text(f, cell->text);
}

static bool is_changed(const unsigned char *changed, const struct canvas *c, int x, int y) {
  return changed == NULL || changed[y * c->w + x] != 0;
}

/* Writes those cells of r that ncurses has just left alone, since it takes them for shown while pixels stand over them. */
static void repaint(struct frame *f, const struct canvas *c, const unsigned char *changed, struct rect r, const struct theme *theme) {
  r = rect_meet(r, canvas_rect(c));
  if (rect_empty(r)) return;
  size_t start = f->n;
  add_text(f, "\0337");
  size_t empty = f->n;
  for (int y = r.y; y < r.y + r.h; y++) {
    bool there = false; /* the cursor is already at x */
    for (int x = r.x; x < r.x + r.w; x++) {
      const struct cell *cell = canvas_at(c, x, y);
      if (is_changed(changed, c, x, y)) {
        there = false;
        continue;
      }
      if (cell->width == 0) continue;
      if (!there) add_format(f, "\033[%d;%dH", y + 1, x + 1);
      add_cell(f, cell, theme);
      there = true;
    }
  }
  if (f->n == empty) {
    f->n = start; /* ncurses has written them all */
  } else {
    add_text(f, "\033[0m\0338");
  }
}

/* --- pictures -------------------------------------------------------------------------------------------------------------- */

static bool same_rect(struct rect a, struct rect b) {
  return a.x == b.x && a.y == b.y && a.w == b.w && a.h == b.h;
}

static int find_shown(const struct frame *f, const struct placed_picture *p) {
  for (int i = 0; i < f->n_shown; i++) {
    const struct frame_shown *shown = &f->shown[i];
    if (same_rect(shown->cells, p->cells) && shown->id == p->picture->id && shown->version == p->picture->version) return i;
  }
  return -1;
}

static bool touched(const struct canvas *c, const unsigned char *changed, struct rect r) {
  for (int y = r.y; y < r.y + r.h; y++) {
    for (int x = r.x; x < r.x + r.w; x++) {
      if (is_changed(changed, c, x, y)) return true;
    }
  }
  return false;
}

static struct sixel_shape shape_of(const struct placed_picture *p, const struct graphics *g) {
  int colours = g->colours >= 2 && g->colours < 256 ? g->colours : 256;
  return (struct sixel_shape){p->cells.w, p->cells.h, g->cell, colours, p->smooth, g->tmux ? TMUX_LIMIT - TMUX_MARGIN : 0};
}

static bool can_show(const struct canvas *c, const struct placed_picture *p, const struct graphics *g) {
  if (!g->sixel || g->cell.w <= 0 || g->cell.h <= 0 || p->cells.y + p->cells.h >= c->h) return false;
  return (g->max_w == 0 || p->cells.w * g->cell.w <= g->max_w) && (g->max_h == 0 || p->cells.h * g->cell.h <= g->max_h);
}

/* Cursor kept, moved, restored: ncurses must find it where it left it. */
static void add_strip(struct frame *f, const struct graphics *g, struct rect r, const struct sixel_data *data,
                      const struct sixel_strip *strip) {
  char before[64];
  int n = snprintf(before, sizeof before, "\0337\033[%d;%dH", r.y + strip->row + 1 + (g->tmux ? g->pane_y : 0),
                   r.x + 1 + (g->tmux ? g->pane_x : 0));
  if (!g->tmux) {
    add(f, before, (size_t)n);
    add(f, data->bytes + strip->at, strip->n);
    add_text(f, "\0338");
    return;
  }
  add_text(f, "\033Ptmux;");
  add_doubled(f, before, (size_t)n);
  add_doubled(f, data->bytes + strip->at, strip->n);
  add_doubled(f, "\0338", 2);
  add_text(f, "\033\\");
}

/* What becomes of one placed picture in this frame. */
struct fate {
  const struct sixel_data *data; /* to be written; NULL: nothing */
  bool stays;                    /* its pixels are there already */
};

static struct fate decide(struct frame *f, const struct canvas *c, const struct placed_picture *p, const unsigned char *changed,
                          const struct graphics *g, struct sixels *s, bool resting) {
  struct fate fate = {0};
  if (s == NULL || !can_show(c, p, g)) return fate;
  fate.stays = find_shown(f, p) >= 0 && !touched(c, changed, p->cells);
  if (!resting && !fate.stays) return fate;
  struct sixel_shape shape = shape_of(p, g);
  const struct sixel_data *data = sixels_get(s, p->picture, &shape); /* also of one that stays: it may be needed again */
  if (!fate.stays) fate.data = data;
  return fate;
}

/* Where pixels were and neither stay nor are covered by new ones. */
static void clear_old(struct frame *f, const struct canvas *c, const unsigned char *changed, const struct fate *fates,
                      const struct theme *theme) {
  for (int i = 0; i < f->n_shown; i++) {
    bool covered = false;
    for (int k = 0; k < c->n_pictures && !covered; k++) {
      covered = same_rect(c->pictures[k].cells, f->shown[i].cells) && (fates[k].data != NULL || fates[k].stays);
    }
    if (!covered) repaint(f, c, changed, f->shown[i].cells, theme);
  }
}

static void note_shown(struct frame *f, const struct canvas *c, const struct fate *fates) {
  if (f->room_shown < c->n_pictures) {
    struct frame_shown *grown = realloc(f->shown, (size_t)c->n_pictures * sizeof *grown);
    f->n_shown = 0;
    if (grown == NULL) return; /* they are written again next time */
    f->shown = grown;
    f->room_shown = c->n_pictures;
  }
  f->n_shown = 0;
  for (int i = 0; i < c->n_pictures; i++) {
    const struct placed_picture *p = &c->pictures[i];
    if (fates[i].data != NULL || fates[i].stays)
      f->shown[f->n_shown++] = (struct frame_shown){p->cells, p->picture->id, p->picture->version};
  }
}

void frame_compose(struct frame *f, const struct canvas *c, const unsigned char *changed, const struct graphics *g, struct sixels *s,
                   const struct theme *theme, bool resting) {
  struct fate *fates = calloc((size_t)c->n_pictures + 1, sizeof *fates);
  f->failed = fates == NULL;
  if (s != NULL) sixels_begin(s);
  for (int i = 0; i < c->n_pictures && fates != NULL; i++) fates[i] = decide(f, c, &c->pictures[i], changed, g, s, resting);
  if (fates != NULL) clear_old(f, c, changed, fates, theme);
  for (int i = 0; i < c->n_pictures && fates != NULL; i++) {
    for (int k = 0; fates[i].data != NULL && k < fates[i].data->n_strips; k++) {
      add_strip(f, g, c->pictures[i].cells, fates[i].data, &fates[i].data->strips[k]);
    }
  }
  if (fates != NULL) note_shown(f, c, fates);
  if (s != NULL) sixels_end(s);
  if (g->synchronized) add_text(f, "\033[?2026l");
  free(fates);
}

void frame_forget(struct frame *f) {
  f->n_shown = 0;
}

void frame_release(struct frame *f) {
  free(f->shown);
  free(f->out);
  *f = (struct frame){0};
}

enum frame_progress frame_pump(struct frame *f, int fd) {
  enum { PIECE = 4096 };
  while (f->sent < f->n) {
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    if (poll(&p, 1, 0) == 0) return FRAME_WAITS;
    size_t left = f->n - f->sent;
    ssize_t n = write(fd, f->out + f->sent, left < PIECE ? left : PIECE);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return FRAME_WAITS;
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return FRAME_FAILED;
    f->sent += (size_t)n;
  }
  f->n = f->sent = 0;
  return FRAME_DONE;
}
