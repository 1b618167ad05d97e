/* Subjects whose training waits for the run under way: $XDG_STATE_HOME/pdmbooth/queue.txt, one name a line, so that the queue outlives the program; programs
 * on several terminals share it. */
#ifndef PDMBOOTH_UI_QUEUE_H
#define PDMBOOTH_UI_QUEUE_H

#include "base/err.h"
#include "base/lock.h"
#include "ui/devices.h"

enum { MAX_QUEUE = 32, QUEUE_NAME = 128 };

struct queue {
  char name[MAX_QUEUE][QUEUE_NAME];
  int n;
  struct lock turn; /* held while a run of the queue goes on that this program has started: no other program starts the next one then */
  char device[DEVICE_NAME]; /* the turn of this device alone, where several compute at once; "": the one turn */
  bool taken;
};

/* As it is on the disk now; false: as before. */
bool queue_read(struct queue *q);
/* ERR_USAGE: it waits already, or the queue is full. */
bool queue_add(struct queue *q, const char *name, struct err *e);
void queue_remove(struct queue *q, const char *name);
/* The first one, which leaves the queue, and the turn with it; false: there is none, or it is another program's turn. */
bool queue_take(struct queue *q, char name[QUEUE_NAME]);
/* The run has ended. */
void queue_turn_over(struct queue *q);

#endif
