/* What a run gives while it trains: samples, checkpoints, the state, the probe. Where weights are averaged, those are the ones shown. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "train/picture.h"
#include "train/trainer.h"

/* --- samples ----------------------------------------------------------------------------------------------------------------------- */

struct sampling {
  struct trainer *t;
  struct picture_job job;
  const char *const *prompt; /* [total / samples.count] */
  int first_prompt;          /* number of prompt[0] */
  int step, total;
};

/* The program writes the picture: once more where the disk was full. */
static bool give(struct trainer *t, const struct sample_event *v, struct err *e) {
  const struct sink *sink = t->sink;
  bool ok;
  if (!sink || !sink->sample) return true;
  do ok = sink->sample(sink->user, v, e);
  while (!ok && room_again(&t->room, t->s->run_dir, e));
  return ok || err_set(e, ERR_FAILED, "a sample could not be written");
}

/* Pictures first .. first + n - 1 of all prompts times count. */
static bool sample_some(struct sampling *k, int first, int n, struct err *e) {
  const struct settings *s = k->t->s;
  const char *prompt[256] = {0};
  uint64_t seed[256] = {0};
  struct image out[256] = {0};
  for (int i = 0; i < n; i++) {
    prompt[i] = k->prompt[(first + i) / s->samples.count];
    seed[i] = s->samples.seed + (uint64_t)((first + i) % s->samples.count);
  }
  bool ok = pictures_make(k->t->m, k->t->act, &k->job, prompt, seed, n, NULL, out, NULL, tell_stop_code, (void *)k->t->sink, e);
  for (int i = 0; ok && i < n; i++) {
    struct sample_event v = {.step = k->step,
                             .prompt = prompt[i],
                             .negative = k->job.negative,
                             .prompt_index = k->first_prompt + (first + i) / s->samples.count,
                             .picture_index = (first + i) % s->samples.count,
                             .seed = seed[i],
                             .sampler = sampler_names[k->job.sampler],
                             .steps = k->job.steps,
                             .guidance = k->job.guidance,
                             .picture = out + i};
    ok = give(k->t, &v, e);
  }
  for (int i = 0; i < n; i++) image_release(out + i);
  return ok;
}

/* What the pictures depend on beside the weights and their numbers. */
static void round_hash(const struct sampling *k, char out[65]) {
  const struct settings *s = k->t->s;
  struct sha256 h;
  char text[200];
  sha256_begin(&h);
  int n = snprintf(text, sizeof text, "%d %d %a %d %d %d %llu", (int)k->job.sampler, k->job.steps, k->job.guidance, k->job.width,
                   k->job.height, s->samples.count, (unsigned long long)s->samples.seed);
  sha256_add(&h, text, (size_t)n + 1);
  sha256_add(&h, k->job.negative, strlen(k->job.negative) + 1);
  for (int i = 0; i < s->prompts.tests; i++) sha256_add(&h, s->prompts.test[i], strlen(s->prompts.test[i]) + 1);
  sha256_end(&h, out);
}

/* So many pictures are given: noted at once where the state of this step is on the disk, so that they are not drawn again. */
static bool note_pictures(struct trainer *t, int pictures, struct err *e) {
  t->state.pictures = pictures;
  return t->saved_step != t->state.step || output_state(t, e);
}

static bool sample_rest(struct sampling *k, int batch, struct err *e) {
  struct trainer *t = k->t;
  bool ok = true;
  swap_averaged(&t->opt);
  for (int i = t->state.pictures; ok && i < k->total; i += batch) {
    int n = k->total - i < batch ? k->total - i : batch;
    tell_progress(t->sink, "samples", i, k->total);
    ok = sample_some(k, i, n, e) && (i + n == k->total || note_pictures(t, i + n, e));
  }
  swap_averaged(&t->opt);
  return ok;
}

static bool end_round(struct sampling *k, struct err *e) {
  struct trainer *t = k->t;
  bool ok = true;
  if (k->total > 0) tell_progress(t->sink, "samples", k->total, k->total);
  if (k->total > 0 && t->sink && t->sink->samples) {
    do ok = t->sink->samples(t->sink->user, k->step, e);
    while (!ok && room_again(&t->room, t->s->run_dir, e));
  }
  if (ok) t->state.sampled = k->step;
  return ok && note_pictures(t, 0, e);
}

static struct sampling sampling_of(struct trainer *t, int step, const char *const *prompt, int first_prompt, int prompts) {
  const struct settings *s = t->s;
  return (struct sampling){.t = t,
                           .prompt = prompt,
                           .first_prompt = first_prompt,
                           .step = step,
                           .total = prompts * s->samples.count,
                           .job = {.sampler = (enum sampler_kind)s->samples.sampler,
                                   .steps = s->samples.steps,
                                   .guidance = s->samples.guidance,
                                   .negative = s->prompts.negative ? s->prompts.negative : "",
                                   .width = s->train.width,
                                   .height = s->train.height}};
}

static int batch_of(const struct settings *s) {
  return s->samples.batch < 1 ? 1 : s->samples.batch > 256 ? 256 : s->samples.batch;
}

static bool room_for_pictures(struct sampling *k, struct err *e) {
  int64_t picture = (int64_t)k->job.width * k->job.height * 3;
  return k->total == 0 || room_for(&k->t->room, k->t->s->run_dir, k->total * picture, e);
}

bool output_samples(struct trainer *t, int step, struct err *e) {
  const struct settings *s = t->s;
  char round[65];
  struct sampling k = sampling_of(t, step, s->prompts.test, 0, s->prompts.tests);
  round_hash(&k, round);
  if (strcmp(round, t->state.round) != 0) t->state.pictures = 0;
  memcpy(t->state.round, round, sizeof round);
  return room_for_pictures(&k, e) && sample_rest(&k, batch_of(s), e) && end_round(&k, e);
}

/* Those are not counted in the state: a run that goes on at this very step draws them again, the same ones. */
static bool sample_asked(struct trainer *t, const char *prompt, int number, struct err *e) {
  struct sampling k = sampling_of(t, t->state.step, &prompt, number, 1);
  int batch = batch_of(t->s);
  bool ok = room_for_pictures(&k, e);
  swap_averaged(&t->opt);
  for (int i = 0; ok && i < k.total; i += batch) {
    tell_progress(t->sink, "samples", i, k.total);
    ok = sample_some(&k, i, k.total - i < batch ? k.total - i : batch, e);
  }
  swap_averaged(&t->opt);
  if (ok) tell_progress(t->sink, "samples", k.total, k.total);
  return ok;
}

bool output_asked(struct trainer *t, struct err *e) {
  const struct settings *s = t->s;
  const char *prompt;
  for (int i = 0, number; (prompt = journal_prompt(&t->journal, t->state.step, i, &number)); i++) {
    if (s->prompts.tests == 0)
      tell(t->sink, LOG_WARN, "the run has planned no memory for samples, as its profile has no test prompt: \"%.200s\" is not drawn",
           prompt);
    else if (s->prompts.tests + number >= MAX_TEST_PROMPTS)
      tell(t->sink, LOG_WARN, "%d prompts are all that a run can have: \"%.200s\" is not drawn", MAX_TEST_PROMPTS, prompt);
    else if (!sample_asked(t, prompt, s->prompts.tests + number, e))
      return false;
  }
  return true;
}

/* --- the state --------------------------------------------------------------------------------------------------------------------- */

bool output_state(struct trainer *t, struct err *e) {
  const char *run_dir = t->s->run_dir;
  bool again = t->saved_step == t->state.step, ok;
  double begin = now_seconds();
  int64_t bytes = state_bytes(&t->opt);
  if (t->sink && t->sink->sync && !t->sink->sync(t->sink->user, e)) return false;
  if (!room_for(&t->room, run_dir, again ? 0 : bytes, e)) return false;
  do ok = state_save(run_dir, &t->state, &t->opt, t->name, e);
  while (!ok && room_again(&t->room, run_dir, e));
  if (!ok || again) return ok;
  t->saved_step = t->state.step;
  t->sound = false;
  t->saved_at = now_seconds();
  t->save_cost = t->saved_at - begin;
  tell(t->sink, LOG_DEBUG, "the state of step %d is saved: %.1f MiB in %.2f s", t->state.step, (double)bytes / (1 << 20), t->save_cost);
  return true;
}

/* --- checkpoints ---------------------------------------------------------------------------------------------------------------------- */

/* The probe of the weights as they stand: measured with this step's row, or now. */
static bool probe_here(struct trainer *t, double *probe, struct err *e) {
  *probe = NAN;
  if (t->s->checkpoints.keep_best <= 0) return true;
  if (t->probe_step != t->state.step && !output_probe(t, &t->probe, e)) return false;
  t->probe_step = t->state.step;
  *probe = t->probe;
  return true;
}

static bool write_checkpoint(struct trainer *t, const char *path, struct err *e) {
  const struct settings *s = t->s;
  struct checkpoint_want w = {.lora = s->train.mode == MODE_LORA,
                              .averaged = s->train.ema_decay > 0,
                              .dtype = (enum dtype)s->checkpoints.dtype,
                              .step = t->state.step};
  bool ok;
  tell_progress(t->sink, "saving", 0, 1);
  if (!room_for(&t->room, s->run_dir, checkpoint_bytes(t->m, &t->opt, &w), e)) return false;
  do ok = checkpoint_write(t->m, &t->opt, t->name, path, &w, e);
  while (!ok && room_again(&t->room, s->run_dir, e));
  return ok;
}

static bool note_checkpoint(struct trainer *t, double probe, struct err *e) {
  const struct settings *s = t->s;
  if (!run_state_made(&t->state, t->state.step, probe, e)) return false;
  checkpoint_prune(s->run_dir, &t->state, s->checkpoints.keep, s->checkpoints.keep_best);
  t->out->best_step = checkpoint_best(&t->state);
  return true;
}

bool output_checkpoint(struct trainer *t, bool final, struct err *e) {
  char path[TRAINER_PATH];
  double probe;
  checkpoint_path(t->s->run_dir, t->state.step, final, path, sizeof path);
  if (!final && !probe_here(t, &probe, e)) return false;
  if (!write_checkpoint(t, path, e) || (!final && !note_checkpoint(t, probe, e))) return false;
  snprintf(t->out->checkpoint, sizeof t->out->checkpoint, "%s", path);
  tell_progress(t->sink, "saving", 1, 1);
  if (t->sink && t->sink->checkpoint) t->sink->checkpoint(t->sink->user, t->state.step, path, final);
  return true;
}

/* --- the probe: noise loss over fixed (timestep, noise) pairs of what was held out of training -------------------------------------------- */

/* The pairs are the same in every run, whatever its seed: t from 64 equal bands, noise from the pair's number. */
static const uint64_t PROBE_SEED = 0x70726f6265; /* "probe" */

static int probe_timestep(const struct trainer *t, int i) {
  struct rng_counter c = {.seed = PROBE_SEED, .stream = RNG_TIMESTEP, .index = (uint32_t)i};
  return (int)(((double)i + (double)rng_uniform(&c, 0)) * t->m->schedule.steps / PROBE_PAIRS);
}

/* The subject's place in the centre crop where the instance loss is masked too: all of it where the photograph has no mask. */
static bool probe_mask(const struct trainer *t, const struct photograph *p, float *out, struct err *e) {
  int x, y, w = t->batch.size.w, h = t->batch.size.h;
  photograph_center(&t->data, p, &x, &y);
  int selected = t->s->losses.mask_dm ? photograph_mask(&t->data, p, x, y, false, w, h, out) : 0;
  if (selected < 0) return err_set(e, ERR_FAILED, "out of memory for the probe");
  for (int i = 0; selected == 0 && i < w * h; i++) out[i] = 1;
  return true;
}

bool probe_init(struct trainer *t, struct err *e) {
  size_t n = (size_t)t->batch.size.count;
  if (t->data.held_out == 0) return true;
  t->probe_latents = calloc(n * (size_t)t->data.held_out, sizeof *t->probe_latents);
  t->probe_noise = calloc(n * (size_t)t->batch.slots, sizeof *t->probe_noise);
  t->probe_mask = calloc((size_t)(t->batch.size.w * t->batch.size.h * t->data.held_out), sizeof *t->probe_mask);
  if (!t->probe_latents || !t->probe_noise || !t->probe_mask) return err_set(e, ERR_FAILED, "out of memory for the probe");
  struct ctx c;
  if (!trainer_ctx(t, &c, e)) return false;
  bool ok = true;
  for (int i = 0; ok && i < t->data.held_out; i++) {
    struct photograph *p = t->data.photograph + t->data.photographs + i;
    const float *moments = center_moments(&c, t->m, &t->data, p, false, t->batch.data[0].pixels);
    ok = moments && moments_to_latents(&c, t->m, moments, NULL, &t->batch.size, t->probe_latents + (size_t)i * n) &&
         probe_mask(t, p, t->probe_mask + (int64_t)i * t->batch.size.w * t->batch.size.h, e);
  }
  trainer_ctx_end(&c);
  return ok;
}

static bool probe_some(struct trainer *t, struct slot *slot, int first, int n, double *sum, struct err *e) {
  int64_t count = t->batch.size.count;
  struct step_options o = {.pdm_handle = -1, .grad_scale = 1};
  struct step_loss l;
  struct ctx c;
  for (int i = 0; i < n; i++) {
    struct rng_counter k = {.seed = PROBE_SEED, .stream = RNG_PROBE, .index = (uint32_t)(first + i)};
    rng_normal(&k, t->probe_noise + i * count, 0, count);
    slot[i] = (struct slot){.kind = SLOT_INSTANCE,
                            .example = i,
                            .t = probe_timestep(t, first + i),
                            .ids = t->batch.instance_ids,
                            .latents = t->probe_latents + (first + i) % t->data.held_out * count,
                            .noise = t->probe_noise + i * count,
                            .mask = t->probe_mask + (int64_t)((first + i) % t->data.held_out) * t->batch.size.w * t->batch.size.h};
  }
  if (!trainer_ctx(t, &c, e)) return false;
  bool ok = eval_step(&c, t->m, slot, n, n, t->batch.size.h, t->batch.size.w, &o, &l, e);
  trainer_ctx_end(&c);
  *sum += l.instance * n;
  return ok;
}

bool output_probe(struct trainer *t, double *loss, struct err *e) {
  *loss = NAN;
  if (t->data.held_out == 0) return true;
  struct slot slot[PROBE_PAIRS];
  int most = t->batch.slots < PROBE_PAIRS ? t->batch.slots : PROBE_PAIRS;
  double sum = 0;
  bool ok = true;
  swap_averaged(&t->opt);
  for (int i = 0; ok && i < PROBE_PAIRS; i += most)
    ok = (i / most % 3 != 0 || tell_goes_on(t->sink, e)) && /* three passes forward take about as long as a step */
         probe_some(t, slot, i, PROBE_PAIRS - i < most ? PROBE_PAIRS - i : most, &sum, e);
  swap_averaged(&t->opt);
  *loss = sum / PROBE_PAIRS;
  return ok;
}
