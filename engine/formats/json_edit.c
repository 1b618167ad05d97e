#include "formats/json_edit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As the reader does (cJSON): all control characters are space. */
static bool is_space(char c) {
  return c != 0 && (unsigned char)c <= ' ';
}

static const char *skip_space(const char *p) {
  while (is_space(*p)) p++;
  return p;
}

/* Past a string that starts at p. */
static const char *skip_string(const char *p) {
  for (p++; *p && *p != '"'; p++)
    if (*p == '\\' && p[1]) p++;
  return *p ? p + 1 : p;
}

/* Past a value: to the comma or brace that ends it, without the white space before that. */
static const char *skip_value(const char *p) {
  const char *end = p;
  for (int depth = 0; *p && (depth > 0 || (*p != ',' && *p != '}'));) {
    if (*p == '{' || *p == '[') depth++;
    if (*p == '}' || *p == ']') depth--;
    p = *p == '"' ? skip_string(p) : p + 1;
    if (!is_space(p[-1])) end = p;
  }
  return end;
}

static bool is_key(const char *p, const char *end, const char *key) {
  size_t n = strlen(key);
  return (size_t)(end - p) == n + 2 && strncmp(p + 1, key, n) == 0;
}

/* The value of a top-level key: its text is [*from, *to). False when absent; then *from is where a new member can be put, after the last one. */
static bool find_value(const char *text, const char *key, const char **from, const char **to, bool *empty) {
  const char *p = skip_space(text);
  *from = *to = *p ? p + 1 : p;
  *empty = true;
  for (p = *p ? p + 1 : p; *(p = skip_space(p)) == '"';) {
    const char *end = skip_string(p), *colon = skip_space(end);
    const char *value = skip_space(*colon ? colon + 1 : colon), *after = skip_value(value);
    *empty = false;
    *to = after;
    if (is_key(p, end, key)) {
      *from = value;
      return true;
    }
    *from = after;
    p = skip_space(after);
    if (*p == ',') p++;
  }
  return false;
}

char *json_set(char *text, const char *key, const char *value, bool keep) {
  const char *from, *to;
  bool empty;
  if (!text) return NULL;
  bool found = find_value(text, key, &from, &to, &empty);
  if (found && keep && strncmp(from, "null", 4) != 0) return text;
  size_t n = strlen(text) + strlen(key) + strlen(value) + 16;
  char *out = malloc(n);
  if (out && found)
    snprintf(out, n, "%.*s%s%s", (int)(from - text), text, value, to);
  else if (out)
    snprintf(out, n, "%.*s%s\n  \"%s\": %s%s%s", (int)(from - text), text, empty ? "" : ",", key, value, empty ? "\n" : "", from);
  free(text);
  return out;
}
