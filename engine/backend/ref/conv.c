/* Convolution: torch.nn.functional.conv2d and its gradients, as products with the unfolded picture.
 *
 * The patch of an output pixel is the ci * kh * kw input values under the kernel, in the weights' order [ci, kh, kw], zero
 * outside of the picture; so y [pixels, co] = patches [pixels, ci kh kw] w^T. Done for SLICE pixels at a time. */
#include "backend/ref/ref.h"

#include <stdlib.h>
#include <string.h>

enum { SLICE = 128 };

/* Scratch of one call and what it computes on. */
struct work {
  const struct conv_shape *s;
  int64_t h, w, ci;      /* input picture */
  int64_t oh, ow, co;    /* output picture */
  int64_t pixels, patch; /* output pixels of all pictures; ci kh kw */
  float *patches;        /* [SLICE, patch] */
  float *rows;           /* [SLICE, co] */
};

static bool work_init(struct backend *b, struct work *k, const struct tensor *x, const struct tensor *y, const struct conv_shape *s) {
  *k = (struct work){.s = s, .h = x->dim[1], .w = x->dim[2], .ci = x->dim[3], .oh = y->dim[1], .ow = y->dim[2], .co = y->dim[3]};
  k->pixels = y->dim[0] * k->oh * k->ow;
  k->patch = k->ci * s->kh * s->kw;
  k->patches = ref_floats(b, SLICE * k->patch);
  k->rows = ref_floats(b, SLICE * k->co);
  return k->patches && k->rows;
}

static void work_release(struct work *k) {
  free(k->patches);
  free(k->rows);
}

static int64_t slice_pixels(const struct work *k, int64_t first) {
  return k->pixels - first < SLICE ? k->pixels - first : SLICE;
}

/* First channel of the input pixel under tap (ky, kx) of output pixel p, or -1 outside of the picture. */
static int64_t input_at(const struct work *k, int64_t p, int ky, int kx) {
  int64_t picture = p / (k->oh * k->ow), oy = p / k->ow % k->oh, ox = p % k->ow;
  int64_t iy = oy * k->s->stride - k->s->pad_top + ky, ix = ox * k->s->stride - k->s->pad_left + kx;
  if (iy < 0 || iy >= k->h || ix < 0 || ix >= k->w) return -1;
  return ((picture * k->h + iy) * k->w + ix) * k->ci;
}

/* patches = unfolded x for output pixels [first, first + n) */
static void unfold(struct work *k, const float *x, int64_t first, int64_t n) {
  int taps = k->s->kh * k->s->kw;
  for (int64_t p = 0; p < n; p++)
    for (int tap = 0; tap < taps; tap++) {
      int64_t at = input_at(k, first + p, tap / k->s->kw, tap % k->s->kw);
      float *out = k->patches + p * k->patch + tap;
      for (int64_t c = 0; c < k->ci; c++) out[c * taps] = at < 0 ? 0 : x[at + c];
    }
}

/* dx += folded patches: the transpose of unfold */
static void fold(const struct work *k, float *dx, int64_t first, int64_t n) {
  int taps = k->s->kh * k->s->kw;
  for (int64_t p = 0; p < n; p++)
    for (int tap = 0; tap < taps; tap++) {
      int64_t at = input_at(k, first + p, tap / k->s->kw, tap % k->s->kw);
      const float *in = k->patches + p * k->patch + tap;
      for (int64_t c = 0; at >= 0 && c < k->ci; c++) dx[at + c] += in[c * taps];
    }
}

/* y [n, oh, ow, co] = conv2d(x [n, h, w, ci], w [co, ci, kh, kw]) + bias */
void ref_conv(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, struct param *bias,
              const struct conv_shape *s) {
  struct work k;
  float *own_w, *own_x;
  const float *weights = ref_weights(b, w, x->type, &own_w), *in = ref_read(b, x, &own_x);
  bool ready = work_init(b, &k, x, y, s) && weights && in;
  for (int64_t first = 0; ready && first < k.pixels; first += SLICE) {
    int64_t n = slice_pixels(&k, first);
    unfold(&k, in, first, n);
    for (int64_t i = 0; i < n * k.co; i++) k.rows[i] = bias ? bias->w[i % k.co] : 0;
    ref_gemm(n, k.co, k.patch, (struct ref_matrix){k.patches, k.patch, 1}, (struct ref_matrix){weights, 1, k.patch}, k.rows, k.co);
    ref_store(y, first * k.co, n * k.co, k.rows);
  }
  work_release(&k);
  free(own_w);
  free(own_x);
}

/* patches of dx = dy w, folded back */
void ref_conv_dx(struct backend *b, struct tensor *dx, const struct tensor *dy, struct param *w, const struct conv_shape *s) {
  struct work k;
  float *own_w, *sum = ref_floats(b, tensor_count(dx));
  const float *weights = ref_weights(b, w, dy->type, &own_w);
  bool ready = work_init(b, &k, dx, dy, s) && weights && sum;
  for (int64_t first = 0; ready && first < k.pixels; first += SLICE) {
    int64_t n = slice_pixels(&k, first);
    ref_load(k.rows, dy, first * k.co, n * k.co);
    memset(k.patches, 0, (size_t)(n * k.patch) * sizeof *k.patches);
    ref_gemm(n, k.patch, k.co, (struct ref_matrix){k.rows, k.co, 1}, (struct ref_matrix){weights, k.patch, 1}, k.patches, k.patch);
    fold(&k, sum, first, n);
  }
  if (ready) ref_store(dx, 0, tensor_count(dx), sum);
  work_release(&k);
  free(own_w);
  free(sum);
}

/* w->g += dy^T patches; bias->g += column sums of dy */
void ref_conv_dw(struct backend *b, struct param *w, struct param *bias, const struct tensor *x, const struct tensor *dy,
                 const struct conv_shape *s) {
  if (!ref_trained(w) && !ref_trained(bias)) return;
  struct work k;
  float *own_x;
  const float *in = ref_read(b, x, &own_x);
  bool ready = work_init(b, &k, x, dy, s) && in;
  for (int64_t first = 0; ready && first < k.pixels; first += SLICE) {
    int64_t n = slice_pixels(&k, first);
    ref_load(k.rows, dy, first * k.co, n * k.co);
    if (ref_trained(bias)) ref_add_column_sums(bias, k.rows, n, k.co);
    if (!ref_trained(w)) continue;
    unfold(&k, in, first, n);
    ref_gemm(k.co, k.patch, n, (struct ref_matrix){k.rows, 1, k.co}, (struct ref_matrix){k.patches, k.patch, 1}, w->g, k.patch);
  }
  work_release(&k);
  free(own_x);
}
