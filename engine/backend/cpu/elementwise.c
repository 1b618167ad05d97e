/* Element-wise slots: pieces of PIECE elements, widened to floats in the cache where they are BF16 or F16. */
#include "cpu.h"

#include <math.h>

#include "backend/ref/ref.h"

enum { PIECE = 2048 };

static int64_t least(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/* Where a result is made; `done` takes it home. */
static float *out(const struct tensor *t, int64_t at, float *buffer) {
  return t->type == DT_F32 ? (float *)t->data + at : buffer;
}

static void done(const struct kernels *k, struct tensor *t, int64_t at, int64_t n, const float *buffer) {
  if (t->type != DT_F32) k->narrow((uint16_t *)t->data + at, buffer, n, t->type);
}

static bool plain_types(const struct tensor *t) {
  return t->type == DT_F32 || t->type == DT_BF16 || t->type == DT_F16;
}

/* for each piece [at, at + PIECE) of `count` elements, shared out over b's threads */
#define FOR_PIECES(b, count) \
  _Pragma("omp parallel for num_threads((count) < CPU_SERIAL ? 1 : (b)->threads)") for (int64_t at = 0; at < (count); at += PIECE)

void cpu_fill(struct backend *b, struct tensor *y, float value) {
  if (!plain_types(y)) {
    ref_fill(b, y, value);
    return;
  }
  int64_t count = tensor_count(y);
  FOR_PIECES(b, count) {
    int64_t n = least(PIECE, count - at);
    for (int64_t i = at; i < at + n; i++)
      if (y->type == DT_F32)
        ((float *)y->data)[i] = value;
      else
        ((uint16_t *)y->data)[i] = narrow(value, y->type);
  }
}

void cpu_cast(struct backend *b, struct tensor *y, const struct tensor *x) {
  if (!plain_types(y) || !plain_types(x)) {
    ref_cast(b, y, x);
    return;
  }
  int64_t count = tensor_count(y);
  const struct kernels *k = cpu_of(b)->k;
  FOR_PIECES(b, count) {
    int64_t n = least(PIECE, count - at);
    float buffer[PIECE];
    const float *from = cpu_in(k, x, at, n, buffer);
    if (y->type != DT_F32)
      k->narrow((uint16_t *)y->data + at, from, n, y->type);
    else
      memcpy((float *)y->data + at, from, (size_t)n * sizeof *from);
  }
}

void cpu_axpby(struct backend *b, struct tensor *y, float alpha, const struct tensor *x, float beta) {
  int64_t count = tensor_count(y);
  const struct kernels *k = cpu_of(b)->k;
  FOR_PIECES(b, count) {
    int64_t n = least(PIECE, count - at);
    float x_buffer[PIECE], y_buffer[PIECE];
    float *to = out(y, at, y_buffer);
    if (beta != 0) cpu_in(k, y, at, n, y_buffer);
    k->axpby(to, alpha, cpu_in(k, x, at, n, x_buffer), beta, n);
    done(k, y, at, n, to);
  }
}

void cpu_add(struct backend *b, struct tensor *y, const struct tensor *a, const struct tensor *c) {
  int64_t count = tensor_count(y);
  const struct kernels *k = cpu_of(b)->k;
  FOR_PIECES(b, count) {
    int64_t n = least(PIECE, count - at);
    float a_buffer[PIECE], c_buffer[PIECE];
    const float *from = cpu_in(k, a, at, n, a_buffer);
    float *to = out(y, at, a_buffer);
    k->add(to, from, cpu_in(k, c, at, n, c_buffer), n);
    done(k, y, at, n, to);
  }
}

void cpu_act(struct backend *b, struct tensor *y, const struct tensor *x, enum activation kind) {
  int64_t count = tensor_count(y);
  const struct kernels *k = cpu_of(b)->k;
  FOR_PIECES(b, count) {
    int64_t n = least(PIECE, count - at);
    float buffer[PIECE];
    const float *from = cpu_in(k, x, at, n, buffer);
    float *to = out(y, at, buffer);
    k->act(to, from, n, kind);
    done(k, y, at, n, to);
  }
}

void cpu_act_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x, enum activation kind) {
  int64_t count = tensor_count(dx);
  const struct kernels *k = cpu_of(b)->k;
  FOR_PIECES(b, count) {
    int64_t n = least(PIECE, count - at);
    float x_buffer[PIECE], y_buffer[PIECE];
    const float *slope = cpu_in(k, dy, at, n, y_buffer);
    float *to = out(dx, at, y_buffer);
    k->act_bwd(to, slope, cpu_in(k, x, at, n, x_buffer), n, kind);
    done(k, dx, at, n, to);
  }
}

void cpu_geglu(struct backend *b, struct tensor *y, const struct tensor *x) {
  const struct kernels *k = cpu_of(b)->k;
  int64_t m = tensor_rows(x), c = tensor_last(x) / 2;
#pragma omp parallel for num_threads(m *c < CPU_SERIAL ? 1 : b->threads)
  for (int64_t r = 0; r < m; r++)
    for (int64_t j = 0; j < c; j += PIECE) {
      float h_buffer[PIECE], g_buffer[PIECE];
      int64_t n = least(PIECE, c - j), at = r * 2 * c + j;
      float *to = out(y, r * c + j, h_buffer);
      k->geglu(to, cpu_in(k, x, at, n, h_buffer), cpu_in(k, x, at + c, n, g_buffer), n);
      done(k, y, r * c + j, n, to);
    }
}

void cpu_geglu_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy, const struct tensor *x) {
  const struct kernels *k = cpu_of(b)->k;
  int64_t m = tensor_rows(x), c = tensor_last(x) / 2;
#pragma omp parallel for num_threads(m *c < CPU_SERIAL ? 1 : b->threads)
  for (int64_t r = 0; r < m; r++)
    for (int64_t j = 0; j < c; j += PIECE) {
      float h_buffer[PIECE], g_buffer[PIECE], d_buffer[PIECE];
      int64_t n = least(PIECE, c - j), at = r * 2 * c + j;
      const float *h = cpu_in(k, x, at, n, h_buffer), *gate = cpu_in(k, x, at + c, n, g_buffer), *d = cpu_in(k, dy, r * c + j, n, d_buffer);
      float *dh = out(dx, at, h_buffer), *dgate = out(dx, at + c, g_buffer);
      k->geglu_bwd(dh, dgate, d, h, gate, n);
      done(k, dx, at, n, dh);
      done(k, dx, at + c, n, dgate);
    }
}

/* --- shapes ------------------------------------------------------------------------------------------------------------------- */

void cpu_add_rows(struct backend *b, struct tensor *y, const struct tensor *x, const struct tensor *e) {
  const struct kernels *k = cpu_of(b)->k;
  int64_t c = tensor_last(x), rows = tensor_rows(x), each = rows / x->dim[0];
#pragma omp parallel for num_threads(rows *c < CPU_SERIAL ? 1 : b->threads)
  for (int64_t r = 0; r < rows; r++)
    for (int64_t j = 0; j < c; j += PIECE) {
      float x_buffer[PIECE], e_buffer[PIECE];
      int64_t n = least(PIECE, c - j);
      const float *from = cpu_in(k, x, r * c + j, n, x_buffer);
      float *to = out(y, r * c + j, x_buffer);
      k->add(to, from, cpu_in(k, e, r / each * c + j, n, e_buffer), n);
      done(k, y, r * c + j, n, to);
    }
}

/* Column sums in slices of SLICE rows, added up in double: [slices, c] of scratch. */
void cpu_sum_rows(struct backend *b, struct tensor *de, const struct tensor *dy) {
  enum { SLICE = 128 };
  const struct kernels *k = cpu_of(b)->k;
  int64_t c = tensor_last(dy), items = dy->dim[0], each = tensor_rows(dy) / items, slices = (each + SLICE - 1) / SLICE;
  float *sums = cpu_scratch2(b, items * slices * c);
  if (!sums) return;
#pragma omp parallel for collapse(2) num_threads(items *each *c < CPU_SERIAL ? 1 : b->threads)
  for (int64_t i = 0; i < items; i++)
    for (int64_t s = 0; s < slices; s++) {
      float *sum = sums + (i * slices + s) * c;
      memset(sum, 0, (size_t)c * sizeof *sum);
      for (int64_t r = s * SLICE; r < least((s + 1) * SLICE, each); r++)
        for (int64_t j = 0; j < c; j += PIECE) {
          float buffer[PIECE];
          int64_t n = least(PIECE, c - j);
          k->add(sum + j, sum + j, cpu_in(k, dy, (i * each + r) * c + j, n, buffer), n);
        }
    }
  for (int64_t i = 0; i < items; i++)
    for (int64_t j = 0; j < c; j++) {
      double total = 0;
      for (int64_t s = 0; s < slices; s++) total += sums[(i * slices + s) * c + j];
      float x = (float)total;
      if (de->type == DT_F32)
        ((float *)de->data)[i * c + j] = x;
      else
        ((uint16_t *)de->data)[i * c + j] = narrow(x, de->type);
    }
}

/* Between [rows, c1 + c2] and its two parts; NULL: leave that part. */
static void parts(struct backend *b, struct tensor *whole, struct tensor *left, struct tensor *right, int64_t c1, bool join) {
  int64_t rows = tensor_rows(whole), c = tensor_last(whole);
  size_t size = dtype_size(whole->type);
#pragma omp parallel for num_threads(rows *c < CPU_SERIAL ? 1 : b->threads)
  for (int64_t r = 0; r < rows; r++) {
    char *w = (char *)whole->data + (size_t)(r * c) * size, *w2 = w + (size_t)c1 * size;
    char *p1 = left ? (char *)left->data + (size_t)(r * c1) * size : NULL;
    char *p2 = right ? (char *)right->data + (size_t)(r * (c - c1)) * size : NULL;
    if (p1) memcpy(join ? w : p1, join ? p1 : w, (size_t)c1 * size);
    if (p2) memcpy(join ? w2 : p2, join ? p2 : w2, (size_t)(c - c1) * size);
  }
}

void cpu_concat(struct backend *b, struct tensor *y, const struct tensor *x1, const struct tensor *x2) {
  struct tensor left = *x1, right = *x2;
  parts(b, y, &left, &right, tensor_last(x1), true);
}

void cpu_split(struct backend *b, struct tensor *x1, struct tensor *x2, const struct tensor *y) {
  struct tensor whole = *y;
  parts(b, &whole, x1, x2, x1 ? tensor_last(x1) : tensor_last(y) - tensor_last(x2), false);
}

void cpu_upsample(struct backend *b, struct tensor *y, const struct tensor *x) {
  int64_t oh = y->dim[1], ow = y->dim[2], ih = x->dim[1], iw = x->dim[2], rows = y->dim[0] * oh;
  size_t pixel = (size_t)tensor_last(x) * dtype_size(x->type);
#pragma omp parallel for num_threads(tensor_count(y) < CPU_SERIAL ? 1 : b->threads)
  for (int64_t r = 0; r < rows; r++)
    for (int64_t i = 0; i < ow; i++) {
      int64_t from = (r / oh * ih + r % oh * ih / oh) * iw + i * iw / ow;
      memcpy((char *)y->data + (size_t)(r * ow + i) * pixel, (const char *)x->data + (size_t)from * pixel, pixel);
    }
}

/* First output index that reads input i or a later one. */
static int64_t first_reader(int64_t i, int64_t size_in, int64_t size_out) {
  return (i * size_out + size_in - 1) / size_in;
}

void cpu_upsample_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy) {
  const struct kernels *k = cpu_of(b)->k;
  int64_t oh = dy->dim[1], ow = dy->dim[2], ih = dx->dim[1], iw = dx->dim[2], c = tensor_last(dx), pixels = tensor_rows(dx);
#pragma omp parallel for num_threads(tensor_count(dy) < CPU_SERIAL ? 1 : b->threads)
  for (int64_t p = 0; p < pixels; p++)
    for (int64_t j = 0; j < c; j += PIECE) {
      float sum[PIECE] = {0}, buffer[PIECE];
      int64_t n = least(PIECE, c - j), picture = p / (ih * iw), y = p / iw % ih, x = p % iw;
      for (int64_t oy = first_reader(y, ih, oh); oy < first_reader(y + 1, ih, oh); oy++)
        for (int64_t ox = first_reader(x, iw, ow); ox < first_reader(x + 1, iw, ow); ox++)
          k->add(sum, sum, cpu_in(k, dy, ((picture * oh + oy) * ow + ox) * c + j, n, buffer), n);
      if (dx->type == DT_F32)
        memcpy((float *)dx->data + p * c + j, sum, (size_t)n * sizeof *sum);
      else
        k->narrow((uint16_t *)dx->data + p * c + j, sum, n, dx->type);
    }
}

/* --- training ------------------------------------------------------------------------------------------------------------------ */

void cpu_sum_squares(struct backend *b, double *sum, const float *x, int64_t n) {
  enum { CHUNK = 1 << 16 };
  const struct kernels *k = cpu_of(b)->k;
  int64_t chunks = (n + CHUNK - 1) / CHUNK;
  double total = 0, *sums = (double *)cpu_scratch(b, 2 * chunks);
  if (!sums) return;
#pragma omp parallel for num_threads(n < CPU_SERIAL ? 1 : b->threads)
  for (int64_t i = 0; i < chunks; i++) sums[i] = k->sum_squares(x + i * CHUNK, least(CHUNK, n - i * CHUNK));
  for (int64_t i = 0; i < chunks; i++) total += sums[i];
  *sum += total;
}

void cpu_adamw(struct backend *b, float *w, const float *g, struct tensor *m, struct tensor *v, int64_t count, const struct adamw *a) {
  double correction1 = 1 - pow(a->beta1, a->step), correction2 = 1 - pow(a->beta2, a->step);
  struct adamw_step s = {.beta1 = a->beta1, .beta2 = a->beta2, .eps = a->eps, .grad_scale = a->grad_scale};
  s.step_size = (float)(a->lr / correction1);
  s.inverse_root = (float)(1 / sqrt(correction2));
  s.keep = (float)(1 - (double)a->lr * a->weight_decay);
  const struct kernels *k = cpu_of(b)->k;
  FOR_PIECES(b, count) {
    int64_t n = least(PIECE, count - at);
    float m_buffer[PIECE], v_buffer[PIECE];
    float *mean = out(m, at, m_buffer), *square = out(v, at, v_buffer);
    cpu_in(k, m, at, n, m_buffer);
    cpu_in(k, v, at, n, v_buffer);
    k->adamw(w + at, g + at, mean, square, n, &s);
    done(k, m, at, n, mean);
    done(k, v, at, n, square);
  }
}

/* Pairs of numbers belong together: pieces start at even elements of a block of the generator. */
void cpu_normal(struct backend *b, struct tensor *out_, const struct rng_counter *c) {
  int64_t count = tensor_count(out_);
  FOR_PIECES(b, count) {
    int64_t n = least(PIECE, count - at);
    rng_normal(c, (float *)out_->data + at, at, n);
  }
}
