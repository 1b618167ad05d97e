/* Pictures as convolutions by products want them, and borders of zeros that the library does not make on one side only.
 * unfold writes kh kw times what it reads (L2 gives most of it again); pad and crop read and write once. Bound by memory. */
#include "kernel.h"

struct view {
  int64_t n, h, w, c, oh, ow, kh, kw, stride, top, left, first;
  int transposed, type;
};

/* Where the picture is read for written line `o` and tap k; -1: nowhere */
__device__ static inline int64_t source_line(int64_t o, int64_t k, int64_t stride, int64_t pad, int64_t size, int transposed) {
  int64_t i = transposed ? o + pad - k : o * stride - pad + k;
  if (transposed) {
    if (i < 0 || i % stride != 0) return -1;
    i /= stride;
  }
  return i >= 0 && i < size ? i : -1;
}

__global__ void unfold_kernel(void *to, const void *x, int64_t count, struct view v) {
  int64_t k = thread_index();
  if (k >= count) return;
  int64_t outer = quotient(k, v.c), c = k - outer * v.c, pixel = quotient(outer, v.kh * v.kw), tap = outer - pixel * v.kh * v.kw;
  pixel += v.first;
  int64_t line = quotient(pixel, v.ow), col = pixel - line * v.ow, n = quotient(line, v.oh), ky = quotient(tap, v.kw);
  int64_t y = source_line(line - n * v.oh, ky, v.stride, v.top, v.h, v.transposed);
  int64_t z = source_line(col, tap - ky * v.kw, v.stride, v.left, v.w, v.transposed);
  store(to, k, v.type, y < 0 || z < 0 ? 0 : load(x, ((n * v.h + y) * v.w + z) * v.c + c, v.type));
}

/* to [n, oh, ow, c]: pixel (y, x) is that of from [n, h, w, c] at (y - top, x - left), or 0 */
__global__ void shift_kernel(void *to, const void *from, int64_t count, struct view v) {
  int64_t k = thread_index();
  if (k >= count) return;
  int64_t pixel = quotient(k, v.c), c = k - pixel * v.c, line = quotient(pixel, v.ow), x = pixel - line * v.ow - v.left;
  int64_t n = quotient(line, v.oh), y = line - n * v.oh - v.top;
  bool there = y >= 0 && y < v.h && x >= 0 && x < v.w;
  store(to, k, v.type, there ? load(from, ((n * v.h + y) * v.w + x) * v.c + c, v.type) : 0);
}

static struct view view_of(const struct window *k, enum dtype type) {
  struct view v;
  v.n = k->n, v.h = k->h, v.w = k->w, v.c = k->c, v.oh = k->oh, v.ow = k->ow, v.kh = k->s.kh, v.kw = k->s.kw, v.stride = k->s.stride;
  v.top = k->s.pad_top, v.left = k->s.pad_left, v.first = 0, v.transposed = k->transposed, v.type = type;
  return v;
}

void cuda_unfold(struct backend *b, void *to, const void *x, enum dtype type, const struct window *k, int64_t first, int64_t count) {
  struct view v = view_of(k, type);
  int64_t n = count * v.kh * v.kw * v.c;
  v.first = first;
  if (cuda_idle(b)) return;
  RUN(b, unfold_kernel, pieces(n, BLOCK), BLOCK, to, x, n, v);
}

void cuda_pad(struct backend *b, void *to, const void *x, enum dtype type, const struct window *k) {
  struct view v = view_of(k, type);
  v.oh = v.h + k->s.pad_top + k->s.pad_bottom, v.ow = v.w + k->s.pad_left + k->s.pad_right;
  int64_t n = v.n * v.oh * v.ow * v.c;
  if (cuda_idle(b)) return;
  RUN(b, shift_kernel, pieces(n, BLOCK), BLOCK, to, x, n, v);
}

void cuda_crop(struct backend *b, void *x, const void *from, enum dtype type, const struct window *k) {
  struct view v = view_of(k, type);
  v.oh = k->h, v.ow = k->w, v.h = k->h + k->s.pad_top + k->s.pad_bottom, v.w = k->w + k->s.pad_left + k->s.pad_right;
  v.top = -v.top, v.left = -v.left;
  int64_t n = v.n * v.oh * v.ow * v.c;
  if (cuda_idle(b)) return;
  RUN(b, shift_kernel, pieces(n, BLOCK), BLOCK, x, from, n, v);
}
