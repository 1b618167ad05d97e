/* TensorBoard's event file of a run, beside metrics.csv: scalars of each step, and the first picture of the first prompts. */
#ifndef PDMBOOTH_SRC_EVENT_FILE_H
#define PDMBOOTH_SRC_EVENT_FILE_H

#include <sys/types.h>

#include "pdmbooth.h"

enum { EVENT_PICTURE_PROMPTS = 8 }; /* only of these: the pictures stay in samples/ anyway */

struct event_file {
  bool open;
  int fd; /* where it is open */
  char path[4096];
  off_t good; /* bytes of whole records */
};

/* Begins a new file run_dir/events.out.tfevents.TIME.HOST.PROCESS.0 with rows [n] and with the pictures on disk of steps before first_picture, then removes
   those of earlier processes: so no step stands twice, whatever was stopped and measured again. */
bool event_file_open(struct event_file *f, const char *run_dir, const struct metrics *rows, int n, int first_picture, struct err *e);
/* What cannot be written whole is taken back, so that the file stays readable. ERR_FAILED. */
bool event_file_metrics(struct event_file *f, const struct metrics *m, struct err *e);
/* path: the PNG that was written. Pictures that the file does not hold are passed over. */
bool event_file_sample(struct event_file *f, int step, int prompt, int picture, const char *path, struct err *e);
void event_file_close(struct event_file *f);

#endif
