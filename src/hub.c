#include "hub.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_SIZE = 4096 };

static bool too_long(struct err *e) {
  return err_set(e, ERR_USAGE, "a path is longer than %d bytes", PATH_SIZE - 1);
}

static const char *keep(struct strings *s, const char *text, struct err *e) {
  const char *out = strings_add(s, text, strlen(text));
  if (!out) err_set(e, ERR_FIT, "out of memory");
  return out;
}

const char *path_resolve(const char *path, const char *base, struct strings *s, struct err *e) {
  const char *home = getenv("HOME"), *out;
  errno = 0;
  if (!*path || *path == '/' || !strncmp(path, "embedded:", 9)) {
    out = strings_add(s, path, strlen(path));
  } else if (home && *home && (!strcmp(path, "~") || !strncmp(path, "~/", 2))) {
    out = strings_printf(s, "%s%s", home, path + 1);
  } else {
    while (!strncmp(path, "./", 2)) path += 2;
    out = strings_printf(s, "%s/%s", base, path);
  }
  if (out && strlen(out) < PATH_SIZE) return out;
  if (!out && errno == ENOMEM) {
    err_set(e, ERR_FIT, "out of memory");
  } else {
    too_long(e);
  }
  return NULL;
}

static bool is_hub_name(const char *name) {
  const char *slash = strchr(name, '/');
  if (!slash || slash == name || !slash[1] || strchr(slash + 1, '/') || name[0] == '.' || name[0] == '~') return false;
  for (const char *p = name; *p; p++) {
    if (!isalnum((unsigned char)*p) && !strchr("._-/", *p)) return false;
  }
  return true;
}

static const char *not_empty(const char *name) {
  const char *v = getenv(name);
  return v && *v ? v : NULL;
}

static bool hub_cache(char *out, size_t n) {
  const char *v;
  if ((v = not_empty("HF_HUB_CACHE")) || (v = not_empty("HUGGINGFACE_HUB_CACHE"))) return text_put(out, n, "%s", v);
  if ((v = not_empty("HF_HOME"))) return text_put(out, n, "%s/hub", v);
  if ((v = not_empty("XDG_CACHE_HOME"))) return text_put(out, n, "%s/huggingface/hub", v);
  v = not_empty("HOME");
  return text_put(out, n, "%s/.cache/huggingface/hub", v ? v : "");
}

/* The commit that refs/main names, or where that is missing the only snapshot. */
static bool find_commit(const char *repo, char *out, size_t n) {
  char path[PATH_SIZE];
  if (!text_put(path, sizeof path, "%s/refs/main", repo)) return false;
  FILE *f = fopen(path, "r");
  if (f) {
    bool ok = fgets(out, (int)n, f) != NULL;
    fclose(f);
    if (ok) out[strcspn(out, " \r\n/")] = 0;
    return ok && *out;
  }
  DIR *d = text_put(path, sizeof path, "%s/snapshots", repo) ? opendir(path) : NULL;
  if (!d) return false;
  int found = 0;
  for (struct dirent *entry; (entry = readdir(d));) {
    if (entry->d_name[0] == '.') continue;
    found++;
    text_put(out, n, "%s", entry->d_name);
  }
  closedir(d);
  return found == 1;
}

static bool find_snapshot(const char *cache, const char *name, char *out, size_t n) {
  char repo[PATH_SIZE], commit[256];
  const char *slash = strchr(name, '/');
  if (!text_put(repo, sizeof repo, "%s/models--%.*s--%s", cache, (int)(slash - name), name, slash + 1)) return false;
  return find_commit(repo, commit, sizeof commit) && text_put(out, n, "%s/snapshots/%s", repo, commit) && is_directory(out);
}

static const char *from_hub(const char *name, struct strings *s, struct err *e) {
  char cache[PATH_SIZE], out[PATH_SIZE];
  if (!hub_cache(cache, sizeof cache)) {
    too_long(e);
    return NULL;
  }
  bool found = find_snapshot(cache, name, out, sizeof out);
  /* the published commands name a repository that has moved */
  const char *moved = "stable-diffusion-v1-5/stable-diffusion-v1-5";
  if (!found && !strcmp(name, "runwayml/stable-diffusion-v1-5")) found = find_snapshot(cache, moved, out, sizeof out);
  if (found) return keep(s, out, e);
  err_set(e, ERR_INPUT,
          "model %s: there is no such directory, and the local Hugging Face cache %s does not hold it; "
          "download it there (huggingface-cli download %s) or name a directory",
          name, cache, name);
  return NULL;
}

static int compare_names(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* "org/name" of "models--org--name"; NULL for another entry, or where memory ends. */
static const char *hub_name(const char *entry, struct strings *s) {
  static const char prefix[] = "models--";
  if (strncmp(entry, prefix, sizeof prefix - 1)) return NULL;
  const char *org = entry + sizeof prefix - 1, *dashes = strstr(org, "--");
  return dashes ? strings_printf(s, "%.*s/%s", (int)(dashes - org), org, dashes + 2) : NULL;
}

const char **hub_list(struct strings *s, char *cache, size_t size, int *n) {
  enum { MOST = 1000 };
  const char **name = calloc(MOST, sizeof *name);
  *n = 0;
  DIR *d = name && hub_cache(cache, size) ? opendir(cache) : NULL;
  for (struct dirent *entry; d && *n < MOST && (entry = readdir(d));) {
    name[*n] = hub_name(entry->d_name, s);
    *n += name[*n] != NULL;
  }
  if (d) closedir(d);
  if (*n) qsort(name, (size_t)*n, sizeof *name, compare_names);
  return name;
}

const char *model_resolve(const char *value, const char *base, struct strings *s, struct err *e) {
  if (!strcmp(value, "embedded") || !*value) return keep(s, value, e);
  const char *path = path_resolve(value, base, s, e);
  if (!path || is_directory(path) || is_file(path)) return path;
  if (is_hub_name(value)) return from_hub(value, s, e);
  err_set(e, ERR_INPUT, "model %s: there is no such directory or file", path);
  return NULL;
}
