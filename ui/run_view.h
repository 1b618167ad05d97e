/* A run as its directory shows it: read again whenever something changed there. A run under way, one of another process and one that ended long ago look the
 * same. Touches no terminal. */
#ifndef PDMBOOTH_UI_RUN_VIEW_H
#define PDMBOOTH_UI_RUN_VIEW_H

#include <sys/types.h>

#include "live.h"
#include "pdmbooth.h"
#include "text.h"

/* RUN_STOPPED: it can go on. */
enum run_status { RUN_EMPTY, RUN_WORKING, RUN_PAUSED, RUN_STOPPED, RUN_DONE, RUN_FAILED };

/* A process has it. */
static inline bool run_is_at_work(enum run_status s) {
  return s == RUN_WORKING || s == RUN_PAUSED;
}

struct run_sample {
  int step, prompt, picture;
};
struct run_checkpoint {
  int step; /* of "final": the last step */
  bool final;
};
struct run_mark {
  int step;
  char what[32], value[32];   /* a row of journal.csv */
  char prompt[ENGINE_PROMPT]; /* that samples were asked for of; "": none */
};

struct run_view {
  char path[3500], subject[128], name[256]; /* the last two parts of the path */
  enum run_status state;
  char holder[256]; /* the process at work on it, in words, on whichever host; "" none */
  char error[1024]; /* of summary.json */
  struct live live; /* RUN_WORKING, RUN_PAUSED */
  double live_at;   /* when live.txt was written, seconds since 1970 */
  int steps;        /* of the profile, as rate: the base of the schedule */
  double rate;
  bool lora; /* of the profile: its mode */
  const char *prompt[MAX_TEST_PROMPTS];
  int prompts;
  uint64_t seed;        /* of the first picture of a prompt */
  struct metrics *rows; /* [n_rows] by step, owned */
  int n_rows;
  struct run_sample *samples; /* [n_samples] by step, prompt, picture; owned */
  int n_samples;
  struct run_checkpoint *checkpoints; /* by step; owned */
  int n_checkpoints;
  struct run_mark *marks; /* owned */
  int n_marks;
  char **log; /* [n_log] the last lines of log.txt; owned */
  int n_log;
  /* what has been read so far */
  int cap_rows, cap_log;
  off_t csv_at, log_at;
  ino_t csv_inode, log_inode;
  bool profile_read;
  struct strings owner;
  unsigned version; /* grows with each change seen */
};

void run_view_open(struct run_view *v, const char *path);
void run_view_close(struct run_view *v);
/* Reads what is new. False: nothing changed. */
bool run_view_update(struct run_view *v);

/* RUN/samples/step-NNNNNN/P-K.png. Returns buf. */
const char *run_sample_path(const struct run_view *v, const struct run_sample *s, char *buf, size_t n);
const char *run_checkpoint_path(const struct run_view *v, const struct run_checkpoint *c, char *buf, size_t n);
/* Index of the first sample of the last step that is at most `step`; -1: there is none. */
int run_samples_at(const struct run_view *v, int step);
/* The row of that step or the nearest before; NULL: none. */
const struct metrics *run_row_at(const struct run_view *v, int step);
const char *run_state_name(enum run_status s);
/* State of a run from its lock, live.txt and summary, without reading the rest. holder, error: may be NULL with 0. */
enum run_status run_state_of(const char *path, char *holder, size_t holder_n, char *error, size_t error_n);
/* The prompt of sample.prompt: of the profile, or behind those the ones that samples were asked for of. Returns "" where it is not known. */
const char *run_prompt(const struct run_view *v, int number);
int run_prompts(const struct run_view *v); /* of both kinds, at least 1 */
/* The value of a string member of RUN/summary.json; false: none. */
bool run_summary_text(const char *path, const char *member, char *out, size_t n);
bool run_summary_number(const char *path, const char *member, const char *inner, double *out);

#endif
