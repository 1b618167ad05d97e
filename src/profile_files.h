/* The files that a profile consists of: itself, the one that its [profile] base names, that one's base, and so on. */
#ifndef PDMBOOTH_SRC_PROFILE_FILES_H
#define PDMBOOTH_SRC_PROFILE_FILES_H

#include "base/err.h"
#include "formats/source.h"
#include "text.h"

enum { MAX_PROFILE_FILES = 8 };

struct profile_file {
  const char *path; /* as it can be opened, for messages: "me.ini", "dir/../common.ini", "embedded:sd15-lora" */
  const char *dir;  /* absolute; relative paths inside begin there; the current directory of an embedded one */
  const char *text; /* [n] and NUL */
  size_t n;
  const char *base; /* what its [profile] base says; NULL or "": none */
  int line;         /* of that */
  const char *real; /* without links, to tell one file from another */
};

struct profile_files {
  struct profile_file file[MAX_PROFILE_FILES]; /* the user's first, then its base ... */
  int n;
  char *text[MAX_PROFILE_FILES]; /* owned */
};

/* path: a file or embedded:NAME. here: the current directory. Strings are owned by owner. ERR_INPUT: a file cannot be read; ERR_USAGE: it is no INI text,
   or the chain of bases is longer than MAX_PROFILE_FILES or leads back to itself. profile_files_release in either case. */
bool profile_files_read(struct profile_files *f, const char *path, const char *here, const struct embedded_file *embedded,
                        struct strings *owner, struct err *e);
void profile_files_release(struct profile_files *f);

#endif
