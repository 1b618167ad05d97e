/* curves.png: the losses of a run over its steps. */
#ifndef PDMBOOTH_SRC_PLOT_H
#define PDMBOOTH_SRC_PLOT_H

#include "pdmbooth.h"

/* rows [n] in the order of steps. Two panels: each loss term that is on (as measured, and smoothed), and the gradient norm. */
bool plot_curves(const char *path, const char *title, const struct metrics *rows, int n, struct err *e);

#endif
