/* Matrix products on the tiles of kernels.h, shared out over threads.
 *
 * A is read in place, B from panels of nr columns: [ceil(n / nr)][taps][k][nr], zeros where columns are missing. A block of
 * BLOCK_ROWS rows of A stays in the second-level cache while the panels pass by; within it, CHUNK_K rows of a panel stay in
 * the first level. Convolution is the same with taps: no unfolded picture is ever written. */
#include "cpu.h"

#include <string.h>

enum { BLOCK_ROWS = 192, CHUNK_K = 384, OUTER_ROWS = 192, OUTER_K = 256, MAX_TAPS = CPU_MAX_TAPS, PACK_K = 32, PACK_LINES = 8 };

static int64_t least(int64_t a, int64_t b) {
  return a < b ? a : b;
}
static int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

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

/* nr is a multiple of 8: the compiler makes vector moves of this. */
static inline void copy_row(float *to, const float *from, int nr) {
  for (int j = 0; j < nr; j += 8) memcpy(to + j, from + j, 8 * sizeof *to);
}

/* --- packing ---------------------------------------------------------------------------------------------------------------- */

int64_t cpu_pack_floats(const struct backend *b, const struct packing *p) {
  int nr = cpu_of(b)->k->nr;
  return ceil_div(p->n, nr) * nr * p->k * p->taps;
}

/* Columns far apart in w, taps and k close together: a small transposed copy first, so that no line is visited twice in
   a place that others crowd out of the cache. */
static void pack_columns(const struct packing *p, int nr, float *to, int64_t n0, int64_t k0, int64_t k1) {
  float local[PACK_K * MAX_TAPS * KERNEL_MAX_NR];
  int64_t cols = least(nr, p->n - n0), plane = p->k * nr, run = (k1 - k0) * p->taps;
  const float *w = p->w + n0 * p->sn + k0 * p->sk;
  for (int64_t n = 0; n < nr; n++, w += p->sn)
    for (int64_t i = 0; i < run; i++) local[i * nr + n] = n < cols ? w[i] : 0;
  for (int64_t i = 0; i < run; i++) copy_row(to + i % p->taps * plane + (k0 + i / p->taps) * nr, local + i * nr, nr);
}

/* Columns close together in w, taps interleaved. */
static void pack_lines(const struct packing *p, int nr, float *to, int64_t n0, int64_t k0, int64_t k1) {
  int64_t cols = least(nr, p->n - n0), plane = p->k * nr;
  for (int64_t k = k0; k < k1; k++) {
    const float *w = p->w + n0 * p->sn + k * p->sk;
    float line[MAX_TAPS][KERNEL_MAX_NR] = {{0}};
    if (p->taps == 1) memcpy(line[0], w, (size_t)cols * sizeof *w);
    for (int64_t n = 0; p->taps > 1 && n < cols; n++)
      for (int tap = 0; tap < p->taps; tap++) line[tap][n] = w[n * p->sn + tap];
    for (int tap = 0; tap < p->taps; tap++) copy_row(to + tap * plane + k * nr, line[tap], nr);
  }
}

/* Rows [k0, k1) of one panel, PACK_K at most. */
static void pack_rows(const struct kernels *k, const struct packing *p, float *to, int64_t n0, int64_t k0, int64_t k1) {
  if (p->sk == p->taps)
    pack_columns(p, k->nr, to, n0, k0, k1);
  else
    pack_lines(p, k->nr, to, n0, k0, k1);
  for (int tap = 0; p->type != DT_F32 && tap < p->taps; tap++) {
    uint16_t half[PACK_K * KERNEL_MAX_NR];
    float *rows = to + (tap * p->k + k0) * k->nr;
    k->narrow(half, rows, (k1 - k0) * k->nr, p->type);
    k->widen(rows, half, (k1 - k0) * k->nr, p->type);
  }
}

/* Walks w along its rows, whichever way they lie: panels first or k first. */
void cpu_pack(struct backend *b, float *to, const struct packing *p) {
  const struct kernels *k = cpu_of(b)->k;
  int nr = k->nr, threads = p->n * p->k * p->taps < CPU_SERIAL ? 1 : b->threads;
  int64_t panels = ceil_div(p->n, nr), size = p->taps * p->k * nr;
  if (p->sk == p->taps) {
#pragma omp parallel for num_threads(threads)
    for (int64_t n = 0; n < panels; n++)
      for (int64_t k0 = 0; k0 < p->k; k0 += PACK_K) pack_rows(k, p, to + n * size, n * nr, k0, least(k0 + PACK_K, p->k));
  } else {
#pragma omp parallel for num_threads(threads)
    for (int64_t k0 = 0; k0 < p->k; k0 += PACK_LINES)
      for (int64_t n = 0; n < panels; n++) pack_rows(k, p, to + n * size, n * nr, k0, least(k0 + PACK_LINES, p->k));
  }
}

/* --- weight gradients ---------------------------------------------------------------------------------------------------------- */

/* to [co, ld] = dy^T, in squares that fit the first-level cache */
static void transpose(struct backend *b, float *to, int64_t ld, const struct tensor *dy, int64_t rows, int64_t co) {
  enum { SQUARE = 32 };
  const struct kernels *k = cpu_of(b)->k;
#pragma omp parallel for collapse(2) num_threads(rows *co < CPU_SERIAL ? 1 : b->threads)
  for (int64_t c0 = 0; c0 < co; c0 += SQUARE)
    for (int64_t r0 = 0; r0 < rows; r0 += SQUARE)
      for (int64_t r = r0; r < least(r0 + SQUARE, rows); r++) {
        float buffer[SQUARE];
        int64_t n = least(SQUARE, co - c0);
        const float *row = cpu_in(k, dy, r * co + c0, n, buffer);
        for (int64_t c = 0; c < n; c++) to[(c0 + c) * ld + r] = row[c];
      }
}

/* panel [count, nr] = columns [n0, n0 + cols) of the rows of x that `rows` names */
static void gather(const struct outer *o, const struct kernels *k, float *panel, const int32_t *rows, int64_t count, int64_t n0) {
  int nr = k->nr;
  int64_t cols = least(nr, o->ci - n0);
  for (int64_t i = 0; i < count; i++, panel += nr) {
    int64_t at = (int64_t)rows[i] * o->ci + n0;
    if (rows[i] < 0 || cols < nr) memset(panel, 0, (size_t)nr * sizeof *panel);
    if (rows[i] < 0) continue;
    if (o->x->type == DT_F32 && cols == nr)
      copy_row(panel, (const float *)o->x->data + at, nr);
    else if (o->x->type == DT_F32)
      memcpy(panel, (const float *)o->x->data + at, (size_t)cols * sizeof *panel);
    else
      k->widen(panel, (const uint16_t *)o->x->data + at, cols, o->x->type);
  }
}

/* What cpu_outer's pieces share. */
struct outer_work {
  const struct kernels *k;
  const struct outer *o;
  const float *dyt;    /* [co, ld] */
  int64_t ld;          /* not a power of two: rows would fall on the same lines of the cache */
  const int32_t *rows; /* [taps, rows] row of x, -1: zeros */
};

static void add_gradient(const struct outer *o, int nr, float (*t)[OUTER_ROWS * KERNEL_MAX_NR], int64_t m0, int64_t n0) {
  int64_t count = least(OUTER_ROWS, o->co - m0), cols = least(nr, o->ci - n0);
  for (int64_t r = 0; r < count; r++) {
    float *g = o->out + ((m0 + r) * o->ci + n0) * o->taps;
    for (int64_t j = 0; j < cols; j++)
      for (int tap = 0; tap < o->taps; tap++) *g++ += o->alpha * t[tap][r * nr + j];
  }
}

/* Rows from m0 of the gradient, one panel of columns, all taps: so each line of it is visited once. */
static void outer_block(const struct outer_work *w, int64_t m0, int64_t n0) {
  float panel[OUTER_K * KERNEL_MAX_NR] __attribute__((aligned(64)));
  float t[MAX_TAPS][OUTER_ROWS * KERNEL_MAX_NR] __attribute__((aligned(64)));
  const struct outer *o = w->o;
  const struct kernels *k = w->k;
  int64_t count = least(OUTER_ROWS, o->co - m0);
  for (int64_t k0 = 0; k0 < o->rows; k0 += OUTER_K)
    for (int tap = 0; tap < o->taps; tap++) {
      int64_t depth = least(OUTER_K, o->rows - k0);
      gather(o, k, panel, w->rows + tap * o->rows + k0, depth, n0);
      for (int64_t r = 0; r < count; r += k->mr) {
        const float *a[KERNEL_MAX_MR];
        for (int i = 0; i < k->mr; i++) a[i] = w->dyt + (m0 + least(r + i, count - 1)) * w->ld + k0;
        k->tile(a, depth, panel, t[tap] + r * k->nr, k0 == 0);
      }
    }
  add_gradient(o, k->nr, t, m0, n0);
}

static void list_rows(struct backend *b, int32_t *rows, const struct outer *o) {
#pragma omp parallel for num_threads(o->rows * o->taps < CPU_SERIAL ? 1 : b->threads)
  for (int tap = 0; tap < o->taps; tap++)
    for (int64_t i = 0; i < o->rows; i++) rows[tap * o->rows + i] = (int32_t)(o->g ? source_pixel(o->g, i, tap) : i);
}

void cpu_outer(struct backend *b, const struct outer *o) {
  struct outer_work w = {.k = cpu_of(b)->k, .o = o, .ld = cpu_round(o->rows) + 16};
  float *dyt = cpu_scratch(b, w.ld * o->co + o->rows * o->taps);
  if (!dyt) return;
  int32_t *rows = (int32_t *)(dyt + w.ld * o->co);
  transpose(b, dyt, w.ld, o->dy, o->rows, o->co);
  list_rows(b, rows, o);
  w.dyt = dyt;
  w.rows = rows;
  int64_t blocks = ceil_div(o->co, OUTER_ROWS), panels = ceil_div(o->ci, w.k->nr);
  int threads = o->rows * o->co * o->ci * o->taps < CPU_SERIAL * 8 ? 1 : b->threads;
#pragma omp parallel for collapse(2) schedule(dynamic) num_threads(threads)
  for (int64_t n = 0; n < panels; n++)
    for (int64_t m = 0; m < blocks; m++) outer_block(&w, m * OUTER_ROWS, n * w.k->nr);
}
