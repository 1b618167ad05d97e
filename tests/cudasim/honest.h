/* A table of numbers, once as the simulator's headers declare them and once as the toolkit's do. */
#ifndef CUDASIM_HONEST_H
#define CUDASIM_HONEST_H

struct honest_row {
  const char *name;
  long long value;
};
extern const struct honest_row honest_ours[], honest_real[]; /* end with a NULL name */

#endif
