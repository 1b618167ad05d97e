/* Where unit tests read and write: the folder tests of the source tree, and a temporary directory. Include after cmocka.h. */
#ifndef PDMBOOTH_TESTS_FOLDER_H
#define PDMBOOTH_TESTS_FOLDER_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* PDMBOOTH_TESTS names the folder tests; make check gives TEST_SRCDIR; else this is run from the top of the tree. */
static inline const char *tests_path(const char *name, char *buf, size_t n) {
  const char *tests = getenv("PDMBOOTH_TESTS"), *top = getenv("TEST_SRCDIR");
  if (tests != NULL)
    snprintf(buf, n, "%s/%s", tests, name);
  else
    snprintf(buf, n, "%s%stests/%s", top != NULL ? top : "", top != NULL ? "/" : "", name);
  return buf;
}

/* A fresh directory into buf. */
static inline void folder_make(char *buf, size_t n) {
  const char *base = getenv("TMPDIR");
  snprintf(buf, n, "%s/pdmbooth-test-XXXXXX", base != NULL ? base : "/tmp");
  assert_non_null(mkdtemp(buf));
}

/* Removes the directory and the files in it. */
static inline void folder_remove(const char *dir) {
  DIR *d = opendir(dir);
  for (struct dirent *entry; d != NULL && (entry = readdir(d)) != NULL;) {
    char path[4500];
    snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && unlink(path) != 0) rmdir(path);
  }
  if (d != NULL) closedir(d);
  rmdir(dir);
}

/* Files in the directory, so that a test sees what was left behind. */
static inline int folder_count(const char *dir) {
  int n = 0;
  DIR *d = opendir(dir);
  for (struct dirent *entry; d != NULL && (entry = readdir(d)) != NULL;) n += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
  if (d != NULL) closedir(d);
  return n;
}

#endif
