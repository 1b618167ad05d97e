/* What a person or a script wants of a run under way: requests in RUN/control/, made by `pdmbooth-tui control`, taken by the run.
 *
 * A request is an empty file whose name says everything, so that it appears whole or not at all and needs no room on a full disk:
 * ID_WHAT=VALUE@STEP, ID: 16 hexadecimal digits that grow with time; =VALUE and @STEP (not before so many steps) may be missing.
 * WHAT: lr, samples.every, checkpoints.every, checkpoint, sample (changes: journal.h), pause, go-on, stop. The value of sample, a prompt, is written as in
 * base/percent.h.
 *
 * Files do what a socket would: they reach a run on another host through a shared file system, they wait while nobody listens, a process that is killed
 * leaves nothing behind, and there is no limit of 107 bytes to a path. */
#ifndef PDMBOOTH_SRC_REQUESTS_H
#define PDMBOOTH_SRC_REQUESTS_H

#include "pdmbooth.h"

enum { REQUEST_TEXT = 240 };

enum request_kind { REQUEST_CHANGE, REQUEST_PAUSE, REQUEST_GO_ON, REQUEST_STOP };

struct request {
  enum request_kind kind;
  struct engine_message change; /* its id is the request's */
  int at;                       /* not before so many steps are done */
  char file[REQUEST_TEXT + 20];
};

/* "lr=1e-5", "pause", "sample=a red car": without ID and STEP. ERR_USAGE with what is possible. */
bool request_parse(const char *text, struct request *out, struct err *e);
/* Puts a request into RUN/control/. */
bool request_send(const char *run_dir, const char *text, int at, struct err *e);

/* The run's side. */
struct requests {
  char dir[4000];
  struct request *waiting; /* [n] by their ids, owned */
  int n, cap;
  bool paused, stop;
  char taken[REQUEST_TEXT + 20]; /* file of the change that was handed out last, "" none */
};
void requests_open(struct requests *r, const char *run_dir);
void requests_close(struct requests *r);
/* Looks for new ones: sets paused and stop (those are removed), keeps changes. refused: name of a file that means nothing, "" none. */
void requests_look(struct requests *r, char refused[REQUEST_TEXT + 20]);
/* sink.message: the change before is in the journal by now, so its file goes. */
bool requests_next(struct requests *r, int step, struct engine_message *out);

#endif
