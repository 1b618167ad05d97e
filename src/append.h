/* A text file that grows line by line. What could not be written (a full disk) is kept and comes first when writing works again: no line is lost
 * or torn. A line that a power cut tore is cut off when the file is opened. */
#ifndef PDMBOOTH_SRC_APPEND_H
#define PDMBOOTH_SRC_APPEND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct append {
  int fd; /* -1: not open */
  char *pending;
  size_t n, cap;
  char path[4096];
};

bool append_open(struct append *a, const char *path, struct err *e);
/* Adds text and writes what there is. False, *e: not everything is in the file yet; it is kept. (Out of memory loses the text.) */
bool append_text(struct append *a, const char *text, size_t n, struct err *e);
bool append_flush(struct append *a, struct err *e); /* writes what is kept */
bool append_sync(struct append *a, struct err *e);  /* the same, and all of it is on the disk */
void append_close(struct append *a);                /* tries to write what is kept; one that is not open is fine */

#endif
