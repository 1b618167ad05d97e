/* nvcuda::wmma for 16 x 16 x 16 tiles of __half and __nv_bfloat16 with sums in float: the whole of a matrix lies with a warp's first lane, which does the work; the others come
 * and wait, as on the device, where a warp does it together. Where elements of a fragment lie is not said there either: there is no x[] to look at.
 * Checked: that all lanes come, alignment of 32 bytes, the rows' distance (multiples of 16 bytes). */
#ifndef CUDASIM_MMA_H
#define CUDASIM_MMA_H

#include "cuda_bf16.h"
#include "cuda_fp16.h"

#ifdef __cplusplus
namespace cudasim {
void violation(const char *format, ...) __attribute__((format(printf, 1, 2)));
}
namespace nvcuda {
namespace wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major, mem_col_major };

template <class use, int m, int n, int k, class T, class layout = void> struct fragment {
  static_assert(m == 16 && n == 16 && k == 16, "the simulator has tiles of 16 x 16 x 16");
  float cudasim_value[16][16]; /* [row][column], of the first lane */
};

static inline void cudasim_meet(const char *file, int line) { cudasim::warp_exchange(0xffffffffu, nullptr, 0, -1, false, file, line); }

static inline void cudasim_check_tile(const void *p, unsigned pitch, size_t size, const char *file, int line) {
  if ((uintptr_t)p % 32) cudasim::violation("a tile at %s:%d is not aligned to 32 bytes", file, line);
  if (pitch * size % 16) cudasim::violation("a tile at %s:%d has rows that are %zu bytes apart, which is no multiple of 16", file, line, pitch * size);
}

template <class use, class T, class layout> void fill_fragment(fragment<use, 16, 16, 16, T, layout> &f, float value, CUDASIM_HERE) {
  cudasim_meet(file, line);
  for (int i = 0; i < 256; i++) (&f.cudasim_value[0][0])[i] = value;
}

template <class use, class T>
void load_matrix_sync(fragment<use, 16, 16, 16, T, row_major> &f, const T *p, unsigned pitch, CUDASIM_HERE) {
  cudasim_meet(file, line);
  cudasim_check_tile(p, pitch, sizeof(T), file, line);
  for (int i = 0; cudasim::lane() == 0 && i < 16; i++)
    for (int j = 0; j < 16; j++) f.cudasim_value[i][j] = (float)p[i * pitch + j];
  cudasim_meet(file, line);
}
template <class use, class T>
void load_matrix_sync(fragment<use, 16, 16, 16, T, col_major> &f, const T *p, unsigned pitch, CUDASIM_HERE) {
  cudasim_meet(file, line);
  cudasim_check_tile(p, pitch, sizeof(T), file, line);
  for (int i = 0; cudasim::lane() == 0 && i < 16; i++)
    for (int j = 0; j < 16; j++) f.cudasim_value[j][i] = (float)p[i * pitch + j];
  cudasim_meet(file, line);
}

static inline void store_matrix_sync(float *p, const fragment<accumulator, 16, 16, 16, float> &f, unsigned pitch, layout_t layout, CUDASIM_HERE) {
  cudasim_meet(file, line);
  cudasim_check_tile(p, pitch, sizeof(float), file, line);
  for (unsigned i = 0; cudasim::lane() == 0 && i < 16; i++)
    for (unsigned j = 0; j < 16; j++) p[layout == mem_row_major ? i * pitch + j : j * pitch + i] = f.cudasim_value[i][j];
  cudasim_meet(file, line);
}

template <class T, class la, class lb>
void mma_sync(fragment<accumulator, 16, 16, 16, float> &d, const fragment<matrix_a, 16, 16, 16, T, la> &a, const fragment<matrix_b, 16, 16, 16, T, lb> &b,
              const fragment<accumulator, 16, 16, 16, float> &c, CUDASIM_HERE) {
  cudasim_meet(file, line);
  if (cudasim::lane() != 0) return;
  for (int i = 0; i < 16; i++) {
    float sum[16];
    for (int j = 0; j < 16; j++) sum[j] = c.cudasim_value[i][j];
    for (int k = 0; k < 16; k++)
      for (int j = 0; j < 16; j++) sum[j] += a.cudasim_value[i][k] * b.cudasim_value[k][j];
    for (int j = 0; j < 16; j++) d.cudasim_value[i][j] = sum[j];
  }
}

}  // namespace wmma
}  // namespace nvcuda
#endif

#endif
