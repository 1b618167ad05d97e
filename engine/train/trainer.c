/* engine_run (pdmbooth.h): the stages of a run, each of which finds what an earlier, stopped run has done already. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/thread.h"
#include "convert/lora_list.h"
#include "train/plan.h"
#include "train/trainer.h"

/* --- opening ---------------------------------------------------------------------------------------------------------------------------- */

static bool is_text_target(const char *name) {
  size_t n = strlen(name);
  return n > 5 && strcmp(name + n - 5, "_proj") == 0;
}

/* Targets of one network: those that the profile names for it, or all projections of its attention. */
static struct lora_spec lora_of(const struct settings *s, bool text) {
  static const char *const of_unet[] = {"to_q", "to_k", "to_v", "to_out.0"}, *const of_text[] = {"q_proj", "k_proj", "v_proj", "out_proj"};
  struct lora_spec l = {.rank = s->train.rank, .alpha = s->train.alpha > 0 ? (float)s->train.alpha : (float)s->train.rank};
  for (int i = 0; i < s->train.targets && l.n_targets < LORA_MAX_TARGETS; i++)
    if (is_text_target(s->train.target[i]) == text) l.target[l.n_targets++] = s->train.target[i];
  if (l.n_targets > 0) return l;
  l.n_targets = 4;
  memcpy(l.target, text ? of_text : of_unet, sizeof of_unet);
  return l;
}

void trainer_source(const struct settings *s, const struct embedded_file *embedded, struct source *out) {
  if (embedded && strcmp(s->model.path, "embedded") == 0)
    source_embedded(out, embedded, "tiny-sd");
  else
    source_dir(out, s->model.path);
}

bool trainer_open_model(struct trainer *t, struct err *e) {
  const struct settings *s = t->s;
  struct source source;
  bool lora = s->train.mode == MODE_LORA;
  struct lora_spec unet = lora_of(s, false), text = lora_of(s, true);
  struct model_want w = {.train_unet = !lora,
                         .train_text = !lora && s->train.text_encoder,
                         .unet_lora = lora ? &unet : NULL,
                         .text_lora = lora && s->train.text_encoder ? &text : NULL,
                         .half_gradients = s->train.gradients == GRADIENTS_BF16,
                         .seed = s->train.seed,
                         .config = s->model.config,
                         .start_from = s->train.start_from,
                         .embedded = t->embedded};
  trainer_source(s, t->embedded, &source);
  t->m = model_open_headers(t->count, &source, &w, e);
  if (!t->m) return false;
  tell_lines(t->sink, LOG_INFO, model_notes(t->m));
  t->set[0] = lora ? unet_lora(t->m->unet)->params : unet_params(t->m->unet);
  t->name[0] = "unet";
  t->sets = 1;
  if (!s->train.text_encoder) return true;
  t->set[1] = lora ? clip_lora(t->m->text)->params : clip_params(t->m->text);
  t->name[1] = "text_encoder";
  t->sets = 2;
  return true;
}

bool trainer_resolution(const struct trainer *t, struct err *e) {
  const struct settings *s = t->s;
  int f = vae_factor(t->m->vae);
  return (s->train.width >= f && s->train.height >= f && s->train.width % f == 0 && s->train.height % f == 0) ||
         err_set(e, ERR_USAGE, "resolution %dx%d: width and height must be multiples of %d for this model", s->train.width, s->train.height,
                 f);
}

static bool check_sizes(const struct trainer *t, struct err *e) {
  const struct settings *s = t->s;
  if (!trainer_resolution(t, e)) return false;
  if (s->losses.pdm && s->losses.pdm_steps > t->m->schedule.steps - 1)
    return err_set(e, ERR_USAGE, "pdm_steps %d: this model has %d levels to invert", s->losses.pdm_steps, t->m->schedule.steps - 1);
  if (s->train.mode != MODE_LORA && s->train.start_from && s->train.start_from[0])
    return err_set(e, ERR_USAGE, "start_from is for mode lora: put %s into the base model first (export --merge)", s->train.start_from);
  if (!s->losses.instance && !s->losses.prior && !s->losses.pdm)
    return err_set(e, ERR_USAGE, "no loss is on: switch on instance, prior or pdm in [losses]");
  return true;
}

static void warn_of_cut_prompts(const struct trainer *t) {
  const struct settings *s = t->s;
  const char *const own[] = {s->prompts.instance, s->prompts.class_prompt, s->prompts.negative ? s->prompts.negative : ""};
  tell_cut_prompts(t->sink, t->m->tokenizer, own, s->prompts.tests > 0 ? 3 : 2);
  tell_cut_prompts(t->sink, t->m->tokenizer, s->prompts.test, s->prompts.tests);
}

static bool open_data(struct trainer *t, struct err *e) {
  const struct settings *s = t->s;
  bool masks = (s->losses.instance && s->losses.mask_dm) || (s->losses.pdm && s->losses.mask_pdm);
  t->want = (struct dataset_want){.images = s->subject.images,
                                  .mask_dir = s->subject.mask_dir,
                                  .hold_out = s->subject.hold_out,
                                  .masks = masks,
                                  .derive = s->subject.auto_mask,
                                  .width = s->train.width,
                                  .height = s->train.height,
                                  .margin = s->train.crop_margin};
  if (!check_sizes(t, e) || !dataset_open(&t->data, t->embedded, &t->want, e)) return false;
  if (s->checkpoints.keep_best > 0 && t->data.held_out == 0)
    return err_set(e, ERR_USAGE,
                   "keep_best goes by the probe loss, which needs a photograph that is left out: name one as hold_out in [subject]");
  t->pdm_handle = -1;
  if (s->losses.pdm && !unet_pdm_layer(t->m->unet, s->losses.pdm_layer, t->pdm_layer, sizeof t->pdm_layer, &t->pdm_handle, e)) return false;
  t->draw = (struct draw){.seed = s->train.seed,
                          .photographs = t->data.photographs,
                          .class_images = s->losses.prior ? s->prior.images : 0,
                          .batch = s->train.batch,
                          .accumulation = s->train.accumulation,
                          .timesteps = t->m->schedule.steps,
                          .flip = s->train.flip};
  t->options = (struct step_options){.prior_weight = s->losses.prior_weight,
                                     .pdm_weight = s->losses.pdm_weight,
                                     .min_snr = s->train.min_snr,
                                     .train_text = s->train.text_encoder,
                                     .pdm_handle = t->pdm_handle,
                                     .grad_scale = 1.0f / (float)s->train.accumulation};
  t->lr = (struct lr_schedule){.kind = (enum lr_kind)s->train.schedule,
                               .base = s->train.lr,
                               .warmup = s->train.warmup,
                               .steps = s->train.steps,
                               .cycles = s->train.lr_cycles,
                               .power = s->train.lr_power,
                               .end = 1e-7};
  warn_of_cut_prompts(t);
  return draw_init(&t->draw, e);
}

/* --- going on --------------------------------------------------------------------------------------------------------------------------- */

/* The adapters that this run starts from; "" where it starts afresh. */
static bool start_hash(const struct settings *s, char out[65], struct err *e) {
  struct lora_list l;
  out[0] = 0;
  if (s->train.mode != MODE_LORA || !s->train.start_from || !s->train.start_from[0]) return true;
  if (!lora_list_open(&l, s->train.start_from, e)) return false;
  lora_list_hash(&l, out);
  lora_list_close(&l);
  return true;
}

static void add_texts(struct sha256 *h, const char *const *text, int n) {
  for (int i = 0; i < n; i++) sha256_add(h, text[i], strlen(text[i]) + 1);
}

/* What a state belongs to: model, photographs with their masks, and the settings that shape what is trained. The program says by name what has
   changed; this is so that nothing is mixed up whoever calls. */
static bool identity(const struct trainer *t, char out[65], struct err *e) {
  const struct settings *s = t->s;
  struct sha256 h;
  char start[65];
  const double number[] = {s->train.lr,      s->train.lr_cycles,    s->train.lr_power,     s->train.alpha,         s->train.beta1,
                           s->train.beta2,   s->train.epsilon,      s->train.weight_decay, s->train.max_grad_norm, s->train.ema_decay,
                           s->train.min_snr, s->train.noise_offset, s->train.crop_margin,  s->losses.prior_weight, s->losses.pdm_weight,
                           s->prior.guidance};
  const int whole[] = {(int)s->train.mode,   s->train.text_encoder,   s->train.batch,      s->train.accumulation,
                       s->train.schedule,    s->train.warmup,         s->train.width,      s->train.height,
                       s->train.center_crop, (int)s->train.precision, s->train.rank,       s->train.moments + 16 * s->train.gradients,
                       s->train.flip,        s->losses.instance,      s->losses.prior,     s->losses.pdm,
                       s->losses.mask_dm,    s->losses.mask_pdm,      s->losses.pdm_steps, s->prior.sampler,
                       s->prior.steps,       s->prior.latents,        t->data.photographs, s->losses.prior && s->losses.mask_prior};
  if (!start_hash(s, start, e)) return false;
  sha256_begin(&h);
  sha256_add(&h, t->m->hash, strlen(t->m->hash));
  for (size_t i = 0; i < sizeof number / sizeof *number; i++) sha256_add(&h, number + i, sizeof *number);
  sha256_add(&h, whole, sizeof whole);
  sha256_add(&h, &s->train.seed, sizeof s->train.seed);
  add_texts(&h, s->train.target, s->train.targets);
  add_texts(&h, (const char *const[]){s->prompts.instance, s->prompts.class_prompt, t->pdm_layer, start}, 4);
  for (int i = 0; i < t->data.photographs; i++) sha256_add(&h, t->data.photograph[i].hash, 64);
  if (t->want.masks) masks_hash(t, &h);
  sha256_end(&h, out);
  return true;
}

static void done_text(const struct trainer *t, char *out, size_t n) {
  snprintf(out, n, "%s %d\n", t->state.identity, t->s->train.steps);
}

/* An earlier call finished this very run, and nobody was told. Finished as another one, it is not gone on with: its state is gone. */
static bool find_done(struct trainer *t, struct err *e) {
  char had[128], want[128];
  if (!state_is_done(t->s->run_dir, had, sizeof had)) return true;
  done_text(t, want, sizeof want);
  t->finished = strcmp(had, want) == 0;
  if (!t->finished)
    return err_set(e, ERR_USAGE, "%s: this run is finished, with other settings or another number of steps; start a new run directory",
                   t->s->run_dir);
  return state_done(t->s->run_dir, want, e); /* killed before the last state was removed, perhaps */
}

static void forget_run(struct trainer *t) {
  fs_remove_tree(t->state_dir);
  journal_clear(&t->journal);
}

static bool find_state(struct trainer *t, struct err *e) {
  char own[65];
  const char *dir = t->s->run_dir;
  t->state = (struct run_state){.sampled = -1, .loss_scale = loss_scale_begin(t->s->train.precision)};
  if (!identity(t, own, e)) return false;
  memcpy(t->state.identity, own, sizeof own);
  fs_tidy(dir, NULL);
  if (!journal_open(&t->journal, dir, e)) return false;
  if (!t->s->resume) forget_run(t);
  if (!find_done(t, e)) return false;
  if (!t->finished && !state_find(dir, &t->state, &t->resumed, e)) return false;
  if (!t->resumed) memcpy(t->state.identity, own, sizeof own);
  if (strcmp(own, t->state.identity) != 0)
    return err_set(e, ERR_USAGE, "%s: its state was made with another model, other photographs or settings; start a new run directory",
                   dir);
  t->saved_step = t->resumed ? t->state.step : -1;
  if (t->resumed) {
    checkpoint_forget_later(dir, &t->state);
    tell(t->sink, LOG_INFO, "going on after step %d of %d", t->state.step, t->s->train.steps);
  } else if (t->s->resume && !t->finished) {
    tell(t->sink, LOG_INFO, "no state to go on from: starting at step 1");
  }
  return true;
}

/* --- stages ------------------------------------------------------------------------------------------------------------------------------- */

/* gazes: at photographs, for their masks: the progress of class images' masks goes on from there. */
static bool make_class_images(struct trainer *t, int gazes, struct err *e) {
  if (!t->s->losses.prior) return true;
  t->prior = prior_make(t->m, t->act, t->s, t->sink, e);
  if (!t->prior) return false;
  prior_pictures(t->prior, t->s->prior.latents, &t->classes);
  struct gaze_job gaze = trainer_gaze(t);
  return !t->s->losses.mask_prior || prior_masks(t->prior, &gaze, &t->room, &t->classes, gazes, e);
}

static bool make_targets(struct trainer *t, struct err *e) {
  int pairs;
  if (!t->s->losses.pdm) return true;
  struct draw_pair *pair = plan_pairs(t, &pairs, e);
  if (!pair) return false;
  struct pdm_job job = plan_pdm_job(t, pair, pairs);
  t->pdm = pdm_make(&job, e);
  free(pair);
  return t->pdm != NULL;
}

/* Class images and PDM targets come from the untrained network: adapters that start from a file are off meanwhile. */
static void switch_adapters(struct trainer *t, bool on) {
  struct lora_set *set[2] = {unet_lora(t->m->unet), clip_lora(t->m->text)};
  for (int i = 0; i < 2; i++)
    if (set[i] && t->s->train.start_from && t->s->train.start_from[0]) set[i]->strength = on ? 1 : 0;
}

static bool untrained_stages(struct trainer *t, struct err *e) {
  switch_adapters(t, false);
  int gazes = masks_derived(t) ? automask_gazes(&t->data) : 0;
  bool ok = masks_make(t, e) && make_class_images(t, gazes, e) && make_targets(t, e);
  switch_adapters(t, true);
  return ok;
}

enum dtype moments_type(const struct settings *s) {
  static const enum dtype type[] = {[MOMENTS_FP32] = DT_F32, [MOMENTS_BF16] = DT_BF16, [MOMENTS_8BIT] = DT_U8};
  return type[s->train.moments];
}

int trainer_slots(const struct trainer *t) {
  const struct settings *s = t->s;
  return (s->losses.instance + s->losses.prior + s->losses.pdm) * s->train.batch;
}

int trainer_losses(const struct trainer *t) {
  return trainer_slots(t) * t->s->train.accumulation;
}

static bool open_optimizer(struct trainer *t, struct err *e) {
  const struct settings *s = t->s;
  if (!optimizer_init(&t->opt, t->b, t->set, t->sets, moments_type(s), s->train.ema_decay > 0, trainer_losses(t), e)) return false;
  t->terms = calloc((size_t)s->train.accumulation, sizeof *t->terms);
  if (!t->terms) return err_set(e, ERR_FIT, "out of memory for the losses of a step");
  t->opt.beta1 = (float)s->train.beta1;
  t->opt.beta2 = (float)s->train.beta2;
  t->opt.eps = (float)s->train.epsilon;
  t->opt.weight_decay = (float)s->train.weight_decay;
  t->opt.max_norm = (float)s->train.max_grad_norm;
  t->opt.ema_decay = (float)s->train.ema_decay;
  optimizer_zero_grad(&t->opt);
  t->out->best_step = checkpoint_best(&t->state);
  return !t->resumed || state_load(s->run_dir, &t->state, &t->opt, t->name, e);
}

static bool open_batch(struct trainer *t, struct err *e) {
  const struct settings *s = t->s;
  t->batch = (struct batch){.m = t->m,
                            .d = &t->data,
                            .draw = &t->draw,
                            .pdm = t->pdm,
                            .classes = &t->classes,
                            .want = {.instance = s->losses.instance,
                                     .prior = s->losses.prior,
                                     .pdm = s->losses.pdm,
                                     .mask_dm = s->losses.mask_dm,
                                     .mask_prior = s->losses.mask_prior,
                                     .center_crop = s->train.center_crop,
                                     .noise_offset = s->train.noise_offset,
                                     .instance_prompt = s->prompts.instance,
                                     .class_prompt = s->prompts.class_prompt}};
  return batch_init(&t->batch, e) && probe_init(t, e);
}

static void open_dump(struct trainer *t) {
  const struct settings *s = t->s;
  const double number[] = {s->losses.prior_weight,
                           s->losses.pdm_weight,
                           s->train.min_snr,
                           s->train.max_grad_norm,
                           s->train.weight_decay,
                           s->train.rank,
                           s->train.alpha > 0 ? s->train.alpha : s->train.rank};
  static const char *const key[] = {"prior_weight", "pdm_weight", "min_snr", "max_grad_norm", "weight_decay", "rank", "alpha"};
  int n = 0;
  t->dump_meta[n++] = (struct st_pair){"mode", s->train.mode == MODE_LORA ? "lora" : "full"};
  for (int i = 0; i < (s->train.mode == MODE_LORA ? 7 : 5); i++) {
    snprintf(t->dump_text[i], sizeof t->dump_text[i], "%.17g", number[i]);
    t->dump_meta[n++] = (struct st_pair){key[i], t->dump_text[i]};
  }
  if (s->losses.pdm) t->dump_meta[n++] = (struct st_pair){"pdm_layer", t->pdm_layer};
  t->dump = (struct dump){.dir = s->dump_dir, .meta = t->dump_meta, .n_meta = n, .o = &t->opt, .names = t->name};
}

/* The last model, then the note that all is done; the state is not needed any more. */
static bool finish(struct trainer *t, struct err *e) {
  char text[128];
  bool wanted = t->s->train.mode == MODE_LORA || t->s->checkpoints.save_weights, ok;
  if (!tell_goes_on(t->sink, e) || (wanted && !output_checkpoint(t, true, e))) return false;
  if (t->sink && t->sink->sync && !t->sink->sync(t->sink->user, e)) return false;
  done_text(t, text, sizeof text);
  do ok = state_done(t->s->run_dir, text, e);
  while (!ok && room_again(&t->room, t->s->run_dir, e));
  return ok;
}

static bool keep_plan(struct trainer *t, struct err *e) {
  bool ok;
  do ok = plan_keep(t, e);
  while (!ok && room_again(&t->room, t->s->run_dir, e));
  return ok;
}

/* A card that fails takes nothing along of what lies with the host: the last finished step is still there. */
static bool survives(const struct trainer *t, const struct err *e) {
  return e->code == ERR_FIT && t->training && t->opt.step == t->state.step && optimizer_with_host(&t->opt);
}

/* A run that is stopped in training saves what it has, and so does one whose card failed where that can be; another that failed keeps what the
   last checkpoint saved. */
static bool stopped(struct trainer *t, struct err *e) {
  struct err saving = {0};
  if (e->code != ERR_SIGINT && e->code != ERR_SIGTERM && !survives(t, e)) return false;
  if (!output_state(t, &saving))
    tell(t->sink, LOG_WARN, "the state could not be saved: %s", saving.text);
  else
    tell(t->sink, LOG_INFO, "stopped after step %d; its state is saved", t->state.step);
  return false;
}

/* Bytes of the region that are in RAM: those that a pass wrote to, in whole pages. */
static int64_t touched(const struct workspace *w) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE), n = (w->bytes + page - 1) / page;
  unsigned char *in = malloc(n + 1);
  int64_t pages = 0;
  if (in && mincore(w->base, w->bytes, in) == 0)
    for (size_t i = 0; i < n; i++) pages += in[i] & 1;
  free(in);
  return pages * (int64_t)page;
}

void trainer_note_work(struct trainer *t) {
  const struct workspace *w = &t->m->work;
  if (!w->base || !t->b->op->host_memory || (int64_t)w->bytes < t->out->work_planned) return;
  t->out->work_planned = (int64_t)w->bytes;
  t->out->work_touched = touched(w);
}

/* Everything that needs no weights. */
static bool open_all(struct trainer *t, struct err *e) {
  t->act = precision_type(t->s->train.precision);
  t->b = backend_open(t->s->engine.device, t->s->engine.threads, e);
  t->count = t->b ? backend_open_ops(&backend_count, 1, e) : NULL;
  if (!t->count) return false;
  if (t->s->engine.offload == OFFLOAD_YES && t->b->op->host_memory)
    tell(t->sink, LOG_WARN, "offload = yes: nothing is gained where the CPU computes, whose memory is the machine's");
  if (t->b->passed_over[0]) tell(t->sink, LOG_INFO, "%s: the CPU computes", t->b->passed_over);
  tell(t->sink, LOG_INFO, "engine: %s", backend_describe(t->b));
  t->b->one_by_one = t->s->engine.graphs == GRAPHS_NO;
  precision_apply(t->b, t->s->train.precision, t->sink);
  choices_recall(t);
  return trainer_open_model(t, e) && open_data(t, e);
}

/* The region of the stages before may be larger than training wants. */
static bool begin_training(struct trainer *t, struct err *e) {
  trainer_note_work(t);
  workspace_release(&t->m->work, t->b);
  return open_batch(t, e) && open_optimizer(t, e);
}

static bool run_stages(struct trainer *t, struct err *e) {
  if (!open_all(t, e) || !find_state(t, e)) return false;
  if (t->finished) {
    t->state.step = t->s->train.steps;
    checkpoint_path(t->s->run_dir, t->state.step, true, t->out->checkpoint, sizeof t->out->checkpoint);
    if (access(t->out->checkpoint, R_OK) != 0) t->out->checkpoint[0] = '\0';
    tell(t->sink, LOG_INFO, "this run is finished already");
    return true;
  }
  t->out->start_step = t->state.step;
  if (!plan_recall(t, e) || !masks_recall(t, e) || !plan_run(t, true, e)) return false;
  forecast_plan(&t->forecast, &t->plan, t->todo.rounds);
  t->sink->plan(t->sink->user, &t->plan);
  bool ready = tell_goes_on(t->sink, e) && room_dirs(&t->room, t->state_dir, e) && keep_plan(t, e) && choices_keep(t, e) &&
               model_read(t->m, t->b, t->s->train.seed, e) && untrained_stages(t, e) && begin_training(t, e);
  if (!ready) return false;
  open_dump(t);
  return (train_loop(t, e) && finish(t, e)) || stopped(t, e);
}

/* What the plan was worth. */
static void tell_peak(const struct trainer *t) {
  const struct run_result *r = t->out;
  char times[800];
  forecast_text(&t->forecast, times, sizeof times);
  if (*times) tell(t->sink, LOG_INFO, "time: %s", times);
  const double mib = 1.0 / (1 << 20);
  if (r->card)
    tell(t->sink, LOG_INFO, "memory of the card: the peak was %.1f MiB, %.1f were planned; of the machine: the peak was %.1f MiB, %.1f were planned",
         (double)r->memory_peak * mib, (double)r->memory_planned * mib, (double)r->host_peak * mib, (double)r->host_planned * mib);
  else if (r->memory_planned > 0)
    tell(t->sink, LOG_INFO, "memory: the peak was %.1f MiB, %.1f were planned; of the passes' %.1f MiB, %.1f were used",
         (double)r->memory_peak * mib, (double)r->memory_planned * mib, (double)r->work_planned * mib, (double)r->work_touched * mib);
}

/* A card's own figure cannot be had from one that is lost. */
static void note_memory(const struct trainer *t) {
  struct run_result *r = t->out;
  struct backend_memory m = {0};
  struct err ignored = {0};
  r->memory_planned = t->plan.memory;
  r->memory_peak = (int64_t)process_memory_peak();
  if (!t->plan.card) return;
  (void)t->b->op->memory(t->b, &m, &ignored);
  r->card = true;
  r->host_planned = t->plan.host_memory;
  r->host_peak = r->memory_peak;
  r->memory_peak = (int64_t)m.peak;
}

void trainer_release(struct trainer *t) {
  dump_release(&t->dump);
  free(t->probe_latents);
  free(t->probe_mask);
  free(t->probe_noise);
  journal_release(&t->journal);
  run_state_release(&t->state);
  optimizer_release(&t->opt);
  batch_release(&t->batch);
  free(t->terms);
  pdm_close(t->pdm);
  prior_delete(t->prior);
  draw_release(&t->draw);
  dataset_close(&t->data);
  model_close(t->m);
  backend_close(t->count);
  backend_close(t->b);
}

void trainer_begin(struct trainer *t, const struct settings *s, const struct embedded_file *embedded, const struct sink *sink,
                   struct run_result *out) {
  *t = (struct trainer){.own = *s,
                        .embedded = embedded,
                        .out = out,
                        .pdm_handle = -1,
                        .probe_step = -1,
                        .saved_step = -1,
                        .room = {.stop = s->engine.on_full == FULL_STOP},
                        .started = now_seconds()};
  t->s = &t->own;
  forecast_begin(&t->forecast, sink);
  t->sink = t->room.sink = &t->forecast.sink;
  snprintf(t->state_dir, sizeof t->state_dir, "%s/state", s->run_dir);
  if (s->engine.cache_dir && *s->engine.cache_dir)
    snprintf(t->cache_dir, sizeof t->cache_dir, "%s", s->engine.cache_dir);
  else
    snprintf(t->cache_dir, sizeof t->cache_dir, "%s/cache", s->run_dir);
}

/* After a divergence: the run may go back to the last state and on with half the rate. The journal has it, so that it is repeated. */
static bool goes_on_slower(struct trainer *t, struct err *e) {
  int back = t->saved_step < 0 ? 0 : t->saved_step;
  double lr = t->lr.base / 2;
  struct err ignored = {0};
  if (e->code != ERR_NUMERIC || !t->training || t->s->train.on_divergence != DIVERGENCE_HALVE) return false;
  if (journal_halvings(&t->journal) >= MOST_HALVINGS) {
    tell(t->sink, LOG_WARN, "the learning rate was halved %d times already", MOST_HALVINGS);
    return false;
  }
  if (!journal_halve(&t->journal, back, lr, &ignored)) return false;
  tell(t->sink, LOG_WARN, "%s; going on after step %d with the learning rate %.9g", e->text, back, lr);
  *e = (struct err){0};
  return true;
}

static bool run(struct trainer *t, const struct settings *s, struct err *e) {
  bool ok;
  while (!(ok = run_stages(t, e)) && goes_on_slower(t, e)) {
    const struct embedded_file *embedded = t->embedded;
    const struct sink *sink = t->forecast.outer;
    struct run_result *out = t->out;
    double started = t->started;
    trainer_release(t);
    trainer_begin(t, s, embedded, sink, out);
    t->started = started;
    t->own.resume = true;
  }
  return ok;
}

bool engine_run(const struct settings *s, const struct embedded_file *embedded, const struct sink *sink, struct run_result *out,
                struct err *e) {
  struct err mine = {0};
  struct run_result ignored;
  struct trainer *t = calloc(1, sizeof *t);
  if (!e) e = &mine;
  if (!out) out = &ignored;
  *out = (struct run_result){.last_loss = NAN, .best_step = -1};
  if (!t) return err_set(e, ERR_FIT, "out of memory");
  trainer_begin(t, s, embedded, sink, out);
  bool ok = run(t, s, e);
  out->steps_done = t->state.step;
  out->last_loss = t->state.step > 0 ? t->state.last_loss : NAN;
  out->seconds = now_seconds() - t->started;
  note_memory(t);
  if (t->m) trainer_note_work(t);
  if (t->plan.memory > 0) tell_peak(t);
  trainer_release(t);
  free(t);
  return ok;
}

bool engine_plan(const struct settings *s, const struct embedded_file *embedded, const struct sink *sink, const struct plan_options *o,
                 struct run_plan *out, struct err *e) {
  struct err mine = {0};
  struct run_result ignored = {.last_loss = NAN};
  struct trainer *t = calloc(1, sizeof *t);
  if (!e) e = &mine;
  *out = (struct run_plan){.places = 0};
  if (!t) return err_set(e, ERR_FIT, "out of memory");
  trainer_begin(t, s, embedded, sink, &ignored);
  t->state = (struct run_state){.sampled = -1};
  bool ok = open_all(t, e);
  if (ok && s->resume && state_peek(s->run_dir, &t->state.step)) t->state.sampled = t->state.step;
  ok = ok && plan_recall(t, e) && masks_recall(t, e) && plan_run(t, o->measure, e);
  ok = ok && (!o->operation || plan_operations(t, o, e)) && (!o->begins || choices_note(t, e));
  *out = t->plan;
  trainer_release(t);
  free(t);
  return ok;
}

bool engine_room_again(const struct settings *s, const struct sink *sink, const char *path, struct err *e) {
  struct room r = {.sink = sink, .stop = s->engine.on_full == FULL_STOP};
  return room_again(&r, path, e);
}
