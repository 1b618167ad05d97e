/* The profile beside another one, or beside what a run was made with; and what makes it fit into memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assets/embedded.h"
#include "ui/screens/profile_state.h"

/* --- values ------------------------------------------------------------------------------------------------------------------------- */

static void values_of(const struct key *k, const struct settings *s, char *buf, size_t n) {
  size_t w = 0;
  if (n) *buf = 0;
  for (int i = 0; i < key_values(k, s) && w + 1 < n; i++) {
    if (i) buf[w++] = '\n';
    if (!key_format(k, s, i, buf + w, n - w)) break;
    w += strlen(buf + w);
  }
}

const char *profile_other(const struct profile_state *s, const struct key *k, char *buf, size_t n) {
  values_of(k, &s->against.settings, buf, n);
  return buf;
}

bool profile_same(const struct profile_state *s, const struct key *k) {
  char mine[4096], other[4096];
  if (!strcmp(k->section, "profile")) return true; /* where values come from, not what they are */
  values_of(k, &s->doc.effective.settings, mine, sizeof mine);
  return !strcmp(mine, profile_other(s, k, other, sizeof other));
}

/* --- which other one ----------------------------------------------------------------------------------------------------------------- */

void profile_forget_other(struct profile_state *s) {
  if (s->against_loaded) profile_release(&s->against);
  s->against_loaded = false;
  s->against_name[0] = 0;
}

static void compare_with(struct app *a, const char *path, const char *name) {
  struct profile_state *s = profile_state(a);
  struct err e = {0};
  profile_forget_other(s);
  if (profile_load(&s->against, path, embedded_files, NULL, 0, &e)) {
    s->against_loaded = true;
    text_put(s->against_name, sizeof s->against_name, "%s", name);
  } else {
    profile_release(&s->against);
    app_complain(a, "%s", e.text);
  }
  profile_rows(s);
  s->list = (struct list){.selected = 1};
  if (s->against_loaded && !s->rows) app_say(a, "nothing differs from %s", name);
}

struct other {
  char path[4100], name[300];
};
static struct other offered[MAX_CHOICES];
static int offers;

static void offer(const char *path, const char *name) {
  if (offers == MAX_CHOICES - 1) return;
  text_put(offered[offers].path, sizeof offered[0].path, "%s", path);
  text_put(offered[offers++].name, sizeof offered[0].name, "%s", name);
}

/* The subject's runs, the other subjects, the profiles inside the program. */
static void make_offers(struct app *a) {
  static const char *const inside[] = {"embedded:demo", "embedded:sd15-full", "embedded:sd15-lora"};
  enum { RUNS = 5, SUBJECTS = 8 };
  char path[4100], name[300];
  offers = 0;
  for (int i = 0; i < a->runs.n && offers < RUNS; i++) {
    if (strcmp(a->runs.item[i].subject, a->subject)) continue;
    text_put(path, sizeof path, "%s/profile.ini", a->runs.item[i].path);
    text_put(name, sizeof name, "the run %s", a->runs.item[i].name);
    if (is_file(path)) offer(path, name);
  }
  for (int i = 0; i < a->store.n && offers < SUBJECTS; i++) {
    const struct subject *x = &a->store.subject[i];
    if (!strcmp(x->name, a->subject) || x->archived) continue;
    text_put(name, sizeof name, "the subject %s", x->name);
    offer(subject_profile(x, path, sizeof path), name);
  }
  for (int i = 0; i < 3; i++) offer(inside[i], inside[i]);
}

static void with_file(struct app *a, const char *text) {
  char path[4096], name[4200];
  const char *home = getenv("HOME");
  bool tilde = !strncmp(text, "~/", 2) && home;
  text_put(path, sizeof path, "%s%s", tilde ? home : "", tilde ? text + 1 : text);
  text_put(name, sizeof name, "%s", text);
  if (is_directory(path)) { /* a run: its own name says enough */
    const char *last = strrchr(path, '/');
    text_put(name, sizeof name, "the run %s", last && last[1] ? last + 1 : path);
    text_put(path + strlen(path), sizeof path - strlen(path), "/profile.ini");
  }
  compare_with(a, path, name);
}

static void chosen(struct app *a, int index) {
  if (index < offers)
    compare_with(a, offered[index].path, offered[index].name);
  else
    overlay_ask_path(a, "A profile, or the directory of a run", "", with_file, NULL);
}

void profile_against(struct app *a, const char *argument) {
  static const char *const key[] = {"1", "2", "3", "4", "5", "6", "7", "8", "9", "0", "a"};
  struct profile_state *s = profile_state(a);
  struct choice choice[MAX_CHOICES];
  if (!s || !profile_doc_of(a)) return;
  if (argument) return with_file(a, argument);
  if (s->against_loaded) {
    profile_forget_other(s);
    profile_rows(s);
    return;
  }
  make_offers(a);
  for (int i = 0; i < offers; i++) choice[i] = (struct choice){key[i], offered[i].name};
  choice[offers] = (struct choice){"f", "a file, or the directory of a run"};
  overlay_choose(a, "What differs from", "Only those keys are shown then; t takes the other one's value, c ends it.", choice, offers + 1,
                 chosen);
}

void profile_take(struct app *a, const char *argument) {
  struct profile_state *s = profile_state(a);
  const struct key *k = profile_selected(a);
  char value[4096];
  (void)argument;
  if (!s || !k) return;
  if (!s->against_loaded) return app_say(a, "c chooses what the profile is compared with");
  profile_other(s, k, value, sizeof value);
  doc_set(&s->doc, k, value);
  if (*s->doc.trouble) app_complain(a, "%s", s->doc.trouble);
  profile_rows(s);
  profile_forecast(a);
}

/* --- what makes it fit ------------------------------------------------------------------------------------------------------------- */

/* "...; what would take less: batch = 1 (1.20 GiB, fits), mode = lora (900.0 MiB)" */
int remedies_of(const char *refusal, struct remedy out[MAX_REMEDIES]) {
  static const char begin[] = "what would take less: ";
  const char *p = strstr(refusal, begin);
  int n = 0;
  for (p = p ? p + strlen(begin) : ""; n < MAX_REMEDIES;) {
    struct remedy *r = &out[n];
    char rest[16] = "";
    int used = 0;
    if (sscanf(p, "%63[a-z0-9_] = %63[^ (] (%31[^,)]%15[^)])%n", r->name, r->value, r->takes, rest, &used) < 4 || !used) {
      used = 0;
      if (sscanf(p, "%63[a-z0-9_] = %63[^ (] (%31[^,)])%n", r->name, r->value, r->takes, &used) != 3 || !used) break;
      rest[0] = 0;
    }
    r->fits = strstr(rest, "fits") != NULL;
    n++;
    p += used;
    p += strspn(p, ", ");
  }
  return n;
}

static struct remedy known[MAX_REMEDIES];

static void apply(struct app *a, int i) {
  const struct key *k = key_find("train", known[i].name);
  if (!k) return;
  profile_set(a, k, known[i].value);
  app_say(a, "%s = %s: %s; u on the key takes it back", known[i].name, known[i].value, known[i].takes);
}

static int find_remedies(struct app *a) {
  int n = a->forecast.status ? remedies_of(a->forecast.text, known) : 0;
  if (!a->forecast.status)
    app_say(a, "it fits as it is");
  else if (!n)
    app_complain(a, "no single change is known that would make it fit");
  return n;
}

void profile_fit(struct app *a, const char *argument) {
  int n = find_remedies(a);
  (void)argument;
  for (int i = 0; i < n; i++) {
    if (known[i].fits) return apply(a, i);
  }
  if (n) app_complain(a, "no single change makes it fit; F shows what takes less");
}

void profile_remedies(struct app *a, const char *argument) {
  static const char *const key[] = {"1", "2", "3", "4", "5", "6", "7", "8"};
  static char label[MAX_REMEDIES][200];
  struct choice choice[MAX_REMEDIES];
  int n = find_remedies(a);
  (void)argument;
  for (int i = 0; i < n; i++) {
    text_put(label[i], sizeof label[i], "%s = %s: %s%s", known[i].name, known[i].value, known[i].takes, known[i].fits ? ", fits" : "");
    choice[i] = (struct choice){key[i], label[i]};
  }
  if (n) overlay_choose(a, "What would take less", "The change is made here and not saved yet.", choice, n, apply);
}
