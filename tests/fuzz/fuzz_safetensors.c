/* Safetensors: whatever opens must be whole and readable to its last byte. */
#include "formats/safetensors.h"

#include "fuzz.h"

static void look(const struct st_tensor *t) {
  float x[64];
  int64_t count = 1;
  double sum = 0;
  for (int i = 0; i < t->rank; i++) count *= t->dim[i];
  for (size_t i = 0; i < t->bytes; i++) sum += t->data[i];
  fuzz_use(sum);
  st_floats(t, 0, count < 64 ? count : 64, x);
  st_floats(t, count > 64 ? count - 64 : 0, count < 64 ? count : 64, x);
  if (st_floats(t, count, 1, x)) fuzz_fail("an element behind the last could be read");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  const struct embedded_file files[] = {{"f.safetensors", data, n}, {NULL, NULL, 0}};
  struct source s;
  struct err e = {0};
  source_embedded(&s, files, "");
  struct st_file *f = st_open(&s, "f.safetensors", &e);
  fuzz_check_error(f != NULL, &e);
  if (f == NULL) return 0;
  for (int i = 0; i < st_count(f); i++) {
    const struct st_tensor *t = st_at(f, i);
    if (st_find(f, t->name) == NULL) fuzz_fail("a tensor is not found by its name");
    look(t);
  }
  st_metadata(f, "format");
  st_close(f);
  return 0;
}
