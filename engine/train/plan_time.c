/* Seconds of every stage: each pass is a list of operations (backend/count/profile.h), each of which takes a time on this machine.
 *
 * Measuring: the operations that weigh most are called, on memory of their own, until a budget is spent; the others of a kind are taken to be as fast
 * as those that were called. Not measuring: one matrix product and one addition give two rates. What no operation stands for (the optimiser, reading
 * and writing files) is bytes by a rate. */
#include <stdlib.h>

#include "base/thread.h"
#include "train/plan.h"
#include "train/plan_measure.h"

static const double disk_rate = 400e6;      /* bytes a second, written and synced */
static const double read_rate = 1.5e9;      /* weights, from a warm cache and converted */
static const double host_rate = 12e9;      /* of the host's memory, for the optimiser of a run that is offloaded: tests/bench */
static const double mask_seconds = 0.35;    /* of one thread, for the outline of a mask: the size is always the same */
static const double png_rate = 15e6;        /* bytes of pixels a second: encoded and written */
static const double share = 0.7;            /* of the product's rate that whole passes reach, about */
static const double most_taken_off = 0.9;   /* of what was measured for a stage: two measurements of the same differ */
static const double most = 20, least = 0.5; /* seconds for measuring */
static const double of_total = 0.02;        /* and no more of the whole run than that */

struct rates {
  double product, memory; /* FLOPs and bytes a second */
};

struct timed {
  struct op_line line;
  double weight, seconds; /* of one call; 0: not measured */
};

struct clock {
  struct trainer *t;
  struct rates r;
  struct timed *op; /* [n] */
  int n;
  double kind[OP_KINDS]; /* measured seconds for a rule-of-thumb second */
};

/* --- passes ------------------------------------------------------------------------------------------------------------------------------- */

enum { PASSES = 9 };

struct pass_time {
  enum pass_kind kind;
  int n;
  double times; /* how often the run does it */
  int stage;
  double seconds;
  struct op_profile profile;
};

static int samples_at_once(const struct trainer *t) {
  int all = t->s->prompts.tests * t->s->samples.count;
  return t->s->samples.batch < all ? t->s->samples.batch : all;
}

/* Photographs that are encoded again in each step, since their crop moves; class images always are, unless their latents are kept. */
static double encodes_a_micro(const struct trainer *t) {
  const struct settings *s = t->s;
  int moving = 0;
  for (int i = 0; i < t->data.photographs; i++)
    moving += t->data.photograph[i].rgb.w != t->data.width || t->data.photograph[i].rgb.h != t->data.height;
  double instance = s->losses.instance && !s->train.center_crop ? (double)moving / t->data.photographs : 0;
  return s->train.batch * (instance + (s->losses.prior && !s->prior.latents));
}

/* Pairs whose t was not visited want one pass more than the others, which are timed as if all did: so many of them count. */
static double rows_share(const struct trainer *t) {
  double visited = (double)(t->s->losses.pdm_steps + 1) / t->m->schedule.steps;
  return visited >= 1 ? 0.5 : 0.5 + 0.5 * (1 - visited);
}

static int list_passes(const struct trainer *t, struct pass_time p[PASSES]) {
  const struct settings *s = t->s;
  const struct plan_todo *d = &t->todo;
  struct pdm_job job = plan_pdm_job((struct trainer *)t, NULL, 0);
  double micro = (double)d->steps * s->train.accumulation;
  int slots = trainer_slots(t), n = 0;
  if (slots > PROBE_PAIRS) slots = PROBE_PAIRS;
  if (d->masks > 0) p[n++] = (struct pass_time){.kind = PASS_MASKS, .n = -1, .times = d->masks, .stage = STAGE_MASKS};
  if (d->classes > 0)
    p[n++] =
        (struct pass_time){.kind = PASS_CLASSES, .n = s->prior.batch, .times = (double)d->classes / s->prior.batch, .stage = STAGE_CLASSES};
  if (d->pdm.levels > 0)
    p[n++] = (struct pass_time){
        .kind = PASS_INVERSION, .n = t->pdm_batch, .times = 0.5 * (double)d->pdm.pictures / t->pdm_batch, .stage = STAGE_PDM};
  if (d->pdm.levels > 0) /* the pass encodes a photograph, which is not done at each level */
    p[n++] = (struct pass_time){.kind = PASS_ENCODE, .n = 1, .times = -0.5 * (double)d->pdm.pictures / t->pdm_batch, .stage = STAGE_PDM};
  if (d->pdm.passes > 0)
    p[n++] = (struct pass_time){
        .kind = PASS_ROWS, .n = 1, .times = rows_share(t) * (double)d->pdm.passes / pdm_at_once(&job), .stage = STAGE_PDM};
  p[n++] = (struct pass_time){.kind = PASS_ENCODE, .n = 1, .times = t->data.photographs + t->data.held_out, .stage = STAGE_ENCODING};
  p[n++] = (struct pass_time){.kind = PASS_STEP, .n = t->options.recompute_blocks, .times = micro, .stage = STAGE_TRAINING};
  if (t->plan.stage[STAGE_PROBE].units > 0)
    p[n++] = (struct pass_time){
        .kind = PASS_PROBE, .n = 1, .times = (double)t->plan.stage[STAGE_PROBE].units * PROBE_PAIRS / slots, .stage = STAGE_PROBE};
  if (d->rounds > 0 && s->prompts.tests > 0)
    p[n++] = (struct pass_time){.kind = PASS_SAMPLES,
                                .n = samples_at_once(t),
                                .times = (double)t->plan.stage[STAGE_SAMPLES].units / samples_at_once(t),
                                .stage = STAGE_SAMPLES};
  return n;
}

/* --- rates -------------------------------------------------------------------------------------------------------------------------------- */

static struct rates find_rates(struct backend *b) {
  enum { SIDE = 512, ELEMENTS = 1 << 21 };
  struct op_line product = {.kind = OP_LINEAR, .type = DT_F32, .dim = {SIDE, SIDE, SIDE}, .flops = 2.0 * SIDE * SIDE * SIDE};
  struct op_line move = {.kind = OP_MOVE, .type = DT_F32, .dim = {ELEMENTS}};
  double a = op_seconds(b, &product), m = op_seconds(b, &move);
  return (struct rates){.product = a > 0 ? product.flops / a : 1e9, .memory = m > 0 ? 12.0 * ELEMENTS / m : 1e9};
}

static double elements(const struct op_line *l) {
  switch ((enum op_kind)l->kind) {
    case OP_GEGLU:
      return 3.0 * (double)(l->dim[0] * l->dim[1]);
    case OP_GROUP_NORM:
    case OP_GROUP_NORM_BWD:
      return 4.0 * (double)(l->dim[0] * l->dim[1] * l->dim[2]);
    case OP_LAYER_NORM:
    case OP_LAYER_NORM_BWD:
      return 2.0 * (double)(l->dim[0] * l->dim[1]);
    case OP_MOVE:
    case OP_ACT:
      return (double)l->dim[0];
    default:
      return 0;
  }
}

/* By rule of thumb. */
static double thumb(const struct rates *r, const struct op_line *l) {
  double n = elements(l), overhead = 2e-6;
  return overhead + (n > 0 ? 12 * n / r->memory : l->flops / (share * r->product));
}

static double seconds_of(const struct clock *c, const struct op_line *l) {
  for (int i = 0; i < c->n; i++) {
    const struct op_line *o = &c->op[i].line;
    bool same = o->kind == l->kind && o->type == l->type && o->frozen == l->frozen;
    for (int k = 0; same && k < OP_DIMS; k++) same = o->dim[k] == l->dim[k];
    if (same && c->op[i].seconds > 0) return c->op[i].seconds;
  }
  return thumb(&c->r, l) * c->kind[l->kind];
}

static double pass_seconds(const struct clock *c, const struct op_profile *p) {
  double sum = 0;
  for (int i = 0; i < p->n; i++) sum += p->line[i].calls * seconds_of(c, &p->line[i]);
  return sum;
}

/* --- measuring ---------------------------------------------------------------------------------------------------------------------------- */

static int heavier(const void *a, const void *b) {
  double x = ((const struct timed *)a)->weight, y = ((const struct timed *)b)->weight;
  return (x < y) - (x > y);
}

/* All operations of the run, the heaviest first. */
static bool gather(struct clock *c, const struct pass_time *p, int passes) {
  struct op_profile all = {0};
  for (int i = 0; i < passes; i++)
    for (int k = 0; k < p[i].profile.n; k++) op_profile_add(&all, &p[i].profile.line[k], p[i].times * p[i].profile.line[k].calls);
  c->op = calloc((size_t)all.n + 1, sizeof *c->op);
  for (int i = 0; c->op && i < all.n; i++)
    c->op[c->n++] = (struct timed){.line = all.line[i], .weight = all.line[i].calls * thumb(&c->r, &all.line[i])};
  bool ok = c->op && !all.failed;
  op_profile_release(&all);
  if (ok) qsort(c->op, (size_t)c->n, sizeof *c->op, heavier);
  return ok;
}

/* Once a second somebody may want to stop. */
static bool goes_on(const struct clock *c, double *asked, struct err *e) {
  if (now_seconds() - *asked < 1) return true;
  *asked = now_seconds();
  return tell_goes_on(c->t->sink, e);
}

static bool call_heaviest(struct clock *c, double budget, struct err *e) {
  double seconds[OP_KINDS] = {0}, guessed[OP_KINDS] = {0}, all = 0, all_guessed = 0, asked = now_seconds(), end = asked + budget;
  for (int i = 0; i < c->n && now_seconds() < end; i++) {
    struct timed *o = c->op + i;
    if (!goes_on(c, &asked, e)) return false;
    o->seconds = op_seconds(c->t->b, &o->line);
    if (o->seconds <= 0) continue;
    seconds[o->line.kind] += o->seconds;
    guessed[o->line.kind] += thumb(&c->r, &o->line);
    all += o->seconds;
    all_guessed += thumb(&c->r, &o->line);
  }
  for (int i = 0; i < OP_KINDS; i++) c->kind[i] = guessed[i] > 0 ? seconds[i] / guessed[i] : all_guessed > 0 ? all / all_guessed : 1;
  return true;
}

/* --- stages ------------------------------------------------------------------------------------------------------------------------------- */

static double trained(const struct trainer *t) {
  double n = 0;
  for (int i = 0; i < t->sets; i++) n += (double)t->set[i]->count;
  return n;
}

/* Norm, update, average, zeroing: bytes of every parameter. */
static double optimizer_seconds(const struct trainer *t, const struct rates *r) {
  double bytes = 4 + 4 + 12 + 4 * (double)dtype_size(moments_type(t->s)) + (t->s->train.ema_decay > 0 ? 12 : 0);
  return trained(t) * bytes / (t->plan.home > 0 && !t->b->op->host_memory ? host_rate : r->memory);
}

static void set_seconds(struct trainer *t, const struct clock *c, const struct pass_time *p, int passes) {
  struct plan_stage *s = t->plan.stage;
  const struct settings *o = t->s;
  double pixels = 3.0 * o->train.width * o->train.height, encode = 0;
  for (int i = 0; i < PLAN_STAGES; i++) s[i].seconds = s[i].early_seconds = 0;
  t->plan.flops = 0;
  for (int i = 0; i < passes; i++) {
    double all = p[i].times * p[i].seconds, so_far = s[p[i].stage].seconds;
    s[p[i].stage].seconds += all < -most_taken_off * so_far ? -most_taken_off * so_far : all;
    if (p[i].stage == STAGE_PDM && p[i].kind != PASS_ROWS) s[STAGE_PDM].early_seconds = s[STAGE_PDM].seconds;
    if (p[i].kind == PASS_ENCODE) encode = p[i].seconds;
    for (int k = 0; k < p[i].profile.n; k++) t->plan.flops += p[i].times * p[i].profile.line[k].calls * p[i].profile.line[k].flops;
  }
  s[STAGE_LOADING].seconds = (double)t->plan.weights / read_rate;
  s[STAGE_MASKS].seconds += t->todo.masks * mask_seconds;
  s[STAGE_CLASSES].seconds += t->todo.classes * pixels / png_rate;
  s[STAGE_PDM].seconds += (double)s[STAGE_PDM].disk / disk_rate;
  s[STAGE_TRAINING].seconds += t->todo.steps * (o->train.accumulation * encodes_a_micro(t) * encode + optimizer_seconds(t, &c->r));
  s[STAGE_SAMPLES].seconds += (double)s[STAGE_SAMPLES].units * 2 * pixels / png_rate; /* the sheet has each once more */
  s[STAGE_SAVING].seconds = (double)s[STAGE_SAVING].disk / disk_rate;
  t->plan.seconds = 0;
  for (int i = 0; i < PLAN_STAGES; i++) {
    if (s[i].units == 0) s[i].seconds = 0;
    t->plan.seconds += s[i].seconds;
  }
}

static bool profile_passes(struct trainer *t, struct pass_time *p, int passes, struct err *e) {
  bool ok = true;
  for (int i = 0; ok && i < passes; i++) ok = plan_profile(t, p[i].kind, p[i].n, &p[i].profile, e);
  return ok;
}

static void time_passes(struct trainer *t, const struct clock *c, struct pass_time *p, int passes) {
  for (int i = 0; i < passes; i++) p[i].seconds = pass_seconds(c, &p[i].profile);
  set_seconds(t, c, p, passes);
}

bool plan_time(struct trainer *t, bool measure, struct err *e) {
  struct pass_time p[PASSES] = {{0}};
  struct clock c = {.t = t, .r = find_rates(t->b)};
  int passes = list_passes(t, p);
  for (int i = 0; i < OP_KINDS; i++) c.kind[i] = 1;
  bool ok = profile_passes(t, p, passes, e);
  if (ok) time_passes(t, &c, p, passes);
  if (ok && measure && gather(&c, p, passes)) {
    double budget = of_total * t->plan.seconds;
    ok = call_heaviest(&c, budget > most ? most : budget < least ? least : budget, e);
    if (ok) time_passes(t, &c, p, passes);
    t->plan.measured = ok;
  }
  for (int i = 0; i < passes; i++) op_profile_release(&p[i].profile);
  free(c.op);
  return ok;
}
