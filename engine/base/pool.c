#include "base/pool.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };

/* Blocks tile the region up to top without gaps, in the order of their offsets; what lies above top was never cut. */
struct block {
  size_t offset, size;
  bool used;
};

struct pool {
  void *base;
  size_t capacity, top, peak, used;
  struct block *block; /* [cap], n in use */
  size_t n, cap;
  bool starved;
};

struct pool *pool_new(void *base, size_t capacity) {
  struct pool *p = calloc(1, sizeof *p);
  if (p == NULL) return NULL;
  p->base = base;
  p->capacity = capacity - capacity % ALIGN;
  return p;
}

void pool_delete(struct pool *p) {
  if (p == NULL) return;
  free(p->block);
  free(p);
}

static bool grow(struct pool *p) {
  if (p->n < p->cap) return true;
  size_t cap = p->cap > 0 ? p->cap * 2 : 64;
  struct block *bigger = realloc(p->block, cap * sizeof *bigger);
  p->starved = bigger == NULL;
  if (bigger == NULL) return false;
  p->block = bigger;
  p->cap = cap;
  return true;
}

bool pool_starved(const struct pool *p) {
  return p->starved;
}

static void insert(struct pool *p, size_t at, struct block b) {
  memmove(p->block + at + 1, p->block + at, (p->n - at) * sizeof b);
  p->block[at] = b;
  p->n++;
}

static void drop(struct pool *p, size_t at) {
  p->n--;
  memmove(p->block + at, p->block + at + 1, (p->n - at) * sizeof *p->block);
}

/* Index of the smallest hole that holds size, the lowest of equals; n when there is none. */
static size_t best_hole(const struct pool *p, size_t size) {
  size_t best = p->n;
  for (size_t i = 0; i < p->n; i++) {
    const struct block *b = &p->block[i];
    if (!b->used && b->size >= size && (best == p->n || b->size < p->block[best].size)) best = i;
  }
  return best;
}

static void account(struct pool *p, const struct block *b) {
  p->used += b->size;
  if (b->offset + b->size > p->peak) p->peak = b->offset + b->size;
}

/* The region above top is cut only when no hole fits: so offsets do not depend on the capacity, and a planning run without a limit
   predicts a real run whose capacity is exactly the planned peak. */
bool pool_take(struct pool *p, size_t n, size_t *offset) {
  if (n > SIZE_MAX - ALIGN || !grow(p)) return false;
  size_t size = n == 0 ? ALIGN : (n + ALIGN - 1) / ALIGN * ALIGN, i = best_hole(p, size);
  if (i == p->n) {
    if (size > p->capacity - p->top) return false;
    insert(p, i, (struct block){p->top, size, true});
    p->top += size;
  } else {
    if (p->block[i].size > size) insert(p, i + 1, (struct block){p->block[i].offset + size, p->block[i].size - size, false});
    p->block[i].size = size;
    p->block[i].used = true;
  }
  account(p, &p->block[i]);
  *offset = p->block[i].offset;
  return true;
}

/* Index of the block that starts at offset, by bisection; n when there is none. */
static size_t find(const struct pool *p, size_t offset) {
  size_t low = 0, high = p->n;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (p->block[middle].offset < offset)
      low = middle + 1;
    else
      high = middle;
  }
  return low < p->n && p->block[low].offset == offset ? low : p->n;
}

void pool_give(struct pool *p, size_t offset) {
  size_t i = find(p, offset);
  if (i == p->n || !p->block[i].used) return;
  p->block[i].used = false;
  p->used -= p->block[i].size;
  if (i + 1 < p->n && !p->block[i + 1].used) {
    p->block[i].size += p->block[i + 1].size;
    drop(p, i + 1);
  }
  if (i > 0 && !p->block[i - 1].used) {
    p->block[i - 1].size += p->block[i].size;
    drop(p, i);
    i--;
  }
  if (i + 1 == p->n) { /* the last block melts into the region above */
    p->top = p->block[i].offset;
    drop(p, i);
  }
}

void pool_reset(struct pool *p) {
  p->n = 0;
  p->top = 0;
  p->used = 0;
}

size_t pool_peak(const struct pool *p) {
  return p->peak;
}

size_t pool_used(const struct pool *p) {
  return p->used;
}

void *pool_base(const struct pool *p) {
  return p->base;
}

/* FNV-1a. The end of the region does not matter: offsets do not depend on it. */
uint64_t pool_fingerprint(const struct pool *p) {
  uint64_t hash = 14695981039346656037u;
  for (size_t i = 0; i < p->n; i++) {
    const uint64_t word[] = {p->block[i].offset, p->block[i].size, p->block[i].used};
    for (int k = 0; k < 3; k++) hash = (hash ^ word[k]) * 1099511628211u;
  }
  return hash;
}
