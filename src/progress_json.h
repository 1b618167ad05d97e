/* Events as JSON, one object a line on standard error: what pdmbooth-tui(1) promises under --json. */
#ifndef PDMBOOTH_SRC_PROGRESS_JSON_H
#define PDMBOOTH_SRC_PROGRESS_JSON_H

#include "pdmbooth.h"

/* rate: units a second, 0 where it is not known yet. */
void json_progress(const char *stage, int64_t done, int64_t total, double rate);
void json_log(enum log_level level, const char *text);
void json_metrics(const struct metrics *m);
void json_sample(const struct sample_event *s, const char *path);
void json_checkpoint(int step, const char *path, bool final);
void json_error(const struct err *e);

#endif
