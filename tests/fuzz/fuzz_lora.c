/* LoRA files of any dialect, the first part up to a byte 0xFF being PEFT's configuration (empty: none): what opens names modules, and every number
 * of its adapters can be read and added up. */
#include <string.h>

#include "convert/lora_list.h"

#include "fuzz.h"

static void look(const struct lora_item *i) {
  float x[16], sum[16] = {0};
  const struct lora_matrix *matrix[] = {&i->down, &i->up};
  if (i->module[0] == 0 || i->rank < 1) fuzz_fail("an adapter without a module or rank");
  for (int k = 0; k < 2; k++) {
    int64_t count = matrix[k]->count, some = count < 16 ? count : 16;
    if (!lora_matrix_floats(matrix[k], 0, some, x) || !lora_matrix_floats(matrix[k], count - some, some, x))
      fuzz_fail("a matrix cannot be read");
    fuzz_use((double)x[0]);
  }
  int64_t all = i->up.dim[0] * (i->down.count / i->down.dim[0]), some = all < 16 ? all : 16;
  if (i->down.count < 1 << 20) lora_item_add(i, lora_item_scale(i), all - some, some, sum);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  const uint8_t *cut = n > 0 ? memchr(data, 0xff, n) : NULL;
  size_t config = cut != NULL ? (size_t)(cut - data) : 0;
  const struct embedded_file files[] = {{"f.safetensors", cut != NULL ? cut + 1 : data, cut != NULL ? n - config - 1 : n}, {NULL, NULL, 0}};
  static struct lora_list l;
  struct source s;
  struct err e = {0}, e2 = {0};
  char hash[65];
  source_embedded(&s, files, "");
  struct st_file *f = st_open(&s, "f.safetensors", &e);
  if (f == NULL) return 0;
  lora_file_is(f);
  bool ok = lora_list_of(&l, f, config > 0 ? (const char *)data : NULL, config, &e2);
  fuzz_check_error(ok, &e2);
  if (!ok) return 0;
  for (int i = 0; i < l.n; i++) look(&l.item[i]);
  lora_list_hash(&l, hash);
  lora_list_close(&l);
  return 0;
}
