/* train_step on tiny models in plain C: gradients by finite differences, losses by hand, masks, shared prompts, switched-off terms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>

#include "train/step.h"
#include "training.h"

enum { H = 6, W = 4, C = 4, TOKENS = H * W, MAX_SLOTS = 8 };

struct fixture {
  struct backend *b;
  struct model *m;
  struct workspace work;
  int handle;
  int64_t channels;
  struct slot slot[MAX_SLOTS];
  int n, examples;
  float latents[MAX_SLOTS][H * W * C], noise[MAX_SLOTS][H * W * C], mask[MAX_SLOTS][TOKENS], *qstar;
  int32_t ids[2][77];
  struct step_options o;
};

static void numbers(float *out, int64_t n, uint32_t index) {
  struct rng_counter c = {.seed = 99, .stream = 1, .index = index};
  rng_normal(&c, out, 0, n);
}

/* examples times three slots, masks of about half the elements. */
static void fill_slots(struct fixture *f, int examples) {
  static const enum slot_kind kind[] = {SLOT_INSTANCE, SLOT_PRIOR, SLOT_PDM};
  f->examples = examples;
  f->n = 3 * examples;
  for (int i = 0; i < f->n; i++) {
    int k = i / examples;
    numbers(f->latents[i], H * W * C, (uint32_t)(3 * i));
    numbers(f->noise[i], H * W * C, (uint32_t)(3 * i + 1));
    for (int j = 0; j < TOKENS; j++) f->mask[i][j] = (j * 7 + i) % 5 < 3;
    f->slot[i] = (struct slot){.kind = kind[k],
                               .example = i % examples,
                               .t = 40 + 170 * i,
                               .ids = f->ids[k == 1],
                               .latents = f->latents[i],
                               .noise = f->noise[i],
                               .mask = k == 1 ? NULL : f->mask[i],
                               .qstar = k == 2 ? f->qstar : NULL};
  }
}

static void open_fixture(struct fixture *f, const char *model, const struct model_want *w, int examples) {
  struct err e = {0};
  char layer[256];
  *f = (struct fixture){0};
  f->b = backend_open("ref", 1, &e);
  assert_non_null(f->b);
  f->m = tiny_model(f->b, model, w);
  assert_true(unet_pdm_layer(f->m->unet, "", layer, sizeof layer, &f->handle, &e));
  f->channels = unet_pdm_channels(f->m->unet, f->handle);
  f->qstar = calloc((size_t)(TOKENS * f->channels), sizeof *f->qstar);
  numbers(f->qstar, TOKENS * f->channels, 1000);
  assert_int_equal(tokenizer_prompt(f->m->tokenizer, "a photo of sks dog", f->ids[0], 77, NULL), 0);
  assert_int_equal(tokenizer_prompt(f->m->tokenizer, "a photo of dog", f->ids[1], 77, NULL), 0);
  f->o = (struct step_options){
      .prior_weight = 0.7, .pdm_weight = 0.3, .train_text = w->train_text || w->text_lora, .pdm_handle = f->handle, .grad_scale = 1};
  fill_slots(f, examples);
}

static void close_fixture(struct fixture *f) {
  free(f->qstar);
  workspace_release(&f->work, f->b);
  model_close(f->m);
  backend_close(f->b);
}

struct call {
  struct fixture *f;
  bool train;
  struct step_loss loss;
};

static bool one_call(struct ctx *c, void *user) {
  struct call *k = user;
  struct fixture *f = k->f;
  bool ok = (k->train ? train_step : eval_step)(c, f->m, f->slot, f->n, f->examples, H, W, &f->o, &k->loss, c->err);
  assert_int_equal(pool_used(c->pool), 0); /* everything was given back */
  return ok;
}

static struct step_loss run(struct fixture *f, bool train) {
  struct call k = {.f = f, .train = train};
  struct err e = {0};
  if (!workspace_run(&f->work, f->b, DT_F32, one_call, &k, NULL, &e)) fail_msg("%s", e.text);
  return k.loss;
}

static void zero(struct param_set *s) {
  memset(s->g, 0, (size_t)s->count * sizeof *s->g);
}

static double norm_of(const float *x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
  return sqrt(sum);
}

/* Loss after moving a parameter along its own gradient's direction by h. */
static double moved(struct fixture *f, struct param *p, const float *direction, double norm, double h) {
  float *keep = malloc((size_t)p->count * sizeof *keep);
  memcpy(keep, p->w, (size_t)p->count * sizeof *keep);
  for (int64_t i = 0; i < p->count; i++) p->w[i] += (float)(h * direction[i] / norm);
  p->version++;
  double loss = run(f, false).total;
  memcpy(p->w, keep, (size_t)p->count * sizeof *keep);
  p->version++;
  free(keep);
  return loss;
}

/* (L(w + h d) - L(w - h d)) / 2h against the gradient's norm, for some parameters of a set; fp32 bounds what can be asked. */
static void check_set(struct fixture *f, struct param_set *s, int stride) {
  double whole = norm_of(s->g, s->count);
  int checked = 0;
  for (int i = stride / 2; i < s->n; i += stride) {
    struct param *p = s->p[i];
    double norm = norm_of(p->g, p->count), h = fmin(0.02, 2e-3 * norm_of(p->w, p->count) + 1e-3);
    if (p->frozen || norm < 1e-3 * whole) continue;
    double slope = (moved(f, p, p->g, norm, h) - moved(f, p, p->g, norm, -h)) / (2 * h);
    if (fabs(slope - norm) > 0.02 * norm + 2e-4 * whole) fail_msg("%s: gradient %.6g, finite difference %.6g", p->name, norm, slope);
    checked++;
  }
  assert_true(checked >= 3);
}

static void check_gradients(const char *model, bool lora, double min_snr) {
  static struct fixture f;
  struct lora_spec unet = {2, 3, 4, {"to_q", "to_k", "to_v", "to_out.0"}}, text = {2, 3, 2, {"q_proj", "v_proj"}};
  struct model_want w = {
      .train_unet = !lora, .train_text = !lora, .unet_lora = lora ? &unet : NULL, .text_lora = lora ? &text : NULL, .seed = 5};
  open_fixture(&f, model, &w, 2);
  f.o.min_snr = min_snr;
  f.o.recompute = lora;
  struct param_set *set[2] = {lora ? unet_lora(f.m->unet)->params : unet_params(f.m->unet),
                              lora ? clip_lora(f.m->text)->params : clip_params(f.m->text)};
  for (int k = 0; lora && k < 2; k++) { /* B is zero at the start: nothing would reach A */
    numbers(set[k]->w, set[k]->count, 2000 + (uint32_t)k);
    for (int64_t i = 0; i < set[k]->count; i++) set[k]->w[i] *= 0.2f;
    param_set_changed(set[k]);
  }
  zero(set[0]);
  zero(set[1]);
  run(&f, true);
  check_set(&f, set[0], lora ? 23 : 41);
  check_set(&f, set[1], lora ? 3 : 7);
  close_fixture(&f);
}

static void test_gradients_full(void **state) {
  (void)state;
  check_gradients("sd1", false, 0);
}

static void test_gradients_full_v(void **state) {
  (void)state;
  check_gradients("sd2", false, 5);
}

static void test_gradients_lora(void **state) {
  (void)state;
  check_gradients("sd1", true, 5);
}

/* Terms add up; an empty mask gives 0 and no gradient; a slot that is off changes nothing of the others. */
static void test_masks(void **state) {
  (void)state;
  static struct fixture f;
  struct model_want w = {.train_unet = true};
  open_fixture(&f, "sd1", &w, 1);
  struct param_set *s = unet_params(f.m->unet);
  struct step_loss all = run(&f, false);
  assert_true(all.instance > 0 && all.prior > 0 && all.pdm > 0);
  assert_true(fabs(all.total - (all.instance + 0.7 * all.prior + 0.3 * all.pdm)) < 1e-12);
  memset(f.mask[0], 0, sizeof f.mask[0]);
  memset(f.mask[2], 0, sizeof f.mask[2]);
  struct step_loss some = run(&f, false);
  assert_true(some.instance == 0 && some.pdm == 0 && some.prior == all.prior);
  f.slot[0] = f.slot[2]; /* only slots whose masks are empty */
  f.n = 1;
  f.o.pdm_weight = 0.1;
  zero(s);
  assert_true(run(&f, true).total == 0);
  assert_true(norm_of(s->g, s->count) == 0);
  for (int i = 0; i < TOKENS; i++) f.mask[2][i] = 1;
  zero(s);
  assert_true(run(&f, true).pdm > 0);
  assert_true(norm_of(s->g, s->count) > 0);
  const struct param *out = param_find(s, "conv_out.weight"); /* above the layer: no loss reaches it */
  assert_true(norm_of(out->g, out->count) == 0);
  close_fixture(&f);
}

/* What the mask leaves out does not count. */
static void test_outside_mask(void **state) {
  (void)state;
  static struct fixture f;
  struct model_want w = {.train_unet = false};
  open_fixture(&f, "sd1", &w, 1);
  struct step_loss a = run(&f, false);
  for (int i = 0; i < TOKENS; i++)
    if (f.mask[2][i] == 0)
      for (int64_t c = 0; c < f.channels; c++) f.qstar[i * f.channels + c] += 3;
  struct step_loss b = run(&f, false);
  assert_true(a.pdm == b.pdm);
  for (int64_t c = 0; c < f.channels; c++) f.qstar[c] += 3;
  assert_true(f.mask[2][0] == 1 && run(&f, false).pdm != a.pdm);
  close_fixture(&f);
}

/* Batches: the mean of single examples; gradients too. A gradient's scale scales it. */
static void test_batches(void **state) {
  (void)state;
  static struct fixture f;
  struct model_want w = {.train_unet = true, .train_text = true};
  open_fixture(&f, "sd1", &w, 2);
  struct param_set *s = unet_params(f.m->unet), *x = clip_params(f.m->text);
  zero(s);
  zero(x);
  struct step_loss both = run(&f, true);
  float *g = malloc((size_t)s->count * sizeof *g), *gx = malloc((size_t)x->count * sizeof *gx);
  memcpy(g, s->g, (size_t)s->count * sizeof *g);
  memcpy(gx, x->g, (size_t)x->count * sizeof *gx);
  struct slot slot[6];
  memcpy(slot, f.slot, sizeof slot);
  double total = 0;
  zero(s);
  zero(x);
  f.examples = 1;
  f.n = 3;
  f.o.grad_scale = 0.5f;
  for (int k = 0; k < 2; k++) {
    for (int i = 0; i < 3; i++) f.slot[i] = slot[2 * i + k];
    total += run(&f, true).total / 2;
  }
  assert_true(fabs(total - both.total) < 1e-5 * total);
  double scale = norm_of(g, s->count), scale_x = norm_of(gx, x->count);
  for (int64_t i = 0; i < s->count; i++) g[i] -= s->g[i];
  for (int64_t i = 0; i < x->count; i++) gx[i] -= x->g[i];
  assert_true(norm_of(g, s->count) < 1e-5 * scale);
  assert_true(norm_of(gx, x->count) < 1e-5 * scale_x);
  free(g);
  free(gx);
  close_fixture(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_gradients_full), cmocka_unit_test(test_gradients_full_v),
                                     cmocka_unit_test(test_gradients_lora), cmocka_unit_test(test_masks),
                                     cmocka_unit_test(test_outside_mask),   cmocka_unit_test(test_batches)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
