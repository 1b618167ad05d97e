/* The training loop: method.md section 4, last part. A step is a function of the seed, its number and the weights: what a resumed run
 * computes is what it would have computed. */
#include <math.h>
#include <stdio.h>

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

/* An error of a step: what happened, what is left, what to do. A state from which no step was sound is none to go back to, if there is another. */
static bool broken(struct trainer *t, int step, const char *what, struct err *e) {
  char kept[64] = "no state was saved before";
  if (t->saved_step >= 0 && !t->sound)
    t->saved_step = state_drop(t->s->run_dir, t->saved_step, t->s->train.on_divergence == DIVERGENCE_HALVE);
  if (t->saved_step >= 0) snprintf(kept, sizeof kept, "the state of step %d is kept", t->saved_step);
  return err_set(e, ERR_NUMERIC, "step %d: %s; %s: lower the learning rate%s", step, what, kept,
                 t->act == DT_F32 ? "" : t->act == DT_F16 ? " or train in bf16 or fp32" : " or train in fp32");
}

/* In fp16 the gradients say so, too, and decide: the step makes no update. */
static bool finite_losses(struct trainer *t, const struct step_loss *l, int step, struct err *e) {
  char what[64];
  const char *bad = !isfinite(l->instance) ? "instance" : !isfinite(l->prior) ? "prior" : !isfinite(l->pdm) ? "pdm" : NULL;
  if (!bad || t->state.loss_scale.scale > 0) return true;
  snprintf(what, sizeof what, "the %s loss is not finite", bad);
  return broken(t, step, what, e);
}

static bool dumps(const struct trainer *t, int step) {
  return step <= t->s->dump_steps && t->s->dump_dir && *t->s->dump_dir;
}

static double *losses_of(struct trainer *t, double *all, int micro) {
  return all + (ptrdiff_t)micro * t->batch.slots;
}

/* What a dump shows is waited for. */
static bool dump_micro(struct trainer *t, struct ctx *c, int micro, struct err *e) {
  double loss[STEP_MAX_SLOTS] = {0};
  struct step_loss l;
  t->b->op->download(t->b, loss, losses_of(t, optimizer_losses(&t->opt), micro), (size_t)t->batch.slots * sizeof *loss);
  step_losses(&t->terms[micro], loss, &l);
  return batch_read(&t->batch, c) && dump_inputs(&t->dump, &t->batch, micro, &l, e);
}

/* Forward and backward of one micro-batch; its losses stay with the backend. */
static bool micro_batch(struct trainer *t, int step, int micro, struct err *e) {
  struct ctx c;
  struct batch *k = &t->batch;
  if (!trainer_ctx(t, &c, e)) return false;
  bool ok = batch_fill(k, &c, step - 1, micro, e);
  if (ok) step_terms(t->m, k->slot, k->slots, t->draw.batch, &t->options, &t->terms[micro]);
  ok = ok && train_step_later(&c, t->m, k->slot, k->slots, t->draw.batch, k->size.h, k->size.w, &t->options,
                              losses_of(t, optimizer_losses(&t->opt), micro), e);
  ok = ok && (!dumps(t, step) || dump_micro(t, &c, micro, e));
  batch_end(k, &c);
  trainer_ctx_end(&c);
  return ok;
}

/* The norm of the gradients, and the mean of the losses of all micro-batches: here, and nowhere else in a step, the host waits. */
static bool results(struct trainer *t, int step, double *norm, struct step_loss *mean, struct err *e) {
  t->opt.loss_scale = loss_scale_factor(&t->state.loss_scale);
  *norm = optimizer_norm(&t->opt);
  if (t->b->fault.code != ERR_OK) return err_set(e, t->b->fault.code, "%s", t->b->fault.text);
  for (int i = 0; i < t->draw.accumulation; i++) {
    struct step_loss l;
    step_losses(&t->terms[i], losses_of(t, t->opt.read + 1, i), &l);
    if (!finite_losses(t, &l, step, e)) return false;
    mean->instance += l.instance / t->draw.accumulation;
    mean->prior += l.prior / t->draw.accumulation;
    mean->pdm += l.pdm / t->draw.accumulation;
    mean->total += l.total / t->draw.accumulation;
  }
  return true;
}

/* Gradients that are not finite: without a scale the end; with one a step without an update, and half the scale from here on. */
static bool without_update(struct trainer *t, struct metrics *m, struct err *e) {
  struct loss_scale *s = &t->state.loss_scale;
  if (!loss_scale_changes(s, false)) return broken(t, m->step, "the gradient's norm is not finite", e);
  if (loss_scale_spent(s)) return broken(t, m->step, "fp16 overflows even though the loss is not scaled any more", e);
  tell(t->sink, LOG_INFO, "step %d overflowed fp16 and made no update: from here on the loss is scaled by %g", m->step, s->scale);
  m->grad_norm = NAN;
  optimizer_zero_grad(&t->opt);
  return true;
}

static bool update(struct trainer *t, struct metrics *m, struct err *e) {
  struct loss_scale *s = &t->state.loss_scale;
  m->lr = lr_at(&t->lr, t->opt.step); /* the schedule goes on with updates, as accelerate's does */
  bool finite = isfinite(m->grad_norm);
  if (dumps(t, m->step) && !dump_gradients(&t->dump, m->lr, m->grad_norm, e)) return false;
  if (!(finite ? optimizer_step(&t->opt, m->lr, m->grad_norm, e) : without_update(t, m, e))) return false;
  if (finite && loss_scale_changes(s, true)) tell(t->sink, LOG_INFO, "after step %d: the loss is scaled by %g", m->step, s->scale);
  return !dumps(t, m->step) || (dump_parameters(&t->dump, e) && dump_write(&t->dump, m->step, e));
}

/* The probe is taken before the first update and after the others that are due. */
static bool probe_due(const struct trainer *t, int step) {
  const struct settings *s = t->s;
  bool checkpoint = s->checkpoints.keep_best > 0 && t->now.checkpoints_every > 0 && step % t->now.checkpoints_every == 0;
  return step == s->train.steps || checkpoint || (s->probe_every > 0 && step % s->probe_every == 0);
}

/* The row of the step just done: its probe, if one is due, then it is told. Stopped in between, it waits in the state. */
static bool end_row(struct trainer *t, struct err *e) {
  struct metrics *m = &t->state.pending;
  if (m->step == 0) return true;
  if (m->step > 1 && probe_due(t, m->step) && !output_probe(t, &m->probe, e)) return false;
  if (m->step > 1 && isfinite(m->probe)) {
    t->probe = m->probe;
    t->probe_step = m->step;
  }
  if (t->sink && t->sink->metrics) t->sink->metrics(t->sink->user, m);
  tell_progress(t->sink, "training", m->step, t->s->train.steps);
  m->step = 0;
  return true;
}

/* The first sound step from a saved state is what makes that one good, and the one before it superfluous. */
static void found_sound(struct trainer *t) {
  if (t->sound || health_in_doubt(&t->state.health)) return;
  t->sound = true;
  if (t->saved_step >= 0) state_keep_from(t->s->run_dir, t->saved_step);
}

static bool healthy(struct trainer *t, const struct metrics *m, struct err *e) {
  char what[64];
  if (health_goes_on(&t->state.health, m)) {
    if (isfinite(m->grad_norm)) found_sound(t);
    return true;
  }
  snprintf(what, sizeof what, "the losses have run away (%.3g on average)", t->state.health.total);
  return end_row(t, e) && broken(t, m->step, what, e);
}

static bool one_step(struct trainer *t, struct err *e) {
  const struct settings *s = t->s;
  struct metrics m = {.step = t->state.step + 1, .probe = NAN};
  struct step_loss l = {0};
  if (m.step == 1 && !output_probe(t, &m.probe, e)) return false;
  double begin = now_seconds();
  t->options.grad_scale = (float)loss_scale_factor(&t->state.loss_scale) / (float)t->draw.accumulation;
  for (int i = 0; i < t->draw.accumulation; i++)
    if (!micro_batch(t, m.step, i, e)) return false;
  if (!results(t, m.step, &m.grad_norm, &l, e) || !update(t, &m, e)) return false;
  m.seconds = now_seconds() - begin;
  m.instance = s->losses.instance && isfinite(l.instance) ? l.instance : NAN;
  m.prior = s->losses.prior && isfinite(l.prior) ? l.prior : NAN;
  m.pdm = s->losses.pdm && isfinite(l.pdm) ? l.pdm : NAN;
  m.total = isfinite(l.total) ? l.total : NAN;
  t->state.step = m.step;
  if (isfinite(l.total)) t->state.last_loss = l.total;
  t->state.pending = m;
  t->state.pictures = 0;
  if (t->b->note[0]) tell(t->sink, LOG_INFO, "%s", t->b->note);
  t->b->note[0] = 0;
  return healthy(t, &m, e) && end_row(t, e);
}

/* --- between two steps -------------------------------------------------------------------------------------------------------------- */

static bool write_down(struct trainer *t, const struct engine_message *m, struct err *e) {
  bool ok;
  if (!room_for(&t->room, t->s->run_dir, 0, e)) return false;
  do ok = journal_add(&t->journal, t->state.step, m, e);
  while (!ok && room_again(&t->room, t->s->run_dir, e));
  if (ok && *m->prompt)
    tell(t->sink, LOG_INFO, "after step %d: %s of \"%s\"", t->state.step, engine_message_names[m->kind], m->prompt);
  else if (ok)
    tell(t->sink, LOG_INFO, "after step %d: %s %.9g", t->state.step, engine_message_names[m->kind], m->value);
  return ok;
}

/* What the program wants changed goes into the journal; what the journal says for this boundary counts. */
static bool changes(struct trainer *t, struct err *e) {
  struct engine_message m;
  const struct sink *sink = t->sink;
  while (sink && sink->message && sink->message(sink->user, t->state.step, &m)) {
    if (journal_has(&t->journal, m.id)) continue;
    if (!engine_message_valid(&m))
      tell(sink, LOG_WARN, "after step %d: a request with the value %.9g is not possible: nothing is changed", t->state.step, m.value);
    else if (!write_down(t, &m, e))
      return false;
  }
  t->now = journal_in_effect(&t->journal, t->s, t->state.step);
  t->lr.base = t->now.lr;
  return true;
}

static bool state_due(const struct trainer *t) {
  int step = t->state.step, every = t->s->checkpoints.state_every;
  if (step == 0 || t->saved_step == step || health_in_doubt(&t->state.health)) return false;
  if (every > 0) return step % every == 0;
  double pause = STATE_SHARE * t->save_cost;
  return now_seconds() - t->saved_at >= (pause > STATE_SECONDS ? pause : STATE_SECONDS);
}

static bool checkpoint_due(const struct trainer *t) {
  int step = t->state.step;
  bool made = t->state.kept > 0 && t->state.checkpoint[t->state.kept - 1].step == step;
  bool interval = step > 0 && step < t->s->train.steps && t->now.checkpoints_every > 0 && step % t->now.checkpoints_every == 0;
  return !made && (interval || t->now.checkpoint);
}

/* What is due at the step that the weights stand at: also after a resume, where it had not been finished. */
static bool outputs_due(struct trainer *t, struct err *e) {
  int step = t->state.step;
  if (checkpoint_due(t)) {
    if (!output_checkpoint(t, false, e) || (!health_in_doubt(&t->state.health) && !output_state(t, e))) return false;
  } else if (state_due(t) && !output_state(t, e)) {
    return false;
  }
  bool interval = step >= t->s->train.steps || (t->now.samples_every > 0 && step % t->now.samples_every == 0);
  return output_asked(t, e) && (t->state.sampled >= step || !(interval || t->now.sample) || output_samples(t, step, e));
}

bool train_loop(struct trainer *t, struct err *e) {
  bool ok = true;
  if (t->state.step == 0 && dumps(t, 1)) ok = dump_parameters(&t->dump, e) && dump_write(&t->dump, 0, e);
  tell_progress(t->sink, "training", t->state.step, t->s->train.steps);
  t->saved_at = now_seconds();
  t->training = true;
  t->now = journal_in_effect(&t->journal, t->s, t->state.step - 1); /* as it was when that row's step was made */
  ok = ok && end_row(t, e);
  while (ok) {
    ok = changes(t, e) && outputs_due(t, e);
    if (!ok || t->state.step >= t->s->train.steps) break;
    ok = tell_goes_on(t->sink, e) && one_step(t, e);
  }
  return ok;
}
