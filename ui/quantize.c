#include "ui/quantize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BITS = 5, SIDE = 1 << BITS, BINS = SIDE * SIDE * SIDE, CELL_BITS = 4, CELLS = 1 << 3 * CELL_BITS, CELL_SIDE = 1 << (8 - CELL_BITS) };

/* Pixels that share their upper bits: how many, and their mean. */
struct bin {
  float n, c[3];
};

/* Bins first to first + n; error: sum of squared distances from the mean along the axis where it is largest. */
struct box {
  int first, n, axis;
  double weight, mean[3], error;
};

/* --- palette --------------------------------------------------------------------------------------------------------------- */

/* Occupied bins; returns how many. */
static int histogram(const struct image *im, struct bin *bins) {
  int n = 0;
  for (int i = 0; i < im->w * im->h; i++) {
    const unsigned char *p = im->px + 3 * i;
    struct bin *b = &bins[(p[0] >> (8 - BITS)) << 2 * BITS | (p[1] >> (8 - BITS)) << BITS | p[2] >> (8 - BITS)];
    b->n++;
    for (int k = 0; k < 3; k++) b->c[k] += p[k];
  }
  for (int i = 0; i < BINS; i++) {
    if (bins[i].n == 0) continue;
    struct bin b = bins[i];
    for (int k = 0; k < 3; k++) b.c[k] /= b.n;
    bins[n++] = b;
  }
  return n;
}

static void measure(struct box *box, const struct bin *bins) {
  double sum[3] = {0}, squares[3] = {0}, worst = -1;
  box->weight = 0;
  for (int i = box->first; i < box->first + box->n; i++) {
    box->weight += bins[i].n;
    for (int k = 0; k < 3; k++) {
      sum[k] += bins[i].n * bins[i].c[k];
      squares[k] += bins[i].n * bins[i].c[k] * bins[i].c[k];
    }
  }
  for (int k = 0; k < 3; k++) {
    box->mean[k] = sum[k] / box->weight;
    double error = squares[k] - sum[k] * box->mean[k];
    if (error > worst) box->axis = k;
    if (error > worst) worst = error;
  }
  box->error = box->n > 1 ? worst : 0;
}

static int by_axis(const void *a, const void *b, void *axis) {
  float d = ((const struct bin *)a)->c[*(int *)axis] - ((const struct bin *)b)->c[*(int *)axis];
  return d < 0 ? -1 : d > 0;
}

/* Cuts where the means of the two parts lie farthest apart for their weights: what remains of the error is least. */
static void cut(struct box *box, struct box *other, struct bin *bins) {
  qsort_r(bins + box->first, (size_t)box->n, sizeof *bins, by_axis, &box->axis);
  double n = 0, sum = 0, total = box->weight * box->mean[box->axis], best = -1;
  int at = 1;
  for (int i = 0; i < box->n - 1; i++) {
    const struct bin *b = &bins[box->first + i];
    n += b->n;
    sum += b->n * b->c[box->axis];
    double gain = sum * sum / n + (total - sum) * (total - sum) / (box->weight - n);
    if (gain > best) at = i + 1;
    if (gain > best) best = gain;
  }
  *other = (struct box){.first = box->first + at, .n = box->n - at};
  box->n = at;
  measure(box, bins);
  measure(other, bins);
}

static int cut_all(struct bin *bins, int n_bins, int colours, struct box *boxes) {
  int n = 1;
  boxes[0] = (struct box){.first = 0, .n = n_bins};
  measure(&boxes[0], bins);
  while (n < colours) {
    int worst = 0;
    for (int i = 1; i < n; i++) worst = boxes[i].error > boxes[worst].error ? i : worst;
    if (boxes[worst].error <= 0) break;
    cut(&boxes[worst], &boxes[n], bins);
    n++;
  }
  return n;
}

static int nearest_mean(const float *c, double (*means)[3], int n) {
  int best = 0;
  double least = 1e30;
  for (int i = 0; i < n; i++) {
    double r = c[0] - means[i][0], g = c[1] - means[i][1], b = c[2] - means[i][2], d = r * r + g * g + b * b;
    if (d < least) best = i;
    if (d < least) least = d;
  }
  return best;
}

static void move_means(const struct bin *bins, int n_bins, double (*means)[3], int n) {
  double sums[256][4] = {{0}};
  for (int i = 0; i < n_bins; i++) {
    double *s = sums[nearest_mean(bins[i].c, means, n)];
    for (int k = 0; k < 3; k++) s[k] += bins[i].n * bins[i].c[k];
    s[3] += bins[i].n;
  }
  for (int i = 0; i < n; i++) {
    for (int k = 0; k < 3 && sums[i][3] > 0; k++) means[i][k] = sums[i][k] / sums[i][3];
  }
}

static void make_palette(struct bin *bins, int n_bins, int colours, struct quantized *out) {
  struct box boxes[256];
  double means[256][3];
  out->n = cut_all(bins, n_bins, colours, boxes);
  for (int i = 0; i < out->n; i++) memcpy(means[i], boxes[i].mean, sizeof means[i]);
  for (int round = 0; round < 2; round++) move_means(bins, n_bins, means, out->n);
  for (int i = 0; i < 3 * out->n; i++) out->palette[i] = (unsigned char)lround(lround(means[i / 3][i % 3] * 100 / 255) * 255 / 100.0);
}

/* --- pixels ---------------------------------------------------------------------------------------------------------------- */

/* For each cell of colour space the palette's entries that can be nearest to a colour in it, found when first needed. */
struct lookup {
  const struct quantized *q;
  unsigned short n[CELLS];
  unsigned char list[CELLS][256];
};

/* Squared distances of an entry from the nearest and the farthest corner of a cell. */
static void bounds(const unsigned char *entry, const int *low, int *least, int *most) {
  *least = *most = 0;
  for (int k = 0; k < 3; k++) {
    int a = low[k] - entry[k], b = entry[k] - (low[k] + CELL_SIDE - 1), outside = a > 0 ? a : b > 0 ? b : 0;
    int far = abs(a) > abs(b) ? abs(a) : abs(b);
    *least += outside * outside;
    *most += far * far;
  }
}

static void find_candidates(struct lookup *l, int cell) {
  int low[3] = {(cell >> 2 * CELL_BITS) * CELL_SIDE, (cell >> CELL_BITS & (CELL_SIDE - 1)) * CELL_SIDE,
                (cell & (CELL_SIDE - 1)) * CELL_SIDE};
  int reach = 1 << 30, least, most;
  for (int i = 0; i < l->q->n; i++) {
    bounds(l->q->palette + 3 * i, low, &least, &most);
    if (most < reach) reach = most;
  }
  for (int i = 0; i < l->q->n; i++) {
    bounds(l->q->palette + 3 * i, low, &least, &most);
    if (least <= reach) l->list[cell][l->n[cell]++] = (unsigned char)i;
  }
}

static int nearest_entry(struct lookup *l, const int *c) {
  int shift = 8 - CELL_BITS, cell = (c[0] >> shift) << 2 * CELL_BITS | (c[1] >> shift) << CELL_BITS | c[2] >> shift;
  int best = 0, least = 1 << 30;
  if (l->n[cell] == 0) find_candidates(l, cell);
  for (int i = 0; i < l->n[cell]; i++) {
    const unsigned char *p = l->q->palette + 3 * l->list[cell][i];
    int d = (c[0] - p[0]) * (c[0] - p[0]) + (c[1] - p[1]) * (c[1] - p[1]) + (c[2] - p[2]) * (c[2] - p[2]);
    if (d < least) best = l->list[cell][i];
    if (d < least) least = d;
  }
  return best;
}

/* One row; errors are kept in 32nds: of an error e the shares 7, 3, 5, 1 of 16 are passed on, halved. now, below: [3, w + 2], shifted by a pixel. */
static void reduce_row(struct lookup *l, const unsigned char *px, int w, int *now, int *below, unsigned char *index) {
  for (int x = 0; x < w; x++) {
    int want[3];
    for (int k = 0; k < 3; k++) {
      int v = px[3 * x + k] + now[3 * (x + 1) + k] / 32;
      want[k] = v < 0 ? 0 : v > 255 ? 255 : v;
    }
    index[x] = (unsigned char)nearest_entry(l, want);
    for (int k = 0; k < 3; k++) {
      int lost = want[k] - l->q->palette[3 * index[x] + k];
      now[3 * (x + 2) + k] += 7 * lost;
      below[3 * x + k] += 3 * lost;
      below[3 * (x + 1) + k] += 5 * lost;
      below[3 * (x + 2) + k] += lost;
    }
  }
}

static bool reduce_pixels(const struct image *im, struct quantized *out) {
  size_t row = 3 * ((size_t)im->w + 2);
  struct lookup *l = calloc(1, sizeof *l);
  int *lost = calloc(2 * row, sizeof *lost);
  bool ok = l != NULL && lost != NULL;
  for (int y = 0; ok && y < im->h; y++) {
    int *now = lost + (y % 2 != 0 ? row : 0), *below = lost + (y % 2 != 0 ? 0 : row);
    l->q = out;
    memset(below, 0, row * sizeof *below);
    reduce_row(l, im->px + 3 * (size_t)y * (size_t)im->w, im->w, now, below, out->index + (size_t)y * (size_t)im->w);
  }
  free(l);
  free(lost);
  return ok;
}

bool quantize(const struct image *im, int colours, struct quantized *out) {
  struct bin *bins = calloc(BINS, sizeof *bins);
  *out = (struct quantized){.index = malloc((size_t)im->w * (size_t)im->h)};
  bool ok = bins != NULL && out->index != NULL;
  if (ok) make_palette(bins, histogram(im, bins), colours < 1 ? 1 : colours > 256 ? 256 : colours, out);
  ok = ok && reduce_pixels(im, out);
  free(bins);
  if (!ok) quantized_release(out);
  return ok;
}

void quantized_release(struct quantized *q) {
  free(q->index);
  *q = (struct quantized){0};
}
