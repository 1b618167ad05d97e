/* What the backend found out by measuring (backend.h: choices), from run to run: in the cache directory for every run on the same card with the same libraries, and in the
 * run's state as it was when its plan was accepted, so that a run that goes on computes as it began, whatever other runs have measured meanwhile. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train/trainer.h"

static void path_in_state(const struct trainer *t, char *out, size_t n) {
  snprintf(out, n, "%s/choices", t->state_dir);
}

static void path_in_cache(const struct trainer *t, char *out, size_t n) {
  const char *device = backend_describe(t->b);
  char hash[65];
  sha256_hex(device, strlen(device), hash);
  snprintf(out, n, "%s/algorithms-%.16s.txt", t->cache_dir, hash);
}

/* Freed by the caller; NULL where there is none that can be read. */
static char *text_of(const char *path) {
  struct blob b;
  struct err ignored = {0};
  if (access(path, R_OK) != 0 || !blob_map(path, &b, &ignored)) return NULL;
  char *text = malloc(b.size + 1);
  if (text) {
    memcpy(text, b.data, b.size);
    text[b.size] = 0;
  }
  blob_close(&b);
  return text;
}

static bool take(struct trainer *t, const char *path, bool no_more) {
  char *text = text_of(path);
  bool taken = text && t->b->op->take_choices(t->b, text, no_more);
  free(text);
  return taken;
}

void choices_recall(struct trainer *t) {
  char path[TRAINER_PATH + 64];
  if (!t->b->op->take_choices) return;
  path_in_state(t, path, sizeof path);
  t->choices_kept = t->s->resume && take(t, path, true);
  path_in_cache(t, path, sizeof path);
  if (!t->choices_kept) take(t, path, false);
}

/* Where it cannot be written, later runs measure again. */
static void note(struct trainer *t, const char *text) {
  char path[TRAINER_PATH + 64];
  struct err e = {0};
  path_in_cache(t, path, sizeof path);
  char *had = text_of(path);
  bool same = had && strcmp(had, text) == 0;
  free(had);
  if (!same && (!make_dirs(t->cache_dir, &e) || !write_file(path, text, strlen(text), &e)))
    tell(t->sink, LOG_WARN, "which algorithms are the fastest is not noted for later runs: %s", e.text);
}

bool choices_note(struct trainer *t, struct err *e) {
  if (!t->b->op->choices || t->choices_kept) return true;
  char *text = t->b->op->choices(t->b, e);
  if (text) note(t, text);
  free(text);
  return text != NULL;
}

bool choices_keep(struct trainer *t, struct err *e) {
  char path[TRAINER_PATH + 64];
  if (!t->b->op->choices || t->choices_kept) return true;
  char *text = t->b->op->choices(t->b, e);
  if (!text) return false;
  path_in_state(t, path, sizeof path);
  do t->choices_kept = write_file(path, text, strlen(text), e);
  while (!t->choices_kept && room_again(&t->room, t->s->run_dir, e));
  if (t->choices_kept) note(t, text);
  free(text);
  return t->choices_kept;
}
