/* FNV-1a, 32 bits: for tables and for noticing damage, not against anybody's intent. */
#ifndef PDMBOOTH_BASE_HASH_H
#define PDMBOOTH_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

static inline uint32_t hash_of(const void *data, size_t bytes) {
  const unsigned char *p = (const unsigned char *)data;
  uint32_t h = 2166136261u;
  for (size_t i = 0; i < bytes; i++) h = (h ^ p[i]) * 16777619u;
  return h;
}

#endif
