/* In place of dnnl.c and dnnl_compat.c where the build has no oneDNN. */
#include "cpu.h"

void dnnl_open(struct backend *b) {
  cpu_of(b)->dnnl = NULL;
}
void dnnl_close(struct backend *b) {
  (void)b;
}

const char *dnnl_name(const struct backend *b) {
  (void)b;
  return NULL;
}

void dnnl_gemm(struct backend *b, const struct gemm *g) {
  (void)g;
  err_set(&b->fault, ERR_FIT, "this build has no oneDNN");
}

bool dnnl_conv(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, const float *bias,
               const struct conv_shape *s) {
  (void)b;
  (void)y;
  (void)x;
  (void)w;
  (void)bias;
  (void)s;
  return false;
}

bool dnnl_conv_dx(struct backend *b, struct tensor *dx, const struct tensor *dy, struct param *w, const struct conv_shape *s) {
  (void)b;
  (void)dx;
  (void)dy;
  (void)w;
  (void)s;
  return false;
}

bool dnnl_conv_dw(struct backend *b, struct param *w, const struct tensor *x, const struct tensor *dy, const struct conv_shape *s) {
  (void)b;
  (void)w;
  (void)x;
  (void)dy;
  (void)s;
  return false;
}

bool dnnl_linear(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, const float *bias) {
  (void)b;
  (void)y;
  (void)x;
  (void)w;
  (void)bias;
  return false;
}

bool dnnl_linear_dx(struct backend *b, struct tensor *dx, const struct tensor *dy, struct param *w) {
  (void)b;
  (void)dx;
  (void)dy;
  (void)w;
  return false;
}

bool dnnl_linear_dw(struct backend *b, struct param *w, const struct tensor *x, const struct tensor *dy) {
  (void)b;
  (void)w;
  (void)x;
  (void)dy;
  return false;
}

void cpu_drop_pack(struct backend *b, struct param *p) {
  (void)b;
  (void)p;
}
