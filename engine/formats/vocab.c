#include "formats/vocab.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum { TOKEN_MAX = 1024, ID_MAX = 1 << 24 };

struct slot {
  const char *token; /* in the document; NULL: free */
  int32_t id;
};

struct merge {
  const char *left, *right; /* not terminated where they lie in merges.txt */
  int left_n, right_n;
};

struct vocab {
  struct json *document; /* vocab.json or tokenizer.json */
  bool whole;            /* document is tokenizer.json */
  struct blob text;      /* merges.txt */
  struct slot *slot;     /* [mask + 1], open addressing */
  uint32_t mask;
  int size;
  struct merge *merge; /* [n_merges] */
  int n_merges;
};

static struct slot *find(const struct vocab *v, const char *token) {
  uint32_t i = hash_of(token, strlen(token)) & v->mask;
  while (v->slot[i].token != NULL && strcmp(v->slot[i].token, token) != 0) i = (i + 1) & v->mask;
  return &v->slot[i];
}

int32_t vocab_id(const struct vocab *v, const char *token) {
  const struct slot *s = find(v, token);
  return s->token != NULL ? s->id : -1;
}

static bool read_tokens(struct vocab *v, const cJSON *tokens, struct err *e) {
  const cJSON *item;
  uint32_t slots = 1024;
  while (cJSON_IsObject(tokens) && slots < (uint32_t)cJSON_GetArraySize(tokens) * 2u) slots *= 2;
  v->slot = calloc(slots, sizeof *v->slot);
  v->mask = slots - 1;
  if (v->slot == NULL) return err_set(e, ERR_FIT, "%s: out of memory", json_name(v->document));
  if (!cJSON_IsObject(tokens) || tokens->child == NULL)
    return err_set(e, ERR_INPUT, "%s: holds no vocabulary (an object of tokens and ids)", json_name(v->document));
  cJSON_ArrayForEach(item, tokens) {
    double id = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (!(id >= 0 && id < ID_MAX))
      return err_set(e, ERR_INPUT, "%s: the id of token \"%.100s\" is not a number from 0 to %d", json_name(v->document), item->string,
                     ID_MAX - 1);
    *find(v, item->string) = (struct slot){item->string, (int32_t)id};
    v->size = (int)id >= v->size ? (int)id + 1 : v->size;
  }
  return true;
}

/* "left right" of n bytes; false where it is not two words. */
static bool split_merge(const char *text, size_t n, struct merge *m) {
  const char *space = memchr(text, ' ', n);
  size_t left = space != NULL ? (size_t)(space - text) : 0, right = n - left - 1;
  if (left == 0 || right == 0 || n >= TOKEN_MAX || memchr(space + 1, ' ', right) != NULL) return false;
  *m = (struct merge){text, space + 1, (int)left, (int)right};
  return true;
}

static bool merges_from_text(struct vocab *v, const char *name, struct err *e) {
  const char *at = (const char *)v->text.data, *end = at + v->text.size;
  size_t lines = 1;
  for (const char *p = at; p < end; p++) lines += *p == '\n';
  v->merge = calloc(lines, sizeof *v->merge);
  if (v->merge == NULL) return err_set(e, ERR_FIT, "%s: out of memory", name);
  for (int line = 1; at < end; line++) {
    const char *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline != NULL ? newline : end;
    size_t n = (size_t)(stop - at);
    n -= n > 0 && at[n - 1] == '\r';
    bool skipped = n == 0 || (line == 1 && n >= 8 && memcmp(at, "#version", 8) == 0);
    if (!skipped && !split_merge(at, n, &v->merge[v->n_merges++]))
      return err_set(e, ERR_INPUT, "%s: line %d is not two tokens with a space between", name, line);
    at = stop + 1;
  }
  return true;
}

/* Current Python writes pairs, older ones "left right". */
static bool json_merge(const cJSON *item, struct merge *m) {
  if (cJSON_IsString(item)) return split_merge(item->valuestring, strlen(item->valuestring), m);
  if (cJSON_GetArraySize(item) != 2 || !cJSON_IsString(item->child) || !cJSON_IsString(item->child->next)) return false;
  const char *left = item->child->valuestring, *right = item->child->next->valuestring;
  if (strlen(left) + strlen(right) >= TOKEN_MAX) return false;
  *m = (struct merge){left, right, (int)strlen(left), (int)strlen(right)};
  return true;
}

static bool merges_from_json(struct vocab *v, const cJSON *list, struct err *e) {
  const cJSON *item;
  v->merge = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *v->merge);
  if (v->merge == NULL) return err_set(e, ERR_FIT, "%s: out of memory", json_name(v->document));
  if (!cJSON_IsArray(list)) return err_set(e, ERR_INPUT, "%s: no list of merges", json_name(v->document));
  cJSON_ArrayForEach(item, list) {
    if (!json_merge(item, &v->merge[v->n_merges++]))
      return err_set(e, ERR_INPUT, "%s: merge %d is not two tokens", json_name(v->document), v->n_merges);
  }
  return true;
}

static const char *join(char *buf, size_t n, const char *dir, const char *file) {
  snprintf(buf, n, "%s%s%s", dir, dir[0] != 0 ? "/" : "", file);
  return buf;
}

static bool fill(struct vocab *v, const struct source *s, const char *dir, struct err *e) {
  char file[1024], name[5200];
  v->whole = !source_has(s, join(file, sizeof file, dir, "vocab.json")) && source_has(s, join(file, sizeof file, dir, "tokenizer.json"));
  v->document = json_open(s, join(file, sizeof file, dir, v->whole ? "tokenizer.json" : "vocab.json"), e);
  if (v->document == NULL) return false;
  if (v->whole) {
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(json_node(v->document), "model");
    return read_tokens(v, cJSON_GetObjectItemCaseSensitive(model, "vocab"), e) &&
           merges_from_json(v, cJSON_GetObjectItemCaseSensitive(model, "merges"), e);
  }
  join(file, sizeof file, dir, "merges.txt");
  return read_tokens(v, json_node(v->document), e) && source_open(s, file, &v->text, e) &&
         merges_from_text(v, source_name(s, file, name, sizeof name), e);
}

struct vocab *vocab_open(const struct source *s, const char *dir, struct err *e) {
  struct vocab *v = calloc(1, sizeof *v);
  if (v == NULL) {
    err_set(e, ERR_FIT, "%s: out of memory", dir);
    return NULL;
  }
  if (fill(v, s, dir, e)) return v;
  vocab_close(v);
  return NULL;
}

void vocab_close(struct vocab *v) {
  if (v == NULL) return;
  json_close(v->document);
  blob_close(&v->text);
  free(v->slot);
  free(v->merge);
  free(v);
}

int vocab_size(const struct vocab *v) {
  return v->size;
}

const char *vocab_name(const struct vocab *v) {
  return json_name(v->document);
}

const struct json *vocab_document(const struct vocab *v) {
  return v->whole ? v->document : NULL;
}

int vocab_merges(const struct vocab *v) {
  return v->n_merges;
}

bool vocab_merge(const struct vocab *v, int i, int32_t *left, int32_t *right, int32_t *joined, struct err *e) {
  const struct merge *m = &v->merge[i];
  char a[TOKEN_MAX], b[TOKEN_MAX], both[2 * TOKEN_MAX];
  snprintf(a, sizeof a, "%.*s", m->left_n, m->left);
  snprintf(b, sizeof b, "%.*s", m->right_n, m->right);
  snprintf(both, sizeof both, "%s%s", a, b);
  *left = vocab_id(v, a);
  *right = vocab_id(v, b);
  *joined = vocab_id(v, both);
  if (*left >= 0 && *right >= 0 && *joined >= 0) return true;
  return err_set(e, ERR_INPUT, "%s: the merge of \"%.60s\" and \"%.60s\" uses a token that is not in the vocabulary", vocab_name(v), a, b);
}
