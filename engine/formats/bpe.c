#include "formats/bpe.h"

#include <stdlib.h>
#include <string.h>

static const uint32_t NO_RANK = UINT32_MAX;

/* A merge, found by the two ids. */
struct rule {
  uint64_t pair;
  uint32_t rank; /* NO_RANK: free slot */
  int32_t joined;
};

struct bpe {
  int32_t byte_id[2][256]; /* [at the end of a word][byte] */
  struct rule *rule;       /* [mask + 1], open addressing */
  uint64_t mask;
};

static uint64_t pair_of(int32_t left, int32_t right) {
  return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static struct rule *find(const struct bpe *b, uint64_t pair) {
  uint64_t i = (pair * 0x9E3779B97F4A7C15u) >> 32 & b->mask;
  while (b->rule[i].rank != NO_RANK && b->rule[i].pair != pair) i = (i + 1) & b->mask;
  return &b->rule[i];
}

/* CLIP writes printable bytes as themselves, the other 68 as U+0100 and on. */
static void fill_bytes(struct bpe *b, const struct vocab *v, int32_t unknown) {
  uint32_t next = 0x100;
  for (int byte = 0; byte < 256; byte++) {
    bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    char token[16] = {0};
    int n = glyph_encode(printable ? (uint32_t)byte : next++, (unsigned char *)token);
    for (int end = 0; end < 2; end++) {
      memcpy(token + n, end ? "</w>" : "", end ? 5 : 1);
      int32_t id = vocab_id(v, token);
      b->byte_id[end][byte] = id >= 0 ? id : unknown;
    }
  }
}

static bool fill_rules(struct bpe *b, const struct vocab *v, struct err *e) {
  for (int i = 0; i < vocab_merges(v); i++) {
    int32_t left, right, joined;
    if (!vocab_merge(v, i, &left, &right, &joined, e)) return false;
    uint64_t pair = pair_of(left, right);
    *find(b, pair) = (struct rule){pair, (uint32_t)i, joined};
  }
  return true;
}

struct bpe *bpe_new(const struct vocab *v, int32_t unknown, struct err *e) {
  size_t slots = 1024;
  while (slots < (size_t)vocab_merges(v) * 2) slots *= 2;
  struct bpe *b = calloc(1, sizeof *b);
  if (b != NULL) b->rule = malloc(slots * sizeof *b->rule);
  if (b == NULL || b->rule == NULL) {
    err_set(e, ERR_FIT, "%s: out of memory", vocab_name(v));
    goto fail;
  }
  b->mask = slots - 1;
  for (size_t i = 0; i < slots; i++) b->rule[i] = (struct rule){0, NO_RANK, 0};
  fill_bytes(b, v, unknown);
  if (fill_rules(b, v, e)) return b;
fail:
  bpe_delete(b);
  return NULL;
}

void bpe_delete(struct bpe *b) {
  if (b == NULL) return;
  free(b->rule);
  free(b);
}

static bool reserve(struct pieces *p, int n) {
  if (n <= p->cap) return true;
  struct piece *bigger = realloc(p->item, (size_t)n * 2 * sizeof *bigger);
  if (bigger == NULL) return false;
  p->item = bigger;
  p->cap = n * 2;
  return true;
}

/* Looks up the merge of piece i with the next one. */
static void rank(const struct bpe *b, struct pieces *p, int i) {
  if (i < 0 || i >= p->n) return;
  p->item[i].rank = NO_RANK;
  if (i + 1 < p->n) {
    const struct rule *r = find(b, pair_of(p->item[i].id, p->item[i + 1].id));
    p->item[i].rank = r->rank;
    p->item[i].joined = r->joined;
  }
}

static void merge(const struct bpe *b, struct pieces *p, int i) {
  p->item[i].id = p->item[i].joined;
  memmove(p->item + i + 1, p->item + i + 2, (size_t)(p->n - i - 2) * sizeof *p->item);
  p->n--;
  rank(b, p, i - 1);
  rank(b, p, i);
}

bool bpe_word(const struct bpe *b, const struct glyph *word, int n, struct pieces *out) {
  unsigned char byte[4];
  out->n = 0;
  for (int i = 0; i < n; i++) {
    int count = glyph_encode(word[i].c, byte);
    if (!reserve(out, out->n + count)) return false;
    for (int k = 0; k < count; k++)
      out->item[out->n++] = (struct piece){b->byte_id[i == n - 1 && k == count - 1][byte[k]], word[i].at, NO_RANK, 0};
  }
  for (int i = 0; i < out->n; i++) rank(b, out, i);
  for (;;) {
    int best = 0;
    for (int i = 1; i < out->n; i++)
      if (out->item[i].rank < out->item[best].rank) best = i;
    if (out->item[best].rank == NO_RANK) return true;
    merge(b, out, best);
  }
}
