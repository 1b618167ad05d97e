/* What a person thinks of the steps of a run: stars, a note, rejected. Kept in RUN/verdicts.ini. */
#ifndef PDMBOOTH_UI_VERDICTS_H
#define PDMBOOTH_UI_VERDICTS_H

#include "base/err.h"

enum { MAX_VERDICTS = 256, MOST_STARS = 3 };

struct verdict {
  int step, stars;
  bool rejected;
  char note[300];
};
struct verdicts {
  char path[3600]; /* of the file */
  struct verdict of[MAX_VERDICTS];
  int n;
};

/* Those of the run; none where there is no file or it cannot be read. */
void verdicts_read(struct verdicts *v, const char *run);
/* Of that step; NULL: none was given. */
const struct verdict *verdicts_at(const struct verdicts *v, int step);
/* To be changed; NULL: too many. */
struct verdict *verdicts_give(struct verdicts *v, int step);
bool verdicts_write(const struct verdicts *v, struct err *e);

#endif
