/* What a tokenizer directory holds, while a tokenizer is built from it: token -> id, and the merges in order of rank. */
#ifndef PDMBOOTH_FORMATS_VOCAB_H
#define PDMBOOTH_FORMATS_VOCAB_H

#include <stdbool.h>
#include <stdint.h>

#include "formats/json.h"

struct vocab;

/* Reads vocab.json and merges.txt, or where they are missing the tokenizer.json that current Python writes instead. */
struct vocab *vocab_open(const struct source *s, const char *dir, struct err *e);
void vocab_close(struct vocab *v);
int32_t vocab_id(const struct vocab *v, const char *token); /* -1 when absent */
int vocab_size(const struct vocab *v);                      /* highest id + 1 */
const char *vocab_name(const struct vocab *v);              /* the file, for messages */
/* tokenizer.json where the vocabulary came from it, else NULL. */
const struct json *vocab_document(const struct vocab *v);

int vocab_merges(const struct vocab *v);
/* i-th merge: the two ids and the id of the joined token. ERR_INPUT where one is not in the vocabulary. */
bool vocab_merge(const struct vocab *v, int i, int32_t *left, int32_t *right, int32_t *joined, struct err *e);

#endif
