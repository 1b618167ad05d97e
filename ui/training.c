/* Starting, steering and leaving runs. A run is a process of its own (`--batch`), so that it goes on without the interface, whatever becomes of that. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ui/app.h"
#include "ui/screens/profile.h"

static void start_now(struct app *a, const struct subject *s) {
  char profile[3200], dir[3400], stamp[32];
  struct err e = {0};
  time_t now = time(NULL);
  struct tm t;
  subject_profile(s, profile, sizeof profile);
  if (!a->config.roots) {
    app_complain(a, "there is no place for runs: neither XDG_DATA_HOME nor HOME is set");
    return;
  }
  do {
    localtime_r(&now, &t);
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &t);
    text_put(dir, sizeof dir, "%s/%s/%s-profile", a->config.root[0], s->name, stamp);
    now++;
  } while (!access(dir, F_OK));
  const char *const arguments[] = {"--batch", profile, "--run-dir", dir, NULL};
  if (!make_dirs(dir, &e) || !jobs_start(&a->jobs, arguments, true, false, dir, &e)) {
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
  for (int i = 0; i < a->queued; i++) {
    if (!strcmp(a->queue[i], s->name)) {
      app_say(a, "%s is in the queue already", s->name);
      return;
    }
  }
  if (a->queued == MAX_QUEUE) {
    app_complain(a, "the queue is full: %d trainings wait", MAX_QUEUE);
    return;
  }
  text_put(a->queue[a->queued++], sizeof a->queue[0], "%s", s->name);
  app_say(a, "%s: waits for the run under way, as number %d", s->name, a->queued);
}

void training_start(struct app *a, const char *subject) {
  int i = store_find(&a->store, subject);
  if (i < 0) return;
  if (*a->store.subject[i].trouble)
    app_complain(a, "%s: %s", subject, a->store.subject[i].trouble);
  else if (runs_working(&a->runs) || jobs_training(&a->jobs, NULL))
    put_in_queue(a, &a->store.subject[i]);
  else
    start_now(a, &a->store.subject[i]);
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

void training_stop(struct app *a) {
  const struct run_view *v = &a->runs.view;
  if (v->state != RUN_WORKING && v->state != RUN_PAUSED)
    app_complain(a, "no process is at work on this run");
  else if (kill((pid_t)v->live.pid, SIGTERM))
    app_complain(a, "the process %ld cannot be asked to stop", v->live.pid);
  else
    app_say(a, "stopping after this step");
}

static void next_in_queue(struct app *a) {
  while (a->queued && !runs_working(&a->runs)) {
    char name[128];
    text_put(name, sizeof name, "%s", a->queue[0]);
    memmove(a->queue[0], a->queue[1], (size_t)--a->queued * sizeof a->queue[0]);
    int i = store_find(&a->store, name);
    if (i < 0) continue;
    start_now(a, &a->store.subject[i]);
    return;
  }
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
  rmdir(end->job.what); /* a run that was refused at once leaves an empty directory */
  next_in_queue(a);
}

/* --- leaving ----------------------------------------------------------------------------------------------------------------------- */

enum leaving { LEAVE_ON, LEAVE_STOP, LEAVE_STAY };

static void part(struct app *a, int how) {
  const struct job *job = jobs_training(&a->jobs, NULL);
  if (how == LEAVE_STAY) return;
  if (how == LEAVE_STOP && job) {
    jobs_signal(job, SIGTERM);
    a->quitting = true;
    text_put(a->parting, sizeof a->parting, "The run is saved and has stopped; open pdmbooth-tui and press r on it to go on.\n%.400s\n",
             job->what);
    app_say(a, "stopping after this step; q again leaves at once");
    return;
  }
  if (job)
    text_put(a->parting, sizeof a->parting, "The run goes on in the background; open pdmbooth-tui to watch it again.\n%.400s\n", job->what);
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
  if (!job || a->quitting) {
    a->quit = true;
    return;
  }
  text_put(text, sizeof text, "A training is under way.%s What shall become of it?",
           a->queued ? " Those that wait in the queue will not be started." : "");
  overlay_choose(a, "Leave", text, choices, 3, part);
}
