/* The tokenizer against the ids that Python's CLIPTokenizer gave (tests/data/tokenizer), and against damaged files. */
#include "formats/tokenizer.h"

#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "clip_files.h"
#include "folder.h"

enum { LENGTH = 77, START = 49406, END = 49407 };

static const char CONFIG_SD1[] = CLIP_NAMED("<|endoftext|>"), CONFIG_SD2[] = CLIP_NAMED("!");

static char *unzip(const char *name) {
  char path[4096];
  char *text = clip_unzip(tests_path(name, path, sizeof path));
  if (text == NULL) fail_msg("%s: cannot read", path);
  return text;
}

struct files {
  char *merges, *vocab, *strings;
  struct tokenizer *sd1, *sd2;
};

static int setup(void **state) {
  struct files *f = calloc(1, sizeof *f);
  struct err e = {0};
  f->merges = unzip("data/tokenizer/merges.txt.gz");
  f->strings = unzip("data/tokenizer/strings.jsonl.gz");
  f->vocab = clip_vocabulary_of(f->merges);
  f->sd1 = clip_open_texts(f->vocab, f->merges, CONFIG_SD1, NULL, &e);
  f->sd2 = clip_open_texts(f->vocab, f->merges, "{}", CONFIG_SD2, &e);
  if (f->sd1 == NULL || f->sd2 == NULL) fail_msg("%s", e.text);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct files *f = *state;
  tokenizer_close(f->sd1);
  tokenizer_close(f->sd2);
  free(f->merges);
  free(f->strings);
  cJSON_free(f->vocab);
  free(f);
  return 0;
}

/* ids holds start, tokens and end; got the padded prompt. */
static bool equal(const cJSON *ids, const int32_t *got, int32_t pad) {
  int i = 0;
  const cJSON *id;
  cJSON_ArrayForEach(id, ids) {
    if (i >= LENGTH || got[i++] != id->valueint) return false;
  }
  for (; i < LENGTH; i++)
    if (got[i] != pad) return false;
  return true;
}

/* Runs every row that has the member key and whose text lacks without; returns how many there were. */
static int compare(const struct tokenizer *t, const char *strings, const char *key, const char *without, int32_t pad) {
  int rows = 0, wrong = 0;
  for (const char *line = strings; *line != 0; line = strchr(line, '\n') + 1) {
    int32_t out[LENGTH];
    cJSON *row = cJSON_ParseWithLength(line, strcspn(line, "\n"));
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(row, "s"));
    const cJSON *ids = cJSON_GetObjectItem(row, key);
    if (ids != NULL && (without == NULL || strstr(text, without) == NULL)) {
      rows++;
      assert_true(tokenizer_prompt(t, text, out, LENGTH, NULL) >= 0);
      if (!equal(ids, out, pad) && wrong++ < 10) print_error("differs: %.*s\n", (int)strcspn(line, "\n"), line);
    }
    cJSON_Delete(row);
  }
  assert_int_equal(wrong, 0);
  return rows;
}

static void test_every_string(void **state) {
  const struct files *f = *state;
  assert_int_equal(tokenizer_vocabulary(f->sd1), 49408);
  assert_true(compare(f->sd1, f->strings, "ids", NULL, END) >= 2500);
}

/* With SD 2's configuration both markers are matched without regard to case. Python also takes "!" out of prompts: not followed. */
static void test_pad_bang(void **state) {
  const struct files *f = *state;
  assert_true(compare(f->sd2, f->strings, "ids_pad_bang", "!", 0) > 0);
  int32_t out[LENGTH];
  assert_int_equal(tokenizer_prompt(f->sd2, "wow!", out, LENGTH, NULL), 0);
  assert_int_equal(out[2], 256);
  assert_int_equal(out[3], END);
  assert_int_equal(out[4], 0);
  assert_int_equal(out[76], 0);
}

static void test_cut(void **state) {
  const struct files *f = *state;
  char text[2000] = "";
  int32_t out[LENGTH], all[400];
  int cut = -1;
  for (int i = 0; i < 80; i++) memcpy(text + 5 * i, "dogs ", 6);
  assert_int_equal(tokenizer_prompt(f->sd1, text, out, LENGTH, &cut), 5);
  assert_int_equal(cut, 75 * 5);
  assert_int_equal(out[0], START);
  assert_int_equal(out[76], END);
  assert_int_equal(tokenizer_encode(f->sd1, text, all, 400), 80);
  assert_int_equal(tokenizer_encode(f->sd1, text, all, 3), 80);
  memcpy(text, "e\xCC\x81  ", 5); /* offsets count bytes of the text as typed */
  cut = -1;
  assert_int_equal(tokenizer_prompt(f->sd1, text, out, 3, &cut), 79);
  assert_int_equal(cut, 5);
  assert_int_equal(tokenizer_prompt(f->sd1, "", out, LENGTH, NULL), 0);
  assert_int_equal(out[1], END);
}

static void test_bad_utf8(void **state) {
  const struct files *f = *state;
  static const char *const bad[] = {"\x80",     "a\xC3",   "\xC0\xAF", "\xED\xA0\x80", "\xF5\x80\x80\x80", "\xF4\x90\x80\x80",
                                    "\xE2\x82", "\xFF\xFE"};
  int32_t out[LENGTH];
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(tokenizer_prompt(f->sd1, bad[i], out, LENGTH, NULL), 0);
}

static void *encode_all(void *arg) {
  const struct files *f = arg;
  int32_t out[LENGTH];
  long sum = 0;
  for (int i = 0; i < 300; i++) {
    tokenizer_prompt(f->sd1, "A Photo of sks dög, <|endoftext|> in the Acropolis'll", out, LENGTH, NULL);
    for (int k = 0; k < LENGTH; k++) sum = (sum * 31 + out[k]) % 1000003;
  }
  return (void *)(intptr_t)sum;
}

static void test_threads(void **state) {
  pthread_t thread[4];
  void *sum[4];
  for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&thread[i], NULL, encode_all, *state), 0);
  for (int i = 0; i < 4; i++) pthread_join(thread[i], &sum[i]);
  for (int i = 1; i < 4; i++) assert_ptr_equal(sum[i], sum[0]);
}

/* The vocabulary of the tiny models lacks most merges; the two ids below were printed by Python. */
static void test_tiny(void **state) {
  (void)state;
  char path[4096];
  struct source s;
  struct err e = {0};
  int32_t out[LENGTH];
  static const int32_t want[] = {1134, 320, 1063, 531, 1028, 893, 1135, 1135};
  source_dir(&s, tests_path("data/sd1", path, sizeof path));
  struct tokenizer *t = tokenizer_open(&s, "tokenizer", &e);
  if (t == NULL) fail_msg("%s", e.text);
  assert_int_equal(tokenizer_prompt(t, "a photo of sks dog", out, LENGTH, NULL), 0);
  assert_memory_equal(out, want, sizeof want);
  tokenizer_close(t);
}

/* A vocabulary without most bytes: what it lacks becomes the unknown token, byte by byte. */
static void test_unknown(void **state) {
  (void)state;
  static const char vocab[] = "{\"a\": 0, \"b</w>\": 1, \"ab</w>\": 2, \"<s>\": 3, \"<e>\": 4, \"<u>\": 5}";
  static const char config[] = "{\"bos_token\": \"<s>\", \"eos_token\": \"<e>\", \"unk_token\": \"<u>\", \"pad_token\": \"<e>\"}";
  static const int32_t want[] = {3, 2, 5, 5, 0, 5, 4, 4};
  struct err e = {0};
  int32_t out[8];
  struct tokenizer *t = clip_open_texts(vocab, "#version: 0.2\na b</w>\n", config, NULL, &e);
  if (t == NULL) fail_msg("%s", e.text);
  assert_int_equal(tokenizer_prompt(t, "AB \xC3\xA9 ax", out, 8, NULL), 0);
  assert_memory_equal(out, want, sizeof want);
  tokenizer_close(t);
}

/* Current Python writes tokenizer.json instead of vocab.json and merges.txt, merges as pairs, added tokens in a list. */
static void test_tokenizer_json(void **state) {
  (void)state;
  static const char text[] =
      "{\"added_tokens\": [{\"id\": 3, \"content\": \"<s>\", \"normalized\": true},"
      " {\"id\": 7, \"content\": \"<New>\", \"normalized\": false}, {\"id\": 4, \"content\": \"<e>\"}],"
      "\"model\": {\"vocab\": {\"a\": 0, \"b</w>\": 1, \"ab</w>\": 2, \"<s>\": 3, \"<e>\": 4},"
      "\"merges\": [[\"a\", \"b</w>\"]]}}";
  static const char config[] = "{\"bos_token\": \"<s>\", \"eos_token\": \"<e>\", \"unk_token\": \"<e>\", \"pad_token\": \"<e>\"}";
  static const int32_t want[] = {3, 2, 3, 7, 2, 4, 4, 4};
  const struct embedded_file file[] = {
      {"t/tokenizer.json", (const unsigned char *)text, sizeof text - 1},
      {"t/tokenizer_config.json", (const unsigned char *)config, sizeof config - 1},
      {NULL, NULL, 0},
  };
  struct source s;
  struct err e = {0};
  int32_t out[8];
  source_embedded(&s, file, "");
  struct tokenizer *t = tokenizer_open(&s, "t", &e);
  if (t == NULL) fail_msg("%s", e.text);
  assert_int_equal(tokenizer_vocabulary(t), 8);
  assert_int_equal(tokenizer_prompt(t, "ab<S><New>ab", out, 8, NULL), 0);
  assert_memory_equal(out, want, sizeof want);
  tokenizer_close(t);
}

static void test_damaged(void **state) {
  (void)state;
  static const char *const bad[][4] = {
      /* vocabulary, merges, configuration, part of the message */
      {"[]", "", "{}", "no vocabulary"},
      {"{}", "", "{}", "no vocabulary"},
      {"{\"a\": \"x\"}", "", "{}", "not a number"},
      {"{\"a\": -1}", "", "{}", "not a number"},
      {"{\"a\": 1e300}", "", "{}", "not a number"},
      {"{\"a\": ", "", "{}", "JSON"},
      {"{\"a\": 0}", "#v\n", "{}", "merges.txt: line 1"},
      {"{\"a\": 0}", "#version\na b c\n", "{}", "line 2"},
      {"{\"a\": 0}", "#version\na b\n", "{}", "<|startoftext|>"},
      {"{\"<|startoftext|>\": 0, \"<|endoftext|>\": 1}", "a b\n", "{}", "merge of \"a\" and \"b\""},
      {"{\"<|startoftext|>\": 0, \"<|endoftext|>\": 1}", "\n", "{\"bos_token\": 3}", "bos_token"},
      {"{\"<|startoftext|>\": 0, \"<|endoftext|>\": 1}", "\n", "{\"added_tokens_decoder\": {\"x\": 3}}", "added tokens"},
      {"{\"<|startoftext|>\": 0, \"<|endoftext|>\": 1}", "\n", "{\"added_tokens_decoder\": {\"1e9\": {\"content\": \"x\"}}}",
       "added tokens"},
      {"{\"<|startoftext|>\": 0, \"<|endoftext|>\": 1}", "\n", "{\"pad_token\": \"nope\"}", "nope"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct err e = {0};
    struct tokenizer *t = clip_open_texts(bad[i][0], bad[i][1], bad[i][2], NULL, &e);
    assert_null(t);
    assert_int_equal(e.code, ERR_INPUT);
    if (strstr(e.text, bad[i][3]) == NULL) fail_msg("case %zu: %s", i, e.text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_string), cmocka_unit_test(test_pad_bang), cmocka_unit_test(test_cut),
      cmocka_unit_test(test_bad_utf8),     cmocka_unit_test(test_threads),  cmocka_unit_test(test_tiny),
      cmocka_unit_test(test_unknown),      cmocka_unit_test(test_damaged),  cmocka_unit_test(test_tokenizer_json),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
