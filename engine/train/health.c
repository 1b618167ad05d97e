#include "train/health.h"

#include <math.h>

static const double most_of_term = 4, most_of_lowest = 10, most_of_begin = 3;

static void smooth(double *mean, double loss, int n) {
  if (!isnan(loss)) *mean += (loss - *mean) / (n < HEALTH_SMOOTH ? n : HEALTH_SMOOTH);
}

static bool is_bad(const struct health *h) {
  bool total = h->seen > HEALTH_SMOOTH && h->total > most_of_lowest * h->lowest && h->total > most_of_begin * h->begin;
  return total || h->instance > most_of_term || h->prior > most_of_term;
}

bool health_goes_on(struct health *h, const struct metrics *m) {
  h->seen++;
  smooth(&h->instance, m->instance, h->seen);
  smooth(&h->prior, m->prior, h->seen);
  smooth(&h->total, m->total, h->seen);
  if (h->seen == HEALTH_SMOOTH) h->lowest = h->begin = h->total;
  if (h->seen > HEALTH_SMOOTH && h->total < h->lowest) h->lowest = h->total;
  h->bad = is_bad(h) ? h->bad + 1 : 0;
  return h->bad < HEALTH_BAD_STEPS;
}

bool health_in_doubt(const struct health *h) {
  return h->bad > 0;
}
