/* Completing a path that is typed, as a shell does. Touches no terminal. */
#ifndef PDMBOOTH_UI_COMPLETE_H
#define PDMBOOTH_UI_COMPLETE_H

#include <stddef.h>

/* Adds to text what all names have in common that begin as its last part does ("~/" is the home directory), and "/" where only one is left and a directory. Returns
   how many names begin so. */
int path_complete(char *text, size_t n);

#endif
