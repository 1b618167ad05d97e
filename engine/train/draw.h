/* What step s uses: photograph, class picture, timesteps, crops, flips and the counters of all its noise.
 *
 * Everything is a function of (seed, step, micro-batch, example), so the list of (photograph, t) that the pdm slots will ask for is
 * known before training, and a resumed run draws what it would have drawn. Steps count from 0 here. */
#ifndef PDMBOOTH_TRAIN_DRAW_H
#define PDMBOOTH_TRAIN_DRAW_H

#include <stdbool.h>

#include "base/err.h"
#include "base/rng.h"
#include "train/step.h"

enum { DRAW_REDRAWS = 10 };

struct draw {
  uint64_t seed;
  int photographs, class_images; /* how many there are; class_images 0: no prior term */
  int batch, accumulation;
  int timesteps; /* of the noise schedule */
  bool flip;
  /* permutations of the epoch looked at last: a cache, owned */
  int *order[2];
  int64_t epoch[2];
};

bool draw_init(struct draw *d, struct err *e); /* the fields above the cache are set; allocates */
void draw_release(struct draw *d);

struct draw_example {
  int photograph, class_image; /* class_image -1 where there are none */
  int t[SLOT_KINDS];
  bool flip; /* of the instance slot */
  struct rng_counter noise[SLOT_KINDS], offset[SLOT_KINDS], posterior[SLOT_KINDS];
};
void draw_example(struct draw *d, int step, int micro, int example, struct draw_example *out);

/* Corner of a crop; attempt 0 .. DRAW_REDRAWS; free_x, free_y: how far it may move. */
void draw_crop(const struct draw *d, int step, int micro, int example, int attempt, int free_x, int free_y, int *x, int *y);

/* The (photograph, t) pairs of all pdm slots of steps 0 .. steps - 1, sorted, each once; *n of them. The caller frees. NULL: out of memory. */
struct draw_pair {
  int photograph, t;
};
struct draw_pair *draw_pairs(struct draw *d, int steps, int *n, struct err *e);

#endif
