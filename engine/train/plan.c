/* What a run will take: what is left to do, memory, disk and time, before anything is reserved, read or written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/thread.h"
#include "train/plan.h"

static const char *const stage_names[PLAN_STAGES] = {"loading",  "masks",   "class images", "pdm targets", "encoding",
                                                     "training", "samples", "probe",        "saving"};

struct draw_pair *plan_pairs(struct trainer *t, int *n, struct err *e) {
  return draw_pairs(&t->draw, t->s->train.steps, n, e);
}

struct pdm_job plan_pdm_job(struct trainer *t, const struct draw_pair *pair, int pairs) {
  return (struct pdm_job){.m = t->m,
                          .d = &t->data,
                          .class_prompt = t->s->prompts.class_prompt,
                          .layer = t->pdm_layer,
                          .handle = t->pdm_handle,
                          .act = t->act,
                          .engine = precision_engine(t->b),
                          .steps = t->s->losses.pdm_steps,
                          .batch = t->pdm_batch,
                          .masked = t->s->losses.mask_pdm,
                          .cache_dir = t->cache_dir,
                          .state_dir = t->state_dir,
                          .pair = pair,
                          .pairs = pairs,
                          .sink = t->sink,
                          .room = &t->room};
}

/* --- what is left --------------------------------------------------------------------------------------------------------------------- */

/* Nobody is told anything, since pdm_make will say it again. */
static bool find_pdm_work(struct trainer *t, struct err *e) {
  int pairs;
  struct draw_pair *pair = plan_pairs(t, &pairs, e);
  if (!pair) return false;
  struct pdm_job job = plan_pdm_job(t, pair, pairs);
  job.sink = NULL;
  bool ok = pdm_work(&job, &t->todo.pdm, e);
  free(pair);
  return ok;
}

static bool find_mask_work(struct trainer *t, struct err *e) {
  const struct settings *s = t->s;
  int classes = s->losses.prior && s->losses.mask_prior ? prior_masks_missing(t->m, t->act, s, e) : 0;
  t->todo.masks = classes + (t->want.masks && t->want.derive ? automask_gazes(&t->data) : 0);
  return classes >= 0;
}

/* Samples are made at every multiple of `every` and at the end, each once. */
static int rounds_left(const struct trainer *t) {
  int every = t->s->samples.every, n = 0, from = t->state.sampled + 1, last = t->s->train.steps;
  if (t->s->prompts.tests == 0) return 0;
  if (every > 0) n = (last - 1) / every - (from > 0 ? (from - 1) / every : -1);
  return (n > 0 ? n : 0) + (t->state.sampled < last);
}

static void set_units(struct trainer *t) {
  const struct settings *s = t->s;
  const struct plan_todo *d = &t->todo;
  int probes = t->data.held_out > 0 ? 1 + (s->probe_every > 0 ? d->steps / s->probe_every : 0) + (d->steps > 0) : 0;
  int every = s->checkpoints.every, saves = every > 0 ? (s->train.steps - 1) / every - t->state.step / every : 0;
  int final = s->train.mode == MODE_LORA || s->checkpoints.save_weights;
  const int64_t units[PLAN_STAGES] = {[STAGE_LOADING] = 1,
                                      [STAGE_MASKS] = d->masks,
                                      [STAGE_CLASSES] = d->classes,
                                      [STAGE_PDM] = d->pdm.pictures + d->pdm.passes,
                                      [STAGE_ENCODING] = t->data.photographs + t->data.held_out,
                                      [STAGE_TRAINING] = d->steps,
                                      [STAGE_SAMPLES] = (int64_t)d->rounds * s->prompts.tests * s->samples.count,
                                      [STAGE_PROBE] = probes,
                                      [STAGE_SAVING] = saves + final};
  for (int i = 0; i < PLAN_STAGES; i++) {
    t->plan.stage[i].name = stage_names[i];
    t->plan.stage[i].units = units[i];
  }
  t->plan.stage[STAGE_PDM].early = d->pdm.levels;
}

bool plan_todo(struct trainer *t, struct err *e) {
  const struct settings *s = t->s;
  t->todo = (struct plan_todo){.steps = s->train.steps > t->state.step ? s->train.steps - t->state.step : 0};
  t->todo.rounds = rounds_left(t);
  if (s->losses.prior) t->todo.classes = prior_missing(t->m, t->act, s, e);
  if (!find_mask_work(t, e)) return false;
  if (t->todo.classes < 0 || (s->losses.pdm && !find_pdm_work(t, e))) return false;
  set_units(t);
  return true;
}

/* --- the plan ------------------------------------------------------------------------------------------------------------------------- */

static double mib(int64_t bytes) {
  return (double)bytes / (1 << 20);
}

static void tell_memory(struct trainer *t) {
  const struct run_plan *p = &t->plan;
  char buffers[48] = "";
  int64_t with_host = p->home + p->away;
  if (!p->card) snprintf(buffers, sizeof buffers, ", buffers %.0f", mib(p->buffers));
  tell(t->sink, LOG_INFO,
       "memory%s: %.0f MiB at the peak of %.0f allowed: %s %.0f, weights %.0f, gradients %.0f, moments and averages %.0f, passes %.0f "
       "(a training step %.0f)%s",
       p->card ? " of the card" : "", mib(p->memory), mib(p->allowed), p->card ? "engine" : "process", mib(p->process), mib(p->weights + p->packed),
       mib(p->gradients), mib(p->moments + p->averaged + (p->card ? 0 : with_host)), mib(p->work + p->scratch), mib((int64_t)t->step_bytes), buffers);
  if (p->card)
    tell(t->sink, LOG_INFO, "memory of the machine: %.0f MiB at the peak of %.0f allowed: process %.0f, offloaded %.0f, buffers %.0f", mib(p->host_memory),
         mib(p->host_allowed), mib(p->host_process), mib(with_host), mib(p->buffers));
}

struct duration {
  char text[32];
};

static struct duration duration(double seconds) {
  struct duration d;
  if (seconds >= 3600)
    snprintf(d.text, sizeof d.text, "%.1f hours", seconds / 3600);
  else if (seconds >= 60)
    snprintf(d.text, sizeof d.text, "%.1f minutes", seconds / 60);
  else
    snprintf(d.text, sizeof d.text, "%.1f seconds", seconds);
  return d;
}

static void tell_time(struct trainer *t) {
  const struct run_plan *p = &t->plan;
  char text[700];
  int used = 0;
  for (int i = 0; i < PLAN_STAGES; i++)
    if (p->stage[i].seconds > 0)
      used += snprintf(text + used, sizeof text - (size_t)used, "%s%s %s", used ? ", " : "", p->stage[i].name,
                       duration(p->stage[i].seconds).text);
  double each = t->todo.steps > 0 ? p->stage[STAGE_TRAINING].seconds / t->todo.steps : 0;
  tell(t->sink, LOG_INFO, "expected on %s: %s in all (%s; %.3g s a training step)", backend_describe(t->b), duration(p->seconds).text, text,
       each);
}

/* --- what a run that goes on keeps to --------------------------------------------------------------------------------------------------- */

static void keep_path(const struct trainer *t, char *out, size_t n) {
  snprintf(out, n, "%s/plan", t->state_dir);
}

bool plan_keep(const struct trainer *t, struct err *e) {
  char path[TRAINER_PATH + 16], text[256];
  const struct run_plan *p = &t->plan;
  keep_path(t, path, sizeof path);
  int n = snprintf(text, sizeof text, "samples %d classes %d photographs %d moments %d offload %d\n", p->samples_batch, p->prior_batch,
                   p->pdm_batch, p->moments_kind, p->offloaded);
  return write_file(path, text, (size_t)n, e);
}

bool plan_recall(struct trainer *t, struct err *e) {
  char path[TRAINER_PATH + 16], text[256] = "";
  struct blob b;
  struct err ignored = {0};
  int n[5] = {0};
  keep_path(t, path, sizeof path);
  if (!t->s->resume || access(path, R_OK) != 0 || !blob_map(path, &b, &ignored)) return true;
  memcpy(text, b.data, b.size < sizeof text ? b.size : sizeof text - 1);
  blob_close(&b);
  if (sscanf(text, "samples %d classes %d photographs %d %*s %d offload %d", n, n + 1, n + 2, n + 3, n + 4) < 4)
    return err_set(e, ERR_INPUT, "%s: not what a run leaves there; start a new run directory", path);
  if (n[0] >= 1 && n[0] < t->own.samples.batch) t->own.samples.batch = n[0];
  if (n[1] >= 1 && n[1] < t->own.prior.batch) t->own.prior.batch = n[1];
  if (n[2] >= 1) t->pdm_batch = n[2];
  if (n[4] && t->own.engine.offload == OFFLOAD_AUTO) t->own.engine.offload = OFFLOAD_YES;
  if (n[3] > t->own.train.moments && n[3] <= t->own.engine.least_moments) t->own.train.moments = n[3];
  return true;
}

/* --- all of it -------------------------------------------------------------------------------------------------------------------------- */

/* Generated code, threads and the library's own buffers are there before memory is measured. */
static void warm_up(struct backend *b) {
  enum { M = 256, N = 256, K = 256 };
  struct err ignored = {0};
  int64_t bytes = (int64_t)sizeof(float) * (M * K + N * K + M * N);
  float *all = b->op->alloc(b, (size_t)bytes, &ignored);
  if (!all) return;
  struct param w = {.rank = 2, .dim = {N, K}, .count = N * K, .w = all};
  struct tensor x = tensor_2d(all + N * K, DT_F32, M, K), y = tensor_2d(all + N * K + M * K, DT_F32, M, N);
  b->op->linear(b, &y, &x, &w, NULL, 1, 0);
  b->op->release(b, all, (size_t)bytes);
}

/* Of a card, before anything is done with it. */
static bool note_opened(struct trainer *t, struct err *e) {
  struct backend_memory m = {0};
  bool ok = !t->b->op->memory || t->b->op->memory(t->b, &m, e);
  t->opened = (int64_t)m.own;
  return ok;
}

/* Measuring takes memory of a card, which is given back, but counts for its peak: that of a very small model. */
static bool count_measuring(struct trainer *t, struct err *e) {
  struct backend_memory m = {0};
  bool ok = !t->b->op->memory || t->b->op->memory(t->b, &m, e);
  if (ok && (int64_t)m.peak > t->plan.memory) t->plan.memory = (int64_t)m.peak;
  return ok;
}

bool plan_run(struct trainer *t, bool measure, struct err *e) {
  if (!note_opened(t, e)) return false;
  warm_up(t->b);
  if (!plan_todo(t, e) || !plan_memory(t, e)) return false;
  tell_memory(t);
  if (!plan_disk(t, e) || !plan_time(t, measure, e) || !count_measuring(t, e)) return false;
  tell_time(t);
  return true;
}
