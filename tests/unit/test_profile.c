/* Profiles: the table of keys, defaults of the two modes, and what each wrong profile is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "assets/embedded.h"
#include "diffusion/sampler.h"
#include "folder.h"
#include "profile.h"
#include "train/optimizer.h"

/* Enough to be complete. */
#define BASE "[model]\npath = embedded\n[subject]\nclass = dog\nimages = photos\n"

struct fixture {
  char dir[256], path[512];
};

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  folder_make(f->dir, sizeof f->dir);
  snprintf(f->path, sizeof f->path, "%s/p.ini", f->dir);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  folder_remove(f->dir);
  free(f);
  return 0;
}

static void write_bytes(const struct fixture *f, const char *text, size_t n) {
  FILE *file = fopen(f->path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(text, 1, n, file), n);
  fclose(file);
}

static bool load(const struct fixture *f, const char *text, struct profile *p, struct err *e) {
  write_bytes(f, text, strlen(text));
  return profile_load(p, f->path, embedded_files, NULL, 0, e);
}

/* The text is refused with the code, and the message holds each of the (at most three) pieces. */
static void refused(const struct fixture *f, const char *text, enum err_code code, const char *a, const char *b, const char *c) {
  struct profile p;
  struct err e = {0};
  assert_false(load(f, text, &p, &e));
  profile_release(&p);
  if (e.code != code || !strstr(e.text, a) || !strstr(e.text, b) || !strstr(e.text, c)) fail_msg("%d: %s", e.code, e.text);
}

static void test_defaults(void **state) {
  struct profile p;
  struct err e = {0};
  assert_true(load(*state, BASE, &p, &e));
  const struct settings *s = &p.settings;
  assert_int_equal(s->train.mode, MODE_LORA);
  assert_false(s->train.text_encoder || s->losses.prior || s->losses.mask_prior);
  assert_true(s->losses.instance && s->losses.pdm && s->losses.mask_dm && s->losses.mask_pdm);
  assert_true(s->train.lr > 0.99e-4 && s->train.lr < 1.01e-4);
  assert_int_equal(s->train.steps, 700);
  assert_int_equal(s->train.width, 512);
  assert_int_equal(s->train.height, 512);
  assert_int_equal(s->losses.pdm_steps, 999);
  assert_string_equal(s->prompts.instance, "a photo of sks dog");
  assert_string_equal(s->prompts.class_prompt, "a photo of dog");
  assert_string_equal(s->subject.name, "photos");
  assert_string_equal(p.name, "p");
  profile_release(&p);
}

static void test_defaults_full(void **state) {
  struct profile p;
  struct err e = {0};
  assert_true(load(*state, BASE "[train]\nmode = full\nmax_train_steps = 20\n", &p, &e));
  assert_true(p.settings.train.text_encoder && p.settings.losses.prior);
  assert_true(p.settings.train.lr > 0.99e-6 && p.settings.train.lr < 1.01e-6);
  assert_int_equal(p.settings.train.steps, 20);
  assert_int_equal(p.settings.prior.images, 20); /* as many as steps */
  profile_release(&p);
}

static void test_types(void **state) {
  struct profile p;
  struct err e = {0};
  assert_true(
      load(*state,
           BASE
           "mask_dir = ../masks\n[prompts]\n  test = one {token}\ntest = zwei {class} \xc3\xa4 ; comment\n[train]\nresolution = 64x96\n"
           "mixed_precision = no\nseed = 18446744073709551615\nflip = YES\nschedule = cosine\nlr = 2e-5\n[engine]\nmemory = 1.5G\n"
           "[checkpoints]\ndtype = fp16\n",
           &p, &e));
  const struct settings *s = &p.settings;
  const struct fixture *f = *state;
  char want[600];
  snprintf(want, sizeof want, "%s/../masks", f->dir);
  assert_string_equal(s->subject.mask_dir, want);
  assert_int_equal(s->prompts.tests, 2);
  assert_string_equal(s->prompts.test[0], "one sks");
  assert_string_equal(s->prompts.test[1], "zwei dog \xc3\xa4");
  assert_int_equal(s->train.width, 64);
  assert_int_equal(s->train.height, 96);
  assert_int_equal(s->train.precision, PRECISION_FP32);
  assert_true(s->train.seed == UINT64_MAX && s->train.flip);
  assert_int_equal(s->train.schedule, LR_COSINE);
  assert_true(s->train.lr_cycles > 0.49 && s->train.lr_cycles < 0.51);
  assert_true(s->engine.memory == 3LL << 29);
  assert_int_equal(s->checkpoints.dtype, DT_F16);
  profile_release(&p);
}

static void test_set(void **state) {
  static const char *const sets[] = {"train.learning_rate=0.5", "prompts.test=x {token}", "prompts.test=y", "train.lr=0.25",
                                     "subject.images=here"};
  const struct fixture *f = *state;
  struct profile p;
  struct err e = {0};
  const char *text = BASE "[prompts]\ntest = a\ntest = b\ntest = c\n[train]\nlr = 0.75\n";
  write_bytes(f, text, strlen(text));
  char cwd[4096], want[4200];
  assert_non_null(getcwd(cwd, sizeof cwd));
  assert_true(profile_load(&p, f->path, embedded_files, sets, 5, &e));
  assert_true(p.settings.train.lr > 0.249 && p.settings.train.lr < 0.251);
  assert_int_equal(p.settings.prompts.tests, 2);
  assert_string_equal(p.settings.prompts.test[0], "x sks");
  snprintf(want, sizeof want, "%s/here", cwd);
  assert_string_equal(p.settings.subject.images, want);
  profile_release(&p);
  static const char *const bad[] = {"trainlr", "train.lrr=1", "train.lr=x", "train.lr", "prompts.test=a ;b", "prompts.test=\xff"};
  for (int i = 0; i < 6; i++) {
    e = (struct err){0};
    assert_false(profile_load(&p, f->path, embedded_files, &bad[i], 1, &e));
    assert_int_equal(e.code, ERR_USAGE);
    assert_non_null(strstr(e.text, "--set"));
    profile_release(&p);
  }
}

/* The frozen profile read again gives the same frozen profile. */
static void test_frozen(void **state) {
  struct profile p, q;
  struct err e = {0};
  static const char *const sets[] = {"train.lr=1.23456789e-7", "train.target=to_q", "train.resolution=32x48",
                                     "train.seed=18446744073709551615"};
  assert_true(profile_load(&p, "embedded:demo", embedded_files, sets, 4, &e));
  char *first = profile_text(&p);
  assert_non_null(first);
  assert_true(load(*state, first, &q, &e));
  char *second = profile_text(&q);
  assert_string_equal(first, second);
  free(first);
  free(second);
  profile_release(&p);
  profile_release(&q);
}

static void test_shipped(void **state) {
  (void)state;
  struct profile p;
  struct err e = {0};
  static const char *const local = "model.path=embedded", *const name[] = {"embedded:demo", "embedded:sd15-full", "embedded:sd15-lora"};
  for (int i = 0; i < 3; i++) {
    if (!profile_load(&p, name[i], embedded_files, &local, 1, &e)) fail_msg("%s: %s", name[i], e.text);
    profile_release(&p);
  }
}

static void test_table(void **state) {
  (void)state;
  struct settings s = {0};
  struct strings owner = {0};
  for (int i = 0; i < SAMPLER_KINDS; i++) {
    assert_true(key_store(key_find("samples", "sampler"), sampler_names[i], &owner, &s));
    assert_int_equal(s.samples.sampler, i);
  }
  for (int i = 0; i < LR_KINDS; i++) {
    assert_true(key_store(key_find("train", "schedule"), lr_names[i], &owner, &s));
    assert_int_equal(s.train.schedule, i);
  }
  for (int i = 0; i < key_count; i++) { /* names and aliases are unique within a section, defaults are allowed, help is one sentence */
    const struct key *k = &keys[i];
    assert_ptr_equal(key_find(k->section, k->name), k);
    if (k->full[0] != '@' && k->type != KEY_LIST) assert_true(key_store(k, k->full, &owner, &s) && key_store(k, k->lora, &owner, &s));
    assert_true(k->help[strlen(k->help) - 1] == '.');
  }
  strings_release(&owner);
}

static void test_unknown(void **state) {
  refused(*state, "[train]\nstepz = 3\n", ERR_USAGE, "p.ini:2: ", "unknown key [train] stepz", "did you mean [train] steps?");
  refused(*state, "[train]\n\nprior_wieght = 3\n", ERR_USAGE, "p.ini:3: ", "unknown key", "[losses] prior_weight?");
  refused(*state, "[trian]\nsteps = 3\n", ERR_USAGE, "p.ini:2: ", "unknown section", "[train] steps?");
  refused(*state, "[train]\nqqqqqqqqqqqq = 3\n", ERR_USAGE, "p.ini:2: ", "unknown key", "pdmbooth-profile(5)");
  refused(*state, "steps = 3\n", ERR_USAGE, "p.ini:1: ", "before the first [section]", "[train] steps");
}

static void test_values(void **state) {
  refused(*state, "[train]\nsteps = -1\n", ERR_USAGE, "p.ini:2: ", "[train] steps = -1", "a whole number from 1 to 10000000");
  refused(*state, "[train]\nsteps = 3.5\n", ERR_USAGE, "p.ini:2: ", "steps = 3.5", "whole number");
  refused(*state, "[train]\nrank = 0\n", ERR_USAGE, "p.ini:2: ", "rank = 0", "from 1");
  refused(*state, "[train]\nlr = fast\n", ERR_USAGE, "p.ini:2: ", "lr = fast", "a number from 0 to 1");
  refused(*state, "[train]\nlr = nan\n", ERR_USAGE, "p.ini:2: ", "lr = nan", "a number");
  refused(*state, "[train]\nmode = half\n", ERR_USAGE, "p.ini:2: ", "mode = half", "full or lora");
  refused(*state, "[train]\nflip = maybe\n", ERR_USAGE, "p.ini:2: ", "flip = maybe", "true or false");
  refused(*state, "[train]\nresolution = 64xx\n", ERR_USAGE, "p.ini:2: ", "resolution = 64xx", "512x768");
  refused(*state, "[train]\nmixed_precision = fp8\n", ERR_USAGE, "p.ini:2: ", "precision = fp8", "fp32, bf16, fp16 or tf32");
  refused(*state, "[engine]\nmemory = lots\n", ERR_USAGE, "p.ini:2: ", "memory = lots", "12G");
  refused(*state, "[samples]\nsampler = magic\n", ERR_USAGE, "p.ini:2: ", "pndm, ddim, dpmpp_2m or euler", "");
  refused(*state, "[train]\nsteps = 3\nmax_train_steps = 4\n", ERR_USAGE, "p.ini:3: ", "already given at", "p.ini:2");
}

static void test_checks(void **state) {
  refused(*state, "[subject]\nclass = dog\nimages = x\n", ERR_USAGE, "p.ini: ", "[model] path is not given", "");
  refused(*state, "[model]\npath = embedded\n[subject]\nclass = dog\n", ERR_USAGE, "p.ini: ", "[subject] images is not given", "");
  refused(*state, "[model]\npath = embedded\n[subject]\nimages = x\n", ERR_USAGE, "p.ini: ", "{class}", "[subject] class is not given");
  refused(*state, BASE "[losses]\ninstance = false\npdm = no\n", ERR_USAGE, "p.ini:7: ", "all off", "");
  refused(*state, BASE "[prompts]\nclass =\n", ERR_USAGE, "p.ini:7: ", "[prompts] class must not be empty", "");
}

static void test_model(void **state) {
  setenv("HF_HUB_CACHE", "/nonexistent/hub", 1);
  refused(*state, "[model]\npath = ./none\n[subject]\nclass = dog\nimages = x\n", ERR_INPUT, "p.ini:2: ", "/none", "no such directory");
  refused(*state, "[model]\npath = org/name\n[subject]\nclass = dog\nimages = x\n", ERR_INPUT, "org/name", "/nonexistent/hub", "download");
  refused(*state, "[model]\npath = ./p.ini/x\n[subject]\nclass = dog\nimages = x\n", ERR_INPUT, "p.ini:2: ", "p.ini/x", "no such directory or file");
}

static void test_hub(void **state) {
  const struct fixture *f = *state;
  char path[1024], commit[600];
  struct err e = {0};
  struct profile p;
  snprintf(commit, sizeof commit, "%s/hub/models--org--name/snapshots/abc", f->dir);
  assert_true(make_dirs(commit, &e));
  snprintf(path, sizeof path, "%s/hub/models--org--name/refs", f->dir);
  assert_true(make_dirs(path, &e));
  snprintf(path, sizeof path, "%s/hub/models--org--name/refs/main", f->dir);
  assert_true(write_file(path, "abc\n", 4, &e));
  snprintf(path, sizeof path, "%s/hub", f->dir);
  setenv("HF_HUB_CACHE", path, 1);
  assert_true(load(f, "[model]\npath = org/name\n[subject]\nclass = dog\nimages = x\n", &p, &e));
  assert_string_equal(p.settings.model.path, commit);
  profile_release(&p);
  static const char *const made[] = {"refs/main", "refs", "snapshots/abc", "snapshots", ""};
  for (int i = 0; i < 5; i++) {
    snprintf(path, sizeof path, "%s/hub/models--org--name/%s", f->dir, made[i]);
    assert_int_equal(remove(path), 0);
  }
  snprintf(path, sizeof path, "%s/hub", f->dir);
  rmdir(path);
}

static void test_bytes(void **state) {
  const struct fixture *f = *state;
  struct profile p;
  struct err e = {0};
  write_bytes(f, "[prompts]\ntest = a\0b\n", 21);
  assert_false(profile_load(&p, f->path, embedded_files, NULL, 0, &e));
  profile_release(&p);
  assert_int_equal(e.code, ERR_USAGE);
  assert_non_null(strstr(e.text, "p.ini:2: there is a NUL byte"));
  refused(f, "[prompts]\n\ntest = \xff\xfe\n", ERR_USAGE, "p.ini:3: ", "not valid UTF-8", "");
  refused(f, "[prompts]\nnonsense\n", ERR_USAGE, "p.ini:2: ", "key = value", "");
  refused(f, "[prompts\ntest = a\n", ERR_USAGE, "p.ini:1: ", "bracket", "");
  e = (struct err){0};
  assert_false(profile_load(&p, f->dir, embedded_files, NULL, 0, &e));
  profile_release(&p);
  assert_int_equal(e.code, ERR_USAGE);
  assert_non_null(strstr(e.text, "is a directory"));
  e = (struct err){0};
  assert_false(profile_load(&p, "/nonexistent/p.ini", embedded_files, NULL, 0, &e));
  profile_release(&p);
  assert_int_equal(e.code, ERR_INPUT);
}

static void test_long_lines(void **state) {
  const struct fixture *f = *state;
  char *text = malloc(11000000);
  struct profile p;
  struct err e = {0};
  assert_non_null(text);
  int n = snprintf(text, 1000, "%s[prompts]\ntest = ", BASE);
  memset(text + n, 'x', 8000);
  snprintf(text + n + 8000, 8, "\n");
  if (load(f, text, &p, &e)) {
    assert_int_equal(strlen(p.settings.prompts.test[0]), 8000);
  } else {
    assert_non_null(strstr(e.text, "too long for this machine's INI library")); /* an inih that cannot be told to take more */
  }
  profile_release(&p);
  memset(text + n, 'x', 10000000);
  text[n + 10000000] = 0;
  refused(f, text, ERR_USAGE, "p.ini:7: ", "longer than", "");
  free(text);
}

static void test_distance(void **state) {
  (void)state;
  assert_int_equal(edit_distance("steps", "steps"), 0);
  assert_int_equal(edit_distance("stepz", "steps"), 1);
  assert_int_equal(edit_distance("", "abc"), 3);
  assert_int_equal(edit_distance("kitten", "sitting"), 3);
  assert_int_equal(utf8_step((const unsigned char *)"\xc3\xa4", 2), 2);
  assert_int_equal(utf8_step((const unsigned char *)"\xc0\x80", 2), 0);
  assert_int_equal(utf8_step((const unsigned char *)"\xed\xa0\x80", 3), 0);
  assert_int_equal(utf8_step((const unsigned char *)"\xf0\x9f\x90\xa9", 4), 4);
  assert_int_equal(utf8_step((const unsigned char *)"\xf0\x9f\x90", 3), 0);
}

/* Files beside each other in a folder of their own. */
static void write_beside(const struct fixture *f, const char *name, const char *text) {
  char path[600];
  struct err e = {0};
  snprintf(path, sizeof path, "%s/%s", f->dir, name);
  if (!write_file(path, text, strlen(text), &e)) fail_msg("%s", e.text);
}

static void make_sub(const struct fixture *f) {
  char path[600];
  struct err e = {0};
  snprintf(path, sizeof path, "%s/sub", f->dir);
  assert_true(make_dirs(path, &e));
}

static void remove_beside(const struct fixture *f, const char *const *names, int n) {
  char path[600];
  for (int i = 0; i < n; i++) {
    snprintf(path, sizeof path, "%s/%s", f->dir, names[i]);
    assert_int_equal(remove(path), 0);
  }
}

static void test_base(void **state) {
  const struct fixture *f = *state;
  struct profile p, q;
  struct err e = {0};
  char want[600];
  make_sub(f);
  write_beside(
      f, "sub/a.ini",
      "[profile]\nbase = b.ini\n[subject]\nimages = near\n[prompts]\ntest = one\ntest = two\n[train]\nlr = 0.5\nmax_train_steps = 7\n");
  write_beside(
      f, "sub/b.ini",
      "[train]\nmode = full\nlr = 0.75\nbatch = 3\n[prompts]\ntest = lost\n[subject]\nmask_dir = far\n[profile]\nbase = embedded:demo\n");
  if (!load(f, "[train]\nsteps = 9\n[profile]\nbase = sub/a.ini\n", &p, &e)) fail_msg("%s", e.text);
  const struct settings *s = &p.settings;
  assert_true(s->train.steps == 9 && s->train.batch == 3 && s->train.lr > 0.49 && s->train.lr < 0.51 && s->train.mode == MODE_FULL);
  assert_true(s->prompts.tests == 2 && !strcmp(s->prompts.test[0], "one"));
  snprintf(want, sizeof want, "%s/sub/near", f->dir);
  assert_string_equal(s->subject.images, want);
  snprintf(want, sizeof want, "%s/sub/far", f->dir);
  assert_string_equal(s->subject.mask_dir, want);
  assert_string_equal(s->model.path, "embedded"); /* of the last base */
  assert_string_equal(p.name, "p");
  char *frozen = profile_text(&p);
  assert_null(strstr(frozen, "base ="));
  if (!load(f, frozen, &q, &e)) fail_msg("%s", e.text);
  char *again = profile_text(&q);
  assert_string_equal(frozen, again); /* complete: it gives the same run without its bases */
  free(frozen);
  free(again);
  profile_release(&p);
  profile_release(&q);
  remove_beside(f, (const char *const[]){"sub/a.ini", "sub/b.ini", "sub"}, 3);
}

static void test_base_refused(void **state) {
  const struct fixture *f = *state;
  struct profile p;
  struct err e = {0};
  char name[16], text[64];
  write_beside(f, "a.ini", "[profile]\nbase = b.ini\n");
  write_beside(f, "b.ini", "\n[profile]\nbase = ./a.ini\n");
  refused(f, "[profile]\nbase = a.ini\n", ERR_USAGE, "b.ini:3: [profile] base leads back", "p.ini, whose base is ",
          "a.ini, whose base is ");
  refused(f, "[profile]\nbase = p.ini\n", ERR_USAGE, "p.ini:2: [profile] base leads back", "", "");
  refused(f, "\n[profile]\nbase = none.ini\n", ERR_INPUT, "p.ini:3: [profile] base: cannot read ", "none.ini: No such file", "");
  refused(f, "[profile]\nbase = embedded:none\n", ERR_INPUT, "p.ini:2: [profile] base: embedded:none", "", "");
  refused(f, "[profile]\nbase = a.ini\nbase = b.ini\n", ERR_USAGE, "p.ini:3: [profile] base was already given", "p.ini:2", "");
  write_beside(f, "b.ini", "[train]\nstepz = 3\n");
  refused(f, BASE "[profile]\nbase = a.ini\n", ERR_USAGE, "b.ini:2: unknown key [train] stepz", "", "");
  write_beside(f, "b.ini", "[train]\nsteps = many\n");
  refused(f, BASE "[profile]\nbase = a.ini\n", ERR_USAGE, "b.ini:2: [train] steps = many is not allowed", "", "");
  for (int i = 0; i < 8; i++) {
    snprintf(name, sizeof name, "%d.ini", i);
    snprintf(text, sizeof text, i < 7 ? "[profile]\nbase = %d.ini\n" : "[train]\nsteps = %d\n", i + 1);
    write_beside(f, name, text);
  }
  refused(f, BASE "[profile]\nbase = 0.ini\n", ERR_USAGE, "6.ini:2: [profile] base makes a chain of more than 8 profiles",
          "p.ini, whose base is ", "7.ini");
  assert_true(load(f, BASE "[profile]\nbase = 1.ini\n", &p, &e) && p.settings.train.steps == 8);
  profile_release(&p);
  static const char *const set = "profile.base=a.ini";
  assert_false(profile_load(&p, f->path, embedded_files, &set, 1, &e));
  assert_true(e.code == ERR_USAGE && strstr(e.text, "--set profile.base=a.ini: a base is named in the profile itself"));
  profile_release(&p);
  remove_beside(f, (const char *const[]){"a.ini", "b.ini", "0.ini", "1.ini", "2.ini", "3.ini", "4.ini", "5.ini", "6.ini", "7.ini"}, 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_defaults), TEST(test_defaults_full), TEST(test_types),    TEST(test_set),    TEST(test_frozen),       TEST(test_shipped),
      TEST(test_table),    TEST(test_unknown),       TEST(test_values),   TEST(test_checks), TEST(test_model),        TEST(test_hub),
      TEST(test_bytes),    TEST(test_long_lines),    TEST(test_distance), TEST(test_base),   TEST(test_base_refused),
  };
  return cmocka_run_group_tests_name("profile", tests, NULL, NULL);
}
