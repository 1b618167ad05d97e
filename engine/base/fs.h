/* Directories and names on disk. Temporary names, of files and of directories, have the form NAME.tmp-PID...: whoever holds the lock of a
 * directory (lock.h) may remove those that a killed process left. */
#ifndef PDMBOOTH_BASE_FS_H
#define PDMBOOTH_BASE_FS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Removes a file, or a directory and all in it; follows no links. What is not there is no error. */
void fs_remove_tree(const char *path);
/* Makes the entries of a directory (of the directory that path is in) outlast a power cut. File systems that cannot are let be. */
void fs_sync_dir(const char *dir);
void fs_sync_parent(const char *path);
void fs_parent(const char *path, char *out, size_t n); /* "." where path has no slash */

/* DIR.tmp-PID: where a directory is made that shall appear whole or not at all. */
void fs_temporary(const char *dir, char *out, size_t n);
/* The directory `from`, whose files are synced, takes the place of `to`: synced, renamed, the rename synced. What `to` was is removed first. */
bool fs_settle(const char *from, const char *to, struct err *e);
/* Removes what has a temporary name in dir, at any depth; prefix: only names in dir itself that begin so, NULL: all. */
void fs_tidy(const char *dir, const char *prefix);

/* Bytes that may still be written to the file system that path is on, or will be on once it exists; -1: cannot be told. */
int64_t fs_room(const char *path);
/* Whether a failed write's errno says that there is no room: disk or quota. */
bool fs_is_full(int number);

#endif
