/* Steps that are recorded as CUDA graphs, beside steps that are not, whatever changes between them; recordings that fail; mistakes that would show. */
#include "recorded.h"

extern const struct backend_ops backend_cuda;
extern int cuda_mistake;

/* --- steps, and what changes between them ------------------------------------------------------------------------------------------------ */

struct scenario {
  struct offload_case k;
  bool scaled;   /* another scale of the loss in every step */
  bool strength; /* of the adapters changes */
  bool base;     /* so do weights that are not trained */
  bool memory;   /* the region of the passes is released after some steps, and something else takes its place */
  bool packs;    /* packed weights are released and made anew */
  const char *fail_in;
  long fail_at;
  int code;
};

static void change(struct offload_bench *f, const struct scenario *s, int step) {
  struct err e = {0};
  struct backend *b = f->b;
  if (s->strength) unet_lora(f->m->unet)->strength = step % 2 ? 1 : 0.5f;
  if (s->base && step == 3) {
    struct param *p = unet_params(f->m->unet)->p[4];
    struct tensor w = tensor_1d(p->w, DT_F32, p->count);
    b->op->fill(b, &w, 0.125f);
    p->version++;
  }
  if (s->packs && step == 3) backend_drop_packs(b, unet_params(f->m->unet));
  if (s->memory && step == 3) {
    size_t bytes = f->m->work.bytes;
    workspace_release(&f->m->work, b);
    void *other = b->op->alloc(b, bytes, &e);
    assert_true(workspace_reserve(&f->m->work, b, bytes, &e));
    b->op->release(b, other, bytes);
  }
}

/* False where a step failed; *e says why. */
static bool steps_of(struct offload_bench *f, const struct scenario *s, struct offload_result *r, struct err *e) {
  for (int i = 0; i < s->k.steps; i++) {
    double scale = s->scaled ? (double)(1024 << (i * 5 % 4)) : 1;
    f->o.grad_scale = (float)(scale / s->k.accumulation);
    f->opt.loss_scale = scale;
    f->train = true;
    change(f, s, i);
    for (int micro = 0; micro < s->k.accumulation; micro++) {
      offload_slots(f, i * s->k.accumulation + micro);
      if (!workspace_run(&f->m->work, f->b, s->k.act, offload_pass, f, NULL, e)) return false;
      r->loss[i] += f->loss.total;
    }
    r->norm[i] = optimizer_norm(&f->opt);
    if (!optimizer_step(&f->opt, 1e-3, r->norm[i], e)) return false;
    if (i % 3 != 2) continue;
    offload_slots(f, 1000);
    f->train = false;
    if (!workspace_run(&f->m->work, f->b, s->k.act, offload_pass, f, NULL, e)) return false;
    r->probe[i] = f->loss.total;
  }
  return true;
}

/* recorded: nothing but what the scenario says fails. */
static bool do_steps(const struct scenario *s, bool recorded, struct offload_result *r, struct err *e) {
  struct offload_bench *f = calloc(1, sizeof *f);
  *r = (struct offload_result){0};
  f->k = &s->k;
  begin_with(recorded);
  offload_open(f, false);
  if (s->k.op) f->b->op = s->k.op;
  if (recorded && s->fail_in) cudasim_fail_in(s->fail_in, s->fail_at, s->code);
  bool ok = steps_of(f, s, r, e), noted = f->b->note[0] != 0;
  if (ok) offload_results(f, r);
  f->b->fault = (struct err){0};
  if (noted && getenv("PDMBOOTH_TEST_LOG")) print_message("  %s\n", f->b->note);
  if (ok && !s->k.op) assert_true(noted == (!recorded || s->fail_in));
  f->b->op = &backend_cuda;
  offload_close(f);
  free(f);
  return ok;
}

/* The steps as they should be: those of the last call are kept, since many tests want the same. */
static const struct offload_result *plain_steps(const struct scenario *s) {
  static struct scenario of;
  static struct offload_result result;
  struct scenario right = *s;
  struct err e = {0};
  int mistake = cuda_mistake;
  right.k.op = NULL;
  right.k.opened = NULL;
  right.fail_in = NULL;
  right.fail_at = right.code = 0;
  if (memcmp(&of, &right, sizeof of) == 0) return &result;
  offload_free(&result);
  of = right;
  cuda_mistake = 0;
  if (!do_steps(&right, false, &result, &e)) fail_msg("%s", e.text);
  cuda_mistake = mistake;
  return &result;
}

/* Of recorded steps from plain ones; NAN where they fail. */
static double distance(const struct scenario *s) {
  struct offload_result recorded;
  struct err e = {0};
  bool ok = do_steps(s, true, &recorded, &e);
  if (!ok) print_message("  %s\n", e.text);
  double d = ok ? offload_compare(plain_steps(s), &recorded) : NAN;
  offload_free(&recorded);
  return d;
}

static const struct offload_case LORA = {
    .backend = "cuda", .model = "sd1", .act = DT_BF16, .lora = true, .text = true, .accumulation = 1, .steps = 6, .threads = 1};

static void test_changes(void **state) {
  (void)state;
  const struct scenario all[] = {
      {.k = LORA, .scaled = true},
      {.k = LORA, .strength = true},
      {.k = LORA, .base = true},
      {.k = LORA, .memory = true},
      {.k = LORA, .packs = true},
      {.k = {.backend = "cuda", .model = "sd2", .act = DT_F16, .frozen = true, .ema = true, .accumulation = 2, .steps = 6, .threads = 1},
       .scaled = true,
       .memory = true},
  };
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    double d = distance(&all[i]);
    show_violations();
    print_message("scenario %zu: %g\n", i, d);
    assert_true(d <= 0);
    assert_int_equal(cudasim_check(), 0);
  }
}

/* --- recordings that fail ----------------------------------------------------------------------------------------------------------------- */

/* Whatever fails in making or launching one: the same numbers, without a fault. */
static void test_recording_fails(void **state) {
  (void)state;
  static const struct {
    const char *function;
    long at;
  } call[] = {{"cudaStreamBeginCapture", 1},
              {"cudaStreamBeginCapture", 2},
              {"cudaStreamEndCapture", 1},
              {"cudaGraphInstantiateWithFlags", 1},
              {"cudaGraphLaunch", 1},
              {"cudaGraphLaunch", 3},
              {"capture", 2},
              {"capture", 37},
              {"capture", 300},
              {"capture", 311}};
  static const int code[] = {CAPTURE_UNSUPPORTED, 2, 1};
  for (size_t i = 0; i < sizeof call / sizeof call[0]; i++) {
    struct scenario s = {.k = LORA, .fail_in = call[i].function, .fail_at = call[i].at, .code = code[i % 3]};
    s.k.steps = call[i].at == 2 ? 6 : 4; /* of the probe, too, which is made for the second time after the last */
    double d = distance(&s);
    show_violations();
    print_message("%s, call %ld: %g\n", call[i].function, call[i].at, d);
    assert_true(d <= 0);
    assert_int_equal(cudasim_check(), 0);
  }
}

/* A library that cannot be captured is not done without for that. */
static void refuse(struct backend *b) {
  (void)b;
  cudasim_refuse(CUDASIM_REFUSE_CAPTURE);
}

static void test_library_refuses(void **state) {
  (void)state;
  struct scenario s = {.k = LORA, .fail_in = "", .code = 0};
  struct offload_result r[2];
  struct err e = {0};
  long own[2];
  s.k.opened = refuse;
  s.k.steps = 4;
  for (int i = 0; i < 2; i++) {
    if (!do_steps(&s, i == 0, &r[i], &e)) fail_msg("%s", e.text);
    own[i] = cudasim_launches("unfold_kernel") + cudasim_launches("gemm_kernel"); /* what takes the place of the libraries */
  }
  cudasim_refuse(CUDASIM_REFUSE_NOTHING);
  show_violations();
  print_message("libraries refuse to be captured: %ld and %ld products by kernels of our own\n", own[0], own[1]);
  assert_true(offload_compare(&r[0], &r[1]) <= 0);
  assert_int_equal(own[0], own[1]);
  assert_int_equal(cudasim_check(), 0);
  for (int i = 0; i < 2; i++) offload_free(&r[i]);
}

/* A card that is lost meanwhile is a fault, and says so. */
static void test_card_is_lost(void **state) {
  (void)state;
  static const char *const function[] = {"cudaStreamBeginCapture", "capture", "cudaStreamEndCapture", "cudaGraphInstantiateWithFlags",
                                         "cudaGraphLaunch"};
  for (int i = 0; i < 5; i++) {
    struct scenario s = {.k = LORA, .fail_in = function[i], .fail_at = 1, .code = 719};
    struct offload_result r;
    struct err e = {0};
    assert_false(do_steps(&s, true, &r, &e));
    print_message("%s: %s\n", function[i], e.text);
    assert_int_equal(e.code, ERR_FIT);
    assert_non_null(strstr(e.text, "cudaErrorLaunchFailure"));
    cudasim_forgive();
  }
}

/* --- mistakes ------------------------------------------------------------------------------------------------------------------------------- */

static bool one_key(struct backend *b, const void *key, size_t bytes) {
  (void)key, (void)bytes;
  return backend_cuda.part_begin(b, "", 1);
}
static bool never_again(struct backend *b) {
  (void)backend_cuda.part_end(b);
  return true;
}
static int uploads;
/* What a step sends when it is recorded stays: as if it were a number among the arguments. */
static void old_weights(struct backend *b, void *dst, const void *src, size_t bytes) {
  bool weights = bytes == 2 * OFFLOAD_SLOTS * sizeof(float);
  uploads += weights;
  if (!weights || uploads < 3) backend_cuda.upload(b, dst, src, bytes);
}

static void test_mistakes(void **state) {
  (void)state;
  struct backend_ops op[3] = {backend_cuda, backend_cuda, backend_cuda};
  op[0].part_begin = one_key;
  op[1].part_end = never_again;
  op[2].upload = old_weights;
  const struct planted {
    const char *what;
    struct scenario s;
    int mistake;
  } all[] = {
      {"every part has the same key: adapters of another strength", {.k = LORA, .strength = true}, 0},
      {"every part has the same key: other weights below the adapters", {.k = LORA, .base = true}, 0},
      {"what was not recorded is not done again",
       {.k = LORA, .fail_in = "cudaGraphInstantiateWithFlags", .fail_at = 1, .code = CAPTURE_UNSUPPORTED},
       0},
      {"weights of the loss are those of the recording", {.k = LORA, .scaled = true}, 0},
      {"recordings outlive the memory that they use", {.k = LORA, .packs = true}, 14},
  };
  static const int table[] = {0, 0, 1, 2, -1};
  int unnoticed = 0;
  for (int i = 0; i < 5; i++) {
    struct scenario s = all[i].s;
    if (table[i] >= 0) s.k.op = &op[table[i]];
    cuda_mistake = all[i].mistake;
    uploads = 0;
    bool found = !(distance(&s) <= 0);
    cuda_mistake = 0;
    found = found || cudasim_violations() > 0;
    cudasim_forgive();
    print_message("%s: %s\n", all[i].what, found ? "found" : "NOT FOUND");
    unnoticed += !found;
  }
  assert_int_equal(unnoticed, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_changes), cmocka_unit_test(test_recording_fails),
                                     cmocka_unit_test(test_library_refuses), cmocka_unit_test(test_card_is_lost),
                                     cmocka_unit_test(test_mistakes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
