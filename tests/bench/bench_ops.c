/* Times the operations of the cpu backend on the shapes of Stable Diffusion 1.5 at 512x512, forward and backward.
 *
 *   bench_ops [threads [seconds for each line]]
 *
 * Each figure is the best of several calls. "share" is against a peak measured just before: the product kernel on data that
 * stays in the first-level cache, on as many threads. Other work on the machine spoils both; the ratio less. */
#include "backend/cpu/cpu.h"
#include "base/thread.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static struct backend *B;
static double SECONDS = 0.5, PEAK;

/* With one thread the processor time of the process is taken: other work on the machine then matters less. */
static double clock_now(void) {
  if (B->threads > 1) return now_seconds();
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static struct tensor make(int rank, int64_t a, int64_t b, int64_t c, int64_t d) {
  int64_t dim[4] = {a, b, c, d};
  struct tensor t = tensor_of(NULL, DT_F32, rank, dim);
  t.data = B->op->alloc(B, tensor_bytes(&t), NULL);
  if (!t.data) exit(4);
  for (int64_t i = 0; i < tensor_count(&t); i++) ((float *)t.data)[i] = (float)(i * 7919 % 1009) / 1009 - 0.5f;
  return t;
}

static void release(struct tensor *t) {
  B->op->release(B, t->data, tensor_bytes(t));
}

static struct param param_of(struct tensor *w, struct tensor *g) {
  return (struct param){.w = w->data, .g = g->data, .count = tensor_count(w), .version = 1};
}

/* What one line works on. */
struct work {
  struct tensor x, y, dx, w, g, q, k, v, o, d_o, dq, dk, dv, lse, stats, gamma, m, moment;
  struct param p, ga, be;
  struct conv_shape conv;
  struct attention_shape attention;
};

static double best(void (*f)(struct work *), struct work *w) {
  double least = 1e9, end = clock_now() + SECONDS;
  for (int i = 0; i < 3 || clock_now() < end; i++) {
    double t = clock_now();
    f(w);
    t = clock_now() - t;
    if (i > 0 && t < least) least = t;
  }
  return least;
}

static void report(double flops, double seconds) {
  printf(" | %8.2f %6.0f %4.0f%%", seconds * 1e3, flops / seconds / 1e9, 100 * flops / seconds / PEAK);
}

static void conv(struct work *w) {
  B->op->conv(B, &w->y, &w->x, &w->p, NULL, &w->conv);
}
static void conv_dx(struct work *w) {
  B->op->conv_dx(B, &w->dx, &w->y, &w->p, &w->conv);
}
static void conv_dw(struct work *w) {
  B->op->conv_dw(B, &w->p, NULL, &w->x, &w->y, &w->conv);
}
static void linear(struct work *w) {
  B->op->linear(B, &w->y, &w->x, &w->p, NULL, 1, 0);
}
static void linear_dx(struct work *w) {
  B->op->linear_dx(B, &w->dx, &w->y, &w->p, 1, 0);
}
static void linear_dw(struct work *w) {
  B->op->linear_dw(B, &w->p, NULL, &w->x, &w->y, 1);
}

static void product_line(const char *name, struct work *w, double flops, bool is_conv) {
  w->p = param_of(&w->w, &w->g);
  printf("%-30s", name);
  report(flops, best(is_conv ? conv : linear, w));
  report(flops, best(is_conv ? conv_dx : linear_dx, w));
  report(flops, best(is_conv ? conv_dw : linear_dw, w));
  printf("\n");
  struct tensor *all[] = {&w->x, &w->y, &w->dx, &w->w, &w->g};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) release(all[i]);
}

static void bench_conv(int64_t size, int64_t ci, int64_t co, int stride) {
  int64_t out = size / stride;
  struct work w = {.conv = {3, 3, stride, 1, 1, 1, 1}};
  char name[64];
  snprintf(name, sizeof name, "conv 3x3%s %dx%d %d->%d", stride > 1 ? "/2" : "", (int)size, (int)size, (int)ci, (int)co);
  w.x = make(4, 1, size, size, ci);
  w.dx = make(4, 1, size, size, ci);
  w.y = make(4, 1, out, out, co);
  w.w = make(4, co, ci, 3, 3);
  w.g = make(4, co, ci, 3, 3);
  product_line(name, &w, 18.0 * (double)(out * out * ci * co), true);
}

static void bench_linear(int64_t m, int64_t k, int64_t n) {
  struct work w = {
      .x = make(2, m, k, 1, 1), .dx = make(2, m, k, 1, 1), .y = make(2, m, n, 1, 1), .w = make(2, n, k, 1, 1), .g = make(2, n, k, 1, 1)};
  char name[64];
  snprintf(name, sizeof name, "linear %d x %d->%d", (int)m, (int)k, (int)n);
  product_line(name, &w, 2.0 * (double)(m * k * n), false);
}

static void attention(struct work *w) {
  B->op->attention(B, &w->o, &w->lse, &w->q, &w->k, &w->v, &w->attention);
}
static void attention_bwd(struct work *w) {
  B->op->attention_bwd(B, &w->dq, &w->dk, &w->dv, &w->d_o, &w->o, &w->lse, &w->q, &w->k, &w->v, &w->attention);
}

static void bench_attention(int64_t tq, int64_t tk, int heads, int64_t d) {
  int64_t c = heads * d;
  struct work w = {.q = make(3, 1, tq, c, 1), .o = make(3, 1, tq, c, 1), .d_o = make(3, 1, tq, c, 1), .dq = make(3, 1, tq, c, 1)};
  w.k = make(3, 1, tk, c, 1);
  w.v = make(3, 1, tk, c, 1);
  w.dk = make(3, 1, tk, c, 1);
  w.dv = make(3, 1, tk, c, 1);
  w.lse = make(3, 1, heads, tq, 1);
  w.attention = (struct attention_shape){heads, 1 / sqrtf((float)d), false};
  double flops = 4.0 * (double)(tq * tk * c);
  printf("attention %4d x %4d, %d of %-3d", (int)tq, (int)tk, heads, (int)d);
  report(flops, best(attention, &w));
  report(2.5 * flops, best(attention_bwd, &w));
  printf("\n");
  struct tensor *all[] = {&w.q, &w.k, &w.v, &w.o, &w.d_o, &w.dq, &w.dk, &w.dv, &w.lse};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) release(all[i]);
}

static void group_norm(struct work *w) {
  B->op->group_norm(B, &w->y, &w->stats, &w->x, &w->ga, &w->be, 32, 1e-5f, true);
}
static void group_norm_bwd(struct work *w) {
  B->op->group_norm_bwd(B, &w->dx, &w->y, &w->x, &w->stats, &w->ga, &w->be, 32, true);
}
static void layer_norm(struct work *w) {
  B->op->layer_norm(B, &w->y, &w->stats, &w->x, &w->ga, &w->be, 1e-5f);
}
static void layer_norm_bwd(struct work *w) {
  B->op->layer_norm_bwd(B, &w->dx, &w->y, &w->x, &w->stats, &w->ga, &w->be);
}
static void add(struct work *w) {
  B->op->add(B, &w->y, &w->x, &w->dx);
}
static void silu(struct work *w) {
  B->op->act(B, &w->y, &w->x, ACT_SILU);
}
static void silu_bwd(struct work *w) {
  B->op->act_bwd(B, &w->dx, &w->y, &w->x, ACT_SILU);
}
static void geglu(struct work *w) {
  B->op->geglu(B, &w->o, &w->x);
}
static void geglu_bwd(struct work *w) {
  B->op->geglu_bwd(B, &w->dx, &w->o, &w->x);
}
static void adamw(struct work *w) {
  struct adamw a = {1e-6f, 0.9f, 0.999f, 1e-8f, 0.01f, 1, 3};
  B->op->adamw(B, w->x.data, w->y.data, &w->m, &w->moment, tensor_count(&w->x), &a);
}

/* bytes: read and written by forward, backward */
static void memory_line(const char *name, struct work *w, void (*f)(struct work *), double bytes, void (*f2)(struct work *),
                        double bytes2) {
  double t = best(f, w);
  printf("%-30s | %8.2f %6.1f GB/s", name, t * 1e3, bytes / t / 1e9);
  if (f2) {
    t = best(f2, w);
    printf(" | %8.2f %6.1f GB/s", t * 1e3, bytes2 / t / 1e9);
  }
  printf("\n");
}

static void bench_memory(void) {
  struct work w = {
      .x = make(4, 1, 64, 64, 320), .y = make(4, 1, 64, 64, 320), .dx = make(4, 1, 64, 64, 320), .stats = make(2, 4096, 2, 1, 1)};
  w.gamma = make(1, 320, 1, 1, 1);
  w.g = make(1, 320, 1, 1, 1);
  w.o = make(4, 1, 64, 64, 160);
  w.m = make(1, tensor_count(&w.x), 1, 1, 1);
  w.moment = make(1, tensor_count(&w.x), 1, 1, 1);
  for (int64_t i = 0; i < tensor_count(&w.moment); i++) ((float *)w.moment.data)[i] = 1;
  w.ga = w.be = param_of(&w.gamma, &w.g);
  double n = (double)tensor_bytes(&w.x);
  memory_line("group norm + silu 64x64x320", &w, group_norm, 2 * n, group_norm_bwd, 3 * n);
  memory_line("layer norm 4096x320", &w, layer_norm, 2 * n, layer_norm_bwd, 3 * n);
  memory_line("silu 64x64x320", &w, silu, 2 * n, silu_bwd, 3 * n);
  memory_line("geglu 4096 x 2*160", &w, geglu, 1.5 * n, geglu_bwd, 2.5 * n);
  memory_line("add 64x64x320", &w, add, 3 * n, NULL, 0);
  memory_line("adamw 1.3 M", &w, adamw, 7 * n, NULL, 0);
  struct tensor *all[] = {&w.x, &w.y, &w.dx, &w.stats, &w.gamma, &w.g, &w.o, &w.m, &w.moment};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) release(all[i]);
}

/* FLOP/s of the product kernel in the first-level cache. */
static double measure_peak(void) {
  enum { K = 256, CALLS = 20000 };
  const struct kernels *k = cpu_of(B)->k;
  double least = 1e9;
  for (int round = 0; round < 3; round++) {
    double t = clock_now();
#pragma omp parallel num_threads(B->threads)
    {
      float a[K], b[K * KERNEL_MAX_NR], c[KERNEL_MAX_MR * KERNEL_MAX_NR];
      const float *rows[KERNEL_MAX_MR];
      for (int i = 0; i < K; i++) a[i] = 0.5f;
      for (int i = 0; i < K * KERNEL_MAX_NR; i++) b[i] = 0.25f;
      for (int i = 0; i < KERNEL_MAX_MR; i++) rows[i] = a;
      for (int i = 0; i < CALLS; i++) k->tile(rows, K, b, c, true);
    }
    t = clock_now() - t;
    if (t < least) least = t;
  }
  return 2.0 * K * CALLS * k->mr * k->nr * B->threads / least;
}

int main(int argc, char **argv) {
  struct err e = {.code = ERR_OK};
  if (argc > 2) SECONDS = atof(argv[2]);
  B = backend_open_ops(&backend_cpu, argc > 1 ? atoi(argv[1]) : 0, &e);
  if (!B) {
    fprintf(stderr, "%s\n", e.text);
    return 4;
  }
  PEAK = measure_peak();
  printf("%s; peak %.0f GFLOPS\n", backend_describe(B), PEAK / 1e9);
  printf("%-30s | %8s %6s %5s | %8s %6s %5s | %8s %6s %5s\n", "", "ms", "GFLOPS", "share", "dx ms", "GFLOPS", "share", "dw ms", "GFLOPS",
         "share");
  const int convs[][4] = {{64, 320, 320, 1},   {64, 640, 320, 1},   {64, 320, 320, 2},  {32, 640, 640, 1}, {32, 1280, 640, 1},
                          {16, 1280, 1280, 1}, {16, 2560, 1280, 1}, {8, 1280, 1280, 1}, {64, 4, 320, 1}};
  for (size_t i = 0; i < sizeof convs / sizeof *convs; i++) bench_conv(convs[i][0], convs[i][1], convs[i][2], convs[i][3]);
  const int linears[][3] = {{4096, 320, 2560}, {4096, 1280, 320},  {4096, 320, 320},  {1024, 640, 5120},
                            {1024, 2560, 640}, {256, 1280, 10240}, {256, 1280, 1280}, {64, 1280, 1280},
                            {77, 768, 320},    {4096, 320, 4},     {4096, 4, 320}};
  for (size_t i = 0; i < sizeof linears / sizeof *linears; i++) bench_linear(linears[i][0], linears[i][1], linears[i][2]);
  printf("(attention: the second column is the whole backward pass)\n");
  const int attentions[][4] = {{4096, 4096, 8, 40}, {1024, 1024, 8, 80}, {256, 256, 8, 160},  {64, 64, 8, 160},
                               {4096, 77, 8, 40},   {1024, 77, 8, 80},   {4096, 4096, 1, 512}};
  for (size_t i = 0; i < sizeof attentions / sizeof *attentions; i++)
    bench_attention(attentions[i][0], attentions[i][1], attentions[i][2], attentions[i][3]);
  bench_memory();
  int status = B->fault.code;
  if (status) fprintf(stderr, "%s\n", B->fault.text);
  backend_close(B);
  return status;
}
