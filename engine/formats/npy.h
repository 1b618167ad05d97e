/* NumPy's .npy, version 1 and 2 read, 1 written: little-endian float32 (float16, float64 and int are converted on reading), C order. */
#ifndef PDMBOOTH_FORMATS_NPY_H
#define PDMBOOTH_FORMATS_NPY_H

#include <stdint.h>

#include "base/err.h"

struct npy {
  int rank;
  int64_t dim[8];
  float *data; /* owned: npy_release */
};
bool npy_read(const char *path, struct npy *out, struct err *e);
bool npy_write(const char *path, int rank, const int64_t *dim, const float *data, struct err *e);
void npy_release(struct npy *a);

#endif
