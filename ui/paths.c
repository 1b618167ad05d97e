#include "ui/paths.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "profile.h"

static bool xdg_path(const char *variable, const char *below_home, const char *name, char *out, size_t n) {
  const char *base = getenv(variable), *home = getenv("HOME"), *slash = *name ? "/" : "";
  if (base && *base == '/') return text_put(out, n, "%s/pdmbooth%s%s", base, slash, name);
  return home && *home == '/' && text_put(out, n, "%s/%s/pdmbooth%s%s", home, below_home, slash, name);
}

bool data_path(const char *name, char *out, size_t n) {
  return xdg_path("XDG_DATA_HOME", ".local/share", name, out, n);
}
bool state_path(const char *name, char *out, size_t n) {
  return xdg_path("XDG_STATE_HOME", ".local/state", name, out, n);
}
bool config_path(const char *name, char *out, size_t n) {
  return xdg_path("XDG_CONFIG_HOME", ".config", name, out, n);
}

static bool take_line(void *user, const char *section, const char *name, const char *value, int line, struct err *e) {
  struct config *c = user;
  if (!strcmp(section, "ui") && !strcmp(name, "theme")) return text_put(c->theme, sizeof c->theme, "%s", value) || true;
  if (!strcmp(section, "runs") && !strcmp(name, "root")) {
    const char *home = getenv("HOME");
    if (c->roots == MAX_RUN_ROOTS) return err_set(e, ERR_USAGE, "config.ini:%d: more than %d roots", line, MAX_RUN_ROOTS);
    bool tilde = !strncmp(value, "~/", 2) && home;
    bool fits = text_put(c->root[c->roots], sizeof c->root[0], "%s%s", tilde ? home : "", tilde ? value + 1 : value);
    if (!fits || *c->root[c->roots] != '/') return err_set(e, ERR_USAGE, "config.ini:%d: root must be an absolute path", line);
    c->roots++;
    return true;
  }
  if (!strcmp(section, "queue") && !strcmp(name, "devices")) {
    char where[64];
    text_put(where, sizeof where, "config.ini:%d: devices", line);
    return device_list_read(&c->devices, value, where, e);
  }
  return err_set(e, ERR_USAGE, "config.ini:%d: [%s] %s is not known; possible are [ui] theme, [runs] root and [queue] devices", line,
                 section, name);
}

static void default_roots(struct config *c) {
  char here[PATH_BYTES];
  if (!c->roots && data_path("runs", c->root[0], sizeof c->root[0])) c->roots = 1;
  if (!c->roots || c->roots == MAX_RUN_ROOTS || !getcwd(here, sizeof here - 8)) return;
  char *local = c->root[c->roots];
  if (text_put(local, sizeof c->root[0], "%s/runs", here) && is_directory(local) && strcmp(local, c->root[0])) c->roots++;
}

bool config_read(struct config *c, struct err *e) {
  char path[4096];
  size_t n;
  bool ok = true;
  *c = (struct config){.theme = "auto"};
  if (config_path("config.ini", path, sizeof path) && is_file(path)) {
    char *text = text_file_read(path, NULL, "", &n, e);
    ok = text && ini_read("config.ini", text, n, take_line, c, e);
    free(text);
  }
  default_roots(c);
  return ok;
}
