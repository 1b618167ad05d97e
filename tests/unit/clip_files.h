/* The files of CLIP's own tokenizer, made from tests/data/tokenizer: for the unit test and for the parity table. */
#ifndef PDMBOOTH_TESTS_CLIP_FILES_H
#define PDMBOOTH_TESTS_CLIP_FILES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cjson/cJSON.h>

#include "formats/tokenizer.h"

enum { CLIP_TEXT_MAX = 8 << 20 };

#define CLIP_NAMED(pad)                                                       \
  "{\"bos_token\": {\"content\": \"<|startoftext|>\", \"normalized\": true}," \
  " \"eos_token\": {\"content\": \"<|endoftext|>\", \"normalized\": true},"   \
  " \"unk_token\": {\"content\": \"<|endoftext|>\", \"normalized\": true}, \"pad_token\": \"" pad "\"}"

/* Text of a gzipped file, malloc'd; NULL where it cannot be read. */
static inline char *clip_unzip(const char *path) {
  char *text = malloc(CLIP_TEXT_MAX + 1);
  gzFile f = gzopen(path, "rb");
  int n = f != NULL && text != NULL ? gzread(f, text, CLIP_TEXT_MAX) : -1;
  if (f != NULL) gzclose(f);
  if (n > 0 && n < CLIP_TEXT_MAX) {
    text[n] = 0;
    return text;
  }
  free(text);
  return NULL;
}

/* CLIP's vocabulary is a function of its merges: bytes, bytes at a word's end, joined pairs, two markers. */
struct clip_builder {
  cJSON *root, *last;
  int n;
};

static inline void clip_builder_add(struct clip_builder *b, const char *token) {
  cJSON *item = cJSON_CreateNumber(b->n++);
  item->string = malloc(strlen(token) + 1);
  memcpy(item->string, token, strlen(token) + 1);
  if (b->last != NULL) { /* appending by hand: 49,408 look-ups in a list would take minutes */
    b->last->next = item;
    item->prev = b->last;
  } else {
    b->root->child = item;
  }
  b->root->child->prev = item;
  b->last = item;
}

static inline void clip_add_byte(struct clip_builder *b, int c, const char *end) {
  char token[16];
  if (c < 0x80)
    snprintf(token, sizeof token, "%c%s", c, end);
  else
    snprintf(token, sizeof token, "%c%c%s", 0xC0 | c >> 6, 0x80 | (c & 63), end);
  clip_builder_add(b, token);
}

static inline void clip_add_bytes(struct clip_builder *b, const char *end) {
  for (int c = 0x21; c < 0x100; c++)
    if (c <= 0x7E || (c >= 0xA1 && c != 0xAD)) clip_add_byte(b, c, end);
  for (int c = 0x100; c < 0x144; c++) clip_add_byte(b, c, end);
}

static inline char *clip_vocabulary_of(const char *merges) {
  struct clip_builder b = {.root = cJSON_CreateObject()};
  clip_add_bytes(&b, "");
  clip_add_bytes(&b, "</w>");
  for (const char *line = strchr(merges, '\n') + 1; *line != 0; line = strchr(line, '\n') + 1) {
    char token[512];
    size_t left = strcspn(line, " "), right = strcspn(line + left + 1, "\n");
    snprintf(token, sizeof token, "%.*s%.*s", (int)left, line, (int)right, line + left + 1);
    clip_builder_add(&b, token);
  }
  clip_builder_add(&b, "<|startoftext|>");
  clip_builder_add(&b, "<|endoftext|>");
  char *text = cJSON_PrintUnformatted(b.root);
  cJSON_Delete(b.root);
  return text;
}

static inline struct tokenizer *clip_open_texts(const char *vocab, const char *merges, const char *config, const char *map, struct err *e) {
  const struct embedded_file file[] = {
      {"m/t/vocab.json", (const unsigned char *)vocab, strlen(vocab)},
      {"m/t/merges.txt", (const unsigned char *)merges, strlen(merges)},
      {"m/t/tokenizer_config.json", (const unsigned char *)config, strlen(config)},
      {map != NULL ? "m/t/special_tokens_map.json" : NULL, (const unsigned char *)map, map != NULL ? strlen(map) : 0},
      {NULL, NULL, 0},
  };
  struct source s;
  source_embedded(&s, file, "m");
  return tokenizer_open(&s, "t", e);
}

#endif
