/* AdamW over flat blocks (optimizer.h); the update itself is the backend's adamw: torch/optim/adamw.py.
 *
 *   scale = min(1, max_norm / (norm + 1e-6))                    torch.nn.utils.clip_grad_norm_
 *   ema   = d ema + (1 - d) w,  d = min(ema_decay, (1 + n) / (10 + n)), n = steps done before */
#include "train/optimizer.h"

#include <math.h>

#include "train/offload.h"

static size_t moment_bytes(const struct param_set *s, enum dtype type) {
  return (size_t)s->count * dtype_size(type);
}

size_t optimizer_bytes(const struct param_set *const *sets, int n, enum dtype moments, bool ema) {
  size_t bytes = 0;
  for (int i = 0; i < n; i++) bytes += 2 * moment_bytes(sets[i], moments) + (ema ? (size_t)sets[i]->count * sizeof(float) : 0);
  return bytes;
}

static bool away_init(struct opt_group *g, enum dtype moments, bool ema, struct err *e) {
  g->away = offload_new(g->set, moments, ema, e);
  if (g->away == NULL) return false;
  g->m = g->away->m;
  g->v = g->away->v;
  g->ema = g->away->ema;
  return true;
}

static bool group_init(struct opt_group *g, struct backend *b, struct param_set *set, enum dtype moments, bool ema, struct err *e) {
  size_t bytes = moment_bytes(set, moments), weights = (size_t)set->count * sizeof(float);
  g->set = set;
  if (set->home != NULL) return away_init(g, moments, ema, e);
  g->m = tensor_1d(b->op->alloc(b, bytes, e), moments, set->count);
  g->v = tensor_1d(g->m.data != NULL ? b->op->alloc(b, bytes, e) : NULL, moments, set->count);
  if (g->v.data == NULL) return false;
  if (!ema) return true;
  g->ema = b->op->alloc(b, weights, e);
  if (g->ema == NULL) return false;
  b->op->move(b, g->ema, set->w, weights);
  return true;
}

bool optimizer_init(struct optimizer *o, struct backend *b, struct param_set *const *sets, int n, enum dtype moments, bool ema,
                    struct err *e) {
  *o = (struct optimizer){.b = b, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f, .weight_decay = 1e-2f, .max_norm = 1, .loss_scale = 1};
  if (n > OPT_MAX_GROUPS) return err_set(e, ERR_FAILED, "%d parameter sets, %d are possible", n, OPT_MAX_GROUPS);
  for (int i = 0; i < n; i++) {
    o->groups = i + 1;
    if (!group_init(&o->group[i], b, sets[i], moments, ema, e)) {
      optimizer_release(o);
      return false;
    }
  }
  return true;
}

void optimizer_release(struct optimizer *o) {
  for (int i = 0; i < o->groups; i++) {
    struct opt_group *g = &o->group[i];
    bool here = g->away == NULL;
    offload_delete(g->away);
    if (here && g->m.data != NULL) o->b->op->release(o->b, g->m.data, tensor_bytes(&g->m));
    if (here && g->v.data != NULL) o->b->op->release(o->b, g->v.data, tensor_bytes(&g->v));
    if (here && g->ema != NULL) o->b->op->release(o->b, g->ema, (size_t)g->set->count * sizeof(float));
    *g = (struct opt_group){.set = NULL};
  }
  o->groups = 0;
}

/* --- where things are ------------------------------------------------------------------------------------------------------------------ */

struct backend *optimizer_backend(const struct optimizer *o, int group) {
  const struct opt_group *g = &o->group[group];
  return g->away != NULL ? g->set->lodge->host : o->b;
}

float *optimizer_weights(const struct optimizer *o, int group) {
  const struct opt_group *g = &o->group[group];
  if (g->away == NULL) return g->set->w;
  offload_settle(g->away);
  return g->set->home;
}

const float *optimizer_gradients(const struct optimizer *o, int group) {
  const struct opt_group *g = &o->group[group];
  return g->away != NULL ? g->away->g : g->set->g;
}

void optimizer_changed(struct optimizer *o) {
  for (int i = 0; i < o->groups; i++) {
    struct opt_group *g = &o->group[i];
    if (g->away != NULL)
      offload_changed(g->away);
    else
      param_set_changed(g->set);
  }
}

/* --- steps ---------------------------------------------------------------------------------------------------------------------------- */

/* Gradients of frozen parameters are zero: nobody writes them. */
double optimizer_norm(const struct optimizer *o) {
  double sum = 0;
  for (int i = 0; i < o->groups; i++) {
    const struct opt_group *g = &o->group[i];
    sum += g->away != NULL ? offload_squares(g->away) : o->b->op->sum_squares(o->b, g->set->g, g->set->count);
  }
  return sqrt(sum) / o->loss_scale;
}

void optimizer_zero_grad(struct optimizer *o) {
  for (int i = 0; i < o->groups; i++) {
    struct param_set *s = o->group[i].set;
    struct tensor g = tensor_1d(s->g, DT_F32, s->count);
    if (o->group[i].away != NULL)
      offload_begin(o->group[i].away);
    else
      o->b->op->fill(o->b, &g, 0);
  }
}

/* Weight decay must not touch frozen parameters, so the update runs over stretches of trained ones: mostly one for the whole set. */
void optimizer_update(struct backend *b, const struct param_set *s, int first, int last, float *w, const float *g, const struct tensor *m,
                      const struct tensor *v, const struct adamw *a) {
  for (int i = first; i < last;) {
    int end = i;
    while (end < last && s->p[end]->frozen == s->p[i]->frozen) end++;
    int64_t from = s->p[i]->offset, to = end < s->n ? s->p[end]->offset : s->count;
    struct tensor m_part = tensor_slice(*m, from, to - from), v_part = tensor_slice(*v, from, to - from);
    if (!s->p[i]->frozen) b->op->adamw(b, w + from, g + from, &m_part, &v_part, to - from, a);
    i = end;
  }
}

static double ema_decay(const struct optimizer *o) {
  return fmin(o->ema_decay, (1.0 + o->step) / (10.0 + o->step));
}

static void update(struct optimizer *o, struct opt_group *g, const struct adamw *a) {
  struct param_set *s = g->set;
  double decay = ema_decay(o);
  struct tensor ema = tensor_1d(g->ema, DT_F32, s->count), w = tensor_1d(s->w, DT_F32, s->count);
  optimizer_update(o->b, s, 0, s->n, s->w, s->g, &g->m, &g->v, a);
  for (int i = 0; i < s->n; i++) s->p[i]->version += !s->p[i]->frozen;
  if (g->ema != NULL) o->b->op->axpby(o->b, &ema, (float)(1 - decay), &w, (float)decay);
}

bool optimizer_step(struct optimizer *o, double lr, double norm, struct err *e) {
  if (!isfinite(norm))
    return err_set(e, ERR_NUMERIC, "the gradient of step %d is not finite: lower the learning rate, or train in fp32", o->step + 1);
  double scale = o->max_norm > 0 ? fmin(1, o->max_norm / (norm + 1e-6)) : 1;
  struct adamw a = {(float)lr, o->beta1, o->beta2, o->eps, o->weight_decay, (float)(scale / o->loss_scale), o->step + 1};
  for (int i = 0; i < o->groups; i++) {
    struct opt_group *g = &o->group[i];
    if (g->away != NULL)
      offload_step(g->away, &a, ema_decay(o));
    else
      update(o, g, &a);
  }
  optimizer_zero_grad(o);
  o->step++;
  return o->b->fault.code == ERR_OK || err_set(e, o->b->fault.code, "%s", o->b->fault.text);
}
