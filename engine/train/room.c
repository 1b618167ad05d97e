#include "train/room.h"

#include <time.h>

#include "base/fs.h"
#include "base/thread.h"
#include "formats/source.h"
#include "train/tell.h"

static const double look = 1, say_again = 600, try_anyway = 5; /* seconds */
enum { SPARE = 256 * 1024 };                                   /* names, headers, rows that are written beside */

/* A wish to stop is seen soon. */
static bool pause_a_little(const struct room *r, double seconds, struct err *e) {
  for (double end = now_seconds() + seconds; now_seconds() < end;) {
    if (!tell_goes_on(r->sink, e)) return false;
    nanosleep(&(struct timespec){.tv_nsec = 50 * 1000 * 1000}, NULL);
  }
  return true;
}

static void say(struct room *r, const char *path, int64_t have, int64_t need) {
  double now = now_seconds();
  tell_progress(r->sink, "waiting for room", 0, 1);
  if (r->told > 0 && now - r->told < say_again) return;
  r->told = now;
  if (need > 0)
    tell(r->sink, LOG_WARN, "%s: the disk is full: %.1f MiB are needed, %.1f MiB are free; waiting until there is room", path,
         (double)need / (1 << 20), (double)have / (1 << 20));
  else
    tell(r->sink, LOG_WARN, "%s: the disk is full; waiting until there is room", path);
}

static void go_on(struct room *r) {
  tell(r->sink, LOG_INFO, "there is room again: going on");
  r->told = 0;
}

bool room_for(struct room *r, const char *path, int64_t bytes, struct err *e) {
  int64_t need = bytes + SPARE, have = r ? fs_room(path) : -1;
  if (have < 0 || have >= need) return true;
  if (r->stop)
    return err_set(e, ERR_FAILED, "%s: the disk is full: %.1f MiB are needed, %.1f MiB are free; make room and go on with --resume", path,
                   (double)need / (1 << 20), (double)have / (1 << 20));
  for (; have >= 0 && have < need; have = fs_room(path)) {
    say(r, path, have, need);
    if (!pause_a_little(r, look, e)) return false;
  }
  go_on(r);
  return true;
}

bool room_again(struct room *r, const char *path, struct err *e) {
  if (!r || r->stop || !fs_is_full(e->number)) return false;
  struct err stopped = {0};
  int64_t before = fs_room(path);
  bool on = true;
  say(r, path, before, 0);
  /* quotas do not show as free space, so it is tried again now and then whatever that says */
  for (double end = now_seconds() + try_anyway; on && now_seconds() < end;) {
    on = pause_a_little(r, look, &stopped);
    int64_t now = fs_room(path);
    if (now > before && now >= SPARE) break;
    if (now < before) before = now;
  }
  if (on) go_on(r);
  *e = on ? (struct err){0} : stopped;
  return on;
}

bool room_dirs(struct room *r, const char *path, struct err *e) {
  bool ok;
  do ok = make_dirs(path, e);
  while (!ok && room_again(r, path, e));
  return ok;
}

bool room_png(struct room *r, const char *path, const struct image *im, const struct png_text *text, int n, struct err *e) {
  bool ok;
  do ok = image_write_png(path, im, text, n, e);
  while (!ok && room_again(r, path, e));
  return ok;
}

bool room_lock(struct room *r, struct lock *l, const char *path, const char *what, struct err *e) {
  char holder[LOCK_TEXT];
  for (bool told = false;;) {
    enum lock_answer got = lock_take(l, path, holder, e);
    if (got == LOCK_HELD) return true;
    if (got == LOCK_FAILED && !room_again(r, path, e)) return false;
    if (got == LOCK_FAILED) continue;
    if (!told) tell(r->sink, LOG_INFO, "%s: %s is making them: waiting for it", what, holder);
    told = true;
    if (!pause_a_little(r, look / 2, e)) return false;
  }
}
