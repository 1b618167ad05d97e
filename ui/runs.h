/* All runs that can be seen from here: ROOT/SUBJECT/RUN below each root, whoever started them; and the one that is looked at, in full.
 * Directories are watched by inotify, so that nothing is done while nothing changes. */
#ifndef PDMBOOTH_UI_RUNS_H
#define PDMBOOTH_UI_RUNS_H

#include "ui/paths.h"
#include "ui/run_view.h"

struct run_item {
  char path[PATH_BYTES], subject[128], name[256];
  enum run_status state;
  double last_loss, probe; /* of summary.json, NaN: not known */
};

struct runs {
  const struct config *config;
  int inotify;           /* -1: there is none, then everything is read again at each look */
  struct run_item *item; /* [n] the newest first, owned */
  int n, cap;
  char attached[PATH_BYTES]; /* a run that was named (--attach), wherever it is; "" none */
  struct run_view view;      /* the run that is looked at; path "" none */
  bool list_dirty, view_dirty;
  int *view_watch, n_view_watch; /* inotify's numbers of the directories of view, owned */
};

void runs_open(struct runs *r, const struct config *c);
void runs_close(struct runs *r);
/* Reads what inotify tells and notes what is to be read again. */
void runs_notice(struct runs *r);
/* Reads again what has changed; false: nothing had. The processes of runs under way are looked for as well: one that was killed tells nobody. */
bool runs_update(struct runs *r);
/* Has a run in the list that need not be below a root, and looks at it. ERR_INPUT: it is none. */
bool runs_attach(struct runs *r, const char *path, struct err *e);
/* Looks at another run. */
void runs_view(struct runs *r, const char *path);
int runs_find(const struct runs *r, const char *path); /* -1: not in the list */
/* The run of that subject that is worth looking at first: one at work, else the newest; -1: none. NULL: of any subject. */
int runs_of(const struct runs *r, const char *subject);
/* Makes the directory of a new run of that subject, ROOT/SUBJECT/DATE-TIME-profile, and writes its path. ERR_FAILED: there is no place for runs. */
bool runs_new_directory(const struct config *c, const char *subject, char *out, size_t n, struct err *e);
int runs_count(const struct runs *r, const char *subject);
const struct run_item *runs_working(const struct runs *r); /* one that is at work; NULL: none */

#endif
