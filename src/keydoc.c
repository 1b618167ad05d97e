/* Documentation generated from the tables of keys and of exit codes. */
#include <string.h>

#include "keys.h"

/* What the manual says as default: "700", "1e-6 (full), 1e-4 (lora)", "as train.steps", "none". */
static void default_text(const struct key *k, char *buf, size_t n) {
  if (k->full[0] == '@') {
    text_put(buf, n, "as %s", k->full + 1);
  } else if (strcmp(k->full, k->lora)) {
    text_put(buf, n, "%s (full), %s (lora)", k->full, k->lora);
  } else {
    text_put(buf, n, "%s", k->full[0] ? k->full : "none");
  }
}

static void print_aliases(const struct key *k, const char *before, const char *open, const char *close, FILE *out) {
  for (const char *p = k->aliases; p && *p;) {
    size_t len = strcspn(p, " ");
    fprintf(out, "%s%s%.*s%s", p == k->aliases ? before : ", ", open, (int)len, p, close);
    p += len;
    p += strspn(p, " ");
  }
}

static void keys_markdown(FILE *out) {
  fputs("| key | default | allowed | meaning |\n|---|---|---|---|\n", out);
  const char *section = "";
  for (int i = 0; i < key_count; i++) {
    const struct key *k = &keys[i];
    char allowed[256], fallback[64];
    if (strcmp(section, k->section)) fprintf(out, "| **[%s]** | | | |\n", section = k->section);
    default_text(k, fallback, sizeof fallback);
    fprintf(out, "| `%s`", k->name);
    print_aliases(k, "<br>also ", "`", "`", out);
    fprintf(out, " | %s | %s | %s |\n", fallback, key_allowed(k, allowed, sizeof allowed), k->help);
  }
}

/* roff: a leading dot or apostrophe and every minus and backslash are escaped. */
static void man_text(const char *text, FILE *out) {
  for (const char *p = text; *p; p++) {
    if (*p == '-') {
      fputs("\\-", out);
    } else if (*p == '\\') {
      fputs("\\e", out);
    } else {
      fputc(*p, out);
    }
  }
}

static void keys_man(FILE *out) {
  const char *section = "";
  for (int i = 0; i < key_count; i++) {
    const struct key *k = &keys[i];
    char allowed[256], fallback[64];
    if (strcmp(section, k->section)) fprintf(out, ".SS [%s]\n", section = k->section);
    default_text(k, fallback, sizeof fallback);
    fprintf(out, ".TP\n.B %s\n", k->name);
    man_text(k->help, out);
    fputs("\nAllowed: ", out);
    man_text(key_allowed(k, allowed, sizeof allowed), out);
    fputs(".\nDefault: ", out);
    man_text(fallback, out);
    fputs(".\n", out);
    print_aliases(k, "Also written ", "\\fB", "\\fR", out);
    if (k->aliases) fputs(".\n", out);
  }
}

#define ROW_MAN(name, status, text) fprintf(out, ".TP\n.B %d\n%s\n", status, text);
#define ROW_MARKDOWN(name, status, text) fprintf(out, "| %d | %s |\n", status, text);

bool keys_print(const char *kind, FILE *out) {
  if (!strcmp(kind, "markdown")) {
    keys_markdown(out);
  } else if (!strcmp(kind, "man")) {
    keys_man(out);
  } else if (!strcmp(kind, "exit-man")) {
    ERR_TABLE(ROW_MAN)
  } else if (!strcmp(kind, "exit-markdown")) {
    fputs("| exit code | meaning |\n|---|---|\n", out);
    ERR_TABLE(ROW_MARKDOWN)
  } else {
    return false;
  }
  return true;
}
