/* Documentation generated from the tables of keys, of exit codes and of commands. */
#include <ctype.h>
#include <string.h>

#include "commands.h"
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

/* roff: a leading dot or apostrophe and every minus and backslash are escaped; a new line begins a paragraph. */
static void man_text(const char *text, FILE *out) {
  if (*text == '.' || *text == '\'') fputs("\\&", out);
  for (const char *p = text; *p; p++) {
    if (*p == '-') {
      fputs("\\-", out);
    } else if (*p == '\\') {
      fputs("\\e", out);
    } else if (*p == '\n') {
      fputs("\n.PP\n", out);
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

/* Words in italics: what stands for something else. */
static void man_value(const char *text, FILE *out) {
  if (!*text) return;
  fputs("\\fI", out);
  man_text(text, out);
  fputs("\\fR", out);
}

static void synopsis_man(FILE *out) {
  fputs(".B pdmbooth\\-tui\n[\\fB\\-\\-plain\\fR] [\\fB\\-\\-attach\\fR \\fIRUN_DIR\\fR]\n", out);
  for (int i = 0; commands[i]; i++) {
    fputs(".br\n.B pdmbooth\\-tui ", out);
    man_text(commands[i]->name, out);
    fputs("\n", out);
    man_value(commands[i]->operands, out);
    if (*commands[i]->operands) fputc(' ', out);
    fputs(commands[i]->options && commands[i]->options->name ? "[\\fIoption\\fR...]\n" : "\n", out);
  }
  fputs(".br\n.B pdmbooth\\-tui \\-\\-help\n[\\fIcommand\\fR] |\n.B \\-\\-version\n", out);
}

static void command_man(const struct command_spec *c, FILE *out) {
  char words[256];
  fputs(".SS \"", out);
  man_text(c->name, out);
  fputc(' ', out);
  man_value(c->operands, out);
  fputs("\"\n", out);
  man_text(c->about, out);
  fputc('\n', out);
  for (const struct option_spec *o = c->options; o && o->name; o++) {
    fputs(".TP\n\\fB\\-\\-", out);
    man_text(o->name, out);
    fputs("\\fR ", out);
    man_value(option_value(o, words, sizeof words), out);
    fprintf(out, "\n%c", toupper((unsigned char)*o->help));
    man_text(o->help + 1, out);
    fputs(".\n", out);
  }
}

static void commands_man(FILE *out) {
  for (int i = 0; commands[i]; i++) command_man(commands[i], out);
}

#define ROW_MAN(name, status, text) fprintf(out, ".TP\n.B %d\n%s\n", status, text);
#define ROW_MARKDOWN(name, status, text) fprintf(out, "| %d | %s |\n", status, text);

bool keys_print(const char *kind, FILE *out) {
  if (!strcmp(kind, "markdown")) {
    keys_markdown(out);
  } else if (!strcmp(kind, "man")) {
    keys_man(out);
  } else if (!strcmp(kind, "synopsis-man")) {
    synopsis_man(out);
  } else if (!strcmp(kind, "commands-man")) {
    commands_man(out);
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
