/* Being considerate on a busy machine. */
#ifndef PDMBOOTH_SRC_BUSY_H
#define PDMBOOTH_SRC_BUSY_H

#include "pdmbooth.h"

/* Lowers this process's priority: nice value n (1 to 19) for the processor; for disks the lowest best-effort level, idle from 10 on.
   ERR_FAILED where the system refuses. To be called before threads are started. */
bool busy_nice(int n, struct err *e);

/* Waits until what the plan of s needs is free, asking every few seconds; s->engine.wait is set. What it waits for goes to the sink's log, once
   and whenever the wait has doubled. ERR_FIT: it would never fit; ERR_SIGINT, ERR_SIGTERM: stopped by the sink's poll. */
bool busy_wait(const struct settings *s, const struct embedded_file *embedded, const struct sink *sink, struct err *e);

#endif
