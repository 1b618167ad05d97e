/* What a library was asked for once for a shape, found again by the shape: an open-addressing table that forgets everything when half of its places are taken. */
#ifndef PDMBOOTH_BACKEND_CUDA_SHAPES_H
#define PDMBOOTH_BACKEND_CUDA_SHAPES_H

#include "cuda.h"

struct cuda_shapes {
  size_t bytes, key_bytes; /* of an entry, which begins with its key: plain numbers without gaps */
  int places;
  void (*release)(const struct backend *b, void *entry); /* what an entry holds of the library's */
  int count;
  unsigned char *entries; /* [places] */
  bool *used;             /* [places] */
};

/* bytes, key_bytes, places and release are set, the rest is 0. */
bool cuda_shapes_open(struct cuda_shapes *t, struct err *e);
void cuda_shapes_close(const struct backend *b, struct cuda_shapes *t); /* also one that was never opened */
/* The entry of a key; *fresh: it is a new one, all zeros behind its key. Entries found before may be gone then. */
void *cuda_shapes_find(const struct backend *b, struct cuda_shapes *t, const void *key, bool *fresh);

#endif
