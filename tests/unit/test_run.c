/* Whole short runs on a tiny model: every stage, stopping anywhere and going on bit for bit, repeating, errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <glob.h>
#include <math.h>

#include "training.h"
#include "train/health.h"

struct seen {
  struct metrics row[64];
  int rows;
  char sample[64][65];                         /* "step prompt picture hash" is put into one hash */
  int samples, checkpoints, polls, stop_after; /* stop_after < 0: never */
  enum engine_command how;
  bool killed; /* stopping saves nothing: as kill -9 */
  char last_log[1024];
  const struct engine_message *message; /* [messages] offered after at[i] steps, again and again: their ids tell that they were taken */
  const int *at;
  int messages, offered, offered_at;
};

static void on_log(void *user, enum log_level level, const char *text) {
  struct seen *s = user;
  (void)level;
  snprintf(s->last_log, sizeof s->last_log, "%s", text);
  if (getenv("PDMBOOTH_TEST_LOG")) fprintf(stderr, "# %s\n", text);
}

static void on_metrics(void *user, const struct metrics *m) {
  struct seen *s = user;
  while (s->rows > 0 && s->row[s->rows - 1].step >= m->step) s->rows--; /* as the run directory does after a resume */
  assert_true(s->rows < 64);
  s->row[s->rows++] = *m;
}

static bool on_sample(void *user, const struct sample_event *v, struct err *e) {
  struct seen *s = user;
  (void)e;
  int i = 0;
  char key[64], hash[65];
  snprintf(key, sizeof key, "%d-%d-%d", v->step, v->prompt_index, v->picture_index);
  sha256_hex(v->picture->px, (size_t)v->picture->w * (size_t)v->picture->h * 3, hash);
  snprintf(hash + 20, sizeof hash - 20, " %s", key);
  while (i < s->samples && strcmp(s->sample[i] + 20, hash + 20) != 0) i++;
  if (i == s->samples) s->samples++;
  memcpy(s->sample[i], hash, sizeof hash);
  return true;
}

static void on_checkpoint(void *user, int step, const char *path, bool final) {
  (void)step, (void) final;
  assert_int_equal(access(path, R_OK), 0);
  ((struct seen *)user)->checkpoints++;
}

static enum engine_command on_poll(void *user) {
  struct seen *s = user;
  return s->stop_after >= 0 && s->polls++ >= s->stop_after ? s->how : ENGINE_GO_ON;
}

static bool on_sync(void *user, struct err *e) {
  struct seen *s = user;
  bool dead = s->killed && s->stop_after >= 0 && s->polls > s->stop_after;
  return !dead || err_set(e, ERR_FAILED, "killed");
}

static bool on_message(void *user, int step, struct engine_message *out) {
  struct seen *s = user;
  if (s->offered_at != step) s->offered = 0;
  s->offered_at = step;
  for (int i = s->offered; i < s->messages; i++) {
    if (s->at[i] != step) continue;
    *out = s->message[i];
    s->offered = i + 1;
    return true;
  }
  return false;
}

static struct sink sink_of(struct seen *s) {
  return (struct sink){.user = s,
                       .log = on_log,
                       .metrics = on_metrics,
                       .sample = on_sample,
                       .checkpoint = on_checkpoint,
                       .sync = on_sync,
                       .poll = on_poll,
                       .message = on_message};
}

static void file_hash(const char *path, char out[65]) {
  struct blob b;
  struct err e = {0};
  if (!blob_map(path, &b, &e)) fail_msg("%s", e.text);
  sha256_hex(b.data, b.size, out);
  blob_close(&b);
}

static void run_whole(const struct settings *s, struct seen *seen, struct run_result *r) {
  struct err e = {0};
  struct sink sink = sink_of(seen);
  seen->stop_after = -1;
  if (!engine_run(s, NULL, &sink, r, &e)) fail_msg("%s", e.text);
}

/* Stops after every `polls` polls until the run is done; returns how often it was stopped. */
static int run_in_pieces(struct settings *s, struct seen *seen, int polls) {
  struct sink sink = sink_of(seen);
  for (int times = 0;; times++) {
    struct err e = {0};
    struct run_result r;
    seen->polls = 0;
    seen->stop_after = polls;
    seen->how = times % 2 ? ENGINE_STOP_SIGTERM : ENGINE_STOP_SIGINT;
    s->resume = true;
    seen->offered_at = -1;
    if (engine_run(s, NULL, &sink, &r, &e)) return times;
    assert_int_equal(e.code, times % 2 ? ERR_SIGTERM : ERR_SIGINT);
    assert_true(times < 200);
  }
}

static void same_rows(const struct seen *a, const struct seen *b) {
  assert_int_equal(a->rows, b->rows);
  for (int i = 0; i < a->rows; i++) {
    struct metrics x = a->row[i], y = b->row[i];
    x.seconds = y.seconds = 0;
    if (memcmp(&x, &y, sizeof x) != 0)
      fail_msg("step %d: total %.9g against %.9g, norm %.9g against %.9g", x.step, x.total, y.total, x.grad_norm, y.grad_norm);
  }
}

static void check_rows(const struct settings *s, const struct seen *seen) {
  assert_int_equal(seen->rows, s->train.steps);
  for (int i = 0; i < seen->rows; i++) {
    assert_int_equal(seen->row[i].step, i + 1);
    assert_true(isfinite(seen->row[i].total) && seen->row[i].grad_norm > 0);
    assert_int_equal(isnan(seen->row[i].prior), !s->losses.prior);
  }
}

static void final_file(const struct settings *s, char *out, size_t n) {
  const char *name = s->train.mode == MODE_LORA ? "pytorch_lora_weights.safetensors" : "unet/diffusion_pytorch_model.safetensors";
  snprintf(out, n, "%s/checkpoints/final/%s", s->run_dir, name);
}

static char last_hash[65]; /* of the final model of the last comparison */

/* One run straight through, one stopped again and again: the same losses, samples and final model. */
static void compare_stopped(struct settings s, const struct place *p, int polls) {
  static struct seen a, b;
  struct run_result r;
  char run[400], path[600], hash[2][65];
  memset(&a, 0, sizeof a);
  memset(&b, 0, sizeof b);
  run_whole(&s, &a, &r);
  check_rows(&s, &a);
  assert_int_equal(r.steps_done, s.train.steps);
  assert_int_equal(a.samples, (1 + s.train.steps / s.samples.every + (s.train.steps % s.samples.every != 0)) * s.samples.count);
  snprintf(path, sizeof path, "%s/checkpoints/step-000002", s.run_dir);
  assert_int_equal(access(path, F_OK), -1); /* keep = 1 */
  snprintf(path, sizeof path, "%s/checkpoints/step-000004", s.run_dir);
  assert_int_equal(access(path, F_OK), 0);
  final_file(&s, path, sizeof path);
  file_hash(path, hash[0]);
  snprintf(run, sizeof run, "%s/again", p->root);
  s.run_dir = run;
  assert_true(run_in_pieces(&s, &b, polls) > 2);
  same_rows(&a, &b);
  assert_int_equal(a.samples, b.samples);
  for (int i = 0; i < a.samples; i++) assert_string_equal(a.sample[i], b.sample[i]);
  final_file(&s, path, sizeof path);
  file_hash(path, hash[1]);
  assert_string_equal(hash[0], hash[1]);
  memcpy(last_hash, hash[0], sizeof last_hash);
}

static void test_lora_resumes(void **state) {
  (void)state;
  struct place p;
  place_make(&p, "data/sd1", 3, 80, 72);
  struct settings s = short_run(p.model, p.images, p.run);
  s.subject.hold_out = "photo-2.png";
  s.probe_every = 2;
  compare_stopped(s, &p, 13);
  folder_remove_all(p.root);
}

static char final_hash[2][65];

/* away: with weights, gradients and moments in the host's memory, as on a card; what comes out is the same. */
static void full_resumes(bool away) {
  struct place p;
  place_make(&p, "data/sd2", 2, 64, 64);
  struct settings s = short_run(p.model, p.images, p.run);
  s.train.mode = MODE_FULL;
  s.engine.offload = away ? OFFLOAD_YES : OFFLOAD_NO;
  s.train.text_encoder = true;
  s.train.ema_decay = 0.9;
  s.train.moments = MOMENTS_BF16;
  s.train.accumulation = 2;
  s.train.min_snr = 5;
  s.train.noise_offset = 0.1;
  s.losses.prior = false;
  s.train.width = 64, s.train.height = 48;
  compare_stopped(s, &p, 6);
  memcpy(final_hash[away], last_hash, sizeof last_hash);
  folder_remove_all(p.root);
}

static void test_full_resumes(void **state) {
  (void)state;
  full_resumes(false);
  full_resumes(true);
  assert_string_equal(final_hash[0], final_hash[1]);
}

static void same_finals(const struct settings *a, const struct settings *b) {
  char path[600], hash[2][65];
  final_file(a, path, sizeof path);
  file_hash(path, hash[0]);
  final_file(b, path, sizeof path);
  file_hash(path, hash[1]);
  assert_string_equal(hash[0], hash[1]);
}

static void same_samples(const struct seen *a, const struct seen *b) {
  assert_int_equal(a->samples, b->samples);
  for (int i = 0; i < a->samples; i++) {
    int k = 0;
    while (k < b->samples && strcmp(a->sample[i], b->sample[k]) != 0) k++;
    if (k == b->samples) fail_msg("sample %s differs", a->sample[i] + 20);
  }
}

/* Killed again and again, states every other step: the same; averaged weights, moments in 8 bits, gradients in bf16, the best checkpoint and a probe in them. */
static void test_killed(void **state) {
  (void)state;
  static struct seen a, b;
  struct place p;
  struct run_result r, r2;
  char run[400], path[600];
  memset(&a, 0, sizeof a);
  memset(&b, 0, sizeof b);
  place_make(&p, "data/sd1", 3, 64, 64);
  struct settings s = short_run(p.model, p.images, p.run), again;
  s.subject.hold_out = "photo-2.png";
  s.train.ema_decay = 0.9;
  s.train.moments = MOMENTS_8BIT;
  s.train.gradients = GRADIENTS_BF16;
  s.train.steps = 6;
  s.checkpoints.every = 1;
  s.checkpoints.keep_best = 1;
  s.checkpoints.state_every = 2;
  run_whole(&s, &a, &r);
  again = s;
  snprintf(run, sizeof run, "%s/again", p.root);
  again.run_dir = run;
  b.killed = true;
  assert_true(run_in_pieces(&again, &b, 40) > 1);
  same_rows(&a, &b);
  same_samples(&a, &b);
  same_finals(&s, &again);
  double lowest = 1e9;
  int best = 0, kept = 0;
  for (int i = 0; i < 5; i++)
    if (a.row[i].probe < lowest) lowest = a.row[i].probe, best = i + 1;
  assert_int_equal(r.best_step, best);
  for (int i = 1; i < 6; i++)
    for (int k = 0; k < 2; k++) {
      snprintf(path, sizeof path, "%s/checkpoints/step-%06d", k ? run : p.run, i);
      bool there = access(path, F_OK) == 0;
      assert_int_equal(there, i == 5 || i == best);
      kept += there;
    }
  assert_int_equal(kept, best == 5 ? 2 : 4);
  run_whole(&again, &b, &r2); /* finished already */
  assert_int_equal(r2.start_step, 0);
  again.train.steps = 7;
  struct err e = {0};
  assert_false(engine_run(&again, NULL, NULL, NULL, &e));
  assert_int_equal(e.code, ERR_USAGE);
  assert_non_null(strstr(e.text, "finished"));
  folder_remove_all(p.root);
}

static const struct engine_message wanted[] = {{ENGINE_SET_LR, 5e-4, 1, ""}, {ENGINE_SET_LR, 2, 2, ""},
                                               {ENGINE_SAMPLE, 0, 3, ""},    {ENGINE_CHECKPOINT, 0, 4, ""},
                                               {ENGINE_HALVE_LR, 0, 5, ""},  {ENGINE_SET_SAMPLES_EVERY, 0, 6, ""},
                                               {ENGINE_SET_LR, 2e-4, 7, ""}};
static const int wanted_at[] = {1, 2, 3, 3, 3, 4, 4};

/* Changes of a run under way count from their step on, are in the journal, and a run that is killed repeats them. */
static void test_changes(void **state) {
  (void)state;
  static struct seen a, b, plain;
  struct place p;
  struct run_result r;
  char run[400], path[600];
  struct err e = {0};
  struct blob csv;
  memset(&a, 0, sizeof a);
  memset(&b, 0, sizeof b);
  memset(&plain, 0, sizeof plain);
  place_make(&p, "data/sd1", 2, 64, 64);
  struct settings s = short_run(p.model, p.images, p.run), again;
  s.train.schedule = LR_CONSTANT;
  s.losses.prior = false;
  s.checkpoints.every = 0, s.checkpoints.keep = 0;
  s.checkpoints.state_every = 2;
  run_whole(&s, &plain, &r);
  snprintf(run, sizeof run, "%s/changed", p.root);
  again = s;
  again.run_dir = run;
  a.message = b.message = wanted, a.at = b.at = wanted_at, a.messages = b.messages = sizeof wanted / sizeof *wanted;
  run_whole(&again, &a, &r);
  for (int i = 0; i < 5; i++) {
    double lr = i < 1 ? s.train.lr : i < 4 ? 5e-4 : 2e-4;
    assert_true(fabs(a.row[i].lr - lr) < 1e-12);
    assert_int_equal(a.row[i].total == plain.row[i].total, i < 2);
  }
  assert_int_equal(a.samples, 8); /* 0, 2, 3 and the end; not 4 */
  snprintf(path, sizeof path, "%s/checkpoints/step-000003", run);
  assert_int_equal(access(path, F_OK), 0);
  snprintf(path, sizeof path, "%s/journal.csv", run);
  if (!blob_map(path, &csv, &e)) fail_msg("%s", e.text);
  static const char rows[] =
      "step,what,value,id\n1,lr,0.00050000000000000001,1\n3,sample,0,3\n3,checkpoint,0,4\n4,samples.every,0,6\n4,lr,0.00020000000000000001,"
      "7\n";
  assert_int_equal(csv.size, strlen(rows));
  assert_memory_equal(csv.data, rows, csv.size);
  blob_close(&csv);
  snprintf(run, sizeof run, "%s/killed", p.root);
  struct settings killed = s;
  killed.run_dir = run;
  b.killed = true;
  assert_true(run_in_pieces(&killed, &b, 12) > 1);
  same_rows(&a, &b);
  same_samples(&a, &b);
  folder_remove_all(p.root);
}

static double row_at(const struct seen *s, int step) {
  return s->row[step - 1].lr;
}

/* A rate that breaks the network: stopped with its own code; or gone on with at half of it until it holds, and the same again when killed. */
/* A rate that breaks the run in directory broken, while some half of it brings the one in directory halved to its end. Which one does so depends on
   the last digits: where the run breaks late, what it goes back to may be beyond help. */
static bool find_rate(struct settings *s, struct seen *seen, const char *broken, const char *halved) {
  static const double rates[] = {50, 70, 100, 200, 400};
  struct sink sink = sink_of(seen);
  struct run_result r;
  for (int i = 0; i < 5; i++) {
    struct err e = {0};
    folder_remove_all(broken);
    folder_remove_all(halved);
    s->train.lr = rates[i];
    s->train.on_divergence = DIVERGENCE_STOP;
    s->run_dir = broken;
    memset(seen, 0, sizeof *seen);
    seen->stop_after = -1;
    if (engine_run(s, NULL, &sink, &r, &e)) continue;
    assert_int_equal(e.code, ERR_NUMERIC);
    s->train.on_divergence = DIVERGENCE_HALVE;
    s->run_dir = halved;
    memset(seen, 0, sizeof *seen);
    seen->stop_after = -1;
    e = (struct err){0};
    if (engine_run(s, NULL, &sink, &r, &e)) return true;
    assert_int_equal(e.code, ERR_NUMERIC);
  }
  return false;
}

static void test_divergence(void **state) {
  (void)state;
  static struct seen a, b;
  struct place p;
  struct err e = {0};
  struct run_result r;
  char run[400];
  memset(&b, 0, sizeof b);
  place_make(&p, "data/sd1", 2, 64, 64);
  snprintf(run, sizeof run, "%s/halved", p.root);
  struct settings s = short_run(p.model, p.images, p.run), again;
  s.losses.prior = s.losses.pdm = false;
  s.train.schedule = LR_CONSTANT;
  s.train.max_grad_norm = 0;
  s.prompts.tests = 0;
  s.checkpoints.every = 0;
  s.checkpoints.state_every = 1;
  struct sink sink = sink_of(&a);
  assert_true(find_rate(&s, &a, p.run, run));
  s.run_dir = run;
  assert_int_equal(a.rows, 5);
  double times = log2(s.train.lr / row_at(&a, 5));
  assert_true(times >= 1 && times <= 8 && times == floor(times));
  again = s;
  again.run_dir = p.run;
  assert_int_equal(rename(run, p.run), -1); /* that of the first run is still there */
  folder_remove_all(p.run);
  b.killed = true;
  run_in_pieces(&again, &b, 3);
  same_rows(&a, &b);
  same_finals(&s, &again);
  again.train.lr = 1e18; /* half is no help */
  folder_remove_all(p.run);
  e = (struct err){0};
  again.resume = false;
  assert_false(engine_run(&again, NULL, &sink, &r, &e));
  assert_int_equal(e.code, ERR_NUMERIC);
  folder_remove_all(p.root);
}

/* fp16 with a loss that is far too large for the first scale: steps without an update, then updates; the learning rate waits. Killed and resumed it is the same run. */
static void test_overflow(void **state) {
  (void)state;
  static struct seen a, b;
  struct place p;
  struct run_result r;
  char run[400];
  int skipped = 0;
  memset(&a, 0, sizeof a);
  memset(&b, 0, sizeof b);
  place_make(&p, "data/sd1", 2, 64, 64);
  snprintf(run, sizeof run, "%s/again", p.root);
  struct settings s = short_run(p.model, p.images, p.run), again;
  s.train.precision = PRECISION_FP16;
  s.train.accumulation = 2;
  s.train.schedule = LR_LINEAR, s.train.warmup = 0;
  s.train.steps = 10;
  s.losses.prior = false;
  s.losses.pdm_weight = 100;
  s.prompts.tests = 0;
  s.checkpoints.every = 0;
  s.checkpoints.state_every = 1;
  again = s;
  again.run_dir = run;
  run_whole(&s, &a, &r);
  for (int i = 0; i < a.rows; i++) {
    double updates = i - skipped;
    assert_true(fabs(a.row[i].lr - 1e-3 * (10 - updates) / 10) < 1e-12);
    assert_true(isfinite(a.row[i].total));
    skipped += isnan(a.row[i].grad_norm);
  }
  print_message("%d of %d steps made no update\n", skipped, a.rows);
  assert_int_equal(a.rows, 10);
  assert_true(skipped > 0 && skipped < 9 && isnan(a.row[0].grad_norm) && isfinite(a.row[9].grad_norm));
  b.killed = true;
  assert_true(run_in_pieces(&again, &b, 3) > 2);
  same_rows(&a, &b);
  same_finals(&s, &again);
  folder_remove_all(p.root);
}

/* Where no scale helps the run ends, after the 17 steps that it takes to come down from 65536. */
static void test_hopeless_overflow(void **state) {
  (void)state;
  static struct seen a;
  struct place p;
  struct run_result r;
  struct err e = {0};
  memset(&a, 0, sizeof a);
  a.stop_after = -1;
  place_make(&p, "data/sd1", 1, 64, 64);
  struct settings s = short_run(p.model, p.images, p.run);
  struct sink sink = sink_of(&a);
  s.train.precision = PRECISION_FP16;
  s.train.steps = 30;
  s.losses.prior = false;
  s.losses.pdm_weight = 1e20;
  s.prompts.tests = 0;
  s.checkpoints.every = 0;
  assert_false(engine_run(&s, NULL, &sink, &r, &e));
  print_message("%s\n", e.text);
  assert_int_equal(e.code, ERR_NUMERIC);
  assert_int_equal(a.rows, 16);
  assert_non_null(strstr(e.text, "step 17: fp16 overflows"));
  assert_non_null(strstr(e.text, "fp32"));
  folder_remove_all(p.root);
}

/* The rule of health.h: losses as they are do not alarm, lasting ones that are too high do, a spike does not. */
static void test_health(void **state) {
  (void)state;
  struct health h = {0};
  struct metrics m = {.prior = NAN};
  int alarm = 0;
  for (int i = 0; i < 400; i++) { /* from 0.002 to 1.5, as timesteps come */
    m.instance = m.total = 0.002 + 1.5 * ((i * 7919) % 101) / 101.0 * ((i * 31) % 17) / 17.0;
    if (i == 200) m.instance = m.total = 50;
    assert_true(health_goes_on(&h, &m));
  }
  for (int i = 0; i < 60 && !alarm; i++) {
    m.instance = m.total = 8;
    if (!health_goes_on(&h, &m)) alarm = i + 1;
  }
  assert_true(alarm >= 20 && alarm <= 50);
  assert_true(health_in_doubt(&h));
  h = (struct health){0}, alarm = 0;
  m.instance = NAN;
  for (int i = 0; i < 200 && !alarm; i++) { /* the PDM term alone: another scale */
    m.total = i < 100 ? 30 : 30 * 12;
    if (!health_goes_on(&h, &m)) alarm = i + 1;
  }
  assert_true(alarm > 120);
}

/* A second run with another seed finds the inversion; one with the same seed gives the same numbers whether or not it did. */
/* As a run leaves it that is killed between its last PDM latents and the removal of what only an unfinished inversion needs. */
static void leave_inversion(const char *cache, char *path, size_t n) {
  glob_t found;
  char pattern[320];
  snprintf(pattern, sizeof pattern, "%s/pdm/*", cache);
  assert_int_equal(glob(pattern, 0, NULL, &found), 0);
  snprintf(path, n, "%s/inversion.safetensors", found.gl_pathv[0]);
  globfree(&found);
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  assert_int_equal(fclose(f), 0);
}

static void test_cache(void **state) {
  (void)state;
  static struct seen a, b;
  struct place p;
  struct run_result r;
  char cache[300], run[300], left[700];
  memset(&a, 0, sizeof a);
  memset(&b, 0, sizeof b);
  place_make(&p, "data/sd1", 2, 64, 64);
  snprintf(cache, sizeof cache, "%s/cache", p.root);
  struct settings s = short_run(p.model, p.images, p.run);
  s.engine.cache_dir = cache;
  s.losses.prior = false;
  s.samples.every = s.checkpoints.every = 0;
  s.train.steps = 2;
  run_whole(&s, &a, &r);
  leave_inversion(cache, left, sizeof left);
  snprintf(run, sizeof run, "%s/second", p.root);
  s.run_dir = run;
  run_whole(&s, &b, &r);
  assert_int_equal(access(left, F_OK), -1);
  same_rows(&a, &b);
  assert_int_equal(a.samples, 2);
  s.train.seed = 4;
  snprintf(run, sizeof run, "%s/third", p.root);
  b.rows = 0;
  run_whole(&s, &b, &r);
  assert_true(b.row[0].total != a.row[0].total);
  snprintf(run, sizeof run, "%s/pdm", cache);
  assert_int_equal(folder_count(run), 1); /* one inversion */
  folder_remove_all(p.root);
}

static void expect_failure(const struct settings *s, enum err_code code, const char *text) {
  struct err e = {0};
  struct seen seen = {.stop_after = -1};
  struct sink sink = sink_of(&seen);
  struct run_result r;
  assert_false(engine_run(s, NULL, &sink, &r, &e));
  if (e.code != code || !strstr(e.text, text)) fail_msg("code %d, %s; expected code %d and \"%s\"", (int)e.code, e.text, (int)code, text);
}

static void test_errors(void **state) {
  (void)state;
  struct place p;
  place_make(&p, "data/sd1", 1, 64, 64);
  struct settings good = short_run(p.model, p.images, p.run), s = good;
  s.train.width = 60;
  expect_failure(&s, ERR_USAGE, "multiples of 8");
  s = good;
  s.engine.memory = 1 << 20;
  expect_failure(&s, ERR_FIT, "needs");
  s = good;
  s.subject.hold_out = "photo-0.png";
  expect_failure(&s, ERR_INPUT, "held out");
  s = good;
  s.subject.mask_dir = p.root;
  expect_failure(&s, ERR_INPUT, "photo-0.png");
  s = good;
  s.subject.images = "/nonexistent";
  expect_failure(&s, ERR_INPUT, "no photographs");
  s = good;
  s.losses.instance = s.losses.prior = s.losses.pdm = false;
  expect_failure(&s, ERR_USAGE, "no loss is on");
  s = good;
  s.losses.pdm = s.losses.prior = false;
  s.train.lr = 1e30;
  s.train.steps = 8, s.samples.every = 0, s.train.max_grad_norm = 0;
  expect_failure(&s, ERR_NUMERIC, "step");
  folder_remove_all(p.root);
}

/* Recomputing activations changes nothing. */
static void test_recompute(void **state) {
  (void)state;
  static struct seen a, b;
  struct place p;
  struct run_result r;
  memset(&a, 0, sizeof a);
  memset(&b, 0, sizeof b);
  place_make(&p, "data/sd1", 2, 64, 64);
  struct settings s = short_run(p.model, p.images, p.run);
  s.train.steps = 2, s.train.batch = 2, s.samples.every = s.checkpoints.every = 0, s.prompts.tests = 0, s.losses.mask_pdm = false;
  s.train.text_encoder = true;
  run_whole(&s, &a, &r);
  s.train.recompute = true;
  run_whole(&s, &b, &r);
  same_rows(&a, &b);
  folder_remove_all(p.root);
}

/* bf16 is fp32 to two digits, fp16 to three, tf32 the same where the device has none (the CPU); each loss alone trains. */
static void test_variants(void **state) {
  (void)state;
  static struct seen a, b;
  struct place p;
  struct run_result r;
  memset(&a, 0, sizeof a);
  memset(&b, 0, sizeof b);
  place_make(&p, "data/sd2", 1, 64, 64);
  struct settings s = short_run(p.model, p.images, p.run);
  s.train.steps = 1, s.samples.every = s.checkpoints.every = 0, s.prompts.tests = 0;
  run_whole(&s, &a, &r);
  s.train.precision = PRECISION_BF16;
  run_whole(&s, &b, &r);
  assert_true(fabs(a.row[0].total - b.row[0].total) < 0.03 * a.row[0].total);
  assert_true(fabs(a.row[0].pdm - b.row[0].pdm) < 0.1 * a.row[0].pdm);
  s.train.precision = PRECISION_FP16;
  b.rows = 0;
  run_whole(&s, &b, &r);
  assert_true(fabs(a.row[0].total - b.row[0].total) < 0.004 * a.row[0].total);
  assert_true(fabs(a.row[0].grad_norm - b.row[0].grad_norm) < 0.01 * a.row[0].grad_norm);
  s.train.precision = PRECISION_TF32;
  b.rows = 0;
  run_whole(&s, &b, &r);
  assert_true(a.row[0].total == b.row[0].total && a.row[0].grad_norm == b.row[0].grad_norm);
  s.train.precision = PRECISION_FP32;
  for (int k = 0; k < 3; k++) {
    s.losses.instance = k == 0, s.losses.prior = k == 1, s.losses.pdm = k == 2;
    b.rows = 0;
    run_whole(&s, &b, &r);
    double term = k == 0 ? b.row[0].instance : k == 1 ? b.row[0].prior : b.row[0].pdm;
    double same = k == 0 ? a.row[0].instance : k == 1 ? a.row[0].prior : a.row[0].pdm;
    assert_true(fabs(term - same) < 1e-5 * same && isnan(k == 0 ? b.row[0].pdm : b.row[0].instance));
  }
  folder_remove_all(p.root);
}

int main(void) {
  if (getenv("TEST_FILTER")) cmocka_set_test_filter(getenv("TEST_FILTER")); /* "test_killed" */
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_errors),     cmocka_unit_test(test_lora_resumes), cmocka_unit_test(test_full_resumes),
      cmocka_unit_test(test_cache),      cmocka_unit_test(test_killed),       cmocka_unit_test(test_changes),
      cmocka_unit_test(test_divergence), cmocka_unit_test(test_health),       cmocka_unit_test(test_recompute),
      cmocka_unit_test(test_variants),   cmocka_unit_test(test_overflow),     cmocka_unit_test(test_hopeless_overflow)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
