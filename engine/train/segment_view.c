#include "train/segment_view.h"

#include <stdlib.h>
#include <string.h>

enum { SIDE = 256 };            /* the working size covers at most SIDE x SIDE pixels */
static const float core = 0.5f; /* the first mask begins this far inside of the attention's threshold */

/* --- features ---------------------------------------------------------------------------------------------------------------- */

static float linear_of(unsigned char v) {
  float x = (float)v / 255.0f;
  return x <= 0.04045f ? x / 12.92f : powf((x + 0.055f) / 1.055f, 2.4f);
}

static float lab_curve(float t) {
  return t > 0.008856f ? cbrtf(t) : 7.787f * t + 16.0f / 116.0f;
}

/* sRGB to CIELAB, D65. */
static void lab_of(const float *linear, const unsigned char *px, float *out) {
  float r = linear[px[0]], g = linear[px[1]], b = linear[px[2]];
  float x = lab_curve((0.4124f * r + 0.3576f * g + 0.1805f * b) / 0.9505f), y = lab_curve(0.2126f * r + 0.7152f * g + 0.0722f * b),
        z = lab_curve((0.0193f * r + 0.1192f * g + 0.9505f * b) / 1.089f);
  out[0] = 116 * y - 16;
  out[1] = 500 * (x - y);
  out[2] = 200 * (y - z);
}

/* Sums over all pixels above and to the left of a value and of its square, [h + 1, w + 1] each. */
static void integrate(const struct view *v, double *sum, double *squares) {
  int64_t stride = v->w + 1;
  for (int y = 0; y < v->h; y++) {
    double row = 0, row2 = 0;
    for (int x = 0; x < v->w; x++) {
      double value = v->feature[((int64_t)y * v->w + x) * VIEW_CHANNELS];
      row += value;
      row2 += value * value;
      sum[(y + 1) * stride + x + 1] = sum[y * stride + x + 1] + row;
      squares[(y + 1) * stride + x + 1] = squares[y * stride + x + 1] + row2;
    }
  }
}

static double box(const double *sum, int64_t stride, int x0, int y0, int x1, int y1) {
  return sum[y1 * stride + x1] - sum[y0 * stride + x1] - sum[y1 * stride + x0] + sum[y0 * stride + x0];
}

/* L, a, b, and how rough the lightness is around (standard deviation of 7 x 7). */
static bool make_features(struct view *v, const struct image *small) {
  enum { R = 3 };
  float linear[256];
  int64_t cells = (int64_t)(v->w + 1) * (v->h + 1);
  double *sum = calloc((size_t)cells * 2, sizeof *sum);
  if (!sum) return false;
  for (int i = 0; i < 256; i++) linear[i] = linear_of((unsigned char)i);
  for (int64_t i = 0; i < (int64_t)v->w * v->h; i++) lab_of(linear, small->px + i * 3, v->feature + i * VIEW_CHANNELS);
  integrate(v, sum, sum + cells);
  for (int y = 0; y < v->h; y++)
    for (int x = 0; x < v->w; x++) {
      int x0 = x < R ? 0 : x - R, x1 = x + R >= v->w ? v->w : x + R + 1, y0 = y < R ? 0 : y - R, y1 = y + R >= v->h ? v->h : y + R + 1;
      double n = (double)(x1 - x0) * (y1 - y0), mean = box(sum, v->w + 1, x0, y0, x1, y1) / n;
      double variance = box(sum + cells, v->w + 1, x0, y0, x1, y1) / n - mean * mean;
      v->feature[((int64_t)y * v->w + x) * VIEW_CHANNELS + 3] = variance > 0 ? (float)sqrt(variance) : 0;
    }
  free(sum);
  return true;
}

/* --- places ------------------------------------------------------------------------------------------------------------------ */

float map_at(const float *map, int mw, int mh, int w, int h, int x, int y) {
  float fx = ((float)x + 0.5f) * (float)mw / (float)w - 0.5f, fy = ((float)y + 0.5f) * (float)mh / (float)h - 0.5f;
  fx = fx < 0 ? 0 : fx;
  fy = fy < 0 ? 0 : fy;
  int x0 = (int)fx, y0 = (int)fy, x1 = x0 + 1 < mw ? x0 + 1 : mw - 1, y1 = y0 + 1 < mh ? y0 + 1 : mh - 1;
  float tx = fx - (float)x0, ty = fy - (float)y0;
  return (map[y0 * mw + x0] * (1 - tx) + map[y0 * mw + x1] * tx) * (1 - ty) + (map[y1 * mw + x0] * (1 - tx) + map[y1 * mw + x1] * tx) * ty;
}

static int ascending(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

/* Otsu's threshold of sorted values, and the means on its two sides. */
static float otsu(const float *sorted, int n, float *low, float *high) {
  double all = 0, sum = 0, best = -1;
  float threshold = sorted[n / 2];
  for (int i = 0; i < n; i++) all += sorted[i];
  *low = *high = threshold;
  for (int i = 1; i < n; i++) {
    sum += sorted[i - 1];
    double a = sum / i, b = (all - sum) / (n - i), between = (double)i * (n - i) * (b - a) * (b - a);
    if (between <= best) continue;
    best = between;
    threshold = (sorted[i - 1] + sorted[i]) / 2;
    *low = (float)a;
    *high = (float)b;
  }
  return threshold;
}

/* Log odds from the attention: its logarithm above Otsu's threshold, in half distances of the two means. */
static bool make_place(struct view *v) {
  const struct gaze *k = v->item->gaze;
  int n = k->w * k->h;
  float *logs = calloc((size_t)n * 2, sizeof *logs), *sorted = logs + n, low, high;
  if (!logs) return false;
  for (int i = 0; i < n; i++) sorted[i] = logs[i] = logf(k->attention[i] + 0.05f);
  qsort(sorted, (size_t)n, sizeof *sorted, ascending);
  float threshold = otsu(sorted, n, &low, &high), scale = high - low > 0.1f ? (high - low) / 2 : 0.05f;
  for (int i = 0; i < n; i++) logs[i] = fminf(fmaxf((logs[i] - threshold) / scale, -1.5f), 1.5f);
  for (int y = 0; y < v->h; y++)
    for (int x = 0; x < v->w; x++) v->place[y * v->w + x] = map_at(logs, k->w, k->h, v->w, v->h, x, y);
  free(logs);
  return true;
}

/* --- edges ------------------------------------------------------------------------------------------------------------------- */

static float contrast2(const struct view *v, int64_t a, int64_t b) {
  float sum = 0;
  for (int c = 0; c < 3; c++) {
    float d = v->feature[a * VIEW_CHANNELS + c] - v->feature[b * VIEW_CHANNELS + c];
    sum += d * d;
  }
  return sum;
}

/* exp(-contrast^2 / 2 mean contrast^2) / distance. */
static void make_edges(struct view *v) {
  double sum = 0;
  int64_t n = 0;
  for (int pass = 0; pass < 2; pass++) {
    float scale = n > 0 ? (float)(1.0 / (2.0 * sum / (double)n + 1.0)) : 0;
    for (int y = 0; y < v->h; y++)
      for (int x = 0; x < v->w; x++)
        for (int k = 0; k < 4; k++) {
          int64_t i = (int64_t)y * v->w + x;
          if (!view_inside(v, x + step_x[k], y + step_y[k])) continue;
          float d2 = contrast2(v, i, i + step_x[k] + (int64_t)step_y[k] * v->w);
          if (pass == 0)
            sum += d2, n++;
          else
            v->edge[k][i] = expf(-d2 * scale) * (k < 2 ? 1 : 0.7071f) + 0.002f;
        }
  }
}

/* --- a view ---------------------------------------------------------------------------------------------------------------- */

static bool view_alloc(struct view *v) {
  size_t n = (size_t)v->w * (size_t)v->h, cells = (size_t)v->item->gaze->w * (size_t)v->item->gaze->h;
  bool ok = (v->feature = calloc(n * VIEW_CHANNELS, sizeof *v->feature)) && (v->colour = calloc(n, sizeof *v->colour)) &&
            (v->query = calloc(cells, sizeof *v->query)) && (v->place = calloc(n, sizeof *v->place)) &&
            (v->target = calloc(n, sizeof *v->target)) && (v->trust = calloc(n, sizeof *v->trust)) && (v->x = calloc(n, sizeof *v->x)) &&
            (v->coarse = calloc(cells, sizeof *v->coarse));
  for (int k = 0; ok && k < 4; k++) ok = (v->edge[k] = calloc(n, sizeof *v->edge[k])) != NULL;
  return ok;
}

void view_release(struct view *v) {
  free(v->feature);
  free(v->colour);
  free(v->query);
  free(v->place);
  free(v->target);
  free(v->trust);
  free(v->x);
  free(v->coarse);
  for (int k = 0; k < 4; k++) free(v->edge[k]);
}

static void working_size(const struct image *im, int *w, int *h) {
  double k = sqrt((double)SIDE * SIDE / ((double)im->w * im->h));
  if (k > 1) k = 1;
  *w = (int)(im->w * k + 0.5) < 1 ? 1 : (int)(im->w * k + 0.5);
  *h = (int)(im->h * k + 0.5) < 1 ? 1 : (int)(im->h * k + 0.5);
}

bool view_init(struct view *v, const struct segment_item *item, struct err *e) {
  struct image small = {0};
  *v = (struct view){.item = item};
  working_size(item->rgb, &v->w, &v->h);
  if (!view_alloc(v)) return err_set(e, ERR_FIT, "out of memory for a mask");
  bool ok = image_resize(item->rgb, v->w, v->h, FILTER_BILINEAR, &small, e);
  ok = ok && ((make_features(v, &small) && make_place(v)) || err_set(e, ERR_FIT, "out of memory for a mask"));
  image_release(&small);
  if (ok) make_edges(v);
  for (int64_t p = 0; ok && p < (int64_t)v->w * v->h; p++) v->x[p] = sigmoid(3 * (v->place[p] - core));
  if (ok && item->given) {
    ok = image_resize(item->given, v->w, v->h, FILTER_BILINEAR, &small, e);
    for (int64_t p = 0; ok && p < (int64_t)v->w * v->h; p++) v->x[p] = (float)small.px[p] / 255.0f;
    image_release(&small);
  }
  return ok;
}
