/* The profile that init writes. */
#include <stdlib.h>
#include <string.h>

#include "init.h"
#include "profile.h"

static bool is_given(const struct init_value *value, int n, const struct key *k) {
  for (int i = 0; i < n; i++) {
    if (!strcmp(value[i].section, k->section) && !strcmp(value[i].name, k->name)) return true;
  }
  return false;
}

static bool is_full(const struct init_value *value, int n) {
  for (int i = 0; i < n; i++) {
    if (!strcmp(value[i].section, "train") && !strcmp(value[i].name, "mode")) return !strcmp(value[i].text, "full");
  }
  return false;
}

/* Help, wrapped, as comments. */
static void put_comment(FILE *out, const char *text) {
  enum { WIDTH = 100 };
  for (const char *p = text; *p;) {
    size_t n = strlen(p);
    if (n > WIDTH) {
      n = WIDTH;
      while (n > 1 && p[n] != ' ') n--;
    }
    fprintf(out, "; %.*s\n", (int)n, p);
    p += n;
    p += strspn(p, " ");
  }
}

static void put_key(FILE *out, const struct key *k, const struct init_value *value, int n) {
  char allowed[256], help[1400];
  const char *fallback = is_full(value, n) ? k->full : k->lora;
  bool as = *fallback == '@';
  text_put(help, sizeof help, "%s (%s; default: %s%s)", k->help, key_allowed(k, allowed, sizeof allowed), as ? "as " : "",
           as          ? fallback + 1
           : *fallback ? fallback
                       : "none");
  put_comment(out, help);
  if (!is_given(value, n, k)) fprintf(out, ";%s =%s%s\n", k->name, as || !*fallback ? "" : " ", as ? "" : fallback);
  for (int i = 0; i < n; i++) {
    if (!strcmp(value[i].section, k->section) && !strcmp(value[i].name, k->name)) fprintf(out, "%s = %s\n", k->name, value[i].text);
  }
}

/* Of no use in the mode that is chosen. */
static bool is_irrelevant(const struct key *k, bool full) {
  static const char *const lora_only[] = {"rank", "alpha", "target"};
  if (!strcmp(k->section, "profile")) return true;
  for (int i = 0; full && i < 3; i++) {
    if (!strcmp(k->section, "train") && !strcmp(k->name, lora_only[i])) return true;
  }
  return false;
}

struct checking {
  const struct init_value *value;
  int n, next; /* values are met in the order of the table of keys, a list's in their own */
  bool same;
};

static bool take_value(void *user, const char *section, const char *name, const char *text, int line, struct err *e) {
  struct checking *c = user;
  (void)line;
  (void)e;
  for (int i = 0; i < c->n; i++) {
    const struct init_value *v = &c->value[i];
    if (strcmp(v->section, section) || strcmp(v->name, name) || strcmp(v->text, text)) continue;
    c->next++;
    return true;
  }
  c->same = false;
  return true;
}

/* What is read from the text is what was meant: no value begins a comment or ends the line. */
static bool check(const char *path, const char *text, size_t size, const struct init_value *value, int n, struct err *e) {
  struct checking c = {.value = value, .n = n, .same = true};
  struct err inner = {0};
  if (ini_read(path, text, size, take_value, &c, &inner) && c.same && c.next == n) return true;
  if (inner.code == ERR_FAILED) return err_set(e, ERR_FAILED, "%s", inner.text);
  return err_set(e, ERR_USAGE, "a value cannot stand in a profile: it holds a new line, \" ;\" or bytes that are not UTF-8");
}

char *init_text(const char *path, const struct init_value *value, int n, struct err *e) {
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  const char *section = "";
  if (!out) return err_set(e, ERR_FAILED, "out of memory"), NULL;
  fputs("; A profile of pdmbooth-tui. Keys that begin with ; have their default; pdmbooth-profile(5) has them all.\n", out);
  for (int i = 0; i < key_count; i++) {
    const struct key *k = &keys[i];
    if (is_irrelevant(k, is_full(value, n))) continue;
    if (strcmp(section, k->section)) fprintf(out, "\n[%s]", section = k->section);
    fputc('\n', out);
    put_key(out, k, value, n);
  }
  if (fclose(out)) {
    free(text);
    return err_set(e, ERR_FAILED, "out of memory"), NULL;
  }
  if (check(path, text, size, value, n, e)) return text;
  free(text);
  return NULL;
}
