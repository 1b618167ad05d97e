/* The interactive interface: everything that will draw on the terminal or read keys. */
#ifndef PDMBOOTH_UI_UI_H
#define PDMBOOTH_UI_UI_H

/* Runs until the user leaves; returns the exit status. In this release there is no interface yet: says so and returns 2. */
int ui_run(void);

#endif
