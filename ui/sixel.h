/* Pictures as sixels: encoded by libsixel on a thread of its own, kept in a cache. */
#ifndef PDMBOOTH_UI_SIXEL_H
#define PDMBOOTH_UI_SIXEL_H

#include <stddef.h>

#include "base/err.h"
#include "ui/layout.h"
#include "ui/picture.h"

/* One complete sixel sequence (DCS ... ST) in struct sixel_data's bytes, to be written with the cursor in the picture's first column. */
struct sixel_strip {
  int row; /* of cells, from the picture's top */
  size_t at, n;
};

struct sixel_data {
  char *bytes;
  size_t n;
  struct sixel_strip *strips;
  int n_strips;
};

/* How a picture is to be encoded. */
struct sixel_shape {
  int columns, rows;     /* of cells */
  struct cell_size cell; /* pixels */
  int colours;           /* the terminal's registers: 2 to 256 */
  bool smooth;           /* when it becomes larger */
  size_t strip_limit;    /* bytes of one sequence (a multiplexer's limit); 0: one sequence for the whole picture */
};

/* The picture scaled to columns * cell.w by rows * cell.h pixels, the height rounded down to a multiple of 6 so that the last band is
   full. Colours by diffusion. Where a strip limit is exceeded it is cut between rows of cells. Blocks: 10 to 50 ms.
   ERR_FAILED: out of memory or no libsixel in this build. The caller frees with sixel_data_release. */
bool sixel_encode_picture(const struct picture *p, const struct sixel_shape *shape, struct sixel_data *out, struct err *e);
void sixel_data_release(struct sixel_data *d);

/* The pixels that sixel_encode_picture encodes, before colours are reduced. */
bool sixel_pixels(const struct picture *p, const struct sixel_shape *shape, struct image *out);

/* --- thread and cache ------------------------------------------------------------------------------------------------------- */

struct sixels;

/* limit: bytes of encoded pictures that are kept beyond those of the present frame. Starts the thread (all signals blocked). */
struct sixels *sixels_new(size_t limit, struct err *e);
void sixels_free(struct sixels *s); /* waits for the encoding that is under way; NULL is let through */
/* An eventfd that becomes readable when an encoding has finished; sixels_take_event makes it unreadable again. */
int sixels_fd(const struct sixels *s);
void sixels_take_event(struct sixels *s);

/* Between begin and end, sixels_get asks for what the frame shows. NULL: not there yet, the mosaic stays; the eventfd will tell.
   The data is valid until the next sixels_end. At the end, requests that this frame has not renewed are dropped from the queue, and
   the least recently used pictures leave the cache. A picture that cannot be encoded is not tried again. */
void sixels_begin(struct sixels *s);
const struct sixel_data *sixels_get(struct sixels *s, struct picture *p, const struct sixel_shape *shape);
void sixels_end(struct sixels *s);
/* For tests and `--plain`: encodings done so far, requests waiting, bytes kept. */
struct sixels_state {
  int encoded, waiting;
  size_t bytes;
};
struct sixels_state sixels_state(struct sixels *s);

#endif
