/* Choosing and opening a backend. The only file that asks what was built: HAVE_CUDA and HAVE_BACKEND_CPU come from configure. */
#include "backend/backend.h"

#include "base/thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_CUDA
extern const struct backend_ops backend_cuda;
#endif

const struct backend_ops *const backend_list[] = {
#ifdef HAVE_CUDA
    &backend_cuda,
#endif
#ifdef HAVE_BACKEND_CPU
    &backend_cpu,
#endif
    &backend_ref,
    NULL,
};

/* `device`: which of several cards */
static struct backend *open_on(const struct backend_ops *op, int device, int threads, struct err *e) {
  struct backend *b = calloc(1, sizeof *b);
  if (!b) {
    err_set(e, ERR_FIT, "out of memory");
    return NULL;
  }
  b->op = op;
  b->device = device;
  b->threads = threads > 0 ? threads : machine_cores();
  if (!op->open(b, e)) {
    free(b);
    return NULL;
  }
  return b;
}

struct backend *backend_open_ops(const struct backend_ops *op, int threads, struct err *e) {
  return open_on(op, 0, threads, e);
}

/* The first backend of the list that opens; it keeps the reason why the best one did not. *e: why the last one did not. */
static struct backend *open_auto(int threads, struct err *e) {
  struct err why = {.code = ERR_OK};
  char first[256] = "";
  for (int i = 0; backend_list[i]; i++) {
    why = (struct err){.code = ERR_OK};
    struct backend *b = backend_open_ops(backend_list[i], threads, &why);
    if (b) {
      memcpy(b->passed_over, first, sizeof first);
      return b;
    }
    if (!first[0]) snprintf(first, sizeof first, "%.*s", (int)strcspn(why.text, ";"), why.text); /* the advice stands behind it */
  }
  err_set(e, why.code, "%s", why.text);
  return NULL;
}

struct backend *backend_open_host(int threads, struct err *e) {
  for (int i = 0; backend_list[i]; i++)
    if (backend_list[i]->host_memory) return backend_open_ops(backend_list[i], threads, e);
  return NULL; /* ref is always there */
}

enum { MAX_DEVICES = 64 };

/* Whether `name` is `word`, or, where there may be several of it, word:N; the number in *device. */
static bool is_named(const char *name, const char *word, bool several, int *device) {
  size_t length = strlen(word);
  *device = 0;
  if (strncmp(name, word, length) != 0) return false;
  if (name[length] == 0) return true;
  const char *number = name + length + 1;
  if (!several || name[length] != ':' || !*number || strlen(number) > 2 || strspn(number, "0123456789") != strlen(number)) return false;
  *device = atoi(number);
  return *device < MAX_DEVICES;
}

bool backend_name_is_valid(const char *name) {
  int device;
  return !strcmp(name, "auto") || !strcmp(name, "cpu") || !strcmp(name, "ref") || is_named(name, "cuda", true, &device);
}

struct backend *backend_open(const char *name, int threads, struct err *e) {
  int device;
  if (strcmp(name, "auto") == 0) return open_auto(threads, e);
  for (int i = 0; backend_list[i]; i++)
    if (is_named(name, backend_list[i]->name, !backend_list[i]->host_memory, &device)) return open_on(backend_list[i], device, threads, e);
  char have[128] = "auto";
  for (int i = 0; backend_list[i]; i++) {
    strncat(have, ", ", sizeof have - strlen(have) - 1);
    strncat(have, backend_list[i]->name, sizeof have - strlen(have) - 1);
  }
  err_set(e, ERR_FIT, "this build has no device \"%s\": choose one of %s", name, have);
  return NULL;
}

bool backend_use_tf32(struct backend *b) {
  return b->tf32 = b->op->has_tf32 && b->op->has_tf32(b);
}

void backend_close(struct backend *b) {
  if (!b) return;
  b->op->close(b);
  free(b);
}

const char *backend_describe(const struct backend *b) {
  return b->op->describe ? b->op->describe(b) : b->op->name;
}

void backend_finish(struct backend *b) {
  b->op->mark(b, BACKEND_MARKS - 1);
  b->op->wait(b, BACKEND_MARKS - 1);
}

void backend_drop_packs(struct backend *b, const struct param_set *s) {
  for (int i = 0; b && s && i < s->n; i++) b->op->drop_pack(b, s->p[i]);
}
