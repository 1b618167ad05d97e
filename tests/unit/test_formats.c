/* Model sources, hashes, JSON, safetensors and .npy: what is written is read again, what is damaged is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "folder.h"
#include "formats/json.h"
#include "formats/npy.h"
#include "formats/safetensors.h"

static char dir[1024];

static int setup(void **state) {
  (void)state;
  folder_make(dir, sizeof dir);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  folder_remove(dir);
  return 0;
}

static const char *in_dir(const char *name) {
  static char path[1100];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  return path;
}

static void put_file(const char *name, const void *data, size_t n) {
  struct err e = {0};
  if (!write_file(in_dir(name), data, n, &e)) fail_msg("%s", e.text);
}

static void expect_error(const struct err *e, enum err_code code, const char *part) {
  if (e->code != code || strstr(e->text, part) == NULL)
    fail_msg("want code %d and \"%s\", have %d: %s", (int)code, part, (int)e->code, e->text);
}

static void test_sha256(void **state) {
  (void)state;
  char hex[65];
  struct sha256 s;
  sha256_hex("abc", 3, hex);
  assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  sha256_hex("", 0, hex);
  assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  sha256_begin(&s); /* a million times "a", in uneven portions */
  char many[997];
  memset(many, 'a', sizeof many);
  for (size_t left = 1000000; left > 0;) {
    size_t n = left < sizeof many ? left : sizeof many;
    sha256_add(&s, many, n);
    left -= n;
  }
  sha256_end(&s, hex);
  assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void test_source(void **state) {
  (void)state;
  struct source s;
  struct blob b;
  struct err e = {0};
  char name[64], buf[2000];
  put_file("b.txt", "bee", 3);
  put_file("a.txt", "ay", 2);
  put_file("empty", "", 0);
  snprintf(buf, sizeof buf, "%s///", dir);
  source_dir(&s, buf);
  assert_string_equal(s.root, dir);
  assert_true(source_has(&s, "a.txt") && !source_has(&s, "c.txt"));
  assert_true(source_open(&s, "b.txt", &b, &e));
  assert_memory_equal(b.data, "bee", 3);
  blob_close(&b);
  assert_true(source_list(&s, "", 0, name, sizeof name));
  assert_string_equal(name, "a.txt");
  assert_true(source_list(&s, "", 1, name, sizeof name));
  assert_string_equal(name, "b.txt");
  assert_false(source_list(&s, "", 3, name, sizeof name));
  assert_false(source_open(&s, "empty", &b, &e));
  expect_error(&e, ERR_INPUT, "empty");
  e = (struct err){0};
  assert_false(source_open(&s, "c.txt", &b, &e));
  expect_error(&e, ERR_INPUT, "c.txt: cannot open: No such file");
  e = (struct err){0};
  assert_false(blob_map(dir, &b, &e));
  expect_error(&e, ERR_INPUT, "directory");
}

static void test_embedded(void **state) {
  (void)state;
  static const struct embedded_file files[] = {{"m/unet/config.json", (const unsigned char *)"{}", 2},
                                               {"m/b.json", (const unsigned char *)"1", 1},
                                               {"m/a.json", (const unsigned char *)"2", 1},
                                               {"mm/c.json", (const unsigned char *)"3", 1},
                                               {NULL, NULL, 0}};
  struct source s;
  struct blob b;
  struct err e = {0};
  char name[32];
  source_embedded(&s, files, "m");
  assert_true(source_has(&s, "unet/config.json") && !source_has(&s, "unet"));
  assert_true(source_open(&s, "a.json", &b, &e));
  assert_int_equal(b.data[0], '2');
  blob_close(&b);
  assert_true(source_list(&s, "", 0, name, sizeof name));
  assert_string_equal(name, "a.json");
  assert_true(source_list(&s, "", 1, name, sizeof name));
  assert_string_equal(name, "b.json");
  assert_false(source_list(&s, "", 2, name, sizeof name));
  assert_true(source_list(&s, "unet", 0, name, sizeof name));
  assert_false(source_open(&s, "x.json", &b, &e));
  expect_error(&e, ERR_INPUT, "m/x.json");
}

static void test_write_file(void **state) {
  (void)state;
  struct err e = {0};
  struct blob b;
  struct stat st;
  mode_t mask = umask(022);
  umask(mask);
  put_file("f", "one", 3);
  put_file("f", "second", 6);
  assert_true(blob_map(in_dir("f"), &b, &e));
  assert_int_equal(b.size, 6);
  blob_close(&b);
  assert_int_equal(stat(in_dir("f"), &st), 0);
  assert_int_equal(st.st_mode & 0777, 0666 & ~mask);
  assert_int_equal(folder_count(dir), 1); /* no temporary file stays */
  assert_false(write_file(in_dir("f/g"), "x", 1, &e));
  expect_error(&e, ERR_FAILED, "f/g");
  assert_true(make_dirs(in_dir("p"), NULL) && make_dirs(in_dir("p//"), NULL));
  e = (struct err){0};
  assert_false(write_file(in_dir("p"), "x", 1, &e)); /* a directory is in the way of the rename */
  assert_int_equal(folder_count(dir), 2);
  e = (struct err){0};
  assert_false(make_dirs(in_dir("f/sub"), &e));
  expect_error(&e, ERR_FAILED, "/f");
}

static struct json *parse(const char *text, struct err *e) {
  return json_parse(text, strlen(text), "c.json", e);
}

static void test_json_values(void **state) {
  (void)state;
  struct err e = {0};
  struct json *j = parse(
      "{\"i\": 4, \"f\": 0.5, \"b\": true, \"s\": \"x\xC3\xA9\", \"n\": null,"
      " \"l\": [1, 2, 3], \"t\": [\"p\", \"q\"]} \n",
      &e);
  int64_t i = 0, list[4] = {0, 0, 0, 9};
  double f = 0;
  bool b = false;
  char s[8];
  const char *text[3];
  int n = 0;
  assert_non_null(j);
  assert_true(json_int(j, "i", 9, 0, 10, &i, &e) && i == 4);
  assert_true(json_int(j, "n", 9, 0, 10, &i, &e) && i == 9);
  assert_true(json_int(j, "absent", -7, 0, 10, &i, &e) && i == -7);
  assert_true(json_float(j, "f", 9, &f, &e) && f == 0.5);
  assert_true(json_bool(j, "b", false, &b, &e) && b);
  assert_true(json_string(j, "s", "", s, sizeof s, &e));
  assert_string_equal(s, "x\xC3\xA9");
  assert_true(json_string(j, "absent", "yes", s, sizeof s, &e));
  assert_true(json_ints(j, "l", 1, 3, list, 4, &n, &e) && n == 3 && list[2] == 3 && list[3] == 9);
  assert_true(json_ints(j, "i", 1, 9, list, 4, &n, &e) && n == 0 && list[3] == 4);
  assert_true(json_ints(j, "n", 1, 9, list, 4, &n, &e) && n == -1);
  assert_true(json_strings(j, "t", text, 3, &n, &e) && n == 2);
  assert_string_equal(text[1], "q");
  assert_true(json_has(j, "i") && !json_has(j, "n") && json_is_list(j, "l") && !json_is_list(j, "i"));
  assert_int_equal(e.code, ERR_OK);
  json_close(j);
}

static void test_json_wrong(void **state) {
  (void)state;
  struct err e = {0};
  struct json *j = parse("{\"s\": \"text\", \"f\": 1.5, \"big\": 1e300, \"l\": [1, \"x\"], \"e\": [], \"inf\": 1e999}", &e);
  int64_t i, list[4];
  double f;
  bool b;
  char s[3];
  const char *text[3];
  int n;
  assert_non_null(j);
#define REFUSED(call, part) \
  e = (struct err){0};      \
  assert_false(call);       \
  expect_error(&e, ERR_INPUT, part)
  REFUSED(json_int(j, "s", 0, 1, 8, &i, &e), "c.json: \"s\" must be an integer from 1 to 8");
  REFUSED(json_int(j, "f", 0, 1, 8, &i, &e), "\"f\"");
  REFUSED(json_int(j, "big", 0, 1, 8, &i, &e), "\"big\"");
  REFUSED(json_float(j, "s", 0, &f, &e), "\"s\" must be a number");
  REFUSED(json_float(j, "inf", 0, &f, &e), "\"inf\"");
  REFUSED(json_bool(j, "s", true, &b, &e), "true or false");
  REFUSED(json_string(j, "f", "", s, sizeof s, &e), "must be a string");
  REFUSED(json_string(j, "s", "", s, sizeof s, &e), "longer than 2");
  REFUSED(json_ints(j, "l", 0, 9, list, 4, &n, &e), "\"l\"");
  REFUSED(json_ints(j, "l", 0, 9, list, 1, &n, &e), "\"l\"");
  REFUSED(json_ints(j, "e", 0, 9, list, 4, &n, &e), "\"e\"");
  REFUSED(json_strings(j, "l", text, 3, &n, &e), "\"l\"");
  json_close(j);
  REFUSED(parse("{\"a\": 1", &e) != NULL, "not valid JSON");
  REFUSED(parse("{} x", &e) != NULL, "not valid JSON");
  REFUSED(parse("", &e) != NULL, "not valid JSON");
  char deep[20001];
  memset(deep, '[', sizeof deep - 1);
  deep[sizeof deep - 1] = 0;
  REFUSED(parse(deep, &e) != NULL, "nested more than 1000 deep");
}

/* --- safetensors ------------------------------------------------------------------------------------------------------ */

static void test_safetensors_round_trip(void **state) {
  (void)state;
  static const float x[6] = {1, -2, 0.5f, 65504, 1e-7f, 3.14159f};
  static const int32_t ids[2] = {-5, 77};
  static const unsigned char bytes[3] = {1, 2, 3};
  const struct st_entry entry[] = {
      {.name = "z.bytes", .type = DT_U8, .rank = 1, .dim = {3}, .data = bytes, .data_type = DT_U8},
      {.name = "b.half", .type = DT_F16, .rank = 2, .dim = {2, 3}, .data = x, .data_type = DT_F32},
      {.name = "a.brain", .type = DT_BF16, .rank = 1, .dim = {6}, .data = x, .data_type = DT_F32},
      {.name = "m.full", .type = DT_F32, .rank = 2, .dim = {3, 2}, .data = x, .data_type = DT_F32},
      {.name = "c.scalar", .type = DT_F32, .rank = 0, .dim = {0}, .data = x, .data_type = DT_F32},
      {.name = "d.ids", .type = DT_I32, .rank = 1, .dim = {2}, .data = ids, .data_type = DT_I32},
      {.name = "e.\"odd\" \xC3\xA9", .type = DT_F32, .rank = 1, .dim = {1}, .data = x, .data_type = DT_F32},
      {.name = "f.none", .type = DT_F32, .rank = 2, .dim = {0, 4}, .data = x, .data_type = DT_F32},
  };
  const struct st_pair meta[] = {{"ss_network_dim", "4"}, {"format", "ignored"}};
  struct err e = {0};
  struct blob b;
  float out[6];
  if (!st_write(in_dir("w.safetensors"), entry, 8, meta, 2, &e)) fail_msg("%s", e.text);
  assert_true(blob_map(in_dir("w.safetensors"), &b, &e));
  assert_memory_equal(b.data + 8, "{\"", 2);
  assert_int_equal((b.data[0] | b.data[1] << 8) % 8, 0);
  blob_close(&b);
  struct st_file *f = st_open_path(in_dir("w.safetensors"), &e);
  if (f == NULL) fail_msg("%s", e.text);
  assert_int_equal(st_count(f), 8);
  assert_string_equal(st_metadata(f, "format"), "pt");
  assert_string_equal(st_metadata(f, "ss_network_dim"), "4");
  assert_null(st_metadata(f, "absent"));
  assert_null(st_find(f, "absent"));
  assert_string_equal(st_at(f, 0)->name, "a.brain");
  assert_true(st_floats(st_find(f, "m.full"), 0, 6, out));
  assert_memory_equal(out, x, sizeof x);
  assert_true(st_floats(st_find(f, "b.half"), 1, 3, out));
  for (int i = 0; i < 3; i++) assert_int_equal(f32_to_f16(out[i]), f32_to_f16(x[1 + i]));
  assert_true(st_floats(st_find(f, "a.brain"), 5, 1, out));
  assert_int_equal(f32_to_bf16(out[0]), f32_to_bf16(x[5]));
  assert_true(st_floats(st_find(f, "d.ids"), 0, 2, out) && out[0] == -5);
  assert_false(st_floats(st_find(f, "m.full"), 0, 7, out));
  assert_false(st_floats(st_find(f, "m.full"), -1, 1, out));
  assert_false(st_floats(st_find(f, "z.bytes"), 0, 1, out));
  assert_int_equal(st_find(f, "c.scalar")->rank, 0);
  assert_int_equal(st_find(f, "f.none")->bytes, 0);
  assert_non_null(st_find(f, "e.\"odd\" \xC3\xA9"));
  st_close(f);
}

/* Every half there is, by the fast loop and by the plain function. */
static void test_halves(void **state) {
  (void)state;
  static uint16_t half[0x10000 + 7];
  static float out[0x10000 + 7];
  struct err e = {0};
  for (size_t i = 0; i < sizeof half / sizeof *half; i++) half[i] = (uint16_t)i;
  const struct st_entry entry = {.name = "odd name", .type = DT_F16, .rank = 1, .dim = {0x10000 + 7}, .data = half, .data_type = DT_F16};
  assert_true(st_write(in_dir("h.safetensors"), &entry, 1, NULL, 0, &e));
  struct st_file *f = st_open_path(in_dir("h.safetensors"), &e);
  assert_non_null(f);
  assert_true(st_floats(st_at(f, 0), 0, 0x10000 + 7, out));
  for (size_t i = 0; i < sizeof half / sizeof *half; i++) {
    float want = f16_to_f32(half[i]);
    assert_memory_equal(&out[i], &want, sizeof want);
  }
  st_close(f);
}

static void test_safetensors_write_wrong(void **state) {
  (void)state;
  static const float x[2];
  const struct st_entry twice[] = {{.name = "a", .type = DT_F32, .rank = 1, .dim = {1}, .data = x, .data_type = DT_F32},
                                   {.name = "a", .type = DT_F16, .rank = 1, .dim = {1}, .data = x, .data_type = DT_F32}};
  const struct st_entry kinds[] = {{.name = "a", .type = DT_I32, .rank = 1, .dim = {1}, .data = x, .data_type = DT_F32}};
  struct err e = {0};
  assert_false(st_write(in_dir("w"), twice, 2, NULL, 0, &e));
  expect_error(&e, ERR_FAILED, "name a");
  e = (struct err){0};
  assert_false(st_write(in_dir("w"), kinds, 1, NULL, 0, &e));
  expect_error(&e, ERR_FAILED, "from F32 to I32");
  e = (struct err){0};
  assert_false(st_write(in_dir("no/w"), twice, 1, NULL, 0, &e));
  expect_error(&e, ERR_FAILED, "no/w");
  assert_int_equal(folder_count(dir), 0);
}

/* A file of this header and n data bytes. length 0: the header's true length. */
static void put_safetensors(const char *header, size_t n, uint64_t length) {
  unsigned char file[4096] = {0};
  size_t h = strlen(header);
  assert_true(8 + h + n <= sizeof file);
  length = length == 0 ? h : length;
  for (int i = 0; i < 8; i++) file[i] = (unsigned char)(length >> 8 * i);
  memcpy(file + 8, header, h);
  put_file("t.safetensors", file, 8 + h + n);
}

#define T(name, dtype, shape, from, to) "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"

static void test_safetensors_damaged(void **state) {
  (void)state;
  static const struct {
    const char *header;
    size_t data;
    uint64_t length;
    const char *part;
  } row[] = {
      {"{" T("a", "F32", "[2]", "0", "8") "}", 7, 0, "tensor a ends beyond"},
      {"{" T("a", "F32", "[2]", "0", "8") "}", 9, 0, "1 bytes behind"},
      {"{" T("a", "F32", "[2]", "0", "8") "}", 8, (uint64_t)1 << 60, "header length"},
      {"{" T("a", "F32", "[2]", "0", "8") "}", 8, UINT64_MAX, "header length"},
      {"{" T("a", "F32", "[2]", "0", "8") "}", 8, 10, "not valid JSON"},
      {"{" T("a", "F32", "[2]", "0", "8") "," T("b", "F32", "[2]", "4", "12") "}", 12, 0, "overlaps"},
      {"{" T("a", "F32", "[2]", "0", "8") "," T("b", "F32", "[2]", "0", "8") "}", 8, 0, "overlaps"},
      {"{" T("a", "F32", "[2]", "0", "8") "," T("b", "F32", "[2]", "12", "20") "}", 20, 0, "hole"},
      {"{" T("a", "F32", "[2]", "8", "0") "}", 8, 0, "data_offsets"},
      {"{" T("a", "F32", "[2]", "0", "1e300") "}", 8, 0, "data_offsets"},
      {"{" T("a", "F32", "[2]", "-8", "0") "}", 8, 0, "data_offsets"},
      {"{" T("a", "F32", "[2]", "0", "0.5") "}", 8, 0, "data_offsets"},
      {"{" T("a", "F32", "[2]", "0", "8,9") "}", 8, 0, "data_offsets"},
      {"{" T("a", "F32", "[3]", "0", "8") "}", 8, 0, "match its dtype and shape"},
      {"{" T("a", "F16", "[2]", "0", "8") "}", 8, 0, "match its dtype and shape"},
      {"{" T("a", "F4", "[3]", "0", "2") "}", 2, 0, "match its dtype and shape"},
      {"{" T("a", "F32", "[4294967296,4294967296]", "0", "8") "}", 8, 0, "shape"},
      {"{" T("a", "F32", "[4611686018427387904]", "0", "8") "}", 8, 0, "shape"},
      {"{" T("a", "F32", "[-2]", "0", "8") "}", 8, 0, "shape"},
      {"{" T("a", "F32", "2", "0", "8") "}", 8, 0, "shape"},
      {"{" T("a", "F32", "[1,1,1,1,1,1,1,1,2]", "0", "8") "}", 8, 0, "shape"},
      {"{" T("a", "F99", "[2]", "0", "8") "}", 8, 0, "unknown dtype"},
      {"{\"a\":{\"dtype\":3,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, 0, "unknown dtype"},
      {"{\"a\":{\"dtype\":\"F32\"}}", 8, 0, "shape"},
      {"{\"a\":7}", 0, 0, "tensor a is not"},
      {"{" T("a", "F32", "[1]", "0", "4") "," T("a", "F32", "[1]", "4", "8") "}", 8, 0, "two tensors are named a"},
      {"{\"__metadata__\":{\"k\":1}}", 0, 0, "not text"},
      {"{\"__metadata__\":[]}", 0, 0, "not an object"},
      {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, 0, "twice"},
      {"[1,2]", 0, 0, "not a safetensors"},
      {"{]", 0, 0, "not valid JSON"},
  };
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
    struct err e = {0};
    put_safetensors(row[i].header, row[i].data, row[i].length);
    assert_null(st_open_path(in_dir("t.safetensors"), &e));
    expect_error(&e, ERR_INPUT, row[i].part);
    expect_error(&e, ERR_INPUT, "t.safetensors");
  }
  struct err e = {0};
  put_file("t.safetensors", "abc", 3);
  assert_null(st_open_path(in_dir("t.safetensors"), &e));
  expect_error(&e, ERR_INPUT, "not a safetensors");
}

/* Types that are only carried along, zero-sized tensors, padding, no tensor at all: all legal. */
static void test_safetensors_odd(void **state) {
  (void)state;
  struct err e = {0};
  float out[2];
  put_safetensors("{" T("i", "I64", "[2]", "0", "16") "," T("d", "F64", "[]", "16", "24") "," T("n", "F32", "[0,3]", "16", "16") "," T(
                      "q", "F4", "[4]", "24", "26") "}   ",
                  26, 0);
  struct st_file *f = st_open_path(in_dir("t.safetensors"), &e);
  if (f == NULL) fail_msg("%s", e.text);
  assert_false(st_find(f, "i")->known_type);
  assert_string_equal(st_find(f, "i")->dtype_text, "I64");
  assert_true(st_floats(st_find(f, "i"), 0, 2, out) && out[1] == 0);
  assert_true(st_floats(st_find(f, "d"), 0, 1, out));
  assert_true(st_floats(st_find(f, "n"), 0, 0, out));
  assert_false(st_floats(st_find(f, "q"), 0, 1, out));
  st_close(f);
  put_safetensors("{}", 0, 0);
  f = st_open_path(in_dir("t.safetensors"), &e);
  assert_non_null(f);
  assert_int_equal(st_count(f), 0);
  assert_null(st_find(f, "a"));
  st_close(f);
}

static void put_tensor(const char *file, const char *name) {
  static const float x[1] = {3};
  struct err e = {0};
  const struct st_entry entry = {.name = name, .type = DT_F32, .rank = 1, .dim = {1}, .data = x, .data_type = DT_F32};
  assert_true(st_write(in_dir(file), &entry, 1, NULL, 0, &e));
}

static void test_sets(void **state) {
  (void)state;
  struct source s;
  struct err e = {0};
  source_dir(&s, dir);
  assert_null(st_set_open(&s, "", "model", &e));
  expect_error(&e, ERR_INPUT, "model.safetensors: missing");
  put_file("pytorch_model.bin", "x", 1);
  e = (struct err){0};
  assert_null(st_set_open(&s, "", "model", &e));
  expect_error(&e, ERR_INPUT, "pickle");
  put_tensor("model.fp16.safetensors", "half");
  e = (struct err){0};
  struct st_set *set = st_set_open(&s, "", "model", &e);
  assert_non_null(st_set_find(set, "half"));
  st_set_close(set);
  put_tensor("one.safetensors", "a");
  put_tensor("two.safetensors", "b");
  static const char index[] = "{\"weight_map\": {\"a\": \"one.safetensors\", \"b\": \"two.safetensors\"}}";
  put_file("model.safetensors.index.json", index, sizeof index - 1);
  set = st_set_open(&s, "", "model", &e);
  if (set == NULL) fail_msg("%s", e.text);
  assert_int_equal(st_set_files(set), 2);
  assert_non_null(st_set_find(set, "b"));
  assert_null(st_set_find(set, "half"));
  st_set_close(set);
}

static void test_bad_index(void **state) {
  (void)state;
  static const char *const row[][2] = {
      {"{}", "no weight_map"},
      {"{\"weight_map\": {}}", "empty"},
      {"{\"weight_map\": {\"a\": \"../one.safetensors\"}}", "plain file name"},
      {"{\"weight_map\": {\"a\": \"/etc/passwd\"}}", "plain file name"},
      {"{\"weight_map\": {\"a\": 7}}", "plain file name"},
      {"{\"weight_map\": {\"a\": \"gone.safetensors\"}}", "gone.safetensors: cannot open"},
      {"{\"weight_map\": {\"c\": \"one.safetensors\"}}", "lacks the tensor c"},
  };
  struct source s;
  source_dir(&s, dir);
  put_tensor("one.safetensors", "a");
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
    struct err e = {0};
    put_file("model.safetensors.index.json", row[i][0], strlen(row[i][0]));
    assert_null(st_set_open(&s, "", "model", &e));
    expect_error(&e, ERR_INPUT, row[i][1]);
  }
}

/* Files that Python wrote: the small models' dialects. */
static void test_python_files(void **state) {
  (void)state;
  char path[4096];
  struct source s;
  struct err e = {0};
  source_dir(&s, tests_path("data", path, sizeof path));
  struct st_set *set = st_set_open(&s, "sd1/unet", "diffusion_pytorch_model", &e);
  if (set == NULL) fail_msg("%s", e.text);
  assert_non_null(st_set_find(set, "conv_in.weight"));
  st_set_close(set);
  set = st_set_open(&s, "dialects/vae_sharded", "diffusion_pytorch_model", &e);
  if (set == NULL) fail_msg("%s", e.text);
  assert_int_equal(st_set_files(set), 2);
  st_set_close(set);
}

/* --- .npy ------------------------------------------------------------------------------------------------------------- */

static void test_npy_round_trip(void **state) {
  (void)state;
  static const float x[6] = {1, -2, 0.5f, INFINITY, 1e-30f, 3};
  static const int64_t shapes[][3] = {{6}, {2, 3}, {1, 3, 2}, {0}};
  struct err e = {0};
  struct npy a;
  for (int rank = 0; rank <= 3; rank++) {
    assert_true(npy_write(in_dir("x.npy"), rank, shapes[rank > 0 ? rank - 1 : 3], x, &e));
    if (!npy_read(in_dir("x.npy"), &a, &e)) fail_msg("%s", e.text);
    assert_int_equal(a.rank, rank);
    for (int i = 0; i < rank; i++) assert_int_equal(a.dim[i], shapes[rank - 1][i]);
    assert_memory_equal(a.data, x, rank > 0 ? sizeof x : sizeof *x);
    npy_release(&a);
  }
  assert_true(npy_write(in_dir("x.npy"), 1, shapes[3], x, &e) && npy_read(in_dir("x.npy"), &a, &e));
  assert_int_equal(a.dim[0], 0);
  npy_release(&a);
}

static void put_npy(int version, const char *header, const void *data, size_t n) {
  unsigned char file[1024] = "\x93NUMPY";
  size_t h = strlen(header), at = version == 1 ? 10 : 12;
  file[6] = (unsigned char)version;
  file[8] = (unsigned char)h;
  file[9] = (unsigned char)(h >> 8);
  memcpy(file + at, header, h);
  memcpy(file + at + h, data, n);
  put_file("x.npy", file, at + h + n);
}

#define H(descr, order, shape) "{'descr': '" descr "', 'fortran_order': " order ", 'shape': " shape ", }\n"

static void test_npy_types(void **state) {
  (void)state;
  static const double d[2] = {0.25, -8};
  static const int64_t l[2] = {5, -6};
  static const uint16_t half[2] = {0x3c00, 0xc000};
  static const unsigned char u[2] = {1, 200};
  static const struct {
    const char *header;
    const void *data;
    size_t n;
    float want[2];
  } row[] = {
      {H("<f8", "False", "(2,)"), d, sizeof d, {0.25f, -8}},   {H("<i8", "False", "(1, 2)"), l, sizeof l, {5, -6}},
      {H("<f2", "False", "(2,)"), half, sizeof half, {1, -2}}, {H("|u1", "False", "(2, 1)"), u, sizeof u, {1, 200}},
      {H("|b1", "True", "(2,)"), u, sizeof u, {1, 200}},
  };
  for (size_t i = 0; i < sizeof row / sizeof *row; i++)
    for (int version = 1; version <= 2; version++) {
      struct npy a;
      struct err e = {0};
      put_npy(version, row[i].header, row[i].data, row[i].n);
      if (!npy_read(in_dir("x.npy"), &a, &e)) fail_msg("%s", e.text);
      assert_true(a.data[0] == row[i].want[0] && a.data[1] == row[i].want[1]);
      npy_release(&a);
    }
}

static void test_npy_damaged(void **state) {
  (void)state;
  static const char *const row[][2] = {
      {H("<f4", "False", "(3,)"), "truncated"},
      {H("<f4", "False", "(4611686018427387904, 4)"), "damaged"},
      {H("<f4", "False", "(99999999999999999999,)"), "truncated"},
      {H("<f4", "False", "(-1,)"), "damaged"},
      {H("<f4", "False", "(1,1,1,1,1,1,1,1,1)"), "damaged"},
      {H("<f4", "False", "(2"), "damaged"},
      {H("<f4", "True", "(1, 2)"), "Fortran"},
      {H(">f4", "False", "(2,)"), "element type"},
      {H("<c8", "False", "(1,)"), "element type"},
      {"{}", "element type"},
      {"{'descr': '<f4', 'shape': (1,)}", "damaged"},
  };
  static const float x[2] = {1, 2};
  struct npy a;
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
    struct err e = {0};
    put_npy(1, row[i][0], x, sizeof x);
    assert_false(npy_read(in_dir("x.npy"), &a, &e));
    expect_error(&e, ERR_INPUT, row[i][1]);
    assert_null(a.data);
  }
  struct err e = {0};
  put_file("x.npy", "\x93NUMPY\1\0\xff\xff{}", 12);
  assert_false(npy_read(in_dir("x.npy"), &a, &e));
  expect_error(&e, ERR_INPUT, "not a .npy");
}

#define ALONE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sha256),
      ALONE(test_source),
      cmocka_unit_test(test_embedded),
      ALONE(test_write_file),
      cmocka_unit_test(test_json_values),
      cmocka_unit_test(test_json_wrong),
      ALONE(test_safetensors_round_trip),
      ALONE(test_halves),
      ALONE(test_safetensors_write_wrong),
      ALONE(test_safetensors_damaged),
      ALONE(test_safetensors_odd),
      ALONE(test_sets),
      ALONE(test_bad_index),
      cmocka_unit_test(test_python_files),
      ALONE(test_npy_round_trip),
      ALONE(test_npy_types),
      ALONE(test_npy_damaged),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
