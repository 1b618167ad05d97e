/* Pictures from files (and from inside the program) on the canvas: asked for by path, read on a thread of their own, kept while there is room. */
#ifndef PDMBOOTH_UI_ALBUM_H
#define PDMBOOTH_UI_ALBUM_H

#include "ui/canvas.h"
#include "ui/picture.h"

struct app;
struct album;

struct album *album_new(struct err *e);
void album_free(struct album *b);    /* NULL is let through */
int album_fd(const struct album *b); /* an eventfd: a picture has been read since album_take_event */
void album_take_event(struct album *b);
void album_begin_frame(struct album *b);
/* A reference to the picture (picture_unref), NULL: not read yet, or *bad: the file is none. One that has changed on disk is read again. */
struct picture *album_get(struct album *b, const char *path, bool *bad);
/* The picture in r, with its proportions; a dot until it is there, a cross where the file is none. path: a file, or "embedded:poodle/1.jpg". */
void album_show(struct app *a, struct rect r, const char *path);
/* The part of r, in its middle, that a picture of pixels may fill: terminals have a limit. */
struct rect album_box(const struct app *a, struct rect r);

#endif
