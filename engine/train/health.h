/* Whether a run is still learning. A loss or gradient that is not finite is an error of the step itself (loop.c); this is about losses that
 * stay finite and run away.
 *
 * Each loss is smoothed: mean += (loss - mean) / min(n, 20), n = steps so far. A step is bad when
 *   the smoothed instance or prior loss is above 4 (a network that predicts nothing at all has about 1), or
 *   the smoothed total is, after step 20, above 10 times its lowest value since then and above 3 times its value there.
 * Twenty bad steps in a row are a divergence. After a bad step no state is saved unasked, so that the last one is a good one. */
#ifndef PDMBOOTH_TRAIN_HEALTH_H
#define PDMBOOTH_TRAIN_HEALTH_H

#include "pdmbooth.h"

enum { HEALTH_SMOOTH = 20, HEALTH_BAD_STEPS = 20 };

struct health { /* part of the state of a run */
  int seen, bad;
  double instance, prior, total; /* smoothed */
  double lowest, begin;          /* of total: since step 20, at step 20 */
};

/* Takes the losses of a step; terms that are off are NAN. Returns false where the run has diverged by the rule above. */
bool health_goes_on(struct health *h, const struct metrics *m);
/* The state should not be saved unasked: the last steps were bad. */
bool health_in_doubt(const struct health *h);

#endif
