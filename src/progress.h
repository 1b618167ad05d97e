/* Progress on standard error: a bar where that is a terminal, a plain line now and then where it is not (cron, a file). */
#ifndef PDMBOOTH_SRC_PROGRESS_H
#define PDMBOOTH_SRC_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
  bool terminal, drawn; /* drawn: the bar stands in the last line */
  char stage[64];
  int64_t first;      /* done when the stage began, for the rate of what is done now */
  double began, told; /* seconds */
  int tenth;          /* tenths of the total at the last plain line */
  char note[96];      /* shown after the numbers, such as the loss */
};

void progress_init(struct progress *p);
void progress_show(struct progress *p, const char *stage, int64_t done, int64_t total);
/* A line of its own, the bar stays below it. */
void progress_line(struct progress *p, const char *text);
void progress_end(struct progress *p); /* leaves the bar where it is and goes to a fresh line */

#endif
