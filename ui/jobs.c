#include "ui/jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "formats/source.h"
#include "text.h"
#include "ui/paths.h"

/* In the child: only what is allowed between fork and exec in a program with threads. */
static void become(const char *const *argument, int errors, bool training, bool low) {
  sigset_t none;
  int null = open("/dev/null", O_RDWR);
  setsid();
  if (null < 0 || dup2(null, 0) < 0 || dup2(training ? null : errors, 1) < 0 || dup2(errors, 2) < 0) _exit(126);
  if (low) setpriority(PRIO_PROCESS, 0, 19);
  for (int i = 1; i < NSIG; i++) signal(i, SIG_DFL);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  execv("/proc/self/exe", (char *const *)(void *)(size_t)argument);
  _exit(127);
}

static int open_errors(char *path, size_t n, struct err *e) {
  char dir[3000];
  static int number;
  if (!state_path("jobs", dir, sizeof dir) || !make_dirs(dir, e))
    return err_set(e, ERR_FAILED, "there is no place for the job's messages"), -1;
  text_put(path, n, "%s/%d-%d.txt", dir, (int)getpid(), number++);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_APPEND, 0600);
  if (fd < 0) err_set_errno(e, ERR_FAILED, "%s cannot be written", path);
  return fd;
}

bool jobs_start(struct jobs *j, const char *const *arguments, bool training, bool low, const char *what, struct err *e) {
  struct job *job = &j->job[j->n];
  const char *argument[JOB_ARGUMENTS + 2] = {"pdmbooth-tui"};
  if (j->n == MAX_JOBS) return err_set(e, ERR_FAILED, "%d jobs are under way already", MAX_JOBS);
  for (int i = 0; i < JOB_ARGUMENTS && arguments[i]; i++) argument[i + 1] = arguments[i];
  *job = (struct job){.training = training};
  text_put(job->what, sizeof job->what, "%s", what);
  int errors = open_errors(job->errors, sizeof job->errors, e);
  if (errors < 0) return false;
  job->pid = fork();
  if (!job->pid) become(argument, errors, training, low);
  close(errors);
  if (job->pid < 0) return err_set_errno(e, ERR_FAILED, "the job cannot be started");
  j->n++;
  return true;
}

static void read_all(const char *path, char *out, size_t n) {
  FILE *f = fopen(path, "r");
  size_t got = f ? fread(out, 1, n - 1, f) : 0;
  out[got] = 0;
  if (f) fclose(f);
}

/* The last line with something in it. */
static void last_line(const char *path, char *out, size_t n) {
  char line[1024];
  FILE *f = fopen(path, "r");
  *out = 0;
  while (f && fgets(line, sizeof line, f)) {
    const char *text = line, *said = "pdmbooth-tui: error: ";
    line[strcspn(line, "\n")] = 0;
    if (!strncmp(text, said, strlen(said))) text += strlen(said);
    if (*text) text_put(out, n, "%s", text);
  }
  if (f) fclose(f);
}

bool jobs_reap(struct jobs *j, struct job_end *out) {
  for (int i = 0; i < j->n; i++) {
    int status;
    pid_t got = waitpid(j->job[i].pid, &status, WNOHANG);
    if (!got || (got < 0 && errno != ECHILD)) continue;
    out->job = j->job[i];
    out->status = got < 0 ? 0 : WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    last_line(out->job.errors, out->text, sizeof out->text);
    read_all(out->job.errors, out->all, sizeof out->all);
    unlink(out->job.errors);
    j->job[i] = j->job[--j->n];
    return true;
  }
  return false;
}

struct job *jobs_last(struct jobs *j) {
  return &j->job[j->n - 1];
}

const char *jobs_says(const struct job *job, char *buf, size_t n) {
  last_line(job->errors, buf, n);
  return buf;
}

const struct job *jobs_find(const struct jobs *j, pid_t pid) {
  for (int i = 0; i < j->n; i++) {
    if (j->job[i].pid == pid) return &j->job[i];
  }
  return NULL;
}

const struct job *jobs_training(const struct jobs *j, const char *run) {
  for (int i = 0; i < j->n; i++) {
    if (j->job[i].training && (!run || !strcmp(run, j->job[i].what))) return &j->job[i];
  }
  return NULL;
}

static bool goes(const struct job *job) {
  return !job->training && !job->stays;
}

void jobs_close(struct jobs *j) {
  enum { TRIES = 100 };
  const struct timespec pause = {.tv_nsec = 10000000};
  for (int i = 0; i < j->n; i++) {
    if (goes(&j->job[i])) jobs_signal(&j->job[i], SIGTERM);
  }
  for (int i = 0; i < j->n; i++) {
    struct job *job = &j->job[i];
    int status, tries = 0;
    if (!goes(job)) continue;
    while (!waitpid(job->pid, &status, WNOHANG) && tries++ < TRIES) nanosleep(&pause, NULL);
    if (tries >= TRIES) jobs_signal(job, SIGKILL), waitpid(job->pid, &status, 0);
    unlink(job->errors);
  }
  j->n = 0;
}

void jobs_signal(const struct job *job, int number) {
  if (job->pid > 0) kill(job->pid, number);
}
