#include "ui/frame.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TMUX_LIMIT = (1 << 20) - 4096 }; /* tmux drops a longer string */

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

/* --- cells ----------------------------------------------------------------------------------------------------------------- */

/* The last attributes that were written; zero-initialised: not known. */
struct pen {
  struct look look;
  bool known;
};

static char *put_number(char *at, unsigned v) {
  if (v >= 100) *at++ = (char)('0' + v / 100);
  if (v >= 10) *at++ = (char)('0' + v / 10 % 10);
  *at++ = (char)('0' + v % 10);
  return at;
}

static char *put_text(char *at, const char *text) {
  size_t n = strlen(text);
  memcpy(at, text, n);
  return at + n;
}

/* At most 17 bytes. */
static char *put_colour(char *at, int32_t colour, enum colour_depth depth, bool background) {
  unsigned base = background ? 10 : 0, v = (unsigned)colour;
  if (colour == COLOUR_DEFAULT) {
    at = put_number(put_text(at, ";"), 39 + base);
  } else if (depth == DEPTH_TRUE) {
    at = put_text(put_number(put_text(at, ";"), 38 + base), ";2;");
    at = put_text(put_number(at, v >> 16 & 255), ";");
    at = put_text(put_number(at, v >> 8 & 255), ";");
    at = put_number(at, v & 255);
  } else if (depth == DEPTH_256) {
    at = put_number(put_text(put_number(put_text(at, ";"), 38 + base), ";5;"), v);
  } else {
    at = put_number(put_text(at, ";"), (v < 8 ? 30 + v : 90 + v - 8) + base);
  }
  return at;
}

/* Only what is different from what the pen has. */
static void add_look(struct frame *f, struct pen *pen, struct look look, enum colour_depth depth) {
  char text[64], *at = text;
  bool anew = !pen->known || pen->look.marks != look.marks;
  if (anew) {
    pen->look = (struct look){COLOUR_DEFAULT, COLOUR_DEFAULT, look.marks};
    at = put_text(at, ";0");
    if (look.marks & MARK_BOLD) at = put_text(at, ";1");
    if (look.marks & MARK_DIM) at = put_text(at, ";2");
    if (look.marks & MARK_UNDERLINE) at = put_text(at, ";4");
    if (look.marks & MARK_REVERSE) at = put_text(at, ";7");
  }
  if (depth != DEPTH_MONO && look.fg != pen->look.fg) at = put_colour(at, look.fg, depth, false);
  if (depth != DEPTH_MONO && look.bg != pen->look.bg) at = put_colour(at, look.bg, depth, true);
  *pen = (struct pen){look, true};
  if (at == text) return;
  *at++ = 'm';
  add_text(f, "\033[");
  add(f, text + 1, (size_t)(at - text - 1));
}

static bool is_changed(const unsigned char *changed, const struct canvas *c, int x, int y) {
  return changed == NULL || changed[y * c->w + x] != 0;
}

/* Which cells of a rectangle are to be written beside ncurses. */
enum choice {
  CELLS_OWN,  /* those it does not know, where they have changed */
  CELLS_KEPT, /* those that were left alone since they are taken for shown, while pixels stand over them */
  CELLS_ALL,  /* what stands over new pixels */
};

static void add_cells(struct frame *f, const struct canvas *c, const unsigned char *changed, struct rect r, const struct theme *theme,
                      enum choice choice) {
  struct pen pen = {0};
  size_t start = f->n;
  r = rect_meet(r, canvas_rect(c));
  add_text(f, "\0337");
  size_t empty = f->n;
  for (int y = r.y; y < r.y + r.h; y++) {
    bool there = false; /* the cursor is already at x */
    for (int x = r.x; x < r.x + r.w; x++) {
      const struct cell *cell = canvas_at(c, x, y);
      bool is_new = is_changed(changed, c, x, y),
           wanted = choice == CELLS_OWN ? is_new && theme_writes_beside(theme, cell) : choice == CELLS_ALL || !is_new;
      if (wanted && cell->width > 0) {
        if (!there) add_format(f, "\033[%d;%dH", y + 1, x + 1);
        add_look(f, &pen, theme_look(theme, cell), theme->depth);
        add_text(f, cell->text);
      }
      there = wanted;
    }
  }
  if (f->n == empty) {
    f->n = start;
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

/* Pixels went where cells were written; what is drawn over the picture is meant to. */
static bool touched(const struct canvas *c, const unsigned char *changed, const struct placed_picture *p) {
  struct rect r = p->cells;
  for (int y = r.y; y < r.y + r.h; y++) {
    for (int x = r.x; x < r.x + r.w; x++) {
      if (is_changed(changed, c, x, y) && !rect_holds(p->cover, x, y)) return true;
    }
  }
  return false;
}

static struct sixel_shape shape_of(const struct placed_picture *p, const struct graphics *g) {
  int colours = g->colours >= 2 && g->colours < 256 ? g->colours : 256;
  return (struct sixel_shape){p->cells.w, p->cells.h, g->cell, colours, p->smooth, g->tmux ? TMUX_LIMIT : 0};
}

static bool can_show(const struct canvas *c, const struct placed_picture *p, const struct graphics *g) {
  if (!g->sixel || g->cell.w <= 0 || g->cell.h <= 0 || p->cells.y + p->cells.h >= c->h) return false;
  return (g->max_w == 0 || p->cells.w * g->cell.w <= g->max_w) && (g->max_h == 0 || p->cells.h * g->cell.h <= g->max_h);
}

/* Sixels end with a whole band, so a few rows of pixels of the last row of cells may stay free: there the background shows, not the mosaic.
   ncurses does not notice. */
static void add_edge(struct frame *f, const struct graphics *g, struct rect r, const struct theme *theme) {
  struct pen pen = {0};
  if (r.h * g->cell.h % 6 == 0) return;
  add_format(f, "\0337\033[%d;%dH", r.y + r.h, r.x + 1);
  add_look(f, &pen, theme->looks[STYLE_TEXT], theme->depth);
  for (int x = 0; x < r.w; x++) add(f, " ", 1);
  add_text(f, "\033[0m\0338");
}

/* Cursor kept, moved, restored: ncurses must find it where it left it. */
static void add_strip(struct frame *f, struct rect r, const struct sixel_data *data, const struct sixel_strip *strip) {
  add_format(f, "\0337\033[%d;%dH", r.y + strip->row + 1, r.x + 1);
  add(f, data->bytes + strip->at, strip->n);
  add_text(f, "\0338");
}

static void add_picture(struct frame *f, const struct canvas *c, const struct placed_picture *p, const struct sixel_data *data,
                        const struct graphics *g, const struct theme *theme) {
  add_edge(f, g, p->cells, theme);
  for (int k = 0; k < data->n_strips; k++) add_strip(f, p->cells, data, &data->strips[k]);
  if (!rect_empty(p->cover)) add_cells(f, c, NULL, p->cover, theme, CELLS_ALL);
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
  fate.stays = find_shown(f, p) >= 0 && !touched(c, changed, p);
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
    if (!covered) add_cells(f, c, changed, f->shown[i].cells, theme, CELLS_KEPT);
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
  add_cells(f, c, changed, canvas_rect(c), theme, CELLS_OWN);
  for (int i = 0; i < c->n_pictures && fates != NULL; i++) fates[i] = decide(f, c, &c->pictures[i], changed, g, s, resting);
  if (fates != NULL) clear_old(f, c, changed, fates, theme);
  for (int i = 0; i < c->n_pictures && fates != NULL; i++) {
    if (fates[i].data != NULL) add_picture(f, c, &c->pictures[i], fates[i].data, g, theme);
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
