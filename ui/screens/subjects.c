/* Subjects: who can be trained, their photographs and runs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "assets/embedded.h"
#include "ui/album.h"
#include "ui/app.h"
#include "ui/list.h"
#include "ui/profile_doc.h"
#include "ui/screens/screens.h"

enum { LIST_WIDTH = 40, NAME_COLUMNS = 18 };

struct subjects_state {
  struct list list;
  char filter[100];
  bool archived;                                /* shown as well */
  char images[3000], name[128], class_name[64]; /* of a new one, while it is asked for */
};

static struct subjects_state *state(struct app *a) {
  if (!a->state[SCREEN_SUBJECTS]) a->state[SCREEN_SUBJECTS] = calloc(1, sizeof(struct subjects_state));
  return a->state[SCREEN_SUBJECTS];
}

static bool shown(const struct subjects_state *s, const struct subject *x) {
  return (s->archived || !x->archived) && (!*s->filter || strcasestr(x->name, s->filter) || strcasestr(x->class_name, s->filter));
}

/* Index in the store of row i of the list; -1: none. */
static int subject_at(const struct app *a, const struct subjects_state *s, int row) {
  for (int i = 0; i < a->store.n; i++) {
    if (shown(s, &a->store.subject[i]) && row-- == 0) return i;
  }
  return -1;
}

static int rows(const struct app *a, const struct subjects_state *s) {
  int n = 0;
  for (int i = 0; i < a->store.n; i++) n += shown(s, &a->store.subject[i]);
  return n;
}

/* The list follows the subject that the screens are about. */
static void follow(struct app *a) {
  struct subjects_state *s = state(a);
  for (int i = 0, row = 0; s && i < a->store.n; i++) {
    if (!shown(s, &a->store.subject[i])) continue;
    if (!strcmp(a->store.subject[i].name, a->subject)) s->list.selected = row;
    row++;
  }
}

static void select_row(struct app *a, int row) {
  struct subjects_state *s = state(a);
  int i = s ? subject_at(a, s, row) : -1;
  if (i < 0) return;
  s->list.selected = row;
  app_choose_subject(a, a->store.subject[i].name);
}

/* --- actions ------------------------------------------------------------------------------------------------------------------ */

static void up(struct app *a, const char *argument) {
  (void)argument;
  if (state(a)) select_row(a, state(a)->list.selected - 1);
}

static void down(struct app *a, const char *argument) {
  (void)argument;
  if (state(a)) select_row(a, state(a)->list.selected + 1);
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
           runs_working(&a->runs) ? ". Another run is under way: this one will wait for it." : ".");
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

static void failed_or_chosen(struct app *a, bool ok, const struct err *e, const char *name) {
  if (!ok) app_complain(a, "%s", e->text);
  if (ok) app_choose_subject(a, name);
  follow(a);
}

static void add_with_token(struct app *a, const char *token) {
  struct subjects_state *s = state(a);
  struct err e = {0};
  failed_or_chosen(a, store_add(&a->store, s->name, s->images, token, s->class_name, embedded_files, &e), &e, s->name);
}

static void add_with_class(struct app *a, const char *class_name) {
  text_put(state(a)->class_name, sizeof state(a)->class_name, "%s", class_name);
  overlay_ask(a, "A rare word that will mean the subject", "sks", add_with_token, NULL);
}

static bool check_class(struct app *a, const char *text, char *why, size_t n) {
  (void)a;
  return *text || (text_put(why, n, "a word such as dog, clock, backpack"), false);
}

static void add_with_name(struct app *a, const char *name) {
  text_put(state(a)->name, sizeof state(a)->name, "%s", name);
  overlay_ask(a, "What kind of thing it is", "", add_with_class, check_class);
}

static bool check_name(struct app *a, const char *text, char *why, size_t n) {
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
  struct subjects_state *s = state(a);
  char name[128];
  home_expanded(text, s->images, sizeof s->images);
  size_t n = strlen(s->images);
  while (n > 1 && s->images[n - 1] == '/') s->images[--n] = 0;
  const char *slash = strrchr(s->images, '/'), *colon = strrchr(s->images, ':');
  file_name_from(slash ? slash + 1 : colon ? colon + 1 : s->images, name, sizeof name);
  overlay_ask(a, "Name of the subject", name, add_with_name, check_name);
}

static void add(struct app *a, const char *argument) {
  char why[200];
  if (argument && !check_images(a, argument, why, sizeof why))
    app_complain(a, "%.200s: %s", argument, why);
  else if (argument)
    add_with_images(a, argument);
  else
    overlay_ask(a, "Directory of the photographs", "", add_with_images, check_images);
}

static void rename_to(struct app *a, const char *name) {
  struct err e = {0};
  int i = store_find(&a->store, a->subject);
  if (i >= 0) failed_or_chosen(a, store_rename(&a->store, i, name, &e), &e, name);
}

static void rename_it(struct app *a, const char *argument) {
  if (argument)
    rename_to(a, argument);
  else
    overlay_ask(a, "New name", a->subject, rename_to, check_name);
}

static void duplicate_as(struct app *a, const char *name) {
  struct err e = {0};
  int i = store_find(&a->store, a->subject);
  if (i >= 0) failed_or_chosen(a, store_duplicate(&a->store, i, name, &e), &e, name);
}

static void duplicate(struct app *a, const char *argument) {
  char name[160];
  text_put(name, sizeof name, "%s-2", a->subject);
  if (argument)
    duplicate_as(a, argument);
  else
    overlay_ask(a, "Name of the copy", name, duplicate_as, check_name);
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
  if (now && !state(a)->archived) select_row(a, 0);
}

static void show_archived(struct app *a, const char *argument) {
  (void)argument;
  if (state(a)) state(a)->archived = !state(a)->archived;
  follow(a);
}

static void set_filter(struct app *a, const char *text) {
  if (!state(a)) return;
  text_put(state(a)->filter, sizeof state(a)->filter, "%s", text);
  select_row(a, 0);
}

static void filter(struct app *a, const char *argument) {
  if (argument)
    set_filter(a, argument);
  else
    overlay_ask(a, "Only subjects with", state(a) ? state(a)->filter : "", set_filter, NULL);
}

static void select_name(struct app *a, const char *name) {
  if (store_find(&a->store, name) < 0) {
    app_complain(a, "there is no subject %.60s", name);
    return;
  }
  app_choose_subject(a, name);
  follow(a);
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
    {"subject.add", "n", "new", "A new subject: name a directory of photographs.", add},
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

/* --- drawing --------------------------------------------------------------------------------------------------------------------- */

static const char *state_word(const struct app *a, const struct subject *s, enum style *style) {
  int i = runs_of(&a->runs, s->name);
  enum run_status run = i < 0 ? RUN_EMPTY : a->runs.item[i].state;
  *style = STYLE_DIM;
  for (int k = 0; k < a->queue.n; k++) {
    if (!strcmp(a->queue.name[k], s->name)) return *style = STYLE_ACCENT, "queued";
  }
  if (*s->trouble) return *style = STYLE_ERROR, "trouble";
  if (s->archived) return "archived";
  if (run == RUN_WORKING || run == RUN_PAUSED) return *style = STYLE_ACCENT, run_state_name(run);
  if (run == RUN_DONE) return *style = STYLE_OK, "trained";
  if (run == RUN_STOPPED) return *style = STYLE_WARN, "stopped";
  if (run == RUN_FAILED) return *style = STYLE_ERROR, "failed";
  return s->photographs && s->masks == s->photographs ? "masked" : "new";
}

static void draw_row(struct app *a, struct rect r, const struct subject *s, bool selected) {
  enum style style;
  const char *word = state_word(a, s, &style);
  if (selected) canvas_field(&a->canvas, r.x, r.y, r.w, ALIGN_LEFT, STYLE_SELECTED, "");
  if (s->marked) canvas_put(&a->canvas, r.x, r.y, selected ? STYLE_SELECTED : STYLE_STAR, canvas_sign(&a->canvas, SIGN_CHECK));
  canvas_field(&a->canvas, r.x + 2, r.y, NAME_COLUMNS, ALIGN_LEFT, selected ? STYLE_SELECTED : STYLE_TEXT, s->name);
  canvas_field(&a->canvas, r.x + 3 + NAME_COLUMNS, r.y, r.w - NAME_COLUMNS - 4, ALIGN_LEFT, selected ? STYLE_SELECTED : style, word);
}

static void draw_list(struct app *a, struct rect r) {
  struct subjects_state *s = state(a);
  char title[160];
  int n = rows(a, s);
  text_put(title, sizeof title, "Subjects%s%s", *s->filter ? " with " : "", s->filter);
  struct rect in = canvas_box(&a->canvas, r, STYLE_FOCUS, title);
  list_clamp(&s->list, n, in.h);
  for (int i = 0; i < in.h && s->list.first + i < n; i++) {
    const struct subject *x = &a->store.subject[subject_at(a, s, s->list.first + i)];
    draw_row(a, (struct rect){in.x, in.y + i, in.w, 1}, x, s->list.first + i == s->list.selected);
  }
  if (!n) canvas_paragraph(&a->canvas, in, 0, STYLE_DIM, "Nothing here. n makes a subject of a directory of photographs.");
  canvas_scrollbar(&a->canvas, r.x + r.w - 1, in.y, in.h, s->list.first, in.h, n, STYLE_BORDER);
}

static int draw_facts(struct app *a, struct rect r, const struct subject *s) {
  int y = r.y, end = r.y + r.h;
#define FACT(label, ...)                                               \
  if (y < end) {                                                       \
    canvas_text(&a->canvas, r.x, y, STYLE_DIM, label);                 \
    canvas_printf(&a->canvas, r.x + 13, y++, STYLE_TEXT, __VA_ARGS__); \
  }
  FACT("it is", "%s %s", s->token, s->class_name)
  FACT("photographs", "%d, %d with a mask", s->photographs, s->masks)
  FACT("in", "%s", s->images)
  if (*s->chosen) FACT("kept", "%s", s->chosen)
#undef FACT
  if (*s->trouble && y < end) canvas_field(&a->canvas, r.x, y++, r.w, ALIGN_LEFT, STYLE_ERROR, s->trouble);
  return y - r.y;
}

static void draw_runs(struct app *a, struct rect r, const struct subject *s) {
  int y = r.y;
  if (r.h < 2) return;
  canvas_printf(&a->canvas, r.x, y++, STYLE_HEADER, "Runs (%d)", runs_count(&a->runs, s->name));
  for (int i = 0; i < a->runs.n && y < r.y + r.h; i++) {
    const struct run_item *x = &a->runs.item[i];
    if (strcmp(x->subject, s->name)) continue;
    canvas_field(&a->canvas, r.x, y, 28, ALIGN_LEFT, STYLE_TEXT, x->name);
    canvas_field(&a->canvas, r.x + 29, y, 9, ALIGN_LEFT, x->state == RUN_FAILED ? STYLE_ERROR : STYLE_DIM, run_state_name(x->state));
    if (isfinite(x->probe))
      canvas_printf(&a->canvas, r.x + 39, y, STYLE_TEXT, "probe %.4f", x->probe);
    else if (isfinite(x->last_loss))
      canvas_printf(&a->canvas, r.x + 39, y, STYLE_TEXT, "loss %.4f", x->last_loss);
    y++;
  }
}

/* The photographs in as many columns as make them largest. */
static void draw_photographs(struct app *a, struct rect r, const struct subject *s) {
  char path[4096];
  int n = s->photographs, best = 1, size = 0;
  for (int columns = 1; columns <= n; columns++) {
    int lines = (n + columns - 1) / columns, w = (r.w - columns + 1) / columns, h = r.h / lines;
    int least = w / 2 < h ? w / 2 : h;
    if (least > size) size = least, best = columns;
  }
  if (size < 2) return;
  int lines = (n + best - 1) / best, w = (r.w - best + 1) / best, h = r.h / lines;
  if (w > 2 * h + 2) w = 2 * h + 2;
  for (int i = 0; i < n; i++) {
    struct rect cell = {r.x + i % best * (w + 1), r.y + i / best * h, w, h};
    album_show(a, cell, subject_photograph(s, i, path, sizeof path));
  }
}

static void draw_detail(struct app *a, struct rect r) {
  const struct subject *s = app_subject(a);
  struct rect in = rect_inset(canvas_box(&a->canvas, r, STYLE_BORDER, s ? s->name : ""), 1, 0, 1, 0);
  if (!s) return;
  struct rect before = canvas_clip(&a->canvas, in);
  int used = draw_facts(a, in, s) + 1, own = runs_count(&a->runs, s->name), list = own < 5 ? own + 1 : 6;
  if (in.h - used < list + 4) list = 0;
  draw_photographs(a, rect_inset(in, 0, used, 0, list + (list > 0)), s);
  draw_runs(a, rect_bottom(in, list), s);
  canvas_unclip(&a->canvas, before);
}

static struct rect list_rect(struct rect r) {
  return rect_left(r, r.w < 100 ? r.w * 2 / 5 : LIST_WIDTH);
}

static void draw(struct app *a, struct rect r) {
  struct rect list = list_rect(r);
  if (!state(a)) return;
  draw_list(a, list);
  draw_detail(a, rect_inset(r, list.w, 0, 0, 0));
}

static void mouse(struct app *a, struct rect r, const struct input_event *ev) {
  struct subjects_state *s = state(a);
  struct rect list = list_rect(r);
  if (!s) return;
  if (ev->mouse == MOUSE_WHEEL_UP) up(a, NULL);
  if (ev->mouse == MOUSE_WHEEL_DOWN) down(a, NULL);
  int row = rect_holds(list, ev->x, ev->y) ? list_row_at(&s->list, ev->y - list.y - 1, rows(a, s)) : -1;
  if (ev->mouse == MOUSE_PRESS && row >= 0) select_row(a, row);
}

const struct screen subjects_screen = {.title = "Subjects", .actions = actions, .enter = follow, .draw = draw, .mouse = mouse};
