/* Matrix products on the tiles of kernels.h, shared out over threads.
 *
 * A is read in place, B from panels of nr columns: [ceil(n / nr)][taps][k][nr], zeros where columns are missing. A block of
 * BLOCK_ROWS rows of A stays in the second-level cache while the panels pass by; within it, CHUNK_K rows of a panel stay in
 * the first level. Convolution is the same with taps: no unfolded picture is ever written. */
#include "cpu.h"

#include <string.h>

enum { BLOCK_ROWS = 192, CHUNK_K = 384, OUTER_ROWS = 96, OUTER_K = 256, MAX_TAPS = 16, PACK_K = 32 };

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* --- where a tap looks ---------------------------------------------------------------------------------------------------- */

/* Index of the pixel read by tap (ky, kx) of written pixel m, -1 outside of the picture. */
static int64_t source_pixel(const struct geometry *g, int64_t m, int tap) {
  int64_t picture = m / (g->oh * g->ow), oy = m / g->ow % g->oh, ox = m % g->ow;
  int ky = tap / g->s.kw, kx = tap % g->s.kw, stride = g->s.stride;
  int64_t y, x;
  if (g->transposed) {
    y = oy + g->s.pad_top - ky;
    x = ox + g->s.pad_left - kx;
    if (y % stride || x % stride) return -1;
    y /= stride;
    x /= stride;
  } else {
    y = oy * stride - g->s.pad_top + ky;
    x = ox * stride - g->s.pad_left + kx;
  }
  if (y < 0 || y >= g->ih || x < 0 || x >= g->iw) return -1;
  return (picture * g->ih + y) * g->iw + x;
}

/* Pointers to rows [first, first + count) for one tap, padded to whole tiles with zeros; false where all are zeros. */
static void find_rows(const struct product *p, int mr, int64_t first, int64_t count, int tap, const float **at) {
  int64_t padded = ceil_div(count, mr) * mr;
  for (int64_t i = 0; i < padded; i++) {
    int64_t m = first + least(i, count - 1);
    int64_t row = p->g ? source_pixel(p->g, p->map ? p->map[m] : m, tap) : m;
    at[i] = row < 0 ? p->zeros : p->a + row * p->k;
  }
}

/* --- product ---------------------------------------------------------------------------------------------------------------- */

static bool all_zeros(const struct product *p, const float *const *at, int mr) {
  if (!p->g) return false;
  for (int i = 0; i < mr; i++)
    if (at[i] != p->zeros) return false;
  return true;
}

/* t [rows, nr] += A_tap rows times one panel of B_tap */
static void block_tap(const struct kernels *k, const struct product *p, const float *const *at, int64_t rows, const float *panel,
                      float *t) {
  int64_t chunks = ceil_div(p->k, CHUNK_K), size = ceil_div(p->k, chunks);
  for (int64_t k0 = 0; k0 < p->k; k0 += size)
    for (int64_t r = 0; r < rows; r += k->mr) {
      const float *a[KERNEL_MAX_MR];
      if (all_zeros(p, at + r, k->mr)) continue;
      for (int i = 0; i < k->mr; i++) a[i] = at[r + i] == p->zeros ? p->zeros : at[r + i] + k0;
      k->tile(a, least(size, p->k - k0), panel + k0 * k->nr, t + r * k->nr, false);
    }
}

static void block(const struct kernels *k, const struct product *p, int64_t first, int64_t panel0, int64_t panels) {
  const float *at[MAX_TAPS][BLOCK_ROWS];
  float t[BLOCK_ROWS * KERNEL_MAX_NR] __attribute__((aligned(64)));
  int64_t rows = least(BLOCK_ROWS, p->m - first);
  for (int tap = 0; tap < p->taps; tap++) find_rows(p, k->mr, first, rows, tap, at[tap]);
  struct tile_out out = p->out;
  if (!p->map) out.c = (char *)out.c + first * out.ldc * (int64_t)dtype_size(out.type);
  for (int64_t n = panel0; n < panel0 + panels; n++) {
    const float *panel = p->b + n * p->taps * p->k * k->nr;
    memset(t, 0, (size_t)(BLOCK_ROWS * k->nr) * sizeof *t);
    for (int tap = 0; tap < p->taps; tap++) block_tap(k, p, at[tap], rows, panel + tap * p->k * k->nr, t);
    k->tile_store(&out, t, rows, p->map ? p->map + first : NULL, n * k->nr, (int)least(k->nr, p->n - n * k->nr));
  }
}

void cpu_product(struct backend *b, const struct product *p) {
  const struct kernels *k = cpu_of(b)->k;
  int64_t blocks = ceil_div(p->m, BLOCK_ROWS), panels = ceil_div(p->n, k->nr);
  int64_t groups = least(panels, ceil_div(4 * b->threads, blocks)), size = ceil_div(panels, groups);
  groups = ceil_div(panels, size);
  int threads = p->m * p->n * p->k * p->taps < CPU_SERIAL * 8 ? 1 : b->threads;
#pragma omp parallel for collapse(2) schedule(dynamic) num_threads(threads)
  for (int64_t g = 0; g < groups; g++)
    for (int64_t m = 0; m < blocks; m++) block(k, p, m * BLOCK_ROWS, g * size, least(size, panels - g * size));
}

/* --- packing ---------------------------------------------------------------------------------------------------------------- */

int64_t cpu_pack_floats(const struct backend *b, const struct packing *p) {
  int nr = cpu_of(b)->k->nr;
  return ceil_div(p->n, nr) * nr * p->k * p->taps;
}

/* Rows [k0, k1) of one panel; columns and taps innermost where they are contiguous in w. */
static void pack_rows(const struct packing *p, int nr, float *to, int64_t n0, int64_t k0, int64_t k1) {
  int64_t cols = least(nr, p->n - n0), plane = p->k * nr;
  const float *w = p->w + n0 * p->sn;
  if (cols < nr)
    for (int tap = 0; tap < p->taps; tap++) memset(to + tap * plane + k0 * nr, 0, (size_t)((k1 - k0) * nr) * sizeof *to);
  if (p->sn == 1) {
    for (int64_t k = k0; k < k1; k++) memcpy(to + k * nr, w + k * p->sk, (size_t)cols * sizeof *to);
  } else if (p->taps == 1) {
    for (int64_t n = 0; n < cols; n++)
      for (int64_t k = k0; k < k1; k++) to[k * nr + n] = w[k * p->sk + n * p->sn];
  } else {
    for (int64_t n = 0; n < cols; n++)
      for (int64_t k = k0; k < k1; k++)
        for (int tap = 0; tap < p->taps; tap++) to[tap * plane + k * nr + n] = w[k * p->sk + n * p->sn + tap];
  }
  for (int tap = 0; p->round && tap < p->taps; tap++)
    for (int64_t i = k0 * nr; i < k1 * nr; i++) to[tap * plane + i] = wide(narrow(to[tap * plane + i]));
}

void cpu_pack(struct backend *b, float *to, const struct packing *p) {
  int nr = cpu_of(b)->k->nr, threads = p->n * p->k * p->taps < CPU_SERIAL ? 1 : b->threads;
  int64_t panels = ceil_div(p->n, nr);
#pragma omp parallel for num_threads(threads)
  for (int64_t n = 0; n < panels; n++)
    for (int64_t k = 0; k < p->k; k += PACK_K)
      pack_rows(p, nr, to + n * p->taps * p->k * nr, n * nr, k, least(k + PACK_K, p->k));
}

/* --- weight gradients ---------------------------------------------------------------------------------------------------------- */

static float element(const struct tensor *t, int64_t i) {
  return t->type == DT_BF16 ? wide(((const uint16_t *)t->data)[i]) : ((const float *)t->data)[i];
}

/* to [co, rows] = dy^T, in squares that fit the first-level cache */
static void transpose(struct backend *b, float *to, const struct tensor *dy, int64_t rows, int64_t co) {
  enum { SQUARE = 32 };
#pragma omp parallel for collapse(2) num_threads(rows * co < CPU_SERIAL ? 1 : b->threads)
  for (int64_t c0 = 0; c0 < co; c0 += SQUARE)
    for (int64_t r0 = 0; r0 < rows; r0 += SQUARE)
      for (int64_t c = c0; c < least(c0 + SQUARE, co); c++)
        for (int64_t r = r0; r < least(r0 + SQUARE, rows); r++) to[c * rows + r] = element(dy, r * co + c);
}

/* panel [count, nr] = columns [n0, n0 + cols) of x_tap's rows from `first` on */
static void gather(const struct outer *o, int nr, float *panel, int tap, int64_t first, int64_t count, int64_t n0) {
  int64_t cols = least(nr, o->ci - n0);
  for (int64_t i = 0; i < count; i++, panel += nr) {
    int64_t row = o->g ? source_pixel(o->g, first + i, tap) : first + i;
    if (row < 0 || cols < nr) memset(panel, 0, (size_t)nr * sizeof *panel);
    if (row < 0) continue;
    if (o->x->type == DT_F32)
      memcpy(panel, (const float *)o->x->data + row * o->ci + n0, (size_t)cols * sizeof *panel);
    else
      for (int64_t j = 0; j < cols; j++) panel[j] = element(o->x, row * o->ci + n0 + j);
  }
}

/* Rows [m0, m0 + count) of the gradient, one panel of columns, all taps: so each line of it is visited once. */
static void outer_block(const struct kernels *k, const struct outer *o, const float *dyt, int64_t m0, int64_t n0) {
  float panel[OUTER_K * KERNEL_MAX_NR] __attribute__((aligned(64)));
  float t[MAX_TAPS][OUTER_ROWS * KERNEL_MAX_NR] __attribute__((aligned(64)));
  int64_t count = least(OUTER_ROWS, o->co - m0), cols = least(k->nr, o->ci - n0);
  for (int64_t k0 = 0; k0 < o->rows; k0 += OUTER_K)
    for (int tap = 0; tap < o->taps; tap++) {
      int64_t depth = least(OUTER_K, o->rows - k0);
      gather(o, k->nr, panel, tap, k0, depth, n0);
      for (int64_t r = 0; r < count; r += k->mr) {
        const float *a[KERNEL_MAX_MR];
        for (int i = 0; i < k->mr; i++) a[i] = dyt + (m0 + least(r + i, count - 1)) * o->rows + k0;
        k->tile(a, depth, panel, t[tap] + r * k->nr, k0 == 0);
      }
    }
  for (int64_t r = 0; r < count; r++)
    for (int64_t j = 0; j < cols; j++)
      for (int tap = 0; tap < o->taps; tap++)
        o->out[((m0 + r) * o->ci + n0 + j) * o->taps + tap] += o->alpha * t[tap][r * k->nr + j];
}

void cpu_outer(struct backend *b, const struct outer *o) {
  const struct kernels *k = cpu_of(b)->k;
  float *dyt = cpu_scratch(b, o->rows * o->co);
  if (!dyt) return;
  transpose(b, dyt, o->dy, o->rows, o->co);
  int64_t blocks = ceil_div(o->co, OUTER_ROWS), panels = ceil_div(o->ci, k->nr);
  int threads = o->rows * o->co * o->ci * o->taps < CPU_SERIAL * 8 ? 1 : b->threads;
#pragma omp parallel for collapse(2) schedule(dynamic) num_threads(threads)
  for (int64_t n = 0; n < panels; n++)
    for (int64_t m = 0; m < blocks; m++) outer_block(k, o, dyt, m * OUTER_ROWS, n * k->nr);
}
