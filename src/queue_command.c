/* queue: what waits to be trained, and training it without the interface: from cron, or when the interface has been left. */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "assets/embedded.h"
#include "commands.h"
#include "text.h"
#include "ui/queue.h"
#include "ui/runs.h"
#include "ui/store.h"

enum { LOOK_SECONDS = 2 }; /* between two looks at whether a run is under way */

/* What trains: one run at a time. */
struct worker {
  struct queue queue; /* for its turn; device "": what the profiles say */
  pid_t pid;          /* of its run; 0: none */
  char dir[3400];
};

struct queue_work {
  struct config config;
  struct store store;
  struct runs runs;
  struct queue queue;
  sigset_t wanted; /* SIGCHLD and what ends the program: taken by sigtimedwait alone */
  int stopped;     /* by this signal; 0: by none */
  int told;        /* the signal that the runs were sent */
  int failed;      /* runs */
  struct worker worker[MAX_DEVICES];
  int workers;
};

/* --- changing the queue ------------------------------------------------------------------------------------------------------------ */

static bool add_all(struct queue_work *w, int n, char **name, struct err *e) {
  for (int i = 0; i < n; i++) {
    int k = store_find(&w->store, name[i]);
    if (k < 0) return err_set(e, ERR_USAGE, "%s: there is no such subject in %s", name[i], w->store.root);
    if (*w->store.subject[k].trouble) return err_set(e, ERR_INPUT, "%s: %s", name[i], w->store.subject[k].trouble);
  }
  for (int i = 0; i < n; i++) {
    if (!queue_add(&w->queue, name[i], e)) return false;
  }
  return true;
}

static bool remove_all(struct queue_work *w, int n, char **name, struct err *e) {
  for (int i = 0; i < n; i++) {
    bool found = false;
    for (int k = 0; k < w->queue.n; k++) found |= !strcmp(w->queue.name[k], name[i]);
    if (!found) return err_set(e, ERR_USAGE, "%s does not wait in the queue", name[i]);
  }
  for (int i = 0; i < n; i++) queue_remove(&w->queue, name[i]);
  return true;
}

static void print_queue(struct queue_work *w) {
  const struct run_item *run = runs_working(&w->runs);
  if (run) printf("%s: under way, %s\n", run->subject, run->path);
  for (int i = 0; i < w->queue.n; i++) printf("%s: waits\n", w->queue.name[i]);
  if (!run && !w->queue.n) printf("nothing is under way and nothing waits\n");
}

/* --- training what waits ----------------------------------------------------------------------------------------------------------- */

/* Sleeps so long, or until a signal comes: which. */
static int wait_signal(struct queue_work *w, int seconds) {
  const struct timespec wait = {.tv_sec = seconds};
  int number = sigtimedwait(&w->wanted, NULL, &wait);
  if (number > 0 && number != SIGCHLD) w->stopped = number;
  return number;
}

/* A process group of its own: Ctrl-C reaches the run through us, once. */
static pid_t start_run(struct queue_work *w, const struct worker *k, const char *profile, struct err *e) {
  const char *const argument[] = {"pdmbooth-tui",  "--batch", profile, "--run-dir", k->dir, *k->queue.device ? "--device" : NULL,
                                  k->queue.device, NULL};
  pid_t pid = fork();
  if (pid < 0) err_set_errno(e, ERR_FAILED, "the run cannot be started");
  if (pid) return pid;
  setpgid(0, 0);
  sigprocmask(SIG_UNBLOCK, &w->wanted, NULL);
  execv("/proc/self/exe", (char *const *)(void *)(size_t)argument);
  _exit(127);
}

static void train(struct queue_work *w, struct worker *k, const char *name) {
  char profile[3200];
  struct err e = {0};
  int i = store_reload(&w->store, &e) ? store_find(&w->store, name) : -1;
  if (i < 0 && !e.code) err_set(&e, ERR_INPUT, "%s waited in the queue, but there is no such subject any more", name);
  if (!e.code && runs_new_directory(&w->config, name, k->dir, sizeof k->dir, &e)) {
    fprintf(stderr, "pdmbooth-tui: queue: %s%s%s, %d more after it\n", name, *k->queue.device ? " on " : "", k->queue.device, k->queue.n);
    k->pid = start_run(w, k, subject_profile(&w->store.subject[i], profile, sizeof profile), &e);
  }
  if (!e.code) return;
  say_error(&e);
  k->pid = 0;
  w->failed++;
  queue_turn_over(&k->queue);
}

/* Whether its run has ended. */
static void look_after(struct queue_work *w, struct worker *k) {
  int status;
  if (!k->pid || waitpid(k->pid, &status, WNOHANG) != k->pid) return;
  rmdir(k->dir); /* a run that was refused at once leaves an empty directory */
  if (status && !w->stopped) w->failed++;
  k->pid = 0;
  queue_turn_over(&k->queue);
}

static bool run_under_way(struct queue_work *w) {
  w->runs.list_dirty = true;
  runs_update(&w->runs);
  return runs_working(&w->runs) != NULL;
}

/* The next one for whoever has nothing to do. Where devices were named, others' runs are not waited for. */
static void give_work(struct queue_work *w, struct worker *k) {
  char name[QUEUE_NAME];
  queue_read(&k->queue);
  if (k->pid || !k->queue.n || w->stopped || (w->workers == 1 && run_under_way(w))) return;
  if (queue_take(&k->queue, name)) train(w, k, name);
}

/* A signal is handed to the runs. */
static void stop_runs(struct queue_work *w) {
  if (!w->stopped || w->told) return;
  w->told = w->stopped == SIGHUP ? SIGTERM : w->stopped;
  for (int i = 0; i < w->workers; i++) {
    if (w->worker[i].pid) kill(w->worker[i].pid, w->told);
  }
}

static bool work_left(struct queue_work *w) {
  bool left = false;
  queue_read(&w->queue);
  for (int i = 0; i < w->workers; i++) left |= w->worker[i].pid != 0;
  return left || (w->queue.n && !w->stopped);
}

static int run_queue(struct queue_work *w) {
  sigemptyset(&w->wanted);
  for (size_t i = 0; i < 4; i++) sigaddset(&w->wanted, (const int[]){SIGCHLD, SIGTERM, SIGINT, SIGHUP}[i]);
  sigprocmask(SIG_BLOCK, &w->wanted, NULL);
  while (work_left(w)) {
    for (int i = 0; i < w->workers; i++) {
      look_after(w, &w->worker[i]);
      give_work(w, &w->worker[i]);
    }
    if (work_left(w)) wait_signal(w, LOOK_SECONDS); /* for a run, or for another program that has the turn */
    stop_runs(w);
  }
  if (w->stopped) return w->stopped == SIGINT ? ERR_SIGINT : ERR_SIGTERM;
  return w->failed ? ERR_FAILED : 0;
}

/* One for each device that is named here or in config.ini; where none is, one, on what the profiles say. */
static bool make_workers(struct queue_work *w, const char *devices, struct err *e) {
  struct device_list *l = &w->config.devices;
  if (devices && !device_list_read(l, devices, "--devices", e)) return false;
  for (int i = 0; i < l->n; i++) text_put(w->worker[i].queue.device, sizeof w->worker[i].queue.device, "%s", l->name[i]);
  w->workers = l->n ? l->n : 1;
  return true;
}

/* --- the command ------------------------------------------------------------------------------------------------------------------- */

struct queue_options {
  const char *devices;
};

static int queue_do(struct queue_work *w, const struct queue_options *o, int n, char **operand, struct err *e) {
  const char *what = n ? operand[0] : "list";
  runs_update(&w->runs);
  queue_read(&w->queue);
  if (!strcmp(what, "list") && n <= 1)
    print_queue(w);
  else if (!strcmp(what, "run") && n == 1)
    return make_workers(w, o->devices, e) ? run_queue(w) : (int)e->code;
  else if (!strcmp(what, "add") && n > 1)
    add_all(w, n - 1, operand + 1, e);
  else if (!strcmp(what, "remove") && n > 1)
    remove_all(w, n - 1, operand + 1, e);
  else
    err_set(e, ERR_USAGE, "queue takes list, run, add SUBJECT... or remove SUBJECT...; see pdmbooth-tui queue --help");
  return e->code;
}

static int queue_main(void *options, int operands, char **operand) {
  struct err e = {0};
  struct queue_work *w = calloc(1, sizeof *w);
  int status = ERR_FAILED;
  if (!w) return err_set(&e, ERR_FAILED, "out of memory"), say_error(&e);
  if (config_read(&w->config, &e) && store_open(&w->store, embedded_files, &e)) {
    runs_open(&w->runs, &w->config);
    status = queue_do(w, options, operands, operand, &e);
    runs_close(&w->runs);
  }
  store_close(&w->store);
  free(w);
  return e.code ? say_error(&e) : status;
}

static const struct option_spec queue_table[] = {
    {"devices", "LIST",
     "run: train on these at the same time, one subject on each, such as cuda:0,cuda:1 (default: as [queue] devices in config.ini says, "
     "else one after the other, on what each profile says)",
     OPTION_TEXT, .offset = offsetof(struct queue_options, devices)},
    {0},
};

const struct command_spec queue_command = {
    .name = "queue",
    .operands = "[list|run|add SUBJECT...|remove SUBJECT...]",
    .summary = "show or train what waits to be trained",
    .about =
        "The workstation's queue, without the workstation: list (and no word at all) shows the run under way and the subjects that wait; "
        "add and remove change that; run waits for the run under way and then trains one after the other until nothing waits, as the "
        "workstation does while it is open, and as it has done in the background when it is left with a queue.\n"
        "With --devices it trains on several cards at once, one subject on each, and does not wait for runs that others have begun.\n"
        "run prints the summary of each run on standard output. A run that fails does not keep the next one from being trained; the "
        "status is then 1. On SIGTERM or SIGINT the run under way is saved and stopped, the others go on waiting.",
    .options = queue_table,
    .options_size = sizeof(struct queue_options),
    .run = queue_main,
};
