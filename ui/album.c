#include "ui/album.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "assets/embedded.h"
#include "ui/app.h"
#include "ui/mosaic.h"

/* Pictures that are kept; what is not in the present frame goes first. */
enum { KEPT = 96, PATHS = 8400 };

enum entry_state { ENTRY_WAITS, ENTRY_READ, ENTRY_BAD };

struct entry {
  char path[PATHS];
  struct timespec changed; /* of the file, when it was read */
  enum entry_state state;
  struct picture *picture;
  unsigned used; /* the frame that asked for it last */
};

struct album {
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  bool stop;
  int event;
  struct entry entry[KEPT];
  int n;
  unsigned frame;
};

/* --- the thread that reads -------------------------------------------------------------------------------------------------------- */

static bool read_picture(const char *path, struct image *im);

/* 0 to 1 as black, red, yellow, white. */
static void put_heat(double v, unsigned char *px) {
  for (int k = 0; k < 3; k++) {
    double part = v * 3 - k;
    px[k] = (unsigned char)(255 * (part < 0 ? 0 : part > 1 ? 1 : part));
  }
}

/* How far two pictures of one size are apart, pixel by pixel; a third of the range counts as all. paths: separated by a new line. */
static bool read_difference(const char *paths, struct image *out) {
  char path[4096];
  struct image one = {0}, other = {0};
  const char *second = strchr(paths, '\n');
  if (!second) return false;
  text_put(path, sizeof path, "%.*s", (int)(second - paths), paths);
  bool ok = read_picture(path, &one) && read_picture(second + 1, &other) && one.w == other.w && one.h == other.h && one.channels == 3 &&
            other.channels == 3 && image_new(out, one.w, one.h, 3);
  for (size_t i = 0; ok && i < (size_t)one.w * (size_t)one.h; i++) {
    int sum = 0;
    for (size_t k = 0; k < 3; k++) sum += abs(one.px[3 * i + k] - other.px[3 * i + k]);
    put_heat(sum > 255 ? 1 : sum / 255.0, out->px + 3 * i);
  }
  image_release(&one);
  image_release(&other);
  return ok;
}

static bool read_picture(const char *path, struct image *im) {
  struct err ignored = {0};
  struct source source;
  struct blob b;
  if (!strncmp(path, "difference:", 11)) return read_difference(path + 11, im);
  if (strncmp(path, "embedded:", 9)) return image_read(path, im, &ignored);
  source_embedded(&source, embedded_files, "demo-subject");
  if (!source_open(&source, path + 9, &b, &ignored)) return false;
  bool ok = image_decode(&b, path, im, &ignored);
  blob_close(&b);
  return ok;
}

/* The one that was asked for last, of those that wait; NULL: none. */
static struct entry *next_waiting(struct album *b) {
  struct entry *best = NULL;
  for (int i = 0; i < b->n; i++) {
    if (b->entry[i].state == ENTRY_WAITS && (!best || b->entry[i].used > best->used)) best = &b->entry[i];
  }
  return best;
}

static struct entry *find(struct album *b, const char *path) {
  for (int i = 0; i < b->n; i++) {
    if (!strcmp(b->entry[i].path, path)) return &b->entry[i];
  }
  return NULL;
}

static bool same_time(struct timespec a, struct timespec b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* changed: of the file as it was asked for; where it has changed since then, it is read once more. */
static void finish(struct album *b, const char *path, struct timespec changed, struct picture *p) {
  struct entry *x = find(b, path);
  uint64_t one = 1;
  if (!x || x->state != ENTRY_WAITS || !same_time(x->changed, changed)) {
    picture_unref(p);
    return;
  }
  x->picture = p;
  x->state = p ? ENTRY_READ : ENTRY_BAD;
  if (write(b->event, &one, sizeof one) < 0) return; /* it is readable already */
}

static void *read_pictures(void *user) {
  struct album *b = user;
  char path[PATHS];
  pthread_mutex_lock(&b->lock);
  while (!b->stop) {
    struct entry *x = next_waiting(b);
    if (!x) {
      pthread_cond_wait(&b->wake, &b->lock);
      continue;
    }
    memcpy(path, x->path, sizeof path);
    struct timespec changed = x->changed;
    pthread_mutex_unlock(&b->lock);
    struct image im = {0};
    struct picture *p = read_picture(path, &im) ? picture_new(&im) : NULL;
    pthread_mutex_lock(&b->lock);
    finish(b, path, changed, p);
  }
  pthread_mutex_unlock(&b->lock);
  return NULL;
}

/* --- the interface's side -------------------------------------------------------------------------------------------------------------- */

struct album *album_new(struct err *e) {
  struct album *b = calloc(1, sizeof *b);
  sigset_t all, before;
  if (!b) return err_set(e, ERR_FAILED, "out of memory"), NULL;
  b->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  pthread_mutex_init(&b->lock, NULL);
  pthread_cond_init(&b->wake, NULL);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool ok = b->event >= 0 && !pthread_create(&b->thread, NULL, read_pictures, b);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!ok) return free(b), err_set(e, ERR_FAILED, "a thread for pictures cannot be started"), NULL;
  return b;
}

void album_free(struct album *b) {
  if (!b) return;
  pthread_mutex_lock(&b->lock);
  b->stop = true;
  pthread_cond_signal(&b->wake);
  pthread_mutex_unlock(&b->lock);
  pthread_join(b->thread, NULL);
  for (int i = 0; i < b->n; i++) picture_unref(b->entry[i].picture);
  close(b->event);
  pthread_mutex_destroy(&b->lock);
  pthread_cond_destroy(&b->wake);
  free(b);
}

int album_fd(const struct album *b) {
  return b->event;
}

void album_take_event(struct album *b) {
  uint64_t n;
  if (read(b->event, &n, sizeof n) < 0) return;
}

void album_begin_frame(struct album *b) {
  b->frame++;
}

/* A place for another path: a new one, or that of the entry which was not used for the longest time. */
static struct entry *make_room(struct album *b) {
  if (b->n < KEPT) return &b->entry[b->n++];
  struct entry *oldest = &b->entry[0];
  for (int i = 1; i < b->n; i++) {
    if (b->entry[i].used < oldest->used) oldest = &b->entry[i];
  }
  picture_unref(oldest->picture);
  return oldest;
}

/* Of a difference: when the one that changed last did. */
static struct timespec changed_at(const char *path) {
  struct stat st;
  const char *second = strchr(path, '\n');
  if (!strncmp(path, "difference:", 11) && second) {
    char first[4096];
    text_put(first, sizeof first, "%.*s", (int)(second - path - 11), path + 11);
    struct timespec a = changed_at(first), b = changed_at(second + 1);
    return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec) ? a : b;
  }
  return stat(path, &st) ? (struct timespec){0} : st.st_mtim;
}

struct picture *album_get(struct album *b, const char *path, bool *bad) {
  struct timespec changed = changed_at(path);
  pthread_mutex_lock(&b->lock);
  struct entry *x = find(b, path);
  bool stale = x && !same_time(x->changed, changed);
  if (!x || stale) {
    if (stale)
      picture_unref(x->picture);
    else
      x = make_room(b);
    *x = (struct entry){.changed = changed};
    text_put(x->path, sizeof x->path, "%s", path);
    pthread_cond_signal(&b->wake);
  }
  x->used = b->frame;
  *bad = x->state == ENTRY_BAD;
  struct picture *p = picture_ref(x->picture);
  pthread_mutex_unlock(&b->lock);
  return p;
}

struct rect album_box(const struct app *a, struct rect r) {
  const struct term_facts *f = &a->facts;
  if (!f->sixel || f->max_w <= 0 || f->max_h <= 0 || f->cell_w <= 0 || f->cell_h <= 0) return r;
  int w = f->max_w / f->cell_w, h = f->max_h / f->cell_h;
  if (w > 0 && w < r.w) r.x += (r.w - w) / 2, r.w = w;
  if (h > 0 && h < r.h) r.y += (r.h - h) / 2, r.h = h;
  return r;
}

void album_show(struct app *a, struct rect r, const char *path) {
  bool bad = true;
  if (a->plain) {
    const char *slash = strrchr(path, '/');
    canvas_field(&a->canvas, r.x, r.y, r.w, ALIGN_LEFT, STYLE_DIM, slash ? slash + 1 : path);
    return;
  }
  struct picture *p = album_get(a->album, path, &bad);
  if (p) {
    mosaic_place(&a->canvas, album_box(a, r), p, (struct cell_size){a->facts.cell_w, a->facts.cell_h}, a->theme.depth, false);
  } else {
    canvas_put(&a->canvas, r.x + r.w / 2, r.y + r.h / 2, STYLE_DIM, canvas_sign(&a->canvas, bad ? SIGN_CROSS : SIGN_DOT));
  }
  picture_unref(p);
}
