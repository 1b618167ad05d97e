/* The sample pictures of a run directory, as they lie on disk: samples/step-NNNNNN/P-K.png. */
#ifndef PDMBOOTH_SRC_SAMPLES_H
#define PDMBOOTH_SRC_SAMPLES_H

#include "base/err.h"
#include "text.h"

struct sample_file {
  int step, prompt, picture; /* picture: K */
};
struct sample_list {
  struct sample_file *file; /* [n], owned; by step, then prompt, then picture */
  int n;
};

/* No directory samples: an empty list. Names of another form are passed over. ERR_FAILED: out of memory. samples_release in either case. */
bool samples_list(struct sample_list *l, const char *run_dir, struct err *e);
void samples_release(struct sample_list *l);
/* The path of one of them; returns buf. */
const char *samples_path(const char *run_dir, const struct sample_file *f, char *buf, size_t n);

/* "a-photo-of-sks-dog-in-the-snow-1f0c22ab-7.png", of `sample --names prompt`: the prompt's first words, a number made of all of it, the seed.
   Returns buf. */
const char *sample_file_name(const char *prompt, uint64_t seed, char *buf, size_t n);

#endif
