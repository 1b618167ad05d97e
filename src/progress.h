/* What a run says while it works, on standard error: a bar where that is a terminal, a plain line now and then where it is not (cron, a file), or one
 * JSON object a line, or nothing but errors. */
#ifndef PDMBOOTH_SRC_PROGRESS_H
#define PDMBOOTH_SRC_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "pdmbooth.h"

enum progress_style { PROGRESS_PLAIN, PROGRESS_BAR, PROGRESS_JSON, PROGRESS_QUIET };

struct progress {
  enum progress_style style;
  bool drawn; /* the bar stands in the last line */
  char stage[64];
  int64_t first;      /* done when the stage began, for the rate of what is done now */
  double began, told; /* seconds */
  int tenth;          /* tenths of the total at the last plain line */
  char note[96];      /* shown after the numbers, such as the loss */
};

/* --quiet, --json, or neither: then as the terminal is. ERR_USAGE: both. */
bool progress_init(struct progress *p, bool quiet, bool json, struct err *e);
void progress_show(struct progress *p, const char *stage, int64_t done, int64_t total);
/* A line of its own, the bar stays below it. LOG_DEBUG is not shown. */
void progress_line(struct progress *p, enum log_level level, const char *text);
void progress_end(struct progress *p); /* leaves the bar where it is and goes to a fresh line */

/* Shown in the JSON style only: events whose lines people read in the bar or the log. */
void progress_metrics(struct progress *p, const struct metrics *m);
void progress_sample(struct progress *p, const struct sample_event *s, const char *path);
void progress_checkpoint(struct progress *p, int step, const char *path, bool final);
/* How it ended: "pdmbooth-tui: error: ..." in every style but JSON. Returns the exit status. */
int progress_error(struct progress *p, const struct err *e);

#endif
