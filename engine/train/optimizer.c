/* AdamW over flat blocks (optimizer.h); the update itself is the backend's adamw: torch/optim/adamw.py.
 *
 *   scale = min(1, max_norm / (norm + 1e-6))                    torch.nn.utils.clip_grad_norm_
 *   ema   = d ema + (1 - d) w,  d = min(ema_decay, (1 + n) / (10 + n)), n = steps done before */
#include "train/optimizer.h"

#include <math.h>
#include <stdlib.h>

#include "backend/moments8.h"
#include "train/offload.h"

/* Elements of a flat block whose gradients are widened at once: whole blocks of moments. */
enum { PIECE = 1 << 22 };

static int64_t piece_count(struct param_set *const *sets, int n) {
  int64_t most = 0;
  for (int i = 0; i < n; i++)
    if (sets[i]->half && sets[i]->count > most) most = sets[i]->count;
  return most < PIECE ? most : PIECE;
}

size_t optimizer_piece_bytes(struct param_set *const *sets, int n) {
  return (size_t)piece_count(sets, n) * sizeof(float);
}

static int64_t scales(int64_t count) {
  return (count + MOMENT_BLOCK - 1) / MOMENT_BLOCK;
}

size_t optimizer_moment_bytes(int64_t count, enum dtype moments) {
  return (size_t)count * dtype_size(moments);
}

size_t optimizer_scale_bytes(int64_t count, enum dtype moments) {
  return moments == DT_U8 ? (size_t)scales(count) * sizeof(float) : 0;
}

size_t optimizer_bytes(const struct param_set *const *sets, int n, enum dtype moments, bool ema) {
  size_t bytes = 0;
  for (int i = 0; i < n; i++) {
    int64_t count = sets[i]->count;
    bytes +=
        2 * (optimizer_moment_bytes(count, moments) + optimizer_scale_bytes(count, moments)) + (ema ? (size_t)count * sizeof(float) : 0);
  }
  return bytes;
}

size_t optimizer_result_bytes(int losses) {
  return (size_t)(1 + losses) * sizeof(double);
}

double *optimizer_losses(struct optimizer *o) {
  return o->results + 1;
}

static bool results_init(struct optimizer *o, int losses, struct err *e) {
  o->losses = losses;
  o->read = calloc((size_t)losses + 1, sizeof *o->read);
  if (o->read == NULL) return err_set(e, ERR_FIT, "out of memory for the losses of a step");
  o->results = o->b->op->alloc(o->b, optimizer_result_bytes(losses), e);
  return o->results != NULL;
}

/* Zeroed memory, which is zero moments in every type. */
static bool take(struct tensor *t, struct backend *b, enum dtype type, int64_t n, struct err *e) {
  *t = tensor_1d(b->op->alloc(b, (size_t)n * dtype_size(type), e), type, n);
  return t->data != NULL;
}

static bool away_init(struct opt_group *g, enum dtype moments, bool ema, struct err *e) {
  g->away = offload_new(g->set, offload_moments(moments), ema, e);
  if (g->away == NULL) return false;
  g->m = g->away->m;
  g->v = g->away->v;
  g->ema = g->away->ema;
  return true;
}

static bool group_init(struct opt_group *g, struct backend *b, struct param_set *set, enum dtype moments, bool ema, struct err *e) {
  size_t weights = (size_t)set->count * sizeof(float);
  int64_t n = set->count;
  g->set = set;
  if (set->home != NULL) return away_init(g, moments, ema, e);
  if (!take(&g->m, b, moments, n, e) || !take(&g->v, b, moments, n, e)) return false;
  if (moments == DT_U8 && (!take(&g->m_scale, b, DT_F32, scales(n), e) || !take(&g->v_scale, b, DT_F32, scales(n), e))) return false;
  if (!ema) return true;
  g->ema = b->op->alloc(b, weights, e);
  if (g->ema == NULL) return false;
  b->op->move(b, g->ema, set->w, weights);
  return true;
}

bool optimizer_init(struct optimizer *o, struct backend *b, struct param_set *const *sets, int n, enum dtype moments, bool ema, int losses,
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
  int64_t piece = piece_count(sets, n);
  if (results_init(o, losses, e) && (piece == 0 || take(&o->wide, b, DT_F32, piece, e))) return true;
  optimizer_release(o);
  return false;
}

void optimizer_release(struct optimizer *o) {
  for (int i = 0; i < o->groups; i++) {
    struct opt_group *g = &o->group[i];
    bool here = g->away == NULL;
    offload_delete(g->away);
    struct tensor *const moment[] = {&g->m, &g->v, &g->m_scale, &g->v_scale};
    for (int j = 0; here && j < 4; j++)
      if (moment[j]->data != NULL) o->b->op->release(o->b, moment[j]->data, tensor_bytes(moment[j]));
    if (here && g->ema != NULL) o->b->op->release(o->b, g->ema, (size_t)g->set->count * sizeof(float));
    *g = (struct opt_group){.set = NULL};
  }
  o->groups = 0;
  if (o->wide.data != NULL) o->b->op->release(o->b, o->wide.data, tensor_bytes(&o->wide));
  o->wide = (struct tensor){.data = NULL};
  if (o->results != NULL) o->b->op->release(o->b, o->results, optimizer_result_bytes(o->losses));
  free(o->read);
  o->results = o->read = NULL;
}

/* Gradients [first, first + n) of a set in fp32: where they are, or widened. */
static const float *gradients(struct optimizer *o, const struct param_set *s, int64_t first, int64_t n) {
  if (!s->half) return s->g + first;
  struct tensor from = tensor_1d(s->g16 + first, DT_BF16, n), to = tensor_1d(o->wide.data, DT_F32, n);
  o->b->op->cast(o->b, &to, &from);
  return o->wide.data;
}

/* How far the piece goes that begins at `at`. */
static int64_t piece_end(const struct param_set *s, int64_t at, int64_t to) {
  int64_t end = s->half ? (at / PIECE + 1) * PIECE : to;
  return end < to ? end : to;
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

bool optimizer_with_host(const struct optimizer *o) {
  for (int i = 0; i < o->groups; i++)
    if (o->group[i].away == NULL) return false;
  return o->groups > 0;
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

/* Added to results[0]. Gradients of frozen parameters are zero: nobody writes them. */
static void squares(struct optimizer *o, const struct param_set *s) {
  for (int64_t at = 0, end; at < s->count; at = end) {
    end = piece_end(s, at, s->count);
    o->b->op->sum_squares(o->b, o->results, gradients(o, s, at, end - at), end - at);
  }
}

double optimizer_norm(struct optimizer *o) {
  struct tensor sum = tensor_1d(o->results, DT_F32, sizeof *o->results / sizeof(float)); /* all bits 0 are the number 0 in either type */
  o->b->op->fill(o->b, &sum, 0);
  for (int i = 0; i < o->groups; i++)
    if (o->group[i].away == NULL) squares(o, o->group[i].set);
  o->b->op->download(o->b, o->read, o->results, optimizer_result_bytes(o->losses));
  for (int i = 0; i < o->groups; i++)
    if (o->group[i].away != NULL) o->read[0] += offload_squares(o->group[i].away);
  return sqrt(o->read[0]) / o->loss_scale;
}

void optimizer_zero_grad(struct optimizer *o) {
  for (int i = 0; i < o->groups; i++) {
    const struct param_set *s = o->group[i].set;
    struct tensor g = s->half ? tensor_1d(s->g16, DT_BF16, s->count) : tensor_1d(s->g, DT_F32, s->count);
    if (o->group[i].away != NULL)
      offload_begin(o->group[i].away);
    else
      o->b->op->fill(o->b, &g, 0);
  }
}

/* Elements [from, to), whose scales belong to blocks of the whole flat block. */
static void update_8bit(struct optimizer *o, struct opt_group *g, int64_t from, int64_t to, const struct adamw *a) {
  struct param_set *s = g->set;
  int64_t first = from / MOMENT_BLOCK * MOMENT_BLOCK, last = (to + MOMENT_BLOCK - 1) / MOMENT_BLOCK * MOMENT_BLOCK;
  if (last > s->count) last = s->count;
  struct moments8 q = {(uint8_t *)g->m.data + first, (uint8_t *)g->v.data + first, (float *)g->m_scale.data + first / MOMENT_BLOCK,
                       (float *)g->v_scale.data + first / MOMENT_BLOCK, last - first};
  o->b->op->adamw8(o->b, s->w + first, gradients(o, s, first, last - first), &q, from - first, to - first, a);
}

/* Elements [from, to) of the flat block. */
static void update_stretch(struct optimizer *o, struct opt_group *g, int64_t from, int64_t to, const struct adamw *a) {
  struct param_set *s = g->set;
  for (int64_t end; from < to; from = end) {
    end = piece_end(s, from, to);
    if (g->m.type == DT_U8) {
      update_8bit(o, g, from, end, a);
      continue;
    }
    struct tensor m = tensor_slice(g->m, from, end - from), v = tensor_slice(g->v, from, end - from);
    o->b->op->adamw(o->b, s->w + from, gradients(o, s, from, end - from), &m, &v, end - from, a);
  }
}

/* Weight decay must not touch frozen parameters, so updates run over stretches of trained ones: mostly one for the whole set. From parameter i on: the
   index behind the stretch, and its place in the flat block. */
static int stretch(const struct param_set *s, int i, int last, int64_t *from, int64_t *to) {
  int end = i;
  while (end < last && s->p[end]->frozen == s->p[i]->frozen) end++;
  *from = s->p[i]->offset;
  *to = end < s->n ? s->p[end]->offset : s->count;
  return end;
}

void optimizer_update(struct backend *b, const struct param_set *s, int first, int last, float *w, const float *g, const struct tensor *m,
                      const struct tensor *v, const struct adamw *a) {
  int64_t from, to;
  for (int i = first, end; i < last; i = end) {
    end = stretch(s, i, last, &from, &to);
    struct tensor m_part = tensor_slice(*m, from, to - from), v_part = tensor_slice(*v, from, to - from);
    if (!s->p[i]->frozen) b->op->adamw(b, w + from, g + from, &m_part, &v_part, to - from, a);
  }
}

static double ema_decay(const struct optimizer *o) {
  return fmin(o->ema_decay, (1.0 + o->step) / (10.0 + o->step));
}

static void update(struct optimizer *o, struct opt_group *g, const struct adamw *a) {
  struct param_set *s = g->set;
  double decay = ema_decay(o);
  struct tensor ema = tensor_1d(g->ema, DT_F32, s->count), w = tensor_1d(s->w, DT_F32, s->count);
  int64_t from, to;
  for (int i = 0, end; i < s->n; i = end) {
    end = stretch(s, i, s->n, &from, &to);
    if (!s->p[i]->frozen) update_stretch(o, g, from, to, a);
  }
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
