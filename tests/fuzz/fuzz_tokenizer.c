/* Prompts through a real tokenizer (text), and files of a tokenizer (parts cut at 0xFF: vocab.json, merges.txt, tokenizer_config.json,
 * special_tokens_map.json) through which one prompt goes. The first byte chooses. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/tokenizer.h"

#include "fuzz.h"

enum { LENGTH = 77 };

static void check_ids(const struct tokenizer *t, const char *text) {
  int32_t ids[LENGTH], all[2 * LENGTH];
  int cut = -1, lost = tokenizer_prompt(t, text, ids, LENGTH, &cut), n = tokenizer_encode(t, text, all, 2 * LENGTH);
  if (lost < 0 || n < 0) return;
  if (lost != (n > LENGTH - 2 ? n - (LENGTH - 2) : 0)) fuzz_fail("the number of tokens cut is wrong");
  if (lost > 0 && (cut < 0 || (size_t)cut >= strlen(text))) fuzz_fail("the place of the cut is not in the text");
  for (int i = 0; i < LENGTH; i++)
    if (ids[i] < 0 || ids[i] >= tokenizer_vocabulary(t)) fuzz_fail("an id outside of the vocabulary");
  for (int i = 0; i < n && i < 2 * LENGTH; i++)
    if (all[i] < 0 || all[i] >= tokenizer_vocabulary(t)) fuzz_fail("an id outside of the vocabulary");
}

static const struct tokenizer *real(void) {
  static struct tokenizer *t;
  struct source s;
  struct err e = {0};
  char path[4096];
  const char *top = getenv("TEST_SRCDIR");
  if (t != NULL) return t;
  snprintf(path, sizeof path, "%s/tests/data/sd1", top != NULL ? top : ".");
  source_dir(&s, path);
  t = tokenizer_open(&s, "tokenizer", &e);
  if (t == NULL) fuzz_fail(e.text);
  return t;
}

static void made_of(const uint8_t *data, size_t n) {
  struct embedded_file files[] = {{"t/vocab.json", NULL, 0},
                                  {"t/merges.txt", NULL, 0},
                                  {"t/tokenizer_config.json", NULL, 0},
                                  {"t/special_tokens_map.json", NULL, 0},
                                  {NULL, NULL, 0}};
  struct source s;
  struct err e = {0};
  fuzz_split(data, n, files, 4);
  source_embedded(&s, files, "");
  struct tokenizer *t = tokenizer_open(&s, "t", &e);
  fuzz_check_error(t != NULL, &e);
  if (t == NULL) return;
  check_ids(t, "a photo of sks dog's <|endoftext|> caf\xc3\xa9 12");
  tokenizer_close(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  if (n == 0) return 0;
  if (data[0] % 2 != 0) {
    made_of(data + 1, n - 1);
    return 0;
  }
  char *text = fuzz_text(data + 1, n - 1);
  if (text != NULL) check_ids(real(), text);
  free(text);
  return 0;
}
