/* Time left of a run: the plan's seconds of each stage, corrected by what the stages took so far; soon by the stage's own pace alone. Stands between the stages and the program's sink. */
#ifndef PDMBOOTH_TRAIN_FORECAST_H
#define PDMBOOTH_TRAIN_FORECAST_H

#include "pdmbooth.h"

struct forecast_stage {
  double planned, spent; /* seconds */
  double part;           /* of its work that is done: 0 to 1 */
  int64_t first, last;   /* progress when it was first and last heard of; -1: never */
  int64_t early;         /* units that are done first, */
  double early_share;    /* and their share of planned */
  int rounds;            /* how often it began from its start: samples */
  double first_unit;     /* seconds of its first unit of work, which memory touched and weights packed for the first time slow down; 0: still to come */
  double warm_spent, warm_part; /* of spent and part: what came after it */
};

struct forecast {
  struct sink sink; /* to be handed to the stages: progress comes here first */
  const struct sink *outer;
  struct forecast_stage stage[PLAN_STAGES];
  const char *name[PLAN_STAGES];
  int rounds, now; /* of samples in all; stage under way, -1: none */
  double since;    /* when that was looked at last */
};

/* outer may be NULL. Not to be moved afterwards: sink points to it. */
void forecast_begin(struct forecast *f, const struct sink *outer);
void forecast_plan(struct forecast *f, const struct run_plan *p, int rounds); /* what to expect from now on */
double forecast_left(const struct forecast *f);                               /* seconds */
/* "class images 12 s (11 expected), training ..." of the stages that took place. */
void forecast_text(const struct forecast *f, char *out, size_t n);

#endif
