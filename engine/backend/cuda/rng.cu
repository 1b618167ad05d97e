/* Standard normals: the same integers (Philox 4x32-10) and the same arithmetic as base/rng.c, where the sources are named. Double products and sums may be
 * fused here, which changes them in the last bits, and so the floats by one unit in the last place at most.
 *
 * Four numbers a thread; 4 bytes written and about 60 double and 40 integer operations a number. Bound by double precision on cards that have little of it:
 * noise is 16384 numbers a picture. */
#include "kernel.h"

__device__ static inline void philox(struct rng_counter c, uint32_t block, uint32_t out[4]) {
  uint32_t k0 = (uint32_t)c.seed, k1 = (uint32_t)(c.seed >> 32), x0 = block, x1 = c.index, x2 = c.step, x3 = c.stream;
  for (int round = 0; round < MISTAKE(7, 10, 9); round++) {
    uint64_t p = (uint64_t)0xD2511F53u * x0, q = (uint64_t)0xCD9E8D57u * x2;
    x0 = (uint32_t)(q >> 32) ^ x1 ^ k0;
    x2 = (uint32_t)(p >> 32) ^ x3 ^ k1;
    x1 = (uint32_t)q;
    x3 = (uint32_t)p;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = x0, out[1] = x1, out[2] = x2, out[3] = x3;
}

/* -log((x + 1/2) / 2^32) */
__device__ static inline double minus_log(uint32_t x) {
  uint64_t odd = 2 * (uint64_t)x + 1;
  int e = 32 - __clz((int)x); /* odd = 2^e f, f in [1, 2) */
  double f = (double)odd / (double)((uint64_t)1 << e);
  e -= 33;
  if (f > 1.4142135623730951) {
    f *= 0.5;
    e++;
  }
  double s = (f - 1) / (f + 1), z = s * s, sum = 0;
  for (int k = 23; k >= 1; k -= 2) sum = sum * z + 1.0 / k;
  return -(e * 0.6931471805599453 + 2 * s * sum);
}

/* 1 - z / (first first + 1) (1 - z / ...): Taylor's series of cosine (from n = 18) and of sine (from n = 17) */
__device__ static inline double series(double z, int n) {
  double p = 1;
  for (; n > 1; n -= 2) p = 1 - z / (double)(n * (n - 1)) * p;
  return p;
}

__device__ static inline void circle(uint32_t x, double *cosine, double *sine) {
  uint32_t quadrant = (x + 0x20000000u) >> 30;
  int32_t rest = (int32_t)(x - (quadrant << 30));
  double a = rest * (6.283185307179586 / 4294967296.0), c = series(a * a, 18), s = a * series(a * a, 17);
  *cosine = quadrant == 0 ? c : quadrant == 1 ? -s : quadrant == 2 ? -c : s;
  *sine = quadrant == 0 ? s : quadrant == 1 ? c : quadrant == 2 ? -s : -c;
}

__global__ void normal_kernel(float *out, int64_t n, struct rng_counter counter) {
  int64_t block = thread_index();
  if (4 * block >= n) return;
  uint32_t x[4];
  philox(counter, (uint32_t)block, x);
  for (int pair = 0; pair < 2; pair++) {
    double radius = sqrt(2 * minus_log(x[2 * pair])), c, s;
    int64_t i = 4 * block + 2 * pair;
    circle(x[2 * pair + 1], &c, &s);
    if (i < n) out[i] = (float)(radius * c);
    if (i + 1 < n) out[i + 1] = (float)(radius * s);
  }
}

void cuda_normal(struct backend *b, struct tensor *out, const struct rng_counter *c) {
  int64_t n = tensor_count(out);
  if (cuda_idle(b)) return;
  RUN(b, normal_kernel, pieces(n, 4 * BLOCK), BLOCK, (float *)out->data, n, *c);
}
