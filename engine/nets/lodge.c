#include "nets/lodge.h"

#include <string.h>

enum { ALIGN = 256 };

static size_t rounded(size_t bytes) {
  return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

/* --- planning ------------------------------------------------------------------------------------------------------------------------- */

static bool has_copies(const struct param_set *s) {
  for (int i = 0; i < s->n; i++)
    if (s->p[i]->has_copy) return true;
  return false;
}

static bool is_trained(const struct param_set *s) {
  return param_set_trained(s) > 0;
}

/* Gradients of a lodged set are in fp32. */
static void halve(struct param_set *s, bool half) {
  void *g = s->half ? (void *)s->g16 : s->g; /* of the planning run: there, and never looked at */
  if (s->half == half) return;
  s->may_halve |= s->half;
  s->half = half;
  for (int i = 0; i < s->n; i++) s->p[i]->half = half;
  param_set_bind(s, s->w, half ? NULL : g);
  param_set_bind_half(s, half ? g : NULL);
}

void lodge_plan(struct lodge *l, const struct backend *b, struct param_set *s, enum dtype type) {
  for (int i = 0; i < s->n; i++) {
    s->p[i]->has_copy = b->op->copy_bytes(s->p[i], type) > 0;
    s->p[i]->copied = type;
  }
  s->lodge = l;
  halve(s, false);
  if (!is_trained(s) && !has_copies(s)) lodge_forget(s);
}

void lodge_forget(struct param_set *s) {
  if (s->lodge) halve(s, s->may_halve);
  for (int i = 0; i < s->n; i++) s->p[i]->has_copy = false;
  s->lodge = NULL;
}

/* Where a param begins on the device. As in the flat block where there are no copies, so that a block is sent as it is. */
static size_t card_size(const struct backend *b, const struct param *p) {
  return rounded(p->has_copy ? b->op->copy_bytes(p, p->copied) : (size_t)p->count * sizeof(float));
}

static size_t card_bytes(const struct backend *b, const struct param_set *s) {
  size_t bytes = 0;
  if (!has_copies(s)) return (size_t)s->count * sizeof(float);
  for (int i = 0; i < s->n; i++) bytes += card_size(b, s->p[i]);
  return bytes;
}

/* What of a set goes through a chunk at once: a block and its gradients; of a frozen set a parameter that is copied. */
static size_t chunk_bytes(const struct param_set *s) {
  int64_t most = 0;
  for (int i = 0; !is_trained(s) && i < s->n; i++)
    if (s->p[i]->has_copy && s->p[i]->count > most) most = s->p[i]->count;
  for (int i = 0; is_trained(s) && i < s->blocks; i++) {
    struct lodge_range r = lodge_range(s, i);
    if (r.to - r.from > most) most = r.to - r.from;
  }
  return (size_t)most * sizeof(float);
}

static void find_chunks(struct param_set *const *sets, int n, size_t *bytes, int *chunks) {
  *bytes = 0, *chunks = 0;
  for (int i = 0; i < n; i++) {
    if (!sets[i] || !sets[i]->lodge) continue;
    int want = is_trained(sets[i]) ? 2 : 1;
    if (want > *chunks) *chunks = want;
    if (chunk_bytes(sets[i]) > *bytes) *bytes = chunk_bytes(sets[i]);
  }
}

struct lodge_need lodge_need(const struct backend *b, struct param_set *const *sets, int n) {
  struct lodge_need need = {0};
  size_t bytes;
  int chunks;
  for (int i = 0; i < n; i++) {
    if (!sets[i] || !sets[i]->lodge) continue;
    need.card += (int64_t)b->op->taken(card_bytes(b, sets[i]));
    if (is_trained(sets[i])) need.host += (int64_t)b->op->host_taken((size_t)sets[i]->count * sizeof(float));
  }
  find_chunks(sets, n, &bytes, &chunks);
  if (chunks > 0) need.chunks = chunks * (int64_t)b->op->taken(bytes);
  return need;
}

/* --- memory --------------------------------------------------------------------------------------------------------------------------- */

bool lodge_open(struct lodge *l, struct backend *b, struct param_set *const *sets, int n, struct err *e) {
  *l = (struct lodge){.b = b};
  find_chunks(sets, n, &l->bytes, &l->chunks);
  if (l->chunks == 0) return true;
  l->host = b->op->host_memory ? b : backend_open_host(b->threads, e);
  bool ok = l->host != NULL;
  for (int i = 0; ok && i < l->chunks; i++) {
    l->chunk[i].p = b->op->alloc(b, l->bytes, e);
    ok = l->chunk[i].p != NULL;
  }
  if (!ok) lodge_close(l);
  return ok;
}

void lodge_close(struct lodge *l) {
  for (int i = 0; i < 2; i++)
    if (l->chunk[i].p) l->b->op->release(l->b, l->chunk[i].p, l->bytes);
  if (l->host && l->host != l->b) backend_close(l->host);
  *l = (struct lodge){0};
}

bool lodge_bind(struct param_set *s, struct err *e) {
  struct backend *b = s->lodge->b;
  size_t at = 0;
  char *card = s->card = b->op->alloc(b, card_bytes(b, s), e);
  if (!card) return false;
  if (is_trained(s) && !(s->home = b->op->host_alloc(b, (size_t)s->count * sizeof(float), e))) {
    lodge_unbind(s);
    return false;
  }
  if (s->home) memset(s->home, 0, (size_t)s->count * sizeof *s->home); /* what lies between parameters */
  for (int i = 0; i < s->n; i++) {
    struct param *p = s->p[i];
    char *here = has_copies(s) ? card + at : card + (size_t)p->offset * sizeof(float);
    p->w = p->has_copy ? NULL : (float *)(void *)here;
    p->copy = p->has_copy ? here : NULL;
    p->g = NULL;
    at += card_size(b, p);
  }
  return true;
}

void lodge_unbind(struct param_set *s) {
  struct backend *b = s->lodge->b;
  if (s->card) b->op->release(b, s->card, card_bytes(b, s));
  if (s->home) b->op->host_release(b, s->home, (size_t)s->count * sizeof(float));
  s->card = NULL;
  s->home = NULL;
  for (int i = 0; i < s->n; i++) {
    s->p[i]->w = s->p[i]->g = NULL;
    s->p[i]->copy = NULL;
  }
}

void lodge_put(struct param_set *s, struct param *p, int64_t at, const float *values, int64_t n) {
  struct lodge *l = s->lodge;
  struct backend *b = l->b;
  float *to = p->has_copy ? l->chunk[0].p : p->w;
  if (s->home) memcpy(s->home + p->offset + at, values, (size_t)n * sizeof *values);
  b->op->upload(b, to + at, values, (size_t)n * sizeof *values);
  if (!p->has_copy || at + n < p->count) return;
  b->op->copy_fill(b, p, to);
  b->op->mark(b, LODGE_USED);
}

/* --- values that have changed --------------------------------------------------------------------------------------------------------- */

struct lodge_range lodge_range(const struct param_set *s, int block) {
  struct lodge_range r = {0};
  while (r.first < s->n && s->p[r.first]->block < block) r.first++;
  for (r.last = r.first; r.last < s->n && s->p[r.last]->block == block;) r.last++;
  r.from = r.first < s->n ? s->p[r.first]->offset : s->count;
  r.to = r.last < s->n ? s->p[r.last]->offset : s->count;
  return r;
}

static void fill_copies(struct param_set *s, const struct lodge_range *r, const float *values) {
  struct backend *b = s->lodge->b;
  for (int i = r->first; i < r->last; i++) {
    struct param *p = s->p[i];
    const float *from = values + (p->offset - r->from);
    if (p->has_copy)
      b->op->copy_fill(b, p, from);
    else
      b->op->move(b, p->w, from, (size_t)p->count * sizeof *from);
  }
}

void lodge_refresh(struct param_set *s, int block, const float *values) {
  struct lodge *l = s->lodge;
  struct backend *b = l->b;
  struct lodge_range r = lodge_range(s, block);
  size_t bytes = (size_t)(r.to - r.from) * sizeof *values;
  int c = l->next;
  l->next = !c;
  if (has_copies(s)) {
    b->op->send(b, LODGE_COPIED + c, l->chunk[c].p, values + r.from, bytes, LODGE_USED + c);
    b->op->follow(b, LODGE_COPIED + c);
    fill_copies(s, &r, l->chunk[c].p);
    b->op->mark(b, LODGE_USED + c);
  } else {
    b->op->send(b, LODGE_COPIED + c, (float *)s->card + r.from, values + r.from, bytes, LODGE_CHANGED);
    b->op->follow(b, LODGE_COPIED + c);
  }
  for (int i = r.first; i < r.last; i++) s->p[i]->version++;
}
