/* Packed copies of parameters: kept with frozen ones (param->pack), made anew in scratch for those that change with every step; or all that
 * there is on the card (param->copy, nets/lodge.h). */
#include "cuda.h"

#include <stdlib.h>

struct pack {
  void *p;
  size_t bytes;
  uint32_t version;
  enum dtype type;
};

static int64_t taps_of(const struct param *w) {
  return w->rank == 4 ? w->dim[2] * w->dim[3] : 1;
}

static bool as_it_is(const struct param *w, enum dtype type) {
  return type == DT_F32 && taps_of(w) == 1;
}

static size_t pack_bytes(const struct param *w, enum dtype type) {
  return (size_t)w->count * dtype_size(type);
}

size_t cuda_pack_room(const struct param *w, enum dtype type) {
  return w->frozen || w->has_copy || as_it_is(w, type) ? 0 : cuda_round(pack_bytes(w, type));
}

static void fill(struct backend *b, void *to, const struct param *w, enum dtype type, const float *values) {
  int64_t taps = taps_of(w), ci = w->rank > 1 ? w->dim[1] : 1;
  cuda_pack_weights(b, to, type, values, w->count / (ci * taps), ci, taps, PACK_O_TAPS_I);
}

static void fill_pack(struct backend *b, void *to, const struct param *w, enum dtype type) {
  fill(b, to, w, type, w->w);
}

size_t cuda_copy_bytes(const struct param *p, enum dtype type) {
  return p->rank < 2 || as_it_is(p, type) ? 0 : pack_bytes(p, type);
}

void cuda_copy_fill(struct backend *b, struct param *p, const float *values) {
  fill(b, p->copy, p, p->copied, values);
}

static const void *copy_of(struct backend *b, const struct param *w, enum dtype type) {
  if (w->copied == type) return w->copy;
  err_set(&b->fault, ERR_FAILED, "the card has %s as %s, a pass with another type wants it", w->name, dtype_name(w->copied));
  return NULL;
}

/* The kept copy, of the right size; its contents may be old. In a rehearsal without memory. */
static struct pack *kept(struct backend *b, struct param *w, enum dtype type) {
  struct pack *k = w->pack;
  if (k && k->type == type) return k;
  if (cuda_recording_fails(b, "packing weights", "they were not packed the first time")) return NULL;
  cuda_drop_pack(b, w);
  w->pack = k = calloc(1, sizeof *k);
  if (!k) {
    err_set(&b->fault, ERR_FIT, "out of memory");
    return NULL;
  }
  k->type = type;
  k->bytes = pack_bytes(w, type);
  k->version = w->version - 1;
  if (cuda_of(b)->rehearsing)
    b->need.packed += cuda_taken(k->bytes);
  else
    k->p = cuda_alloc(b, k->bytes, &b->fault);
  return k;
}

const void *cuda_pack(struct backend *b, struct param *w, enum dtype type, void *room) {
  if (w->has_copy) return copy_of(b, w, type);
  if (as_it_is(w, type)) return w->w;
  if (!w->frozen) {
    if (room) fill_pack(b, room, w, type);
    return room;
  }
  struct pack *k = kept(b, w, type);
  if (!k || !k->p) return NULL;
  if (k->version == w->version) return k->p;
  fill_pack(b, k->p, w, type);
  if (!cuda_recording(b)) k->version = w->version; /* what is recorded is not done yet, and may never be */
  return k->p;
}

void cuda_drop_pack(struct backend *b, struct param *p) {
  struct pack *k = p->pack;
  if (k && k->p) cuda_release(b, k->p, k->bytes);
  free(k);
  p->pack = NULL;
}
