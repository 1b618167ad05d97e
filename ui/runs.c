#include "ui/runs.h"

#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

enum { WATCHED = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CLOSE_WRITE | IN_MODIFY | IN_ONLYDIR };

static void watch(struct runs *r, const char *path) {
  if (r->inotify >= 0) inotify_add_watch(r->inotify, path, (WATCHED & ~(unsigned)IN_MODIFY) | IN_MASK_ADD);
}

/* --- the list -------------------------------------------------------------------------------------------------------------------- */

static bool is_run(const char *path) {
  char file[4096];
  return text_put(file, sizeof file, "%s/profile.ini", path) && is_file(file);
}

/* A directory that is no run at work: it may become one, or be gone on with, and then a file comes into it. One event is enough to look again. */
static void await_work(struct runs *r, const char *path) {
  if (r->inotify < 0 || !strcmp(path, r->view.path) || (is_run(path) && run_is_at_work(run_state_of(path, NULL, 0, NULL, 0)))) return;
  inotify_add_watch(r->inotify, path, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR | IN_ONESHOT);
}

static void add_item(struct runs *r, const char *path, const char *subject, const char *name) {
  if (!is_run(path) || runs_find(r, path) >= 0) return;
  if (r->n == r->cap) {
    int cap = r->cap ? r->cap * 2 : 32;
    struct run_item *more = realloc(r->item, (size_t)cap * sizeof *more);
    if (!more) return;
    r->item = more;
    r->cap = cap;
  }
  struct run_item *item = &r->item[r->n++];
  *item = (struct run_item){.last_loss = NAN, .probe = NAN};
  text_put(item->path, sizeof item->path, "%s", path);
  text_put(item->subject, sizeof item->subject, "%s", subject);
  text_put(item->name, sizeof item->name, "%s", name);
  item->state = run_state_of(path, NULL, 0, NULL, 0);
  if (item->state == RUN_EMPTY || item->state == RUN_WORKING) return;
  run_summary_number(path, "losses", "total", &item->last_loss);
  run_summary_number(path, "losses", "probe_last", &item->probe);
}

static void scan_subject(struct runs *r, const char *folder, const char *subject) {
  char path[PATH_BYTES];
  watch(r, folder);
  DIR *d = opendir(folder);
  for (struct dirent *x; d && (x = readdir(d));) {
    if (*x->d_name == '.' || !text_put(path, sizeof path, "%s/%s", folder, x->d_name)) continue;
    await_work(r, path); /* before it is looked at, so that nothing is missed */
    add_item(r, path, subject, x->d_name);
  }
  if (d) closedir(d);
}

/* Until the root is there, what it will be made in. */
static void watch_root(struct runs *r, const char *root) {
  char path[PATH_BYTES];
  text_put(path, sizeof path, "%s", root);
  for (char *slash; !is_directory(path) && (slash = strrchr(path, '/')) && slash > path;) *slash = 0;
  watch(r, path);
}

static void add_attached(struct runs *r) {
  struct run_view v;
  run_view_open(&v, r->attached);
  add_item(r, r->attached, v.subject, v.name);
}

static int newest_first(const void *a, const void *b) {
  const struct run_item *x = a, *y = b;
  int order = strcmp(y->name, x->name);
  return order ? order : strcmp(x->path, y->path);
}

static void scan(struct runs *r) {
  char path[PATH_BYTES];
  r->n = 0;
  for (int i = 0; i < r->config->roots; i++) {
    watch_root(r, r->config->root[i]);
    DIR *d = opendir(r->config->root[i]);
    for (struct dirent *x; d && (x = readdir(d));) {
      if (*x->d_name != '.' && text_put(path, sizeof path, "%s/%s", r->config->root[i], x->d_name)) scan_subject(r, path, x->d_name);
    }
    if (d) closedir(d);
  }
  if (*r->attached) add_attached(r);
  if (r->n) qsort(r->item, (size_t)r->n, sizeof *r->item, newest_first);
}

int runs_find(const struct runs *r, const char *path) {
  for (int i = 0; i < r->n; i++) {
    if (!strcmp(r->item[i].path, path)) return i;
  }
  return -1;
}

int runs_of(const struct runs *r, const char *subject) {
  int first = -1;
  for (int i = 0; i < r->n; i++) {
    if (subject && strcmp(r->item[i].subject, subject)) continue;
    if (run_is_at_work(r->item[i].state)) return i;
    if (first < 0) first = i;
  }
  return first;
}

int runs_count(const struct runs *r, const char *subject) {
  int n = 0;
  for (int i = 0; i < r->n; i++) n += !strcmp(r->item[i].subject, subject);
  return n;
}

const struct run_item *runs_working(const struct runs *r) {
  for (int i = 0; i < r->n; i++) {
    if (run_is_at_work(r->item[i].state)) return &r->item[i];
  }
  return NULL;
}

bool runs_new_directory(const struct config *c, const char *subject, char *out, size_t n, struct err *e) {
  char stamp[32];
  time_t now = time(NULL);
  struct tm t;
  if (!c->roots) return err_set(e, ERR_FAILED, "there is no place for runs: neither XDG_DATA_HOME nor HOME is set");
  do {
    localtime_r(&now, &t);
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &t);
    if (!text_put(out, n, "%s/%s/%s-profile", c->root[0], subject, stamp))
      return err_set(e, ERR_FAILED, "%s: the path is too long for runs below it", c->root[0]);
    now++;
  } while (!access(out, F_OK));
  return make_dirs(out, e);
}

bool runs_attach(struct runs *r, const char *path, struct err *e) {
  char *real = realpath(path, NULL);
  if (real && is_run(real) && text_put(r->attached, sizeof r->attached, "%s", real)) {
    r->list_dirty = true;
    runs_view(r, r->attached);
  } else {
    err_set(e, ERR_INPUT, "%s: not the directory of a run", path);
  }
  free(real);
  return !e->code;
}

/* --- the run that is looked at --------------------------------------------------------------------------------------------------- */

static void watch_view_at(struct runs *r, const char *below) {
  char path[4096];
  if (r->inotify < 0 || !text_put(path, sizeof path, "%s%s", r->view.path, below)) return;
  int number = inotify_add_watch(r->inotify, path, WATCHED);
  if (number < 0) return;
  for (int i = 0; i < r->n_view_watch; i++) {
    if (r->view_watch[i] == number) return;
  }
  int *more = realloc(r->view_watch, (size_t)(r->n_view_watch + 1) * sizeof *more);
  if (!more) return;
  r->view_watch = more;
  more[r->n_view_watch++] = number;
}

/* The directories that are there by now: pictures appear one level deeper. */
static void watch_view(struct runs *r) {
  if (!*r->view.path) return;
  watch_view_at(r, "");
  watch_view_at(r, "/samples");
  watch_view_at(r, "/checkpoints");
  if (r->view.n_samples) {
    char below[64];
    text_put(below, sizeof below, "/samples/step-%06d", r->view.samples[r->view.n_samples - 1].step);
    watch_view_at(r, below);
  }
}

void runs_view(struct runs *r, const char *path) {
  if (!strcmp(path, r->view.path)) return;
  for (int i = 0; i < r->n_view_watch; i++) inotify_rm_watch(r->inotify, r->view_watch[i]);
  r->n_view_watch = 0;
  run_view_close(&r->view);
  run_view_open(&r->view, path);
  r->view_dirty = r->list_dirty = true; /* a subject's directory may have lost its watch */
  runs_update(r);
}

/* --- what has changed ---------------------------------------------------------------------------------------------------------------- */

void runs_open(struct runs *r, const struct config *c) {
  *r = (struct runs){.config = c, .inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), .list_dirty = true};
}

void runs_close(struct runs *r) {
  if (r->inotify >= 0) close(r->inotify);
  run_view_close(&r->view);
  free(r->item);
  free(r->view_watch);
  *r = (struct runs){.inotify = -1};
}

static bool of_view(const struct runs *r, int number) {
  for (int i = 0; i < r->n_view_watch; i++) {
    if (r->view_watch[i] == number) return true;
  }
  return false;
}

void runs_notice(struct runs *r) {
  char buf[8192] __attribute__((aligned(__alignof__(struct inotify_event))));
  ssize_t n;
  while (r->inotify >= 0 && (n = read(r->inotify, buf, sizeof buf)) > 0) {
    for (ssize_t at = 0; at < n;) {
      const struct inotify_event *x = (const struct inotify_event *)(const void *)(buf + at);
      bool view = of_view(r, x->wd), over = x->mask & IN_IGNORED; /* over: the end of a watch, nothing more */
      if (view) r->view_dirty = true;
      if ((!view && !over) || !strncmp(x->len ? x->name : "", "summary.json", 12)) r->list_dirty = true;
      at += (ssize_t)sizeof *x + x->len;
    }
  }
}

/* A process that was killed changes no file. */
static void look_for_processes(struct runs *r) {
  for (int i = 0; i < r->n; i++) {
    if (run_is_at_work(r->item[i].state) && run_state_of(r->item[i].path, NULL, 0, NULL, 0) != r->item[i].state)
      r->list_dirty = r->view_dirty = true;
  }
  if (run_is_at_work(r->view.state)) r->view_dirty = true;
}

bool runs_update(struct runs *r) {
  bool changed = false;
  look_for_processes(r);
  if (r->list_dirty || r->inotify < 0) {
    scan(r);
    changed = true;
  }
  if (*r->view.path && (r->view_dirty || r->inotify < 0)) {
    enum run_status before = r->view.state;
    changed |= run_view_update(&r->view);
    if (r->view.state != before) scan(r); /* one that was scanned above can be older than the view: a run ends at any moment */
    watch_view(r);
  }
  r->list_dirty = r->view_dirty = false;
  return changed;
}
