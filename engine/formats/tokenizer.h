/* CLIP's byte-pair tokenizer, equal to transformers' CLIPTokenizer (current version) id by id.
 * Normalisation: NFC, whitespace runs to one space, lower case; then CLIP's pattern; then BPE with </w>. Padding and cut to 77. */
#ifndef PDMBOOTH_FORMATS_TOKENIZER_H
#define PDMBOOTH_FORMATS_TOKENIZER_H

#include <stdint.h>

#include "formats/source.h"

struct tokenizer;

/* Reads vocab.json, merges.txt, tokenizer_config.json and special_tokens_map.json in dir ("tokenizer") of s. */
struct tokenizer *tokenizer_open(const struct source *s, const char *dir, struct err *e);
void tokenizer_close(struct tokenizer *t);
/* Ids of text without start, end and padding, at most max of them in out; returns how many there are in all (may exceed max). -1: out of memory. */
int tokenizer_encode(const struct tokenizer *t, const char *text, int32_t *out, int max);
/* Start, at most length - 2 tokens, end, padding: fills out[length]. Returns the number of tokens that were cut off (0: none), -1: out of memory.
   cut (may be NULL): byte offset in text where the first token that was cut begins, for a warning. */
int tokenizer_prompt(const struct tokenizer *t, const char *text, int32_t *out, int length, int *cut);
int tokenizer_vocabulary(const struct tokenizer *t); /* highest id + 1 */

#endif
