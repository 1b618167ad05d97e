#include "profile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hub.h"
#include "profile_files.h"

/* One value that the user gave. */
struct entry {
  const struct key *key;
  const char *value;
  const char *where; /* "demo.ini:12" or "--set train.lr=1" */
  const char *dir;   /* absolute: relative paths begin there */
  int level;         /* of the file that gives it, 0: the last base; those of --set come after all files */
};

struct load {
  struct profile *p;
  struct entry *entry;
  int n, cap;
  char here[4096];        /* current directory */
  const char *file, *dir; /* what is being read, and where its relative paths begin */
  int level;
};

static bool no_memory(struct err *e) {
  return err_set(e, ERR_FIT, "out of memory");
}

static bool add_entry(struct load *l, const struct key *k, const char *value, const char *where, struct err *e) {
  if (l->n == l->cap) {
    int cap = l->cap ? l->cap * 2 : 64;
    struct entry *more = realloc(l->entry, (size_t)cap * sizeof *more);
    if (!more) return no_memory(e);
    l->entry = more;
    l->cap = cap;
  }
  const char *copy = strings_add(&l->p->owner, value, strlen(value));
  if (!copy || !where) return no_memory(e);
  l->entry[l->n++] = (struct entry){.key = k, .value = copy, .where = where, .dir = l->dir, .level = l->level};
  return true;
}

static bool unknown_key(const char *where, const char *section, const char *name, struct err *e) {
  int distance;
  const struct key *k = key_nearest(section, name, &distance);
  bool near = k && distance <= 2 + (int)strlen(name) / 3;
  if (!*section)
    return err_set(e, ERR_USAGE, "%s: key %s stands before the first [section]; did you mean [%s] %s?", where, name, k->section, k->name);
  const char *what = key_section_exists(section) ? "key" : "section and key";
  if (near) return err_set(e, ERR_USAGE, "%s: unknown %s [%s] %s; did you mean [%s] %s?", where, what, section, name, k->section, k->name);
  return err_set(e, ERR_USAGE, "%s: unknown %s [%s] %s; pdmbooth-profile(5) lists all keys, the nearest is [%s] %s", where, what, section,
                 name, k->section, k->name);
}

static bool is_base(const struct key *k) {
  return k && !strcmp(k->section, "profile");
}

static bool take_value(void *user, const char *section, const char *name, const char *value, int line, struct err *e) {
  struct load *l = user;
  const struct key *k = key_find(section, name);
  const char *where = strings_printf(&l->p->owner, "%s:%d", l->file, line);
  if (!where) return no_memory(e);
  if (!k) return unknown_key(where, section, name, e);
  for (int i = 0; i < l->n && k->type != KEY_LIST; i++) {
    if (l->entry[i].key != k || l->entry[i].level != l->level) continue;
    return err_set(e, ERR_USAGE, "%s: [%s] %s was already given at %s", where, section, k->name, l->entry[i].where);
  }
  return is_base(k) || add_entry(l, k, value, where, e);
}

/* "section.key=value" */
static bool take_set(struct load *l, const char *text, struct err *e) {
  char section[64], name[64];
  const char *equals = strchr(text, '='), *dot = strchr(text, '.');
  if (!equals || !dot || dot > equals || dot - text > 60 || equals - dot > 60) {
    return err_set(e, ERR_USAGE, "--set %s: expected section.key=value, such as train.steps=300", text);
  }
  snprintf(section, sizeof section, "%.*s", (int)(dot - text), text);
  snprintf(name, sizeof name, "%.*s", (int)(equals - dot - 1), dot + 1);
  const char *where = strings_printf(&l->p->owner, "--set %s", text);
  if (!where) return no_memory(e);
  const struct key *k = key_find(section, name);
  if (!k) return unknown_key(where, section, name, e);
  if (is_base(k)) return err_set(e, ERR_USAGE, "%s: a base is named in the profile itself", where);
  const unsigned char *end = (const unsigned char *)equals + strlen(equals);
  for (const unsigned char *p = (const unsigned char *)equals; *p; p += utf8_step(p, (size_t)(end - p))) {
    if (!utf8_step(p, (size_t)(end - p))) return err_set(e, ERR_USAGE, "--set %s.%s: the value is not valid UTF-8", section, name);
  }
  if (strchr(equals, '\n') || strstr(equals, " ;")) {
    return err_set(e, ERR_USAGE, "%s: a value cannot hold a new line or \" ;\", which begins a comment in a profile", where);
  }
  return add_entry(l, k, equals + 1, where, e);
}

static const struct entry *last_entry(const struct load *l, const struct key *k) {
  for (int i = l->n; i-- > 0;) {
    if (l->entry[i].key == k) return &l->entry[i];
  }
  return NULL;
}

/* "demo.ini:12" of the key if it was given, else "demo.ini". */
static const char *where_of(const struct load *l, const char *section, const char *name) {
  const struct entry *given = last_entry(l, key_find(section, name));
  const char *where = given ? given->where : l->p->file;
  return where ? where : "";
}

static bool store(struct load *l, const struct key *k, const char *value, const char *where, struct err *e) {
  char allowed[256];
  if (key_store(k, value, &l->p->owner, &l->p->settings)) return true;
  if (errno == ENOMEM) return no_memory(e);
  return err_set(e, ERR_USAGE, "%s: [%s] %s = %s is not allowed: it must be %s", where, k->section, k->name, value,
                 key_allowed(k, allowed, sizeof allowed));
}

static bool apply_entry(struct load *l, int i, struct err *e) {
  const struct entry *t = &l->entry[i];
  const char *value = t->value;
  if (t->key->type == KEY_PATH && *value) value = path_resolve(value, t->dir, &l->p->owner, e);
  if (!value) return false;
  if (t->key->type == KEY_LIST) {
    bool first = true; /* a file's list replaces that of its base, the first --set of a list that of the files */
    for (int j = 0; j < i && first; j++) first = l->entry[j].key != t->key || l->entry[j].level != t->level;
    if (first) key_list_clear(t->key, &l->p->settings);
    if (!*value) return true;
  }
  return store(l, t->key, value, t->where, e);
}

/* Defaults depend on the mode, so that goes first. A model that is missing is told last: the profile itself may be wrong too. */
static bool apply_all(struct load *l, struct err *e) {
  const struct key *mode = key_find("train", "mode"), *model = key_find("model", "path");
  const struct entry *given = last_entry(l, mode);
  if (!store(l, mode, given ? given->value : mode->lora, given ? given->where : "", e)) return false;
  for (int i = 0; i < key_count; i++) {
    const char *text = l->p->settings.train.mode == MODE_FULL ? keys[i].full : keys[i].lora;
    if (text[0] != '@' && keys[i].type != KEY_LIST && &keys[i] != mode && !store(l, &keys[i], text, "default", e)) return false;
  }
  for (int i = 0; i < l->n; i++) {
    if (l->entry[i].key != model && !apply_entry(l, i, e)) return false;
  }
  for (int i = 0; i < key_count; i++) {
    const char *text = keys[i].full;
    char section[32];
    if (text[0] != '@' || last_entry(l, &keys[i])) continue;
    snprintf(section, sizeof section, "%.*s", (int)strcspn(text + 1, "."), text + 1);
    key_copy(&keys[i], key_find(section, strchr(text, '.') + 1), &l->p->settings);
  }
  return true;
}

static bool fill_words(struct load *l, const char **text, const char *key_name, struct err *e) {
  struct settings *s = &l->p->settings;
  if (strstr(*text, "{class}") && !*s->subject.class_name) {
    return err_set(e, ERR_USAGE, "%s: [prompts] %s uses {class}, but [subject] class is not given", where_of(l, "prompts", key_name),
                   key_name);
  }
  const char *out = strings_replace(&l->p->owner, *text, "{token}", s->subject.token);
  if (out) out = strings_replace(&l->p->owner, out, "{class}", s->subject.class_name);
  if (!out) return no_memory(e);
  *text = out;
  return true;
}

static bool fill_prompts(struct load *l, struct err *e) {
  struct settings *s = &l->p->settings;
  bool ok = fill_words(l, &s->prompts.instance, "instance", e) && fill_words(l, &s->prompts.class_prompt, "class", e) &&
            fill_words(l, &s->prompts.negative, "negative", e);
  for (int i = 0; ok && i < s->prompts.tests; i++) ok = fill_words(l, &s->prompts.test[i], "test", e);
  return ok;
}

/* What follows from other keys. */
static bool fill_rest(struct load *l, struct err *e) {
  struct settings *s = &l->p->settings;
  if (!(s->train.lr_cycles > 0)) s->train.lr_cycles = s->train.schedule == 3 /* cosine */ ? 0.5 : 1;
  if (!*s->subject.name) {
    const char *images = s->subject.images, *end = images + strlen(images);
    while (end > images && end[-1] == '/') end--;
    const char *start = end;
    while (start > images && start[-1] != '/' && start[-1] != ':') start--;
    s->subject.name = end > start ? strings_add(&l->p->owner, start, (size_t)(end - start)) : "subject";
    if (!s->subject.name) return no_memory(e);
  }
  if (!*s->engine.cache_dir) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && *cache == '/') {
      s->engine.cache_dir = strings_printf(&l->p->owner, "%s/pdmbooth-tui", cache);
    } else if (home && *home == '/') {
      s->engine.cache_dir = strings_printf(&l->p->owner, "%s/.cache/pdmbooth-tui", home);
    }
    if (!s->engine.cache_dir) return no_memory(e);
  }
  return true;
}

static bool check_given(const struct load *l, struct err *e) {
  const struct settings *s = &l->p->settings;
  if (!last_entry(l, key_find("model", "path")) || !*last_entry(l, key_find("model", "path"))->value) {
    return err_set(e, ERR_USAGE, "%s: [model] path is not given; it must be a directory, a hub name or embedded",
                   where_of(l, "model", "path"));
  }
  if (!*s->subject.images) {
    return err_set(e, ERR_USAGE, "%s: [subject] images is not given; it must be the directory of the photographs",
                   where_of(l, "subject", "images"));
  }
  if (!*s->prompts.instance) return err_set(e, ERR_USAGE, "%s: [prompts] instance must not be empty", where_of(l, "prompts", "instance"));
  if ((s->losses.prior || s->losses.pdm) && !*s->prompts.class_prompt) {
    return err_set(e, ERR_USAGE, "%s: [prompts] class must not be empty while the prior or the PDM loss is on",
                   where_of(l, "prompts", "class"));
  }
  return true;
}

static bool check_losses(const struct load *l, struct err *e) {
  const struct settings *s = &l->p->settings;
  if (!s->losses.instance && !s->losses.prior && !s->losses.pdm) {
    return err_set(e, ERR_USAGE, "%s: [losses] instance, prior and pdm are all off; at least one must be true",
                   where_of(l, "losses", "instance"));
  }
  return true;
}

static bool find_model(struct load *l, struct err *e) {
  struct err inner = {0};
  const struct entry *given = last_entry(l, key_find("model", "path"));
  const char *path = model_resolve(given->value, given->dir, &l->p->owner, &inner);
  if (!path) return err_set(e, inner.code, "%s: %s", given->where, inner.text);
  l->p->settings.model.path = path;
  return true;
}

/* "demo" of "dir/demo.ini" and of "embedded:demo". */
static bool set_name(struct profile *p, const char *path, struct err *e) {
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  char stem[128];
  if (!text_put(p->file, sizeof p->file, "%s", path)) return err_set(e, ERR_USAGE, "the path of the profile is too long");
  if (!strncmp(path, "embedded:", 9)) name = path + 9;
  snprintf(stem, sizeof stem, "%s", name);
  size_t n = strlen(stem);
  if (n > 4 && !strcmp(stem + n - 4, ".ini")) stem[n - 4] = 0;
  file_name_from(stem, p->name, sizeof p->name);
  return true;
}

/* The values of the last base first, so that those of the files before it win. */
static bool take_files(struct load *l, const char *path, const struct embedded_file *embedded, struct err *e) {
  struct profile_files f;
  bool ok = profile_files_read(&f, path, l->here, embedded, &l->p->owner, e);
  for (int i = f.n; ok && i-- > 0;) {
    l->file = f.file[i].path;
    l->dir = f.file[i].dir;
    ok = ini_read(l->file, f.file[i].text, f.file[i].n, take_value, l, e);
    l->level++;
  }
  profile_files_release(&f);
  return ok;
}

bool profile_load(struct profile *p, const char *path, const struct embedded_file *embedded, const char *const *sets, int n_sets,
                  struct err *e) {
  memset(p, 0, sizeof *p);
  struct load *l = calloc(1, sizeof *l);
  if (!l) return no_memory(e);
  l->p = p;
  bool ok = getcwd(l->here, sizeof l->here) || err_set_errno(e, ERR_INPUT, "cannot tell the current directory");
  ok = ok && set_name(p, path, e) && take_files(l, path, embedded, e);
  l->dir = l->here;
  for (int i = 0; ok && i < n_sets; i++) ok = take_set(l, sets[i], e);
  ok = ok && apply_all(l, e) && check_given(l, e) && check_losses(l, e) && fill_prompts(l, e) && fill_rest(l, e) && find_model(l, e);
  free(l->entry);
  free(l);
  return ok;
}

void profile_release(struct profile *p) {
  strings_release(&p->owner);
}

char *profile_text(const struct profile *p) {
  char *out = NULL, value[16400];
  size_t n = 0;
  FILE *f = open_memstream(&out, &n);
  if (!f) return NULL;
  const char *section = "";
  for (int i = 0; i < key_count; i++) {
    const struct key *k = &keys[i];
    if (is_base(k)) continue; /* its values are here */
    if (strcmp(section, k->section)) fprintf(f, "%s[%s]\n", *section ? "\n" : "", k->section);
    section = k->section;
    for (int j = 0; j < key_values(k, &p->settings); j++) {
      if (key_format(k, &p->settings, j, value, sizeof value)) fprintf(f, "%s = %s\n", k->name, value);
    }
  }
  return fclose(f) ? (free(out), NULL) : out;
}

bool profile_inputs(const struct profile *p, struct err *e) {
  const struct settings *s = &p->settings;
  const char *const dir[] = {s->subject.images, s->subject.mask_dir}, *const key[] = {"images", "mask_dir"};
  for (int i = 0; i < 2; i++) {
    if (!*dir[i] || !strncmp(dir[i], "embedded:", 9) || is_directory(dir[i])) continue;
    const char *what = is_file(dir[i]) ? "this is a file, not a directory" : "there is no such directory";
    return err_set(e, ERR_INPUT, "[subject] %s: %s: %s", key[i], dir[i], what);
  }
  return true;
}
