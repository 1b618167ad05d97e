/* Other programs' files: what Python libraries wrote is read and means the same numbers; what we write is read again; what cannot be applied is
 * refused by name. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "assets/embedded.h"
#include "convert/lora_apply.h"
#include "convert/lora_write.h"
#include "convert/single_file.h"
#include "interchange.h"
#include "reference.h"
#include "training.h"

static char dir[4096];
static struct backend *b;

static const char *data_path(const char *name, char out[4200]) {
  char relative[300];
  snprintf(relative, sizeof relative, "data/%s", name);
  return tests_path(relative, out, 4200);
}

static const char *in_dir(const char *name, char out[4200]) {
  snprintf(out, 4200, "%s/%s", dir, name);
  return out;
}

static int setup(void **state) {
  (void)state;
  struct err e = {0};
  folder_make(dir, sizeof dir);
  b = backend_open("auto", 2, &e);
  return b == NULL;
}

static int teardown(void **state) {
  (void)state;
  backend_close(b);
  folder_remove_all(dir);
  return 0;
}

static void expect_error(const struct err *e, enum err_code code, const char *piece) {
  if (e->code != code || strstr(e->text, piece) == NULL)
    fail_msg("\"%s\" (%d): expected \"%s\" (%d)", e->text, (int)e->code, piece, (int)code);
}

/* --- what networks compute ---------------------------------------------------------------------------------------------------- */

enum { TOKENS = 77, SIDE = 8, LATENT = 4 };

struct results {
  struct model *m;
  const struct st_file *f;
  float *states, *y, *decoded; /* [2, 77, width]; [2, 8, 8, 4]; [1, 16, 16, 3], NHWC */
};

static float *nhwc(const struct st_file *f, const char *name, int64_t n, int c) {
  int64_t count;
  float *nchw = reference_floats(f, name, &count), *out = malloc((size_t)count * sizeof *out);
  int64_t area = count / n / c;
  for (int64_t i = 0; i < n; i++)
    for (int64_t k = 0; k < c; k++)
      for (int64_t p = 0; p < area; p++) out[(i * area + p) * c + k] = nchw[(i * c + k) * area + p];
  free(nchw);
  return out;
}

static bool compute(struct ctx *c, void *user) {
  struct results *r = user;
  int64_t n;
  int32_t ids[2 * TOKENS];
  float *given = reference_floats(r->f, "in.ids", &n), *x = nhwc(r->f, "in.x", 2, LATENT), *z = nhwc(r->f, "in.z", 1, LATENT);
  const float t[2] = {7, 801};
  for (int i = 0; i < 2 * TOKENS; i++) ids[i] = (int32_t)given[i];
  struct tensor states = clip_forward(c, r->m->text, ids, 2, TOKENS, NULL);
  struct tensor in = ctx_upload(c, DT_F32, 4, (int64_t[]){2, SIDE, SIDE, LATENT}, x);
  struct tensor y = unet_forward(c, r->m->unet, &in, t, &states, NULL, NULL, NULL);
  ctx_download(c, r->y, &y);
  ctx_download(c, r->states, &states);
  ctx_free(c, &y);
  ctx_free(c, &in);
  ctx_free(c, &states);
  struct tensor latent = ctx_upload(c, DT_F32, 4, (int64_t[]){1, SIDE, SIDE, LATENT}, z);
  struct tensor picture = vae_decode(c, r->m->vae, &latent);
  ctx_download(c, r->decoded, &picture);
  ctx_free(c, &picture);
  ctx_free(c, &latent);
  free(given);
  free(x);
  free(z);
  return ctx_ok(c);
}

static struct results results_of(struct model *m, const struct st_file *f) {
  struct results r = {.m = m, .f = f};
  struct err e = {0};
  r.states = calloc(2 * TOKENS * (size_t)clip_config(m->text)->width, sizeof *r.states);
  r.y = calloc(2 * SIDE * SIDE * LATENT, sizeof *r.y);
  r.decoded = calloc(4 * SIDE * SIDE * 3, sizeof *r.decoded);
  if (!workspace_run(&m->work, b, DT_F32, compute, &r, NULL, &e)) fail_msg("%s", e.text);
  return r;
}

static void release(struct results *r) {
  free(r->states);
  free(r->y);
  free(r->decoded);
}

static double relative(const float *a, const float *want, int64_t n) {
  double difference = 0, size = 0;
  for (int64_t i = 0; i < n; i++) {
    difference += pow((double)a[i] - (double)want[i], 2);
    size += pow((double)want[i], 2);
  }
  return sqrt(difference / size);
}

static void expect_close(const char *what, const float *have, const float *want, int64_t n, double tolerance) {
  double far = relative(have, want, n);
  if (!(far <= tolerance)) fail_msg("%s: relative difference %g", what, far);
}

static void expect_results(const struct results *r, const char *tag, bool vae) {
  char name[64];
  int64_t n;
  snprintf(name, sizeof name, "%s.states", tag);
  float *want = reference_floats(r->f, name, &n);
  expect_close(name, r->states, want, n, 2e-5);
  free(want);
  snprintf(name, sizeof name, "%s.y", tag);
  want = nhwc(r->f, name, 2, LATENT);
  expect_close(name, r->y, want, 2 * SIDE * SIDE * LATENT, 1e-4);
  free(want);
  if (!vae) return;
  snprintf(name, sizeof name, "%s.decoded", tag);
  want = nhwc(r->f, name, 1, 3);
  expect_close(name, r->decoded, want, 4 * SIDE * SIDE * 3, 1e-4);
  free(want);
}

static struct model *open_path(const char *path, struct err *e) {
  struct source s;
  source_dir(&s, path);
  return model_open(b, &s, &(struct model_want){.embedded = embedded_files}, e);
}

static struct model *open_data(const char *name) {
  char path[4200];
  struct err e = {0};
  struct model *m = open_path(data_path(name, path), &e);
  if (m == NULL) fail_msg("%s", e.text);
  return m;
}

static struct st_file *expected(void) {
  return reference_open("interchange/expected.safetensors");
}

static void test_single_files(void **state) {
  (void)state;
  struct st_file *f = expected();
  static const char *const name[2] = {"ldm_sd1", "ldm_sd2"};
  for (int i = 0; i < 2; i++) {
    char path[64];
    snprintf(path, sizeof path, "interchange/%s.safetensors", name[i]);
    struct model *m = open_data(path);
    struct results r = results_of(m, f);
    expect_results(&r, name[i], true);
    assert_int_equal(m->schedule.prediction, i == 0 ? PREDICT_EPSILON : PREDICT_V);
    assert_non_null(strstr(model_notes(m), "-config"));
    release(&r);
    model_close(m);
  }
  st_close(f);
}

static void test_loras_of_python(void **state) {
  (void)state;
  static const char *const name[][2] = {{"lora_kohya.safetensors", "lora"},
                                        {"lora_module.safetensors", "lora"},
                                        {"lora_old.safetensors", "lora"},
                                        {"lora_in_diffusers.safetensors", "lora"},
                                        {"lora_peft", "lora"},
                                        {"kohya_rest.safetensors", "rest"}};
  struct st_file *f = expected();
  for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
    char file[64], path[4200];
    struct err e = {0};
    struct model *m = open_data("interchange/ldm_sd1.safetensors");
    snprintf(file, sizeof file, "interchange/%s", name[i][0]);
    assert_true(engine_is_lora(data_path(file, path)));
    if (!lora_load(m, path, 1, &e)) fail_msg("%s", e.text);
    struct results r = results_of(m, f);
    expect_results(&r, name[i][1], false);
    release(&r);
    model_close(m);
  }
  st_close(f);
}

/* --- export --------------------------------------------------------------------------------------------------------------------- */

static struct export_job job(const char *model, const char *lora, enum export_form form, const char *out) {
  return (struct export_job){
      .model = model, .config = "", .lora = lora, .scale = 1, .form = form, .dtype = EXPORT_SOURCE_DTYPE, .out = out};
}

static void export_as(const struct export_job *j) {
  struct err e = {0};
  struct export_result r;
  if (!engine_export(j, embedded_files, NULL, &r, &e)) fail_msg("%s", e.text);
  assert_true(r.paths > 0);
  assert_int_equal(access(r.path[0], R_OK), 0);
}

static void hash_of(const char *path, char out[65]) {
  struct err e = {0};
  struct source s;
  source_dir(&s, path);
  struct model *m = model_describe(&s, &(struct model_want){.embedded = embedded_files}, &e);
  if (m == NULL) fail_msg("%s", e.text);
  memcpy(out, m->hash, 65);
  model_close(m);
}

/* The hash covers names, types and values: there and back again is the same model, and the single file itself is it, too. */
static void test_there_and_back(void **state) {
  (void)state;
  static const char *const name[2] = {"sd1", "sd2"};
  for (int i = 0; i < 2; i++) {
    char model[4200], single[4200], back[4200], file[64], before[65], after[65];
    snprintf(file, sizeof file, "%s.safetensors", name[i]);
    struct export_job j = job(data_path(name[i], model), "", EXPORT_SINGLE_FILE, in_dir(file, single));
    export_as(&j);
    hash_of(model, before);
    hash_of(single, after);
    assert_string_equal(before, after);
    snprintf(file, sizeof file, "%s-back", name[i]);
    j = job(single, "", EXPORT_DIFFUSERS, in_dir(file, back));
    export_as(&j);
    hash_of(back, after);
    assert_string_equal(before, after);
  }
}

static void test_layout_of_single_files(void **state) {
  (void)state;
  char model[4200], one[4200], two[4200];
  struct err e = {0};
  struct export_job j = job(data_path("sd1", model), "", EXPORT_SINGLE_FILE, in_dir("layout1.safetensors", one));
  export_as(&j);
  struct st_file *f = st_open_path(one, &e);
  const struct st_tensor *t = st_find(f, "cond_stage_model.transformer.text_model.embeddings.position_ids");
  assert_non_null(t);
  assert_string_equal(t->dtype_text, "I64");
  assert_int_equal(((const int64_t *)(const void *)t->data)[76], 76);
  assert_int_equal(st_find(f, "model.diffusion_model.input_blocks.1.1.proj_in.weight")->rank, 4);
  assert_int_equal(st_find(f, "first_stage_model.encoder.mid.attn_1.q.weight")->rank, 4);
  assert_string_equal(st_metadata(f, "modelspec.architecture"), "stable-diffusion-v1");
  assert_string_equal(st_metadata(f, "modelspec.prediction_type"), "epsilon");
  assert_memory_equal(st_data(f) + 8, "{\"", 2);
  assert_int_equal(st_header_bytes(f) % 8, 0);
  char digest[65];
  sha256_hex(st_data(f) + st_header_bytes(f), st_bytes(f) - st_header_bytes(f), digest);
  assert_string_equal(st_metadata(f, "modelspec.hash_sha256") + 2, digest);
  st_close(f);
  j = job(data_path("sd2", model), "", EXPORT_SINGLE_FILE, in_dir("layout2.safetensors", two));
  j.dtype = DT_BF16;
  export_as(&j);
  f = st_open_path(two, &e);
  t = st_find(f, "cond_stage_model.model.transformer.resblocks.2.attn.in_proj_weight");
  assert_non_null(t);
  assert_int_equal(t->dim[0], 120);
  assert_int_equal(t->type, DT_BF16);
  assert_int_equal(st_find(f, "cond_stage_model.model.text_projection")->dim[0], 40);
  assert_int_equal(st_find(f, "cond_stage_model.model.logit_scale")->rank, 0);
  assert_int_equal(st_find(f, "model.diffusion_model.input_blocks.1.1.proj_in.weight")->rank, 2);
  assert_string_equal(st_metadata(f, "modelspec.architecture"), "stable-diffusion-v2-768-v");
  st_close(f);
  assert_int_equal(access(in_dir("layout2.yaml", one), R_OK), 0);
  assert_int_not_equal(access(in_dir("layout1.yaml", one), R_OK), 0);
}

/* Merged at a strength: the same as the LoRA applied at it. */
static void test_merge(void **state) {
  (void)state;
  static const char *const name[2] = {"interchange/lora_kohya.safetensors", "interchange/kohya_rest.safetensors"};
  struct st_file *f = expected();
  for (int i = 0; i < 2; i++) {
    char base[4200], lora[4200], out[4200], file[32];
    struct err e = {0};
    snprintf(file, sizeof file, "merged-%d", i);
    struct export_job j =
        job(data_path("interchange/ldm_sd1.safetensors", base), data_path(name[i], lora), EXPORT_DIFFUSERS, in_dir(file, out));
    j.scale = 0.6;
    j.dtype = DT_F32;
    export_as(&j);
    struct model *m = open_path(out, &e), *n = open_path(base, &e);
    if (m == NULL || n == NULL || !lora_load(n, lora, 0.6, &e)) fail_msg("%s", e.text);
    struct results have = results_of(m, f), want = results_of(n, f);
    expect_close(name[i], have.y, want.y, 2 * SIDE * SIDE * LATENT, 1e-5);
    expect_close(name[i], have.states, want.states, 2 * TOKENS * clip_config(m->text)->width, 1e-5);
    release(&have);
    release(&want);
    model_close(m);
    model_close(n);
  }
  st_close(f);
}

/* What each module's weights get, whatever ranks and alphas say it. */
static void expect_same_lora(const char *a, const char *c, double tolerance) {
  struct lora_list x, y;
  struct err e = {0};
  if (!lora_list_open(&x, a, &e) || !lora_list_open(&y, c, &e)) fail_msg("%s", e.text);
  assert_int_equal(x.n, y.n);
  for (int i = 0; i < x.n; i++) {
    const struct lora_item *p = &x.item[i], *q = &y.item[i];
    assert_string_equal(p->module, q->module);
    assert_int_equal(p->text, q->text);
    int64_t n = p->up.dim[0] * (p->down.count / p->rank);
    float *u = calloc((size_t)n, sizeof *u), *v = calloc((size_t)n, sizeof *v);
    assert_true(lora_item_add(p, lora_item_scale(p), 0, n, u));
    assert_true(lora_item_add(q, lora_item_scale(q), 0, n / 3, v)); /* in two pieces */
    assert_true(lora_item_add(q, lora_item_scale(q), n / 3, n - n / 3, v + n / 3));
    expect_close(p->module, v, u, n, tolerance);
    free(u);
    free(v);
  }
  lora_list_close(&x);
  lora_list_close(&y);
}

static void test_lora_dialects_round(void **state) {
  (void)state;
  static const char *const from[] = {
      "lora_kohya.safetensors", "lora_module.safetensors", "lora_old.safetensors", "lora_in_diffusers.safetensors", "lora_peft",
      "kohya_rest.safetensors"};
  static const enum export_form form[] = {EXPORT_LORA_KOHYA, EXPORT_LORA_DIFFUSERS, EXPORT_LORA_DIFFUSERS_OLD, EXPORT_LORA_PEFT};
  for (size_t i = 0; i < sizeof from / sizeof *from; i++)
    for (size_t k = 0; k < sizeof form / sizeof *form; k++) {
      char file[64], source[4200], out[4200];
      snprintf(file, sizeof file, "interchange/%s", from[i]);
      data_path(file, source);
      snprintf(file, sizeof file, "round-%zu-%zu%s", i, k, form[k] == EXPORT_LORA_PEFT ? "" : ".safetensors");
      struct export_job j = job("", source, form[k], in_dir(file, out));
      j.dtype = DT_F32;
      if (i == 5 && form[k] == EXPORT_LORA_DIFFUSERS_OLD) {
        struct err e = {0};
        struct export_result r;
        assert_false(engine_export(&j, NULL, NULL, &r, &e));
        expect_error(&e, ERR_USAGE, "attention only");
        assert_int_not_equal(access(out, F_OK), 0);
        continue;
      }
      export_as(&j);
      expect_same_lora(source, out, 1e-6);
    }
}

static void test_kohya_metadata(void **state) {
  (void)state;
  char source[4200], out[4200], digest[65];
  struct err e = {0};
  struct export_job j =
      job("", data_path("interchange/lora_module.safetensors", source), EXPORT_LORA_KOHYA, in_dir("meta.safetensors", out));
  export_as(&j);
  struct st_file *f = st_open_path(out, &e);
  assert_string_equal(st_metadata(f, "format"), "pt");
  assert_string_equal(st_metadata(f, "ss_network_module"), "networks.lora");
  assert_string_equal(st_metadata(f, "ss_network_dim"), "2");
  assert_string_equal(st_metadata(f, "ss_network_alpha"), "2");
  assert_string_equal(st_metadata(f, "ss_v2"), "False");
  assert_string_equal(st_metadata(f, "ss_base_model_version"), "sd_v1");
  assert_string_equal(st_metadata(f, "modelspec.architecture"), "stable-diffusion-v1/lora");
  sha256_hex(st_data(f) + st_header_bytes(f), st_bytes(f) - st_header_bytes(f), digest);
  assert_string_equal(st_metadata(f, "sshs_model_hash"), digest);
  const struct st_tensor *alpha = st_find(f, "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0.alpha");
  assert_non_null(alpha);
  assert_int_equal(alpha->rank, 0);
  st_close(f);
}

static void test_nothing_is_overwritten(void **state) {
  (void)state;
  char source[4200], out[4200], path[4200];
  struct err e = {0};
  struct export_result r;
  struct export_job j =
      job("", data_path("interchange/lora_module.safetensors", source), EXPORT_LORA_KOHYA, in_dir("mine.safetensors", out));
  assert_true(write_file(out, "mine", 4, &e));
  assert_false(engine_export(&j, NULL, NULL, &r, &e));
  expect_error(&e, ERR_USAGE, "exists already");
  j.force = true;
  e = (struct err){0};
  assert_true(engine_export(&j, NULL, NULL, &r, &e));
  assert_true(make_dirs(in_dir("precious", path), &e));
  j = job("", source, EXPORT_LORA_PEFT, path);
  j.force = true;
  e = (struct err){0};
  assert_false(engine_export(&j, NULL, NULL, &r, &e));
  expect_error(&e, ERR_USAGE, "replaces only what an export wrote");
}

static void test_too_large_for_fp16(void **state) {
  (void)state;
  char path[4200], out[4200];
  struct err e = {0};
  struct export_result r;
  const float down[2] = {1, 2}, up[2] = {1e6f, 1};
  const struct st_entry t[] = {{.name = "unet.mid_block.x.to_q.lora.down.weight", .rank = 2, .dim = {1, 2}, .data = down},
                               {.name = "unet.mid_block.x.to_q.lora.up.weight", .rank = 2, .dim = {2, 1}, .data = up}};
  assert_true(st_write(in_dir("large.safetensors", path), t, 2, NULL, 0, &e));
  struct export_job j = job("", path, EXPORT_LORA_DIFFUSERS, in_dir("large16.safetensors", out));
  j.dtype = DT_F16;
  assert_false(engine_export(&j, NULL, NULL, &r, &e));
  expect_error(&e, ERR_NUMERIC, "F16 cannot");
  assert_int_not_equal(access(out, F_OK), 0);
}

/* --- what is refused --------------------------------------------------------------------------------------------------------------- */

/* A LoRA file of two tensors [2, 2] (the second one's name may be NULL) with a part missing, too many, or unknown. */
static void refuse_lora(const char *first, const char *second, const char *piece) {
  static const float x[4] = {1, 2, 3, 4};
  const struct st_entry t[2] = {{.name = first, .rank = 2, .dim = {2, 2}, .data = x},
                                {.name = second, .rank = 2, .dim = {2, 2}, .data = x}};
  char path[4200];
  struct err e = {0};
  struct lora_list l;
  assert_true(st_write(in_dir("refused.safetensors", path), t, second ? 2 : 1, NULL, 0, &e));
  if (lora_list_open(&l, path, &e)) fail_msg("%s was accepted", first);
  expect_error(&e, ERR_INPUT, piece);
  expect_error(&e, ERR_INPUT, second ? "\"" : first);
}

static void test_refused_loras(void **state) {
  (void)state;
  refuse_lora("unet.a.to_q.lora_magnitude_vector", NULL, "DoRA");
  refuse_lora("lora_unet_a.dora_scale", NULL, "DoRA");
  refuse_lora("lora_unet_a.hada_w1_a", NULL, "LoHa");
  refuse_lora("lora_unet_a.lokr_w1", NULL, "LoKr");
  refuse_lora("lora_unet_a.lora_mid.weight", NULL, "Tucker");
  refuse_lora("lora_te2_a.lora_down.weight", NULL, "Stable Diffusion XL");
  refuse_lora("transformer.a.lora_A.weight", NULL, "transformer");
  refuse_lora("unet.a.to_q.weight", NULL, "no dialect");
  refuse_lora("unet.a.to_q.lora.down.weight", NULL, "other half");
  refuse_lora("unet.a.to_q.lora.down.weight", "unet.a.to_q.lora_A.weight", "another tensor");
}

static void test_lora_of_another_model(void **state) {
  (void)state;
  static const struct {
    const char *base, *lora, *piece;
  } row[] = {{"interchange/ldm_sd2.safetensors", "interchange/lora_kohya.safetensors", "made for another model"},
             {"sd1", "interchange/lora_peft", "made for another model"},
             {"sd2", "interchange/kohya_rest.safetensors", "made for another model"}};
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
    char path[4200];
    struct err e = {0};
    struct model *m = open_data(row[i].base);
    assert_false(lora_load(m, data_path(row[i].lora, path), 1, &e));
    expect_error(&e, ERR_INPUT, row[i].piece);
    model_close(m);
  }
}

static void refuse_config(const char *config, const char *piece) {
  static const float x[4] = {1, 2, 3, 4};
  const struct st_entry t[2] = {{.name = "base_model.model.a.lora_A.weight", .rank = 2, .dim = {2, 2}, .data = x},
                                {.name = "base_model.model.a.lora_B.weight", .rank = 2, .dim = {2, 2}, .data = x}};
  char path[4200];
  struct err e = {0};
  struct lora_list l;
  assert_true(st_write(in_dir("config.safetensors", path), t, 2, NULL, 0, &e));
  if (lora_list_of(&l, st_open_path(path, &e), config, strlen(config), &e)) fail_msg("%s was accepted", config);
  expect_error(&e, ERR_INPUT, piece);
}

static void test_peft_configs(void **state) {
  (void)state;
  refuse_config("{\"use_dora\": true}", "use_dora");
  refuse_config("{\"peft_type\": \"LOHA\"}", "LOHA");
  refuse_config("{\"init_lora_weights\": \"pissa_niter_4\"}", "changed with them");
  refuse_config("{\"alpha_pattern\": {\"(?!a)b\": 2}}", "does not understand");
  refuse_config("{\"lora_alpha\": \"two\"}", "lora_alpha");
  refuse_config("[", "not valid JSON");
}

/* --- single files with something wrong ------------------------------------------------------------------------------------------------ */

/* ldm_sd1 with tensors left out (by the beginning of their names) or one added, opened with the configs that lie beside the original. */
static void refuse_single(const char *without, const char *with, const char *config, enum err_code code, const char *piece) {
  static const float x[4] = {0};
  char path[4200], configs[4200];
  struct err e = {0};
  struct st_file *f = st_open_path(data_path("interchange/ldm_sd1.safetensors", path), &e);
  struct st_entry *t = calloc((size_t)st_count(f) + 1, sizeof *t);
  int n = 0;
  for (int i = 0; i < st_count(f); i++) {
    const struct st_tensor *k = st_at(f, i);
    if (without && strncmp(k->name, without, strlen(without)) == 0) continue;
    t[n] =
        (struct st_entry){.name = k->name, .type = k->type, .rank = k->rank, .data = k->data, .data_type = k->type, .i64 = !k->known_type};
    memcpy(t[n++].dim, k->dim, sizeof k->dim);
  }
  if (with) t[n++] = (struct st_entry){.name = with, .rank = 1, .dim = {4}, .data = x};
  assert_true(st_write(in_dir("single.safetensors", path), t, n, NULL, 0, &e));
  st_close(f);
  free(t);
  struct source s;
  source_dir(&s, path);
  struct model *m = model_open(b, &s, &(struct model_want){.config = config ? data_path(config, configs) : NULL}, &e);
  if (m != NULL) fail_msg("accepted, without %s, with %s", without ? without : "-", with ? with : "-");
  expect_error(&e, code, piece);
}

static void test_refused_single_files(void **state) {
  (void)state;
  static const char good[] = "interchange/ldm_sd1-config";
  refuse_single(NULL, NULL, NULL, ERR_INPUT, "number of attention heads");
  refuse_single(NULL, NULL, "interchange/nothing", ERR_INPUT, "no such directory");
  refuse_single(NULL, NULL, "dialects", ERR_INPUT, "config names a diffusers directory");
  refuse_single(NULL, NULL, "interchange/ldm_sd2-config", ERR_INPUT, "is missing");
  refuse_single("model.diffusion_model.input_blocks.1.1.transformer_blocks.0.ff.net.2", NULL, good, ERR_INPUT,
                "input_blocks.1.1.transformer_blocks.0.ff.net.2");
  refuse_single("model.diffusion_model.", NULL, good, ERR_INPUT, "not a single-file checkpoint");
  refuse_single("model.diffusion_model.middle_block", NULL, good, ERR_INPUT, "middle block");
  refuse_single("first_stage_model.decoder.mid.attn_1.v.weight", NULL, good, ERR_INPUT, "decoder.mid.attn_1.v.weight");
  refuse_single("cond_stage_model.", NULL, good, ERR_INPUT, "text_encoder");
  refuse_single(NULL, "model.diffusion_model.label_emb.0.0.weight", good, ERR_INPUT, "XL");
  refuse_single(NULL, "model.diffusion_model.input_blocks.1.2.weight", good, ERR_INPUT, "has no place");
}

/* Names that older writers gave: text encoder without text_model., VAE attention as diffusers names it. */
static void test_old_names(void **state) {
  (void)state;
  char path[4200], configs[4200], before[65], after[65];
  struct err e = {0};
  struct st_file *f = st_open_path(data_path("interchange/ldm_sd1.safetensors", path), &e);
  hash_of(path, before);
  struct st_entry *t = calloc((size_t)st_count(f), sizeof *t);
  char(*name)[320] = calloc((size_t)st_count(f), sizeof *name);
  for (int i = 0; i < st_count(f); i++) {
    const struct st_tensor *k = st_at(f, i);
    const char *text = strstr(k->name, "text_model."), *proj = strstr(k->name, "attn_1.proj_out."), *q = strstr(k->name, "attn_1.q.");
    if (text)
      snprintf(name[i], sizeof name[i], "%.*s%s", (int)(text - k->name), k->name, text + 11);
    else if (proj || q)
      snprintf(name[i], sizeof name[i], "%.*sattn_1.%s%s", (int)((proj ? proj : q) - k->name), k->name, proj ? "to_out.0." : "query.",
               proj ? proj + 16 : q + 9);
    else
      snprintf(name[i], sizeof name[i], "%s", k->name);
    t[i] =
        (struct st_entry){.name = name[i], .type = k->type, .rank = k->rank, .data = k->data, .data_type = k->type, .i64 = !k->known_type};
    memcpy(t[i].dim, k->dim, sizeof k->dim);
  }
  assert_true(st_write(in_dir("old.safetensors", path), t, st_count(f), NULL, 0, &e));
  struct source s;
  source_dir(&s, path);
  struct model *m = model_describe(&s, &(struct model_want){.config = data_path("interchange/ldm_sd1-config", configs)}, &e);
  if (m == NULL) fail_msg("%s", e.text);
  memcpy(after, m->hash, sizeof after);
  assert_string_equal(before, after);
  model_close(m);
  st_close(f);
  free(t);
  free(name);
}

/* --- the published shapes -------------------------------------------------------------------------------------------------------------- */

static const int sd_channels[4] = {320, 640, 1280, 1280};

/* A file of the published size, all zeros, that takes no room: header, then a hole. */
struct sparse {
  char *text;
  size_t size;
  FILE *f;
  int64_t offset;
};

static void sparse_add(struct sparse *s, const char *name, int rank, const int64_t *dim) {
  int64_t count = 1;
  for (int i = 0; i < rank; i++) count *= dim[i];
  fprintf(s->f, "%s\"%s\":{\"dtype\":\"F16\",\"shape\":[", s->offset > 0 ? "," : "", name);
  for (int i = 0; i < rank; i++) fprintf(s->f, "%s%lld", i > 0 ? "," : "", (long long)dim[i]);
  fprintf(s->f, "],\"data_offsets\":[%lld,%lld]}", (long long)s->offset, (long long)(s->offset + 2 * count));
  s->offset += 2 * count;
}

static void sparse_write(struct sparse *s, const char *path) {
  fprintf(s->f, "}");
  fclose(s->f);
  FILE *f = fopen(path, "wb");
  uint64_t n = s->size;
  assert_int_equal(fwrite(&n, 8, 1, f), 1);
  assert_int_equal(fwrite(s->text, 1, s->size, f), s->size);
  assert_int_equal(fflush(f), 0);
  assert_int_equal(ftruncate(fileno(f), (off_t)(8 + s->size + (size_t)s->offset)), 0);
  fclose(f);
  free(s->text);
}

static void sparse_model(const char *path, bool second) {
  struct err e = {0};
  struct unet_config u = {
      .in_channels = 4, .out_channels = 4, .levels = 4, .mid_attention = true, .groups = 32, .linear_projection = second};
  struct clip_config c = {
      .vocab = 49408, .width = second ? 1024 : 768, .layers = second ? 24 : 12, .heads = 1, .inner = second ? 4096 : 3072, .positions = 77};
  struct vae_config v = {.in_channels = 3,
                         .out_channels = 3,
                         .latent_channels = 4,
                         .levels = 4,
                         .layers = 2,
                         .groups = 32,
                         .channels = {128, 256, 512, 512},
                         .quant_conv = true,
                         .post_quant_conv = true,
                         .mid_attention = true};
  u.cross_dim = c.width;
  for (int i = 0; i < 4; i++) {
    u.channels[i] = sd_channels[i];
    u.layers[i] = 2;
    u.transformer_layers[i] = u.heads[i] = 1;
    u.down_attention[i] = i < 3;
    u.up_attention[i] = i > 0;
  }
  struct unet *unet = unet_new(&u, &e);
  struct clip_text *text = clip_new(&c, &e);
  struct vae *vae = vae_new(&v, &e);
  struct param_set *set[3] = {unet_params(unet), clip_params(text), vae_params(vae)};
  struct sparse s = {0};
  s.f = open_memstream(&s.text, &s.size);
  fprintf(s.f, "{");
  for (int k = 0; k < 3; k++)
    for (int i = 0; i < set[k]->n; i++) {
      struct ldm_name name;
      int64_t dim[4];
      const struct param *p = set[k]->p[i];
      memcpy(dim, p->dim, sizeof dim);
      assert_true(k == 0   ? ldm_unet_name(&u, p->name, &name)
                  : k == 1 ? ldm_text_name(second, p->name, &name)
                           : ldm_vae_name(&v, p->name, &name));
      if (name.third > 0) continue;
      if (name.third == 0) dim[0] *= 3;
      sparse_add(&s, name.text, p->rank, dim);
    }
  sparse_write(&s, path);
  unet_delete(unet, NULL);
  clip_delete(text, NULL);
  vae_delete(vae, NULL);
}

static void test_published_shapes(void **state) {
  (void)state;
  for (int second = 0; second < 2; second++) {
    char path[4200];
    struct err e = {0};
    struct source s;
    int32_t ids[77];
    sparse_model(in_dir("published.safetensors", path), second);
    source_dir(&s, path);
    struct model *m = model_describe(&s, &(struct model_want){.embedded = embedded_files}, &e);
    if (m == NULL) fail_msg("%s", e.text);
    const struct unet_config *u = unet_config(m->unet);
    for (int i = 0; i < 4; i++) assert_int_equal(u->heads[i], second ? sd_channels[i] / 64 : 8);
    assert_int_equal(u->linear_projection, second);
    assert_int_equal(u->sample_size, 64);
    assert_int_equal(clip_config(m->text)->layers, second ? 23 : 12);
    assert_int_equal(clip_config(m->text)->heads, second ? 16 : 12);
    assert_int_equal(m->schedule.prediction, PREDICT_EPSILON);
    assert_int_equal(tokenizer_prompt(m->tokenizer, "a photo of a dog", ids, 77, NULL), 0);
    static const int32_t known[7] = {49406, 320, 1125, 539, 320, 1929, 49407};
    for (int i = 0; i < 7; i++) assert_int_equal(ids[i], known[i]);
    assert_int_equal(ids[76], second ? 0 : 49407);
    assert_non_null(strstr(model_notes(m), "assumed: it predicts noise"));
    assert_non_null(strstr(model_notes(m), "assumed: CLIP's tokenizer"));
    model_close(m);
    assert_int_equal(unlink(path), 0);
  }
}

/* The .yaml beside the file says what it predicts. */
static void test_yaml(void **state) {
  (void)state;
#ifdef HAVE_YAML
  static const char yaml[] =
      "model:\n  params:\n    parameterization: \"v\"\n    linear_end: 0.013\n    unet_config:\n      params:\n        num_head_channels: "
      "64\n";
  static const char broken[] = "model: [\n";
  char path[4200], beside[4200];
  struct err e = {0};
  struct source s;
  sparse_model(in_dir("with.safetensors", path), true);
  source_dir(&s, path);
  assert_true(write_file(in_dir("with.yaml", beside), yaml, sizeof yaml - 1, &e));
  struct model *m = model_describe(&s, &(struct model_want){.embedded = embedded_files}, &e);
  if (m == NULL) fail_msg("%s", e.text);
  assert_int_equal(m->schedule.prediction, PREDICT_V);
  assert_true(fabs(m->schedule.beta[999] - 0.013) < 1e-6);
  assert_int_equal(unet_config(m->unet)->sample_size, 96);
  model_close(m);
  assert_true(write_file(beside, broken, sizeof broken - 1, &e));
  assert_null(model_describe(&s, &(struct model_want){.embedded = embedded_files}, &e));
  expect_error(&e, ERR_INPUT, "not valid YAML");
  assert_int_equal(unlink(path), 0);
#else
  skip();
#endif
}

/* --- inspection --------------------------------------------------------------------------------------------------------------------------- */

static struct inspection inspect(const char *path) {
  struct inspection i;
  struct err e = {0};
  if (!engine_inspect(path, "", embedded_files, &i, &e)) fail_msg("%s", e.text);
  return i;
}

static void expect_kind(const char *name, const char *kind) {
  char path[4200];
  struct inspection i = inspect(data_path(name, path));
  assert_string_equal(i.kind, kind);
  if (i.problems > 0) fail_msg("%s: %s", name, i.problem[0]);
  assert_true(i.tensors > 0);
  inspection_release(&i);
}

static void test_inspect_kinds(void **state) {
  (void)state;
  expect_kind("sd1", "diffusers");
  expect_kind("sd2", "diffusers");
  expect_kind("interchange/ldm_sd1.safetensors", "single-file");
  expect_kind("interchange/lora_kohya.safetensors", "lora-kohya");
  expect_kind("interchange/lora_module.safetensors", "lora-diffusers");
  expect_kind("interchange/lora_old.safetensors", "lora-diffusers-old");
  expect_kind("interchange/lora_in_diffusers.safetensors", "lora-diffusers-peft");
  expect_kind("interchange/lora_peft", "lora-peft");
  expect_kind("losses.safetensors", "safetensors");
  char path[4200];
  struct inspection i = inspect(data_path("interchange/kohya_rest.safetensors", path));
  assert_int_equal(i.rank_least, 1);
  assert_int_equal(i.rank_most, 3);
  assert_int_equal(i.modules, 78);
  assert_true(i.alpha_least < 1.5 && i.alpha_most > 1.5);
  inspection_release(&i);
}

static void expect_problem(const char *path, const char *piece) {
  struct inspection i = inspect(path);
  bool found = false;
  for (int k = 0; k < i.problems; k++) found = found || strstr(i.problem[k], piece) != NULL;
  if (!found)
    fail_msg("%s: no problem \"%s\" among %d, the first of which is %s", path, piece, i.problems, i.problems > 0 ? i.problem[0] : "-");
  inspection_release(&i);
}

static void test_inspect_problems(void **state) {
  (void)state;
  char path[4200], from[4200];
  struct err e = {0};
  struct blob blob;
  const float x[2] = {1, NAN};
  const struct st_entry t[2] = {{.name = "a", .rank = 1, .dim = {2}, .data = x}, {.name = "b", .rank = 1, .dim = {1}, .data = x}};
  const struct st_pair wrong = {"sshs_model_hash", "0123"};
  assert_true(st_write(in_dir("nan.safetensors", path), t, 2, &wrong, 1, &e));
  expect_problem(path, "\"a\" holds 1 values that are not finite");
  expect_problem(path, "sshs_model_hash");
  assert_true(blob_map(data_path("interchange/lora_kohya.safetensors", from), &blob, &e));
  assert_true(write_file(in_dir("cut.safetensors", path), blob.data, blob.size - 9, &e));
  expect_problem(path, "end of the file");
  blob_close(&blob);
  assert_true(write_file(path, "\xff\xff\xff\xff\xff\xff\xff\x0f{}", 10, &e));
  expect_problem(path, "header length");
  assert_true(write_file(in_dir("old.ckpt", path), "PK\3\4pickle", 10, &e));
  expect_problem(path, "pickles");
  assert_true(make_dirs(in_dir("broken/unet", path), &e) && write_file(in_dir("broken/unet/config.json", path), "{", 1, &e));
  expect_problem(in_dir("broken", path), "unet/config.json: not valid JSON");
  expect_problem(path, "vae");
}

/* Every tensor that a network lacks is named, not only the first. */
static void test_inspect_missing(void **state) {
  (void)state;
  char path[4200], from[4200];
  struct err e = {0};
  struct source s;
  static const char *const copied[] = {"unet/config.json",
                                       "text_encoder/config.json",
                                       "text_encoder/model.safetensors",
                                       "vae/config.json",
                                       "vae/diffusion_pytorch_model.safetensors",
                                       "scheduler/scheduler_config.json"};
  source_dir(&s, data_path("sd1", from));
  for (size_t i = 0; i < sizeof copied / sizeof *copied; i++) {
    char name[128];
    struct blob blob;
    snprintf(name, sizeof name, "missing/%s", copied[i]);
    *strrchr(in_dir(name, path), '/') = 0;
    assert_true(make_dirs(path, &e) && source_open(&s, copied[i], &blob, &e));
    assert_true(write_file(in_dir(name, path), blob.data, blob.size, &e));
    blob_close(&blob);
  }
  const float x = 0;
  const struct st_entry one = {.name = "conv_in.bias", .rank = 1, .dim = {1}, .data = &x};
  assert_true(st_write(in_dir("missing/unet/diffusion_pytorch_model.safetensors", path), &one, 1, NULL, 0, &e));
  expect_problem(in_dir("missing", path), "\"conv_in.weight\" is missing");
  expect_problem(path, "\"conv_in.bias\" has the shape [1]");
  expect_problem(path, "time_embedding.linear_1.weight");
  expect_problem(path, "more problems");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_single_files),
                                     cmocka_unit_test(test_loras_of_python),
                                     cmocka_unit_test(test_there_and_back),
                                     cmocka_unit_test(test_layout_of_single_files),
                                     cmocka_unit_test(test_merge),
                                     cmocka_unit_test(test_lora_dialects_round),
                                     cmocka_unit_test(test_kohya_metadata),
                                     cmocka_unit_test(test_nothing_is_overwritten),
                                     cmocka_unit_test(test_too_large_for_fp16),
                                     cmocka_unit_test(test_refused_loras),
                                     cmocka_unit_test(test_lora_of_another_model),
                                     cmocka_unit_test(test_peft_configs),
                                     cmocka_unit_test(test_refused_single_files),
                                     cmocka_unit_test(test_old_names),
                                     cmocka_unit_test(test_published_shapes),
                                     cmocka_unit_test(test_yaml),
                                     cmocka_unit_test(test_inspect_kinds),
                                     cmocka_unit_test(test_inspect_problems),
                                     cmocka_unit_test(test_inspect_missing)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
