#include "ui/queue.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "formats/source.h"
#include "profile.h"
#include "ui/paths.h"

static bool place(const char *name, char *out, size_t n) {
  char dir[PATH_BYTES];
  struct err ignored = {0};
  return state_path("", dir, sizeof dir) && make_dirs(dir, &ignored) && text_put(out, n, "%s/%s", dir, name);
}

static void parse(struct queue *q, const char *text) {
  q->n = 0;
  for (const char *p = text; *p && q->n < MAX_QUEUE;) {
    size_t n = strcspn(p, "\n");
    if (n > 0 && n < QUEUE_NAME) text_put(q->name[q->n++], QUEUE_NAME, "%.*s", (int)n, p);
    p += n + (p[n] == '\n');
  }
}

bool queue_read(struct queue *q) {
  char path[PATH_BYTES + 20];
  struct err ignored = {0};
  struct queue before = *q;
  size_t n;
  q->n = 0;
  char *text = place("queue.txt", path, sizeof path) && is_file(path) ? text_file_read(path, NULL, "", &n, &ignored) : NULL;
  if (text) parse(q, text);
  free(text);
  return q->n != before.n || memcmp(q->name, before.name, (size_t)q->n * sizeof *q->name) != 0;
}

static bool write_queue(const struct queue *q, struct err *e) {
  char path[PATH_BYTES + 20], text[MAX_QUEUE * QUEUE_NAME] = "";
  size_t n = 0;
  for (int i = 0; i < q->n; i++) {
    text_put(text + n, sizeof text - n, "%s\n", q->name[i]);
    n += strlen(text + n);
  }
  if (!place("queue.txt", path, sizeof path)) return err_set(e, ERR_FAILED, "there is no place for the queue");
  return write_file(path, text, n, e);
}

/* Whoever changes the file holds this for a moment. */
static bool begin_change(struct queue *q, struct lock *l, struct err *e) {
  char path[PATH_BYTES + 20], holder[LOCK_TEXT];
  enum lock_answer got = LOCK_FAILED;
  *l = (struct lock){-1};
  if (!place("queue.lock", path, sizeof path)) return err_set(e, ERR_FAILED, "there is no place for the queue");
  for (int i = 0; i < 20 && (got = lock_take(l, path, holder, e)) == LOCK_BUSY; i++) continue;
  if (got == LOCK_BUSY) return err_set(e, ERR_FAILED, "the queue is in use by %s", holder);
  queue_read(q);
  return got == LOCK_HELD;
}

static int find(const struct queue *q, const char *name) {
  for (int i = 0; i < q->n; i++) {
    if (!strcmp(q->name[i], name)) return i;
  }
  return -1;
}

bool queue_add(struct queue *q, const char *name, struct err *e) {
  struct lock l;
  bool ok = begin_change(q, &l, e);
  if (ok && find(q, name) >= 0) ok = err_set(e, ERR_USAGE, "%s is in the queue already", name);
  if (ok && q->n == MAX_QUEUE) ok = err_set(e, ERR_USAGE, "the queue is full: %d trainings wait", MAX_QUEUE);
  if (ok) {
    text_put(q->name[q->n++], QUEUE_NAME, "%s", name);
    ok = write_queue(q, e);
  }
  lock_release(&l);
  return ok;
}

static void drop(struct queue *q, int i) {
  memmove(q->name[i], q->name[i + 1], (size_t)(--q->n - i) * sizeof *q->name);
}

void queue_remove(struct queue *q, const char *name) {
  struct lock l;
  struct err ignored = {0};
  int i;
  if (begin_change(q, &l, &ignored) && (i = find(q, name)) >= 0) {
    drop(q, i);
    write_queue(q, &ignored);
  }
  lock_release(&l);
}

static bool take_turn(struct queue *q) {
  char path[PATH_BYTES + 40], holder[LOCK_TEXT], name[40];
  struct err ignored = {0};
  if (q->taken) return true;
  text_put(name, sizeof name, "queue.turn%s%s", *q->device ? "." : "", q->device);
  q->taken = place(name, path, sizeof path) && lock_take(&q->turn, path, holder, &ignored) == LOCK_HELD;
  return q->taken;
}

bool queue_take(struct queue *q, char name[QUEUE_NAME]) {
  struct lock l = {-1};
  struct err e = {0};
  bool ok = q->n > 0 && take_turn(q) && begin_change(q, &l, &e) && q->n > 0;
  if (ok) {
    text_put(name, QUEUE_NAME, "%s", q->name[0]);
    drop(q, 0);
    ok = write_queue(q, &e);
  }
  lock_release(&l);
  if (!ok) queue_turn_over(q);
  return ok;
}

void queue_turn_over(struct queue *q) {
  if (q->taken) lock_release(&q->turn);
  q->taken = false;
}
