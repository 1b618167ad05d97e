#include "keys.h"

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Whether word is among the blank- or '|'-separated words of list; its place in *index. */
static bool in_list(const char *list, const char *separators, const char *word, int *index) {
  size_t n = strlen(word);
  int i = 0;
  for (const char *p = list; p && *p; i++) {
    size_t len = strcspn(p, separators);
    if (len == n && !memcmp(p, word, n)) {
      if (index) *index = i;
      return true;
    }
    p += len;
    p += strspn(p, separators);
  }
  return false;
}

const struct key *key_find(const char *section, const char *name) {
  for (int i = 0; i < key_count; i++) {
    const struct key *k = &keys[i];
    if (!strcmp(k->section, section) && (!strcmp(k->name, name) || in_list(k->aliases, " ", name, NULL))) return k;
  }
  return NULL;
}

bool key_section_exists(const char *section) {
  for (int i = 0; i < key_count; i++) {
    if (!strcmp(keys[i].section, section)) return true;
  }
  return false;
}

/* Edits from name to the nearest of the key's names; an alias costs one more, so that the key's own name wins. */
static int key_distance(const struct key *k, const char *name) {
  int best = edit_distance(k->name, name);
  for (const char *p = k->aliases; p && *p;) {
    char alias[64];
    size_t len = strcspn(p, " ");
    snprintf(alias, sizeof alias, "%.*s", (int)len, p);
    int d = edit_distance(alias, name) + (strcmp(alias, name) != 0);
    if (d < best) best = d;
    p += len;
    p += strspn(p, " ");
  }
  return best;
}

const struct key *key_nearest(const char *section, const char *name, int *distance) {
  const struct key *best = NULL;
  int least = INT32_MAX;
  for (int i = 0; i < key_count; i++) {
    int d = 2 * key_distance(&keys[i], name) + (strcmp(keys[i].section, section) != 0);
    if (d < least) {
      least = d;
      best = &keys[i];
    }
  }
  *distance = least / 2;
  return best;
}

static void put_choices(const char *choices, char *buf, size_t n) {
  size_t w = 0;
  for (const char *p = choices; *p && w + 8 < n;) {
    size_t len = strcspn(p, "|");
    bool last = !p[len];
    const char *before = p == choices ? "" : last ? " or " : ", ";
    w += (size_t)snprintf(buf + w, n - w, "%s%.*s", before, (int)len, p);
    p += len + !last;
  }
}

const char *key_allowed(const struct key *k, char *buf, size_t n) {
  switch (k->type) {
    case KEY_BOOL:
      text_put(buf, n, "true or false");
      break;
    case KEY_INT:
      text_put(buf, n, "a whole number from %.0f to %.0f", k->min, k->max);
      break;
    case KEY_SEED:
      text_put(buf, n, "a whole number from 0 to %" PRIu64, UINT64_MAX);
      break;
    case KEY_FLOAT:
      text_put(buf, n, "a number from %.12g to %.12g", k->min, k->max);
      break;
    case KEY_STRING:
      text_put(buf, n, "text");
      break;
    case KEY_CHOICE:
    case KEY_WORD:
      put_choices(k->choices, buf, n);
      break;
    case KEY_SIZE:
      text_put(buf, n, "a size such as 512 or 512x768, each from %.0f to %.0f", k->min, k->max);
      break;
    case KEY_BYTES:
      text_put(buf, n, "a number of bytes such as 12G or 800M, 0 for no limit");
      break;
    case KEY_PATH:
      text_put(buf, n, "a path");
      break;
    case KEY_LIST:
      text_put(buf, n, "text, repeated at most %.0f times", k->max);
      break;
  }
  return buf;
}

static void *place(const struct key *k, struct settings *s) {
  return (char *)s + k->offset;
}
static const void *place_const(const struct key *k, const struct settings *s) {
  return (const char *)s + k->offset;
}

static bool parse_bool(const char *text, bool *out) {
  static const char *const yes[] = {"true", "yes", "on", "1"}, *const no[] = {"false", "no", "off", "0"};
  for (int i = 0; i < 4; i++) {
    if (!strcasecmp(text, yes[i])) return *out = true, true;
    if (!strcasecmp(text, no[i])) return *out = false, true;
  }
  return false;
}

static bool parse_int(const char *text, double min, double max, int *out) {
  char *end;
  errno = 0;
  long v = strtol(text, &end, 10);
  if (end == text || *end || errno || (double)v < min || (double)v > max) return false;
  *out = (int)v;
  return true;
}

static bool parse_seed(const char *text, uint64_t *out) {
  char *end;
  errno = 0;
  unsigned long long v = strtoull(text, &end, 10);
  if (end == text || *end || errno || strchr(text, '-')) return false;
  *out = v;
  return true;
}

static bool parse_float(const char *text, double min, double max, double *out) {
  char *end;
  double v = strtod(text, &end);
  if (end == text || *end || !isfinite(v) || v < min || v > max) return false;
  *out = v;
  return true;
}

static bool parse_size(const struct key *k, const char *text, int *w, int *h) {
  char first[16];
  size_t len = strcspn(text, "xX");
  if (len >= sizeof first) return false;
  snprintf(first, sizeof first, "%.*s", (int)len, text);
  int a, b;
  if (!parse_int(first, k->min, k->max, &a)) return false;
  b = a;
  if (text[len] && !parse_int(text + len + 1, k->min, k->max, &b)) return false;
  *w = a;
  *h = b;
  return true;
}

static bool parse_choice(const struct key *k, const char *text, int *out) {
  if (in_list(k->choices, "|", text, out)) return true;
  size_t n = strlen(text);
  for (const char *p = k->synonyms; p && *p; p += strcspn(p, " "), p += strspn(p, " ")) {
    if (strncmp(p, text, n) || p[n] != '=') continue;
    char choice[32];
    snprintf(choice, sizeof choice, "%.*s", (int)strcspn(p + n + 1, " "), p + n + 1);
    return in_list(k->choices, "|", choice, out);
  }
  return false;
}

static bool store_string(const char *text, struct strings *owner, const char **out) {
  const char *copy = strings_add(owner, text, strlen(text));
  if (!copy) {
    errno = ENOMEM;
    return false;
  }
  *out = copy;
  return true;
}

static bool store_item(const struct key *k, const char *text, struct strings *owner, struct settings *s) {
  int *n = (int *)(void *)((char *)s + k->count_offset);
  if (!*text || *n >= (int)k->max) return false;
  const char **list = place(k, s);
  if (!store_string(text, owner, &list[*n])) return false;
  (*n)++;
  return true;
}

bool key_store(const struct key *k, const char *text, struct strings *owner, struct settings *s) {
  errno = 0;
  void *p = place(k, s);
  switch (k->type) {
    case KEY_BOOL:
      return parse_bool(text, p);
    case KEY_INT:
      return parse_int(text, k->min, k->max, p);
    case KEY_SEED:
      return parse_seed(text, p);
    case KEY_FLOAT:
      return parse_float(text, k->min, k->max, p);
    case KEY_STRING:
    case KEY_PATH:
      return store_string(text, owner, p);
    case KEY_CHOICE:
      return parse_choice(k, text, p);
    case KEY_WORD:
      return (in_list(k->choices, "|", text, NULL) || (k->accepts && k->accepts(text))) && store_string(text, owner, p);
    case KEY_SIZE:
      return parse_size(k, text, p, (int *)(void *)((char *)s + k->count_offset));
    case KEY_BYTES:
      return text_bytes(text, k->max, p);
    case KEY_LIST:
      return store_item(k, text, owner, s);
  }
  return false;
}

void key_copy(const struct key *to, const struct key *from, struct settings *s) {
  memcpy(place(to, s), place_const(from, s), sizeof(int));
}

void key_list_clear(const struct key *k, struct settings *s) {
  *(int *)(void *)((char *)s + k->count_offset) = 0;
}

int key_values(const struct key *k, const struct settings *s) {
  return k->type == KEY_LIST ? *(const int *)(const void *)((const char *)s + k->count_offset) : 1;
}

static bool format_choice(const char *choices, int index, char *buf, size_t n) {
  const char *p = choices;
  for (int i = 0; i < index && *p; i++) p += strcspn(p, "|") + 1;
  return text_put(buf, n, "%.*s", (int)strcspn(p, "|"), p);
}

/* The shortest decimal that reads back as the same number. */
static bool format_float(double v, char *buf, size_t n) {
  for (int digits = 6; digits < 17; digits++) {
    if (!text_put(buf, n, "%.*g", digits, v)) return false;
    if (fabs(strtod(buf, NULL) - v) < DBL_MIN) return true;
  }
  return text_put(buf, n, "%.17g", v);
}

bool key_format(const struct key *k, const struct settings *s, int i, char *buf, size_t n) {
  const void *p = place_const(k, s);
  const int *number = p;
  switch (k->type) {
    case KEY_BOOL:
      return text_put(buf, n, "%s", *(const bool *)p ? "true" : "false");
    case KEY_INT:
      return text_put(buf, n, "%d", *number);
    case KEY_SEED:
      return text_put(buf, n, "%" PRIu64, *(const uint64_t *)p);
    case KEY_FLOAT:
      return format_float(*(const double *)p, buf, n);
    case KEY_STRING:
    case KEY_WORD:
    case KEY_PATH:
      return text_put(buf, n, "%s", *(const char *const *)p);
    case KEY_CHOICE:
      return format_choice(k->choices, *number, buf, n);
    case KEY_SIZE:
      return text_put(buf, n, "%dx%d", *number, *(const int *)(const void *)((const char *)s + k->count_offset));
    case KEY_BYTES:
      return text_put(buf, n, "%" PRId64, *(const int64_t *)p);
    case KEY_LIST:
      return text_put(buf, n, "%s", ((const char *const *)p)[i]);
  }
  return false;
}
