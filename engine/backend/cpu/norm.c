/* Group norm and layer norm, forward and backward (formulas: backend/ref/norm.c), in slices of SLICE rows: column sums of each
 * slice in fp32, added up in double. Variance in a second pass. */
#include "cpu.h"

#include <math.h>

enum { SLICE = 32 };

static int64_t least(int64_t a, int64_t b) {
  return a < b ? a : b;
}
static bool trained(const struct param *p) {
  return p && p->g && !p->frozen;
}

/* A call of group norm: items pictures of `each` rows. */
struct group_call {
  const struct kernels *k;
  int64_t items, each, c, slices, groups;
  int threads;
  const struct tensor *x, *dy;
  struct norm_columns columns; /* of the first picture; those of the next lie stride floats on */
  int64_t stride;
  float *sums; /* [items, slices, 2, c] */
  float *wide; /* of each thread: 2 SLICE c floats, where x is not F32 */
  bool silu;
};

static struct norm_columns columns_of(const struct group_call *g, int64_t item) {
  struct norm_columns n = g->columns;
  n.mean += item * g->stride;
  n.rstd += item * g->stride;
  n.mean_dh += item * g->stride;
  n.mean_dhh += item * g->stride;
  return n;
}

/* Sets up the call and its scratch; false and b->fault where there is no memory. */
static bool group_begin(struct backend *b, struct group_call *g, const struct tensor *x, const struct param *gamma,
                        const struct param *beta) {
  g->k = cpu_of(b)->k;
  g->x = x;
  g->items = x->dim[0];
  g->c = tensor_last(x);
  g->each = tensor_rows(x) / g->items;
  g->slices = (g->each + SLICE - 1) / SLICE;
  g->threads = tensor_count(x) < CPU_SERIAL ? 1 : b->threads;
  g->stride = 4 * g->c;
  int64_t columns = cpu_round(g->items * g->stride), sums = cpu_round(g->items * g->slices * 2 * g->c);
  float *p = cpu_scratch2(b, columns + sums + (x->type == DT_F32 ? 0 : g->threads * 2 * SLICE * g->c));
  if (!p) return false;
  g->columns = (struct norm_columns){
      .mean = p, .rstd = p + g->c, .mean_dh = p + 2 * g->c, .mean_dhh = p + 3 * g->c, .gamma = gamma->w, .beta = beta->w};
  g->sums = p + columns;
  g->wide = g->sums + sums;
  return true;
}

/* One slice of one picture, as floats. */
struct slice {
  int64_t item, rows, at; /* at: its first element */
  const float *x, *dy;
  struct norm_columns n;
  float *sums;
};

static struct slice slice_of(const struct group_call *g, int64_t i, int thread) {
  struct slice s = {.item = i / g->slices, .sums = g->sums + i * 2 * g->c};
  int64_t row = i % g->slices * SLICE;
  s.rows = least(SLICE, g->each - row);
  s.at = (s.item * g->each + row) * g->c;
  s.n = columns_of(g, s.item);
  float *wide_x = g->wide + thread * 2 * SLICE * g->c;
  s.x = cpu_in(g->k, g->x, s.at, s.rows * g->c, wide_x);
  if (g->dy) s.dy = cpu_in(g->k, g->dy, s.at, s.rows * g->c, wide_x + SLICE * g->c);
  return s;
}

static double column_total(const struct group_call *g, int64_t item, int64_t column) {
  double total = 0;
  for (int64_t s = 0; s < g->slices; s++) total += g->sums[(item * g->slices + s) * 2 * g->c + column];
  return total;
}

/* Sum over the columns of a group. */
static double group_total(const struct group_call *g, int64_t item, int64_t group) {
  int64_t width = g->c / g->groups;
  double total = 0;
  for (int64_t j = 0; j < width; j++) total += column_total(g, item, group * width + j);
  return total;
}

static void spread(float *columns, int64_t width, int64_t group, float value) {
  for (int64_t j = group * width; j < (group + 1) * width; j++) columns[j] = value;
}

/* Mean (square false) or rstd of every group. */
static void group_pass(struct group_call *g, struct tensor *stats, float eps, bool square) {
  int64_t pieces = g->items * g->slices, width = g->c / g->groups;
#pragma omp parallel for num_threads(g->threads)
  for (int64_t i = 0; i < pieces; i++) {
    struct slice s = slice_of(g, i, cpu_thread());
    g->k->norm_sums(s.sums, s.x, square ? s.n.mean : NULL, s.rows, g->c);
  }
  float *out = stats->data;
  for (int64_t i = 0; i < g->items * g->groups; i++) {
    struct norm_columns n = columns_of(g, i / g->groups);
    double value = group_total(g, i / g->groups, i % g->groups) / (double)(g->each * width);
    out[2 * i + square] = (float)(square ? 1 / sqrt(value + (double)eps) : value);
    spread(square ? n.rstd : n.mean, width, i % g->groups, out[2 * i + square]);
  }
}

void cpu_group_norm(struct backend *b, struct tensor *y, struct tensor *stats, const struct tensor *x, const struct param *gamma,
                    const struct param *beta, int groups, float eps, bool silu) {
  struct group_call g = {.groups = groups};
  if (!group_begin(b, &g, x, gamma, beta)) return;
  group_pass(&g, stats, eps, false);
  group_pass(&g, stats, eps, true);
  int64_t pieces = g.items * g.slices;
#pragma omp parallel for num_threads(g.threads)
  for (int64_t i = 0; i < pieces; i++) {
    struct slice s = slice_of(&g, i, cpu_thread());
    float *to = y->type == DT_F32 ? (float *)y->data + s.at : g.wide + cpu_thread() * 2 * SLICE * g.c;
    g.k->norm_apply(to, s.x, &s.n, s.rows, g.c, silu);
    if (y->type != DT_F32) g.k->narrow((uint16_t *)y->data + s.at, to, s.rows * g.c, y->type);
  }
}

/* Gradients of the parameters, and for each group the means that dx wants. */
static void group_means(struct group_call *g, struct param *gamma, struct param *beta) {
  int64_t width = g->c / g->groups;
  for (int64_t item = 0; item < g->items; item++) {
    struct norm_columns n = columns_of(g, item);
    for (int64_t group = 0; group < g->groups; group++) {
      double dh = 0, dhh = 0, count = (double)(g->each * width);
      for (int64_t j = group * width; j < (group + 1) * width; j++) {
        double dbeta = column_total(g, item, j), dgamma = column_total(g, item, g->c + j);
        dh += gamma->w[j] * dbeta;
        dhh += gamma->w[j] * dgamma;
        if (trained(gamma)) gamma->g[j] += (float)dgamma;
        if (trained(beta)) beta->g[j] += (float)dbeta;
      }
      spread(n.mean_dh, width, group, (float)(dh / count));
      spread(n.mean_dhh, width, group, (float)(dhh / count));
    }
  }
}

void cpu_group_norm_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x, const struct tensor *stats,
                        struct param *gamma, struct param *beta, int groups, bool silu) {
  struct group_call g = {.groups = groups};
  if (!group_begin(b, &g, x, gamma, beta)) return;
  const float *in = stats->data;
  for (int64_t i = 0; i < g.items * groups; i++) {
    struct norm_columns n = columns_of(&g, i / groups);
    spread(n.mean, g.c / groups, i % groups, in[2 * i]);
    spread(n.rstd, g.c / groups, i % groups, in[2 * i + 1]);
  }
  g.dy = dy;
  int64_t pieces = g.items * g.slices;
#pragma omp parallel for num_threads(g.threads)
  for (int64_t i = 0; i < pieces; i++) {
    struct slice s = slice_of(&g, i, cpu_thread());
    g.k->norm_bwd_sums(s.sums, s.dy, s.x, &s.n, s.rows, g.c, silu);
  }
  group_means(&g, gamma, beta);
#pragma omp parallel for num_threads(g.threads)
  for (int64_t i = 0; i < pieces; i++) {
    struct slice s = slice_of(&g, i, cpu_thread());
    float *to = dx->type == DT_F32 ? (float *)dx->data + s.at : g.wide + cpu_thread() * 2 * SLICE * g.c;
    g.k->norm_bwd_apply(to, s.dy, s.x, &s.n, s.rows, g.c, silu);
    if (dx->type != DT_F32) g.k->narrow((uint16_t *)dx->data + s.at, to, s.rows * g.c, dx->type);
  }
}

void cpu_layer_norm(struct backend *b, struct tensor *y, struct tensor *stats, const struct tensor *x, const struct param *gamma,
                    const struct param *beta, float eps) {
  const struct kernels *k = cpu_of(b)->k;
  int64_t m = tensor_rows(x), c = tensor_last(x), slices = (m + SLICE - 1) / SLICE;
  int threads = m * c < CPU_SERIAL ? 1 : b->threads;
  float *scratch = x->type == DT_F32 ? NULL : cpu_scratch2(b, threads * SLICE * c);
  if ((x->type != DT_F32 && !scratch) || cpu_of(b)->rehearsing) return;
#pragma omp parallel for num_threads(threads)
  for (int64_t i = 0; i < slices; i++) {
    float *wide_x = scratch ? scratch + cpu_thread() * SLICE * c : NULL;
    int64_t at = i * SLICE * c, rows = least(SLICE, m - i * SLICE);
    const float *from = cpu_in(k, x, at, rows * c, wide_x);
    float *to = y->type == DT_F32 ? (float *)y->data + at : wide_x;
    k->layer_rows(to, (float *)stats->data + 2 * i * SLICE, from, gamma->w, beta->w, rows, c, eps);
    if (y->type != DT_F32) k->narrow((uint16_t *)y->data + at, to, rows * c, y->type);
  }
}

static void layer_params(const float *sums, int64_t slices, int64_t c, struct param *gamma, struct param *beta) {
  for (int64_t j = 0; j < c; j++) {
    double dbeta = 0, dgamma = 0;
    for (int64_t i = 0; i < slices; i++) {
      dbeta += sums[i * 2 * c + j];
      dgamma += sums[i * 2 * c + c + j];
    }
    if (trained(gamma)) gamma->g[j] += (float)dgamma;
    if (trained(beta)) beta->g[j] += (float)dbeta;
  }
}

void cpu_layer_norm_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x, const struct tensor *stats,
                        struct param *gamma, struct param *beta) {
  const struct kernels *k = cpu_of(b)->k;
  int64_t m = tensor_rows(x), c = tensor_last(x), slices = (m + SLICE - 1) / SLICE;
  int threads = m * c < CPU_SERIAL ? 1 : b->threads;
  float *sums = cpu_scratch2(b, slices * 2 * c + (x->type == DT_F32 ? 0 : threads * 2 * SLICE * c));
  if (!sums) return;
#pragma omp parallel for num_threads(threads)
  for (int64_t i = 0; i < slices; i++) {
    float *wide_x = sums + slices * 2 * c + cpu_thread() * 2 * SLICE * c, *wide_dy = wide_x + SLICE * c;
    int64_t at = i * SLICE * c, rows = least(SLICE, m - i * SLICE);
    const float *from = cpu_in(k, x, at, rows * c, wide_x), *slope = cpu_in(k, dy, at, rows * c, wide_dy);
    float *to = dx->type == DT_F32 ? (float *)dx->data + at : wide_dy;
    memset(sums + i * 2 * c, 0, (size_t)(2 * c) * sizeof *sums);
    k->layer_bwd_rows(to, sums + i * 2 * c, slope, from, (const float *)stats->data + 2 * i * SLICE, gamma->w, rows, c);
    if (dx->type != DT_F32) k->narrow((uint16_t *)dx->data + at, to, rows * c, dx->type);
  }
  if (trained(gamma) || trained(beta)) layer_params(sums, slices, c, gamma, beta);
}
