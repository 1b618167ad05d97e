#include "base/fs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { PATH = 4400, OPEN_DIRS = 16 };

static int remove_one(const char *path, const struct stat *s, int kind, struct FTW *f) {
  (void)s;
  (void)kind;
  (void)f;
  remove(path);
  return 0; /* the rest can still go */
}

void fs_remove_tree(const char *path) {
  nftw(path, remove_one, OPEN_DIRS, FTW_DEPTH | FTW_PHYS);
}

void fs_sync_dir(const char *dir) {
  int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  (void)!fsync(fd);
  close(fd);
}

void fs_parent(const char *path, char *out, size_t n) {
  const char *slash = strrchr(path, '/');
  if (!slash)
    snprintf(out, n, ".");
  else
    snprintf(out, n, "%.*s", slash == path ? 1 : (int)(slash - path), path);
}

void fs_sync_parent(const char *path) {
  char dir[PATH];
  fs_parent(path, dir, sizeof dir);
  fs_sync_dir(dir);
}

void fs_temporary(const char *dir, char *out, size_t n) {
  snprintf(out, n, "%s.tmp-%ld", dir, (long)getpid());
}

bool fs_settle(const char *from, const char *to, struct err *e) {
  fs_sync_dir(from);
  fs_remove_tree(to);
  if (rename(from, to) != 0) return err_set_errno(e, ERR_FAILED, "%s: cannot be renamed to %s", from, to);
  fs_sync_parent(to);
  return true;
}

/* "name.tmp-123..." */
static bool is_temporary(const char *name) {
  const char *mark = strstr(name, ".tmp-");
  return mark && mark > name && isdigit((unsigned char)mark[5]);
}

static int tidy_one(const char *path, const struct stat *s, int kind, struct FTW *f) {
  (void)s;
  (void)kind;
  if (f->level > 0 && is_temporary(path + f->base)) fs_remove_tree(path);
  return 0;
}

void fs_tidy(const char *dir, const char *prefix) {
  if (!prefix) {
    nftw(dir, tidy_one, OPEN_DIRS, FTW_DEPTH | FTW_PHYS);
    return;
  }
  DIR *d = opendir(dir);
  for (struct dirent *x; d && (x = readdir(d));) {
    char path[PATH];
    if (strncmp(x->d_name, prefix, strlen(prefix)) != 0 || !is_temporary(x->d_name)) continue;
    if (snprintf(path, sizeof path, "%s/%s", dir, x->d_name) < (int)sizeof path) unlink(path);
  }
  if (d) closedir(d);
}

int64_t fs_room(const char *path) {
  char at[PATH];
  struct statvfs v;
  if (snprintf(at, sizeof at, "%s", path) >= (int)sizeof at) return -1;
  while (statvfs(at, &v) != 0) {
    char up[PATH];
    if (errno != ENOENT || strcmp(at, "/") == 0 || strcmp(at, ".") == 0) return -1;
    fs_parent(at, up, sizeof up);
    memcpy(at, up, sizeof at);
  }
  return (int64_t)v.f_bavail * (int64_t)v.f_frsize;
}

bool fs_is_full(int number) {
  return number == ENOSPC || number == EDQUOT;
}
