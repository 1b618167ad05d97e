/* CLIP's tokenizer with its full vocabulary, against tests/reference/dump_tokenizer.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/clip_files.h"
#include "parity.h"

enum { LENGTH = 77 };

/* Whether a line's ids are what the tokenizer gives, padding included. */
static bool same(const struct tokenizer *t, const char *line, int32_t pad) {
  int32_t out[LENGTH];
  int i = 0;
  cJSON *row_ = cJSON_ParseWithLength(line, strcspn(line, "\n"));
  const cJSON *ids = cJSON_GetObjectItem(row_, "ids"), *id;
  bool ok = tokenizer_prompt(t, cJSON_GetStringValue(cJSON_GetObjectItem(row_, "s")), out, LENGTH, NULL) >= 0;
  cJSON_ArrayForEach(id, ids) ok = ok && i < LENGTH && out[i++] == id->valueint;
  for (; i < LENGTH; i++) ok = ok && out[i] == pad;
  cJSON_Delete(row_);
  return ok;
}

void parity_tokenizer(struct report *r) {
  struct err e = {0};
  char *merges = clip_unzip(data_path("tokenizer/merges.txt.gz")), *strings = clip_unzip(data_path("tokenizer/strings.jsonl.gz"));
  char *vocab = merges ? clip_vocabulary_of(merges) : NULL, name[96];
  struct tokenizer *t = vocab ? clip_open_texts(vocab, merges, CLIP_NAMED("<|endoftext|>"), NULL, &e) : NULL;
  int rows = 0, different = 0;
  for (const char *line = strings; t && line && *line; line = strchr(line, '\n') + 1, rows++) different += !same(t, line, 49407);
  snprintf(name, sizeof name, "tokenizer, %d strings, full vocabulary: differences", rows);
  if (t && strings)
    row(r, name, different, different, 0);
  else
    row_error(r, "tokenizer", &e);
  tokenizer_close(t);
  free(merges);
  free(strings);
  cJSON_free(vocab);
}
