#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/image.h"
#include "formats/json.h"
#include "formats/npy.h"
#include "formats/safetensors.h"
#include "torture.h"

/* Calls f for every file and directory below dir, in the order of names; relative: its path below dir. Stops where f returns false. */
typedef bool (*visit)(const char *path, const char *relative, const struct stat *st, void *user);

static bool walk(const char *dir, const char *below, visit f, void *user) {
  struct dirent **entry;
  int n = scandir(dir, &entry, NULL, alphasort);
  bool on = true;
  for (int i = 0; i < n; i++) {
    char path[PATHS], relative[PATHS];
    struct stat st;
    const char *name = entry[i]->d_name;
    if (on && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
      int a = snprintf(path, sizeof path, "%s/%s", dir, name);
      int b = snprintf(relative, sizeof relative, "%s%s%s", below, below[0] != 0 ? "/" : "", name);
      on = a < PATHS && b < PATHS && lstat(path, &st) == 0 && f(path, relative, &st, user);
      if (on && S_ISDIR(st.st_mode)) on = walk(path, relative, f, user);
    }
    free(entry[i]);
  }
  if (n >= 0) free(entry);
  return on;
}

static bool ends(const char *name, const char *end) {
  size_t n = strlen(name), k = strlen(end);
  return n >= k && strcasecmp(name + n - k, end) == 0;
}

/* --- whole files -------------------------------------------------------------------------------------------------------------------- */

struct finding {
  char *why;
  size_t n;
};

static bool whole_json(const char *path, struct err *e) {
  struct blob b;
  if (!blob_map(path, &b, e)) return false;
  struct json *j = json_parse(b.data, b.size, path, e);
  blob_close(&b);
  json_close(j);
  return j != NULL;
}

/* As many cells in every row as in the first, and an end to the last. */
static bool whole_csv(const char *path, struct err *e) {
  struct blob b;
  int first = -1, cells = 0;
  if (!blob_map(path, &b, e)) return false;
  bool ok = b.size > 0 && b.data[b.size - 1] == '\n';
  for (size_t i = 0; ok && i < b.size; i++) {
    cells += b.data[i] == ',';
    if (b.data[i] != '\n') continue;
    if (first < 0) first = cells;
    ok = cells == first;
    cells = 0;
  }
  blob_close(&b);
  return ok || err_set(e, ERR_INPUT, "%s: a row is not whole", path);
}

static bool whole_lines(const char *path, struct err *e) {
  struct blob b;
  if (!blob_map(path, &b, e)) return false;
  bool ok = b.data[b.size - 1] == '\n';
  blob_close(&b);
  return ok || err_set(e, ERR_INPUT, "%s: the last line has no end", path);
}

static bool whole_file(const char *path, struct err *e) {
  if (ends(path, ".png")) {
    struct image im;
    bool ok = image_read(path, &im, e);
    image_release(&im);
    return ok;
  }
  if (ends(path, ".safetensors")) {
    struct st_file *f = st_open_path(path, e);
    st_close(f);
    return f != NULL;
  }
  if (ends(path, ".npy")) {
    struct npy a;
    bool ok = npy_read(path, &a, e);
    if (ok) npy_release(&a);
    return ok;
  }
  if (ends(path, ".json")) return whole_json(path, e);
  if (ends(path, ".csv")) return whole_csv(path, e);
  if (ends(path, ".ini")) return whole_lines(path, e);
  return true;
}

static bool look(const char *path, const char *relative, const struct stat *st, void *user) {
  struct finding *f = user;
  struct err e = {0};
  const char *name = strrchr(relative, '/') != NULL ? strrchr(relative, '/') + 1 : relative;
  if (strstr(name, ".tmp") != NULL || ends(name, ".new") || ends(name, ".part")) {
    snprintf(f->why, f->n, "left behind: %s", relative);
    return false;
  }
  if (!S_ISREG(st->st_mode) || whole_file(path, &e)) return true;
  snprintf(f->why, f->n, "not whole: %s", e.text);
  return false;
}

bool verify_tree(const char *dir, char *why, size_t n) {
  return walk(dir, "", look, &(struct finding){why, n});
}

/* --- signatures ------------------------------------------------------------------------------------------------------------------------ */

static void mix(uint64_t *h, const void *data, size_t n) { /* FNV-1a */
  const unsigned char *p = data;
  for (size_t i = 0; i < n; i++) *h = (*h ^ p[i]) * 0x100000001b3u;
}

static bool mix_content(const char *path, uint64_t *h) {
  struct blob b;
  struct err e = {0};
  if (!blob_map(path, &b, &e)) return true;
  mix(h, b.data, b.size);
  blob_close(&b);
  return true;
}

static bool sign(const char *path, const char *relative, const struct stat *st, void *user) {
  uint64_t *h = user;
  const int64_t fact[] = {st->st_mode, st->st_size, st->st_mtim.tv_sec, st->st_mtim.tv_nsec};
  mix(h, relative, strlen(relative) + 1);
  mix(h, fact, sizeof fact);
  return !S_ISREG(st->st_mode) || mix_content(path, h);
}

uint64_t tree_signature(const char *dir) {
  uint64_t h = 0xcbf29ce484222325u;
  walk(dir, "", sign, &h);
  return h;
}

/* --- results ----------------------------------------------------------------------------------------------------------------------------- */

/* What must be the same in two runs of one profile: not the times, machine and messages that the rest tells of. */
static bool is_result(const char *relative) {
  return strstr(relative, "checkpoints/") != NULL || ends(relative, ".png") || ends(relative, ".npy") || ends(relative, ".csv");
}

/* metrics.csv without the column of seconds, others as they are. */
static void mix_table(uint64_t *h, const struct blob *b) {
  int cell = 0;
  for (size_t i = 0; i < b->size; i++) {
    if (b->data[i] == ',' || b->data[i] == '\n') cell = b->data[i] == ',' ? cell + 1 : 0;
    if (cell != 7) mix(h, b->data + i, 1);
  }
}

static bool mix_result(const char *path, const char *relative, const struct stat *st, void *user) {
  uint64_t *h = user;
  struct blob b;
  struct err e = {0};
  if (!S_ISREG(st->st_mode) || !is_result(relative)) return true;
  mix(h, relative, strlen(relative) + 1);
  if (!blob_map(path, &b, &e)) return true;
  if (ends(relative, "metrics.csv"))
    mix_table(h, &b);
  else
    mix(h, b.data, b.size);
  blob_close(&b);
  return true;
}

struct other {
  const char *dir;
  char *why;
  size_t n;
};

static bool compare(const char *path, const char *relative, const struct stat *st, void *user) {
  struct other *o = user;
  char there[PATHS];
  struct stat ignored;
  uint64_t a = 0, b = 0;
  if (!S_ISREG(st->st_mode) || !is_result(relative)) return true;
  snprintf(there, sizeof there, "%s/%s", o->dir, relative);
  if (lstat(there, &ignored) == 0 && mix_result(path, relative, st, &a) && mix_result(there, relative, &ignored, &b) && a == b) return true;
  snprintf(o->why, o->n, "%s: %s", relative, lstat(there, &ignored) != 0 ? "there in one run only" : "differs");
  return false;
}

bool same_results(const char *a, const char *b, char *why, size_t n) {
  return walk(a, "", compare, &(struct other){b, why, n}) && walk(b, "", compare, &(struct other){a, why, n});
}
