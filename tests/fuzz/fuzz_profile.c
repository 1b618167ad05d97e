/* Profiles: what is accepted can be written out and is accepted again. */
#include <stdlib.h>
#include <string.h>

#include "profile.h"

#include "fuzz.h"

static bool load(const uint8_t *data, size_t n, struct profile *p, struct err *e) {
  const char *path = fuzz_file(data, n);
  return path != NULL && profile_load(p, path, NULL, NULL, 0, e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  static struct profile p, again;
  struct err e = {0}, e2 = {0};
  memset(&p, 0, sizeof p);
  memset(&again, 0, sizeof again);
  bool ok = load(data, n, &p, &e);
  fuzz_check_error(ok, &e);
  char *text = ok ? profile_text(&p) : NULL;
  if (text != NULL && !load((const uint8_t *)text, strlen(text), &again, &e2) && e2.code != ERR_FIT) fuzz_fail(e2.text);
  free(text);
  profile_release(&p);
  profile_release(&again);
  return 0;
}
