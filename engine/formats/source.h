/* Where a model's files come from: a directory on disk (files are memory-mapped) or the data embedded in the program. */
#ifndef PDMBOOTH_FORMATS_SOURCE_H
#define PDMBOOTH_FORMATS_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* Read-only bytes of one file. A mapped file is followed by no NUL byte: use size. */
struct blob {
  const unsigned char *data;
  size_t size;
  bool mapped; /* blob_close unmaps it */
};

/* One embedded file: its path such as "tiny-sd/unet/config.json". */
struct embedded_file {
  const char *path;
  const unsigned char *data;
  size_t size;
};

/* A root directory, or with embedded != NULL a prefix among the embedded files. Plain data, owns nothing but root. */
struct source {
  char root[4096];
  const struct embedded_file *embedded; /* ends with path NULL */
};

/* path: a directory. No check is made that it exists. */
void source_dir(struct source *s, const char *path);
void source_embedded(struct source *s, const struct embedded_file *files, const char *prefix);
/* Maps root/relative. ERR_INPUT with the full path where it is missing, empty or unreadable. */
bool source_open(const struct source *s, const char *relative, struct blob *out, struct err *e);
bool source_has(const struct source *s, const char *relative);
/* "root/relative" for messages, into buf; returns buf. */
const char *source_name(const struct source *s, const char *relative, char *buf, size_t n);
/* The names of the files directly in root/relative, in strcmp order: read once, so that a second look cannot find other ones. A directory that is
   not there has none. ERR_INPUT where it cannot be read, ERR_FIT without memory; then *out is empty. Owned: source_names_release. */
struct source_names {
  char **name; /* [n] */
  int n;
};
bool source_names(const struct source *s, const char *relative, struct source_names *out, struct err *e);
void source_names_release(struct source_names *names);
/* i-th entry's name (a file directly in root/relative), in strcmp order; false at the end. */
bool source_list(const struct source *s, const char *relative, int i, char *name, size_t n);

bool blob_map(const char *path, struct blob *out, struct err *e); /* one file by its path; ERR_INPUT */
void blob_forget(const struct blob *b); /* its pages leave memory; they are read again where they are looked at again */
void blob_close(struct blob *b);

/* SHA-256 of bytes as 64 hex digits and NUL. */
void sha256_hex(const void *data, size_t n, char out[65]);
struct sha256 {
  unsigned int h[8];
  unsigned long long bytes;
  unsigned char block[64];
};
void sha256_begin(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *data, size_t n);
void sha256_end(struct sha256 *s, char out[65]);

/* Writes to a temporary name in the same directory, syncs, renames over path, syncs the directory. Nothing half-written stays. */
bool write_file(const char *path, const void *data, size_t n, struct err *e);
bool make_dirs(const char *path, struct err *e); /* mkdir -p, mode 0777 & ~umask */

#endif
