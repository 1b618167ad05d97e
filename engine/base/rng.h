/* Counter-based random numbers: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 *
 * A number is a function of (seed, stream, step, index) and of nothing else: not of the thread count, the backend or how
 * often a run was interrupted. key = the 64-bit seed; counter = { block, index, step, stream }. */
#ifndef PDMBOOTH_BASE_RNG_H
#define PDMBOOTH_BASE_RNG_H

#include <stdint.h>

/* One stream for each purpose; numbers are part of the file format (a run repeats), append only. */
enum rng_stream {
  RNG_NOISE_INSTANCE = 1,
  RNG_NOISE_PRIOR,
  RNG_NOISE_PDM,
  RNG_TIMESTEP,    /* index = slot */
  RNG_CROP,        /* also flips; index = example * 16 + attempt */
  RNG_POSTERIOR,   /* index as for noise */
  RNG_SHUFFLE,     /* step = epoch */
  RNG_SAMPLE,      /* initial latents of a picture: seed = the picture's own seed */
  RNG_SAMPLE_STEP, /* noise that a stochastic sampler adds */
  RNG_LORA_INIT,   /* index = adapter number */
  RNG_OFFSET,      /* offset noise */
  RNG_SHUFFLE_PRIOR,
  RNG_PROBE, /* fixed (timestep, noise) pairs of the probe loss */
  RNG_GAZE,  /* noise of what masks are derived from; step = timestep, index = number of the noise */
};

struct rng_counter {
  uint64_t seed;
  uint32_t stream, step, index;
};

/* Four 32-bit numbers of block b. */
void rng_block(const struct rng_counter *c, uint32_t block, uint32_t out[4]);
/* n-th 32-bit number of the counter. */
uint32_t rng_u32(const struct rng_counter *c, uint32_t n);
/* Uniform integer in [0, bound), without bias beyond 2^-32: (u64)u32 * bound >> 32. */
uint32_t rng_below(const struct rng_counter *c, uint32_t n, uint32_t bound);
/* Uniform in [0, 1), 24 bits. */
float rng_uniform(const struct rng_counter *c, uint32_t n);
/* out[i], i < n: standard normals (Box-Muller on 32-bit pairs: numbers 2k and 2k+1 of a block give elements 2k and 2k+1),
   computed by arithmetic of our own in double precision so that every device agrees within 2 units in the last place. */
void rng_normal(const struct rng_counter *c, float *out, int64_t first, int64_t n);
/* A permutation of 0..n-1 (Fisher-Yates). */
void rng_permutation(const struct rng_counter *c, int *out, int n);

#endif
