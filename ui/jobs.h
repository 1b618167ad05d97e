/* Processes that the interface starts: runs (`--batch`) and single commands (`plan`). Each leads a session of its own, so that a lost terminal, Ctrl-C or the
 * end of the interface does not touch it: a run goes on whatever becomes of who looks at it. */
#ifndef PDMBOOTH_UI_JOBS_H
#define PDMBOOTH_UI_JOBS_H

#include <sys/types.h>

#include "base/err.h"

enum { MAX_JOBS = 16, JOB_ARGUMENTS = 600 };

struct app;
struct job_end;

struct job {
  pid_t pid;
  bool training;
  bool stays;                                              /* goes on when the interface ends */
  void (*ended)(struct app *a, const struct job_end *end); /* of one that is no training: what becomes of its end */
  char what[3500];                                         /* the run directory, or the folder of the pictures */
  char errors[3600];                                       /* file that its standard error goes to */
};
struct jobs {
  struct job job[MAX_JOBS];
  int n;
};

/* The end of a job. */
struct job_end {
  struct job job;
  int status;      /* exit status; 128 + number for a signal */
  char text[1024]; /* the last line that it wrote to standard error */
  char all[6000];  /* everything, cut; of a command that is no training with its standard output */
};

/* Starts this very program with the NULL-terminated arguments. low: at the lowest priority. */
bool jobs_start(struct jobs *j, const char *const *arguments, bool training, bool low, const char *what, struct err *e);
/* After SIGCHLD, again and again until it is false: takes one job that has ended. */
bool jobs_reap(struct jobs *j, struct job_end *out);
/* The job that was started last. */
struct job *jobs_last(struct jobs *j);
/* The last line that it wrote so far, "" none: how far it is. Returns buf. */
const char *jobs_says(const struct job *job, char *buf, size_t n);
const struct job *jobs_find(const struct jobs *j, pid_t pid);           /* NULL: it has ended */
const struct job *jobs_training(const struct jobs *j, const char *run); /* NULL as run: any; NULL: none */
/* The interface ends: what only it would look at is stopped (SIGTERM, then SIGKILL); trainings and those that stay go on. */
void jobs_close(struct jobs *j);
void jobs_signal(const struct job *job, int number);

#endif
