/* Changing values in an INI text while its comments, its order and everything else stay. */
#ifndef PDMBOOTH_UI_INI_EDIT_H
#define PDMBOOTH_UI_INI_EDIT_H

#include "base/err.h"
#include "keys.h"

/* The text with [section] name given the n values (KEY_LIST: the key repeated; others: one; 0: taken out), under whichever of its names it stands there. What is
   new goes to the end of its section, or to a section of its own at the end. Owned by the caller; NULL: out of memory. */
char *ini_with(const char *text, const struct key *k, const char *const *values, int n);

/* Puts text into path: temporary name, sync, rename; what path held before is kept as path.bak. */
bool ini_save(const char *path, const char *text, struct err *e);

#endif
