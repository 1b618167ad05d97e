/* --dump-steps: all that enters and leaves the first steps of a run, for another program to check (tests/reference/README.md, "Dump of a run").
 * DIR/step-000000.safetensors has the parameters at the start; step-00000N the inputs, losses, gradients before clipping and
 * parameters after step N. Python's names and layouts. */
#ifndef PDMBOOTH_TRAIN_DUMP_H
#define PDMBOOTH_TRAIN_DUMP_H

#include "train/batch.h"
#include "train/optimizer.h"

struct dump_entry;

struct dump {
  const char *dir;
  const struct st_pair *meta; /* owned by the caller */
  int n_meta;
  const struct optimizer *o;
  const char *const *names; /* of its groups */
  struct dump_entry *entry; /* collected so far */
  int n, cap;
};

bool dump_inputs(struct dump *d, const struct batch *b, int micro, const struct step_loss *loss, struct err *e);
bool dump_gradients(struct dump *d, double lr, double norm, struct err *e);
bool dump_parameters(struct dump *d, struct err *e);
bool dump_write(struct dump *d, int step, struct err *e); /* writes what was collected, and forgets it */
void dump_release(struct dump *d);

#endif
