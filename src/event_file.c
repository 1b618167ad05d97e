#include "event_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "samples.h"
#include "tfevents.h"

static const char prefix[] = "events.out.tfevents.";

static double wall_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool wants_picture(int prompt, int picture) {
  return prompt < EVENT_PICTURE_PROMPTS && !picture;
}

/* A picture that cannot be read is left out: the run does not depend on it. */
static void add_picture(struct tf_bytes *b, double wall, int step, int prompt, const char *path) {
  char tag[32];
  struct blob png;
  struct err ignored = {0};
  if (!blob_map(path, &png, &ignored)) return;
  text_put(tag, sizeof tag, "samples/prompt_%d", prompt);
  tf_picture(b, wall, step, tag, png.data, png.size);
  blob_close(&png);
}

/* When the rows were measured is not written anywhere: as if they had just been, one after the other. */
static void add_rows(struct tf_bytes *b, double now, const struct metrics *rows, int n) {
  double seconds = 0;
  for (int i = 0; i < n; i++) seconds += isfinite(rows[i].seconds) ? rows[i].seconds : 0;
  for (int i = 0; i < n; i++) {
    seconds -= isfinite(rows[i].seconds) ? rows[i].seconds : 0;
    tf_scalars(b, now - seconds, &rows[i]);
  }
}

static bool add_pictures(struct tf_bytes *b, double now, const char *run_dir, int first_picture, struct err *e) {
  struct sample_list l;
  char path[4096];
  bool ok = samples_list(&l, run_dir, e);
  for (int i = 0; ok && i < l.n; i++) {
    const struct sample_file *s = &l.file[i];
    if (s->step < first_picture && wants_picture(s->prompt, s->picture))
      add_picture(b, now, s->step, s->prompt, samples_path(run_dir, s, path, sizeof path));
  }
  samples_release(&l);
  return ok;
}

static bool choose_path(struct event_file *f, const char *run_dir, double now, struct err *e) {
  char host[HOST_NAME_MAX + 1] = "", name[128];
  gethostname(host, sizeof host - 1);
  file_name_from(host, name, sizeof name);
  if (text_put(f->path, sizeof f->path, "%s/%s%010.0f.%s.%ld.0", run_dir, prefix, floor(now), name, (long)getpid())) return true;
  return err_set(e, ERR_USAGE, "the path of the run directory is too long");
}

/* Event files of earlier processes; what cannot be removed stays, TensorBoard then shows both. */
static void remove_others(const struct event_file *f, const char *run_dir) {
  const char *own = strrchr(f->path, '/') + 1;
  char path[4400];
  DIR *d = opendir(run_dir);
  for (struct dirent *entry; d && (entry = readdir(d));) {
    if (strncmp(entry->d_name, prefix, sizeof prefix - 1) || !strcmp(entry->d_name, own)) continue;
    if (text_put(path, sizeof path, "%s/%s", run_dir, entry->d_name)) unlink(path);
  }
  if (d) closedir(d);
}

bool event_file_open(struct event_file *f, const char *run_dir, const struct metrics *rows, int n, int first_picture, struct err *e) {
  double now = wall_now();
  struct tf_bytes b = {0};
  *f = (struct event_file){0};
  tf_version(&b, now);
  if (n) tf_session_start(&b, now);
  add_rows(&b, now, rows, n);
  bool ok = choose_path(f, run_dir, now, e) && add_pictures(&b, now, run_dir, first_picture, e);
  ok = ok && (!b.failed || err_set(e, ERR_FAILED, "out of memory")) && write_file(f->path, b.p, b.n, e);
  if (ok) f->fd = open(f->path, O_WRONLY | O_APPEND | O_CLOEXEC);
  f->good = (off_t)b.n;
  tf_release(&b);
  if (!ok) return false;
  f->open = f->fd >= 0;
  if (!f->open) return err_set_errno(e, ERR_FAILED, "cannot write %s", f->path);
  remove_others(f, run_dir);
  return true;
}

static bool append(struct event_file *f, struct tf_bytes *b, struct err *e) {
  size_t done = 0;
  bool ok = !b->failed || err_set(e, ERR_FAILED, "out of memory");
  while (ok && done < b->n) {
    ssize_t w = write(f->fd, b->p + done, b->n - done);
    if (w < 0 && errno == EINTR) continue;
    ok = w > 0 || err_set_errno(e, ERR_FAILED, "cannot write %s", f->path);
    done += w > 0 ? (size_t)w : 0;
  }
  if (ok) {
    f->good += (off_t)b->n;
  } else if (done && ftruncate(f->fd, f->good)) {
    err_set_errno(e, ERR_FAILED, "cannot shorten %s", f->path);
  }
  tf_release(b);
  return ok;
}

bool event_file_metrics(struct event_file *f, const struct metrics *m, struct err *e) {
  struct tf_bytes b = {0};
  tf_scalars(&b, wall_now(), m);
  return append(f, &b, e);
}

bool event_file_sample(struct event_file *f, int step, int prompt, int picture, const char *path, struct err *e) {
  struct tf_bytes b = {0};
  if (!wants_picture(prompt, picture)) return true;
  add_picture(&b, wall_now(), step, prompt, path);
  return append(f, &b, e);
}

void event_file_close(struct event_file *f) {
  if (f->open) close(f->fd);
  f->open = false;
}
