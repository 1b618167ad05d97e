/* Contact sheets: pictures in rows and columns with labels, as one PNG. */
#ifndef PDMBOOTH_SRC_SHEET_H
#define PDMBOOTH_SRC_SHEET_H

#include "formats/image.h"

struct sheet {
  const char *title;           /* NULL: none */
  int columns;                 /* at least 1 */
  const struct image *picture; /* [pictures], row by row; one with px NULL leaves its cell empty */
  int pictures;
  const char *const *row_label;    /* [rows], or NULL; an entry may be "" */
  const char *const *column_label; /* [columns], or NULL */
};

/* Small pictures are enlarged by a whole factor so that they can be seen. ERR_FAILED (memory, writing), ERR_USAGE (too large a sheet). */
bool sheet_write(const char *path, const struct sheet *s, struct err *e);
/* The same from PNG, JPEG or WebP files; a path of NULL or "" leaves its cell empty. s->picture and s->pictures are not looked at. */
bool sheet_write_files(const char *path, const struct sheet *s, const char *const *files, int n, struct err *e);

#endif
