#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

void fuzz_fail(const char *what) {
  fprintf(stderr, "fuzz: %s\n", what);
  abort();
}

void fuzz_check_error(bool ok, const struct err *e) {
  if (ok && e->code != ERR_OK) fuzz_fail("an error was set by a call that did not fail");
  if (ok) return;
  if (e->code == ERR_OK || e->text[0] == 0) fuzz_fail("a call failed without a word");
  if (strcmp(err_meaning(e->code), "unknown") == 0) fuzz_fail("a status that is not in the table");
  if (memchr(e->text, '\n', strnlen(e->text, sizeof e->text)) != NULL) fuzz_fail("a message of more than one line");
}

void fuzz_use(double sum) {
  static volatile double used;
  used = sum;
  (void)used;
}

const char *fuzz_file(const uint8_t *data, size_t n) {
  static char path[64];
  static int fd = -1;
  if (fd < 0) {
    fd = memfd_create("fuzz", MFD_CLOEXEC);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  }
  if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, n, 0) != (ssize_t)n) return NULL;
  return path;
}

void fuzz_split(const uint8_t *data, size_t n, struct embedded_file *files, int max) {
  for (int i = 0; i < max; i++) {
    const uint8_t *cut = n > 0 ? memchr(data, 0xff, n) : NULL;
    size_t part = cut != NULL && i + 1 < max ? (size_t)(cut - data) : n;
    files[i].data = data;
    files[i].size = part;
    data += part < n ? part + 1 : part;
    n -= part < n ? part + 1 : part;
  }
}

char *fuzz_text(const uint8_t *data, size_t n) {
  char *text = malloc(n + 1);
  if (text == NULL) return NULL;
  memcpy(text, data, n);
  text[n] = 0;
  return text;
}
