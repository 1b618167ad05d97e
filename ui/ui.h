/* The interactive interface: everything that draws on the terminal or reads keys. */
#ifndef PDMBOOTH_UI_UI_H
#define PDMBOOTH_UI_UI_H

#include <stdbool.h>

/* Runs until the user leaves; returns the exit status. attach: a run directory to open on the Train screen, NULL: none. plain: prints what changes line by line and reads actions and keys as lines, for screen readers and
   terminals that can do nothing. ERR_USAGE's status: there is no terminal. */
int ui_run(bool plain, const char *attach);

#endif
