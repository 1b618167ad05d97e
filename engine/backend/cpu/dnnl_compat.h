/* The one file that knows oneDNN's C interface, which changed between 2.x (Debian 12) and 3.x (Debian 13, Ubuntu).
 *
 * Both are tested. To try the other one without installing it: unpack PyPI's onednn-devel-cpu-gomp and onednn-cpu-gomp
 * (wheels are zip archives; they hold 3.2) and point CPPFLAGS at their include folder, LDFLAGS and the run path at their
 * lib folder, before configure. */
#ifndef PDMBOOTH_BACKEND_CPU_DNNL_COMPAT_H
#define PDMBOOTH_BACKEND_CPU_DNNL_COMPAT_H

#include "base/tensor.h"

enum dn_kind { DN_CONV, DN_CONV_DX, DN_CONV_DW, DN_LINEAR, DN_LINEAR_DX, DN_LINEAR_DW };

/* What a primitive computes; every byte counts as the key of the cache, so zero it before filling. Activations NHWC or
 * [rows, channels]; ih, iw, ci belong to the forward input x, oh, ow, co to its output y, whatever the direction.
 * Linear layers use n rows, ci, co. */
struct dn_key {
  int32_t kind, type; /* enum dn_kind, enum dtype of x and y */
  int32_t n, ih, iw, ci, oh, ow, co;
  int32_t kh, kw, stride, pad[4]; /* top, left, bottom, right */
  int32_t bias;                   /* forward only: y has a bias (F32) */
};

struct dn_engine;
struct dn_op;

struct dn_engine *dn_engine_new(void); /* NULL on failure */
void dn_engine_delete(struct dn_engine *e);
const char *dn_version(struct dn_engine *e); /* "oneDNN 2.6.3"; owned by e */

struct dn_op *dn_op_new(struct dn_engine *e, const struct dn_key *key); /* NULL: the library refuses */
void dn_op_delete(struct dn_op *op);
const struct dn_key *dn_op_key(const struct dn_op *op);
const char *dn_op_name(const struct dn_op *op); /* the implementation that the library chose */
size_t dn_op_scratch(const struct dn_op *op);   /* bytes that dn_op_run and dn_op_reorder want, 64-byte aligned */
/* Bytes of the weights (kinds DX and forward) or of their gradient (DW) in the library's own layout; 0: the plain layout is used. */
size_t dn_op_weights(const struct dn_op *op);

/* Plain F32 weights (OIHW or [out, in]) to the op's layout, or for kinds DW the gradient in the op's layout added to a plain one. */
bool dn_op_reorder(struct dn_op *op, const void *from, void *to, void *scratch);
/* x, y: forward input and output or their gradients, by kind; w: in the op's layout. */
bool dn_op_run(struct dn_op *op, void *x, void *w, void *bias, void *y, void *scratch);

/* Row-major C [m, n] = alpha op(A) op(B) + beta C; ta: A is given as [k, m], tb: B as [n, k]. */
struct dn_product {
  bool ta, tb;
  int64_t m, n, k, lda, ldb, ldc;
  float alpha, beta;
  const float *a, *b;
  float *c;
};
bool dn_sgemm(const struct dn_product *p);

#endif
