/* RUN/live.txt: where a run is inside its stage, for whoever watches the directory: one line "stage TAB done TAB total TAB began TAB first TAB
 * paused TAB pid TAB memory TAB load", began: wall-clock seconds at which the stage stood at first; memory: bytes of the process; load: share of the
 * processors that it may use, 0 to 1, since the line before. Renamed into place at most twice a second and at each new stage; never synced: it is worth
 * nothing after the run. */
#ifndef PDMBOOTH_SRC_LIVE_H
#define PDMBOOTH_SRC_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct live {
  char stage[64];
  int64_t done, total, first;
  double began; /* seconds since 1970 */
  bool paused;
  long pid;           /* of the process at work */
  int64_t memory;     /* 0: not known */
  double load;        /* NaN: not known */
  double told, spent; /* by the writer: when it wrote last, and the seconds of processors it had used by then */
};

/* The writer's side; zero-initialised. A file that cannot be written is left as it was: nothing depends on it. */
void live_put(struct live *l, const char *run_dir, const char *stage, int64_t done, int64_t total);
void live_pause(struct live *l, const char *run_dir, bool paused); /* writes at once where that is new */
void live_end(const char *run_dir);                                /* nobody is at work on it any more */
/* False where there is none, or it is none. */
bool live_read(const char *run_dir, struct live *out);
/* Units a second since the stage began here, 0: not known; at: when `done` was reached, seconds since 1970. */
double live_rate(const struct live *l, double at);

#endif
