#include "formats/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/tensor.h"
#include "formats/output.h"
#include "formats/source.h"

enum { HEADER_MAX = 4096 };

/* One element type: how many bytes, and how they become a float. */
struct kind {
  const char *descr;
  size_t size;
  float (*get)(const unsigned char *at);
};

#define GETTER(name, type, convert)            \
  static float name(const unsigned char *at) { \
    type x;                                    \
    memcpy(&x, at, sizeof x);                  \
    return convert;                            \
  }
GETTER(get_f2, uint16_t, f16_to_f32(x))
GETTER(get_f4, float, x)
GETTER(get_f8, double, (float)x)
GETTER(get_i1, int8_t, (float)x)
GETTER(get_u1, uint8_t, (float)x)
GETTER(get_i2, int16_t, (float)x)
GETTER(get_i4, int32_t, (float)x)
GETTER(get_i8, int64_t, (float)x)

static const struct kind kinds[] = {
    {"<f4", 4, get_f4}, {"<f2", 2, get_f2}, {"<f8", 8, get_f8}, {"<i4", 4, get_i4}, {"<i8", 8, get_i8},
    {"<i2", 2, get_i2}, {"|i1", 1, get_i1}, {"|u1", 1, get_u1}, {"|b1", 1, get_u1},
};

/* What follows 'key': in the header, a Python dict literal that NumPy writes in one fixed style. */
static const char *value_of(const char *header, const char *key) {
  char quoted[32];
  snprintf(quoted, sizeof quoted, "'%s'", key);
  const char *at = strstr(header, quoted);
  if (at == NULL) return NULL;
  at += strlen(quoted);
  at += strspn(at, " ");
  if (*at != ':') return NULL;
  at++;
  return at + strspn(at, " ");
}

static const struct kind *find_kind(const char *header) {
  const char *v = value_of(header, "descr");
  for (size_t i = 0; v != NULL && i < sizeof kinds / sizeof *kinds; i++)
    if (v[0] == '\'' && strncmp(v + 1, kinds[i].descr, 3) == 0 && v[4] == '\'') return &kinds[i];
  return NULL;
}

/* "(2, 3)", "(5,)" or "()"; *count becomes their product. */
static bool read_shape(const char *header, struct npy *out, int64_t *count) {
  const char *v = value_of(header, "shape");
  *count = 1;
  if (v == NULL || *v++ != '(') return false;
  while (*(v += strspn(v, ", ")) != ')') {
    char *end;
    if (out->rank == 8 || *v < '0' || *v > '9') return false;
    long long d = strtoll(v, &end, 10);
    if (__builtin_mul_overflow(*count, (int64_t)d, count)) return false;
    out->dim[out->rank++] = d;
    v = end;
  }
  return true;
}

/* Copies the header as text and gives the offset of the data, 0 where the file is no .npy. */
static size_t split(const struct blob *b, char header[HEADER_MAX]) {
  const unsigned char *d = b->data;
  if (b->size < 12 || memcmp(d, "\x93NUMPY", 6) != 0 || d[6] < 1 || d[6] > 3) return 0;
  size_t start = d[6] == 1 ? 10 : 12;
  size_t n = d[6] == 1 ? (size_t)(d[8] | d[9] << 8) : (size_t)d[8] | (size_t)d[9] << 8 | (size_t)d[10] << 16 | (size_t)d[11] << 24;
  if (n >= HEADER_MAX || n > b->size - start) return 0;
  memcpy(header, d + start, n);
  header[n] = 0;
  return start + n;
}

static bool parse(const struct blob *b, const char *path, struct npy *out, struct err *e) {
  char header[HEADER_MAX];
  int64_t count = 0;
  size_t start = split(b, header);
  if (start == 0) return err_set(e, ERR_INPUT, "%s: not a .npy file", path);
  const struct kind *k = find_kind(header);
  const char *order = value_of(header, "fortran_order");
  if (k == NULL)
    return err_set(e, ERR_INPUT, "%s: element type is not one of float16/32/64, int8/16/32/64, uint8, bool (little-endian)", path);
  if (!read_shape(header, out, &count) || order == NULL) return err_set(e, ERR_INPUT, "%s: damaged .npy header", path);
  if (strncmp(order, "False", 5) != 0 && out->rank > 1)
    return err_set(e, ERR_INPUT, "%s: Fortran order; save it with numpy.ascontiguousarray", path);
  if ((size_t)count > (b->size - start) / k->size)
    return err_set(e, ERR_INPUT, "%s: truncated, its shape wants %lld elements", path, (long long)count);
  out->data = malloc(count > 0 ? (size_t)count * sizeof(float) : 1);
  if (out->data == NULL) return err_set(e, ERR_FIT, "%s: out of memory", path);
  for (int64_t i = 0; i < count; i++) out->data[i] = k->get(b->data + start + (size_t)i * k->size);
  return true;
}

bool npy_read(const char *path, struct npy *out, struct err *e) {
  struct blob b;
  *out = (struct npy){0};
  if (!blob_map(path, &b, e)) return false;
  bool good = parse(&b, path, out, e);
  blob_close(&b);
  return good;
}

bool npy_write(const char *path, int rank, const int64_t *dim, const float *data, struct err *e) {
  char header[512] = "\x93NUMPY\x01";
  int n = 10;
  int64_t count = 1;
  n += snprintf(header + n, sizeof header - (size_t)n, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
  for (int i = 0; i < rank && i < 8; i++) {
    n += snprintf(header + n, sizeof header - (size_t)n, "%s%lld%s", i > 0 ? ", " : "", (long long)dim[i], rank == 1 ? "," : "");
    count *= dim[i];
  }
  n += snprintf(header + n, sizeof header - (size_t)n, "), }");
  while (n % 64 != 63) header[n++] = ' ';
  header[n++] = '\n';
  header[8] = (char)((n - 10) & 255);
  header[9] = (char)((n - 10) >> 8);
  struct output o;
  if (!output_open(&o, path, e)) return false;
  bool good = output_write(&o, header, (size_t)n, e) && output_write(&o, data, (size_t)count * sizeof *data, e);
  return output_close(&o, good, e);
}

void npy_release(struct npy *a) {
  free(a->data);
  *a = (struct npy){0};
}
