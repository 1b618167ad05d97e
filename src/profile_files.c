#include "profile_files.h"

#include <stdlib.h>
#include <string.h>

#include "profile.h"

struct reading {
  struct profile_files *files;
  struct profile_file *at;
  const char *here;
  const struct embedded_file *embedded;
  struct strings *owner;
};

static bool no_memory(struct err *e) {
  return err_set(e, ERR_FAILED, "out of memory");
}

static bool is_embedded(const char *path) {
  return !strncmp(path, "embedded:", 9);
}

/* Of everything in a file, its base alone. */
static bool take_base(void *user, const char *section, const char *name, const char *value, int line, struct err *e) {
  struct reading *r = user;
  struct profile_file *f = r->at;
  if (strcmp(section, "profile") || strcmp(name, "base")) return true;
  if (f->base) return err_set(e, ERR_USAGE, "%s:%d: [profile] base was already given at %s:%d", f->path, line, f->path, f->line);
  f->line = line;
  f->base = strings_add(r->owner, value, strlen(value));
  return f->base || no_memory(e);
}

static const char *folder_of(const struct reading *r, const char *path) {
  const char *slash = strrchr(path, '/');
  if (is_embedded(path) || !slash) return strings_printf(r->owner, "%s", r->here);
  int n = slash == path ? 1 : (int)(slash - path);
  return *path == '/' ? strings_printf(r->owner, "%.*s", n, path) : strings_printf(r->owner, "%s/%.*s", r->here, n, path);
}

/* Where a file's base lies: beside the file. NULL: out of memory. */
static const char *base_path(const struct reading *r, const struct profile_file *f) {
  const char *slash = strrchr(f->path, '/'), *home = getenv("HOME");
  if (home && !strncmp(f->base, "~/", 2)) return strings_printf(r->owner, "%s%s", home, f->base + 1);
  if (*f->base == '/' || is_embedded(f->base) || is_embedded(f->path) || !slash) return f->base;
  return strings_printf(r->owner, "%.*s/%s", (int)(slash - f->path), f->path, f->base);
}

/* "a.ini, whose base is b.ini, whose base is a.ini" */
static const char *chain_text(const struct profile_files *f, const char *last, char *buf, size_t n) {
  size_t w = 0;
  for (int i = 0; i < f->n && w < n; i++) w += (size_t)snprintf(buf + w, n - w, "%s, whose base is ", f->file[i].path);
  if (w < n) snprintf(buf + w, n - w, "%s", last);
  return buf;
}

/* The next place in the chain for path; NULL and *e where the chain may not go on to it. */
static struct profile_file *next_place(const struct reading *r, const char *path, const char *real, struct err *e) {
  struct profile_files *f = r->files;
  char chain[900];
  const struct profile_file *from = f->n ? &f->file[f->n - 1] : NULL;
  chain_text(f, path, chain, sizeof chain);
  for (int i = 0; from && i < f->n; i++) {
    if (strcmp(f->file[i].real, real)) continue;
    err_set(e, ERR_USAGE, "%s:%d: [profile] base leads back to where it came from: %s", from->path, from->line, chain);
    return NULL;
  }
  if (from && f->n == MAX_PROFILE_FILES) {
    err_set(e, ERR_USAGE, "%s:%d: [profile] base makes a chain of more than %d profiles: %s", from->path, from->line, MAX_PROFILE_FILES,
            chain);
    return NULL;
  }
  return &f->file[f->n];
}

/* realpath, or what was given where that is no file; NULL: out of memory. */
static const char *real_path(const struct reading *r, const char *path) {
  char *real = is_embedded(path) ? NULL : realpath(path, NULL);
  const char *out = strings_printf(r->owner, "%s", real ? real : path);
  free(real);
  return out;
}

static bool read_text(const struct reading *r, struct profile_file *f, const struct profile_file *from, struct err *e) {
  struct err inner = {0};
  char *text = text_file_read(f->path, r->embedded, "profiles", &f->n, &inner);
  r->files->text[r->files->n] = text;
  f->text = text;
  if (text) return true;
  if (!from) return err_set(e, inner.code, "%s", inner.text);
  return err_set(e, inner.code, "%s:%d: [profile] base: %s", from->path, from->line, inner.text);
}

bool profile_files_read(struct profile_files *f, const char *path, const char *here, const struct embedded_file *embedded,
                        struct strings *owner, struct err *e) {
  struct reading r = {.files = f, .here = here, .embedded = embedded, .owner = owner};
  const struct profile_file *from = NULL;
  *f = (struct profile_files){0};
  while (path && *path) {
    const char *real = real_path(&r, path);
    if (!real) return no_memory(e);
    r.at = next_place(&r, path, real, e);
    if (!r.at) return false;
    *r.at = (struct profile_file){.path = path, .real = real, .dir = folder_of(&r, path)};
    if (!r.at->dir) return no_memory(e);
    if (!read_text(&r, r.at, from, e) || !ini_read(path, r.at->text, r.at->n, take_base, &r, e)) return false;
    f->n++;
    from = r.at;
    path = from->base && *from->base ? base_path(&r, from) : "";
  }
  return path || no_memory(e);
}

void profile_files_release(struct profile_files *f) {
  for (int i = 0; i < MAX_PROFILE_FILES; i++) free(f->text[i]);
  *f = (struct profile_files){0};
}
