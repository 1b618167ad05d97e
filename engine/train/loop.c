/* The training loop: method.md section 4, last part. A step is a function of the seed, its number and the weights: what a resumed run
 * computes is what it would have computed. */
#include <math.h>

#include "base/thread.h"
#include "train/trainer.h"

bool trainer_ctx(struct trainer *t, struct ctx *c, struct err *e) {
  if (!workspace_reserve(&t->m->work, t->b, t->step_bytes, e)) return false;
  *c = (struct ctx){.b = t->b, .pool = pool_new(t->m->work.base, t->m->work.bytes), .act = t->act, .err = e};
  return c->pool || err_set(e, ERR_FIT, "out of memory");
}

void trainer_ctx_end(struct ctx *c) {
  pool_delete(c->pool);
}

static bool finite_losses(const struct trainer *t, const struct step_loss *l, int step, struct err *e) {
  const char *bad = !isfinite(l->instance) ? "instance" : !isfinite(l->prior) ? "prior" : !isfinite(l->pdm) ? "pdm" : NULL;
  if (!bad) return true;
  return err_set(e, ERR_NUMERIC, "step %d: the %s loss is not finite; the state of the last checkpoint is kept: lower the learning rate%s",
                 step, bad, t->act == DT_F32 ? "" : " or train in fp32");
}

static bool dumps(const struct trainer *t, int step) {
  return step <= t->s->dump_steps && t->s->dump_dir && *t->s->dump_dir;
}

/* Forward and backward of one micro-batch; its losses are added to *sum. */
static bool micro_batch(struct trainer *t, int step, int micro, struct step_loss *sum, struct err *e) {
  struct ctx c;
  struct step_loss l = {0};
  if (!trainer_ctx(t, &c, e)) return false;
  bool ok = batch_fill(&t->batch, &c, step - 1, micro, e);
  ok = ok && train_step(&c, t->m, t->batch.slot, t->batch.slots, t->draw.batch, t->batch.size.h, t->batch.size.w, &t->options, &l, e);
  trainer_ctx_end(&c);
  ok = ok && (!dumps(t, step) || dump_inputs(&t->dump, &t->batch, micro, &l, e)) && finite_losses(t, &l, step, e);
  sum->instance += l.instance / t->draw.accumulation;
  sum->prior += l.prior / t->draw.accumulation;
  sum->pdm += l.pdm / t->draw.accumulation;
  sum->total += l.total / t->draw.accumulation;
  return ok;
}

static bool update(struct trainer *t, struct metrics *m, struct err *e) {
  m->lr = lr_at(&t->lr, m->step - 1);
  m->grad_norm = optimizer_norm(&t->opt);
  if (!isfinite(m->grad_norm))
    return err_set(e, ERR_NUMERIC,
                   "step %d: the gradient's norm is not finite; the state of the last checkpoint is kept: lower the learning rate",
                   m->step);
  if (dumps(t, m->step) && !dump_gradients(&t->dump, m->lr, m->grad_norm, e)) return false;
  if (!optimizer_step(&t->opt, m->lr, m->grad_norm, e)) return false;
  return !dumps(t, m->step) || (dump_parameters(&t->dump, e) && dump_write(&t->dump, m->step, e));
}

/* The probe is taken before the first update and after the others that are due. */
static bool probe_due(const struct trainer *t, int step) {
  return step == t->s->train.steps || (t->s->probe_every > 0 && step % t->s->probe_every == 0);
}

static bool one_step(struct trainer *t, struct err *e) {
  const struct settings *s = t->s;
  struct metrics m = {.step = t->state.step + 1, .probe = NAN};
  struct step_loss l = {0};
  if (m.step == 1 && !output_probe(t, &m.probe, e)) return false;
  double begin = now_seconds();
  for (int i = 0; i < t->draw.accumulation; i++)
    if (!micro_batch(t, m.step, i, &l, e)) return false;
  if (!update(t, &m, e)) return false;
  m.seconds = now_seconds() - begin;
  m.instance = s->losses.instance ? l.instance : NAN;
  m.prior = s->losses.prior ? l.prior : NAN;
  m.pdm = s->losses.pdm ? l.pdm : NAN;
  m.total = l.total;
  t->state.step = m.step;
  t->state.last_loss = l.total;
  if (m.step > 1 && probe_due(t, m.step) && !output_probe(t, &m.probe, e)) return false;
  if (t->sink && t->sink->metrics) t->sink->metrics(t->sink->user, &m);
  tell_progress(t->sink, "training", m.step, s->train.steps);
  return true;
}

/* What is due at the step that the weights stand at: also after a resume, where it had not been finished. */
static bool outputs_due(struct trainer *t, struct err *e) {
  const struct settings *s = t->s;
  int step = t->state.step;
  bool last = step >= s->train.steps;
  bool made = t->state.kept > 0 && t->state.checkpoint[t->state.kept - 1] == step;
  if (!last && step > 0 && s->checkpoints.every > 0 && step % s->checkpoints.every == 0 && !made)
    if (!output_checkpoint(t, false, e) || !output_state(t, e)) return false;
  if (t->state.sampled < step && (last || (s->samples.every > 0 && step % s->samples.every == 0))) return output_samples(t, step, e);
  return true;
}

bool train_loop(struct trainer *t, struct err *e) {
  bool ok = true;
  if (t->state.step == 0 && dumps(t, 1)) ok = dump_parameters(&t->dump, e) && dump_write(&t->dump, 0, e);
  tell_progress(t->sink, "training", t->state.step, t->s->train.steps);
  while (ok) {
    ok = outputs_due(t, e);
    if (!ok || t->state.step >= t->s->train.steps) break;
    ok = tell_goes_on(t->sink, e) && one_step(t, e);
  }
  return ok;
}
