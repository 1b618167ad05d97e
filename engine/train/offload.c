#include "train/offload.h"

#include <stdlib.h>
#include <string.h>

#include "train/optimizer.h"

static struct backend *device(const struct offload *o) {
  return o->set->lodge->b;
}

static struct backend *host(const struct offload *o) {
  return o->set->lodge->host;
}

/* --- weights -------------------------------------------------------------------------------------------------------------------------- */

static void update(struct offload *o, struct offload_block *k) {
  struct lodge_range r = k->range;
  struct param_set *s = o->set;
  optimizer_update(host(o), s, r.first, r.last, s->home, o->g, &o->m, &o->v, &o->step);
  if (o->ema) {
    struct tensor ema = tensor_1d(o->ema + r.from, DT_F32, r.to - r.from), w = tensor_1d(s->home + r.from, DT_F32, r.to - r.from);
    host(o)->op->axpby(host(o), &ema, (float)(1 - o->decay), &w, (float)o->decay);
  }
  k->due = false;
  k->stale = true;
}

static void give_weights(struct param_keeper *keeper, struct param_set *s, int block) {
  struct offload *o = (struct offload *)keeper;
  struct offload_block *k = o->block + block;
  if (k->due) update(o, k);
  if (k->stale) lodge_refresh(s, block, o->shown);
  k->stale = false;
}

/* --- gradients ------------------------------------------------------------------------------------------------------------------------ */

/* Waits for the gradients that are on their way from a chunk. */
static void arrive(struct lodge *l, int c) {
  struct lodge_chunk *chunk = l->chunk + c;
  struct offload *o = chunk->holder;
  if (!o) return;
  struct offload_block *k = o->block + chunk->block;
  l->b->op->wait(l->b, LODGE_COPIED + c);
  k->squares = 0;
  l->host->op->sum_squares(l->host, &k->squares, o->g + k->range.from, k->range.to - k->range.from);
  chunk->holder = NULL;
}

static void begin_gradients(struct param_keeper *keeper, struct param_set *s, int block) {
  struct offload *o = (struct offload *)keeper;
  struct lodge *l = s->lodge;
  struct offload_block *k = o->block + block;
  struct lodge_range r = k->range;
  int c = l->next;
  float *p = l->chunk[c].p;
  arrive(l, c);
  for (int i = r.first; i < r.last; i++)
    if (!s->p[i]->frozen) s->p[i]->g = p + (s->p[i]->offset - r.from);
  if (k->begun) {
    l->b->op->send(l->b, LODGE_COPIED + c, p, o->g + r.from, (size_t)(r.to - r.from) * sizeof *p, LODGE_USED + c);
    l->b->op->follow(l->b, LODGE_COPIED + c);
  } else {
    struct tensor all = tensor_1d(p, DT_F32, r.to - r.from);
    l->b->op->fill(l->b, &all, 0);
  }
  k->begun = true;
}

static void end_gradients(struct param_keeper *keeper, struct param_set *s, int block) {
  struct offload *o = (struct offload *)keeper;
  struct lodge *l = s->lodge;
  struct lodge_range r = o->block[block].range;
  int c = l->next;
  for (int i = r.first; i < r.last; i++) s->p[i]->g = NULL;
  l->b->op->mark(l->b, LODGE_USED + c);
  l->b->op->fetch(l->b, LODGE_COPIED + c, o->g + r.from, l->chunk[c].p, (size_t)(r.to - r.from) * sizeof *o->g, LODGE_USED + c);
  l->chunk[c].holder = o;
  l->chunk[c].block = block;
  l->next = !c;
}

void offload_begin(struct offload *o) {
  for (int i = 0; i < o->set->blocks; i++) o->block[i].begun = false;
}

double offload_squares(struct offload *o) {
  double sum = 0;
  for (int c = 0; c < 2; c++) arrive(o->set->lodge, c);
  for (int i = 0; i < o->set->blocks; i++) {
    struct offload_block *k = o->block + i;
    struct lodge_range r = k->range;
    if (!k->begun) memset(o->g + r.from, 0, (size_t)(r.to - r.from) * sizeof *o->g); /* no pass reached it */
    sum += k->begun ? k->squares : 0;
  }
  return sum;
}

/* --- steps ---------------------------------------------------------------------------------------------------------------------------- */

void offload_step(struct offload *o, const struct adamw *a, double decay) {
  offload_settle(o); /* of a step that no pass came after */
  o->step = *a;
  o->decay = decay;
  for (int i = 0; i < o->set->blocks; i++) o->block[i].due = true;
  device(o)->op->mark(device(o), LODGE_CHANGED);
}

void offload_settle(struct offload *o) {
  for (int i = 0; i < o->set->blocks; i++)
    if (o->block[i].due) update(o, o->block + i);
}

void offload_changed(struct offload *o) {
  for (int i = 0; i < o->set->blocks; i++) o->block[i].stale = true;
  device(o)->op->mark(device(o), LODGE_CHANGED);
}

void offload_show(struct offload *o, bool average) {
  offload_settle(o);
  o->shown = average && o->ema ? o->ema : o->set->home;
  offload_changed(o);
}

/* --- life ----------------------------------------------------------------------------------------------------------------------------- */

enum dtype offload_moments(enum dtype moments) {
  return moments == DT_U8 ? DT_BF16 : moments;
}

/* Moments are memory of whatever backend of the host updates them: all of those take it as ref does. */
int64_t offload_host_bytes(const struct backend *b, const struct param_set *s, enum dtype moments, bool ema) {
  size_t values = (size_t)s->count * sizeof(float), moment = (size_t)s->count * dtype_size(moments);
  return (int64_t)((ema ? 2 : 1) * b->op->host_taken(values) + 2 * backend_ref.taken(moment));
}

static bool take_memory(struct offload *o, enum dtype moments, bool ema, struct err *e) {
  struct backend *b = device(o);
  int64_t n = o->set->count;
  size_t values = (size_t)n * sizeof(float), moment = (size_t)n * dtype_size(moments);
  o->m = tensor_1d(host(o)->op->alloc(host(o), moment, e), moments, n);
  o->v = tensor_1d(o->m.data ? host(o)->op->alloc(host(o), moment, e) : NULL, moments, n);
  o->g = o->v.data ? b->op->host_alloc(b, values, e) : NULL;
  if (o->g && ema) o->ema = b->op->host_alloc(b, values, e);
  if (!o->g || (ema && !o->ema)) return false;
  memset(o->g, 0, values);
  if (ema) memcpy(o->ema, o->set->home, values);
  return true;
}

struct offload *offload_new(struct param_set *s, enum dtype moments, bool ema, struct err *e) {
  struct offload *o = calloc(1, sizeof *o);
  if (o) o->block = calloc((size_t)s->blocks, sizeof *o->block);
  if (!o || !o->block) {
    err_set(e, ERR_FIT, "out of memory");
    free(o);
    return NULL;
  }
  o->set = s;
  o->shown = s->home;
  o->keeper = (struct param_keeper){s->lodge->b, give_weights, begin_gradients, end_gradients};
  for (int i = 0; i < s->blocks; i++) o->block[i].range = lodge_range(s, i);
  if (!take_memory(o, moments, ema, e)) {
    offload_delete(o);
    return NULL;
  }
  s->keeper = &o->keeper;
  return o;
}

/* Copies that nobody waited for may be under way: after a failure, or a pass that was broken off. */
static void come_to_rest(struct offload *o) {
  struct lodge *l = o->set->lodge;
  for (int c = 0; c < 2; c++) {
    l->b->op->wait(l->b, LODGE_COPIED + c);
    if (l->chunk[c].holder == o) l->chunk[c].holder = NULL;
  }
}

void offload_delete(struct offload *o) {
  if (!o) return;
  struct backend *b = device(o);
  size_t values = (size_t)o->set->count * sizeof(float);
  come_to_rest(o);
  o->set->keeper = NULL;
  for (int i = 0; i < o->set->n; i++) o->set->p[i]->g = NULL;
  if (o->g) b->op->host_release(b, o->g, values);
  if (o->ema) b->op->host_release(b, o->ema, values);
  if (o->m.data) host(o)->op->release(host(o), o->m.data, tensor_bytes(&o->m));
  if (o->v.data) host(o)->op->release(host(o), o->v.data, tensor_bytes(&o->v));
  free(o->block);
  free(o);
}
