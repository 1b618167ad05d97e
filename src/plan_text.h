/* A plan as text and as JSON. */
#ifndef PDMBOOTH_SRC_PLAN_TEXT_H
#define PDMBOOTH_SRC_PLAN_TEXT_H

#include <stdio.h>

#include "pdmbooth.h"

void plan_print(const struct run_plan *p, FILE *out); /* tables of stages and places, and what was changed so that it fits */
/* {"status": "fits" or "does not fit", "error", "memory", "stages", ...}; NULL: out of memory. The caller frees. */
char *plan_json(const struct run_plan *p, const struct err *e);
/* "1.2 hours", "3.4 minutes", "5.6 s" in buf; returns it. */
const char *duration_text(double seconds, char *buf, size_t n);
/* "1.23 GiB", "45.6 MiB", "7 KiB" in buf; returns it. */
const char *bytes_text(int64_t bytes, char *buf, size_t n);

#endif
