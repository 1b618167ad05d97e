/* Unit tests' way to the dumps of the Python libraries in tests/data. Include after cmocka.h. */
#ifndef PDMBOOTH_TESTS_REFERENCE_H
#define PDMBOOTH_TESTS_REFERENCE_H

#include <stdio.h>
#include <stdlib.h>

#include "formats/safetensors.h"

/* PDMBOOTH_TESTS names the folder tests; make check gives TEST_SRCDIR; else this is run from the top of the tree. */
static inline struct st_file *reference_open(const char *name) {
  char path[4096];
  const char *tests = getenv("PDMBOOTH_TESTS"), *top = getenv("TEST_SRCDIR");
  if (tests != NULL)
    snprintf(path, sizeof path, "%s/data/%s", tests, name);
  else
    snprintf(path, sizeof path, "%s%stests/data/%s", top != NULL ? top : "", top != NULL ? "/" : "", name);
  struct err e = {0};
  struct st_file *f = st_open_path(path, &e);
  if (f == NULL) fail_msg("%s", e.text);
  return f;
}

/* U8 too. Owned by the caller. */
static inline float *reference_floats(const struct st_file *f, const char *name, int64_t *n) {
  const struct st_tensor *t = st_find(f, name);
  if (t == NULL) fail_msg("%s has no tensor %s", st_path(f), name);
  *n = 1;
  for (int i = 0; i < t->rank; i++) *n *= t->dim[i];
  float *out = malloc((size_t)(*n > 0 ? *n : 1) * sizeof *out);
  assert_non_null(out);
  if (t->known_type && t->type == DT_U8)
    for (int64_t i = 0; i < *n; i++) out[i] = t->data[i];
  else
    assert_true(st_floats(t, 0, *n, out));
  return out;
}

#endif
