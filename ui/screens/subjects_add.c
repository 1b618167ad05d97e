/* A new subject: the directory of its photographs, its name, class, rare word and prompt; then its masks at once. */
#include <stdlib.h>
#include <string.h>

#include "assets/embedded.h"
#include "init.h"
#include "profile.h"
#include "ui/ini_edit.h"
#include "ui/profile_doc.h"
#include "ui/screens/masks.h"
#include "ui/screens/subjects.h"

static const char suggested[] = "a photo of {token} {class}";

/* The prompt of the photographs into the new subject's profile. */
static bool set_prompt(const struct subject *x, const char *prompt, struct err *e) {
  char path[3200];
  size_t n;
  char *text = text_file_read(subject_profile(x, path, sizeof path), NULL, "", &n, e);
  char *next = text ? ini_with(text, key_find("prompts", "instance"), &prompt, 1) : NULL;
  bool ok = next ? write_file(path, next, strlen(next), e) : text ? err_set(e, ERR_FAILED, "out of memory") : false;
  free(text);
  free(next);
  return ok;
}

static void add_with_prompt(struct app *a, const char *prompt) {
  struct subjects_state *s = subjects_state(a);
  struct err e = {0};
  bool ok = store_add(&a->store, s->name, s->images, s->token, s->class_name, embedded_files, &e);
  int i = ok ? store_find(&a->store, s->name) : -1;
  if (i >= 0 && *prompt) ok = set_prompt(&a->store.subject[i], prompt, &e);
  subjects_failed_or_chosen(a, ok, &e, s->name);
  if (!ok) return;
  subjects_ask_facts(a);
  masks_derive_missing(a);
}

static bool check_prompt(struct app *a, const char *text, char *why, size_t n) {
  (void)a;
  if (!strstr(text, "{token}")) return text_put(why, n, "{token} must stand in it: the rare word that will mean the subject"), false;
  return doc_allowed(key_find("prompts", "instance"), text, why, n);
}

static void add_with_token(struct app *a, const char *token) {
  text_put(subjects_state(a)->token, sizeof subjects_state(a)->token, "%s", token);
  overlay_ask(a, "Prompt of its photographs", suggested, add_with_prompt, check_prompt);
}

static bool check_token(struct app *a, const char *text, char *why, size_t n) {
  (void)a;
  if (!*text || strpbrk(text, " \t;")) return text_put(why, n, "one word without blanks, such as sks or zwx"), false;
  return true;
}

static void add_with_class(struct app *a, const char *class_name) {
  text_put(subjects_state(a)->class_name, sizeof subjects_state(a)->class_name, "%s", class_name);
  overlay_ask(a, "A rare word that will mean the subject", "sks", add_with_token, check_token);
}

static bool check_class(struct app *a, const char *text, char *why, size_t n) {
  (void)a;
  return *text || (text_put(why, n, "a word such as dog, clock, backpack"), false);
}

static void add_with_name(struct app *a, const char *name) {
  text_put(subjects_state(a)->name, sizeof subjects_state(a)->name, "%s", name);
  const char *slash = strrchr(subjects_state(a)->images, '/');
  struct strings owner = {0};
  char guess[64];
  text_put(guess, sizeof guess, "%s", class_of_name(slash ? slash + 1 : subjects_state(a)->images, &owner));
  strings_release(&owner);
  overlay_ask(a, "What kind of thing it is", guess, add_with_class, check_class);
}

bool subjects_check_name(struct app *a, const char *text, char *why, size_t n) {
  char plain[128];
  file_name_from(text, plain, sizeof plain);
  if (!*text || strcmp(plain, text)) return text_put(why, n, "letters, digits, '.', '_' and '-'"), false;
  if (store_find(&a->store, text) >= 0) return text_put(why, n, "there is a subject of that name"), false;
  return true;
}

static void home_expanded(const char *text, char *out, size_t n) {
  const char *home = getenv("HOME");
  if (!strncmp(text, "~/", 2) && home)
    text_put(out, n, "%s%s", home, text + 1);
  else
    text_put(out, n, "%s", text);
}

static bool check_images(struct app *a, const char *text, char *why, size_t n) {
  char path[3000];
  (void)a;
  home_expanded(text, path, sizeof path);
  if (is_directory(path) || !strncmp(path, "embedded:", 9)) return true;
  return text_put(why, n, "there is no such directory (Tab completes a path)"), false;
}

static void add_with_images(struct app *a, const char *text) {
  struct subjects_state *s = subjects_state(a);
  char name[128];
  home_expanded(text, s->images, sizeof s->images);
  size_t n = strlen(s->images);
  while (n > 1 && s->images[n - 1] == '/') s->images[--n] = 0;
  const char *slash = strrchr(s->images, '/'), *colon = strrchr(s->images, ':');
  file_name_from(slash ? slash + 1 : colon ? colon + 1 : s->images, name, sizeof name);
  overlay_ask(a, "Name of the subject", name, add_with_name, subjects_check_name);
}

void subjects_add(struct app *a, const char *argument) {
  char why[200];
  if (argument && !check_images(a, argument, why, sizeof why))
    app_complain(a, "%.200s: %s", argument, why);
  else if (argument)
    add_with_images(a, argument);
  else
    overlay_ask_path(a, "Directory of the photographs", "", add_with_images, check_images);
}
