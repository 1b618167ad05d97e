/* Learning-rate schedules against diffusers (tests/data/schedules.safetensors), AdamW with clipping and EMA against torch, the scale of the loss
 * against torch.amp.GradScaler (tests/data/loss_scale.safetensors). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "backend/moments8.h"
#include "base/rng.h"
#include "train/optimizer.h"
#include "train/precision.h"
#include "unit/reference.h"

enum { COUNT = 19, STEPS = 10, PARAMS = 2 };

static void test_learning_rates(void **state) {
  static const struct {
    const char *name;
    struct lr_schedule s;
  } cases[] = {
      {"constant.warmup0", {LR_CONSTANT, 1e-4, 0, 60, 0.5, 1, 1e-7}},
      {"constant_with_warmup.warmup7", {LR_CONSTANT_WITH_WARMUP, 1e-4, 7, 60, 0.5, 1, 1e-7}},
      {"linear.warmup0", {LR_LINEAR, 1e-4, 0, 60, 0.5, 1, 1e-7}},
      {"linear.warmup7", {LR_LINEAR, 1e-4, 7, 60, 0.5, 1, 1e-7}},
      {"cosine.warmup0", {LR_COSINE, 1e-4, 0, 60, 0.5, 1, 1e-7}},
      {"cosine.warmup7", {LR_COSINE, 1e-4, 7, 60, 0.5, 1, 1e-7}},
      {"cosine_with_restarts.warmup0.num_cycles1", {LR_COSINE_WITH_RESTARTS, 1e-4, 0, 60, 1, 1, 1e-7}},
      {"cosine_with_restarts.warmup7.num_cycles3", {LR_COSINE_WITH_RESTARTS, 1e-4, 7, 60, 3, 1, 1e-7}},
      {"polynomial.warmup0.power1", {LR_POLYNOMIAL, 1e-4, 0, 60, 1, 1, 1e-7}},
      {"polynomial.warmup7.power2", {LR_POLYNOMIAL, 1e-4, 7, 60, 1, 2, 1e-7}},
  };
  struct st_file *f = reference_open("schedules.safetensors");
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int64_t n;
    float *want = reference_floats(f, cases[i].name, &n);
    for (int k = 0; k < n; k++)
      if (!(fabs(lr_at(&cases[i].s, k) - (double)want[k]) <= 1e-7 * 1e-4))
        fail_msg("%s step %d: %.9g, diffusers has %.9g", cases[i].name, k, lr_at(&cases[i].s, k), (double)want[k]);
    free(want);
  }
  st_close(f);
}

/* Two sets of one parameter each, with a frozen one between the trained ones of the first set. */
struct fixture {
  struct backend *b;
  struct param_set *set[PARAMS];
  struct param *p[PARAMS], *frozen;
  struct optimizer o;
  struct st_file *f;
  struct err e;
};

static void load(struct fixture *t, float *out, const char *name) {
  int64_t n;
  float *x = reference_floats(t->f, name, &n);
  assert_int_equal(n, COUNT);
  t->b->op->upload(t->b, out, x, sizeof(float) * COUNT);
  free(x);
}

static void set_up(struct fixture *t, enum dtype moments, bool ema) {
  *t = (struct fixture){.f = reference_open("sampler_math.safetensors")};
  t->b = backend_open("ref", 1, &t->e);
  assert_non_null(t->b);
  for (int k = 0; k < PARAMS; k++) {
    int64_t n = COUNT;
    char name[64];
    t->set[k] = param_set_new();
    if (k == 0) t->frozen = param_add(t->set[k], 1, &n, "frozen");
    t->p[k] = param_add(t->set[k], 1, &n, "p%d", k);
    if (k == 0) t->frozen->frozen = true;
    size_t bytes = (size_t)t->set[k]->count * sizeof(float);
    param_set_bind(t->set[k], t->b->op->alloc(t->b, bytes, &t->e), t->b->op->alloc(t->b, bytes, &t->e));
    snprintf(name, sizeof name, "adamw.start.%d", k);
    load(t, t->p[k]->w, name);
  }
  for (int i = 0; i < COUNT; i++) t->frozen->w[i] = 1;
  assert_true(optimizer_init(&t->o, t->b, t->set, PARAMS, moments, ema, 0, &t->e));
}

static void tear_down(struct fixture *t) {
  optimizer_release(&t->o);
  for (int k = 0; k < PARAMS; k++) {
    size_t bytes = (size_t)t->set[k]->count * sizeof(float);
    t->b->op->release(t->b, t->set[k]->w, bytes);
    t->b->op->release(t->b, t->set[k]->g, bytes);
    param_set_delete(t->set[k]);
  }
  st_close(t->f);
  backend_close(t->b);
}

static void expect_close(struct fixture *t, const float *x, const char *name, double tolerance, double *worst) {
  int64_t n;
  float *want = reference_floats(t->f, name, &n);
  for (int i = 0; i < n; i++) {
    double d = fabs((double)x[i] - want[i]);
    *worst = fmax(*worst, d);
    if (!(d <= tolerance)) fail_msg("%s[%d]: %.9g, torch has %.9g", name, i, (double)x[i], (double)want[i]);
  }
  free(want);
}

/* Ten steps at a rate of 1e-2; the tolerance is absolute, on values around 1 that moved by about 0.1. */
static void ten_steps(struct fixture *t, double tolerance, const char *what) {
  int64_t n;
  double worst = 0;
  char name[64];
  float *norms = reference_floats(t->f, "adamw.norms", &n);
  t->o.ema_decay = 0.4f;
  for (int i = 0; i < STEPS; i++) {
    for (int k = 0; k < PARAMS; k++) {
      snprintf(name, sizeof name, "adamw.grad.%d.%d", k, i);
      load(t, t->p[k]->g, name);
    }
    double norm = optimizer_norm(&t->o);
    assert_true(fabs(norm - norms[i]) <= 1e-6 * norms[i]);
    uint32_t version = t->p[0]->version, frozen = t->frozen->version;
    assert_true(optimizer_step(&t->o, 1e-2, norm, &t->e));
    assert_true(t->p[0]->version != version && t->frozen->version == frozen);
    assert_true(optimizer_norm(&t->o) == 0);
    for (int k = 0; k < PARAMS; k++) {
      snprintf(name, sizeof name, "adamw.after.%d.%d", k, i);
      expect_close(t, t->p[k]->w, name, tolerance, &worst);
    }
  }
  for (int k = 0; k < PARAMS && t->o.group[k].ema != NULL; k++) {
    snprintf(name, sizeof name, "adamw.ema.%d", k);
    expect_close(t, t->o.group[k].ema + t->p[k]->offset, name, tolerance, &worst);
  }
  for (int i = 0; i < COUNT; i++) assert_true(t->frozen->w[i] == 1);
  assert_int_equal(t->o.step, STEPS);
  print_message("%s: largest difference %.2g\n", what, worst);
  free(norms);
}

static void test_adamw(void **state) {
  struct fixture t;
  (void)state;
  set_up(&t, DT_F32, true);
  ten_steps(&t, 3e-7, "AdamW, fp32 moments");
  tear_down(&t);
}

/* Moments of 8 bits of mantissa: each update of 1e-2 is off by up to a few hundredths of itself. */
static void test_adamw_bf16_moments(void **state) {
  struct fixture t;
  (void)state;
  set_up(&t, DT_BF16, false);
  ten_steps(&t, 5e-4, "AdamW, bf16 moments");
  tear_down(&t);
}

/* Six or seven bits of a number where it is large: each update of 1e-2 is off by up to a tenth of itself. */
static void test_adamw_8bit_moments(void **state) {
  struct fixture t;
  (void)state;
  set_up(&t, DT_U8, false);
  ten_steps(&t, 4e-3, "AdamW, moments in 8 bits");
  tear_down(&t);
}

/* --- moments in 8 bits ----------------------------------------------------------------------------------------------------- */

/* The numbers are bitsandbytes' (tests/reference/dump_moments8.py), in its order: ascending. */
static void test_maps(void **state) {
  static const float map_m[] = MOMENT_MAP_M, map_v[] = MOMENT_MAP_V;
  struct st_file *f = reference_open("moments8.safetensors");
  int64_t n[2];
  float *m = reference_floats(f, "m", &n[0]), *v = reference_floats(f, "v", &n[1]);
  (void)state;
  assert_true(n[0] == 256 && n[1] == 256);
  for (int i = 0; i < 256; i++) {
    float mine = i < 127 ? -map_m[127 - i] : map_m[i - 127];
    if (!(fabsf(mine - m[i]) <= 2e-7f * fabsf(m[i])) || !(fabsf(map_v[i] - v[i]) <= 2e-7f * v[i]))
      fail_msg("number %d: %.9g and %.9g, bitsandbytes has %.9g and %.9g", i, (double)mine, (double)map_v[i], (double)m[i], (double)v[i]);
  }
  free(m);
  free(v);
  st_close(f);
}

/* Each number is its own nearest; nothing else is nearer to what lies between, whichever byte that becomes. */
static void test_nearest(void **state) {
  static const float map_m[] = MOMENT_MAP_M, map_v[] = MOMENT_MAP_V;
  (void)state;
  for (int byte = 0; byte < 256; byte++) {
    assert_int_equal(moment_byte_m(map_m, moment_value_m(map_m, (uint8_t)byte, 3), 3), byte);
    assert_int_equal(moment_byte_v(map_v, moment_value_v(map_v, (uint8_t)byte, 3), 3), byte);
  }
  for (int i = -20000; i <= 20000; i++) {
    float x = (float)((double)i * i * i / 8e12), found = moment_value_m(map_m, moment_byte_m(map_m, x, 1), 1);
    for (int byte = 0; byte < 256; byte++) assert_true(fabsf(x - moment_value_m(map_m, (uint8_t)byte, 1)) >= fabsf(x - found));
  }
  assert_int_equal(moment_byte_v(map_v, 1e-30f, 1), 1); /* never 0 for what is not */
  assert_int_equal(moment_byte_v(map_v, 0, 1), 0);
  assert_int_equal(moment_byte_m(map_m, -1e-30f, 1), 0);
  assert_int_equal(moment_byte_m(map_m, NAN, 1) + moment_byte_v(map_v, NAN, 1) + moment_byte_m(map_m, 1, 0), 0);
}

enum { WEIGHTS = 4096, LONG = 400 };

struct problem {
  struct backend *b;
  struct param_set *set;
  struct optimizer o;
};

static void problem_open(struct problem *p, enum dtype moments, struct err *e) {
  int64_t n = WEIGHTS;
  p->b = backend_open("ref", 1, e);
  p->set = param_set_new();
  assert_non_null(param_add(p->set, 1, &n, "w"));
  param_set_bind(p->set, p->b->op->alloc(p->b, WEIGHTS * sizeof(float), e), p->b->op->alloc(p->b, WEIGHTS * sizeof(float), e));
  assert_true(optimizer_init(&p->o, p->b, &p->set, 1, moments, false, 0, e));
  p->o.max_norm = 0;
}

static void problem_close(struct problem *p) {
  optimizer_release(&p->o);
  p->b->op->release(p->b, p->set->w, WEIGHTS * sizeof(float));
  p->b->op->release(p->b, p->set->g, WEIGHTS * sizeof(float));
  param_set_delete(p->set);
  backend_close(p->b);
}

/* f(w) = sum of c_i (w_i - t_i)^2 / 2, c over so many decades in every block; a gradient has as much noise as itself at the start. */
static void problem_gradient(const struct problem *p, int step, double decades) {
  static float noise[WEIGHTS], target[WEIGHTS];
  rng_normal(&(struct rng_counter){.seed = 1, .stream = RNG_PROBE, .index = 0}, target, 0, WEIGHTS);
  rng_normal(&(struct rng_counter){.seed = 1, .stream = RNG_PROBE, .index = (uint32_t)step + 1}, noise, 0, WEIGHTS);
  for (int i = 0; i < WEIGHTS; i++) {
    double c = pow(10, -decades * (i * 37 % MOMENT_BLOCK) / MOMENT_BLOCK);
    p->set->g[i] = (float)(c * ((double)p->set->w[i] - target[i] + noise[i]));
  }
}

static double distance(const float *a, const float *b) {
  double sum = 0;
  for (int i = 0; i < WEIGHTS; i++) sum += pow((double)a[i] - (b ? b[i] : 0), 2);
  return sqrt(sum / WEIGHTS);
}

/* How far the weights are from those of exact AdamW after LONG steps, as a share of the way that those went from their start at 0. */
static void long_way(double decades, double allowed) {
  static const enum dtype type[] = {DT_F32, DT_BF16, DT_U8};
  struct problem p[3] = {{NULL}};
  struct err e = {0};
  for (int k = 0; k < 3; k++) problem_open(&p[k], type[k], &e);
  for (int step = 0; step < LONG; step++)
    for (int k = 0; k < 3; k++) {
      problem_gradient(&p[k], step, decades);
      assert_true(optimizer_step(&p[k].o, 2e-3, 1, &e));
    }
  double way = distance(p[0].set->w, NULL), bf16 = distance(p[1].set->w, p[0].set->w) / way, bytes = distance(p[2].set->w, p[0].set->w) / way;
  print_message("gradients over %g decades, after %d steps: of the way of exact AdamW (%.3g) bf16 moments are off by %.2g, those in 8 bits by %.2g\n",
                decades, LONG, way, bf16, bytes);
  assert_true(bf16 > 0 && bf16 < 0.01 && bytes > 0 && bytes < allowed);
  for (int k = 0; k < 3; k++) problem_close(&p[k]);
}

static void test_long_way(void **state) {
  (void)state;
  long_way(0.5, 0.06);
  long_way(1, 0.06);
  long_way(3, 0.1);
}

/* What exceeds fp32 makes a scale of the largest float, and no byte that is none. */
static void test_8bit_overflow(void **state) {
  struct problem p = {NULL};
  struct err e = {0};
  (void)state;
  problem_open(&p, DT_U8, &e);
  for (int step = 0; step < 3; step++) {
    for (int i = 0; i < WEIGHTS; i++) p.set->g[i] = i % 5 ? 1 : 3e38f;
    assert_true(optimizer_step(&p.o, 1e-3, 1, &e));
  }
  for (int i = 0; i < WEIGHTS; i++) assert_true(isfinite(p.set->w[i]));
  for (int i = 0; i < WEIGHTS / MOMENT_BLOCK; i++) assert_true(isfinite(((float *)p.o.group[0].v_scale.data)[i]));
  problem_close(&p);
}

static void test_not_finite(void **state) {
  struct fixture t;
  (void)state;
  set_up(&t, DT_F32, true);
  t.o.ema_decay = 0.9f;
  t.p[0]->g[3] = NAN;
  float before = t.p[0]->w[3], other = t.p[1]->w[0];
  double norm = optimizer_norm(&t.o);
  assert_false(isfinite(norm));
  assert_false(optimizer_step(&t.o, 1e-2, norm, &t.e));
  assert_int_equal(t.e.code, ERR_NUMERIC);
  assert_true(t.p[0]->w[3] == before && t.p[1]->w[0] == other && t.o.step == 0);
  tear_down(&t);
}

/* Gradients so many times too large: the same norms, weights and moments (which tell, since AdamW's step hardly depends on a common factor), bit by bit. */
static void test_scaled_gradients(void **state) {
  struct fixture t[2];
  char name[64];
  (void)state;
  for (int i = 0; i < 2; i++) set_up(&t[i], DT_F32, false);
  t[1].o.loss_scale = 65536;
  for (int i = 0; i < STEPS; i++) {
    double norm[2];
    for (int j = 0; j < 2; j++) {
      for (int k = 0; k < PARAMS; k++) {
        snprintf(name, sizeof name, "adamw.grad.%d.%d", k, i);
        load(&t[j], t[j].p[k]->g, name);
        for (int n = 0; j == 1 && n < COUNT; n++) t[j].p[k]->g[n] *= 65536;
      }
      norm[j] = optimizer_norm(&t[j].o);
      assert_true(optimizer_step(&t[j].o, 1e-2, norm[j], &t[j].e));
    }
    assert_true(norm[0] == norm[1]);
    for (int k = 0; k < PARAMS; k++) {
      const struct opt_group *a = &t[0].o.group[k], *b = &t[1].o.group[k];
      assert_memory_equal(a->set->w, b->set->w, (size_t)a->set->count * sizeof(float));
      assert_memory_equal(a->m.data, b->m.data, tensor_bytes(&a->m));
      assert_memory_equal(a->v.data, b->v.data, tensor_bytes(&a->v));
    }
  }
  for (int i = 0; i < 2; i++) tear_down(&t[i]);
}

/* Step by step what torch.amp.GradScaler does with the same overflows. */
static void test_loss_scale(void **state) {
  (void)state;
  struct st_file *f = reference_open("loss_scale.safetensors");
  int64_t n, bad, changes;
  float *steps = reference_floats(f, "steps", &n), *overflow = reference_floats(f, "overflow", &bad),
        *change = reference_floats(f, "change", &changes), *scale = reference_floats(f, "scale", &changes);
  struct loss_scale s = loss_scale_begin(PRECISION_FP16);
  int64_t at = 0, next = 0;
  assert_true(loss_scale_factor(&s) == 65536);
  for (int i = 0; i < (int)steps[0]; i++) {
    bool finite = at == bad || i != (int)overflow[at];
    at += !finite;
    if (!loss_scale_changes(&s, finite)) continue;
    assert_true(next < changes);
    assert_int_equal(i, (int)change[next]);
    assert_true(s.scale == scale[next++]);
  }
  assert_int_equal(next, changes);
  free(steps), free(overflow), free(change), free(scale);
  st_close(f);
}

/* Down to 1 it may still help; without fp16 there is no scale. */
static void test_loss_scale_ends(void **state) {
  (void)state;
  struct loss_scale s = loss_scale_begin(PRECISION_FP16), none = loss_scale_begin(PRECISION_BF16);
  for (int i = 0; i < 16; i++) {
    assert_true(loss_scale_changes(&s, false));
    assert_false(loss_scale_spent(&s));
  }
  assert_true(s.scale == 1 && loss_scale_changes(&s, false) && loss_scale_spent(&s));
  assert_true(loss_scale_factor(&none) == 1 && !loss_scale_spent(&none));
  assert_false(loss_scale_changes(&none, false));
  s = (struct loss_scale){.scale = 0x1p120};
  for (int i = 0; i < 2 * LOSS_SCALE_GROWS_AFTER; i++) assert_false(loss_scale_changes(&s, true));
}

static void test_bytes(void **state) {
  struct fixture t;
  (void)state;
  set_up(&t, DT_F32, true);
  const struct param_set *sets[PARAMS] = {t.set[0], t.set[1]};
  int64_t count = t.set[0]->count + t.set[1]->count;
  assert_int_equal(optimizer_bytes(sets, PARAMS, DT_BF16, false), 4 * count);
  assert_int_equal(optimizer_bytes(sets, PARAMS, DT_F32, true), 12 * count);
  assert_int_equal(optimizer_bytes(sets, PARAMS, DT_U8, false), 2 * count + 2 * 4 * PARAMS);
  tear_down(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_learning_rates), cmocka_unit_test(test_adamw), cmocka_unit_test(test_adamw_bf16_moments),
      cmocka_unit_test(test_adamw_8bit_moments), cmocka_unit_test(test_maps), cmocka_unit_test(test_nearest), cmocka_unit_test(test_long_way),
      cmocka_unit_test(test_8bit_overflow), cmocka_unit_test(test_not_finite), cmocka_unit_test(test_bytes), cmocka_unit_test(test_scaled_gradients),
      cmocka_unit_test(test_loss_scale),     cmocka_unit_test(test_loss_scale_ends),
  };
  return cmocka_run_group_tests_name("optimizer", tests, NULL, NULL);
}
