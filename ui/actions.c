#include <string.h>

#include "text.h"
#include "ui/screen.h"

static bool has_key(const char *keys, int key, int modifiers) {
  char word[32];
  for (const char *p = keys; *p;) {
    size_t n = strcspn(p, " ");
    int k, m;
    text_put(word, sizeof word, "%.*s", (int)n, p);
    if (key_parse(word, &k, &m) && k == key && m == modifiers) return true;
    p += n;
    p += strspn(p, " ");
  }
  return false;
}

static const struct action *in_table(const struct action *table, int key, int modifiers) {
  for (const struct action *x = table; x->name; x++) {
    if (has_key(x->keys, key, modifiers)) return x;
  }
  return NULL;
}

const struct action *action_of_key(int screen, int key, int modifiers) {
  const struct action *x = in_table(screens[screen]->actions, key, modifiers);
  return x ? x : in_table(global_actions, key, modifiers);
}

const struct action *action_at(int i, int *screen) {
  for (int s = -1; s < SCREEN_COUNT; s++) {
    for (const struct action *x = s < 0 ? global_actions : screens[s]->actions; x->name; x++) {
      if (i-- == 0) return *screen = s, x;
    }
  }
  return NULL;
}

const struct action *action_named(const char *name) {
  const struct action *x;
  int screen;
  for (int i = 0; (x = action_at(i, &screen)); i++) {
    if (!strcmp(x->name, name)) return x;
  }
  return NULL;
}

const char *action_keys(const struct action *x, char *buf, size_t n) {
  size_t w = 0;
  if (n) *buf = 0;
  for (const char *p = x->keys; *p && w + 1 < n; p++) {
    if (*p == ' ' && w + 2 < n) buf[w++] = ',';
    buf[w++] = *p;
    buf[w] = 0;
  }
  return buf;
}

const char *action_key(const struct action *x, char *buf, size_t n) {
  text_put(buf, n, "%.*s", (int)strcspn(x->keys, " "), x->keys);
  return buf;
}
