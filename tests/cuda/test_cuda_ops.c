/* The cuda backend on the simulated device (tests/cudasim): everything of tests/unit/test_backend.c, every operation against ref included, and then
 *   kernels    each was started at least once, and the simulator saw nothing forbidden
 *   heads      attention of every kind of head size, 512 included, causal or not
 *   refusals   products and convolutions that the libraries do not support
 *   mistakes   mistakes planted in kernels, each of which the comparison with ref finds
 *   tf32       products of F32 round their factors to 10 bits when asked to, and nothing else does; not on Turing
 *   rehearsal  what a rehearsal adds up is what the calls then take
 *   failures   no driver, an old one, no card, no memory: one sentence and ERR_FIT
 * Where it passes nothing is said about speed, nor about real hardware. */
int test_backend_main(void); /* unused */
#define main test_backend_main
#include "../unit/test_backend.c"
#undef main

#include <cudasim.h>

extern const struct backend_ops backend_cuda;
extern int cuda_mistake; /* backends.c */

static struct backend *open_cuda(void) {
  struct err e = {.code = ERR_OK};
  struct backend *b = backend_open_ops(&backend_cuda, 1, &e);
  if (!b) fail_msg("cuda does not open: %s", e.text);
  return b;
}

static struct backend *open_ref(void) {
  struct err e = {.code = ERR_OK};
  struct backend *b = backend_open_ops(&backend_ref, 1, &e);
  assert_non_null(b);
  return b;
}

static void show_violations(void) {
  for (int i = 0; cudasim_violation(i); i++) print_error("simulator: %s\n", cudasim_violation(i));
}

/* All that the tests of test_backend.c started: this one comes after them. */
static void test_every_kernel_ran(void **state) {
  (void)state;
  if (getenv("CUDA_TESTS_ONLY")) skip();
  static const char *const kernel[] = {
      "fill_kernel",         "cast_kernel",          "axpby_kernel",         "add_kernel",          "act_kernel",
      "act_bwd_kernel",      "geglu_kernel",         "geglu_bwd_kernel",     "add_rows_kernel",     "concat_kernel",
      "upsample_kernel",     "upsample_bwd_kernel",  "embed_kernel",         "embed_table_kernel",  "embed_position_kernel",
      "column_part_kernel",  "column_sum_kernel",    "group_part_kernel",    "group_stats_kernel",  "group_norm_kernel",
      "norm_part_kernel",    "norm_param_kernel",    "group_mean_kernel",    "group_dx_kernel",     "layer_norm_kernel",
      "layer_dx_kernel",     "posterior_kernel",     "mse_part_kernel",      "mse_loss_kernel",     "mse_bwd_kernel",
      "square_part_kernel",  "square_sum_kernel",    "adamw_kernel",         "adamw8_kernel",         "normal_kernel",       "gemm_kernel",
      "pack_kernel",         "unpack_kernel",        "unfold_kernel",        "shift_kernel",        "add_bias_kernel",
      "attention_kernel_3",  "attention_kernel_5",   "attention_kernel_10",  "attention_dq_kernel_3", "attention_dq_kernel_5",
      "attention_dq_kernel_10", "attention_dkv_kernel_3", "attention_dkv_kernel_5", "attention_dkv_kernel_10", "attention_delta_kernel",
      "attention_mma_bf16_48", "attention_mma_bf16_64", "attention_mma_bf16_80", "attention_mma_bf16_160",
      "attention_dq_mma_bf16_48", "attention_dq_mma_bf16_64", "attention_dq_mma_bf16_80", "attention_dq_mma_bf16_160",
      "attention_dkv_mma_bf16_48", "attention_dkv_mma_bf16_64", "attention_dkv_mma_bf16_80", "attention_dkv_mma_bf16_160",
      "attention_mma_f16_48", "attention_mma_f16_64", "attention_mma_f16_80", "attention_mma_f16_160",
      "attention_dq_mma_f16_48", "attention_dq_mma_f16_64", "attention_dq_mma_f16_80", "attention_dq_mma_f16_160",
      "attention_dkv_mma_f16_48", "attention_dkv_mma_f16_64", "attention_dkv_mma_f16_80", "attention_dkv_mma_f16_160"};
  int missing = 0;
  for (size_t i = 0; i < sizeof kernel / sizeof kernel[0]; i++)
    if (cudasim_launches(kernel[i]) < 1) {
      print_error("%s was never started\n", kernel[i]);
      missing++;
    }
  show_violations();
  assert_int_equal(missing, 0);
  assert_int_equal(cudasim_check(), 0);
}

/* One case of an operation against ref; how many results differ. */
static int differences(const struct op *op, const struct shape *s, enum dtype type, struct backend *ref, struct backend *cuda) {
  struct results expected, mine;
  struct rig a = rig_of(ref, s, type), b = rig_of(cuda, s, type);
  failures = 0;
  run_case(op, &a, &expected);
  run_case(op, &b, &mine);
  for (int j = 0; j < expected.n; j++) compare(op, &b, &mine.r[j], &expected.r[j]);
  free_results(&expected);
  free_results(&mine);
  return failures;
}

static void test_head_sizes(void **state) {
  (void)state;
  static const int size[] = {1, 17, 40, 47, 48, 49, 64, 80, 81, 128, 159, 160, 161, 512};
  struct backend *ref = open_ref(), *cuda = open_cuda();
  int bad = 0;
  for (size_t i = 0; i < sizeof size / sizeof size[0]; i++)
    for (int causal = 0; causal < 2; causal++) {
      struct shape s = {{1, 67, causal ? 67 : 70, 1, size[i], causal, 0}, NORMAL, true};
      bad += differences(op_named("attention"), &s, DT_F32, ref, cuda);
      if (size[i] % 2 == 0) bad += differences(op_named("attention"), &s, i % 4 == 0 ? DT_F16 : DT_BF16, ref, cuda);
    }
  backend_close(cuda);
  backend_close(ref);
  show_violations();
  assert_int_equal(bad + cudasim_check(), 0);
}

/* The libraries know no algorithm, or offer one and do not do it: our own kernels take over. */
static void test_library_refuses(void **state) {
  (void)state;
  static const char *const names[] = {"conv", "linear"};
  for (int what = CUDASIM_REFUSE_SHAPES; what <= CUDASIM_REFUSE_CALLS; what++) {
    struct backend *ref = open_ref(), *cuda = open_cuda();
    int bad = 0;
    cudasim_refuse((enum cudasim_refusal)what);
    for (int k = 0; k < 2; k++) {
      const struct op *op = op_named(names[k]);
      for (int i = 0; i < op->count; i++)
        for (int t = 0; t < types_of(op); t++) bad += differences(op, &op->shapes[i], TYPES[t], ref, cuda);
    }
    cudasim_refuse(CUDASIM_REFUSE_NOTHING);
    backend_close(cuda);
    backend_close(ref);
    show_violations();
    assert_int_equal(bad + cudasim_check(), 0);
  }
}

/* The comparison with ref would not see BF16 cut off instead of rounded: a rounding counts half of what it allows. So bit by bit. */
static int rounding_differences(struct backend *b) {
  enum { COUNT = 4099 };
  struct err e = {.code = ERR_OK};
  float *x = random_values(5, NORMAL, COUNT);
  uint16_t *half = malloc(COUNT * sizeof *half);
  struct tensor from = tensor_1d(b->op->alloc(b, COUNT * sizeof *x, &e), DT_F32, COUNT), to = tensor_1d(b->op->alloc(b, 2 * COUNT, &e), DT_BF16, COUNT);
  int bad = 0;
  b->op->upload(b, from.data, x, COUNT * sizeof *x);
  for (int t = 0; t < 2; t++) {
    to.type = t ? DT_F16 : DT_BF16;
    b->op->cast(b, &to, &from);
    b->op->download(b, half, to.data, 2 * COUNT);
    for (int i = 0; i < COUNT; i++) bad += half[i] != (t ? f32_to_f16(x[i]) : f32_to_bf16(x[i]));
  }
  b->op->release(b, from.data, COUNT * sizeof *x);
  b->op->release(b, to.data, 2 * COUNT);
  free(half);
  free(x);
  return bad;
}

static void test_rounding(void **state) {
  (void)state;
  struct backend *b = open_cuda();
  assert_int_equal(rounding_differences(b), 0);
  backend_close(b);
}

/* --- TF32 ------------------------------------------------------------------------------------------------------------------------ */

/* All cases of an operation in F32, inputs with values of a type: how many results differ from ref's by more than the order of sums can change. */
static int f32_differences(const char *name, enum dtype inputs_as, struct backend *ref, struct backend *cuda, double *worst) {
  const struct op *op = op_named(name);
  failures = 0;
  for (int i = 0; i < op->count; i++) {
    struct results expected, mine;
    struct rig a = rig_of(ref, &op->shapes[i], DT_F32), b = rig_of(cuda, &op->shapes[i], DT_F32);
    a.inputs_as = b.inputs_as = inputs_as;
    run_case(op, &a, &expected);
    run_case(op, &b, &mine);
    for (int j = 0; j < expected.n; j++) {
      const struct result *e = &expected.r[j], *m = &mine.r[j];
      double size = rms(e->x, e->n), error = 0;
      for (int64_t k = 0; k < e->n; k++) error = fmax(error, fabs((double)e->x[k] - m->x[k]) / (size + fabs((double)e->x[k]) + 1e-30));
      *worst = fmax(*worst, error);
      failures += error > 1e-5 * LOOSER[a.s->values];
    }
    free_results(&expected);
    free_results(&mine);
  }
  int differ = failures;
  failures = 0;
  return differ;
}

/* What F16 holds has 10 bits already: with such inputs TF32 is exact. With others it is off by what 10 bits are, and switched off again it is F32. */
static void test_tf32(void **state) {
  (void)state;
  static const char *const product[] = {"linear", "conv"}, *const other[] = {"attention", "group_norm", "geglu"};
  struct backend *ref = open_ref(), *cuda = open_cuda();
  double none = 0;
  assert_false(cuda->tf32 || backend_use_tf32(ref));
  for (int i = 0; i < 2; i++) {
    double worst = 0;
    assert_true(backend_use_tf32(cuda));
    assert_int_equal(f32_differences(product[i], DT_F16, ref, cuda, &none), 0);
    int differ = f32_differences(product[i], DT_F32, ref, cuda, &worst);
    print_message("%s in TF32: %d results differ, by %.1e at most\n", product[i], differ, worst);
    assert_true(differ > 10 && worst > 1e-4 && worst < 4e-3);
    cuda->tf32 = false;
    assert_int_equal(f32_differences(product[i], DT_F32, ref, cuda, &none), 0);
  }
  backend_use_tf32(cuda);
  for (int i = 0; i < 3; i++) assert_int_equal(f32_differences(other[i], DT_F32, ref, cuda, &none), 0);
  backend_close(cuda);
  assert_int_equal(cudasim_check(), 0);
  cudasim_reset();
  cudasim_device(NULL, 0, "7.5");
  cuda = open_cuda();
  assert_false(backend_use_tf32(cuda));
  backend_close(cuda);
  backend_close(ref);
  assert_int_equal(cudasim_check(), 0);
  cudasim_reset();
  cudasim_check_unwritten(false); /* as main has it */
}

/* --- planted mistakes ------------------------------------------------------------------------------------------------------------ */

static const struct planted {
  int number;
  const char *what, *op;
  enum dtype type;
} MISTAKES[] = {{1, "BF16 cut off instead of rounded", "cast", DT_F32},
                {2, "another function's slope in geglu's gradient", "geglu", DT_F32},
                {3, "a lane left out of column sums", "linear", DT_F32},
                {4, "variances joined without the distance of means", "group_norm", DT_F32},
                {5, "group norm's gradient without its second mean", "group_norm", DT_F32},
                {6, "the loss's gradient without its mask", "mse", DT_F32},
                {7, "nine rounds of Philox", "normal", DT_F32},
                {8, "a causal mask one key too wide", "attention", DT_F32},
                {9, "running sums of softmax not shrunk", "attention", DT_F32},
                {10, "kernels packed the other way round", "conv", DT_F32},
                {11, "a causal mask one key too wide, on tensor cores", "attention", DT_BF16},
                {12, "attention's gradient without delta, on tensor cores", "attention", DT_BF16},
                {13, "the root of a second moment taken for its square", "adamw8", DT_F32}};

static void test_planted_mistakes(void **state) {
  (void)state;
  struct backend *ref = open_ref();
  int unnoticed = 0;
  for (size_t m = 0; m < sizeof MISTAKES / sizeof MISTAKES[0]; m++) {
    const struct op *op = op_named(MISTAKES[m].op);
    struct backend *cuda = open_cuda(); /* anew: nothing packed without the mistake is left */
    cuda_mistake = MISTAKES[m].number;
    int found = m == 0 ? rounding_differences(cuda) : 0;
    for (int i = op->count - 1; i >= 0 && !found; i--) found = differences(op, &op->shapes[i], MISTAKES[m].type, ref, cuda);
    cuda_mistake = 0;
    backend_close(cuda);
    print_message("%s: %s\n", MISTAKES[m].what, found ? "found" : "NOT FOUND");
    unnoticed += !found;
  }
  failures = 0;
  backend_close(ref);
  cudasim_forgive();
  assert_int_equal(unnoticed, 0);
}

/* --- memory, failures -------------------------------------------------------------------------------------------------------------- */

/* A frozen convolution in BF16, padded on one side: rehearsed, then done. */
static void test_rehearsal(void **state) {
  (void)state;
  struct backend *b = open_cuda();
  const struct backend_ops *op = b->op;
  struct err e = {.code = ERR_OK};
  struct conv_shape s = {.kh = 3, .kw = 3, .stride = 2, .pad_bottom = 1, .pad_right = 1};
  struct tensor x = tensor_4d(NULL, DT_BF16, 1, 16, 16, 64), y = tensor_4d(NULL, DT_BF16, 1, 8, 8, 64);
  struct param w = {.rank = 4, .dim = {64, 64, 3, 3}, .count = 64 * 64 * 9, .frozen = true, .version = 1};
  op->rehearse(b, true);
  op->conv(b, &y, &x, &w, NULL, &s);
  op->conv_dx(b, &x, &y, &w, &s);
  size_t wanted = b->need.scratch + b->need.packed;
  op->rehearse(b, false);
  op->drop_pack(b, &w);
  assert_true(wanted > 0);
  x.data = op->alloc(b, tensor_bytes(&x), &e);
  y.data = op->alloc(b, tensor_bytes(&y), &e);
  w.w = op->alloc(b, (size_t)w.count * sizeof *w.w, &e);
  size_t before = cudasim_bytes();
  op->conv(b, &y, &x, &w, NULL, &s);
  op->conv_dx(b, &x, &y, &w, &s);
  assert_int_equal(b->fault.code, ERR_OK);
  assert_int_equal(cudasim_bytes() - before, wanted);
  op->drop_pack(b, &w);
  op->release(b, x.data, tensor_bytes(&x));
  op->release(b, y.data, tensor_bytes(&y));
  op->release(b, w.w, (size_t)w.count * sizeof *w.w);
  backend_close(b);
}

static void expect_refusal(const char *devices, const char *arch, const char *text) {
  struct err e = {.code = ERR_OK};
  cudasim_reset();
  cudasim_device(devices, 0, arch);
  assert_null(backend_open("cuda", 1, &e));
  assert_int_equal(e.code, ERR_FIT);
  print_message("%s\n", e.text);
  if (!strstr(e.text, text)) fail_msg("\"%s\" lacks \"%s\"", e.text, text);
  struct backend *b = backend_open("auto", 1, &e);
  assert_non_null(b);
  assert_true(strcmp(b->op->name, "cuda") != 0);
  assert_non_null(strstr(b->passed_over, "GPU"));
  backend_close(b);
  cudasim_reset();
}

static void test_refusals(void **state) {
  (void)state;
  struct err e = {.code = ERR_OK};
  expect_refusal("0", NULL, "no GPU");
  expect_refusal("nodriver", NULL, "driver");
  expect_refusal(NULL, "7.0", "compute capability 7.0");
  cudasim_device("1", 0, NULL);
  assert_null(backend_open("cuda:1", 1, &e));
  assert_non_null(strstr(e.text, "cuda:N"));
  e = (struct err){.code = ERR_OK};
  assert_null(backend_open("cuda:x", 1, &e));
  cudasim_reset();
  struct backend *b = backend_open("cuda:0", 1, &e);
  print_message("%s\n", backend_describe(b));
  e = (struct err){.code = ERR_OK};
  assert_null(b->op->alloc(b, (size_t)1 << 50, &e));
  print_message("%s\n", e.text);
  assert_int_equal(e.code, ERR_FIT);
  backend_close(b);
}

/* A call that fails: one sentence in b->fault, and what follows does nothing. */
static void test_call_fails(void **state) {
  (void)state;
  struct backend *b = open_cuda();
  struct err e = {.code = ERR_OK};
  struct tensor x = tensor_1d(b->op->alloc(b, 4096, &e), DT_F32, 1024);
  cudasim_fail(1, 719);
  b->op->fill(b, &x, 1);
  assert_int_equal(b->fault.code, ERR_FIT);
  print_message("%s\n", b->fault.text);
  assert_non_null(strstr(b->fault.text, "cudaErrorLaunchFailure"));
  long calls = cudasim_launches(NULL);
  b->op->fill(b, &x, 1);
  assert_int_equal(cudasim_launches(NULL), calls);
  backend_close(b);
  cudasim_forgive();
  cudasim_reset();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_kernel_ran), cmocka_unit_test(test_head_sizes), cmocka_unit_test(test_library_refuses),
      cmocka_unit_test(test_planted_mistakes), cmocka_unit_test(test_tf32),       cmocka_unit_test(test_rehearsal),
      cmocka_unit_test(test_refusals),         cmocka_unit_test(test_call_fails), cmocka_unit_test(test_rounding),
  };
  cudasim_check_unwritten(false); /* what is read back here was filled with NaN by upload */
  int failed = getenv("CUDA_TESTS_ONLY") ? 0 : test_backend_main();
  return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
