/* Files of prompts: lines of text, and (first byte odd) INI with sections. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "prompts.h"

#include "fuzz.h"

/* A name that ends with .ini, for the file of memory. */
static const char *as_ini(const char *path) {
  static char link[64];
  if (link[0] == 0) {
    char folder[] = "/tmp/pdmbooth-fuzz-XXXXXX";
    if (mkdtemp(folder) == NULL) return NULL;
    snprintf(link, sizeof link, "%s/p.ini", folder);
    if (symlink(path, link) != 0) return NULL;
  }
  return link;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  struct prompts p = {0};
  struct err e = {0};
  bool ini = n > 0 && data[0] % 2 != 0;
  const char *path = n > 0 ? fuzz_file(data + 1, n - 1) : NULL;
  if (path != NULL && ini) path = as_ini(path);
  if (path == NULL) return 0;
  bool ok = prompts_read(&p, path, ini ? "live" : NULL, NULL, &e) && prompts_fill(&p, "sks", "dog", &e);
  fuzz_check_error(ok, &e);
  for (int i = 0; ok && i < p.n; i++)
    if (strstr(p.text[i], "{class}") != NULL) fuzz_fail("a place for the class is left");
  prompts_release(&p);
  return 0;
}
