/* The growing files of a run directory, read from where the last reading ended. Each returns whether something changed. */
#ifndef PDMBOOTH_UI_RUN_FILES_H
#define PDMBOOTH_UI_RUN_FILES_H

#include "ui/run_view.h"

bool run_read_rows(struct run_view *v);        /* metrics.csv; one that was written anew is read anew */
bool run_read_log(struct run_view *v);         /* log.txt */
bool run_read_samples(struct run_view *v);     /* samples/step-N/P-K.png */
bool run_read_checkpoints(struct run_view *v); /* checkpoints/ */
bool run_read_marks(struct run_view *v);       /* journal.csv */

#endif
