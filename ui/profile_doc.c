#include "ui/profile_doc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assets/embedded.h"
#include "ui/ini_edit.h"

static const struct key *mode_key(void) {
  return key_find("train", "mode");
}

static int find_change(const struct profile_doc *d, const struct key *k) {
  for (int i = 0; i < d->changes; i++) {
    if (d->change[i] == k) return i;
  }
  return -1;
}

int doc_sets(const struct profile_doc *d, struct strings *owner, const char **sets, int room) {
  int n = 0;
  for (int i = 0; i < d->changes; i++) {
    const char *p = d->value[i];
    do {
      size_t len = strcspn(p, "\n");
      if (n < room) sets[n++] = strings_printf(owner, "%s.%s=%.*s", d->change[i]->section, d->change[i]->name, (int)len, p);
      p += len + (p[len] == '\n');
    } while (*p);
  }
  return n;
}

static void reload(struct profile_doc *d) {
  enum { ROOM = 1024 };
  struct strings owner = {0};
  struct err e = {0};
  const char **sets = calloc(ROOM, sizeof *sets);
  int n = sets ? doc_sets(d, &owner, sets, ROOM) : 0;
  if (d->loaded) profile_release(&d->effective);
  d->loaded = true;
  d->trouble[0] = 0;
  if (!profile_load(&d->effective, d->path, embedded_files, sets, n, &e)) text_put(d->trouble, sizeof d->trouble, "%s", e.text);
  strings_release(&owner);
  free(sets);
}

bool doc_open(struct profile_doc *d, const char *path) {
  size_t n;
  struct err ignored = {0};
  *d = (struct profile_doc){.changes = 0};
  text_put(d->path, sizeof d->path, "%s", path);
  d->text = text_file_read(path, embedded_files, "profiles", &n, &ignored);
  reload(d);
  return !*d->trouble;
}

void doc_close(struct profile_doc *d) {
  for (int i = 0; i < d->changes; i++) free(d->value[i]);
  if (d->loaded) profile_release(&d->effective);
  free(d->text);
  *d = (struct profile_doc){.changes = 0};
}

struct raw {
  const struct key *key;
  char *buf;
  size_t n, w;
  bool found;
};

static bool take_raw(void *user, const char *section, const char *name, const char *value, int line, struct err *e) {
  struct raw *r = user;
  (void)line;
  (void)e;
  if (key_find(section, name) != r->key || r->w + strlen(value) + 2 > r->n) return true;
  if (r->found) r->buf[r->w++] = '\n';
  r->found = true;
  text_put(r->buf + r->w, r->n - r->w, "%s", value);
  r->w += strlen(value);
  return true;
}

/* As the file has it, with {token} where that stands; false: the file says nothing of it. */
static bool raw_value(const struct profile_doc *d, const struct key *k, char *buf, size_t n) {
  struct raw r = {.key = k, .buf = buf, .n = n};
  struct err ignored = {0};
  return d->text && ini_read(d->path, d->text, strlen(d->text), take_raw, &r, &ignored) && r.found;
}

const char *doc_value(const struct profile_doc *d, const struct key *k, char *buf, size_t n) {
  size_t w = 0;
  int change = find_change(d, k);
  if (n) *buf = 0;
  if (change >= 0) {
    text_put(buf, n, "%s", d->value[change]);
    return buf;
  }
  if ((k->type == KEY_STRING || k->type == KEY_LIST || k->type == KEY_PATH) && raw_value(d, k, buf, n)) return buf;
  for (int i = 0; i < key_values(k, &d->effective.settings) && w + 1 < n; i++) {
    if (i) buf[w++] = '\n';
    if (!key_format(k, &d->effective.settings, i, buf + w, n - w)) break;
    w += strlen(buf + w);
  }
  return buf;
}

struct look {
  const struct key *key;
  bool found, base;
};

static bool look_at(void *user, const char *section, const char *name, const char *value, int line, struct err *e) {
  struct look *l = user;
  const struct key *k = key_find(section, name);
  (void)value;
  (void)line;
  (void)e;
  if (k == l->key) l->found = true;
  if (!strcmp(section, "profile") && !strcmp(name, "base")) l->base = true;
  return true;
}

enum key_origin doc_origin(const struct profile_doc *d, const struct key *k) {
  char value[2048], first[512];
  struct look l = {.key = k};
  struct err ignored = {0};
  if (find_change(d, k) >= 0) return ORIGIN_CHANGED;
  if (d->text) ini_read(d->path, d->text, strlen(d->text), look_at, &l, &ignored);
  if (l.found) return ORIGIN_FILE;
  doc_value(d, k, value, sizeof value);
  text_put(first, sizeof first, "%s", doc_default(d, k));
  return l.base && strcmp(value, first) ? ORIGIN_BASE : ORIGIN_DEFAULT;
}

bool doc_allowed(const struct key *k, const char *value, char *why, size_t n) {
  struct strings owner = {0};
  struct settings *s = calloc(1, sizeof *s);
  char allowed[300];
  bool ok = s && (k->type == KEY_LIST || key_store(k, value, &owner, s));
  if (!ok) text_put(why, n, "it must be %s", key_allowed(k, allowed, sizeof allowed));
  for (const unsigned char *p = (const unsigned char *)value; ok && *p; p += utf8_step(p, strlen((const char *)p))) {
    if (!utf8_step(p, strlen((const char *)p))) ok = (text_put(why, n, "it is not valid UTF-8"), false);
    if (!ok) break;
  }
  if (ok && strstr(value, " ;")) ok = (text_put(why, n, "\" ;\" begins a comment"), false);
  strings_release(&owner);
  free(s);
  return ok;
}

bool doc_set(struct profile_doc *d, const struct key *k, const char *value) {
  int i = find_change(d, k);
  char *copy = strdup(value);
  if (!copy || (i < 0 && d->changes == MAX_CHANGES)) return free(copy), false;
  if (i < 0)
    i = d->changes++;
  else
    free(d->value[i]);
  d->change[i] = k;
  d->value[i] = copy;
  reload(d);
  return true;
}

void doc_revert(struct profile_doc *d, const struct key *k) {
  int i = find_change(d, k);
  if (i < 0) return;
  free(d->value[i]);
  d->changes--;
  memmove(d->change + i, d->change + i + 1, (size_t)(d->changes - i) * sizeof *d->change);
  memmove(d->value + i, d->value + i + 1, (size_t)(d->changes - i) * sizeof *d->value);
  reload(d);
}

/* One change into text, which is freed. */
static char *apply(char *text, const struct key *k, char *value) {
  const char *values[512];
  int n = 0;
  for (char *p = value; p && *p && n < 512;) {
    values[n++] = p;
    p = strchr(p, '\n');
    if (p) *p++ = 0;
  }
  char *next = text ? ini_with(text, k, values, n) : NULL;
  free(text);
  return next;
}

bool doc_save(struct profile_doc *d, struct err *e) {
  char *text = d->text ? strdup(d->text) : NULL;
  if (!d->text) return err_set(e, ERR_INPUT, "%s cannot be read", d->path);
  if (*d->trouble) return free(text), err_set(e, ERR_USAGE, "%s", d->trouble);
  for (int i = 0; i < d->changes; i++) {
    char *value = strdup(d->value[i]);
    text = value ? apply(text, d->change[i], value) : (free(text), NULL);
    free(value);
  }
  if (!ini_save(d->path, text, e)) return free(text), false;
  char path[3200];
  free(text);
  text_put(path, sizeof path, "%s", d->path);
  doc_close(d);
  return doc_open(d, path) || err_set(e, ERR_USAGE, "%s", d->trouble);
}

const char *doc_default(const struct profile_doc *d, const struct key *k) {
  char mode[16];
  doc_value(d, mode_key(), mode, sizeof mode);
  const char *text = strcmp(mode, "full") ? k->lora : k->full;
  return text ? text : "";
}

void profile_facts(const char *path, struct profile_facts *f) {
  struct err e = {0};
  struct profile *p = calloc(1, sizeof *p);
  *f = (struct profile_facts){.ok = false};
  if (p && profile_load(p, path, embedded_files, NULL, 0, &e)) {
    const struct settings *s = &p->settings;
    *f = (struct profile_facts){
        true, s->train.mode == MODE_LORA, s->losses.prior, s->losses.pdm, s->train.steps, s->train.width, s->train.height, ""};
  } else {
    text_put(f->trouble, sizeof f->trouble, "%s", e.text);
  }
  if (p) profile_release(p);
  free(p);
}
