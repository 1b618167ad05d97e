/* The command line. */
#ifndef PDMBOOTH_SRC_OPTIONS_H
#define PDMBOOTH_SRC_OPTIONS_H

#include "pdmbooth.h"

enum command { COMMAND_NONE, COMMAND_HELP, COMMAND_VERSION, COMMAND_BATCH, COMMAND_SAMPLE, COMMAND_SHEET, COMMAND_PRINT_KEYS };

/* Strings point into argv; lists are allocated, released by options_release. */
struct options {
  enum command command;
  const char *help; /* of which command: "", "batch", "sample", "sheet" */
  /* --batch */
  const char *profile, *run_dir;
  const char **set;
  int sets;
  bool resume;
  int dump_steps;
  /* sample */
  const char *checkpoint, *base, *prompts_file, *section, *token, *class_name, *negative, *out, *sheet, *latents;
  const char **prompt;
  int prompts;
  double scale, guidance;
  uint64_t seed;
  int count, steps, sampler, width, height, batch;
  enum precision precision;
  /* sheet */
  const char **label, **column_label, **file;
  int labels, column_labels, files, columns;
  const char *title;
  /* several */
  const char *dump, *device; /* device "": as the profile says */
  int threads;               /* 0: as the profile says */
  const char *print;         /* --print-keys */
};

/* ERR_USAGE with one sentence for anything wrong. */
bool options_parse(struct options *o, int argc, char **argv, struct err *e);
void options_release(struct options *o);
const char *options_help(const char *command);

#endif
