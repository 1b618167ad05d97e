/* The command that a run starts at its end: [engine] on_finish. */
#ifndef PDMBOOTH_SRC_ON_FINISH_H
#define PDMBOOTH_SRC_ON_FINISH_H

#include "base/err.h"

/* Runs sh -c command with facts [n], texts "NAME=VALUE", added to the environment, standard input empty and standard output joined to standard error.
   Waits for its end, at most limit seconds: then its whole process group is ended. ERR_FAILED with a sentence where it could not be started, ended with
   another status than 0 or was ended. */
bool on_finish_run(const char *command, double limit, const char *const *facts, int n, struct err *e);

#endif
