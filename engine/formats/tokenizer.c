/* The steps are those of the Rust library behind transformers' CLIPTokenizer:
 * special tokens that are matched in the raw text are taken out; the rest is normalised (unicode.h); special tokens that are
 * matched in normalised text are taken out; what is left is cut by CLIP's pattern and each piece encoded (bpe.h). */
#include "formats/tokenizer.h"

#include <cjson/cJSON.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/bpe.h"
#include "formats/json.h"
#include "formats/unicode.h"
#include "formats/vocab.h"

enum role { ROLE_START, ROLE_END, ROLE_UNKNOWN, ROLE_PAD, ROLES };
static const char *const role_key[ROLES] = {"bos_token", "eos_token", "unk_token", "pad_token"};

struct special {
  struct glyphs text;
  int32_t id;
  bool normalized; /* matched after normalisation, so without regard to case */
};

struct tokenizer {
  struct bpe *bpe;
  int32_t role[ROLES];
  struct special *special; /* [n_special] */
  int n_special, size;
};

/* A named token of the configs, while they are read. */
struct named {
  char text[256];
  bool normalized;
};

struct loader {
  struct tokenizer *t;
  const struct vocab *vocab;
  struct json *config, *map; /* either may be NULL */
  struct named named[ROLES];
};

/* A string, or an object with "content" as AddedToken is written. A plain string stands for normalized false. */
static bool read_named(const cJSON *v, struct named *out) {
  const char *text = cJSON_GetStringValue(cJSON_IsObject(v) ? cJSON_GetObjectItemCaseSensitive(v, "content") : v);
  if (text == NULL || text[0] == 0 || strlen(text) >= sizeof out->text) return false;
  memcpy(out->text, text, strlen(text) + 1);
  out->normalized = cJSON_IsObject(v) && cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(v, "normalized"));
  return true;
}

static bool read_roles(struct loader *l, const struct json *j, struct err *e) {
  for (int r = 0; r < ROLES && j != NULL; r++) {
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(json_node(j), role_key[r]);
    if (v != NULL && !cJSON_IsNull(v) && !read_named(v, &l->named[r]))
      return err_set(e, ERR_INPUT, "%s: \"%s\" must be a token, or an object with its \"content\"", json_name(j), role_key[r]);
  }
  return true;
}

static bool open_optional(const struct source *s, const char *dir, const char *file, struct json **out, struct err *e) {
  char path[1024];
  snprintf(path, sizeof path, "%s%s%s", dir, dir[0] != 0 ? "/" : "", file);
  if (!source_has(s, path)) return true;
  *out = json_open(s, path, e);
  return *out != NULL;
}

static bool same_text(const struct glyphs *a, const struct glyphs *b) {
  if (a->n != b->n) return false;
  for (int i = 0; i < a->n; i++)
    if (a->g[i].c != b->g[i].c) return false;
  return true;
}

/* Adds a special token, or changes the one of the same id: the last word counts. */
static bool put_special(struct tokenizer *t, const struct named *named, int32_t id) {
  struct glyphs raw = {0}, text = {0};
  struct special *s = NULL;
  bool good = glyphs_decode(&raw, named->text);
  if (good && named->normalized) good = glyphs_normalise(&text, raw.g, raw.n);
  for (int i = 0; i < t->n_special; i++)
    if (t->special[i].id == id) s = &t->special[i];
  if (good && s == NULL) {
    struct special *bigger = realloc(t->special, ((size_t)t->n_special + 1) * sizeof *bigger);
    good = bigger != NULL;
    if (good) {
      t->special = bigger;
      s = &bigger[t->n_special++];
      *s = (struct special){0};
    }
  }
  if (good) {
    glyphs_release(&s->text);
    *s = (struct special){named->normalized ? text : raw, id, named->normalized};
    t->size = id >= t->size ? id + 1 : t->size;
    glyphs_release(named->normalized ? &raw : &text);
    return true;
  }
  glyphs_release(&raw);
  glyphs_release(&text);
  return false;
}

/* The id that the list of added tokens or the vocabulary gives, -1 for none. */
static int32_t id_of(const struct loader *l, const char *text) {
  int32_t id = vocab_id(l->vocab, text);
  struct glyphs raw = {0};
  if (id < 0 && glyphs_decode(&raw, text))
    for (int i = 0; i < l->t->n_special; i++)
      if (same_text(&l->t->special[i].text, &raw)) id = l->t->special[i].id;
  glyphs_release(&raw);
  return id;
}

/* SD 2 pads with "!", which Python then takes out of prompts as well: there the token of a typed "!" is the one that the
   network was trained with, so a pad token that is nothing else is no special one. */
static bool only_pads(const struct loader *l, const char *text) {
  for (int r = 0; r < ROLE_PAD; r++)
    if (strcmp(l->named[r].text, text) == 0) return false;
  return strcmp(l->named[ROLE_PAD].text, text) == 0;
}

static bool add_listed(struct loader *l, const cJSON *item, const cJSON *id, double number, struct err *e) {
  struct named named;
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "content"));
  if (id != NULL) number = cJSON_IsNumber(id) ? id->valuedouble : -1;
  if (text == NULL || !(number >= 0 && number < 1 << 24) || !read_named(item, &named))
    return err_set(e, ERR_INPUT, "%s: damaged list of added tokens", vocab_name(l->vocab));
  if (only_pads(l, named.text) || put_special(l->t, &named, (int32_t)number)) return true;
  return err_set(e, ERR_FIT, "%s: out of memory", vocab_name(l->vocab));
}

/* added_tokens_decoder of tokenizer_config.json ({"49406": {...}}) or added_tokens of tokenizer.json ([{"id": 49406, ...}]). */
static bool add_lists(struct loader *l, struct err *e) {
  const cJSON *decoder = l->config != NULL ? cJSON_GetObjectItemCaseSensitive(json_node(l->config), "added_tokens_decoder") : NULL;
  const struct json *document = vocab_document(l->vocab);
  const cJSON *list = document != NULL ? cJSON_GetObjectItemCaseSensitive(json_node(document), "added_tokens") : NULL, *item;
  cJSON_ArrayForEach(item, list) {
    if (!add_listed(l, item, cJSON_GetObjectItemCaseSensitive(item, "id"), -1, e)) return false;
  }
  cJSON_ArrayForEach(item, decoder) {
    if (!add_listed(l, item, NULL, item->string != NULL ? strtod(item->string, NULL) : -1, e)) return false;
  }
  return true;
}

/* Named tokens that no list mentioned, in Python's order: where two names share a token, the later one decides how it is matched. */
static bool add_named(struct loader *l, struct err *e) {
  struct tokenizer *t = l->t;
  int listed = t->n_special;
  for (int r = 0; r < ROLES; r++) {
    const struct named *named = &l->named[r];
    bool known = false;
    t->role[r] = id_of(l, named->text);
    if (t->role[r] < 0) return err_set(e, ERR_INPUT, "%s: lacks the token %s, the %s", vocab_name(l->vocab), named->text, role_key[r]);
    for (int i = 0; i < listed; i++) known = known || t->special[i].id == t->role[r];
    if (!known && !only_pads(l, named->text) && !put_special(t, named, t->role[r]))
      return err_set(e, ERR_FIT, "%s: out of memory", vocab_name(l->vocab));
  }
  return true;
}

static bool fill(struct loader *l, const struct source *s, const char *dir, struct err *e) {
  static const char *const fallback[ROLES] = {"<|startoftext|>", "<|endoftext|>", "<|endoftext|>", "<|endoftext|>"};
  for (int r = 0; r < ROLES; r++) snprintf(l->named[r].text, sizeof l->named[r].text, "%s", fallback[r]);
  if (!open_optional(s, dir, "tokenizer_config.json", &l->config, e) || !open_optional(s, dir, "special_tokens_map.json", &l->map, e))
    return false;
  bool listed = l->config != NULL && json_has(l->config, "added_tokens_decoder");
  if (!read_roles(l, l->config, e) || (!listed && !read_roles(l, l->map, e))) return false;
  l->t->size = vocab_size(l->vocab);
  if (!add_lists(l, e) || !add_named(l, e)) return false;
  l->t->bpe = bpe_new(l->vocab, l->t->role[ROLE_UNKNOWN], e);
  return l->t->bpe != NULL;
}

struct tokenizer *tokenizer_open(const struct source *s, const char *dir, struct err *e) {
  struct loader l = {0};
  bool good = false;
  struct vocab *v = vocab_open(s, dir, e);
  if (v == NULL) return NULL;
  l.vocab = v;
  l.t = calloc(1, sizeof *l.t);
  if (l.t != NULL)
    good = fill(&l, s, dir, e);
  else
    err_set(e, ERR_FIT, "%s: out of memory", dir);
  vocab_close(v);
  json_close(l.config);
  json_close(l.map);
  if (good) return l.t;
  tokenizer_close(l.t);
  return NULL;
}

void tokenizer_close(struct tokenizer *t) {
  if (t == NULL) return;
  for (int i = 0; i < t->n_special; i++) glyphs_release(&t->special[i].text);
  free(t->special);
  bpe_delete(t->bpe);
  free(t);
}

int tokenizer_vocabulary(const struct tokenizer *t) {
  return t->size;
}

/* One call's state: threads share the tokenizer, never this. */
struct job {
  const struct tokenizer *t;
  int32_t *out;
  int max, n; /* n: tokens so far, may exceed max */
  int cut;    /* where token number max begins in the text */
  struct pieces word;
};

static void emit(struct job *j, int32_t id, int at) {
  if (j->n < j->max)
    j->out[j->n] = id;
  else if (j->n == j->max)
    j->cut = at;
  j->n++;
}

static bool encode_word(struct job *j, const struct glyph *g, int n) {
  if (!bpe_word(j->t->bpe, g, n, &j->word)) return false;
  for (int i = 0; i < j->word.n; i++) emit(j, j->word.item[i].id, j->word.item[i].at);
  return true;
}

static bool starts(const struct glyph *g, int n, const char *ascii) {
  int i = 0;
  for (; ascii[i] != 0; i++)
    if (i >= n || g[i].c != (unsigned char)ascii[i]) return false;
  return true;
}

/* Length of the first of CLIP's literal alternatives that g begins with, else 0. */
static int literal(const struct glyph *g, int n, bool *marker) {
  static const char *const text[] = {"<|startoftext|>", "<|endoftext|>", "'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
  *marker = false;
  if (g[0].c != '<' && g[0].c != '\'') return 0;
  for (size_t i = 0; i < sizeof text / sizeof *text; i++)
    if (starts(g, n, text[i])) {
      *marker = i < 2;
      return (int)strlen(text[i]);
    }
  return 0;
}

/* Cuts normalised text into contractions, runs of letters, single numbers and runs of anything else; white space falls out. */
static bool encode_words(struct job *j, const struct glyph *g, int n) {
  bool good = true, marker;
  for (int i = 0, end; i < n && good; i = end) {
    enum glyph_kind kind = glyph_kind(g[i].c);
    end = i + literal(g + i, n - i, &marker);
    if (marker) { /* a marker that is no special token here: the byte-level step cuts it once more, at its letters */
      good = encode_word(j, g + i, 2) && encode_word(j, g + i + 2, end - i - 4) && encode_word(j, g + end - 2, 2);
      continue;
    }
    if (end == i) {
      end++;
      while (end < n && (kind == GLYPH_LETTER || kind == GLYPH_OTHER) && glyph_kind(g[end].c) == kind) end++;
    }
    if (kind != GLYPH_SPACE) good = encode_word(j, g + i, end - i);
  }
  return good;
}

/* The longest special token of the wanted sort that g begins with. */
static const struct special *special_at(const struct tokenizer *t, bool normalized, const struct glyph *g, int n) {
  const struct special *best = NULL;
  for (int k = 0; k < t->n_special; k++) {
    const struct special *s = &t->special[k];
    int i = 0;
    if (s->normalized != normalized || s->text.n == 0 || s->text.n > n || (best != NULL && s->text.n <= best->text.n)) continue;
    while (i < s->text.n && s->text.g[i].c == g[i].c) i++;
    best = i == s->text.n ? s : best;
  }
  return best;
}

typedef bool (*part_fn)(struct job *j, const struct glyph *g, int n);

/* Special tokens go out as they are, the text between them to part. */
static bool split(struct job *j, bool normalized, const struct glyph *g, int n, part_fn part) {
  int from = 0;
  for (int i = 0; i < n;) {
    const struct special *s = special_at(j->t, normalized, g + i, n - i);
    if (s == NULL) {
      i++;
      continue;
    }
    if (i > from && !part(j, g + from, i - from)) return false;
    emit(j, s->id, g[i].at);
    i += s->text.n;
    from = i;
  }
  return from == n || part(j, g + from, n - from);
}

static bool encode_raw(struct job *j, const struct glyph *g, int n) {
  struct glyphs text = {0};
  bool good = glyphs_normalise(&text, g, n) && (text.n == 0 || split(j, true, text.g, text.n, encode_words));
  glyphs_release(&text);
  return good;
}

static bool encode(struct job *j, const char *text) {
  struct glyphs raw = {0};
  bool good = glyphs_decode(&raw, text) && (raw.n == 0 || split(j, false, raw.g, raw.n, encode_raw));
  glyphs_release(&raw);
  free(j->word.item);
  return good;
}

int tokenizer_encode(const struct tokenizer *t, const char *text, int32_t *out, int max) {
  struct job j = {.t = t, .out = out, .max = max};
  return encode(&j, text) ? j.n : -1;
}

int tokenizer_prompt(const struct tokenizer *t, const char *text, int32_t *out, int length, int *cut) {
  struct job j = {.t = t, .out = out + 1, .max = length - 2};
  if (length < 2 || !encode(&j, text)) return -1;
  int kept = j.n < j.max ? j.n : j.max;
  out[0] = t->role[ROLE_START];
  out[kept + 1] = t->role[ROLE_END];
  for (int i = kept + 2; i < length; i++) out[i] = t->role[ROLE_PAD];
  if (cut != NULL && j.n > kept) *cut = j.cut;
  return j.n - kept;
}
