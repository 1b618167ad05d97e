/* Byte-pair encoding of one word with CLIP's end-of-word mark. Constant after bpe_new: threads may share it. */
#ifndef PDMBOOTH_FORMATS_BPE_H
#define PDMBOOTH_FORMATS_BPE_H

#include "formats/unicode.h"
#include "formats/vocab.h"

struct bpe;

/* A token of a word: its id and where its first byte came from. */
struct piece {
  int32_t id;
  int at;
  uint32_t rank; /* of the merge with the next piece; used inside */
  int32_t joined;
};

/* Reused from word to word, zeroed before use; owned: free(item). */
struct pieces {
  struct piece *item; /* [n] */
  int n, cap;
};

struct bpe *bpe_new(const struct vocab *v, int32_t unknown, struct err *e);
void bpe_delete(struct bpe *b);
/* Replaces out by the tokens of word, n >= 1 glyphs. False: out of memory. */
bool bpe_word(const struct bpe *b, const struct glyph *word, int n, struct pieces *out);

#endif
