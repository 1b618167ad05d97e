/* Golden texts: what a screen looked like when somebody last looked at it and agreed. */
#ifndef PDMBOOTH_TESTS_TERMINAL_GOLDEN_H
#define PDMBOOTH_TESTS_TERMINAL_GOLDEN_H

#include <stdbool.h>
#include <stdio.h>

/* Compares text with the file; prints both around each line that differs to out. update: writes the file instead. False: they differ,
   or the file is missing. */
bool golden_compare(const char *path, const char *text, bool update, FILE *out);
/* The whole file with a NUL, owned by the caller; NULL: unreadable. */
char *golden_read(const char *path);

#endif
