/* Learning-rate schedules against diffusers (tests/data/schedules.safetensors), AdamW with clipping and EMA against torch, the scale of the loss
 * against torch.amp.GradScaler (tests/data/loss_scale.safetensors). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

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
  assert_true(optimizer_init(&t->o, t->b, t->set, PARAMS, moments, ema, &t->e));
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
  tear_down(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_learning_rates), cmocka_unit_test(test_adamw),           cmocka_unit_test(test_adamw_bf16_moments),
      cmocka_unit_test(test_not_finite),     cmocka_unit_test(test_bytes),           cmocka_unit_test(test_scaled_gradients),
      cmocka_unit_test(test_loss_scale),     cmocka_unit_test(test_loss_scale_ends),
  };
  return cmocka_run_group_tests_name("optimizer", tests, NULL, NULL);
}
