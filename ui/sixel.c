#include "ui/sixel.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum entry_state { WAITING, WORKING, READY, FAILED };

/* One picture in one shape. */
struct entry {
  struct entry *next;
  struct picture *picture; /* referenced; NULL once encoded: pixels are not kept here */
  uint64_t id;
  uint32_t version;
  struct sixel_shape shape;
  enum entry_state state;
  unsigned used; /* the last frame that asked for it */
  struct sixel_data data;
};

struct sixels {
  pthread_t thread;
  pthread_mutex_t lock; /* for all that follows */
  pthread_cond_t work;
  struct entry *first;
  unsigned frame;
  size_t limit;
  int event, encoded;
  bool stop;
};

static bool same_shape(const struct sixel_shape *a, const struct sixel_shape *b) {
  return a->columns == b->columns && a->rows == b->rows && a->cell.w == b->cell.w && a->cell.h == b->cell.h && a->colours == b->colours &&
         a->smooth == b->smooth && a->strip_limit == b->strip_limit;
}

static void entry_free(struct entry *entry) {
  picture_unref(entry->picture);
  sixel_data_release(&entry->data);
  free(entry);
}

/* The one that has waited longest among those the latest frame wants: entries are appended, so the first. */
static struct entry *next_waiting(struct sixels *s) {
  for (struct entry *entry = s->first; entry != NULL; entry = entry->next) {
    if (entry->state == WAITING) return entry;
  }
  return NULL;
}

static void *work(void *user) {
  struct sixels *s = user;
  pthread_mutex_lock(&s->lock);
  while (!s->stop) {
    struct entry *entry = next_waiting(s);
    if (entry == NULL) {
      pthread_cond_wait(&s->work, &s->lock);
      continue;
    }
    entry->state = WORKING; /* from here to READY no one else frees it */
    pthread_mutex_unlock(&s->lock);
    struct sixel_data data;
    bool ok = sixel_encode_picture(entry->picture, &entry->shape, &data, NULL);
    pthread_mutex_lock(&s->lock);
    struct picture *done = entry->picture;
    entry->picture = NULL;
    entry->data = data;
    entry->state = ok ? READY : FAILED;
    s->encoded += ok;
    picture_unref(done);
    uint64_t one = 1;
    if (write(s->event, &one, sizeof one) != sizeof one) continue; /* the counter is full: readable all the same */
  }
  pthread_mutex_unlock(&s->lock);
  return NULL;
}

/* Signals are for the interface's thread; those of a crash stay with the thread that crashes. */
static int start_thread(struct sixels *s) {
  sigset_t all, before;
  static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
  sigfillset(&all);
  for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++) sigdelset(&all, crashes[i]);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int rc = pthread_create(&s->thread, NULL, work, s);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return rc;
}

struct sixels *sixels_new(size_t limit, struct err *e) {
  struct sixels *s = calloc(1, sizeof *s);
  if (s == NULL) {
    err_set(e, ERR_FAILED, "out of memory");
    return NULL;
  }
  s->limit = limit;
  s->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  pthread_mutex_init(&s->lock, NULL);
  pthread_cond_init(&s->work, NULL);
  if (s->event >= 0 && start_thread(s) == 0) return s;
  err_set_errno(e, ERR_FAILED, "the thread that encodes pictures cannot be started");
  if (s->event >= 0) close(s->event);
  free(s);
  return NULL;
}

void sixels_free(struct sixels *s) {
  if (s == NULL) return;
  pthread_mutex_lock(&s->lock);
  s->stop = true;
  pthread_cond_signal(&s->work);
  pthread_mutex_unlock(&s->lock);
  pthread_join(s->thread, NULL);
  for (struct entry *entry = s->first, *next; entry != NULL; entry = next) {
    next = entry->next;
    entry_free(entry);
  }
  close(s->event);
  pthread_cond_destroy(&s->work);
  pthread_mutex_destroy(&s->lock);
  free(s);
}

int sixels_fd(const struct sixels *s) {
  return s->event;
}

void sixels_take_event(struct sixels *s) {
  uint64_t count;
  if (read(s->event, &count, sizeof count) != sizeof count) return; /* nothing has happened */
}

void sixels_begin(struct sixels *s) {
  pthread_mutex_lock(&s->lock);
  s->frame++;
  pthread_mutex_unlock(&s->lock);
}

static struct entry *find(struct sixels *s, const struct picture *p, const struct sixel_shape *shape) {
  for (struct entry *entry = s->first; entry != NULL; entry = entry->next) {
    if (entry->id == p->id && entry->version == p->version && same_shape(&entry->shape, shape)) return entry;
  }
  return NULL;
}

static struct entry *append(struct sixels *s, struct picture *p, const struct sixel_shape *shape) {
  struct entry *entry = calloc(1, sizeof *entry), **end = &s->first;
  if (entry == NULL) return NULL;
  entry->picture = picture_ref(p);
  entry->id = p->id;
  entry->version = p->version;
  entry->shape = *shape;
  while (*end != NULL) end = &(*end)->next;
  *end = entry;
  pthread_cond_signal(&s->work);
  return entry;
}

const struct sixel_data *sixels_get(struct sixels *s, struct picture *p, const struct sixel_shape *shape) {
  pthread_mutex_lock(&s->lock);
  struct entry *entry = find(s, p, shape);
  if (entry == NULL) entry = append(s, p, shape);
  if (entry != NULL) entry->used = s->frame;
  const struct sixel_data *data = entry != NULL && entry->state == READY ? &entry->data : NULL;
  pthread_mutex_unlock(&s->lock);
  return data;
}

static size_t bytes_kept(const struct sixels *s, bool beside_frame) {
  size_t sum = 0;
  for (const struct entry *entry = s->first; entry != NULL; entry = entry->next) {
    if (!beside_frame || entry->used != s->frame) sum += entry->data.n;
  }
  return sum;
}

static void drop(struct entry **at) {
  struct entry *entry = *at;
  *at = entry->next;
  entry_free(entry);
}

/* The finished entry that was used longest ago, not in this frame. */
static struct entry **oldest(struct sixels *s) {
  struct entry **best = NULL;
  for (struct entry **at = &s->first; *at != NULL; at = &(*at)->next) {
    bool free_to_go = (*at)->state >= READY && (*at)->used != s->frame;
    if (free_to_go && (best == NULL || (*at)->used < (*best)->used)) best = at;
  }
  return best;
}

void sixels_end(struct sixels *s) {
  enum { MOST_ENTRIES = 512 };
  int count = 0;
  pthread_mutex_lock(&s->lock);
  for (struct entry **at = &s->first; *at != NULL;) {
    if ((*at)->state == WAITING && (*at)->used != s->frame) {
      drop(at);
    } else {
      at = &(*at)->next;
      count++;
    }
  }
  for (struct entry **at; (bytes_kept(s, true) > s->limit || count > MOST_ENTRIES) && (at = oldest(s)) != NULL; count--) drop(at);
  pthread_mutex_unlock(&s->lock);
}

struct sixels_state sixels_state(struct sixels *s) {
  struct sixels_state state = {0};
  pthread_mutex_lock(&s->lock);
  state.encoded = s->encoded;
  state.bytes = bytes_kept(s, false);
  for (const struct entry *entry = s->first; entry != NULL; entry = entry->next) state.waiting += entry->state <= WORKING;
  pthread_mutex_unlock(&s->lock);
  return state;
}
