/* Which of a library's algorithms is the fastest for a shape: measured once, in a rehearsal, when the card's memory is not the run's yet, and never changed after.
 * What was chosen goes from run to run as text (backend.h: choices): a line that names card and libraries, then a line a shape with a sum of its own. */
#ifndef PDMBOOTH_BACKEND_CUDA_CHOICES_H
#define PDMBOOTH_BACKEND_CUDA_CHOICES_H

#include "cuda.h"

enum { CUDA_CHOICE_KEY = 16, CUDA_CHOICE_VALUE = 10 };

/* Numbers that a library's caller knows the meaning of. */
struct cuda_choice {
  char what[12]; /* "convolution" */
  int keys, values;
  int64_t key[CUDA_CHOICE_KEY];
  uint64_t value[CUDA_CHOICE_VALUE];
};

/* The value that stands for a key; false: none does. */
bool cuda_choice_find(const struct backend *b, struct cuda_choice *c);
/* From now on it stands, where none stands yet. What there is no memory for is not kept. */
void cuda_choice_keep(struct backend *b, const struct cuda_choice *c);

/* Ways to do the same. */
struct cuda_trials {
  int n;
  size_t bytes; /* of memory, zeros, that they work on */
  bool (*run)(struct backend *b, void *job, int i, char *memory); /* queues the i-th; false: refused, or b->fault */
  void *job;
};

/* Whether this is the time to measure. */
bool cuda_may_measure(const struct backend *b);
/* The fastest, the first of those that are about as fast; -1: all are refused. *sure: was measured; else 0, for want of memory, or b->fault. */
int cuda_fastest(struct backend *b, const struct cuda_trials *t, bool *sure);

bool cuda_choices_open(struct backend *b, struct err *e);
void cuda_choices_close(struct backend *b);

#endif
