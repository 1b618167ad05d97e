#include "formats/source.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_SIZE = 4096 + 1024 };

static void set_root(struct source *s, const char *path) {
  snprintf(s->root, sizeof s->root, "%s", path);
  size_t n = strlen(s->root);
  while (n > 1 && s->root[n - 1] == '/') s->root[--n] = 0;
}

void source_dir(struct source *s, const char *path) {
  s->embedded = NULL;
  set_root(s, path);
}

void source_embedded(struct source *s, const struct embedded_file *files, const char *prefix) {
  s->embedded = files;
  set_root(s, prefix);
}

const char *source_name(const struct source *s, const char *relative, char *buf, size_t n) {
  bool joined = s->root[0] != 0 && relative[0] != 0;
  snprintf(buf, n, "%s%s%s", s->root, joined && strcmp(s->root, "/") != 0 ? "/" : "", relative);
  return buf;
}

static const struct embedded_file *find_embedded(const struct source *s, const char *name) {
  for (const struct embedded_file *f = s->embedded; f->path != NULL; f++)
    if (strcmp(f->path, name) == 0) return f;
  return NULL;
}

bool source_open(const struct source *s, const char *relative, struct blob *out, struct err *e) {
  char name[NAME_SIZE];
  source_name(s, relative, name, sizeof name);
  if (s->embedded == NULL) return blob_map(name, out, e);
  *out = (struct blob){0};
  const struct embedded_file *f = find_embedded(s, name);
  if (f == NULL) return err_set(e, ERR_INPUT, "%s: not among the files embedded in the program", name);
  *out = (struct blob){.data = f->data, .size = f->size};
  return true;
}

bool source_has(const struct source *s, const char *relative) {
  char name[NAME_SIZE];
  struct stat st;
  source_name(s, relative, name, sizeof name);
  if (s->embedded != NULL) return find_embedded(s, name) != NULL;
  return stat(name, &st) == 0 && S_ISREG(st.st_mode);
}

/* The name that follows directory in path when the file lies directly in it, else NULL. */
static const char *directly_in(const char *path, const char *directory) {
  size_t n = strlen(directory);
  if (n > 0 && (strncmp(path, directory, n) != 0 || path[n] != '/')) return NULL;
  const char *name = path + n + (n > 0);
  return strchr(name, '/') == NULL ? name : NULL;
}

static const char *list_embedded(const struct source *s, const char *directory, int i) {
  const char *last = NULL;
  for (int k = 0; k <= i; k++) { /* the smallest name above the last one */
    const char *next = NULL;
    for (const struct embedded_file *f = s->embedded; f->path != NULL; f++) {
      const char *name = directly_in(f->path, directory);
      if (name != NULL && (last == NULL || strcmp(name, last) > 0) && (next == NULL || strcmp(name, next) < 0)) next = name;
    }
    if (next == NULL) return NULL;
    last = next;
  }
  return last;
}

static int by_name(const struct dirent **a, const struct dirent **b) {
  return strcmp((*a)->d_name, (*b)->d_name);
}

static bool is_file(const char *directory, const struct dirent *d) {
  char path[NAME_SIZE + sizeof d->d_name];
  struct stat st;
  if (d->d_type == DT_REG) return true;
  if (d->d_type != DT_LNK && d->d_type != DT_UNKNOWN) return false;
  snprintf(path, sizeof path, "%s/%s", directory, d->d_name);
  return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool source_list(const struct source *s, const char *relative, int i, char *name, size_t n) {
  char directory[NAME_SIZE];
  source_name(s, relative, directory, sizeof directory);
  if (s->embedded != NULL) {
    const char *found = list_embedded(s, directory, i);
    return found != NULL && snprintf(name, n, "%s", found) < (int)n;
  }
  struct dirent **entry = NULL;
  int count = scandir(directory, &entry, NULL, by_name), seen = 0;
  bool found = false;
  for (int k = 0; k < count; k++) {
    if (!found && is_file(directory, entry[k]) && seen++ == i) found = snprintf(name, n, "%s", entry[k]->d_name) < (int)n;
    free(entry[k]);
  }
  free(entry);
  return found;
}

static bool map(int fd, const char *path, struct blob *out, struct err *e) {
  struct stat st;
  if (fstat(fd, &st) != 0) return err_set_errno(e, ERR_INPUT, "%s: cannot read", path);
  if (!S_ISREG(st.st_mode)) return err_set(e, ERR_INPUT, "%s: is not a file%s", path, S_ISDIR(st.st_mode) ? " but a directory" : "");
  if (st.st_size == 0) return err_set(e, ERR_INPUT, "%s: the file is empty", path);
  void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (data == MAP_FAILED) return err_set_errno(e, ERR_INPUT, "%s: cannot map the file", path);
  *out = (struct blob){.data = data, .size = (size_t)st.st_size, .mapped = true};
  return true;
}

bool blob_map(const char *path, struct blob *out, struct err *e) {
  *out = (struct blob){0};
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not make us wait */
  if (fd < 0) return err_set_errno(e, ERR_INPUT, "%s: cannot open", path);
  bool good = map(fd, path, out, e);
  close(fd);
  return good;
}

void blob_close(struct blob *b) {
  if (b->mapped) munmap((void *)(uintptr_t)b->data, b->size);
  *b = (struct blob){0};
}

bool make_dirs(const char *path, struct err *e) {
  char part[4096];
  size_t n = strlen(path);
  struct stat st;
  if (n == 0 || n >= sizeof part) return err_set(e, ERR_FAILED, "%.200s: not a usable directory name", path);
  for (size_t i = 1; i <= n; i++) {
    if (path[i] != '/' && path[i] != 0) continue;
    memcpy(part, path, i);
    part[i] = 0;
    if (mkdir(part, 0777) != 0 && (stat(part, &st) != 0 || !S_ISDIR(st.st_mode)))
      return err_set_errno(e, ERR_FAILED, "%s: cannot create the directory %s", path, part);
  }
  return true;
}
