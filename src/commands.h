/* What the program does, one function for each command; each returns the process's exit status. */
#ifndef PDMBOOTH_SRC_COMMANDS_H
#define PDMBOOTH_SRC_COMMANDS_H

#include "options.h"

int batch_run(const struct options *o);
int sample_run(const struct options *o);
int sheet_run(const struct options *o);
/* "pdmbooth-tui: error: ..." on standard error; the code's exit status. */
int say_error(const struct err *e);

#endif
