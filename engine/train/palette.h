/* Rows of features of several pictures as soft counts of a few common kinds (k-means): so that pictures can be compared, and what is inside
 * and outside of a mask be told apart, by how often each kind occurs in either. Deterministic, one thread, host memory. */
#ifndef PDMBOOTH_TRAIN_PALETTE_H
#define PDMBOOTH_TRAIN_PALETTE_H

#include <stdbool.h>
#include <stdint.h>

enum { PALETTE_NEAR = 3, PALETTE_MAX = 256 };

struct palette {
  int kinds, channels;
  float *centre; /* [kinds, channels], owned */
  float spread;  /* typical distance of a row to its kind */
};

/* What a row is made of: kinds and their shares, which add up to 1. */
struct palette_row {
  uint16_t kind[PALETTE_NEAR];
  float share[PALETTE_NEAR];
};

/* rows [n, channels]; at most 12,000 of them, evenly spaced, are looked at. False: out of memory. */
bool palette_make(struct palette *p, const float *rows, int64_t n, int channels, int kinds);
void palette_release(struct palette *p);
void palette_read(const struct palette *p, const float *rows, int64_t n, struct palette_row *out);

#endif
