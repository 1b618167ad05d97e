/* Pictures of pixels over a frame of text: what is to be written to the terminal after ncurses has written the cells.
 *
 * One frame: flush_canvas(); frame_begin_update() written; doupdate(); frame_compose(); frame_pump() until it is done. */
#ifndef PDMBOOTH_UI_FRAME_H
#define PDMBOOTH_UI_FRAME_H

#include "ui/canvas.h"
#include "ui/sixel.h"
#include "ui/theme.h"

/* What the terminal has answered. */
struct graphics {
  bool sixel;            /* DA1 names 4 */
  struct cell_size cell; /* pixels of a cell */
  int colours;           /* registers; 0: not told, 256 are taken */
  int max_w, max_h;      /* pixels of the largest picture, 0: not told */
  bool synchronized;     /* mode 2026 is known */
  bool tmux; /* which shows pictures at the pane's cursor by itself (from 3.4 on, and says so), but drops a sequence of more than 1 MiB */
};

struct frame_shown {
  struct rect cells;
  uint64_t id;
  uint32_t version;
};

/* Zero-initialised: no picture is on the screen, nothing waits. */
struct frame {
  struct frame_shown *shown; /* pictures whose pixels are on the screen */
  int n_shown, room_shown;
  char *out; /* waits to be written from `sent` on */
  size_t n, sent, room;
  bool failed; /* out of memory: the frame is not complete */
};

/* The beginning of a synchronized update, "" where the terminal has none. */
const char *frame_begin_update(const struct graphics *g);

/* Appends to f->out the cells with colours of their own that have changed (changed [h, w], NULL: all; as flush_canvas left it), what the
   canvas' pictures need, and the end of the synchronized update: pictures that are new here, or of whose cells one was written anew. Where pixels have to go and none come instead, the cells are
   written once more. resting false (while the user scrubs): no pixels are asked for, what is not there already stays a mosaic.
   Pictures that reach into the last row stay mosaics: the terminal would scroll. */
void frame_compose(struct frame *f, const struct canvas *c, const unsigned char *changed, const struct graphics *g, struct sixels *s,
                   const struct theme *theme, bool resting);
/* The screen was cleared or resized: no pixels are left on it. */
void frame_forget(struct frame *f);
void frame_release(struct frame *f);

/* Writes what waits, as far as the terminal takes it without blocking; fd: of the terminal, best one of its own with O_NONBLOCK.
   While it is FRAME_WAITS nothing else may be written to the terminal: poll for POLLOUT and call again. */
enum frame_progress { FRAME_DONE, FRAME_WAITS, FRAME_FAILED };
enum frame_progress frame_pump(struct frame *f, int fd);

#endif
