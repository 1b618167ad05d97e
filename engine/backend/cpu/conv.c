/* Convolutions on gemm.c: one product with a tap for each place of the kernel. */
#include "cpu.h"

#include "backend/ref/ref.h"

/* A 1x1 convolution is a linear layer on the same memory. */
static bool is_linear(const struct conv_shape *s) {
  return s->kh == 1 && s->kw == 1 && s->stride == 1 && !s->pad_top && !s->pad_left && !s->pad_bottom && !s->pad_right;
}

static struct geometry geometry_of(const struct tensor *read, const struct tensor *written, const struct conv_shape *s, bool transposed) {
  return (struct geometry){
      .ih = read->dim[1], .iw = read->dim[2], .oh = written->dim[1], .ow = written->dim[2], .s = *s, .transposed = transposed};
}

/* Written pixels sorted by what remains of their coordinates modulo the stride: neighbours then want the same taps, and
   tiles skip the taps that see nothing. */
static void sort_pixels(int64_t *map, const struct geometry *g, int64_t pictures) {
  int stride = g->s.stride;
  for (int64_t ry = 0; ry < stride; ry++)
    for (int64_t rx = 0; rx < stride; rx++)
      for (int64_t n = 0; n < pictures; n++)
        for (int64_t y = ry; y < g->oh; y += stride)
          for (int64_t x = rx; x < g->ow; x += stride) *map++ = (n * g->oh + y) * g->ow + x;
}

static void run(struct backend *b, struct tensor *y, const struct tensor *x, const struct geometry *g, const struct packing *w,
                const float *bias) {
  int64_t m = tensor_rows(y), wide_x = cpu_widen_floats(x), zeros = cpu_round(w->k);
  int64_t packed = cpu_round(cpu_pack_floats(b, w)), map = g->transposed && g->s.stride > 1 ? 2 * m : 0;
  float *scratch = cpu_scratch(b, zeros + wide_x + packed + map);
  if (!scratch) return;
  memset(scratch, 0, (size_t)zeros * sizeof *scratch);
  float *panels = scratch + zeros + wide_x;
  cpu_pack(b, panels, w);
  struct product p = {.m = m, .n = w->n, .k = w->k, .taps = w->taps, .g = g, .zeros = scratch, .b = panels};
  p.a = cpu_widen(b, scratch + zeros, x);
  if (map) {
    sort_pixels((int64_t *)(panels + packed), g, y->dim[0]);
    p.map = (const int64_t *)(panels + packed);
  }
  p.out = (struct tile_out){.c = y->data, .type = y->type, .ldc = w->n, .alpha = 1, .bias = bias};
  cpu_product(b, &p);
}

void cpu_conv(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, struct param *bias,
              const struct conv_shape *s) {
  if (is_linear(s)) {
    cpu_linear(b, y, x, w, bias, 1, 0);
    return;
  }
  if (dnnl_conv(b, y, x, w, bias ? bias->w : NULL, s)) return;
  int taps = s->kh * s->kw;
  if (taps > CPU_MAX_TAPS) {
    if (!cpu_of(b)->rehearsing) ref_conv(b, y, x, w, bias, s);
    return;
  }
  int64_t ci = tensor_last(x);
  struct geometry g = geometry_of(x, y, s, false);
  struct packing pack = {.w = w->w, .k = ci, .n = tensor_last(y), .sk = taps, .sn = ci * taps, .taps = taps, .type = x->type};
  run(b, y, x, &g, &pack, bias ? bias->w : NULL);
}

void cpu_conv_dx(struct backend *b, struct tensor *dx, const struct tensor *dy, struct param *w, const struct conv_shape *s) {
  if (is_linear(s)) {
    cpu_linear_dx(b, dx, dy, w, 1, 0);
    return;
  }
  if (dnnl_conv_dx(b, dx, dy, w, s)) return;
  int taps = s->kh * s->kw;
  if (taps > CPU_MAX_TAPS) {
    if (!cpu_of(b)->rehearsing) ref_conv_dx(b, dx, dy, w, s);
    return;
  }
  int64_t ci = tensor_last(dx);
  struct geometry g = geometry_of(dy, dx, s, true);
  struct packing pack = {.w = w->w, .k = tensor_last(dy), .n = ci, .sk = ci * taps, .sn = taps, .taps = taps, .type = dy->type};
  run(b, dx, dy, &g, &pack, NULL);
}

void cpu_conv_dw(struct backend *b, struct param *w, struct param *bias, const struct tensor *x, const struct tensor *dy,
                 const struct conv_shape *s) {
  if (is_linear(s)) {
    cpu_linear_dw(b, w, bias, x, dy, 1);
    return;
  }
  int taps = s->kh * s->kw;
  if (taps > CPU_MAX_TAPS) {
    if (!cpu_of(b)->rehearsing) ref_conv_dw(b, w, bias, x, dy, s);
    return;
  }
  cpu_bias_grad(b, bias, dy);
  if (!w || !w->g || w->frozen || dnnl_conv_dw(b, w, x, dy, s)) return;
  struct geometry g = geometry_of(x, dy, s, false);
  struct outer o = {
      .rows = tensor_rows(dy), .co = tensor_last(dy), .ci = tensor_last(x), .taps = taps, .x = x, .dy = dy, .g = &g, .out = w->g};
  o.alpha = 1;
  cpu_outer(b, &o);
}
