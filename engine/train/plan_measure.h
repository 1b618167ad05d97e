/* How long one operation takes on this machine, found by calling it. */
#ifndef PDMBOOTH_TRAIN_PLAN_MEASURE_H
#define PDMBOOTH_TRAIN_PLAN_MEASURE_H

#include "backend/count/profile.h"

/* Seconds of one call of what line says. Pictures of one batch that are alike are timed in part and multiplied. 0 where memory or the backend fails. */
double op_seconds(struct backend *b, const struct op_line *line);

#endif
