/* A profile: an INI file, checked key by key against the table in keys.h, as struct settings. */
#ifndef PDMBOOTH_SRC_PROFILE_H
#define PDMBOOTH_SRC_PROFILE_H

#include "keys.h"

struct profile {
  struct settings settings; /* strings owned by owner */
  struct strings owner;
  char name[128]; /* of the file, without ".ini": one path component */
  char file[4096];
};

/* path: a file, or "embedded:demo" for "profiles/demo.ini" among embedded. sets: n_sets texts "section.key=value" that override it.
   [profile] base of a file names another one, whose values come first. Paths inside a file are relative to its directory, those of sets to the
   current one. ERR_INPUT: the file or the model cannot be found;
   ERR_USAGE: everything that is wrong inside, by file, line and key. profile_release in either case. */
bool profile_load(struct profile *p, const char *path, const struct embedded_file *embedded, const char *const *sets, int n_sets,
                  struct err *e);
void profile_release(struct profile *p);

/* Every key with its value, as a profile that gives the same run from anywhere. Owned by the caller; NULL: out of memory. */
char *profile_text(const struct profile *p);

/* Reads the lines of an INI text; each "key = value" goes to take (false from it stops). Refuses NUL bytes, text that is not UTF-8, lines
   that are too long and lines that are neither section, comment nor key: ERR_USAGE with file and line. */
typedef bool (*ini_take)(void *user, const char *section, const char *name, const char *value, int line, struct err *e);
bool ini_read(const char *file, const char *text, size_t n, ini_take take, void *user, struct err *e);
/* The bytes of a file, or of "embedded:NAME" as folder/NAME.ini; owned by the caller, NUL-terminated. */
char *text_file_read(const char *path, const struct embedded_file *embedded, const char *folder, size_t *n, struct err *e);

/* Directories that the profile names and that are not there: ERR_INPUT, before anything is written. */
bool profile_inputs(const struct profile *p, struct err *e);

#endif
