/* One reserved region, handed out and taken back without malloc: activations, gradients and scratch of the networks.
 *
 * A plain best-fit free list, deterministic: the same sequence of calls gives the same offsets whatever the capacity, so a
 * run on the counting backend (base NULL, capacity SIZE_MAX) tells the exact peak that a real run will touch, and that
 * peak is capacity enough. The region above the highest block is cut only when no hole fits.
 * Not thread-safe: one pool belongs to one engine thread. */
#ifndef PDMBOOTH_BASE_POOL_H
#define PDMBOOTH_BASE_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool;

/* base: memory of the backend, 64-byte aligned, owned by the caller, or NULL to plan. Returns NULL when out of memory. */
struct pool *pool_new(void *base, size_t capacity);
void pool_delete(struct pool *p); /* does not release base */

/* offset of a fresh block of at least n bytes, 64-byte aligned, in *offset; false when it does not fit. */
bool pool_take(struct pool *p, size_t n, size_t *offset);
/* offset: one that pool_take gave and that was not given back yet. */
void pool_give(struct pool *p, size_t offset);
void pool_reset(struct pool *p); /* gives back everything; the peak stays */

bool pool_starved(const struct pool *p); /* why pool_take was false: the list of blocks found no memory, whatever room the region has */
size_t pool_peak(const struct pool *p); /* highest byte ever in use */
size_t pool_used(const struct pool *p); /* bytes in use now: 0 when everything was given back */
void *pool_base(const struct pool *p);
/* Of what is in use and what is not: the same calls give the same offsets from pools of the same fingerprint. */
uint64_t pool_fingerprint(const struct pool *p);

#endif
