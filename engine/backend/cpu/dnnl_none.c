/* In place of dnnl.c and dnnl_compat.c where the build has no oneDNN. */
#include "cpu.h"

void dnnl_open(struct backend *b) { cpu_of(b)->dnnl = NULL; }
void dnnl_close(struct backend *b) { (void)b; }

const char *dnnl_name(const struct backend *b) {
  (void)b;
  return NULL;
}

void dnnl_gemm(struct backend *b, const struct gemm *g) {
  (void)g;
  err_set(&b->fault, ERR_FIT, "this build has no oneDNN");
}
