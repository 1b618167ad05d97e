/* Prompts: what samples are drawn of, as templates with {token} and {class}. */
#include "prompts.h"

#include <stdlib.h>
#include <string.h>

#include "assets/embedded.h"
#include "ui/screens/profile.h"
#include "ui/screens/prompts_sets.h"
#include "ui/screens/screens.h"

struct prompts_state *prompts_state(struct app *a) {
  if (!a->state[SCREEN_PROMPTS]) a->state[SCREEN_PROMPTS] = calloc(1, sizeof(struct prompts_state));
  return a->state[SCREEN_PROMPTS];
}

static const struct key *test_key(void) {
  return key_find("prompts", "test");
}

static void read_text(struct app *a) {
  struct prompts_state *s = prompts_state(a);
  struct profile_doc *d = profile_doc_of(a);
  if (s && d) doc_value(d, test_key(), s->text, sizeof s->text);
}

int prompts_count(const struct prompts_state *s) {
  int n = *s->text != 0;
  for (const char *p = s->text; *p; p++) n += *p == '\n';
  return n;
}

bool prompt_at(const struct prompts_state *s, int i, char *buf, size_t n) {
  const char *p = s->text;
  if (i < 0 || i >= prompts_count(s)) return false;
  for (; i > 0; i--) p = strchr(p, '\n') + 1;
  text_put(buf, n, "%.*s", (int)strcspn(p, "\n"), p);
  return true;
}

/* All prompts are these lines. */
static void put_all(struct app *a, const char *text) {
  struct profile_doc *d = profile_doc_of(a);
  if (!d) return;
  doc_set(d, test_key(), text);
  if (*d->trouble) app_complain(a, "%s", d->trouble);
  read_text(a);
}

/* Puts text (lines, or "" for nothing) in the place of prompt i; i = count: behind the last. */
static void replace(struct app *a, int i, const char *text) {
  struct prompts_state *s = prompts_state(a);
  char *all = malloc(PROMPTS_BYTES), line[2048];
  size_t w = 0;
  if (!s || !all) return free(all);
  *all = 0;
  int n = prompts_count(s);
  for (int k = 0; k <= n; k++) {
    const char *now = k == i ? text : prompt_at(s, k, line, sizeof line) ? line : "";
    if (!*now || w + strlen(now) + 2 > PROMPTS_BYTES) continue;
    text_put(all + w, PROMPTS_BYTES - w, "%s%s", w ? "\n" : "", now);
    w += strlen(all + w);
  }
  put_all(a, all);
  free(all);
}

/* --- actions ------------------------------------------------------------------------------------------------------------------ */

static bool check(struct app *a, const char *text, char *why, size_t n) {
  (void)a;
  return doc_allowed(test_key(), text, why, n);
}

static void put_here(struct app *a, const char *text) {
  replace(a, prompts_state(a)->list.selected, text);
}

static void put_last(struct app *a, const char *text) {
  int n = prompts_count(prompts_state(a));
  replace(a, n, text);
  prompts_state(a)->list.selected = n;
}

static void edit(struct app *a, const char *argument) {
  char text[2048];
  struct prompts_state *s = prompts_state(a);
  if (!s || !prompt_at(s, s->list.selected, text, sizeof text)) return;
  if (argument)
    put_here(a, argument);
  else
    overlay_ask(a, "Prompt, {token} and {class} are replaced", text, put_here, check);
}

static void add(struct app *a, const char *argument) {
  if (!prompts_state(a)) return;
  if (argument)
    put_last(a, argument);
  else
    overlay_ask(a, "New prompt, {token} and {class} are replaced", "a photo of {token} {class} ", put_last, check);
}

static void drop(struct app *a, const char *argument) {
  (void)argument;
  if (prompts_state(a)) replace(a, prompts_state(a)->list.selected, "");
}

static void swap(struct app *a, int by) {
  struct prompts_state *s = prompts_state(a);
  char one[2048], other[2048], both[4100];
  int at = s ? s->list.selected : 0, low = by < 0 ? at - 1 : at;
  if (!s || !prompt_at(s, low, one, sizeof one) || !prompt_at(s, low + 1, other, sizeof other)) return;
  text_put(both, sizeof both, "%s\n%s", other, one);
  replace(a, low, both);
  /* both stand in the first one's place: the old second one goes */
  replace(a, low + 2, "");
  s->list.selected = at + by;
}

static void earlier(struct app *a, const char *argument) {
  (void)argument;
  swap(a, -1);
}

static void later(struct app *a, const char *argument) {
  (void)argument;
  swap(a, 1);
}

/* All prompts of a file, or of a set inside the program, behind those that are there, or instead of them. */
static void take_file(struct app *a, const char *path, const char *section, bool instead) {
  struct prompts p = {.n = 0};
  struct err e = {0};
  char *text = calloc(1, PROMPTS_BYTES);
  size_t w = 0;
  if (text && prompts_read(&p, path, section, embedded_files, &e)) {
    for (int i = 0; i < p.n && w + strlen(p.text[i]) + 2 < PROMPTS_BYTES; i++) {
      text_put(text + w, PROMPTS_BYTES - w, "%s%s", i ? "\n" : "", p.text[i]);
      w += strlen(text + w);
    }
    if (instead) put_all(a, text);
    if (!instead) replace(a, prompts_count(prompts_state(a)), text);
    app_say(a, instead ? "%d prompts" : "%d prompts added", p.n);
  } else {
    app_complain(a, "%s", e.text);
  }
  prompts_release(&p);
  free(text);
}

static void append(struct app *a, const char *path, const char *section) {
  take_file(a, path, section, false);
}

void prompts_replace_by(struct app *a, const char *path, const char *section) {
  take_file(a, path, section, true);
  prompts_state(a)->list.selected = 0;
}

static void live(struct app *a, const char *argument) {
  (void)argument;
  if (prompts_state(a)) append(a, "embedded:dreambooth", "live");
}

static void object(struct app *a, const char *argument) {
  (void)argument;
  if (prompts_state(a)) append(a, "embedded:dreambooth", "object");
}

static void import_file(struct app *a, const char *path) {
  char real[3000];
  const char *home = getenv("HOME");
  bool tilde = !strncmp(path, "~/", 2) && home;
  text_put(real, sizeof real, "%s%s", tilde ? home : "", tilde ? path + 1 : path);
  append(a, real, NULL);
}

static void import(struct app *a, const char *argument) {
  if (!prompts_state(a)) return;
  if (argument)
    import_file(a, argument);
  else
    overlay_ask_path(a, "Text file, one prompt a line", "", import_file, NULL);
}

static void move(struct app *a, int by) {
  struct prompts_state *s = prompts_state(a);
  if (s && s->list.selected + by >= 0 && s->list.selected + by < prompts_count(s)) s->list.selected += by;
}

static void up(struct app *a, const char *argument) {
  (void)argument;
  move(a, -1);
}

static void down(struct app *a, const char *argument) {
  (void)argument;
  move(a, 1);
}

/* Another key that samples depend on: changed on the Profile screen. */
static void to_key(struct app *a, const char *name) {
  action_named("profile.key")->run(a, name);
}

static void negative(struct app *a, const char *argument) {
  (void)argument;
  to_key(a, "prompts.negative");
}

static void seed(struct app *a, const char *argument) {
  (void)argument;
  to_key(a, "samples.seed");
}

static void pictures(struct app *a, const char *argument) {
  (void)argument;
  to_key(a, "samples.count");
}

static const struct action actions[] = {
    {"prompt.edit", "Enter e", "change", "Change the prompt.", edit},
    {"prompt.add", "n a", "new", "Another prompt.", add},
    {"prompt.delete", "x Del", "delete", "Take the prompt away.", drop},
    {"prompt.save", "s Ctrl-S", "save", "Write the changes into the profile; the old one is kept as .bak.", profile_save},
    {"prompt.live", "L", "25 live", "Add the 25 prompts of the DreamBooth data set for live subjects.", live},
    {"prompt.object", "O", "25 object", "Add the 25 prompts of the DreamBooth data set for objects.", object},
    {"prompt.import", "i", "import", "Add the lines of a text file.", import},
    {"prompt.set", "o", "sets", "Another set of prompts: one kept with the subject, or of the DreamBooth data set.", prompts_take},
    {"prompt.keep", "w", "keep set", "Keep the prompts with the subject as a set of a name.", prompts_keep},
    {"prompt.negative", "N", NULL, "Change the negative prompt.", negative},
    {"prompt.seed", "S", NULL, "Change the seed of the first picture.", seed},
    {"prompt.pictures", "c", NULL, "Change how many pictures a prompt gets.", pictures},
    {"prompt.earlier", "K", NULL, "Move the prompt up.", earlier},
    {"prompt.later", "J", NULL, "Move the prompt down.", later},
    {"prompt.up", "Up k", NULL, "The prompt above.", up},
    {"prompt.down", "Down j", NULL, "The prompt below.", down},
    {0},
};

/* --- drawing --------------------------------------------------------------------------------------------------------------------- */

static void put_filled(const struct subject *x, const char *text, char *out, size_t n) {
  struct strings owner = {0};
  const char *t = strings_replace(&owner, text, "{token}", x->token);
  if (t) t = strings_replace(&owner, t, "{class}", x->class_name);
  text_put(out, n, "%s", t ? t : text);
  strings_release(&owner);
}

static void draw(struct app *a, struct rect r) {
  struct prompts_state *s = prompts_state(a);
  const struct subject *x = app_subject(a);
  char title[200], text[2048], filled[2300];
  struct profile_doc *d = profile_doc_of(a);
  if (!s || !x || !d) return;
  int n = prompts_count(s);
  text_put(title, sizeof title, "Test prompts of %s (%d)%s", x->name, n, d->changes ? ", changed and not saved" : "");
  struct rect list = rect_top(r, r.h - 6), in = canvas_box(&a->canvas, list, STYLE_FOCUS, title);
  list_clamp(&s->list, n, in.h);
  for (int i = 0; i < in.h && prompt_at(s, s->list.first + i, text, sizeof text); i++) {
    enum style style = s->list.first + i == s->list.selected ? STYLE_SELECTED : STYLE_TEXT;
    canvas_field(&a->canvas, in.x, in.y + i, in.w, ALIGN_LEFT, style, "");
    canvas_field(&a->canvas, in.x + 1, in.y + i, in.w - 2, ALIGN_LEFT, style, text);
  }
  if (!n) canvas_paragraph(&a->canvas, in, 0, STYLE_DIM, "No test prompts: n makes one, L or O add the DreamBooth sets.");
  canvas_scrollbar(&a->canvas, list.x + list.w - 1, in.y, in.h, s->list.first, in.h, n, STYLE_BORDER);
  struct rect below = rect_inset(canvas_box(&a->canvas, rect_bottom(r, 6), STYLE_BORDER, "Drawn as"), 1, 0, 1, 0);
  if (prompt_at(s, s->list.selected, text, sizeof text)) {
    put_filled(x, text, filled, sizeof filled);
    canvas_paragraph(&a->canvas, rect_top(below, 2), 0, STYLE_TEXT, filled);
  }
  const struct settings *t = &d->effective.settings;
  canvas_printf(&a->canvas, below.x, below.y + 2, STYLE_DIM, "%d pictures each, seeds from %llu, negative: %s", t->samples.count,
                (unsigned long long)t->samples.seed, t->prompts.negative && *t->prompts.negative ? t->prompts.negative : "none");
}

static void mouse(struct app *a, struct rect r, const struct input_event *ev) {
  struct prompts_state *s = prompts_state(a);
  if (ev->mouse == MOUSE_WHEEL_UP) move(a, -1);
  if (ev->mouse == MOUSE_WHEEL_DOWN) move(a, 1);
  int row = s && ev->y < r.y + r.h - 7 ? list_row_at(&s->list, ev->y - r.y - 1, prompts_count(s)) : -1;
  if (ev->mouse == MOUSE_PRESS && row >= 0) s->list.selected = row;
}

const struct screen prompts_screen = {
    .title = "Prompts", .actions = actions, .enter = read_text, .leave = profile_leave, .changed = read_text, .draw = draw, .mouse = mouse};
