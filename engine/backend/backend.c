/* Choosing and opening a backend. The only file that asks what was built: HAVE_CUDA and HAVE_BACKEND_CPU come from configure. */
#include "backend/backend.h"

#include "base/thread.h"

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

struct backend *backend_open_ops(const struct backend_ops *op, int threads, struct err *e) {
  struct backend *b = calloc(1, sizeof *b);
  if (!b) {
    err_set(e, ERR_FIT, "out of memory");
    return NULL;
  }
  b->op = op;
  b->threads = threads > 0 ? threads : machine_cores();
  if (!op->open(b, e)) {
    free(b);
    return NULL;
  }
  return b;
}

/* The first backend of the list that opens; the reason why the last one did not. */
static struct backend *open_auto(int threads, struct err *e) {
  struct err why = {.code = ERR_OK};
  for (int i = 0; backend_list[i]; i++) {
    why = (struct err){.code = ERR_OK};
    struct backend *b = backend_open_ops(backend_list[i], threads, &why);
    if (b) return b;
  }
  err_set(e, why.code, "%s", why.text);
  return NULL;
}

struct backend *backend_open(const char *name, int threads, struct err *e) {
  if (strcmp(name, "auto") == 0) return open_auto(threads, e);
  for (int i = 0; backend_list[i]; i++)
    if (strcmp(name, backend_list[i]->name) == 0) return backend_open_ops(backend_list[i], threads, e);
  char have[128] = "auto";
  for (int i = 0; backend_list[i]; i++) {
    strncat(have, ", ", sizeof have - strlen(have) - 1);
    strncat(have, backend_list[i]->name, sizeof have - strlen(have) - 1);
  }
  err_set(e, ERR_FIT, "this build has no device \"%s\": choose one of %s", name, have);
  return NULL;
}

void backend_close(struct backend *b) {
  if (!b) return;
  b->op->close(b);
  free(b);
}

const char *backend_describe(const struct backend *b) {
  return b->op->describe ? b->op->describe(b) : b->op->name;
}

void backend_drop_packs(struct backend *b, const struct param_set *s) {
  for (int i = 0; b && s && i < s->n; i++) b->op->drop_pack(b, s->p[i]);
}
