/* .npy files: what is read has the shape that it says. */
#include "formats/npy.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  struct npy a = {0};
  struct err e = {0};
  const char *path = fuzz_file(data, n);
  if (path == NULL) return 0;
  bool ok = npy_read(path, &a, &e);
  fuzz_check_error(ok, &e);
  if (!ok) return 0;
  int64_t count = 1;
  double sum = 0;
  for (int i = 0; i < a.rank; i++) count *= a.dim[i];
  for (int64_t i = 0; i < count; i++) sum += a.data[i];
  fuzz_use(sum);
  npy_release(&a);
  return 0;
}
