/* Subjects: who can be trained, their photographs and runs. */
#include <stdlib.h>
#include <string.h>

#include "ui/profile_doc.h"
#include "ui/screens/masks.h"
#include "ui/screens/screens.h"
#include "ui/screens/subjects.h"

struct subjects_state *subjects_state(struct app *a) {
  if (!a->state[SCREEN_SUBJECTS]) a->state[SCREEN_SUBJECTS] = calloc(1, sizeof(struct subjects_state));
  return a->state[SCREEN_SUBJECTS];
}

static bool shown(const struct subjects_state *s, const struct subject *x) {
  return (s->archived || !x->archived) && (!*s->filter || strcasestr(x->name, s->filter) || strcasestr(x->class_name, s->filter));
}

int subject_at(const struct app *a, const struct subjects_state *s, int row) {
  for (int i = 0; i < a->store.n; i++) {
    if (shown(s, &a->store.subject[i]) && row-- == 0) return i;
  }
  return -1;
}

int subject_rows(const struct app *a, const struct subjects_state *s) {
  int n = 0;
  for (int i = 0; i < a->store.n; i++) n += shown(s, &a->store.subject[i]);
  return n;
}

void subjects_follow(struct app *a) {
  struct subjects_state *s = subjects_state(a);
  for (int i = 0, row = 0; s && i < a->store.n; i++) {
    if (!shown(s, &a->store.subject[i])) continue;
    if (!strcmp(a->store.subject[i].name, a->subject)) s->list.selected = row;
    row++;
  }
}

static void select_row(struct app *a, int row) {
  struct subjects_state *s = subjects_state(a);
  int i = s ? subject_at(a, s, row) : -1;
  if (i < 0) return;
  s->list.selected = row;
  app_choose_subject(a, a->store.subject[i].name);
  subjects_ask_facts(a);
}

/* --- what takes a while to find out ------------------------------------------------------------------------------------------------ */

static void facts_ended(struct app *a, const struct job_end *end) {
  facts_end(&subjects_state(a)->facts, end);
  if (a->screen == SCREEN_SUBJECTS) subjects_ask_facts(a);
}

void subjects_ask_facts(struct app *a) {
  struct subjects_state *s = subjects_state(a);
  const struct subject *x = app_subject(a);
  if (s && x && !x->archived) facts_ask(&s->facts, &a->jobs, x, runs_count(&a->runs, x->name), facts_ended);
}

/* --- actions ------------------------------------------------------------------------------------------------------------------ */

static void up(struct app *a, const char *argument) {
  (void)argument;
  if (subjects_state(a)) select_row(a, subjects_state(a)->list.selected - 1);
}

static void down(struct app *a, const char *argument) {
  (void)argument;
  if (subjects_state(a)) select_row(a, subjects_state(a)->list.selected + 1);
}

static void begin(struct app *a, int how) {
  if (how == 0)
    training_start(a, a->subject);
  else if (how == 1)
    app_go(a, SCREEN_PROFILE);
}

static void train(struct app *a, const char *argument) {
  static const struct choice choices[] = {{"t", "train"}, {"p", "look at the profile first"}, {"Esc", "not now"}};
  char text[700], profile[3200];
  struct profile_facts f;
  const struct subject *s = app_subject(a);
  if (argument) {
    training_start(a, argument);
    return;
  }
  if (!s) return;
  profile_facts(subject_profile(s, profile, sizeof profile), &f);
  text_put(text, sizeof text, "%s: %d photographs, %d masks; %s, %d steps at %dx%d%s", s->name, s->photographs, s->masks,
           f.lora ? "LoRA" : "full fine-tune", f.steps, f.width, f.height,
           runs_working(&a->runs) && !a->config.devices.n ? ". Another run is under way: this one will wait for it." : ".");
  if (!f.ok) text_put(text, sizeof text, "%.600s", f.trouble);
  overlay_choose(a, "Train", text, choices, 3, begin);
}

static void open_run(struct app *a, const char *argument) {
  (void)argument;
  app_go(a, SCREEN_TRAIN);
}

static void mark(struct app *a, const char *argument) {
  struct subject *s = app_subject(a);
  if (s) s->marked = !s->marked;
  down(a, argument);
}

static void queue_marked(struct app *a, const char *argument) {
  int n = 0;
  (void)argument;
  for (int i = 0; i < a->store.n; i++) {
    char name[128];
    if (!a->store.subject[i].marked) continue;
    a->store.subject[i].marked = false;
    text_put(name, sizeof name, "%s", a->store.subject[i].name);
    training_start(a, name);
    n++;
  }
  if (!n) app_say(a, "mark subjects with Space first");
}

void subjects_failed_or_chosen(struct app *a, bool ok, const struct err *e, const char *name) {
  if (!ok) app_complain(a, "%s", e->text);
  if (ok) app_choose_subject(a, name);
  subjects_follow(a);
}

static void rename_to(struct app *a, const char *name) {
  const struct masks_state *masks = a->state[SCREEN_MASKS];
  const struct run_item *work = runs_working(&a->runs);
  struct err e = {0};
  if (masks && masks->pid && !strcmp(masks->deriving, a->subject)) return app_complain(a, "not while its masks are being derived");
  if (work && !strcmp(work->subject, a->subject)) return app_complain(a, "not while it is being trained");
  int i = store_find(&a->store, a->subject);
  if (i >= 0) subjects_failed_or_chosen(a, store_rename(&a->store, i, name, &e), &e, name);
}

static void rename_it(struct app *a, const char *argument) {
  if (argument)
    rename_to(a, argument);
  else
    overlay_ask(a, "New name", a->subject, rename_to, subjects_check_name);
}

static void duplicate_as(struct app *a, const char *name) {
  struct err e = {0};
  int i = store_find(&a->store, a->subject);
  if (i >= 0) subjects_failed_or_chosen(a, store_duplicate(&a->store, i, name, &e), &e, name);
}

static void duplicate(struct app *a, const char *argument) {
  char name[160];
  text_put(name, sizeof name, "%s-2", a->subject);
  if (argument)
    duplicate_as(a, argument);
  else
    overlay_ask(a, "Name of the copy", name, duplicate_as, subjects_check_name);
}

static void archive(struct app *a, const char *argument) {
  struct err e = {0};
  int i = store_find(&a->store, a->subject);
  (void)argument;
  if (i < 0) return;
  bool now = !a->store.subject[i].archived;
  if (!store_archive(&a->store, i, now, &e))
    app_complain(a, "%s", e.text);
  else
    app_say(a, now ? "%s is archived; A shows archived subjects" : "%s is back", a->subject);
  if (now && !subjects_state(a)->archived) select_row(a, 0);
}

static void show_archived(struct app *a, const char *argument) {
  (void)argument;
  if (subjects_state(a)) subjects_state(a)->archived = !subjects_state(a)->archived;
  subjects_follow(a);
}

static void set_filter(struct app *a, const char *text) {
  if (!subjects_state(a)) return;
  text_put(subjects_state(a)->filter, sizeof subjects_state(a)->filter, "%s", text);
  select_row(a, 0);
}

static void filter(struct app *a, const char *argument) {
  if (argument)
    set_filter(a, argument);
  else
    overlay_ask(a, "Only subjects with", subjects_state(a) ? subjects_state(a)->filter : "", set_filter, NULL);
}

static void select_name(struct app *a, const char *name) {
  if (store_find(&a->store, name) < 0) {
    app_complain(a, "there is no subject %.60s", name);
    return;
  }
  app_choose_subject(a, name);
  subjects_follow(a);
}

static void select_subject(struct app *a, const char *argument) {
  if (argument)
    select_name(a, argument);
  else
    overlay_ask(a, "Subject", a->subject, select_name, NULL);
}

static const struct action actions[] = {
    {"subject.train", "t", "train", "Train the subject, or put it into the queue where a run is under way.", train},
    {"subject.open", "Enter", "its run", "Watch the subject's run.", open_run},
    {"subject.add", "n", "new", "A new subject: name a directory of photographs.", subjects_add},
    {"subject.mark", "Space", "mark", "Mark it, for the queue.", mark},
    {"subject.queue", "T", "train marked", "Train all marked subjects, one after the other.", queue_marked},
    {"subject.filter", "/", "filter", "Show only subjects whose name or class holds a text.", filter},
    {"subject.rename", "R", NULL, "Rename the subject; its runs keep their directories.", rename_it},
    {"subject.duplicate", "D", NULL, "A copy of the subject with another name, to change its profile.", duplicate},
    {"subject.archive", "x", NULL, "Put it away, or back; nothing is deleted.", archive},
    {"subject.archived", "A", NULL, "Show archived subjects as well, or not.", show_archived},
    {"subject.select", "", NULL, "Go to a subject by its name.", select_subject},
    {"subject.up", "Up k", NULL, "The subject above.", up},
    {"subject.down", "Down j", NULL, "The subject below.", down},
    {0},
};

static void mouse(struct app *a, struct rect r, const struct input_event *ev) {
  struct subjects_state *s = subjects_state(a);
  struct rect list = subjects_list_rect(r);
  if (!s) return;
  if (ev->mouse == MOUSE_WHEEL_UP) up(a, NULL);
  if (ev->mouse == MOUSE_WHEEL_DOWN) down(a, NULL);
  int row = ev->y > list.y && rect_holds(list, ev->x, ev->y)
                ? list_row_at(&s->list, (ev->y - list.y - 1) / subjects_row_height(r), subject_rows(a, s))
                : -1;
  if (ev->mouse == MOUSE_PRESS && row >= 0) select_row(a, row);
}

static void enter(struct app *a) {
  subjects_follow(a);
  subjects_ask_facts(a);
}

static void release(struct app *a) {
  facts_release(&subjects_state(a)->facts);
}

const struct screen subjects_screen = {
    .title = "Subjects", .actions = actions, .enter = enter, .draw = subjects_draw, .mouse = mouse, .release = release};
