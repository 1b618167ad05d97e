/* What the program asks before there is a run: what a device is and does, and whether a model could be used. */
#include <stdio.h>
#include <string.h>

#include "backend/backend.h"
#include "base/thread.h"
#include "nets/model.h"
#include "pdmbooth.h"

enum { SIDE = 1024 };

/* y = x w^T with all three [SIDE, SIDE] in device memory at p, over and over. Operations a second. */
static double multiply(struct backend *b, float *p, double seconds) {
  enum { ENTRIES = SIDE * SIDE };
  const int64_t dim[] = {SIDE, SIDE};
  struct tensor x = tensor_of(p, DT_F32, 2, dim), y = tensor_of(p + ENTRIES, DT_F32, 2, dim);
  struct param w = {.rank = 2, .dim = {SIDE, SIDE}, .w = p + 2 * ENTRIES, .count = ENTRIES, .version = 1, .frozen = true};
  double began = now_seconds(), spent = 0;
  int64_t products = 0, at_once = b->op->host_memory ? 1 : 16; /* a card is kept busy while the host waits for it */
  b->op->linear(b, &y, &x, &w, NULL, 1, 0);                    /* buffers and packed weights are made in the first */
  backend_finish(b);
  for (began = now_seconds(); spent < seconds; spent = now_seconds() - began, products += at_once) {
    for (int i = 0; i < at_once; i++) b->op->linear(b, &y, &x, &w, NULL, 1, 0);
    backend_finish(b);
  }
  b->op->drop_pack(b, &w);
  return 2.0 * SIDE * SIDE * SIDE * (double)products / spent;
}

/* The device in a line, with what is free of a card's memory. */
static void describe(struct backend *b, char *text, size_t n) {
  struct backend_memory m;
  struct err ignored = {0};
  snprintf(text, n, "%s", backend_describe(b));
  size_t used = strlen(text);
  if (b->op->memory && b->op->memory(b, &m, &ignored)) snprintf(text + used, n - used, ", %.1f GiB free", (double)m.free / (1 << 30));
}

bool engine_try_device(const char *device, int threads, double seconds, char *text, size_t n, double *rate, struct err *e) {
  struct backend *b = backend_open(device, threads, e);
  const size_t bytes = 3 * sizeof(float) * SIDE * SIDE;
  if (!b) return false;
  describe(b, text, n);
  float *p = b->op->alloc(b, bytes, e);
  if (p) {
    *rate = multiply(b, p, seconds);
    if (b->fault.code) err_set(e, b->fault.code, "%s", b->fault.text);
    b->op->release(b, p, bytes);
  }
  backend_close(b);
  return p && !e->code;
}

bool engine_device_is_known(const char *device) {
  return backend_name_is_valid(device);
}

bool engine_check_model(const char *model, const struct embedded_file *embedded, struct model_facts *f, struct err *e) {
  struct source s;
  if (!strcmp(model, "embedded")) {
    source_embedded(&s, embedded, "tiny-sd");
  } else {
    source_dir(&s, model);
  }
  return model_check(&s, embedded, f, e);
}
