/* Starting, steering and leaving runs. A run is a process of its own (`--batch`), so that it goes on without the interface, whatever becomes of that. What is
 * wanted of it is put into its directory (src/requests.h): a run that cron or another terminal has started, here or on another host, is steered alike. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "base/thread.h"
#include "requests.h"
#include "ui/app.h"
#include "ui/screens/profile.h"

static const double awaited_time = 30; /* seconds for a run to begin in */

static void start_now(struct app *a, const struct subject *s) {
  char profile[3200], dir[3400];
  struct err e = {0};
  const char *const arguments[] = {"--batch", subject_profile(s, profile, sizeof profile), "--run-dir", dir, NULL};
  if (!runs_new_directory(&a->config, s->name, dir, sizeof dir, &e) || !jobs_start(&a->jobs, arguments, true, false, dir, &e)) {
    app_complain(a, "%s", e.text);
    return;
  }
  app_choose_subject(a, s->name);
  runs_view(&a->runs, dir);
  a->update_at = 1e-9;
  app_say(a, "%s: training has begun", s->name);
  app_go(a, SCREEN_TRAIN);
}

static void put_in_queue(struct app *a, const struct subject *s) {
  struct err e = {0};
  if (queue_add(&a->queue, s->name, &e))
    app_say(a, "%s: waits for %s, as number %d", s->name, a->config.devices.n ? "a free device" : "the run under way", a->queue.n);
  else
    app_complain(a, "%s", e.text);
}

/* --- several devices ---------------------------------------------------------------------------------------------------------------- */

static void runner_ended(struct app *a, const struct job_end *end) {
  if (end->status && !a->quitting) app_complain(a, "the queue: %s", *end->text ? end->text : "a training ended badly; its log may say why");
}

/* The process that trains what waits, one subject on each device (src/queue_command.c); NULL: none of ours. */
static const struct job *runner(const struct app *a) {
  for (int i = 0; i < a->jobs.n; i++) {
    if (a->jobs.job[i].ended == runner_ended) return &a->jobs.job[i];
  }
  return NULL;
}

static void start_runner(struct app *a) {
  static const char *const arguments[] = {"queue", "run", NULL};
  struct err e = {0};
  if (!a->queue.n || a->queue_waits || a->quitting || runner(a)) return;
  if (!jobs_start(&a->jobs, arguments, false, false, "queue", &e)) {
    app_complain(a, "%s", e.text);
    return;
  }
  jobs_last(&a->jobs)->stays = true;
  jobs_last(&a->jobs)->ended = runner_ended;
}

static int at_work_now(const struct app *a) {
  int n = 0;
  for (int i = 0; i < a->runs.n; i++) n += run_is_at_work(a->runs.item[i].state);
  return n;
}

/* The first that finds a device free is looked at when it begins, even if others are started meanwhile. */
static void start_on_a_free_one(struct app *a, const struct subject *s) {
  a->queue_waits = false;
  put_in_queue(a, s);
  if (!*a->awaited && a->queue.n == 1 && at_work_now(a) < a->config.devices.n) {
    text_put(a->awaited, sizeof a->awaited, "%s", s->name);
    a->awaited_until = now_seconds() + awaited_time;
  }
  start_runner(a);
  a->update_at = 1e-9;
}

static void look_at_awaited(struct app *a) {
  int i = *a->awaited ? runs_of(&a->runs, a->awaited) : -1;
  if (now_seconds() > a->awaited_until) *a->awaited = 0;
  if (i < 0 || !*a->awaited || !run_is_at_work(a->runs.item[i].state)) return;
  app_choose_subject(a, a->awaited);
  runs_view(&a->runs, a->runs.item[i].path);
  app_say(a, "%s: training has begun", a->awaited);
  *a->awaited = 0;
  app_go(a, SCREEN_TRAIN);
}

/* --- starting ----------------------------------------------------------------------------------------------------------------------- */

void training_start(struct app *a, const char *subject) {
  int i = store_find(&a->store, subject);
  if (i < 0) return;
  if (*a->store.subject[i].trouble)
    app_complain(a, "%s: %s", subject, a->store.subject[i].trouble);
  else if (a->config.devices.n)
    start_on_a_free_one(a, &a->store.subject[i]);
  else if (runs_working(&a->runs) || jobs_training(&a->jobs, NULL))
    put_in_queue(a, &a->store.subject[i]);
  else {
    a->queue_waits = false;
    start_now(a, &a->store.subject[i]);
  }
}

void training_resume(struct app *a, const char *run) {
  char profile[3600];
  struct err e = {0};
  text_put(profile, sizeof profile, "%s/profile.ini", run);
  if (runs_working(&a->runs) || jobs_training(&a->jobs, NULL)) {
    app_complain(a, "another run is under way");
    return;
  }
  const char *const arguments[] = {"--batch", profile, "--run-dir", run, "--resume", NULL};
  if (jobs_start(&a->jobs, arguments, true, false, run, &e))
    app_say(a, "the run goes on");
  else
    app_complain(a, "%s", e.text);
  a->update_at = 1e-9;
}

bool training_request(struct app *a, const char *request) {
  struct err e = {0};
  const struct run_view *v = &a->runs.view;
  if (!run_is_at_work(v->state))
    err_set(&e, ERR_FAILED, "no process is at work on this run");
  else
    request_send(v->path, request, 0, &e);
  if (e.code)
    app_complain(a, "%s", e.text);
  else
    app_say(a, "asked for: %s", request);
  a->update_at = 1e-9;
  return !e.code;
}

/* --- the queue ---------------------------------------------------------------------------------------------------------------------- */

static void next_in_queue(struct app *a) {
  char name[QUEUE_NAME];
  if (a->config.devices.n) {
    start_runner(a);
    return;
  }
  if (a->queue_waits || a->quitting || runs_working(&a->runs) || jobs_training(&a->jobs, NULL)) return;
  while (queue_take(&a->queue, name)) {
    int i = store_find(&a->store, name);
    if (i < 0) continue;
    start_now(a, &a->store.subject[i]);
    return;
  }
}

static void go_on_or_not(struct app *a, int how) {
  a->queue_waits = how == 1;
  for (int i = 0; how == 2 && a->queue.n && i < MAX_QUEUE; i++) queue_remove(&a->queue, a->queue.name[0]);
  next_in_queue(a);
}

void training_ask_queue(struct app *a) {
  static const struct choice choices[] = {{"s", "start the first one"}, {"Esc", "not now: they go on waiting"}, {"x", "empty the queue"}};
  char text[1200] = "";
  queue_read(&a->queue);
  if (!a->queue.n || runs_working(&a->runs)) return;
  for (int i = 0; i < a->queue.n; i++) {
    size_t n = strlen(text);
    text_put(text + n, sizeof text - n, "%s%s", n ? ", " : "Waiting since the program was left: ", a->queue.name[i]);
  }
  a->queue_waits = true;
  overlay_choose(a, "Queue", text, choices, 3, go_on_or_not);
}

static bool at_work(const struct app *a, const char *run) {
  int i = runs_find(&a->runs, run);
  return i >= 0 && run_is_at_work(a->runs.item[i].state);
}

void training_look(struct app *a) {
  if (queue_read(&a->queue)) app_changed(a);
  if (!jobs_training(&a->jobs, NULL) && !runner(a) && a->quitting && !at_work(a, a->leaving)) a->quit = true;
  look_at_awaited(a);
  next_in_queue(a);
}

void training_ended(struct app *a, const struct job_end *end) {
  if (end->job.ended) {
    end->job.ended(a, end);
    app_changed(a);
    return;
  }
  if (!end->job.training) {
    outlook_end(&a->forecast, end);
    if (a->forecast.again) profile_forecast(a);
    app_changed(a);
    return;
  }
  const char *slash = strrchr(end->job.what, '/'), *name = slash ? slash + 1 : end->job.what;
  runs_notice(&a->runs);
  a->runs.list_dirty = a->runs.view_dirty = true;
  runs_update(&a->runs);
  if (a->quitting) {
    a->quit = true;
    return;
  }
  if (!end->status)
    app_say(a, "%s is done", name);
  else
    app_complain(a, "%s: %s", name, *end->text ? end->text : "ended badly; its log may say why");
  queue_turn_over(&a->queue);
  rmdir(end->job.what); /* a run that was refused at once leaves an empty directory */
  next_in_queue(a);
}

/* --- leaving ----------------------------------------------------------------------------------------------------------------------- */

enum leaving { LEAVE_ON, LEAVE_STOP, LEAVE_STAY };

/* One of our own may be at work before it has a directory: a signal reaches it then too. */
static bool ask_to_stop(struct app *a, const struct job *job) {
  struct err e = {0};
  const struct job *queue = runner(a);
  if (queue) jobs_signal(queue, SIGTERM); /* it stops all of its runs */
  if (job)
    jobs_signal(job, SIGTERM);
  else if (!request_send(a->leaving, "stop", 0, &e))
    app_complain(a, "%s", e.text);
  return !e.code;
}

/* What waits is trained after the run under way, by a process of its own. */
static void leave_queue(struct app *a) {
  queue_turn_over(&a->queue);
  start_runner(a);
}

static void part(struct app *a, int how) {
  const struct job *job = jobs_training(&a->jobs, a->leaving);
  if (how == LEAVE_STAY) return;
  if (how == LEAVE_STOP) {
    if (!ask_to_stop(a, job)) return;
    a->quitting = true;
    text_put(a->parting, sizeof a->parting, "The run is saved and has stopped; open pdmbooth-tui and press r on it to go on.\n%.400s\n",
             a->leaving);
    app_say(a, "stopping after this step; q again leaves at once");
    return;
  }
  leave_queue(a);
  text_put(a->parting, sizeof a->parting, "The run goes on in the background; open pdmbooth-tui to watch it again.\n%.400s\n", a->leaving);
  a->quit = true;
}

static void leave_changes(struct app *a, int how) {
  if (how == 0) profile_save(a, NULL);
  if (how == 2 || (how == 0 && profile_unsaved(a))) return;
  a->drop_changes = true;
  training_quit(a);
}

void training_quit(struct app *a) {
  static const struct choice saving[] = {{"s", "save them"}, {"x", "throw them away"}, {"Esc", "stay"}};
  static const struct choice choices[] = {{"b", "keep on in the background: opening the program finds it again"},
                                          {"s", "save and stop after this step; it can go on later"},
                                          {"Esc", "stay"}};
  char text[300];
  const struct job *job = jobs_training(&a->jobs, NULL);
  if (profile_unsaved(a) && !a->drop_changes) {
    overlay_choose(a, "Leave", "The profile has been changed and not been saved.", saving, 3, leave_changes);
    return;
  }
  runs_update(&a->runs); /* nobody is asked about a run that has just ended */
  const struct run_item *work = runs_working(&a->runs);
  if ((!job && !work) || a->quitting) {
    a->quit = true;
    return;
  }
  text_put(a->leaving, sizeof a->leaving, "%s", job ? job->what : at_work(a, a->runs.view.path) ? a->runs.view.path : work->path);
  text_put(text, sizeof text, "A training is under way.%s What shall become of it?",
           a->queue.n && !a->queue_waits ? " Those that wait in the queue are trained after it in the background, too." : "");
  overlay_choose(a, "Leave", text, choices, 3, part);
}
