/* The safetensors container: reading (memory-mapped, validated) and writing (temporary name, sync, rename).
 * What loaders demand of a file: ../shared/interchange.md section 1. */
#ifndef PDMBOOTH_FORMATS_SAFETENSORS_H
#define PDMBOOTH_FORMATS_SAFETENSORS_H

#include "base/tensor.h"
#include "formats/source.h"

struct st_tensor {
  const char *name;
  enum dtype type; /* F32, F16, BF16, I32, U8; I64 and others: see dtype_text */
  bool known_type; /* false: dtype_text names a type that this program does not compute with (I64, F64, BOOL, ...) */
  char dtype_text[12];
  int rank;
  int64_t dim[8];
  const unsigned char *data; /* in the map; may be unaligned: convert with st_floats or memcpy */
  size_t bytes;
};

struct st_file; /* an open file */

/* Opens and validates: header length, JSON, offsets inside the file, contiguous, no overlap, bytes = dtype * shape, no duplicate names.
   Errors (ERR_INPUT) name the file and the tensor. */
struct st_file *st_open(const struct source *s, const char *relative, struct err *e);
struct st_file *st_open_path(const char *path, struct err *e);
/* The same from bytes that the caller keeps until st_close; name: for messages. */
struct st_file *st_open_bytes(const void *data, size_t size, const char *name, struct err *e);
/* Tensors of other open files under other names (copied): what a reader of renamed tensors hands on. The data stay the other files'. */
struct st_file *st_view(const char *path, const struct st_tensor *t, int n, struct err *e);
void st_close(struct st_file *f);
void st_forget(const struct st_file *f);      /* blob_forget: what was read of it is not held in memory any longer */
const char *st_path(const struct st_file *f); /* for messages */
int st_count(const struct st_file *f);
const struct st_tensor *st_at(const struct st_file *f, int i);              /* in strcmp order of the names */
const struct st_tensor *st_find(const struct st_file *f, const char *name); /* NULL when absent */
const char *st_metadata(const struct st_file *f, const char *key);          /* NULL when absent */
/* i-th pair of __metadata__; false at the end. */
bool st_metadata_at(const struct st_file *f, int i, const char **key, const char **value);
size_t st_header_bytes(const struct st_file *f); /* where the tensors' bytes begin */
size_t st_bytes(const struct st_file *f);        /* of the whole file */
const unsigned char *st_data(const struct st_file *f);
int64_t st_elements(const struct st_tensor *t);
/* "[2, 3]" into out; returns out. */
const char *st_shape(int rank, const int64_t *dim, char out[128]);
/* Converts count elements, starting at first, of an F32, F16, BF16 (or F64, I32, I64) tensor to float. */
bool st_floats(const struct st_tensor *t, int64_t first, int64_t count, float *out);

/* A set of files that together hold one network's weights: model.safetensors, or the shards of an index.json. */
struct st_set;
/* dir: "unet"; base: "diffusion_pytorch_model" or "model". Looks for base.safetensors, base.safetensors.index.json, then the
   fp16 variant base.fp16.safetensors. ERR_INPUT names what was looked for; a directory that has only a .bin is told so. */
struct st_set *st_set_open(const struct source *s, const char *dir, const char *base, struct err *e);
/* A set of one open file, which it takes over; NULL (f closed) when out of memory or f is NULL. */
struct st_set *st_set_of(struct st_file *f, struct err *e);
void st_set_close(struct st_set *s);
void st_set_forget(const struct st_set *s); /* st_forget of all */
const struct st_tensor *st_set_find(const struct st_set *s, const char *name);
int st_set_files(const struct st_set *s);
const struct st_file *st_set_file(const struct st_set *s, int i);

/* Writing. Tensors are given once; data must stay valid until st_write returns. Header: sorted by dtype size descending, then name;
   starts with {"; padded to 8; __metadata__ holds "format": "pt" and the given pairs. */
struct st_entry {
  const char *name;
  enum dtype type; /* type in the file: F32 data are converted to F16 or BF16 on writing */
  int rank;
  int64_t dim[8];
  const void *data;
  enum dtype data_type; /* type of data */
  bool i64;             /* data are int64_t and written as I64, whatever the types say */
  /* Where data is NULL: gives count elements from first on, so that no tensor need be whole in memory; data_type is DT_F32 then. */
  bool (*fill)(const void *maker, int64_t first, int64_t count, float *out);
  const void *maker;
};
struct st_pair {
  const char *key, *value;
};
bool st_write(const char *path, const struct st_entry *t, int n, const struct st_pair *meta, int n_meta, struct err *e);
/* SHA-256 of all bytes that st_write puts behind the header: what sshs_model_hash and modelspec.hash_sha256 hold. */
bool st_data_hash(const struct st_entry *t, int n, char out[65], struct err *e);
/* Reads what st_write wrote and compares names, shapes, types, metadata and every value with what it was given. ERR_FAILED names the tensor;
   ERR_NUMERIC one whose finite values the file's type cannot hold. */
bool st_check_written(const char *path, const struct st_entry *t, int n, const struct st_pair *meta, int n_meta, struct err *e);

#endif
