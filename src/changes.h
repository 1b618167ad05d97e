/* Whether a run may go on: its profile, photographs, masks and base model are those that it began with. */
#ifndef PDMBOOTH_SRC_CHANGES_H
#define PDMBOOTH_SRC_CHANGES_H

#include "profile.h"

/* Keys that may differ when a run goes on: those of [samples], [checkpoints], [engine] and of sections that say nothing of training, and
   some others. Directories of model and photographs may move: what is in them counts. */
bool key_may_change(const struct key *k);

/* Compares with RUN/profile.ini and RUN/info.json; info: info.json as it would be now. ERR_USAGE names all that has changed, "[train] lr: 1e-06 ->
   1e-05"; ERR_INPUT: the frozen profile cannot be read. What is not there to compare with is taken as unchanged. */
bool changes_check(const char *run_dir, const struct profile *p, const char *info, struct err *e);

#endif
