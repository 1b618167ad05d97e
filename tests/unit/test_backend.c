/* Every operation of every backend.
 *
 * One table (OPS, in backend_ops.inc) says for each operation how its tensors are made, how forward and backward are called and
 * with which sizes.
 * It is used three times:
 *   gradients  the backward of ref against central differences of its forward, in F32;
 *   parity     every other backend of backend_list against ref, F32, BF16 and F16, 1 and 2 threads, the tensors of the second
 *              shifted by one element so that nothing relies on alignment;
 *   repeats    the same call twice gives the same bits.
 * A new backend is tested by being in backend_list. Around each tensor lie guards of NaN bytes, and results begin as NaN: a
 * write too far, a read too far and an element that was never written all show. All cases run; then the test fails.
 *
 * Tolerance: |a - b| <= tol (rms(b) + |b|), b of ref. F32: 1e-5, which is what the order of sums may change. BF16: 2^-7, F16:
 * 2^-10, one unit in the last place of a rounded result (1e-4 and 2e-5 for what is not rounded); four times that for attention
 * (eight times in F16), where probabilities may be rounded before they are used, and backward may take sum(do o) of a rounded o. */
#include "backend/backend.h"
#include "backend/moments8.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { GUARD = 256, MAX_BLOCKS = 40, MAX_NUMBERS = 10, MAX_RESULTS = 16 };

/* --- a rig: one case on one backend ---------------------------------------------------------------------------------------- */

enum values {
  NORMAL,  /* standard normal */
  OFFSET,  /* mean 100: shows variances made in one pass */
  BIG,     /* standard deviation 1e4; of F16 50, whose products it can hold */
  FLAT,    /* all 3: zero variance */
  INTEGER, /* -24..24: scores of some thousands, softmax is nearly one-hot, with ties */
};
static const char *const VALUES[] = {"normal", "offset", "big", "flat", "integer"};
/* On the tolerance: a mean of 100 is known to 4e-6; attention scores of some thousands to 2e-4, and they are exponents. */
static const double LOOSER[] = {1, 8, 1, 1, 16};

struct shape {
  int v[MAX_NUMBERS]; /* meaning: the operation's names */
  enum values values;
  bool parity_only;
};

struct block {
  unsigned char *memory;
  size_t total, at, bytes;
};

struct rig {
  struct backend *b;
  const struct shape *s;
  enum dtype type, inputs_as; /* inputs_as: inputs have values of this type, whatever theirs is; F32: as they come */
  bool shifted, zero_grads;
  struct block block[MAX_BLOCKS];
  int blocks;
  uint32_t inputs; /* so far: numbers the random sequences */
  /* What the case works on; a tensor without data does not exist. y: results; dx[i]: gradient of x[i]; p: parameters. */
  struct tensor x[3], dx[3], y[3], dy, aux[2];
  struct param p[2];
  double host[4]; /* results that are plain numbers */
  int hosts;
};

struct op {
  const char *name, *numbers;
  void (*build)(struct rig *r);
  void (*forward)(struct rig *r);
  void (*backward)(struct rig *r);
  double factor; /* on the tolerance of BF16 and F16; 0: 1 */
  bool f32_only;
  bool exact; /* the same bits as ref's */
  const struct shape *shapes;
  int count;
};

static int failures;

static int number(const struct rig *r, int i) {
  return r->s->v[i];
}

static void *guarded(struct rig *r, size_t bytes, size_t element) {
  assert_true(r->blocks < MAX_BLOCKS);
  struct block *k = &r->block[r->blocks++];
  struct err e = {.code = ERR_OK};
  k->bytes = bytes;
  k->at = GUARD + (r->shifted ? element : 0);
  k->total = k->at + bytes + GUARD;
  k->memory = r->b->op->alloc(r->b, k->total, &e);
  assert_non_null(k->memory);
  unsigned char *poison = malloc(k->total);
  memset(poison, 0xff, k->total);
  r->b->op->upload(r->b, k->memory, poison, k->total);
  free(poison);
  return k->memory + k->at;
}

static bool guards_hold(struct rig *r) {
  bool hold = true;
  for (int i = 0; i < r->blocks; i++) {
    struct block *k = &r->block[i];
    unsigned char *copy = malloc(k->total);
    r->b->op->download(r->b, copy, k->memory, k->total);
    for (size_t j = 0; j < k->total; j++)
      if ((j < k->at || j >= k->at + k->bytes) && copy[j] != 0xff) hold = false;
    free(copy);
  }
  return hold;
}

static void release(struct rig *r) {
  for (int i = 0; i < 2; i++) r->b->op->drop_pack(r->b, &r->p[i]);
  for (int i = 0; i < r->blocks; i++) r->b->op->release(r->b, r->block[i].memory, r->block[i].total);
  r->blocks = 0;
}

static struct tensor empty(struct rig *r, enum dtype type, int rank, int64_t a, int64_t b, int64_t c, int64_t d) {
  struct tensor t = tensor_of(NULL, type, rank, (int64_t[]){a, b, c, d});
  t.data = guarded(r, tensor_bytes(&t), dtype_size(type));
  return t;
}

/* A row of numbers that depends on its index only. */
static float *random_values(uint32_t index, enum values kind, int64_t n) {
  struct rng_counter c = {.seed = 20240607, .stream = RNG_PROBE, .index = index};
  float *x = malloc((size_t)(n > 0 ? n : 1) * sizeof *x);
  rng_normal(&c, x, 0, n);
  for (int64_t i = 0; i < n; i++) {
    if (kind == OFFSET) x[i] += 100;
    if (kind == BIG) x[i] *= 1e4f;
    if (kind == FLAT) x[i] = 3;
    if (kind == INTEGER) x[i] = (float)rng_below(&c, (uint32_t)i, 49) - 24;
  }
  return x;
}

static void put(struct rig *r, struct tensor *t, const float *x) {
  int64_t n = tensor_count(t);
  if (t->type == DT_F32) {
    r->b->op->upload(r->b, t->data, x, tensor_bytes(t));
    return;
  }
  uint16_t *half = malloc((size_t)n * sizeof *half);
  for (int64_t i = 0; i < n; i++) half[i] = t->type == DT_BF16 ? f32_to_bf16(x[i]) : f32_to_f16(x[i]);
  r->b->op->upload(r->b, t->data, half, tensor_bytes(t));
  free(half);
}

static float *get(struct rig *r, const struct tensor *t) {
  int64_t n = tensor_count(t);
  float *x = malloc((size_t)n * sizeof *x);
  if (t->type == DT_F32) {
    r->b->op->download(r->b, x, t->data, tensor_bytes(t));
    return x;
  }
  uint16_t *half = malloc((size_t)n * sizeof *half);
  r->b->op->download(r->b, half, t->data, tensor_bytes(t));
  for (int64_t i = 0; i < n; i++) x[i] = t->type == DT_BF16 ? bf16_to_f32(half[i]) : f16_to_f32(half[i]);
  free(half);
  return x;
}

static float as_type(float x, enum dtype type) {
  return type == DT_BF16 ? bf16_to_f32(f32_to_bf16(x)) : type == DT_F16 ? f16_to_f32(f32_to_f16(x)) : x;
}

static void fill_random(struct rig *r, struct tensor *t, enum values kind) {
  float *x = random_values(r->inputs++, kind, tensor_count(t));
  bool smaller = kind == BIG && (r->type == DT_F16 || r->inputs_as == DT_F16);
  for (int64_t i = 0; i < tensor_count(t); i++) x[i] = as_type(smaller ? 5e-3f * x[i] : x[i], r->inputs_as);
  put(r, t, x);
  free(x);
}

static struct tensor filled(struct rig *r, enum dtype type, int rank, int64_t a, int64_t b, int64_t c, int64_t d) {
  struct tensor t = empty(r, type, rank, a, b, c, d);
  fill_random(r, &t, r->s->values);
  return t;
}

/* x[i] with its gradient. */
static void input(struct rig *r, int i, int rank, int64_t a, int64_t b, int64_t c, int64_t d) {
  r->x[i] = filled(r, r->type, rank, a, b, c, d);
  r->dx[i] = empty(r, r->type, rank, a, b, c, d);
}

/* y[0] and its gradient, which is normal whatever the inputs are. */
static void output(struct rig *r, int rank, int64_t a, int64_t b, int64_t c, int64_t d) {
  r->y[0] = empty(r, r->type, rank, a, b, c, d);
  r->dy = empty(r, r->type, rank, a, b, c, d);
  fill_random(r, &r->dy, NORMAL);
}

static struct tensor param_values(const struct param *p, float *data) {
  return tensor_1d(data, DT_F32, p->count);
}

/* Weights are small, as in networks; the gradient begins with values that backward must add to. */
static void parameter(struct rig *r, int i, bool frozen, int rank, int64_t a, int64_t b, int64_t c, int64_t d) {
  struct param *p = &r->p[i];
  *p = (struct param){.rank = rank, .dim = {a, b, c, d}, .count = 1, .frozen = frozen, .version = 1};
  for (int j = 0; j < rank; j++) p->count *= p->dim[j];
  p->w = guarded(r, (size_t)p->count * sizeof *p->w, sizeof *p->w);
  struct tensor w = param_values(p, p->w);
  fill_random(r, &w, NORMAL);
  if (frozen) return;
  p->g = guarded(r, (size_t)p->count * sizeof *p->g, sizeof *p->g);
  struct tensor g = param_values(p, p->g);
  if (r->zero_grads)
    r->b->op->fill(r->b, &g, 0);
  else
    fill_random(r, &g, NORMAL);
}

static struct param *param_at(struct rig *r, int i) {
  return r->p[i].w ? &r->p[i] : NULL;
}

static void copy(struct rig *r, struct tensor *to, const struct tensor *from) {
  r->b->op->move(r->b, to->data, from->data, tensor_bytes(from));
}

#include "backend_ops.inc"

/* --- running and comparing ------------------------------------------------------------------------------------------------- */

struct result {
  char name[16];
  float *x;
  int64_t n;
  enum dtype type;
};

struct results {
  struct result r[MAX_RESULTS];
  int n;
  double host[4];
};

static void describe(char *out, size_t size, const struct op *op, const struct rig *r) {
  size_t used = (size_t)snprintf(out, size, "%s %s", op->name, dtype_name(r->type));
  const char *name = op->numbers;
  for (int i = 0; *name && used < size; i++) {
    int length = (int)strcspn(name, " ");
    used += (size_t)snprintf(out + used, size - used, " %.*s=%d", length, name, r->s->v[i]);
    name += length + (name[length] == ' ');
  }
  if (used < size)
    snprintf(out + used, size - used, " %s, %s %d threads%s", VALUES[r->s->values], r->b->op->name, r->b->threads,
             r->shifted ? ", shifted" : "");
}

static void fail_case(const struct op *op, const struct rig *r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void fail_case(const struct op *op, const struct rig *r, const char *fmt, ...) {
  char what[256], why[256];
  va_list args;
  va_start(args, fmt);
  vsnprintf(why, sizeof why, fmt, args);
  va_end(args);
  describe(what, sizeof what, op, r);
  print_error("%s: %s\n", what, why);
  failures++;
}

static void take_result(struct rig *r, struct results *all, const char *name, int i, const struct tensor *t) {
  assert_true(all->n < MAX_RESULTS);
  struct result *one = &all->r[all->n++];
  snprintf(one->name, sizeof one->name, "%s%d", name, i);
  one->n = tensor_count(t);
  one->x = get(r, t);
  one->type = t->type;
}

static void take_results(struct rig *r, struct results *all) {
  all->n = 0;
  memcpy(all->host, r->host, sizeof all->host);
  for (int i = 0; i < 3; i++)
    if (r->y[i].data) take_result(r, all, "y", i, &r->y[i]);
  for (int i = 0; i < 3; i++)
    if (r->dx[i].data) take_result(r, all, "dx", i, &r->dx[i]);
  for (int i = 0; i < 2; i++)
    if (r->p[i].g) {
      struct tensor g = param_values(&r->p[i], r->p[i].g);
      take_result(r, all, "dp", i, &g);
    }
  if (r->hosts) {
    struct result *one = &all->r[all->n++];
    *one = (struct result){.name = "host", .n = r->hosts, .x = malloc(sizeof(float) * 4)};
    for (int i = 0; i < r->hosts; i++) one->x[i] = (float)r->host[i];
  }
}

static void free_results(struct results *all) {
  for (int i = 0; i < all->n; i++) free(all->r[i].x);
}

/* Builds, computes, checks guards and fault; *all is the caller's to free. */
static void run_case(const struct op *op, struct rig *r, struct results *all) {
  op->build(r);
  op->forward(r);
  if (op->backward) op->backward(r);
  take_results(r, all);
  if (!guards_hold(r)) fail_case(op, r, "wrote outside of a tensor");
  if (r->b->fault.code != ERR_OK) fail_case(op, r, "fault: %s", r->b->fault.text);
  r->b->fault.code = ERR_OK; /* the next case has a chance */
  r->b->fault.text[0] = 0;
  release(r);
}

static double rms(const float *x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
  return sqrt(sum / (double)(n > 0 ? n : 1));
}

static double tolerance(const struct op *op, const struct rig *r, const struct result *ref) {
  if (op->exact) return 0;
  double rounded = ref->type == DT_BF16 ? 0x1p-7 : ref->type == DT_F16 ? op->factor > 0 ? 0x1p-9 : 0x1p-10 : 0;
  double exact = r->type == DT_BF16 ? 1e-4 : r->type == DT_F16 ? 2e-5 : 1e-5;
  return (rounded > 0 ? rounded * (op->factor > 0 ? op->factor : 1) : exact) * LOOSER[r->s->values];
}

static void compare(const struct op *op, const struct rig *r, const struct result *mine, const struct result *ref) {
  double size = rms(ref->x, ref->n), worst = 0, tol = tolerance(op, r, ref);
  int64_t at = -1, bad = 0;
  for (int64_t i = 0; i < ref->n; i++) {
    double error = fabs((double)mine->x[i] - ref->x[i]) / (size + fabs((double)ref->x[i]) + 1e-30);
    bad += !(error <= tol); /* NaN is bad */
    if (!(error <= worst)) worst = error, at = i;
  }
  if (bad > 0)
    fail_case(op, r, "%s: %lld of %lld differ, worst at %lld: %.8g, ref has %.8g (relative error %.2g, allowed %.2g)", ref->name,
              (long long)bad, (long long)ref->n, (long long)at, mine->x[at], ref->x[at], worst, tol);
}

static struct rig rig_of(struct backend *b, const struct shape *s, enum dtype type) {
  return (struct rig){.b = b, .s = s, .type = type, .shifted = b->threads > 1};
}

static const enum dtype TYPES[] = {DT_F32, DT_BF16, DT_F16};

static int types_of(const struct op *op) {
  return op->f32_only ? 1 : 3;
}

/* --- the tests ------------------------------------------------------------------------------------------------------------- */

/* One backend against results of ref, made once for each case. */
static void parity_on(const struct op *op, struct backend *ref, struct backend *other) {
  for (int i = 0; i < op->count * types_of(op); i++) {
    struct results expected, mine;
    struct rig a = rig_of(ref, &op->shapes[i / types_of(op)], TYPES[i % types_of(op)]), b = rig_of(other, a.s, a.type);
    run_case(op, &a, &expected);
    run_case(op, &b, &mine);
    for (int j = 0; j < expected.n; j++) compare(op, &b, &mine.r[j], &expected.r[j]);
    free_results(&expected);
    free_results(&mine);
  }
}

/* NULL where it is a card's that this machine does not have. */
static struct backend *open_backend(const struct backend_ops *op, int threads) {
  struct err e = {.code = ERR_OK};
  struct backend *b = backend_open_ops(op, threads, &e);
  if (!b && (op->host_memory || !strstr(e.text, "no GPU"))) fail_msg("%s does not open: %s", op->name, e.text);
  return b;
}

static void for_each_backend(void (*f)(const struct op *op, struct backend *ref, struct backend *b), const struct op *op) {
  struct err e = {.code = ERR_OK};
  struct backend *ref = backend_open_ops(&backend_ref, 1, &e);
  assert_non_null(ref);
  for (int i = 0; backend_list[i]; i++)
    for (int threads = 1; threads <= 2; threads++) {
      struct backend *b = open_backend(backend_list[i], threads);
      if (!b) break;
      if (b->threads == threads) f(op, ref, b); /* else it cannot have so many */
      backend_close(b);
    }
  backend_close(ref);
}

static void test_parity(void **state) {
  failures = 0;
  for_each_backend(parity_on, *state);
  assert_int_equal(failures, 0);
}

static void repeats_on(const struct op *op, struct backend *ref, struct backend *b) {
  (void)ref;
  for (int i = 0; i < op->count * types_of(op); i++) {
    struct results first, second;
    struct rig r1 = rig_of(b, &op->shapes[i / types_of(op)], TYPES[i % types_of(op)]), r2 = r1;
    run_case(op, &r1, &first);
    run_case(op, &r2, &second);
    for (int j = 0; j < first.n; j++)
      if (memcmp(first.r[j].x, second.r[j].x, (size_t)first.r[j].n * sizeof(float)) != 0)
        fail_case(op, &r2, "%s: other bits the second time", first.r[j].name);
    free_results(&first);
    free_results(&second);
  }
}

static void test_repeats(void **state) {
  failures = 0;
  for_each_backend(repeats_on, *state);
  assert_int_equal(failures, 0);
}

/* ref in 16 bits is ref in F32 on the same inputs, rounded once: half a unit in the last place, and what F32 itself loses. */
static void rounded_once(const struct op *op, struct backend *b, const struct shape *s, enum dtype type) {
  struct results half, whole;
  struct rig r = rig_of(b, s, type), exact = rig_of(b, s, DT_F32);
  r.inputs_as = exact.inputs_as = type;
  run_case(op, &r, &half);
  run_case(op, &exact, &whole);
  for (int j = 0; j < half.n; j++) {
    const struct result *h = &half.r[j], *w = &whole.r[j];
    double unit = h->type == DT_F32 ? 0 : type == DT_BF16 ? 0x1p-8 : 0x1p-11, size = rms(w->x, w->n);
    int64_t bad = 0;
    for (int64_t i = 0; i < w->n; i++) bad += !(fabs((double)h->x[i] - w->x[i]) <= unit * fabs((double)w->x[i]) + 1e-6 * size + 0x1p-25);
    if (bad > 0) fail_case(op, &r, "%s: %lld of %lld are not the rounded F32 results", h->name, (long long)bad, (long long)w->n);
  }
  free_results(&half);
  free_results(&whole);
}

static void test_rounded_once(void **state) {
  const struct op *op = *state;
  struct err e = {.code = ERR_OK};
  struct backend *b = backend_open_ops(&backend_ref, 1, &e);
  failures = 0;
  for (int i = 0; i < op->count && types_of(op) > 1 && strcmp(op->name, "cast") != 0; i++) /* cast has types of its own */
    for (int t = 1; t < types_of(op); t++) rounded_once(op, b, &op->shapes[i], TYPES[t]);
  backend_close(b);
  assert_int_equal(failures, 0);
}

/* What is differentiated: sum of dy y, and the weighted sum of the numbers that mse gives (weights as there). */
static void evaluate(const struct op *op, struct rig *r, struct results *all) {
  op->forward(r);
  take_results(r, all);
}

static double loss_difference(struct rig *r, const float *dy, const struct results *plus, const struct results *minus) {
  static const double weight[] = {1, -0.5, 2.25, 0};
  double sum = 0;
  for (int64_t i = 0; dy && i < plus->r[0].n; i++) sum += (double)dy[i] * ((double)plus->r[0].x[i] - minus->r[0].x[i]);
  for (int i = 0; i < r->hosts; i++) sum += weight[i] * (plus->host[i] - minus->host[i]);
  return sum;
}

/* Central difference in element i of x; version: of the parameter that x belongs to, or NULL. */
static double slope(const struct op *op, struct rig *r, struct tensor *x, int64_t i, uint32_t *version, const float *dy) {
  float *at = (float *)x->data + i, value, side[2]; /* ref: device memory is the host's */
  struct results all[2];
  const float step = 0x1p-7f;
  value = *at;
  for (int k = 0; k < 2; k++) {
    *at = side[k] = value + (k ? -step : step);
    if (version) ++*version;
    evaluate(op, r, &all[k]);
  }
  *at = value;
  if (version) ++*version;
  double result = loss_difference(r, dy, &all[0], &all[1]) / ((double)side[0] - side[1]);
  free_results(&all[0]);
  free_results(&all[1]);
  return result;
}

/* Compares up to 16 elements of the gradient, spread over it. Allowed: 2e-3 of (rms + value), which is above both the step's
   curvature and the rounding of F32. */
static void check_gradient(const struct op *op, struct rig *r, const char *name, struct tensor *x, const float *gradient, uint32_t *version,
                           const float *dy) {
  int64_t n = tensor_count(x), stride = n / 16 + 1;
  double size = rms(gradient, n);
  for (int64_t i = n - 1; i >= 0; i -= stride) {
    double expected = slope(op, r, x, i, version, dy);
    if (!(fabs(gradient[i] - expected) <= 2e-3 * (size + fabs(expected)) + 1e-6))
      fail_case(op, r, "%s[%lld]: gradient %.8g, difference quotient %.8g", name, (long long)i, gradient[i], expected);
  }
}

static void gradients_of(const struct op *op, struct backend *b, const struct shape *s) {
  struct rig r = rig_of(b, s, DT_F32);
  float *gradient[3] = {NULL}, *of_param[2] = {NULL};
  r.zero_grads = true;
  op->build(&r);
  op->forward(&r);
  if (op->backward) op->backward(&r);
  float *dy = r.dy.data ? get(&r, &r.dy) : NULL;
  for (int i = 0; i < 3; i++)
    if (r.dx[i].data) gradient[i] = get(&r, &r.dx[i]);
  for (int i = 0; i < 2; i++) {
    struct tensor g = param_values(&r.p[i], r.p[i].g);
    if (g.data) of_param[i] = get(&r, &g);
  }
  for (int i = 0; i < 3; i++)
    if (gradient[i]) check_gradient(op, &r, i == 0 ? "dx0" : i == 1 ? "dx1" : "dx2", &r.x[i], gradient[i], NULL, dy);
  for (int i = 0; i < 2; i++) {
    struct tensor w = param_values(&r.p[i], r.p[i].w);
    if (of_param[i]) check_gradient(op, &r, i == 0 ? "dp0" : "dp1", &w, of_param[i], &r.p[i].version, dy);
  }
  for (int i = 0; i < 3; i++) free(gradient[i]);
  for (int i = 0; i < 2; i++) free(of_param[i]);
  free(dy);
  release(&r);
}

static void test_gradients(void **state) {
  const struct op *op = *state;
  struct err e = {.code = ERR_OK};
  struct backend *b = backend_open_ops(&backend_ref, 1, &e);
  failures = 0;
  for (int i = 0; i < op->count; i++)
    if (!op->shapes[i].parity_only && op->shapes[i].values == NORMAL) gradients_of(op, b, &op->shapes[i]);
  backend_close(b);
  assert_int_equal(failures, 0);
}

/* --- ref against definitions ----------------------------------------------------------------------------------------------- */

static void expect(const char *what, double got, double wanted) {
  if (fabs(got - wanted) <= 1e-5 * (1 + fabs(wanted))) return;
  print_error("%s: %.8g, expected %.8g\n", what, got, wanted);
  failures++;
}

/* A case of the table, built and computed forward on ref in F32. */
static struct rig forward_of(const struct op *op, struct backend *b, const struct shape *s) {
  struct rig r = rig_of(b, s, DT_F32);
  op->build(&r);
  op->forward(&r);
  return r;
}

static double element(const struct tensor *t, int64_t i) {
  return ((const float *)t->data)[i];
}

/* y[n, oy, ox, co] as the sum over taps and channels. */
static double conv_element(const struct rig *r, int64_t n, int64_t oy, int64_t ox, int64_t co) {
  struct conv_shape s = conv_of(r);
  const struct tensor *x = &r->x[0];
  int64_t h = x->dim[1], w = x->dim[2], ci = x->dim[3];
  double sum = r->p[1].w ? r->p[1].w[co] : 0;
  for (int64_t c = 0; c < ci; c++)
    for (int ky = 0; ky < s.kh; ky++)
      for (int kx = 0; kx < s.kw; kx++) {
        int64_t iy = oy * s.stride + ky - s.pad_top, ix = ox * s.stride + kx - s.pad_left;
        if (iy < 0 || iy >= h || ix < 0 || ix >= w) continue;
        sum += element(x, ((n * h + iy) * w + ix) * ci + c) * r->p[0].w[((co * ci + c) * s.kh + ky) * s.kw + kx];
      }
  return sum;
}

static void check_conv(const struct rig *r) {
  const struct tensor *y = &r->y[0];
  int64_t i = 0;
  for (int64_t n = 0; n < y->dim[0]; n++)
    for (int64_t oy = 0; oy < y->dim[1]; oy++)
      for (int64_t ox = 0; ox < y->dim[2]; ox++)
        for (int64_t co = 0; co < y->dim[3]; co++, i++) expect("conv", element(y, i), conv_element(r, n, oy, ox, co));
}

static void check_linear(const struct rig *r) {
  int64_t m = number(r, 0), k = number(r, 1), n = number(r, 2);
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      double sum = 0;
      for (int64_t p = 0; p < k; p++) sum += element(&r->x[0], i * k + p) * r->p[0].w[j * k + p];
      expect("linear", element(&r->y[0], i * n + j), number(r, 3) / 10.0 * sum + (r->p[1].w ? r->p[1].w[j] : 0));
    }
}

/* One query of one head: o and lse. */
static void check_query(const struct rig *r, int64_t n, int64_t head, int64_t i) {
  struct attention_shape s = attention_of(r);
  int64_t tq = number(r, 1), tk = number(r, 2), d = number(r, 4), c = s.heads * d;
  double sum = 0, score[300], o[64] = {0};
  for (int64_t j = 0; j < tk; j++) {
    score[j] = 0;
    for (int64_t p = 0; p < d; p++)
      score[j] += s.scale * element(&r->x[0], (n * tq + i) * c + head * d + p) * element(&r->x[1], (n * tk + j) * c + head * d + p);
    score[j] = s.causal && j > i ? 0 : exp(score[j]);
    sum += score[j];
  }
  for (int64_t j = 0; j < tk; j++)
    for (int64_t p = 0; p < d; p++) o[p] += score[j] / sum * element(&r->x[2], (n * tk + j) * c + head * d + p);
  for (int64_t p = 0; p < d; p++) expect("attention", element(&r->y[0], (n * tq + i) * c + head * d + p), o[p]);
  expect("lse", element(&r->y[1], (n * s.heads + head) * tq + i), log(sum));
}

static void check_attention(const struct rig *r) {
  for (int64_t n = 0; n < number(r, 0); n++)
    for (int64_t head = 0; head < number(r, 3); head++)
      for (int64_t i = 0; i < number(r, 1); i++) check_query(r, n, head, i);
}

static void check_group_norm(const struct rig *r) {
  int64_t rows = number(r, 1), c = number(r, 2), groups = number(r, 3), cols = c / groups;
  for (int64_t i = 0; i < number(r, 0) * groups; i++) {
    int64_t n = i / groups, g = i % groups;
    double mean = 0, var = 0, count = (double)(rows * cols);
    for (int64_t j = 0; j < rows * cols; j++) mean += element(&r->x[0], (n * rows + j / cols) * c + g * cols + j % cols) / count;
    for (int64_t j = 0; j < rows * cols; j++)
      var += pow(element(&r->x[0], (n * rows + j / cols) * c + g * cols + j % cols) - mean, 2) / count;
    for (int64_t j = 0; j < rows * cols; j++) {
      int64_t at = (n * rows + j / cols) * c + g * cols + j % cols;
      double z = (element(&r->x[0], at) - mean) / sqrt(var + 1e-5) * r->p[0].w[at % c] + r->p[1].w[at % c];
      expect("group_norm", element(&r->y[0], at), number(r, 4) ? z / (1 + exp(-z)) : z);
    }
  }
}

static const struct op *op_named(const char *name) {
  for (int i = 0; i < N_OPS; i++)
    if (strcmp(OPS[i].name, name) == 0) return &OPS[i];
  return NULL;
}

static void check_definition(const char *name, void (*check)(const struct rig *r)) {
  const struct op *op = op_named(name);
  struct err e = {.code = ERR_OK};
  struct backend *b = backend_open_ops(&backend_ref, 1, &e);
  failures = 0;
  for (int i = 0; i < op->count; i++) {
    if (op->shapes[i].parity_only || op->shapes[i].values != NORMAL) continue;
    struct rig r = forward_of(op, b, &op->shapes[i]);
    check(&r);
    release(&r);
  }
  backend_close(b);
  assert_int_equal(failures, 0);
}

static void test_linear_definition(void **state) {
  (void)state;
  check_definition("linear", check_linear);
}

static void test_conv_definition(void **state) {
  (void)state;
  check_definition("conv", check_conv);
}

static void test_attention_definition(void **state) {
  (void)state;
  check_definition("attention", check_attention);
}

static void test_group_norm_definition(void **state) {
  (void)state;
  check_definition("group_norm", check_group_norm);
}

/* Values of the functions at 1 and -2, from tables: silu, gelu (erf form), quick gelu. */
static void test_activation_values(void **state) {
  (void)state;
  static const float wanted[3][2] = {{0.73105858f, -0.23840584f}, {0.84134475f, -0.04550026f}, {0.84579577f, -0.06434169f}};
  struct err e = {.code = ERR_OK};
  struct backend *b = backend_open_ops(&backend_ref, 1, &e);
  failures = 0;
  for (int kind = 0; kind < 3; kind++) {
    float x[2] = {1, -2}, y[2];
    struct tensor in = tensor_1d(x, DT_F32, 2), out = tensor_1d(y, DT_F32, 2);
    b->op->act(b, &out, &in, (enum activation)kind);
    for (int i = 0; i < 2; i++) expect("act", y[i], wanted[kind][i]);
  }
  backend_close(b);
  assert_int_equal(failures, 0);
}

/* Two rows of two channels against zero: all of them, then the first alone. */
static void test_mse_values(void **state) {
  (void)state;
  struct err e = {.code = ERR_OK};
  struct backend *b = backend_open_ops(&backend_ref, 1, &e);
  float x[4] = {1, 2, 3, 5}, zero[4] = {0}, d[4], select[2] = {1, 0}, weight = 3;
  struct tensor pred = tensor_3d(x, DT_F32, 1, 2, 2), target = tensor_3d(zero, DT_F32, 1, 2, 2), dpred = tensor_3d(d, DT_F32, 1, 2, 2);
  struct tensor mask = tensor_2d(select, DT_F32, 1, 2);
  double loss;
  failures = 0;
  b->op->mse(b, &loss, &dpred, &pred, &target, NULL, &weight);
  expect("mse", loss, 39 / 4.0);
  expect("dpred", d[3], 3 * 2 * 5 / 4.0);
  b->op->mse(b, &loss, &dpred, &pred, &target, &mask, &weight);
  expect("masked mse", loss, 5 / 2.0);
  expect("masked dpred", d[1], 3 * 2 * 2 / 2.0);
  expect("dpred outside of the mask", d[2], 0);
  backend_close(b);
  assert_int_equal(failures, 0);
}

/* First step of AdamW from zero moments: the mean is the gradient, so w moves by lr against its sign, after the decay. */
static void test_adamw_first_step(void **state) {
  (void)state;
  struct err e = {.code = ERR_OK};
  struct backend *b = backend_open_ops(&backend_ref, 1, &e);
  float w[2] = {1, -2}, g[2] = {0.5f, -3}, m[2] = {0}, v[2] = {0};
  struct tensor mean = tensor_1d(m, DT_F32, 2), square = tensor_1d(v, DT_F32, 2);
  struct adamw a = {.lr = 0.1f, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 0, .weight_decay = 0.01f, .grad_scale = 0.5f, .step = 1};
  failures = 0;
  b->op->adamw(b, w, g, &mean, &square, 2, &a);
  expect("w", w[0], 1 - 0.001 - 0.1);
  expect("w", w[1], -2 + 0.002 + 0.1);
  expect("m", m[0], 0.025);
  expect("v", v[1], 0.00225);
  backend_close(b);
  assert_int_equal(failures, 0);
}

/* --- F16 ------------------------------------------------------------------------------------------------------------------- */

/* Every value of F16 as F32, what lies just below and above the middle between two of them, and the middle itself. */
enum { F16_VALUES = 4 << 16 };
static void f16_neighbours(float *x) {
  for (int i = 0; i < F16_VALUES / 4; i++) {
    float value = f16_to_f32((uint16_t)i), next = f16_to_f32((uint16_t)(i + 1)), middle = value + (next - value) / 2;
    const float four[] = {value, nextafterf(middle, -INFINITY), middle, nextafterf(middle, INFINITY)};
    memcpy(x + (ptrdiff_t)4 * i, four, sizeof four);
  }
  const float ends[] = {65519.996f, 65520, -65520, 3e38f, 0x1p-25f, 0x1.000002p-25f, -0x1p-149f, INFINITY};
  memcpy(x, ends, sizeof ends);
}

static bool same_half(uint16_t a, uint16_t b) {
  return a == b || (isnan(f16_to_f32(a)) && isnan(f16_to_f32(b)));
}

/* There and back on one backend, bit by bit with base/tensor.c. */
static int f16_differences(struct backend *b, const float *x) {
  struct err e = {.code = ERR_OK};
  struct tensor wide = tensor_1d(b->op->alloc(b, F16_VALUES * sizeof *x, &e), DT_F32, F16_VALUES);
  struct tensor half = tensor_1d(b->op->alloc(b, (size_t)2 * F16_VALUES, &e), DT_F16, F16_VALUES);
  uint16_t *bits = malloc((size_t)2 * F16_VALUES);
  float *back = malloc(F16_VALUES * sizeof *back);
  int bad = 0;
  b->op->upload(b, wide.data, x, F16_VALUES * sizeof *x);
  b->op->cast(b, &half, &wide);
  b->op->download(b, bits, half.data, (size_t)2 * F16_VALUES);
  b->op->cast(b, &wide, &half);
  b->op->download(b, back, wide.data, F16_VALUES * sizeof *back);
  for (int i = 0; i < F16_VALUES; i++) {
    bool same = same_half(bits[i], f32_to_f16(x[i])) && same_half(f32_to_f16(back[i]), bits[i]);
    if (!same && bad++ < 5)
      print_error("%s: %.9g becomes %04x and %.9g, expected %04x\n", b->op->name, x[i], bits[i], back[i], f32_to_f16(x[i]));
  }
  b->op->release(b, wide.data, F16_VALUES * sizeof *x);
  b->op->release(b, half.data, (size_t)2 * F16_VALUES);
  free(bits);
  free(back);
  return bad;
}

/* What F16 cannot hold is infinite in every backend: the search for overflow (train/precision.h) rests on it. */
static int finite_overflows(struct backend *b) {
  enum { N = 40 };
  struct err e = {.code = ERR_OK};
  struct tensor x = tensor_2d(b->op->alloc(b, (size_t)2 * N * N, &e), DT_F16, N, N),
                y = tensor_2d(b->op->alloc(b, (size_t)2 * N * N, &e), DT_F16, N, N);
  struct param w = {.rank = 2, .dim = {N, N}, .count = (int64_t)N * N, .version = 1, .frozen = true};
  float weights[N * N];
  uint16_t sum[N * N], product[N * N];
  int bad = 0;
  for (int i = 0; i < N * N; i++) weights[i] = 2;
  w.w = b->op->alloc(b, sizeof weights, &e);
  b->op->upload(b, w.w, weights, sizeof weights);
  b->op->fill(b, &x, 40000);
  b->op->add(b, &y, &x, &x);
  b->op->download(b, sum, y.data, sizeof sum);
  b->op->linear(b, &y, &x, &w, NULL, 1, 0);
  b->op->download(b, product, y.data, sizeof product);
  for (int i = 0; i < N * N; i++) bad += sum[i] != 0x7c00 || product[i] != 0x7c00;
  b->op->drop_pack(b, &w);
  b->op->release(b, w.w, sizeof weights);
  b->op->release(b, x.data, (size_t)2 * N * N);
  b->op->release(b, y.data, (size_t)2 * N * N);
  return bad;
}

static void f16_on(const struct op *op, struct backend *ref, struct backend *b) {
  (void)op, (void)ref;
  float *x = malloc(F16_VALUES * sizeof *x);
  f16_neighbours(x);
  failures += f16_differences(b, x) + finite_overflows(b);
  free(x);
}

static void test_f16(void **state) {
  (void)state;
  failures = 0;
  for_each_backend(f16_on, NULL);
  assert_int_equal(failures, 0);
}

/* --- opening, counting ----------------------------------------------------------------------------------------------------- */

static void test_open_by_name(void **state) {
  (void)state;
  struct err e = {.code = ERR_OK};
  struct backend *b = backend_open("auto", 0, &e);
  assert_non_null(b);
  assert_true(b->threads >= 1);
  assert_true(strlen(backend_describe(b)) > 0);
  backend_close(b);
  b = backend_open("ref", 1, &e);
  assert_ptr_equal(b->op, &backend_ref);
  backend_close(b);
  assert_null(backend_open("abacus", 1, &e));
  assert_int_equal(e.code, ERR_FIT);
  assert_non_null(strstr(e.text, "abacus"));
  backend_close(NULL);
}

static void test_memory(void **state) {
  (void)state;
  for (int i = 0; backend_list[i]; i++) {
    struct err e = {.code = ERR_OK};
    struct backend *b = open_backend(backend_list[i], 1);
    if (!b) continue;
    static const size_t sizes[] = {0, 1, 4097, 5 << 20};
    for (int j = 0; j < 4; j++) {
      unsigned char *p = b->op->alloc(b, sizes[j], &e), *copied = malloc(sizes[j] + 1);
      assert_non_null(p);
      assert_int_equal((uintptr_t)p % 64, 0);
      b->op->download(b, copied, p, sizes[j]);
      for (size_t k = 0; k < sizes[j]; k++) assert_int_equal(copied[k], 0);
      b->op->release(b, p, sizes[j]);
      free(copied);
    }
    assert_null(b->op->alloc(b, SIZE_MAX / 2, &e));
    assert_int_equal(e.code, ERR_FIT);
    b->op->release(b, NULL, 0);
    backend_close(b);
  }
}

/* move may overlap: shifts by three bytes both ways. */
static void test_move_overlaps(void **state) {
  (void)state;
  for (int i = 0; backend_list[i]; i++) {
    struct err e = {.code = ERR_OK};
    struct backend *b = open_backend(backend_list[i], 1);
    if (!b) continue;
    char *p = b->op->alloc(b, 16, &e), text[16] = "";
    b->op->upload(b, p, "abcdefgh", 8);
    b->op->move(b, p + 3, p, 8);
    b->op->move(b, p + 1, p + 3, 8);
    b->op->download(b, text, p, 11);
    assert_string_equal(text, "aabcdefghgh");
    b->op->release(b, p, 16);
    backend_close(b);
  }
}

/* The counting backend: FLOPs of a linear layer, a convolution and attention, forward and backward, without touching memory. */
static void test_count(void **state) {
  (void)state;
  struct err e = {.code = ERR_OK};
  struct backend *b = backend_open_ops(&backend_count, 1, &e);
  const struct backend_ops *op = b->op;
  void *fake = op->alloc(b, (size_t)1 << 50, &e);
  assert_non_null(fake);
  struct tensor x = tensor_2d(fake, DT_F32, 7, 5), y = tensor_2d(fake, DT_F32, 7, 3);
  struct param w = {.rank = 2, .dim = {3, 5}, .count = 15}, frozen = w;
  frozen.frozen = true;
  op->linear(b, &y, &x, &w, NULL, 1, 0);
  assert_true(b->flops == 2 * 7 * 5 * 3);
  assert_true(b->bytes == 4 * (35 + 21 + 15));
  op->linear_dx(b, &x, &y, &w, 1, 0);
  op->linear_dw(b, &w, NULL, &x, &y, 1);
  op->linear_dw(b, &frozen, NULL, &x, &y, 1);
  assert_true(b->flops == 3 * 2 * 7 * 5 * 3);
  b->flops = 0;
  struct conv_shape s = {.kh = 3, .kw = 3, .stride = 2, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
  struct tensor in = tensor_4d(fake, DT_BF16, 2, 8, 6, 5), out = tensor_4d(fake, DT_BF16, 2, 4, 3, 7);
  op->conv(b, &out, &in, &w, NULL, &s);
  op->conv_dx(b, &in, &out, &w, &s);
  op->conv_dw(b, &w, NULL, &in, &out, &s);
  assert_true(b->flops == 3 * 2 * (2 * 4 * 3) * 7 * 5 * 9);
  b->flops = 0;
  struct attention_shape a = {.heads = 2, .scale = 1};
  struct tensor q = tensor_3d(fake, DT_F32, 2, 4, 6), k = tensor_3d(fake, DT_F32, 2, 5, 6);
  op->attention(b, &q, NULL, &q, &k, &k, &a);
  assert_true(b->flops == 2 * 2 * 2 * 4 * 5 * 6);
  op->mse(b, fake, NULL, &q, &q, NULL, NULL);
  op->sum_squares(b, fake, fake, 3);
  backend_close(b);
}

static void no_rehearsal(struct backend *b, bool on) {
  (void)b, (void)on;
}

static bool no_memory(struct backend *b, struct backend_memory *out, struct err *e) {
  (void)b, (void)out, (void)e;
  return false;
}

static bool no_tf32(const struct backend *b) {
  (void)b;
  return false;
}

static char *no_choices(struct backend *b, struct err *e) {
  (void)b, (void)e;
  return NULL;
}

static bool takes_no_choices(struct backend *b, const char *text, bool no_more) {
  (void)b, (void)text, (void)no_more;
  return false;
}

static bool begins_no_part(struct backend *b, const void *key, size_t bytes) {
  (void)b, (void)key, (void)bytes;
  return true;
}

static bool ends_no_part(struct backend *b) {
  (void)b;
  return true;
}

/* Planning never gets as far as values in the host's memory. */
static bool of_offload(size_t slot) {
  return slot >= offsetof(struct backend_ops, host_alloc) / sizeof(void (*)(void)) &&
         slot <= offsetof(struct backend_ops, copy_fill) / sizeof(void (*)(void));
}

/* Every slot of every table is filled. */
static void test_tables_are_complete(void **state) {
  (void)state;
  const struct backend_ops *count_only[] = {&backend_count, NULL};
  for (int k = 0; k < 2; k++) {
    const struct backend_ops *const *list = k ? count_only : backend_list;
    for (int i = 0; list[i]; i++) {
      void (*slot[sizeof(struct backend_ops) / sizeof(void (*)(void))])(void);
      struct backend_ops ops = *list[i];
      if (!ops.describe) ops.describe = backend_describe; /* those that may be missing */
      assert_true(k == 1 || ops.host_memory == !ops.memory);
      if (!ops.memory) ops.memory = no_memory;
      if (!ops.rehearse) ops.rehearse = no_rehearsal;
      if (!ops.has_tf32) ops.has_tf32 = no_tf32;
      assert_true(!ops.choices == !ops.take_choices);
      if (!ops.choices) ops.choices = no_choices, ops.take_choices = takes_no_choices;
      assert_true(!ops.part_begin == !ops.part_end);
      if (!ops.part_begin) ops.part_begin = begins_no_part, ops.part_end = ends_no_part;
      ops.host_memory = true; /* a fact, not a function */
      memcpy(slot, &ops, sizeof slot);
      for (size_t j = 0; j < sizeof slot / sizeof slot[0]; j++) assert_true(slot[j] != NULL || (k == 1 && of_offload(j)));
    }
  }
}

static int add_test(struct CMUnitTest *tests, int n, char (*name)[48], const char *what, void (*f)(void **), const struct op *op) {
  snprintf(name[n], sizeof name[n], "%s %s", op->name, what);
  tests[n] = (struct CMUnitTest){.name = name[n], .test_func = f, .initial_state = (void *)(uintptr_t)op};
  return n + 1;
}

int main(void) {
  static struct CMUnitTest of_ops[4 * N_OPS];
  static char name[4 * N_OPS][48];
  const struct CMUnitTest others[] = {
      cmocka_unit_test(test_tables_are_complete),
      cmocka_unit_test(test_open_by_name),
      cmocka_unit_test(test_memory),
      cmocka_unit_test(test_move_overlaps),
      cmocka_unit_test(test_count),
      cmocka_unit_test(test_activation_values),
      cmocka_unit_test(test_linear_definition),
      cmocka_unit_test(test_conv_definition),
      cmocka_unit_test(test_attention_definition),
      cmocka_unit_test(test_group_norm_definition),
      cmocka_unit_test(test_mse_values),
      cmocka_unit_test(test_adamw_first_step),
      cmocka_unit_test(test_f16),
  };
  int n = 0;
  for (int i = 0; i < N_OPS; i++) {
    if (OPS[i].backward || OPS[i].build == mse_build) n = add_test(of_ops, n, name, "gradients", test_gradients, &OPS[i]);
    if (types_of(&OPS[i]) > 1) n = add_test(of_ops, n, name, "rounded once", test_rounded_once, &OPS[i]);
    n = add_test(of_ops, n, name, "parity", test_parity, &OPS[i]);
    n = add_test(of_ops, n, name, "repeats", test_repeats, &OPS[i]);
  }
  int failed = cmocka_run_group_tests(others, NULL, NULL);
  return failed + _cmocka_run_group_tests("operations", of_ops, (size_t)n, NULL, NULL);
}
