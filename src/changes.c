#include "changes.h"

#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- keys -------------------------------------------------------------------------------------------------------------------------- */

bool key_may_change(const struct key *k) {
  static const char *const shaping[] = {"model", "subject", "prompts", "train", "losses", "prior"};
  static const char *const free_ones[][2] = {{"model", "path"},   {"subject", "name"}, {"subject", "images"},  {"subject", "mask_dir"},
                                             {"prompts", "test"}, {"train", "steps"},  {"train", "recompute"}, {"train", "on_divergence"},
                                             {"prior", "images"}, {"prior", "batch"}};
  bool shapes = false;
  for (size_t i = 0; i < sizeof shaping / sizeof *shaping; i++) shapes |= !strcmp(k->section, shaping[i]);
  for (size_t i = 0; i < sizeof free_ones / sizeof *free_ones; i++) {
    if (!strcmp(k->section, free_ones[i][0]) && !strcmp(k->name, free_ones[i][1])) return true;
  }
  return !shapes;
}

struct line {
  const struct key *key;
  const char *value;
};
struct frozen {
  struct strings owner;
  struct line *line;
  int n, cap;
};

static bool take_line(void *user, const char *section, const char *name, const char *value, int number, struct err *e) {
  struct frozen *f = user;
  const struct key *k = key_find(section, name);
  (void)number;
  if (!k) return true; /* of another version */
  if (f->n == f->cap) {
    int cap = f->cap ? f->cap * 2 : 128;
    struct line *more = realloc(f->line, (size_t)cap * sizeof *more);
    if (!more) return err_set(e, ERR_FAILED, "out of memory");
    f->line = more;
    f->cap = cap;
  }
  const char *copy = strings_add(&f->owner, value, strlen(value));
  f->line[f->n++] = (struct line){k, copy};
  return copy || err_set(e, ERR_FAILED, "out of memory");
}

/* Value i of a key in the frozen profile; NULL: there are not so many. */
static const char *frozen_value(const struct frozen *f, const struct key *k, int i) {
  for (int j = 0; j < f->n; j++) {
    if (f->line[j].key == k && i-- == 0) return f->line[j].value;
  }
  return NULL;
}

/* What was found, as a list in one sentence. */
struct found {
  char text[700];
  int n;
};

__attribute__((format(printf, 2, 3))) static void add(struct found *c, const char *fmt, ...) {
  char one[300];
  va_list args;
  va_start(args, fmt);
  vsnprintf(one, sizeof one, fmt, args);
  va_end(args);
  size_t used = strlen(c->text);
  if (used + strlen(one) + 40 < sizeof c->text)
    snprintf(c->text + used, sizeof c->text - used, "%s%s", c->n ? "; " : "", one);
  else if (!strstr(c->text, " and more"))
    snprintf(c->text + used, sizeof c->text - used, " and more");
  c->n++;
}

static void compare_key(const struct frozen *f, const struct key *k, const struct settings *s, struct found *c) {
  char now[16400];
  int n = key_values(k, s);
  for (int i = 0;; i++) {
    const char *was = frozen_value(f, k, i);
    bool is = i < n && key_format(k, s, i, now, sizeof now);
    if (!was && (!is || i == 0)) return; /* i == 0: the key is younger than the run, or a list that was empty */
    if (was && is && !strcmp(was, now)) continue;
    add(c, "[%s] %s: %.60s -> %.60s", k->section, k->name, was ? was : "(none)", is ? now : "(none)");
    return;
  }
}

static bool compare_profile(const char *run_dir, const struct profile *p, struct found *c, struct err *e) {
  char path[4096];
  size_t n;
  struct frozen f = {.n = 0};
  text_put(path, sizeof path, "%s/profile.ini", run_dir);
  char *text = text_file_read(path, NULL, "", &n, e);
  bool ok = text && ini_read(path, text, n, take_line, &f, e);
  for (int i = 0; ok && i < key_count; i++) {
    if (!key_may_change(&keys[i])) compare_key(&f, &keys[i], &p->settings, c);
  }
  free(text);
  free(f.line);
  strings_release(&f.owner);
  return ok;
}

/* --- files --------------------------------------------------------------------------------------------------------------------------- */

static const char *text_of(const cJSON *item, const char *key) {
  const cJSON *x = cJSON_GetObjectItemCaseSensitive(item, key);
  return cJSON_IsString(x) ? x->valuestring : "";
}

static const cJSON *find_file(const cJSON *list, const char *name) {
  const cJSON *x;
  cJSON_ArrayForEach(x, list) {
    if (!strcmp(text_of(x, "file"), name)) return x;
  }
  return NULL;
}

static bool same_file(const cJSON *a, const cJSON *b) {
  static const char *const hash[] = {"sha256", "sha256_of_first_and_last_mib"};
  const cJSON *x = cJSON_GetObjectItemCaseSensitive(a, "bytes"), *y = cJSON_GetObjectItemCaseSensitive(b, "bytes");
  bool same = cJSON_IsNumber(x) && cJSON_IsNumber(y) && x->valuedouble == y->valuedouble;
  for (int i = 0; i < 2; i++) same = same && !strcmp(text_of(a, hash[i]), text_of(b, hash[i]));
  return same;
}

static void compare_files(const cJSON *was, const cJSON *now, const char *list, const char *what, struct found *c) {
  const cJSON *old = cJSON_GetObjectItemCaseSensitive(was, list), *new = cJSON_GetObjectItemCaseSensitive(now, list), *x;
  if (!old || !new) return; /* of another version */
  cJSON_ArrayForEach(x, old) {
    const char *name = text_of(x, "file");
    const cJSON *other = find_file(new, name);
    if (!other) {
      add(c, "%s %.100s is gone", what, name);
    } else if (!same_file(x, other)) {
      add(c, "%s %.100s is another one", what, name);
    }
  }
  cJSON_ArrayForEach(x, new) {
    if (!find_file(old, text_of(x, "file"))) add(c, "%s %.100s is new", what, text_of(x, "file"));
  }
}

static void compare_inputs(const char *run_dir, const char *info, struct found *c) {
  char path[4096];
  size_t n;
  struct err ignored = {0};
  text_put(path, sizeof path, "%s/info.json", run_dir);
  char *text = text_file_read(path, NULL, "", &n, &ignored);
  cJSON *was = text ? cJSON_Parse(text) : NULL, *now = cJSON_Parse(info);
  compare_files(was, now, "photographs", "photograph", c);
  compare_files(was, now, "masks", "mask", c);
  compare_files(was, now, "model", "base model file", c);
  cJSON_Delete(was);
  cJSON_Delete(now);
  free(text);
}

bool changes_check(const char *run_dir, const struct profile *p, const char *info, struct err *e) {
  struct found c = {.n = 0};
  if (!compare_profile(run_dir, p, &c, e)) return false;
  compare_inputs(run_dir, info, &c);
  if (c.n == 0) return true;
  return err_set(e, ERR_USAGE, "%s cannot go on, it was begun with something else: %s. Change that back, or start a new run directory",
                 run_dir, c.text);
}
