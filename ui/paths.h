/* Where the interface keeps its files: the XDG base directories, and what config.ini says. */
#ifndef PDMBOOTH_UI_PATHS_H
#define PDMBOOTH_UI_PATHS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "ui/devices.h"

enum { PATH_BYTES = 3000, MAX_RUN_ROOTS = 16 };

/* $XDG_CONFIG_HOME/pdmbooth/config.ini: [ui] theme = NAME (auto: dark or light, as the terminal's background); [runs] root = DIR, repeated;
   [queue] devices = cuda:0,cuda:1. */
struct config {
  char theme[256];
  char root[MAX_RUN_ROOTS][PATH_BYTES]; /* where runs are looked for; new ones go below the first */
  int roots;
  struct device_list devices; /* the queue trains on these at the same time; none: one run after the other, on what the profiles say */
};

/* "$XDG_DATA_HOME/pdmbooth/NAME", ~/.local/share where that is not set; and so on. name may be "". False: too long, or no HOME. */
bool data_path(const char *name, char *out, size_t n);
bool state_path(const char *name, char *out, size_t n);  /* XDG_STATE_HOME, ~/.local/state */
bool config_path(const char *name, char *out, size_t n); /* XDG_CONFIG_HOME, ~/.config */

/* The file, or defaults where there is none: roots are then $XDG_DATA_HOME/pdmbooth/runs and, where it exists, ./runs. ERR_USAGE: a line that means
   nothing; the defaults then hold for it. */
bool config_read(struct config *c, struct err *e);

#endif
