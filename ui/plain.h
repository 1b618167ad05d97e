/* Without any control of the terminal: prints the lines that have changed, reads one line at a time: an action's name with what belongs to it, or a key. */
#ifndef PDMBOOTH_UI_PLAIN_H
#define PDMBOOTH_UI_PLAIN_H

#include "ui/app.h"

/* Until "quit" or the end of standard input; the exit status. */
int plain_loop(struct app *a, struct err *e);

#endif
