/* Weights in the order and type that products want, and their gradients back: 4 bytes read and s written a weight; bound by memory. */
#include "kernel.h"

/* to [co, taps, ci] or [taps, co, ci] = from [co, ci, taps] */
__global__ void pack_kernel(void *to, int type, const float *from, int64_t count, int64_t co, int64_t ci, int64_t taps, int order) {
  int64_t k = thread_index();
  if (k >= count) return;
  int64_t outer = quotient(k, ci), i = k - outer * ci;
  int64_t o = order == PACK_O_TAPS_I ? quotient(outer, taps) : outer % co, t = order == PACK_O_TAPS_I ? outer - o * taps : quotient(outer, co);
  store(to, k, type, from[(o * ci + i) * taps + MISTAKE(10, t, taps - 1 - t)]);
}

__global__ void turn_kernel(void *to, int type, const void *from, int64_t count, int64_t co, int64_t ci, int64_t taps) {
  int64_t k = thread_index();
  if (k >= count) return;
  int64_t outer = quotient(k, ci), i = k - outer * ci, t = quotient(outer, co), o = outer - t * co;
  store(to, k, type, load(from, (o * taps + t) * ci + i, type));
}

__global__ void unpack_kernel(float *g, const float *from, int64_t count, int64_t ci, int64_t taps) {
  int64_t k = thread_index();
  if (k >= count) return;
  int64_t pair = quotient(k, taps), t = k - pair * taps, o = quotient(pair, ci), i = pair - o * ci;
  g[k] += from[(o * taps + t) * ci + i];
}

void cuda_pack_weights(struct backend *b, void *to, enum dtype type, const float *from, int64_t co, int64_t ci, int64_t taps, enum pack_order order) {
  int64_t count = co * ci * taps;
  if (cuda_idle(b)) return;
  RUN(b, pack_kernel, pieces(count, BLOCK), BLOCK, to, type, from, count, co, ci, taps, order);
}

void cuda_turn_weights(struct backend *b, void *to, enum dtype type, const void *from, int64_t co, int64_t ci, int64_t taps) {
  int64_t count = co * ci * taps;
  if (cuda_idle(b)) return;
  RUN(b, turn_kernel, pieces(count, BLOCK), BLOCK, to, type, from, count, co, ci, taps);
}

void cuda_unpack_gradient(struct backend *b, float *g, const float *from, int64_t co, int64_t ci, int64_t taps) {
  int64_t count = co * ci * taps;
  if (cuda_idle(b)) return;
  RUN(b, unpack_kernel, pieces(count, BLOCK), BLOCK, g, from, count, ci, taps);
}
