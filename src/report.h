/* report.html: a run on one page that needs nothing else, made from what lies in the run directory. */
#ifndef PDMBOOTH_SRC_REPORT_H
#define PDMBOOTH_SRC_REPORT_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "formats/source.h"
#include "keys.h"
#include "samples.h"

/* Writes run_dir/report.html. ERR_INPUT: there is no run; ERR_FAILED: memory, or it cannot be written. */
bool report_write(const char *run_dir, const struct embedded_file *embedded, struct err *e);

/* --- what the parts of the page share (src/report*.c) --- */

/* One line of the frozen profile. */
struct report_value {
  const struct key *key;
  const char *text; /* owned by the report's owner */
};

/* What lies in a run directory; parts that are missing are NULL or empty. */
struct report {
  const char *dir;
  char *path; /* absolute, owned */
  struct strings owner;
  struct report_value *value;
  int n_values, cap_values;
  struct metrics *rows;
  int n_rows;
  struct sample_list samples;
  cJSON *summary, *info;
  char *log;
};

bool report_read(struct report *r, const char *run_dir, struct err *e);
void report_release(struct report *r);
/* The i-th value of a key, "" where there is none. */
const char *report_value_of(const struct report *r, const char *section, const char *name, int i);

bool report_charts(const struct report *r, FILE *out, struct err *e);
bool report_samples(const struct report *r, FILE *out, struct err *e);
void report_settings(const struct report *r, FILE *out);
void report_facts(const struct report *r, FILE *out); /* hashes, versions, machine */

#endif
