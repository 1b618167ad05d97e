/* Changing one key of a JSON object and leaving the rest of its text as it is: Python's configs distinguish 1 from 1.0, which parsing and
 * printing again would lose. */
#ifndef PDMBOOTH_FORMATS_JSON_EDIT_H
#define PDMBOOTH_FORMATS_JSON_EDIT_H

#include <stdbool.h>

/* text: a valid JSON object, NUL-terminated, malloc'd. Gives a new text in which the top-level key has the value (JSON text, e.g. "\"float32\"" or "[1, 2]")
   and frees the old one. keep: a value that is there and not null stays. NULL, with text freed, when out of memory or text is NULL. */
char *json_set(char *text, const char *key, const char *value, bool keep);

#endif
