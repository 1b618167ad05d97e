/* Philox 4x32-10 and Box-Muller (rng.h).
 *
 * Sources: Salmon et al., SC 2011, and the known answers of Random123's kat_vectors (tests/unit/test_rng.c).
 * The normals use no libm call but sqrt (exact by IEEE 754): log, sin and cos are the polynomials below, in double, each
 * within about 1e-15 of exact, so that the rounding to float is within one unit in the last place everywhere.
 * A fused multiply-add would change the last bits of the doubles: contraction is off in this file, by pragma and, where the
 * build allows it, by -ffp-contract=off. */
#include "base/rng.h"

#include <math.h>

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("-ffp-contract=off")
#endif

enum { PHILOX_ROUNDS = 10 };

static const double LN2 = 0x1.62e42fefa39efp-1;
static const double TWO_PI = 0x1.921fb54442d18p+2;

void rng_block(const struct rng_counter *c, uint32_t block, uint32_t out[4]) {
  uint32_t k0 = (uint32_t)c->seed, k1 = (uint32_t)(c->seed >> 32);
  uint32_t x0 = block, x1 = c->index, x2 = c->step, x3 = c->stream;
  for (int round = 0; round < PHILOX_ROUNDS; round++) {
    uint64_t p = (uint64_t)0xD2511F53u * x0, q = (uint64_t)0xCD9E8D57u * x2;
    x0 = (uint32_t)(q >> 32) ^ x1 ^ k0;
    x2 = (uint32_t)(p >> 32) ^ x3 ^ k1;
    x1 = (uint32_t)q;
    x3 = (uint32_t)p;
    k0 += 0x9E3779B9u; /* golden ratio */
    k1 += 0xBB67AE85u; /* sqrt(3) - 1 */
  }
  out[0] = x0, out[1] = x1, out[2] = x2, out[3] = x3;
}

uint32_t rng_u32(const struct rng_counter *c, uint32_t n) {
  uint32_t x[4];
  rng_block(c, n / 4, x);
  return x[n % 4];
}

uint32_t rng_below(const struct rng_counter *c, uint32_t n, uint32_t bound) {
  return (uint32_t)(((uint64_t)rng_u32(c, n) * bound) >> 32);
}

float rng_uniform(const struct rng_counter *c, uint32_t n) {
  return (float)(rng_u32(c, n) >> 8) * 0x1p-24f;
}

/* -log((x + 1/2) / 2^32), always positive: log(2^e f) = e log 2 + 2 atanh((f - 1) / (f + 1)) with f in [sqrt(1/2), sqrt(2)).
   Near 1 (e = 0) f - 1 is exact, so the relative error stays small where the logarithm does. */
static double minus_log(uint32_t x) {
  uint64_t odd = 2 * (uint64_t)x + 1; /* u = odd / 2^33 */
  int e = 63 - __builtin_clzll(odd);  /* odd = 2^e f, f in [1, 2) */
  double f = (double)odd / (double)((uint64_t)1 << e);
  e -= 33;
  if (f > 0x1.6a09e667f3bcdp+0) {
    f *= 0.5;
    e++;
  }
  double s = (f - 1) / (f + 1), z = s * s, sum = 0; /* |s| < 0.1716: the first term left out is below 1e-18 of the sum */
  for (int k = 23; k >= 1; k -= 2) sum = sum * z + 1.0 / k;
  return -(e * LN2 + 2 * s * sum);
}

/* Taylor series for |a| <= pi / 4: the first terms left out are below 1e-17 of the sums. */
static double sin_small(double a) {
  static const double inverse[] = {1.0 / 272, 1.0 / 210, 1.0 / 156, 1.0 / 110, 1.0 / 72, 1.0 / 42, 1.0 / 20, 1.0 / 6};
  double z = a * a, p = 1;
  for (int i = 0; i < 8; i++) p = 1 - z * inverse[i] * p;
  return a * p;
}

static double cos_small(double a) {
  static const double inverse[] = {1.0 / 306, 1.0 / 240, 1.0 / 182, 1.0 / 132, 1.0 / 90, 1.0 / 56, 1.0 / 30, 1.0 / 12, 1.0 / 2};
  double z = a * a, p = 1;
  for (int i = 0; i < 9; i++) p = 1 - z * inverse[i] * p;
  return p;
}

/* Cosine and sine of 2 pi x / 2^32. The quadrant and the distance to its axis are exact, being integers. */
static void circle(uint32_t x, double *cosine, double *sine) {
  uint32_t quadrant = (x + 0x20000000u) >> 30;
  int32_t rest = (int32_t)(x - (quadrant << 30));
  double a = rest * (TWO_PI * 0x1p-32), c = cos_small(a), s = sin_small(a);
  *cosine = quadrant == 0 ? c : quadrant == 1 ? -s : quadrant == 2 ? -c : s;
  *sine = quadrant == 0 ? s : quadrant == 1 ? c : quadrant == 2 ? -s : -c;
}

static void normal_pair(uint32_t x0, uint32_t x1, float out[2]) {
  double radius = sqrt(2 * minus_log(x0)), c, s;
  circle(x1, &c, &s);
  out[0] = (float)(radius * c);
  out[1] = (float)(radius * s);
}

void rng_normal(const struct rng_counter *c, float *out, int64_t first, int64_t n) {
  for (int64_t block = first / 4; block * 4 < first + n; block++) {
    uint32_t x[4];
    float z[4];
    rng_block(c, (uint32_t)block, x);
    normal_pair(x[0], x[1], z);
    normal_pair(x[2], x[3], z + 2);
    for (int j = 0; j < 4; j++) {
      int64_t i = block * 4 + j - first;
      if (i >= 0 && i < n) out[i] = z[j];
    }
  }
}

void rng_permutation(const struct rng_counter *c, int *out, int n) {
  for (int i = 0; i < n; i++) out[i] = i;
  for (int i = n - 1; i > 0; i--) {
    int j = (int)rng_below(c, (uint32_t)(n - 1 - i), (uint32_t)i + 1);
    int t = out[i];
    out[i] = out[j], out[j] = t;
  }
}
