/* Profile: every key of what will be run, with where its value comes from. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ui/screens/profile_state.h"
#include "ui/screens/screens.h"

struct profile_state *profile_state(struct app *a) {
  if (!a->state[SCREEN_PROFILE]) a->state[SCREEN_PROFILE] = calloc(1, sizeof(struct profile_state));
  return a->state[SCREEN_PROFILE];
}

struct profile_doc *profile_doc_of(struct app *a) {
  struct profile_state *s = profile_state(a);
  char path[3200] = "";
  const struct subject *x = app_subject(a);
  if (!s) return NULL;
  if (x) subject_profile(x, path, sizeof path);
  if (strcmp(path, s->doc.path)) {
    if (s->doc.changes) app_complain(a, "%d changes that were not saved are gone", s->doc.changes);
    doc_close(&s->doc);
    profile_forget_other(s);
    if (*path) doc_open(&s->doc, path);
  }
  return &s->doc;
}

void profile_forecast(struct app *a) {
  struct profile_doc *d = profile_doc_of(a);
  if (d && *d->path && !a->plain) outlook_begin(&a->forecast, &a->jobs, d);
}

static bool shown(const struct profile_state *s, const struct key *k) {
  char name[128];
  text_put(name, sizeof name, "%s.%s", k->section, k->name);
  if (*s->filter && !strcasestr(name, s->filter) && !strcasestr(k->help, s->filter)) return false;
  if (s->against_loaded) return !profile_same(s, k);
  return !s->only_set || doc_origin(&s->doc, k) != ORIGIN_DEFAULT;
}

void profile_rows(struct profile_state *s) {
  const char *section = "";
  s->rows = 0;
  for (int i = 0; i < key_count && s->rows + 2 < MAX_PROFILE_ROWS; i++) {
    if (!shown(s, &keys[i])) continue;
    if (strcmp(section, keys[i].section)) s->row[s->rows++] = -1 - i;
    section = keys[i].section;
    s->row[s->rows++] = i;
  }
}

const struct key *profile_selected(struct app *a) {
  struct profile_state *s = profile_state(a);
  if (!s || s->list.selected >= s->rows) return NULL;
  int i = s->row[s->list.selected];
  return i < 0 ? NULL : &keys[i];
}

static void open_doc(struct app *a) {
  struct profile_state *s = profile_state(a);
  if (!profile_doc_of(a)) return;
  profile_rows(s);
  if (!s->list.selected) s->list.selected = 1;
  a->forecast.text[0] = a->forecast.summary[0] = 0;
  profile_forecast(a);
}

static void move(struct app *a, int by) {
  struct profile_state *s = profile_state(a);
  if (!s) return;
  int at = s->list.selected + by, step = by < 0 ? -1 : 1;
  if (at < 0) at = 0, step = 1;
  if (at >= s->rows) at = s->rows - 1, step = -1;
  while (at >= 0 && at < s->rows && s->row[at] < 0) at += step;
  if (at < 0) at = 1;
  if (at < s->rows) s->list.selected = at;
}

/* --- actions ------------------------------------------------------------------------------------------------------------------ */

#define MOVE(name, by)                                    \
  static void name(struct app *a, const char *argument) { \
    (void)argument;                                       \
    move(a, by);                                          \
  }
MOVE(up, -1)
MOVE(down, 1)
MOVE(page_up, -12)
MOVE(page_down, 12)

static void set_value(struct app *a, const char *text) {
  struct profile_state *s = profile_state(a);
  char before[4096], now[4096];
  if (!s || !s->edited) return;
  doc_value(&s->doc, s->edited, before, sizeof before);
  text_put(now, sizeof now, "%s", text);
  for (char *p = now; s->edited->type == KEY_LIST && *p; p++) *p = *p == ',' ? '\n' : *p; /* a list is typed with commas */
  if (!strcmp(before, now)) return;
  doc_set(&s->doc, s->edited, now);
  if (*s->doc.trouble) app_complain(a, "%s", s->doc.trouble);
  profile_rows(s);
  profile_forecast(a);
}

void profile_set(struct app *a, const struct key *k, const char *text) {
  if (!profile_state(a) || !k) return;
  profile_state(a)->edited = k;
  set_value(a, text);
}

static bool check_value(struct app *a, const char *text, char *why, size_t n) {
  return doc_allowed(profile_state(a)->edited, text, why, n);
}

static void edit(struct app *a, const char *argument) {
  struct profile_state *s = profile_state(a);
  const struct key *k = profile_selected(a);
  char value[4096], title[200], allowed[120];
  if (!k || !s) return;
  s->edited = k;
  if (argument) {
    set_value(a, argument);
    return;
  }
  doc_value(&s->doc, k, value, sizeof value);
  if (k == key_find("prompts", "test")) {
    app_go(a, SCREEN_PROMPTS);
    return;
  }
  for (char *p = value; k->type == KEY_LIST && *p; p++) *p = *p == '\n' ? ',' : *p;
  text_put(title, sizeof title, "%s.%s, %s", k->section, k->name, key_allowed(k, allowed, sizeof allowed));
  overlay_ask(a, title, value, set_value, check_value);
}

/* The next of the choices, or the other of true and false. */
static void cycle(struct app *a, const char *argument) {
  struct profile_state *s = profile_state(a);
  const struct key *k = profile_selected(a);
  char value[256], next[64] = "";
  if (!k || (k->type != KEY_BOOL && k->type != KEY_CHOICE && k->type != KEY_WORD)) {
    edit(a, argument);
    return;
  }
  s->edited = k;
  doc_value(&s->doc, k, value, sizeof value);
  const char *choices = k->type == KEY_BOOL ? "true|false" : k->choices;
  for (const char *p = choices; *p; p += strcspn(p, "|"), p += *p == '|') {
    size_t n = strcspn(p, "|");
    if (n != strlen(value) || strncmp(p, value, n)) continue;
    const char *after = p[n] ? p + n + 1 : choices;
    text_put(next, sizeof next, "%.*s", (int)strcspn(after, "|"), after);
  }
  set_value(a, *next ? next : choices);
}

static void revert(struct app *a, const char *argument) {
  const struct key *k = profile_selected(a);
  (void)argument;
  if (!k) return;
  doc_revert(&profile_state(a)->doc, k);
  profile_rows(profile_state(a));
  profile_forecast(a);
}

void profile_save(struct app *a, const char *argument) {
  struct profile_state *s = profile_state(a);
  struct err e = {0};
  int n = s ? s->doc.changes : 0;
  (void)argument;
  if (!n)
    app_say(a, "nothing has been changed");
  else if (!doc_save(&s->doc, &e))
    app_complain(a, "%s", e.text);
  else
    app_say(a, "%d changed; the profile as it was is in profile.ini.bak", n);
  if (n) store_reload(&a->store, &e);
  if (s) profile_rows(s);
}

static void only_set(struct app *a, const char *argument) {
  struct profile_state *s = profile_state(a);
  (void)argument;
  if (!s) return;
  s->only_set = !s->only_set;
  profile_rows(s);
  s->list.selected = 1;
}

static void set_filter(struct app *a, const char *text) {
  struct profile_state *s = profile_state(a);
  text_put(s->filter, sizeof s->filter, "%s", text);
  profile_rows(s);
  s->list = (struct list){.selected = 1};
}

static void filter(struct app *a, const char *argument) {
  if (!profile_state(a)) return;
  if (argument)
    set_filter(a, argument);
  else
    overlay_ask(a, "Only keys with", profile_state(a)->filter, set_filter, NULL);
}

/* From the palette: "train.lr", and with a value it is set. */
static void to_key(struct app *a, const char *argument) {
  char section[64];
  const char *dot = argument ? strchr(argument, '.') : NULL;
  struct profile_state *s = profile_state(a);
  app_go(a, SCREEN_PROFILE);
  if (!dot || !s) return;
  text_put(section, sizeof section, "%.*s", (int)(dot - argument), argument);
  char name[64];
  text_put(name, sizeof name, "%.*s", (int)strcspn(dot + 1, " ="), dot + 1);
  s->filter[0] = 0;
  s->only_set = false;
  profile_rows(s);
  for (int i = 0; i < s->rows; i++) {
    if (s->row[i] < 0 || key_find(section, name) != &keys[s->row[i]]) continue;
    s->list.selected = i;
    edit(a, NULL);
  }
}

static const struct action actions[] = {
    {"profile.edit", "Enter e", "change", "Change the value of the key.", edit},
    {"profile.next", "Space", "next choice", "The next of the possible values.", cycle},
    {"profile.save", "s Ctrl-S", "save", "Write the changes into the profile; comments and order stay, the old one is kept as .bak.",
     profile_save},
    {"profile.revert", "u Del", "undo", "The value that the file gives.", revert},
    {"profile.only-set", "d", "differences", "Only what is not the default; again: everything.", only_set},
    {"profile.against", "c", "against", "Only what differs from another profile or from a run; again: everything.", profile_against},
    {"profile.fit", "f", NULL, "What does not fit into memory: take the cheapest change that makes it fit.", profile_fit},
    {"profile.remedies", "F", NULL, "What does not fit into memory: choose what to change.", profile_remedies},
    {"profile.take", "t", NULL, "The value of the key that the other profile has.", profile_take},
    {"profile.filter", "/", "filter", "Only keys whose name or meaning holds a text.", filter},
    {"profile.key", "", NULL, "Go to a key by its name, such as train.lr.", to_key},
    {"profile.up", "Up k", NULL, "The key above.", up},
    {"profile.down", "Down j", NULL, "The key below.", down},
    {"profile.page-up", "PgUp", NULL, "Twelve keys up.", page_up},
    {"profile.page-down", "PgDn", NULL, "Twelve keys down.", page_down},
    {0},
};

/* --- mouse, leaving ---------------------------------------------------------------------------------------------------------------------- */

static void mouse(struct app *a, struct rect r, const struct input_event *ev) {
  struct profile_state *s = profile_state(a);
  struct rect list = profile_list_rect(r);
  if (ev->mouse == MOUSE_WHEEL_UP) move(a, -3);
  if (ev->mouse == MOUSE_WHEEL_DOWN) move(a, 3);
  int row = s && rect_holds(list, ev->x, ev->y) ? list_row_at(&s->list, ev->y - list.y - 1, s->rows) : -1;
  if (ev->mouse != MOUSE_PRESS || row < 0 || s->row[row] < 0) return;
  if (s->list.selected == row) cycle(a, NULL);
  s->list.selected = row;
}

static void save_or_not(struct app *a, int how) {
  struct profile_state *s = profile_state(a);
  char path[3200];
  if (how == 0) profile_save(a, NULL);
  if (how != 1) return;
  text_put(path, sizeof path, "%s", s->doc.path);
  doc_close(&s->doc);
  doc_open(&s->doc, path);
  profile_rows(s);
}

int profile_unsaved(const struct app *a) {
  const struct profile_state *s = a->state[SCREEN_PROFILE];
  return s ? s->doc.changes : 0;
}

void profile_leave(struct app *a) {
  static const struct choice choices[] = {{"s", "save"}, {"x", "throw the changes away"}, {"Esc", "keep them as they are for now"}};
  struct profile_state *s = profile_state(a);
  bool same = a->screen_next == SCREEN_PROFILE || a->screen_next == SCREEN_PROMPTS; /* both work on the same changes */
  if (s && s->doc.changes && !same)
    overlay_choose(a, "Profile", "The profile has been changed and not been saved.", choices, 3, save_or_not);
}

static void release(struct app *a) {
  doc_close(&profile_state(a)->doc);
  profile_forget_other(profile_state(a));
}

const struct screen profile_screen = {.title = "Profile",
                                      .actions = actions,
                                      .enter = open_doc,
                                      .leave = profile_leave,
                                      .draw = profile_draw,
                                      .mouse = mouse,
                                      .release = release};
