/* What runs in oneDNN. */
#include "cpu.h"

#include <omp.h>
#include <stdlib.h>

#include "dnnl_compat.h"

struct dnnl {
  struct dn_engine *engine;
};

void dnnl_open(struct backend *b) {
  struct dnnl *d = calloc(1, sizeof *d);
  if (d) d->engine = dn_engine_new();
  if (d && !d->engine) {
    free(d);
    d = NULL;
  }
  cpu_of(b)->dnnl = d;
}

void dnnl_close(struct backend *b) {
  struct dnnl *d = cpu_of(b)->dnnl;
  if (!d) return;
  dn_engine_delete(d->engine);
  free(d);
}

const char *dnnl_name(const struct backend *b) {
  struct dnnl *d = cpu_of(b)->dnnl;
  return d ? dn_version(d->engine) : NULL;
}

/* The library takes its number of threads from the calling thread's OpenMP setting. */
static void set_threads(const struct backend *b) {
  if (omp_get_max_threads() != b->threads) omp_set_num_threads(b->threads);
}

void dnnl_gemm(struct backend *b, const struct gemm *g) {
  set_threads(b);
  if (!dn_sgemm(g->ta, g->tb, g->m, g->n, g->k, g->alpha, g->a, g->b, g->beta, g->c))
    err_set(&b->fault, ERR_FIT, "oneDNN refused a matrix product of %lld x %lld x %lld", (long long)g->m, (long long)g->n, (long long)g->k);
}
