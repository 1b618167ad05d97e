/* Linear layers on gemm.c. */
#include "cpu.h"

static bool trained(const struct param *p) {
  return p && p->g && !p->frozen;
}

/* Rows of x as floats: its own memory, or a copy at `to`. */
const float *cpu_widen(struct backend *b, float *to, const struct tensor *x) {
  if (x->type == DT_F32) return x->data;
  struct tensor wide_x = *x;
  wide_x.data = to;
  wide_x.type = DT_F32;
  b->op->cast(b, &wide_x, x);
  return to;
}

int64_t cpu_widen_floats(const struct tensor *x) {
  return x->type == DT_F32 ? 0 : cpu_round(tensor_count(x));
}

/* y = beta y + bias, so that a product can be added to it */
static void prepare(struct backend *b, struct tensor *y, const float *bias, float beta) {
  int64_t m = tensor_rows(y), n = tensor_last(y);
#pragma omp parallel for num_threads(m *n < CPU_SERIAL ? 1 : b->threads)
  for (int64_t r = 0; r < m; r++) {
    float *row = (float *)y->data + r * n;
    for (int64_t i = 0; i < n; i++) row[i] = bias[i] + (beta != 0 ? beta * row[i] : 0);
  }
}

/* y = alpha x op(w) + bias + beta y in oneDNN, fp32 */
static void run_dnnl(struct backend *b, struct tensor *y, const struct tensor *x, const struct packing *w, const float *bias, float alpha,
                     float beta) {
  if (cpu_of(b)->rehearsing) return; /* the library's own buffers are small */
  struct gemm g = {.m = tensor_rows(x), .n = w->n, .k = w->k, .a = x->data, .b = w->w, .c = y->data, .alpha = alpha, .beta = beta};
  g.tb = w->sn != 1;
  if (bias) {
    prepare(b, y, bias, beta);
    g.beta = 1;
  }
  dnnl_gemm(b, &g);
}

static void run(struct backend *b, struct tensor *y, const struct tensor *x, const struct packing *w, const float *bias, float alpha,
                float beta) {
  /* oneDNN packs nothing that few rows would use once, but adds a bias in a pass of its own */
  if (cpu_of(b)->dnnl && x->type == DT_F32 && (!bias || tensor_rows(x) < 1024)) {
    run_dnnl(b, y, x, w, bias, alpha, beta);
    return;
  }
  int64_t packed = cpu_round(cpu_pack_floats(b, w));
  float *scratch = cpu_scratch(b, packed + cpu_widen_floats(x));
  if (!scratch) return;
  cpu_pack(b, scratch, w);
  struct product p = {.m = tensor_rows(x), .n = w->n, .k = w->k, .taps = 1, .b = scratch};
  p.a = cpu_widen(b, scratch + packed, x);
  p.out = (struct tile_out){.c = y->data, .type = y->type, .ldc = w->n, .alpha = alpha, .beta = beta, .bias = bias};
  cpu_product(b, &p);
}

void cpu_linear(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, struct param *bias, float alpha, float beta) {
  if (alpha == 1 && beta == 0 && dnnl_linear(b, y, x, w, bias ? bias->w : NULL)) return;
  int64_t k = tensor_last(x);
  struct packing pack = {.w = w->w, .k = k, .n = tensor_last(y), .sk = 1, .sn = k, .taps = 1, .type = x->type};
  run(b, y, x, &pack, bias ? bias->w : NULL, alpha, beta);
}

void cpu_linear_dx(struct backend *b, struct tensor *dx, const struct tensor *dy, struct param *w, float alpha, float beta) {
  if (alpha == 1 && beta == 0 && dnnl_linear_dx(b, dx, dy, w)) return;
  int64_t n = tensor_last(dx);
  struct packing pack = {.w = w->w, .k = tensor_last(dy), .n = n, .sk = n, .sn = 1, .taps = 1, .type = dy->type};
  run(b, dx, dy, &pack, NULL, alpha, beta);
}

/* bias->g += column sums of dy */
void cpu_bias_grad(struct backend *b, struct param *bias, const struct tensor *dy) {
  if (!trained(bias)) return;
  int64_t c = tensor_last(dy);
  float *sum = cpu_scratch(b, c);
  if (!sum) return;
  struct tensor rows = tensor_3d(dy->data, dy->type, 1, tensor_rows(dy), c), out = tensor_2d(sum, DT_F32, 1, c);
  b->op->sum_rows(b, &out, &rows);
  for (int64_t i = 0; i < c; i++) bias->g[i] += sum[i];
}

static void dw_dnnl(struct backend *b, struct param *w, const struct tensor *x, const struct tensor *dy, float alpha) {
  float *scratch = cpu_scratch(b, cpu_widen_floats(x) + cpu_widen_floats(dy) + 16);
  if (!scratch) return;
  struct gemm g = {.ta = true, .m = tensor_last(dy), .n = tensor_last(x), .k = tensor_rows(x), .alpha = alpha, .beta = 1, .c = w->g};
  g.b = cpu_widen(b, scratch, x);
  g.a = cpu_widen(b, scratch + cpu_widen_floats(x), dy);
  dnnl_gemm(b, &g);
}

void cpu_linear_dw(struct backend *b, struct param *w, struct param *bias, const struct tensor *x, const struct tensor *dy, float alpha) {
  cpu_bias_grad(b, bias, dy);
  if (!trained(w) || (alpha == 1 && dnnl_linear_dw(b, w, x, dy))) return;
  if (cpu_of(b)->dnnl) {
    dw_dnnl(b, w, x, dy, alpha);
    return;
  }
  struct outer o = {.rows = tensor_rows(x), .co = tensor_last(dy), .ci = tensor_last(x), .taps = 1, .x = x, .dy = dy, .out = w->g};
  o.alpha = alpha;
  cpu_outer(b, &o);
}
