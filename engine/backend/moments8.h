/* AdamW's moments in 8 bits, for every backend: Dettmers et al., "8-bit Optimizers via Block-wise Quantization" (ICLR 2022), section 2.
 *
 * A block of 256 values shares one scale, its largest magnitude. A value over its scale becomes the nearest of 256 numbers, dynamic quantisation:
 * decades 10^-e, e = 0..6, each cut into equal cells from 0.1 to 1 whose middles are the numbers: 2^(7-e) cells where values have no sign (root of v),
 * 2^(6-e) where one bit is the sign (m); and 0 and 1. So relative precision stays where a block holds both large and small values.
 *
 *   m: byte 0..128 = index of the number (128: the scale itself), 129..255 = -(index 1..127).      root of v: byte = index, 0..255.
 *
 * Two things are not the paper's, since the update divides by the root of v. It is that root that is kept: gradients of one block may lie three decades
 * apart (blocks know nothing of where a parameter ends), squares six, which is more than the numbers span. And what is not zero never becomes 0. After 400
 * steps with gradients over three decades weights were off by 7 % of their way; 11 % with v itself, and 165 % when small ones became 0
 * (tests/unit/test_optimizer.c has the problem).
 *
 * A tie goes to the smaller number. Memory of zero bytes is zero moments. All arithmetic here and in the update is unfused fp32, so that every backend comes
 * to the same bits. */
#ifndef PDMBOOTH_BACKEND_MOMENTS8_H
#define PDMBOOTH_BACKEND_MOMENTS8_H

#include <stdint.h>

enum { MOMENT_BLOCK = 256, MOMENT_LAST_M = 128, MOMENT_LAST_V = 255 };

/* The middle of cell i of n of the decade that ends at s. */
#define MOMENT_CELL(s, n, i) ((float)((s) * (0.1 + 0.9 * ((i) + 0.5) / (n))))
#define MOMENT_CELLS_1(s, n, i) MOMENT_CELL(s, n, i)
#define MOMENT_CELLS_2(s, n, i) MOMENT_CELLS_1(s, n, i), MOMENT_CELLS_1(s, n, (i) + 1)
#define MOMENT_CELLS_4(s, n, i) MOMENT_CELLS_2(s, n, i), MOMENT_CELLS_2(s, n, (i) + 2)
#define MOMENT_CELLS_8(s, n, i) MOMENT_CELLS_4(s, n, i), MOMENT_CELLS_4(s, n, (i) + 4)
#define MOMENT_CELLS_16(s, n, i) MOMENT_CELLS_8(s, n, i), MOMENT_CELLS_8(s, n, (i) + 8)
#define MOMENT_CELLS_32(s, n, i) MOMENT_CELLS_16(s, n, i), MOMENT_CELLS_16(s, n, (i) + 16)
#define MOMENT_CELLS_64(s, n, i) MOMENT_CELLS_32(s, n, i), MOMENT_CELLS_32(s, n, (i) + 32)
#define MOMENT_CELLS_128(s, n, i) MOMENT_CELLS_64(s, n, i), MOMENT_CELLS_64(s, n, (i) + 64)

/* Initialisers of float [MOMENT_LAST_M + 1] and [MOMENT_LAST_V + 1]: the numbers that are not negative, ascending. */
#define MOMENT_MAP_M                                                                                                               \
  {0, MOMENT_CELLS_1(1e-6, 1, 0), MOMENT_CELLS_2(1e-5, 2, 0), MOMENT_CELLS_4(1e-4, 4, 0), MOMENT_CELLS_8(1e-3, 8, 0),              \
   MOMENT_CELLS_16(1e-2, 16, 0), MOMENT_CELLS_32(1e-1, 32, 0), MOMENT_CELLS_64(1.0, 64, 0), 1}
#define MOMENT_MAP_V                                                                                                               \
  {0, MOMENT_CELLS_2(1e-6, 2, 0), MOMENT_CELLS_4(1e-5, 4, 0), MOMENT_CELLS_8(1e-4, 8, 0), MOMENT_CELLS_16(1e-3, 16, 0),            \
   MOMENT_CELLS_32(1e-2, 32, 0), MOMENT_CELLS_64(1e-1, 64, 0), MOMENT_CELLS_128(1.0, 128, 0), 1}

/* What device compilers want in front of a function; empty for the host's. */
#ifndef MOMENT_FUNCTION
#define MOMENT_FUNCTION static inline
#endif

/* The index of the number of map[0..last] that is nearest to a, 0 <= a <= 1; a that is no number counts as 0. */
MOMENT_FUNCTION int moment_nearest(const float *map, int last, float a) {
  int k = 0;
  for (int step = 128; step > 0; step /= 2)
    if (k + step <= last && a > 0.5f * (map[k + step - 1] + map[k + step])) k += step;
  return k;
}

/* Bytes of x as m, and as the root of v. */
MOMENT_FUNCTION uint8_t moment_byte_m(const float *map, float x, float scale) {
  float a = scale > 0 ? (x < 0 ? -x : x) / scale : 0;
  int k = moment_nearest(map, x < 0 ? MOMENT_LAST_M - 1 : MOMENT_LAST_M, a);
  return (uint8_t)(x < 0 && k > 0 ? k + 128 : k);
}
MOMENT_FUNCTION uint8_t moment_byte_v(const float *map, float x, float scale) {
  int k = moment_nearest(map, MOMENT_LAST_V, scale > 0 ? x / scale : 0);
  return (uint8_t)(k == 0 && x > 0 ? 1 : k);
}

MOMENT_FUNCTION float moment_value_m(const float *map, uint8_t byte, float scale) {
  return byte <= MOMENT_LAST_M ? map[byte] * scale : -map[byte - 128] * scale;
}
MOMENT_FUNCTION float moment_value_v(const float *map, uint8_t byte, float scale) {
  return map[byte] * scale;
}

#endif
