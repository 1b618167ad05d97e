/* A file that appears whole or not at all: written under a temporary name in the same directory, synced, renamed. */
#ifndef PDMBOOTH_FORMATS_OUTPUT_H
#define PDMBOOTH_FORMATS_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/err.h"

enum { OUTPUT_PATH = 4096 };

struct output {
  FILE *file;
  char path[OUTPUT_PATH], temporary[OUTPUT_PATH + 48];
};

bool output_open(struct output *o, const char *path, struct err *e);
bool output_write(struct output *o, const void *data, size_t n, struct err *e);
/* Ends the writing in any case: keep false, or any failure, removes the temporary file. Returns whether path now holds the data. */
bool output_close(struct output *o, bool keep, struct err *e);

#endif
