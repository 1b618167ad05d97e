/* The optimiser of a run with offload (engine/train/offload.h): what the CPU's AdamW takes for so many parameters, updated block by block as a
 * forward pass asks for them, and what the norm of their gradients takes.
 *
 * usage: bench_offload [--params MILLIONS] [--threads N,N,...] [--bf16] [--repeat N]
 *
 * Without --params 200 million: 3.2 GB. 983 (the UNet and text encoder of SD 1.5) want 15.8 GB. --bf16: moments in bf16. The best of the repeats
 * counts. Bytes: 28 a parameter (w, m, v read and written, g read), 20 with bf16 moments; 4 for the norm. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "base/thread.h"

enum { MOST_THREADS = 16 };
static const int64_t block = 13000000; /* parameters of a block of SD 1.5's UNet, about */

struct bench {
  struct backend *b;
  int64_t n;
  float *w, *g;
  struct tensor m, v;
};

static bool take(struct bench *k, enum dtype moments, struct err *e) {
  const struct backend_ops *op = k->b->op;
  size_t values = (size_t)k->n * sizeof(float), moment = (size_t)k->n * dtype_size(moments);
  k->w = op->host_alloc(k->b, values, e);
  k->g = k->w ? op->host_alloc(k->b, values, e) : NULL;
  k->m = tensor_1d(k->g ? op->alloc(k->b, moment, e) : NULL, moments, k->n);
  k->v = tensor_1d(k->m.data ? op->alloc(k->b, moment, e) : NULL, moments, k->n);
  return k->v.data != NULL;
}

/* Every page is touched; gradients like those of a network, so that nothing is denormal. */
static void fill(struct bench *k) {
  uint32_t x = 1;
  for (int64_t i = 0; i < k->n; i++) {
    x = x * 1664525u + 1013904223u;
    k->w[i] = (float)(x >> 8) * 0x1p-24f - 0.5f;
    k->g[i] = k->w[i] * 1e-3f;
  }
}

static double update(struct bench *k, int step) {
  struct adamw a = {1e-6f, 0.9f, 0.999f, 1e-8f, 1e-2f, 0.5f, step};
  double began = now_seconds();
  for (int64_t at = 0; at < k->n; at += block) {
    int64_t n = k->n - at < block ? k->n - at : block;
    struct tensor m = tensor_slice(k->m, at, n), v = tensor_slice(k->v, at, n);
    k->b->op->adamw(k->b, k->w + at, k->g + at, &m, &v, n, &a);
  }
  return now_seconds() - began;
}

static double norm(struct bench *k) {
  double began = now_seconds(), sum = 0;
  for (int64_t at = 0; at < k->n; at += block) k->b->op->sum_squares(k->b, &sum, k->g + at, k->n - at < block ? k->n - at : block);
  return sqrt(sum) > 0 ? now_seconds() - began : NAN;
}

static void row(struct bench *k, int threads, int repeat) {
  double least = INFINITY, least_norm = INFINITY, bytes = 12 + 4 * (double)dtype_size(k->m.type);
  k->b->threads = threads;
  for (int i = 0; i < repeat; i++) {
    least = fmin(least, update(k, i + 1));
    least_norm = fmin(least_norm, norm(k));
  }
  printf("| %d | %.3f | %.1f | %.3f | %.1f |\n", threads, least, (double)k->n * bytes * 1e-9 / least, least_norm,
         (double)k->n * 4e-9 / least_norm);
  fflush(stdout);
}

int main(int argc, char **argv) {
  struct err e = {0};
  struct bench k = {.n = 200000000};
  const char *threads = "1,2";
  enum dtype moments = DT_F32;
  int repeat = 5;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--bf16") == 0) moments = DT_BF16;
    if (i + 1 == argc) break;
    if (strcmp(argv[i], "--params") == 0) k.n = (int64_t)(atof(argv[i + 1]) * 1e6) / 16 * 16;
    if (strcmp(argv[i], "--threads") == 0) threads = argv[i + 1];
    if (strcmp(argv[i], "--repeat") == 0) repeat = atoi(argv[i + 1]);
  }
  k.b = backend_open_host(MOST_THREADS, &e);
  if (!k.b || k.n < 16 || !take(&k, moments, &e)) {
    fprintf(stderr, "bench_offload: %s\n", e.code ? e.text : "parameters?");
    return 1;
  }
  fill(&k);
  printf("%s: AdamW of %.0f million parameters, moments in %s\n\n| threads | update s | GB/s | norm s | GB/s |\n|---|---|---|---|---|\n",
         backend_describe(k.b), (double)k.n * 1e-6, dtype_name(moments));
  for (const char *p = threads; p && *p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) row(&k, atoi(p), repeat);
  backend_close(k.b);
  return 0;
}
