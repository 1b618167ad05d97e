/* --batch: a whole run without terminal or question, for scripts and cron. */
#include <cjson/cJSON.h>
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "assets/embedded.h"
#include "base/thread.h"
#include "busy.h"
#include "commands.h"
#include "live.h"
#include "on_finish.h"
#include "plan_text.h"
#include "progress.h"
#include "report.h"
#include "requests.h"
#include "rundir.h"
#include "signals.h"

struct batch_options {
  struct text_list set;
  const char *run_dir, *dump;
  bool resume, wait, quiet, json;
  const char *device;      /* NULL: as the profile says */
  int threads, dump_steps; /* 0: not given */
  int nice;                /* 0: not given */
  bool wait_memory;
};

struct batch {
  const char *path; /* of the profile */
  const struct batch_options *options;
  struct profile profile;
  struct rundir dir;
  bool profile_open, dir_open;
  struct sink sink;
  struct requests requests;
  bool told_pause;
  struct progress progress;
  struct live live;
  struct metrics last;
  int samples;
  double left; /* seconds of the whole run, as the engine expects */
  struct run_result result;
  struct err write_error; /* the first failure of a file that the engine knows nothing of */
};

static void on_log(void *user, enum log_level level, const char *text) {
  struct batch *b = user;
  rundir_log(&b->dir, level, text);
  progress_line(&b->progress, level, text);
}

static void on_progress(void *user, const char *stage, int64_t done, int64_t total) {
  struct batch *b = user;
  b->progress.note[0] = 0;
  if (!strcmp(stage, "training") && isfinite(b->last.total))
    text_put(b->progress.note, sizeof b->progress.note, "loss %.4f, ", b->last.total);
  size_t used = strlen(b->progress.note);
  char left[32];
  text_put(b->progress.note + used, sizeof b->progress.note - used, "%s left in all", duration_text(b->left, left, sizeof left));
  progress_show(&b->progress, stage, done, total);
  live_put(&b->live, b->dir.path, stage, done, total);
}

static void on_left(void *user, double seconds) {
  ((struct batch *)user)->left = seconds;
}

/* Writing one of our own files failed with *e: whether to write it again, there is room now. */
static bool again(struct batch *b, struct err *e) {
  return engine_room_again(&b->profile.settings, &b->sink, b->dir.path, e);
}

static void on_metrics(void *user, const struct metrics *m) {
  struct batch *b = user;
  b->last = *m;
  progress_metrics(&b->progress, m);
  if (b->write_error.code) return;
  bool ok;
  do ok = rundir_metrics(&b->dir, m, &b->write_error);
  while (!ok && again(b, &b->write_error));
  if (!ok) on_log(b, LOG_WARN, b->write_error.text);
}

static bool on_sync(void *user, struct err *e) {
  struct batch *b = user;
  if (b->write_error.code) return err_set(e, b->write_error.code, "%s", b->write_error.text);
  bool ok;
  do ok = rundir_sync(&b->dir, e);
  while (!ok && again(b, e));
  return ok;
}

static bool on_sample(void *user, const struct sample_event *s, struct err *e) {
  struct batch *b = user;
  char path[4096];
  if (!rundir_sample(&b->dir, s, e)) return false;
  b->samples++;
  rundir_sample_path(&b->dir, s, path, sizeof path);
  progress_sample(&b->progress, s, path);
  return true;
}

static bool on_samples(void *user, int step, struct err *e) {
  struct batch *b = user;
  return rundir_sheet(&b->dir, step, e);
}

static enum engine_command on_poll(void *user) {
  struct batch *b = user;
  char refused[REQUEST_TEXT + 20], text[200];
  enum engine_command signalled = signals_poll(NULL);
  if (signalled != ENGINE_GO_ON) return signalled;
  requests_look(&b->requests, refused);
  if (*refused) {
    text_put(text, sizeof text, "control: %s is no request: dropped", refused);
    on_log(b, LOG_WARN, text);
  }
  if (b->requests.paused != b->told_pause) on_log(b, LOG_INFO, b->requests.paused ? "paused by a request" : "going on");
  live_pause(&b->live, b->dir.path, b->requests.paused);
  b->told_pause = b->requests.paused;
  return b->requests.stop ? ENGINE_STOP_SIGTERM : b->requests.paused ? ENGINE_PAUSE : ENGINE_GO_ON;
}

/* As prompts of the profile are. */
static void fill_prompt(const struct settings *s, struct engine_message *m) {
  struct strings o = {0};
  const char *text = strings_replace(&o, m->prompt, "{token}", s->subject.token);
  if (text) text = strings_replace(&o, text, "{class}", s->subject.class_name);
  if (text && text != m->prompt) text_put(m->prompt, sizeof m->prompt, "%s", text);
  strings_release(&o);
}

static bool on_message(void *user, int step, struct engine_message *out) {
  struct batch *b = user;
  if (!requests_next(&b->requests, step, out)) return false;
  fill_prompt(&b->profile.settings, out);
  return true;
}

static void on_checkpoint(void *user, int step, const char *path, bool final) {
  struct batch *b = user;
  char text[4200];
  progress_checkpoint(&b->progress, step, path, final);
  text_put(text, sizeof text, "%s of step %d: %s", final ? "final model" : "checkpoint", step, path);
  on_log(b, LOG_INFO, text);
}

static void add_number(cJSON *o, const char *name, double v) {
  if (isfinite(v)) {
    cJSON_AddNumberToObject(o, name, v);
  } else {
    cJSON_AddNullToObject(o, name);
  }
}

/* The first and the last probe loss in metrics.csv: a run that was resumed began earlier than this process. */
static void find_probes(const struct rundir *r, double *first, double *last) {
  *first = *last = NAN;
  for (int i = 0; i < r->n_rows; i++) {
    if (!isfinite(r->rows[i].probe)) continue;
    if (!isfinite(*first)) *first = r->rows[i].probe;
    *last = r->rows[i].probe;
  }
}

static void add_losses(cJSON *root, const struct batch *b) {
  double first, last;
  find_probes(&b->dir, &first, &last);
  cJSON *o = cJSON_AddObjectToObject(root, "losses");
  add_number(o, "total", b->last.total);
  add_number(o, "instance", b->last.instance);
  add_number(o, "prior", b->last.prior);
  add_number(o, "pdm", b->last.pdm);
  add_number(o, "probe_first", first);
  add_number(o, "probe_last", last);
}

static void add_memory(cJSON *root, const struct run_result *r) {
  cJSON *o = cJSON_AddObjectToObject(root, "memory");
  cJSON_AddNumberToObject(o, "planned", (double)r->memory_planned);
  cJSON_AddNumberToObject(o, "peak", (double)r->memory_peak);
  if (r->card) cJSON_AddNumberToObject(o, "host_planned", (double)r->host_planned);
  if (r->card) cJSON_AddNumberToObject(o, "host_peak", (double)r->host_peak);
  if (!r->card) cJSON_AddNumberToObject(o, "passes_planned", (double)r->work_planned); /* a card does not tell what is touched */
  if (!r->card) cJSON_AddNumberToObject(o, "passes_used", (double)r->work_touched);
  cJSON_AddStringToObject(o, "of", r->card ? "card" : "process");
}

/* "done", or the name in ERR_TABLE in small letters. */
static const char *status_name(enum err_code code, char *buf, size_t n) {
  const char *name = "failed";
  switch (code) {
#define X(word, status, text) \
  case ERR_##word:            \
    name = #word;             \
    break;
    ERR_TABLE(X)
#undef X
  }
  text_put(buf, n, "%s", code ? name : "done");
  for (char *p = buf; *p; p++) *p = (char)tolower((unsigned char)*p);
  return buf;
}

/* What became of the run, as one line. */
static char *summary(const struct batch *b, const struct err *e) {
  cJSON *root = cJSON_CreateObject();
  char name[16];
  cJSON_AddStringToObject(root, "status", status_name(e->code, name, sizeof name));
  cJSON_AddNumberToObject(root, "exit_code", e->code);
  if (e->code) cJSON_AddStringToObject(root, "error", e->text);
  cJSON_AddStringToObject(root, "profile", b->path);
  if (b->dir_open) {
    char curves[4096], report[4096];
    cJSON_AddStringToObject(root, "run_dir", b->dir.path);
    cJSON_AddNumberToObject(root, "start_step", b->result.start_step);
    cJSON_AddNumberToObject(root, "steps", b->result.steps_done);
    add_losses(root, b);
    cJSON_AddStringToObject(root, "checkpoint", b->result.checkpoint);
    if (b->result.best_step >= 0) cJSON_AddNumberToObject(root, "best_checkpoint_step", b->result.best_step);
    cJSON_AddNumberToObject(root, "samples", b->samples);
    cJSON_AddStringToObject(root, "sample_sheet", b->dir.last_sheet);
    text_put(curves, sizeof curves, "%s/curves.png", b->dir.path);
    cJSON_AddStringToObject(root, "curves", is_file(curves) ? curves : "");
    text_put(report, sizeof report, "%s/report.html", b->dir.path);
    cJSON_AddStringToObject(root, "report", is_file(report) ? report : "");
    cJSON_AddNumberToObject(root, "seconds", round(b->result.seconds * 1000) / 1000);
    add_memory(root, &b->result);
  }
  char *text = cJSON_PrintUnformatted(root);
  cJSON_Delete(root);
  return text;
}

/* Whether it fits, before a run directory is made for nothing; waits for memory where that is asked for. */
static bool check_plan(struct batch *b, struct err *e) {
  const struct batch_options *o = b->options;
  struct settings *s = &b->profile.settings;
  struct run_plan plan;
  const struct sink quiet = {0};
  if (!rundir_find(&b->dir, &b->profile, o->run_dir, o->resume, e) || !rundir_unchanged(&b->dir, embedded_files, e)) return false;
  s->run_dir = b->dir.path;
  s->resume = b->dir.resumed;
  s->engine.wait = o->wait_memory;
  if (o->wait_memory) return busy_wait(s, embedded_files, &b->sink, e);
  return engine_plan(s, embedded_files, &quiet, &(struct plan_options){.begins = true}, &plan, e);
}

/* A second, or until a signal. */
static bool sleep_a_little(struct err *e) {
  for (int i = 0; i < 20; i++) {
    enum engine_command c = signals_poll(NULL);
    if (c != ENGINE_GO_ON)
      return err_set(e, c == ENGINE_STOP_SIGINT ? ERR_SIGINT : ERR_SIGTERM, "stopped while waiting for another process");
    nanosleep(&(struct timespec){.tv_nsec = 50 * 1000 * 1000}, NULL);
  }
  return true;
}

/* While another process is at work on the run: waits, where that is asked for. */
static bool wait_turn(struct batch *b, struct err *e) {
  const struct batch_options *o = b->options;
  struct err tried = {0};
  for (bool told = false; o->wait && !rundir_find(&b->dir, &b->profile, o->run_dir, o->resume, &tried) && b->dir.busy; told = true) {
    if (!told) on_log(b, LOG_INFO, tried.text);
    tried = (struct err){0};
    if (!sleep_a_little(e)) return false;
  }
  return true; /* anything else will be said again */
}

/* The directory, waiting for another process that is at work on it where that is asked for, and for room on the disk. */
static bool open_dir(struct batch *b, struct err *e) {
  const struct batch_options *o = b->options;
  char path[3500];
  for (bool told = false, chosen = false;;) {
    struct err tried = {0};
    if (rundir_open(&b->dir, &b->profile, embedded_files, chosen ? path : o->run_dir, o->resume, &tried)) return true;
    bool busy = b->dir.busy && o->wait;
    text_put(path, sizeof path, "%s", b->dir.path);
    rundir_close(&b->dir);
    if (busy && !told) on_log(b, LOG_INFO, tried.text);
    told |= busy;
    if (busy && sleep_a_little(e)) continue;
    chosen = !b->dir.busy && *path;
    if (!busy && chosen && again(b, &tried)) continue;
    return err_set(e, tried.code, "%s", tried.text);
  }
}

static bool open_run(struct batch *b, struct err *e) {
  const struct batch_options *o = b->options;
  struct settings *s = &b->profile.settings;
  b->profile_open = profile_load(&b->profile, b->path, embedded_files, o->set.text, o->set.n, e);
  if (!b->profile_open || !profile_inputs(&b->profile, e)) return false;
  if (o->device) s->engine.device = o->device;
  if (o->threads) s->engine.threads = o->threads;
  s->dump_dir = "";
  if ((o->nice && !busy_nice(o->nice, e)) || !wait_turn(b, e) || !check_plan(b, e)) return false;
  b->dir_open = open_dir(b, e);
  requests_open(&b->requests, b->dir.path);
  s->run_dir = b->dir.path;
  s->resume = b->dir.resumed;
  s->dump_steps = o->dump_steps;
  s->dump_dir = o->dump ? o->dump : "";
  return b->dir_open;
}

static void begin_log(struct batch *b) {
  char text[4200];
  live_put(&b->live, b->dir.path, "starting", 0, 1);
  text_put(text, sizeof text, "%s %s in %s", b->dir.resumed ? "going on with" : "running", b->path, b->dir.path);
  on_log(b, LOG_INFO, text);
}

/* Not after a signal: whoever stops a run waits for it, and it is to go on; pdmbooth-tui report makes it at any time. */
static void write_report(struct batch *b, struct err *e) {
  struct err late = {0};
  bool ok = e->code == ERR_SIGINT || e->code == ERR_SIGTERM;
  while (!ok && !(ok = report_write(b->dir.path, embedded_files, &late)) && again(b, &late)) continue;
  if (ok) return;
  on_log(b, LOG_WARN, late.text);
  if (!e->code) *e = late;
}

static bool write_end(struct batch *b, struct err *e) {
  struct err late = {0};
  bool ok;
  live_end(b->dir.path);
  do ok = rundir_curves(&b->dir, &late);
  while (!ok && again(b, &late));
  if (!ok) on_log(b, LOG_WARN, late.text);
  if (!e->code && b->write_error.code) *e = b->write_error;
  if (!e->code && late.code) *e = late;
  if (e->code) rundir_log(&b->dir, LOG_WARN, e->text);
  char *text = summary(b, e);
  late = (struct err){0};
  do ok = !text || rundir_summary(&b->dir, text, &late);
  while (!ok && again(b, &late));
  free(text);
  write_report(b, e);
  return ok || e->code || err_set(e, late.code, "%s", late.text);
}

/* Facts for [engine] on_finish, whose failure is no failure of the run. A run that is to stop is not held up for long. */
static void tell_finish(struct batch *b, const struct err *e, const char *json) {
  enum { MOST = 16, STOPPED_LIMIT = 10 };
  const struct settings *s = &b->profile.settings;
  const char *fact[MOST];
  char name[16];
  int n = 0;
  struct strings o = {0};
  struct err late = {0};
  if (!b->profile_open || !*s->engine.on_finish) return;
  fact[n++] = strings_printf(&o, "PDMBOOTH_STATUS=%s", status_name(e->code, name, sizeof name));
  fact[n++] = strings_printf(&o, "PDMBOOTH_EXIT_CODE=%d", e->code);
  fact[n++] = strings_printf(&o, "PDMBOOTH_ERROR=%s", e->text);
  fact[n++] = strings_printf(&o, "PDMBOOTH_PROFILE=%s", b->path);
  fact[n++] = strings_printf(&o, "PDMBOOTH_SUBJECT=%s", s->subject.name);
  fact[n++] = strings_printf(&o, "PDMBOOTH_RUN_DIR=%s", b->dir_open ? b->dir.path : "");
  fact[n++] = strings_printf(&o, "PDMBOOTH_STEPS=%d", b->result.steps_done);
  fact[n++] = strings_printf(&o, "PDMBOOTH_SECONDS=%.3f", b->result.seconds);
  fact[n++] = strings_printf(&o, "PDMBOOTH_CHECKPOINT=%s", b->result.checkpoint);
  fact[n++] = strings_printf(&o, "PDMBOOTH_SAMPLE_SHEET=%s", b->dir.last_sheet);
  fact[n++] = strings_printf(&o, b->dir_open ? "PDMBOOTH_REPORT=%s/report.html" : "PDMBOOTH_REPORT=", b->dir.path);
  fact[n++] = strings_printf(&o, "PDMBOOTH_SUMMARY=%s", json ? json : "");
  bool ok = true;
  for (int i = 0; i < n; i++) ok = ok && fact[i];
  bool stopped = e->code == ERR_SIGINT || e->code == ERR_SIGTERM;
  int limit = stopped && s->engine.on_finish_limit > STOPPED_LIMIT ? STOPPED_LIMIT : s->engine.on_finish_limit;
  if (!ok) err_set(&late, ERR_FAILED, "[engine] on_finish: out of memory");
  if (!ok || !on_finish_run(s->engine.on_finish, limit, fact, n, &late)) on_log(b, LOG_WARN, late.text);
  strings_release(&o);
}

/* Curves are made of what there is, however the run ended. */
static void finish(struct batch *b, struct err *e) {
  progress_end(&b->progress);
  write_end(b, e);
}

static int run_profile(const char *path, const struct batch_options *o) {
  struct err e = {0};
  struct batch *b = calloc(1, sizeof *b);
  if (!b) return err_set(&e, ERR_FAILED, "out of memory"), say_error(&e);
  b->sink = (struct sink){.user = b,
                          .log = on_log,
                          .progress = on_progress,
                          .metrics = on_metrics,
                          .sample = on_sample,
                          .samples = on_samples,
                          .checkpoint = on_checkpoint,
                          .sync = on_sync,
                          .poll = on_poll,
                          .message = on_message,
                          .left = on_left};
  b->path = path;
  b->options = o;
  b->last = (struct metrics){.instance = NAN, .prior = NAN, .pdm = NAN, .total = NAN};
  signals_catch();
  double began = now_seconds();
  if (progress_init(&b->progress, o->quiet, o->json, &e) && open_run(b, &e)) {
    begin_log(b);
    engine_run(&b->profile.settings, embedded_files, &b->sink, &b->result, &e);
    b->result.seconds = now_seconds() - began;
    finish(b, &e);
  }
  int status = e.code ? progress_error(&b->progress, &e) : 0;
  char *text = summary(b, &e);
  tell_finish(b, &e, text);
  if (text) puts(text);
  free(text);
  requests_close(&b->requests);
  rundir_close(&b->dir);
  profile_release(&b->profile);
  free(b);
  return status;
}

static int batch_main(void *options, int operands, char **operand) {
  const struct batch_options *o = options;
  struct err e = {0};
  if (!operands) {
    err_set(&e, ERR_USAGE, "--batch needs a value, the profile; see pdmbooth-tui --batch --help");
  } else if (operands > 1) {
    err_set(&e, ERR_USAGE, "--batch takes one profile; %s is a second one", operand[1]);
  } else if (!o->dump_steps != !o->dump) {
    err_set(&e, ERR_USAGE, "--dump-steps and --dump go together");
  }
  return e.code ? say_error(&e) : run_profile(operand[0], o);
}

#define AT(field) .offset = offsetof(struct batch_options, field)

static const struct option_spec batch_table[] = {
    {"set", "SECTION.KEY=VALUE", "override a key of the profile (repeat for more); the first --set of a list replaces the list",
     OPTION_LIST, AT(set)},
    {"run-dir", "DIR", "use exactly this directory (default: runs/SUBJECT/TIME-PROFILE here)", OPTION_TEXT, AT(run_dir)},
    {"resume", NULL, "go on with the run in --run-dir, or with the newest run of this profile; begin where there is none", OPTION_FLAG,
     AT(resume)},
    {"wait", NULL, "wait while another process is at work on the run, instead of ending with status 1", OPTION_FLAG, AT(wait)},
    {"device", NULL, "where to compute; ref: plain and slow, for comparison (default: as the profile says)", OPTION_NAME, AT(device),
     .words = device_words, .accepts = engine_device_is_known},
    {"threads", "N", "threads to compute with", OPTION_WHOLE, AT(threads), 1, 4096},
    {"quiet", NULL, "say nothing but errors on standard error; log.txt has the rest", OPTION_FLAG, AT(quiet)},
    {"json", NULL, "say everything on standard error as JSON, one object a line; see pdmbooth-tui(1)", OPTION_FLAG, AT(json)},
    {"nice", "N", "be considerate: nice value of the processor's time; for disks the lowest level, idle from 10 on", OPTION_WHOLE, AT(nice),
     1, 19},
    {"wait-memory", NULL, "wait until what the run needs is free, instead of planning for what is free now", OPTION_FLAG, AT(wait_memory)},
    {"dump-steps", "N", "with --dump: write all that goes into and comes out of the first N steps, as safetensors", OPTION_WHOLE,
     AT(dump_steps), 1, 1e6},
    {"dump", "DIR", "where to write that", OPTION_TEXT, AT(dump)},
    {0},
};

const struct command_spec batch_command = {
    .name = "--batch",
    .operands = "PROFILE.ini",
    .summary = "personalise a model as the profile says",
    .about =
        "Runs a profile from start to finish: class images, PDM targets, training, samples, checkpoints, final model. Needs no terminal "
        "and asks "
        "nothing. PROFILE.ini is a file, or embedded:NAME (demo, sd15-full, sd15-lora) for one inside the program.\n"
        "Progress goes to standard error; one line of JSON on standard output says how it ended.",
    .options = batch_table,
    .options_size = sizeof(struct batch_options),
    .run = batch_main,
};
