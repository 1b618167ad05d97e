/* queue: what waits to be trained, and training it without the interface: from cron, or when the interface has been left. */
#include <errno.h>
#include <signal.h>
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

struct queue_work {
  struct config config;
  struct store store;
  struct runs runs;
  struct queue queue;
  sigset_t wanted; /* SIGCHLD and what ends the program: taken by sigtimedwait alone */
  int stopped;     /* by this signal; 0: by none */
  int failed;      /* runs */
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
static pid_t start_run(struct queue_work *w, const char *profile, const char *dir, struct err *e) {
  const char *const argument[] = {"pdmbooth-tui", "--batch", profile, "--run-dir", dir, NULL};
  pid_t pid = fork();
  if (pid < 0) err_set_errno(e, ERR_FAILED, "the run cannot be started");
  if (pid) return pid;
  setpgid(0, 0);
  sigprocmask(SIG_UNBLOCK, &w->wanted, NULL);
  execv("/proc/self/exe", (char *const *)(void *)(size_t)argument);
  _exit(127);
}

/* Waits for the run; a signal is handed to it. */
static int wait_run(struct queue_work *w, pid_t pid) {
  int status, told = 0;
  while (!waitpid(pid, &status, WNOHANG)) {
    wait_signal(w, LOOK_SECONDS);
    if (w->stopped && !told) kill(pid, told = w->stopped == SIGHUP ? SIGTERM : w->stopped);
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void train(struct queue_work *w, const char *name) {
  char profile[3200], dir[3400];
  struct err e = {0};
  int k = store_reload(&w->store, &e) ? store_find(&w->store, name) : -1;
  if (k < 0 && !e.code) err_set(&e, ERR_INPUT, "%s waited in the queue, but there is no such subject any more", name);
  if (!e.code && !runs_new_directory(&w->config, name, dir, sizeof dir, &e)) k = -1;
  if (!e.code) fprintf(stderr, "pdmbooth-tui: queue: %s, %d more after it\n", name, w->queue.n);
  pid_t pid = e.code ? -1 : start_run(w, subject_profile(&w->store.subject[k], profile, sizeof profile), dir, &e);
  if (e.code) say_error(&e);
  int status = pid > 0 ? wait_run(w, pid) : (int)e.code;
  if (pid > 0) rmdir(dir); /* a run that was refused at once leaves an empty directory */
  if (status && !w->stopped) w->failed++;
}

static bool run_under_way(struct queue_work *w) {
  w->runs.list_dirty = true;
  runs_update(&w->runs);
  return runs_working(&w->runs) != NULL;
}

static int run_queue(struct queue_work *w) {
  char name[QUEUE_NAME];
  sigemptyset(&w->wanted);
  for (size_t i = 0; i < 4; i++) sigaddset(&w->wanted, (const int[]){SIGCHLD, SIGTERM, SIGINT, SIGHUP}[i]);
  sigprocmask(SIG_BLOCK, &w->wanted, NULL);
  for (queue_read(&w->queue); w->queue.n && !w->stopped; queue_read(&w->queue)) {
    if (!run_under_way(w) && queue_take(&w->queue, name)) {
      train(w, name);
      queue_turn_over(&w->queue);
    } else {
      wait_signal(w, LOOK_SECONDS); /* for that run, or for another program that has the turn */
    }
  }
  if (w->stopped) return w->stopped == SIGINT ? ERR_SIGINT : ERR_SIGTERM;
  return w->failed ? ERR_FAILED : 0;
}

/* --- the command ------------------------------------------------------------------------------------------------------------------- */

static int queue_do(struct queue_work *w, int n, char **operand, struct err *e) {
  const char *what = n ? operand[0] : "list";
  runs_update(&w->runs);
  queue_read(&w->queue);
  if (!strcmp(what, "list") && n <= 1)
    print_queue(w);
  else if (!strcmp(what, "run") && n == 1)
    return run_queue(w);
  else if (!strcmp(what, "add") && n > 1)
    add_all(w, n - 1, operand + 1, e);
  else if (!strcmp(what, "remove") && n > 1)
    remove_all(w, n - 1, operand + 1, e);
  else
    err_set(e, ERR_USAGE, "queue takes list, run, add SUBJECT... or remove SUBJECT...; see pdmbooth-tui queue --help");
  return e->code;
}

struct queue_options {
  int none;
};

static int queue_main(void *options, int operands, char **operand) {
  (void)options;
  struct err e = {0};
  struct queue_work *w = calloc(1, sizeof *w);
  int status = ERR_FAILED;
  if (!w) return err_set(&e, ERR_FAILED, "out of memory"), say_error(&e);
  if (config_read(&w->config, &e) && store_open(&w->store, embedded_files, &e)) {
    runs_open(&w->runs, &w->config);
    status = queue_do(w, operands, operand, &e);
    runs_close(&w->runs);
  }
  store_close(&w->store);
  free(w);
  return e.code ? say_error(&e) : status;
}

static const struct option_spec queue_table[] = {{0}};

const struct command_spec queue_command = {
    .name = "queue",
    .operands = "[list|run|add SUBJECT...|remove SUBJECT...]",
    .summary = "show or train what waits to be trained",
    .about =
        "The workstation's queue, without the workstation: list (and no word at all) shows the run under way and the subjects that wait; add and remove "
        "change that; run waits for the run under way and then trains one after the other until nothing waits, as the workstation does while it is open, and "
        "as it has done in the background when it is left with a queue.\n"
        "run prints the summary of each run on standard output. A run that fails does not keep the next one from being trained; the status is then 1. On SIGTERM "
        "or SIGINT the run under way is saved and stopped, the others go on waiting.",
    .options = queue_table,
    .options_size = sizeof(struct queue_options),
    .run = queue_main,
};
