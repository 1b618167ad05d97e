/* The files of CLIP's own tokenizer, which every full-size Stable Diffusion 1.x and 2.x uses, for checkpoints that bring none. */
#ifndef PDMBOOTH_CONVERT_CLIP_VOCAB_H
#define PDMBOOTH_CONVERT_CLIP_VOCAB_H

#include "formats/source.h"

enum { CLIP_VOCABULARY = 49408 };

/* gz: merges.txt, compressed. Gives merges.txt and vocab.json as malloc'd texts (ids: bytes, bytes at a word's end, joined pairs in
   order of rank, <|startoftext|>, <|endoftext|>). */
bool clip_vocab_texts(const struct blob *gz, char **merges, char **vocab, struct err *e);
/* tokenizer_config.json, or (map) special_tokens_map.json: pad is "<|endoftext|>" (1.x) or "!" (2.x). NULL: out of memory. */
char *clip_tokens_text(const char *pad, bool map);

#endif
