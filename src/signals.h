/* SIGINT and SIGTERM ask the engine to save and stop; a second SIGINT ends at once. */
#ifndef PDMBOOTH_SRC_SIGNALS_H
#define PDMBOOTH_SRC_SIGNALS_H

#include "pdmbooth.h"

void signals_catch(void);                        /* SIGPIPE is ignored: a reader of our output that goes away does not end a run */
enum engine_command signals_poll(void *ignored); /* what the engine's sink asks */

#endif
