/* Memory of every stage, and what to do where it does not fit.
 *
 *   before training   process + weights + packed + scratch + region of the passes + buffers
 *   from training on  the same + gradients + moments + averaged weights; the region is reserved anew, so that a larger one of the stages
 *                     before does not stay
 *
 * Gradients and moments are memory of the kernel that nobody has touched before training begins: they do not count until then.
 *
 * A card with memory of its own has all but the process and the buffers, which are the machine's: both are planned, and both must fit. What the card
 * gives is taken when it is asked for, so that gradients count from the start; "process" is then what the backend takes when it is opened.
 * The order of concessions: blocks of the UNet computed again (exact, costs time), fewer pictures at once (samples, inversion, class images;
 * costs nothing but a little time), weights and moments with the host (plan_offload.c; below adapters, where it costs nothing, this comes first),
 * moments in bf16 and then in 8 bits where the profile allows them. */
#include <stdio.h>
#include <string.h>

#include "base/thread.h"
#include "train/plan.h"

/* What the process takes beyond what is counted: code that is paged in later, generated code, the libraries' own buffers, the heap's rests. */
static const int64_t slack = 2 << 20;
static const int64_t piece = 1 << 26; /* elements of a flat block that are written at once: state.c */
enum { MAX_INVERTED = 64 };

/* --- parts ------------------------------------------------------------------------------------------------------------------------------ */

static int64_t taken(const struct trainer *t, int64_t bytes) {
  return bytes > 0 ? (int64_t)t->b->op->taken((size_t)bytes) : 0;
}

int64_t plan_moments(const struct trainer *t, int64_t count) {
  enum dtype moments = moments_type(t->s);
  return 2 * (taken(t, (int64_t)optimizer_moment_bytes(count, moments)) + taken(t, (int64_t)optimizer_scale_bytes(count, moments)));
}

static void fixed_parts(struct trainer *t) {
  struct run_plan *p = &t->plan;
  const struct param_set *set[MODEL_SETS];
  model_sets(t->m, set);
  p->weights = p->gradients = p->moments = p->averaged = 0;
  for (int i = 0; i < MODEL_SETS; i++)
    if (set[i]) p->weights += taken(t, set[i]->count * 4);
  for (int i = 0; i < t->sets; i++) {
    p->gradients += taken(t, model_gradient_bytes(t->set[i]));
    p->moments += plan_moments(t, t->set[i]->count);
    if (t->s->train.ema_decay > 0) p->averaged += taken(t, t->set[i]->count * 4);
  }
  p->moments += taken(t, (int64_t)optimizer_piece_bytes(t->set, t->sets));
  p->moments += taken(t, (int64_t)optimizer_result_bytes(trainer_losses(t)));
  plan_offload_parts(t);
}

static int64_t pixels(const struct trainer *t) {
  return (int64_t)t->s->train.width * t->s->train.height * 3;
}

static int64_t latents(const struct trainer *t) {
  return latent_size_of(t->m, t->s->train.width, t->s->train.height).count;
}

/* n pictures with their noise and latents, one as floats, one on its way into a PNG file. */
static int64_t picture_buffers(const struct trainer *t, int n) {
  return n * (pixels(t) + 8 * latents(t)) + 5 * pixels(t);
}

/* All samples of a step as one picture, at least 192 pixels each as the program's sheets are, with labels on their left. */
static int64_t sheet_buffers(const struct trainer *t) {
  const struct settings *s = t->s;
  int longer = s->train.width > s->train.height ? s->train.width : s->train.height, times = longer >= 192 ? 1 : (191 + longer) / longer;
  return s->prompts.tests * (s->train.height * times + 6) * ((int64_t)s->samples.count * (s->train.width * times + 6) + 320) * 3;
}

/* Those of batch.c and of the probe, and the photographs' moments. */
static int64_t training_buffers(const struct trainer *t) {
  const struct settings *s = t->s;
  int slots = trainer_slots(t);
  int64_t one = 4 * pixels(t) + 4 * 4 * latents(t), rows = 0;
  if (s->losses.pdm) {
    struct pdm_job job = plan_pdm_job((struct trainer *)t, NULL, 0);
    rows = 4 * pdm_row_count(&job) * unet_pdm_channels(t->m->unet, t->pdm_handle);
  }
  int64_t moments = 8 * latents(t) * (t->data.photographs * (s->train.flip ? 2 : 1) + 1);
  int64_t probe = t->data.held_out > 0 ? 4 * latents(t) * (t->data.held_out + slots) : 0;
  return slots * one + s->train.batch * rows + moments + probe;
}

/* A piece of a flat block on its way to the state, or all that is trained on its way to a checkpoint; what the host can read is written as it lies. */
static int64_t saving_buffers(const struct trainer *t) {
  if (t->b->op->host_memory || t->plan.home > 0) return 0;
  bool checkpoints = t->s->train.mode == MODE_LORA || t->s->checkpoints.save_weights || t->s->checkpoints.every > 0;
  int64_t most = 0, all = 0;
  for (int i = 0; i < t->sets; i++) {
    all += t->set[i]->count;
    if (t->set[i]->count > most) most = t->set[i]->count;
  }
  if (most > piece) most = piece;
  return 4 * (checkpoints ? all : most);
}

/* --- stages ------------------------------------------------------------------------------------------------------------------------------ */

static void set_stage(struct trainer *t, int i, const struct pass_need *n, int64_t buffers, bool training) {
  struct run_plan *p = &t->plan;
  p->packed = (int64_t)t->b->need.packed;
  p->scratch = (int64_t)t->b->need.scratch;
  int64_t state = (training || p->card ? p->gradients : 0) + (training ? p->moments + p->averaged : 0);
  int64_t host = buffers + p->home + (training ? p->away : 0); /* of the host, whatever computes */
  p->stage[i].work = n ? taken(t, (int64_t)n->work) : 0;
  p->stage[i].memory = p->process + p->weights + p->packed + p->scratch + state + p->stage[i].work + (p->card ? 0 : host);
  p->stage[i].host = p->card ? p->host_process + host : p->stage[i].memory;
}

/* A later stage of the same phase finds the region as large as an earlier one left it. */
static void set_pass_stage(struct trainer *t, int i, struct pass_need *region, const struct pass_need *n, int64_t buffers, bool training) {
  if (n->work > region->work) region->work = n->work;
  set_stage(t, i, region, buffers, training);
}

/* Of the photographs without a mask, and of a class image. */
static bool largest_gaze(struct trainer *t, struct pass_need *out, struct err *e) {
  if (!plan_pass(t, PASS_MASKS, -1, 0, out, e)) return false;
  for (int i = 0; t->want.masks && t->want.derive && i < t->data.photographs + t->data.held_out; i++) {
    struct pass_need n;
    if (!plan_pass(t, PASS_MASKS, i, 0, &n, e)) return false;
    if (n.work > out->work) *out = n;
  }
  return true;
}

static bool stages_before(struct trainer *t, int evaluations, struct err *e) {
  const struct settings *s = t->s;
  struct pass_need region = {0}, n;
  if (t->todo.masks > 0) {
    int64_t buffers = t->want.masks && t->want.derive ? automask_buffers(&t->data) : 0,
            class_image = segment_buffers(s->train.width, s->train.height) + 2 * pixels(t);
    if (!largest_gaze(t, &n, e)) return false;
    set_pass_stage(t, STAGE_MASKS, &region, &n, buffers > class_image ? buffers : class_image, false);
  }
  if (t->todo.classes > 0) {
    if (!plan_pass(t, PASS_CLASSES, s->prior.batch, evaluations, &n, e)) return false;
    set_pass_stage(t, STAGE_CLASSES, &region, &n, picture_buffers(t, s->prior.batch), false);
  }
  if (t->todo.pdm.passes > 0) {
    struct pdm_job job = plan_pdm_job(t, NULL, (int)t->todo.pdm.passes);
    int64_t inversion = pdm_inversion_buffers(&job, t->pdm_batch), rows = pdm_buffers(&job);
    if (!plan_pass(t, PASS_INVERSION, t->pdm_batch, 0, &n, e)) return false;
    struct pass_need row;
    if (!plan_pass(t, PASS_ROWS, 1, 0, &row, e)) return false;
    if (row.work > n.work || t->todo.pdm.levels == 0) n = row;
    set_pass_stage(t, STAGE_PDM, &region, &n, inversion > rows ? inversion : rows, false);
  }
  return true;
}

static bool stages_of_training(struct trainer *t, int evaluations, struct err *e) {
  struct pass_need region = {0}, n, encode;
  int64_t buffers = training_buffers(t);
  if (!plan_pass(t, PASS_ENCODE, 1, 0, &encode, e) || !plan_pass(t, PASS_STEP, t->options.recompute_blocks, 0, &n, e)) return false;
  t->step_bytes = n.work > encode.work ? n.work : encode.work;
  n.work = t->step_bytes;
  set_pass_stage(t, STAGE_ENCODING, &region, &encode, buffers, false);
  if (t->data.held_out > 0) {
    struct pass_need probe;
    if (!plan_pass(t, PASS_PROBE, 1, 0, &probe, e)) return false;
    if (probe.work > t->step_bytes) t->step_bytes = probe.work;
    n.work = t->step_bytes;
    set_pass_stage(t, STAGE_PROBE, &region, &n, buffers, true);
  }
  set_pass_stage(t, STAGE_TRAINING, &region, &n, buffers, true);
  if (t->s->prompts.tests > 0) {
    int all = t->s->prompts.tests * t->s->samples.count, batch = t->s->samples.batch < all ? t->s->samples.batch : all;
    if (!plan_pass(t, PASS_SAMPLES, batch, evaluations, &n, e)) return false;
    int64_t pictures = picture_buffers(t, batch), sheet = sheet_buffers(t) + 2 * pixels(t);
    set_pass_stage(t, STAGE_SAMPLES, &region, &n, buffers + (pictures > sheet ? pictures : sheet), true);
  }
  set_stage(t, STAGE_SAVING, &region, buffers + saving_buffers(t), true);
  return true;
}

static void find_peak(struct run_plan *p) {
  int64_t host = 0;
  p->memory = p->work = 0;
  for (int i = 0; i < PLAN_STAGES; i++) {
    if (p->stage[i].host > host) host = p->stage[i].host;
    if (p->stage[i].memory <= p->memory) continue;
    p->memory = p->stage[i].memory;
    p->work = p->stage[i].work;
  }
  p->host_memory = p->card ? host : 0;
  int64_t with_host = p->home + p->away, known = p->process + p->weights + p->packed + p->gradients + p->moments + p->averaged + p->scratch + p->work;
  if (p->card)
    p->buffers = host - p->host_process - with_host;
  else
    p->buffers = p->memory - known - with_host;
  if (p->buffers < 0) p->buffers = 0;
}

/* The whole run as it is set now. */
bool plan_evaluate(struct trainer *t, int evaluations, struct err *e) {
  struct run_plan *p = &t->plan;
  for (int i = 0; i < PLAN_STAGES; i++) p->stage[i].memory = p->stage[i].work = p->stage[i].host = 0;
  plan_rehearse(t);
  fixed_parts(t);
  set_stage(t, STAGE_LOADING, NULL, 0, false);
  if (!stages_before(t, evaluations, e) || !stages_of_training(t, evaluations, e)) return false;
  find_peak(p);
  return true;
}

/* --- what does not fit -------------------------------------------------------------------------------------------------------------------- */

/* Of the memory that it computes in: the card's, where there is one. */
static bool beyond(const struct trainer *t, int stage) {
  return t->plan.stage[stage].memory > t->plan.allowed;
}

static bool too_much(const struct trainer *t, int stage) {
  return beyond(t, stage) || (t->plan.card && t->plan.stage[stage].host > t->plan.host_allowed);
}

static bool fits(const struct run_plan *p) {
  return p->memory <= p->allowed && (!p->card || p->host_memory <= p->host_allowed);
}

/* Largest n up to *value for which a stage fits, 1 where none does. value: where the number stands in the settings. */
static bool fewer_at_once(struct trainer *t, int stage, int *value, struct err *e) {
  int low = 1, high = *value - 1;
  while (low < high) { /* low is tried last, whatever it gives */
    *value = low + (high - low + 1) / 2;
    if (!plan_evaluate(t, PLAN_SHORT, e)) return false;
    if (!too_much(t, stage))
      low = *value;
    else
      high = *value - 1;
  }
  *value = low;
  return true;
}

/* From training on, with samples made one at a time. */
static bool step_fits(struct trainer *t, int blocks, bool *enough, struct err *e) {
  int samples = t->own.samples.batch;
  t->options.recompute_blocks = blocks;
  t->own.samples.batch = 1;
  bool ok = plan_evaluate(t, PLAN_SHORT, e);
  t->own.samples.batch = samples;
  *enough = !beyond(t, STAGE_TRAINING) && !beyond(t, STAGE_SAMPLES) && !beyond(t, STAGE_PROBE) && !beyond(t, STAGE_SAVING);
  return ok;
}

/* The fewest blocks computed again that make a training step fit; all of them where none do. */
static bool choose_blocks(struct trainer *t, struct err *e) {
  int low = 0, high = t->plan.blocks;
  bool enough = false;
  if (!step_fits(t, low, &enough, e)) return false;
  if (enough) return true;
  if (!step_fits(t, high, &enough, e)) return false;
  while (enough && high - low > 1) {
    int middle = low + (high - low) / 2;
    bool here;
    if (!step_fits(t, middle, &here, e)) return false;
    if (here)
      high = middle;
    else
      low = middle;
  }
  t->options.recompute_blocks = high;
  return true;
}

/* As few groups as the memory allows, of nearly the same size. */
static void balance(struct trainer *t) {
  int groups = (t->data.photographs + t->pdm_batch - 1) / t->pdm_batch;
  t->pdm_batch = (t->data.photographs + groups - 1) / groups;
}

static bool concede(struct trainer *t, struct err *e) {
  if (!t->options.recompute && !choose_blocks(t, e)) return false;
  if (!plan_evaluate(t, PLAN_SHORT, e)) return false;
  if (too_much(t, STAGE_SAMPLES) && !fewer_at_once(t, STAGE_SAMPLES, &t->own.samples.batch, e)) return false;
  if (too_much(t, STAGE_CLASSES) && !fewer_at_once(t, STAGE_CLASSES, &t->own.prior.batch, e)) return false;
  if (!plan_evaluate(t, PLAN_SHORT, e)) return false;
  if (too_much(t, STAGE_PDM)) {
    if (!fewer_at_once(t, STAGE_PDM, &t->pdm_batch, e)) return false;
    balance(t);
  }
  return plan_evaluate(t, 0, e);
}

/* Says what is not as the profile wants it. */
static void tell_concessions(struct trainer *t, const struct settings *wanted) {
  const struct run_plan *p = &t->plan;
  struct size_text allowed = plan_size(p->allowed);
  if (t->options.recompute_blocks > 0)
    tell(t->sink, LOG_WARN, "to fit %s, %d of the UNet's %d blocks are computed again in the backward pass (the result is the same)",
         allowed.s, t->options.recompute_blocks, p->blocks);
  if (t->own.samples.batch < wanted->samples.batch)
    tell(t->sink, LOG_WARN, "to fit %s, samples are made %d at a time instead of %d", allowed.s, t->own.samples.batch,
         wanted->samples.batch);
  if (t->own.prior.batch < wanted->prior.batch)
    tell(t->sink, LOG_WARN, "to fit %s, class images are made %d at a time instead of %d", allowed.s, t->own.prior.batch,
         wanted->prior.batch);
  if (t->todo.pdm.levels > 0 && t->pdm_batch < t->data.photographs)
    tell(t->sink, LOG_WARN, "to fit %s, the photographs are inverted %d at a time instead of all %d", allowed.s, t->pdm_batch,
         t->data.photographs);
  if (p->offloaded && t->s->engine.offload == OFFLOAD_AUTO)
    tell(t->sink, LOG_WARN, "to fit %s, %s", allowed.s,
         p->home > 0 ? "weights, gradients and moments lie in the host's memory, and the CPU updates them"
                     : "the card has the networks' weights only in the type that it computes with (the result is the same)");
  if (t->own.train.moments != wanted->train.moments)
    tell(t->sink, LOG_WARN, "to fit %s, the optimiser's moments are kept in %s, as least_moments in [engine] allows", allowed.s,
         t->own.train.moments == MOMENTS_8BIT ? "8 bits" : "bf16");
}

/* --- all of it ------------------------------------------------------------------------------------------------------------------------------- */

/* What is free now includes what this process has; a thirty-second of it is left to others. */
static int64_t free_for_us(int64_t machine) {
  int64_t available = (int64_t)machine_memory_available();
  available += (int64_t)process_memory() - available / 32;
  return available < machine ? available : machine;
}

/* The context and the libraries have theirs by now, and cannot be told from other programs. Of the rest a thirty-second stays free: the driver loads
   code of kernels as they are first started. */
static bool find_card_limits(struct trainer *t, struct err *e) {
  struct run_plan *p = &t->plan;
  struct backend_memory m;
  if (!t->b->op->memory(t->b, &m, e)) return false;
  p->machine = (int64_t)m.total;
  p->context = (int64_t)(m.total - m.free - m.own);
  p->available = (int64_t)(m.free + m.own);
  p->available -= p->available / 32;
  return true;
}

/* Of the memory that it computes in. Asked again once the passes were looked at: where that measured algorithms of a card, the libraries' code is loaded
   then, and what it takes is no longer free. */
static bool find_allowed(struct trainer *t, struct err *e) {
  struct run_plan *p = &t->plan;
  if (p->card && !find_card_limits(t, e)) return false;
  p->allowed = t->s->engine.wait ? p->machine : p->available;
  if (t->s->engine.memory > 0 && t->s->engine.memory < p->allowed) p->allowed = t->s->engine.memory;
  return true;
}

static bool find_limits(struct trainer *t, struct err *e) {
  struct run_plan *p = &t->plan;
  int64_t machine = (int64_t)machine_memory(), available = free_for_us(machine), process = (int64_t)process_memory() + slack;
  p->card = !t->b->op->host_memory;
  p->host_machine = p->card ? machine : 0;
  p->host_allowed = p->card ? t->s->engine.wait ? machine : available : 0;
  p->host_available = p->card ? available : 0;
  p->host_process = p->card ? process : 0;
  p->process = p->card ? t->opened : process;
  p->machine = machine;
  p->available = available;
  return find_allowed(t, e);
}

/* Where it may, and then without the other concessions at first. */
static bool offload(struct trainer *t, const struct settings *wanted, struct err *e) {
  if (!plan_offload_helps(t)) return true;
  plan_offload_set(t, true);
  t->own.samples.batch = wanted->samples.batch;
  t->own.prior.batch = wanted->prior.batch;
  t->options.recompute_blocks = 0;
  return plan_evaluate(t, 0, e);
}

/* Back, where the machine's memory is what does not do. */
static bool stay(struct trainer *t, const struct settings *wanted, struct err *e) {
  const struct run_plan *p = &t->plan;
  if (!p->offloaded || t->s->engine.offload != OFFLOAD_AUTO || !p->card || p->home == 0 || p->host_memory <= p->host_allowed) return true;
  plan_offload_set(t, false);
  t->own.samples.batch = wanted->samples.batch;
  t->own.prior.batch = wanted->prior.batch;
  t->options.recompute_blocks = 0;
  return plan_evaluate(t, PLAN_SHORT, e) && concede(t, e);
}

static bool fit(struct trainer *t, const struct settings *wanted, struct err *e) {
  struct run_plan *p = &t->plan;
  if (fits(p)) return true;
  if (t->s->train.mode == MODE_LORA && !offload(t, wanted, e)) return false;
  if (!fits(p) && !concede(t, e)) return false;
  if (!fits(p) && !offload(t, wanted, e)) return false;
  if (!fits(p) && !concede(t, e)) return false;
  if (!fits(p) && !stay(t, wanted, e)) return false;
  while (!fits(p) && t->s->train.mode == MODE_FULL && t->own.train.moments < t->s->engine.least_moments) {
    t->own.train.moments++;
    t->own.samples.batch = wanted->samples.batch; /* there may be room for more again */
    t->options.recompute_blocks = 0;
    if (!plan_evaluate(t, PLAN_SHORT, e) || !concede(t, e)) return false;
  }
  return fits(p) || plan_refuse(t, e);
}

/* What this process had before counts for its peak, not for what fits. */
static void count_past(struct run_plan *p) {
  int64_t *process = p->card ? &p->host_memory : &p->memory, before = (int64_t)process_memory_peak() - *process;
  if (before <= 0) return;
  *process += before;
  p->buffers += before;
}

bool plan_memory(struct trainer *t, struct err *e) {
  struct run_plan *p = &t->plan;
  struct settings wanted = t->own;
  int photographs = t->data.photographs < MAX_INVERTED ? t->data.photographs : MAX_INVERTED;
  if (t->pdm_batch < 1 || t->pdm_batch > photographs) t->pdm_batch = photographs;
  t->options.recompute = t->s->train.recompute;
  p->blocks = unet_blocks(t->m->unet);
  if (!find_limits(t, e)) return false;
  plan_offload_set(t, t->s->engine.offload == OFFLOAD_YES);
  bool ok = plan_evaluate(t, 0, e) && find_allowed(t, e);
  if (ok) unet_rank_blocks(t->m->unet); /* of the pass that kept everything */
  ok = ok && fit(t, &wanted, e);
  plan_forget(t);
  p->recomputed = t->options.recompute ? p->blocks : t->options.recompute_blocks;
  p->samples_batch = t->own.samples.batch;
  p->prior_batch = t->own.prior.batch;
  p->pdm_batch = t->pdm_batch;
  p->moments_kind = t->own.train.moments;
  p->waits = p->memory > p->available || (p->card && p->host_memory > p->host_available);
  p->replanned = (p->offloaded && t->s->engine.offload == OFFLOAD_AUTO) || t->options.recompute_blocks > 0 ||
                 p->samples_batch < wanted.samples.batch || p->prior_batch < wanted.prior.batch || p->pdm_batch < photographs ||
                 p->moments_kind != wanted.train.moments;
  if (ok) tell_concessions(t, &wanted);
  if (ok) count_past(p);
  return ok;
}
