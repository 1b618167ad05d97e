/* The parity table: this program against PyTorch, diffusers, transformers and peft, number by number.
 *
 * Every row has a tolerance and the run fails where one is passed. A mistake (see mistakes.c) can be planted: then the run must fail. */
#ifndef PDMBOOTH_TESTS_PARITY_H
#define PDMBOOTH_TESTS_PARITY_H

#include "formats/safetensors.h"
#include "nets/model.h"

struct report {
  const char *backend; /* "cpu", "ref" */
  const char *mistake; /* NULL: none */
  enum dtype act;
  float loss_scale;         /* of gradients in F16 (train/precision.h); 0: 1 */
  int rows, failed, errors; /* errors: rows without numbers */
  bool quiet;
};

/* Prints a row: relative error |a - b| / |b| over all elements, and the largest absolute difference. */
void row(struct report *r, const char *name, double max_abs, double relative, double tolerance);
/* Compares n floats; scale > 0: errors relative to scale instead of |want|. */
void row_compare(struct report *r, const char *name, const float *have, const float *want, int64_t n, double scale, double tolerance);
/* A row that failed before there were numbers: prints the error. */
void row_error(struct report *r, const char *name, const struct err *e);

/* --- fixtures -------------------------------------------------------------------------------------------------------- */

struct rig {
  struct backend *b;
  struct backend_ops ops; /* the table in use, perhaps with a mistake in it */
  struct model *m;
  struct ctx c;
  void *memory;
  size_t bytes;
  struct err err;
};

bool rig_open(struct rig *g, const struct report *r, const char *model, const struct model_want *want);
void rig_close(struct rig *g);
/* Puts the named mistake into the table or the loaded model; unknown or foreign names do nothing. */
void mistake_in_ops(struct backend_ops *ops, const char *name);
void mistake_in_model(struct model *m, const char *name);
extern const char *const mistakes[]; /* NULL at the end */

/* tests/data/NAME, for the life of the program's buffer. */
const char *data_path(const char *name);
struct st_file *dump_open(const char *name); /* exits where it is missing: the dumps are part of the tree */
/* Floats of a tensor, to be freed; *n (may be NULL) its count. Exits where it is missing. */
float *dump_floats(const struct st_file *f, int64_t *n, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int32_t *dump_ints(const struct st_file *f, int64_t *n, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool dump_has(const struct st_file *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const int64_t *dump_shape(const struct st_file *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void to_nhwc(float *out, const float *in, int64_t n, int64_t c, int64_t h, int64_t w);
void to_nchw(float *out, const float *in, int64_t n, int64_t c, int64_t h, int64_t w);
double norm_of(const float *x, int64_t n);

/* --- groups of rows ---------------------------------------------------------------------------------------------------- */

void parity_tokenizer(struct report *r);
void parity_text(struct report *r, const char *model);
void parity_vae(struct report *r, const char *model);
void parity_unet(struct report *r, const char *model);
void parity_gradients(struct report *r, const char *model);
void parity_bf16(struct report *r, const char *model);
void parity_fp16(struct report *r, const char *model);
void parity_dialects(struct report *r);
void parity_losses(struct report *r);
void parity_pdm(struct report *r, const char *model);
void parity_samplers(struct report *r, const char *model);
void parity_training(struct report *r, const char *name);

#endif
