/* The run directory: everything that a run leaves, and all that anybody looking at it later needs.
 *
 * profile.ini (frozen: every key), info.json (versions, machine, hashes of photographs and model), metrics.csv, the same for TensorBoard, log.txt,
 * samples/step-NNNNNN/P-K.png and samples/step-NNNNNN.png (a sheet), curves.png, summary.json; the engine adds checkpoints/, state/ and
 * journal.csv; lock names the process at work. metrics.csv, the event file and log.txt grow line by line; everything else is written to a
 * temporary name and renamed. */
#ifndef PDMBOOTH_SRC_RUNDIR_H
#define PDMBOOTH_SRC_RUNDIR_H

#include "append.h"
#include "base/lock.h"
#include "event_file.h"
#include "profile.h"

struct rundir {
  char path[3500];  /* absolute, or as given */
  bool resumed;     /* there was a run to go on with */
  bool busy;        /* rundir_open failed because another process is at work on it: the error says which */
  struct lock lock; /* held while it is open */
  const struct profile *profile;
  struct append log, csv;
  struct event_file events;
  int row_begun;        /* step of a row that is not wholly written yet, 0: none */
  struct metrics *rows; /* all of metrics.csv, owned */
  int n_rows, cap_rows;
  char last_sheet[4000]; /* the newest sheet of samples, "" when there is none */
};

/* Makes or finds the directory. dir: exactly this one; NULL: runs/<subject>/<date-time>-<profile> below the current directory. resume:
   goes on with the run in dir, or with the newest run of that profile; where there is none, or it is done, begins. ERR_USAGE: dir
   already holds a run and resume is not asked for, or the run was begun with something else (changes.h); ERR_INPUT: it cannot be written;
   ERR_FAILED with busy: another process is at work on it. rundir_close in either case. */
bool rundir_open(struct rundir *r, const struct profile *p, const struct embedded_file *embedded, const char *dir, bool resume,
                 struct err *e);
/* Only says which directory that would be (path, resumed) and touches nothing; the same errors but for writing. */
bool rundir_find(struct rundir *r, const struct profile *p, const char *dir, bool resume, struct err *e);
/* After rundir_find: whether a run that is gone on with is still made of the same (changes.h). rundir_open looks again. */
bool rundir_unchanged(const struct rundir *r, const struct embedded_file *embedded, struct err *e);
void rundir_close(struct rundir *r);

void rundir_log(struct rundir *r, enum log_level level, const char *text);
bool metrics_load(struct rundir *r, const char *path, struct err *e); /* what an earlier run measured; no file: nothing */
bool rundir_event_sample(struct rundir *r, const struct sample_event *s, const char *path, struct err *e); /* of rundir_sample */
/* A step's row. False: *e; called again with the same row it goes on where it failed. */
bool rundir_metrics(struct rundir *r, const struct metrics *m, struct err *e);
bool rundir_sync(struct rundir *r, struct err *e); /* metrics.csv is on the disk */
bool rundir_sample(struct rundir *r, const struct sample_event *s, struct err *e);
void rundir_sample_path(const struct rundir *r, const struct sample_event *s, char *buf, size_t n); /* where that one was written */
bool rundir_sheet(struct rundir *r, int step, struct err *e); /* of the pictures of that step, by the profile's prompts and count */
bool rundir_curves(struct rundir *r, struct err *e);          /* curves.png */
bool rundir_summary(struct rundir *r, const char *json, struct err *e);

/* PNG text of a sample, in out [SAMPLE_TEXTS]: AUTOMATIC1111's "parameters" and each fact by its own key. Strings are owned by owner.
   Returns how many. */
int sample_texts(const struct sample_event *s, const struct image *im, struct strings *owner, struct png_text *out);
enum { SAMPLE_TEXTS = 10 };

#endif
