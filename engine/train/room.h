/* A full disk is waited for: whatever a run writes is counted before, and written again when there was no room after all. Every writer
 * removes what it had begun, so nothing truncated is left while it waits. */
#ifndef PDMBOOTH_TRAIN_ROOM_H
#define PDMBOOTH_TRAIN_ROOM_H

#include "base/lock.h"
#include "formats/image.h"
#include "pdmbooth.h"

/* Functions accept NULL, which never waits. */
struct room {
  const struct sink *sink; /* says so, and is asked whether to go on waiting */
  bool stop;               /* do not wait: [engine] on_full = stop */
  double told;             /* when it was said last */
};

/* Returns once the file system that path is on has room for so many bytes (and a little more). False, *e: asked to stop, or not to wait. */
bool room_for(struct room *r, const char *path, int64_t bytes, struct err *e);
/* After writing path failed with *e. Where the reason is a full disk: waits for room, clears *e and returns true: write it again. False:
   another reason, or asked to stop (then *e says that). */
bool room_again(struct room *r, const char *path, struct err *e);
/* make_dirs (formats/source.h), waiting for room. */
bool room_dirs(struct room *r, const char *path, struct err *e);
/* image_write_png, waiting for room. */
bool room_png(struct room *r, const char *path, const struct image *im, const struct png_text *text, int n, struct err *e);
/* Takes a lock that processes share, waiting for whoever has it and for room; what: "class images", for the message. False: asked to stop, or *e. */
bool room_lock(struct room *r, struct lock *l, const char *path, const char *what, struct err *e);

#endif
