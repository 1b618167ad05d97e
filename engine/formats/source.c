#include "formats/source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"

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

static int by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Room for every power of two names is made when it is reached. */
static bool add_name(struct source_names *names, const char *name) {
  if ((names->n & (names->n - 1)) == 0) {
    char **bigger = realloc(names->name, (size_t)(names->n > 0 ? 2 * names->n : 1) * sizeof *bigger);
    if (bigger == NULL) return false;
    names->name = bigger;
  }
  names->name[names->n] = strdup(name);
  return names->name[names->n] != NULL && ++names->n > 0;
}

static bool is_file(const char *directory, const struct dirent *d) {
  char path[NAME_SIZE + sizeof d->d_name];
  struct stat st;
  if (d->d_type == DT_REG) return true;
  if (d->d_type != DT_LNK && d->d_type != DT_UNKNOWN) return false;
  snprintf(path, sizeof path, "%s/%s", directory, d->d_name);
  return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool names_in_directory(const char *directory, struct source_names *out, struct err *e) {
  DIR *d = opendir(directory);
  if (d == NULL && (errno == ENOENT || errno == ENOTDIR)) return true;
  if (d == NULL) return err_set_errno(e, errno == ENOMEM ? ERR_FIT : ERR_INPUT, "%s: cannot read the directory", directory);
  bool ok = true;
  const struct dirent *entry;
  for (errno = 0; ok && (entry = readdir(d)) != NULL; errno = 0)
    if (is_file(directory, entry)) ok = add_name(out, entry->d_name) || err_set(e, ERR_FIT, "%s: out of memory", directory);
  if (ok && errno != 0) ok = err_set_errno(e, ERR_INPUT, "%s: cannot read the directory", directory);
  closedir(d);
  return ok;
}

static bool names_embedded(const struct source *s, const char *directory, struct source_names *out, struct err *e) {
  for (const struct embedded_file *f = s->embedded; f->path != NULL; f++) {
    const char *name = directly_in(f->path, directory);
    if (name != NULL && !add_name(out, name)) return err_set(e, ERR_FIT, "%s: out of memory", directory);
  }
  return true;
}

bool source_names(const struct source *s, const char *relative, struct source_names *out, struct err *e) {
  char directory[NAME_SIZE];
  *out = (struct source_names){0};
  source_name(s, relative, directory, sizeof directory);
  bool ok = s->embedded != NULL ? names_embedded(s, directory, out, e) : names_in_directory(directory, out, e);
  if (!ok) source_names_release(out);
  if (out->n > 1) qsort(out->name, (size_t)out->n, sizeof *out->name, by_name);
  return ok;
}

void source_names_release(struct source_names *names) {
  for (int i = 0; i < names->n; i++) free(names->name[i]);
  free(names->name);
  *names = (struct source_names){0};
}

bool source_list(const struct source *s, const char *relative, int i, char *name, size_t n) {
  struct source_names names;
  bool found = source_names(s, relative, &names, NULL) && i < names.n && snprintf(name, n, "%s", names.name[i]) < (int)n;
  source_names_release(&names);
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

void blob_forget(const struct blob *b) {
  if (b->mapped) (void)madvise((void *)(uintptr_t)b->data, b->size, MADV_DONTNEED); /* a wish; without it memory is held longer */
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
    if (mkdir(part, 0777) == 0) {
      fs_sync_parent(part);
      continue;
    }
    int number = errno;
    if (stat(part, &st) == 0 && S_ISDIR(st.st_mode)) continue;
    errno = number;
    return err_set_errno(e, ERR_FAILED, "%s: cannot create the directory %s", path, part);
  }
  return true;
}
