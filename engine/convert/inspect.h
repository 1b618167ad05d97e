/* What the files of the inspection share. */
#ifndef PDMBOOTH_CONVERT_INSPECT_H
#define PDMBOOTH_CONVERT_INSPECT_H

#include "interchange.h"
#include "nets/model.h"

struct inspector {
  struct inspection *out;
  const char *path, *config;
  const struct embedded_file *embedded;
  bool failed; /* out of memory: nothing more is noted */
};

/* Formatted text that lives as long as the inspection; "" when out of memory. */
const char *inspect_text(struct inspector *k, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void inspect_problem(struct inspector *k, const char *text);
void inspect_notes(struct inspector *k, const char *lines);
void inspect_meta(struct inspector *k, const char *key, const char *value, size_t n);

/* All tensors of a file: types, values that are not finite; metadata and hashes where whole says that it is the only file. */
void inspect_st_file(struct inspector *k, const struct st_file *f, const char *relative, bool whole);

/* inspect_model.c */
void inspect_directory(struct inspector *k);                      /* diffusers */
void inspect_single_file(struct inspector *k, struct st_file *f); /* taken over */
/* inspect_lora.c */
void inspect_lora(struct inspector *k);

#endif
