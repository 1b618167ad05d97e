/* Sets of test prompts: those that the subject keeps in its prompts.ini, [prompts NAME], and those inside the program. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assets/embedded.h"
#include "profile.h"
#include "ui/screens/prompts_sets.h"

enum { MOST_SETS = 9, NAME_BYTES = 64 };

struct sets {
  char name[MOST_SETS][NAME_BYTES];
  int n;
};

static bool take_section(void *user, const char *section, const char *name, const char *value, int line, struct err *e) {
  struct sets *s = user;
  (void)name;
  (void)value;
  (void)line;
  (void)e;
  if (strncmp(section, "prompts ", 8)) return true;
  for (int i = 0; i < s->n; i++) {
    if (!strcmp(s->name[i], section + 8)) return true;
  }
  if (s->n < MOST_SETS) s->n += text_put(s->name[s->n], NAME_BYTES, "%s", section + 8);
  return true;
}

static const char *sets_path(struct app *a, char *buf, size_t n) {
  const struct subject *x = app_subject(a);
  text_put(buf, n, "%s/prompts.ini", x ? x->dir : "");
  return buf;
}

static void read_sets(struct app *a, struct sets *s) {
  char path[3200];
  size_t n;
  struct err ignored = {0};
  *s = (struct sets){.n = 0};
  if (!is_file(sets_path(a, path, sizeof path))) return;
  char *text = text_file_read(path, NULL, "", &n, &ignored);
  if (text) ini_read(path, text, n, take_section, s, &ignored);
  free(text);
}

/* --- keeping ------------------------------------------------------------------------------------------------------------------------ */

/* text without the lines of [prompts name], and those of the prompts [n_prompts] behind it. */
static void put_set(FILE *out, const char *text, const char *name, const struct prompts_state *s) {
  char head[NAME_BYTES + 16], prompt[2048];
  bool inside = false;
  text_put(head, sizeof head, "[prompts %s]", name);
  for (const char *p = text; *p;) {
    size_t n = strcspn(p, "\n");
    if (*p == '[') inside = n == strlen(head) && !strncmp(p, head, n);
    if (!inside) fprintf(out, "%.*s\n", (int)n, p);
    p += n + (p[n] == '\n');
  }
  fprintf(out, "%s\n", head);
  for (int i = 0; prompt_at(s, i, prompt, sizeof prompt); i++) fprintf(out, "prompt = %s\n", prompt);
}

static void keep_as(struct app *a, const char *name) {
  struct prompts_state *s = prompts_state(a);
  char path[3200], *text = NULL;
  size_t n = 0, ignored;
  struct err e = {0};
  char *before = is_file(sets_path(a, path, sizeof path)) ? text_file_read(path, NULL, "", &ignored, &e) : strdup("");
  FILE *f = before ? open_memstream(&text, &n) : NULL;
  if (f) put_set(f, before, name, s);
  bool ok = f && !fclose(f) && write_file(path, text, n, &e);
  if (ok)
    app_say(a, "kept with the subject: the set %s of %d prompts", name, prompts_count(s));
  else
    app_complain(a, "%s", e.code ? e.text : "out of memory");
  free(before);
  free(text);
}

static bool check_name(struct app *a, const char *text, char *why, size_t n) {
  char plain[NAME_BYTES];
  (void)a;
  file_name_from(text, plain, sizeof plain);
  if (!*text || strcmp(plain, text)) return text_put(why, n, "letters, digits, '.', '_' and '-'"), false;
  return true;
}

void prompts_keep(struct app *a, const char *argument) {
  struct prompts_state *s = prompts_state(a);
  char why[100];
  if (!s || !app_subject(a)) return;
  if (!prompts_count(s))
    app_complain(a, "there is no prompt to keep");
  else if (!argument)
    overlay_ask(a, "Keep these prompts with the subject as the set", "mine", keep_as, check_name);
  else if (check_name(a, argument, why, sizeof why))
    keep_as(a, argument);
  else
    app_complain(a, "a set's name has %s", why);
}

/* --- taking ------------------------------------------------------------------------------------------------------------------------- */

/* The prompts of the set in the place of those that are there. */
static void take_set(struct app *a, const char *name) {
  char path[3200], text[400];
  struct sets own;
  bool mine = false;
  read_sets(a, &own);
  for (int i = 0; i < own.n; i++) mine |= !strcmp(own.name[i], name);
  bool inside = !mine && (!strcmp(name, "live") || !strcmp(name, "object"));
  if (!mine && !inside) return app_complain(a, "there is no set %.60s; w keeps the prompts as one", name);
  if (mine) text_put(text, sizeof text, "prompts %s", name);
  prompts_replace_by(a, mine ? sets_path(a, path, sizeof path) : "embedded:dreambooth", mine ? text : name);
}

static struct sets offered;

static void chosen(struct app *a, int index) {
  if (index < offered.n) take_set(a, offered.name[index]);
  if (index >= offered.n) take_set(a, index == offered.n ? "live" : "object");
}

void prompts_take(struct app *a, const char *argument) {
  static const char *const key[] = {"1", "2", "3", "4", "5", "6", "7", "8", "9"};
  struct choice choice[MAX_CHOICES];
  if (!prompts_state(a) || !app_subject(a)) return;
  if (argument) return take_set(a, argument);
  read_sets(a, &offered);
  for (int i = 0; i < offered.n; i++) choice[i] = (struct choice){key[i], offered.name[i]};
  choice[offered.n] = (struct choice){"l", "the 25 of the DreamBooth data set for live subjects"};
  choice[offered.n + 1] = (struct choice){"o", "the 25 of the DreamBooth data set for objects"};
  overlay_choose(a, "Another set", "It takes the place of the prompts that are here.", choice, offered.n + 2, chosen);
}
