/* Normalisation, with the variance in a second pass (the one-pass formula cancels where the mean is large).
 *
 * Both norms: h = (x - mean) rstd, rstd = 1 / sqrt(var + eps), var biased; z = gamma h + beta; y = z, or silu(z).
 * Backward, over the m elements that share mean and rstd: dz = dy, or dy silu'(z); dgamma = sum dz h; dbeta = sum dz;
 * dh = gamma dz; dx = rstd (dh - mean(dh) - h mean(dh h)).
 * torch.nn.functional.group_norm (and silu), layer_norm. */
#include "backend/ref/ref.h"

#include <math.h>

/* Elements that share statistics: rows * cols of them, row r starting at first + r * stride; column j has parameter param + j. */
struct part {
  int64_t first, rows, cols, stride, param;
};

/* Part i: group i % groups of picture i / groups. */
static struct part group_part(const struct tensor *x, int groups, int64_t i) {
  int64_t c = tensor_last(x), cols = c / groups, rows = tensor_rows(x) / x->dim[0], g = i % groups;
  return (struct part){.first = i / groups * rows * c + g * cols, .rows = rows, .cols = cols, .stride = c, .param = g * cols};
}

static struct part row_part(const struct tensor *x, int64_t i) {
  int64_t c = tensor_last(x);
  return (struct part){.first = i * c, .rows = 1, .cols = c, .stride = c};
}

static void forward(struct tensor *y, float stats[2], const struct tensor *x, const struct part *p, const struct param *gamma,
                    const struct param *beta, float eps, bool silu) {
  double sum = 0, square = 0, count = (double)(p->rows * p->cols);
  for (int64_t r = 0; r < p->rows; r++)
    for (int64_t j = 0; j < p->cols; j++) sum += ref_get(x, p->first + r * p->stride + j);
  double mean = sum / count;
  for (int64_t r = 0; r < p->rows; r++)
    for (int64_t j = 0; j < p->cols; j++) {
      double d = ref_get(x, p->first + r * p->stride + j) - mean;
      square += d * d;
    }
  stats[0] = (float)mean;
  stats[1] = (float)(1 / sqrt(square / count + (double)eps));
  for (int64_t r = 0; r < p->rows; r++)
    for (int64_t j = 0; j < p->cols; j++) {
      int64_t i = p->first + r * p->stride + j;
      float z = (ref_get(x, i) - stats[0]) * stats[1] * gamma->w[p->param + j] + beta->w[p->param + j];
      ref_set(y, i, silu ? ref_act_value(z, ACT_SILU) : z);
    }
}

/* What backward needs of element i, column j. */
struct element {
  float h, dz, dh;
};

static struct element element_at(const struct tensor *dy, const struct tensor *x, const float stats[2], int64_t i, int64_t j,
                                 const struct param *gamma, const struct param *beta, bool silu) {
  struct element e = {.h = (ref_get(x, i) - stats[0]) * stats[1], .dz = ref_get(dy, i)};
  if (silu) e.dz *= ref_act_slope(gamma->w[j] * e.h + beta->w[j], ACT_SILU);
  e.dh = gamma->w[j] * e.dz;
  return e;
}

static void backward(struct tensor *dx, const struct tensor *dy, const struct tensor *x, const float stats[2], const struct part *p,
                     struct param *gamma, struct param *beta, bool silu) {
  double sum_dh = 0, sum_dhh = 0, count = (double)(p->rows * p->cols);
  for (int64_t j = 0; j < p->cols; j++) {
    double dgamma = 0, dbeta = 0;
    for (int64_t r = 0; r < p->rows; r++) {
      struct element e = element_at(dy, x, stats, p->first + r * p->stride + j, p->param + j, gamma, beta, silu);
      dgamma += (double)e.dz * e.h;
      dbeta += e.dz;
      sum_dh += e.dh;
      sum_dhh += (double)e.dh * e.h;
    }
    if (ref_trained(gamma)) gamma->g[p->param + j] += (float)dgamma;
    if (ref_trained(beta)) beta->g[p->param + j] += (float)dbeta;
  }
  float mean_dh = (float)(sum_dh / count), mean_dhh = (float)(sum_dhh / count);
  for (int64_t r = 0; r < p->rows; r++)
    for (int64_t j = 0; j < p->cols; j++) {
      int64_t i = p->first + r * p->stride + j;
      struct element e = element_at(dy, x, stats, i, p->param + j, gamma, beta, silu);
      ref_set(dx, i, stats[1] * (e.dh - mean_dh - e.h * mean_dhh));
    }
}

void ref_group_norm(struct backend *b, struct tensor *y, struct tensor *stats, const struct tensor *x, const struct param *gamma,
                    const struct param *beta, int groups, float eps, bool silu) {
  (void)b;
  float *s = stats->data; /* [n, groups, 2] */
  for (int64_t i = 0; i < x->dim[0] * groups; i++) {
    struct part p = group_part(x, groups, i);
    forward(y, s + 2 * i, x, &p, gamma, beta, eps, silu);
  }
}

void ref_group_norm_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x, const struct tensor *stats,
                        struct param *gamma, struct param *beta, int groups, bool silu) {
  (void)b;
  const float *s = stats->data;
  for (int64_t i = 0; i < x->dim[0] * groups; i++) {
    struct part p = group_part(x, groups, i);
    backward(dx, dy, x, s + 2 * i, &p, gamma, beta, silu);
  }
}

void ref_layer_norm(struct backend *b, struct tensor *y, struct tensor *stats, const struct tensor *x, const struct param *gamma,
                    const struct param *beta, float eps) {
  (void)b;
  float *s = stats->data; /* [m, 2] */
  for (int64_t i = 0; i < tensor_rows(x); i++) {
    struct part p = row_part(x, i);
    forward(y, s + 2 * i, x, &p, gamma, beta, eps, false);
  }
}

void ref_layer_norm_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x, const struct tensor *stats,
                        struct param *gamma, struct param *beta) {
  (void)b;
  const float *s = stats->data;
  for (int64_t i = 0; i < tensor_rows(x); i++) {
    struct part p = row_part(x, i);
    backward(dx, dy, x, s + 2 * i, &p, gamma, beta, false);
  }
}
