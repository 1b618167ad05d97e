#include "ui/overlay.h"

#include <string.h>
#include <strings.h>

#include "keys.h"
#include "ui/app.h"
#include "ui/complete.h"

static void open_overlay(struct app *a, enum overlay_kind kind, const char *title) {
  a->overlay = (struct overlay){.kind = kind};
  text_put(a->overlay.title, sizeof a->overlay.title, "%s", title);
  app_changed(a);
}

static void check_line(struct app *a) {
  struct overlay *o = &a->overlay;
  o->refusal[0] = 0;
  if (o->check) o->check(a, o->line.text, o->refusal, sizeof o->refusal);
}

void overlay_ask(struct app *a, const char *title, const char *initial, void (*typed)(struct app *, const char *),
                 bool (*check)(struct app *, const char *, char *, size_t)) {
  open_overlay(a, OVERLAY_ASK, title);
  line_set(&a->overlay.line, initial);
  a->overlay.typed = typed;
  a->overlay.check = check;
  check_line(a);
}

void overlay_ask_path(struct app *a, const char *title, const char *initial, void (*typed)(struct app *, const char *),
                      bool (*check)(struct app *, const char *, char *, size_t)) {
  overlay_ask(a, title, initial, typed, check);
  a->overlay.path = true;
}

static void complete_path(struct app *a) {
  struct overlay *o = &a->overlay;
  char text[LINE_BYTES];
  text_put(text, sizeof text, "%s", o->line.text);
  int n = path_complete(text, sizeof text);
  line_set(&o->line, text);
  check_line(a);
  if (n > 1 && *o->refusal) text_put(o->refusal, sizeof o->refusal, "%d names begin so", n);
}

void overlay_choose(struct app *a, const char *title, const char *text, const struct choice *choices, int n,
                    void (*chosen)(struct app *, int)) {
  open_overlay(a, OVERLAY_CHOOSE, title);
  struct overlay *o = &a->overlay;
  text_put(o->text, sizeof o->text, "%s", text);
  o->choices = n < MAX_CHOICES ? n : MAX_CHOICES;
  for (int i = 0; i < o->choices; i++) o->choice[i] = choices[i];
  o->chosen = chosen;
}

void overlay_palette(struct app *a) {
  open_overlay(a, OVERLAY_PALETTE, "Palette");
}

static void close_overlay(struct app *a) {
  a->overlay.kind = OVERLAY_NONE;
  app_changed(a);
}

/* --- the palette: actions by name, then keys of a profile ---------------------------------------------------------------------- */

struct entry {
  const struct action *action;
  const struct key *key;
};

/* Each blank-separated word of typed stands somewhere in text. */
static bool fits(const char *typed, const char *text) {
  char word[64];
  for (const char *p = typed; *p;) {
    size_t n = strcspn(p, " ");
    text_put(word, sizeof word, "%.*s", (int)n, p);
    if (!strcasestr(text, word)) return false;
    p += n;
    p += strspn(p, " ");
  }
  return true;
}

/* The i-th entry that fits what is typed. An action that is typed in full takes what stands behind it as its argument. */
static bool entry_at(const char *typed, int i, struct entry *out) {
  char text[400], first[64];
  const struct action *x;
  int screen;
  text_put(first, sizeof first, "%.*s", (int)strcspn(typed, " "), typed);
  x = action_named(first);
  if (x && strchr(typed, ' ')) return *out = (struct entry){.action = x}, i == 0;
  for (int k = 0; (x = action_at(k, &screen)); k++) {
    text_put(text, sizeof text, "%s %s", x->name, x->help);
    if (fits(typed, text) && i-- == 0) return *out = (struct entry){.action = x}, true;
  }
  for (int k = 0; k < key_count; k++) {
    text_put(text, sizeof text, "%s.%s %s", keys[k].section, keys[k].name, keys[k].help);
    if (fits(typed, text) && i-- == 0) return *out = (struct entry){.key = &keys[k]}, true;
  }
  return false;
}

static void entry_name(const struct entry *x, char *buf, size_t n) {
  if (x->action)
    text_put(buf, n, "%s", x->action->name);
  else
    text_put(buf, n, "%s.%s", x->key->section, x->key->name);
}

static void run_entry(struct app *a) {
  struct overlay *o = &a->overlay;
  struct entry x;
  char typed[LINE_BYTES], name[128];
  text_put(typed, sizeof typed, "%s", o->line.text);
  if (!entry_at(typed, o->selected, &x)) return;
  close_overlay(a);
  const char *argument = strchr(typed, ' ');
  entry_name(&x, name, sizeof name);
  if (!x.action) {
    action_named("profile.key")->run(a, name);
  } else {
    x.action->run(a, argument && action_named(name) == x.action && !strncmp(typed, name, strlen(name)) ? argument + 1 : NULL);
  }
}

static void complete(struct app *a) {
  struct overlay *o = &a->overlay;
  struct entry x;
  char name[128];
  if (!entry_at(o->line.text, o->selected, &x)) return;
  entry_name(&x, name, sizeof name);
  line_set(&o->line, name);
  o->selected = 0;
}

static void palette_key(struct app *a, int key, int modifiers) {
  struct overlay *o = &a->overlay;
  struct entry x;
  if (key == KEY_RETURN)
    run_entry(a);
  else if (key == KEY_TAB)
    complete(a);
  else if (key == KEY_ARROW_UP)
    o->selected -= o->selected > 0;
  else if (key == KEY_ARROW_DOWN)
    o->selected += entry_at(o->line.text, o->selected + 1, &x);
  else if (key == KEY_DEL && !o->line.n)
    close_overlay(a);
  else if (line_key(&o->line, key, modifiers))
    o->selected = 0;
}

/* --- keys ------------------------------------------------------------------------------------------------------------------------ */

static void ask_key(struct app *a, int key, int modifiers) {
  struct overlay *o = &a->overlay;
  if (key == KEY_RETURN && !*o->refusal) {
    char text[LINE_BYTES];
    text_put(text, sizeof text, "%s", o->line.text);
    void (*typed)(struct app *, const char *) = o->typed;
    close_overlay(a);
    typed(a, text);
  } else if (o->path && key == KEY_TAB) {
    complete_path(a);
  } else if (line_key(&o->line, key, modifiers)) {
    check_line(a);
  }
}

static void choose(struct app *a, int index) {
  void (*chosen)(struct app *, int) = a->overlay.chosen;
  close_overlay(a);
  chosen(a, index);
}

static void choose_key(struct app *a, int key, int modifiers) {
  struct overlay *o = &a->overlay;
  int k, m;
  for (int i = 0; i < o->choices; i++) {
    if (key_parse(o->choice[i].key, &k, &m) && k == key && m == modifiers) {
      choose(a, i);
      return;
    }
  }
  if (key == KEY_RETURN)
    choose(a, o->selected);
  else if (key == KEY_ARROW_UP || key == 'k')
    o->selected = (o->selected + o->choices - 1) % o->choices;
  else if (key == KEY_ARROW_DOWN || key == 'j' || key == KEY_TAB)
    o->selected = (o->selected + 1) % o->choices;
}

static struct rect overlay_rect(const struct app *a, int rows, int columns);
static int choice_row(const struct app *a, int x, int y);

static void overlay_mouse(struct app *a, const struct input_event *ev) {
  if (ev->mouse != MOUSE_PRESS || a->overlay.kind != OVERLAY_CHOOSE) return;
  int i = choice_row(a, ev->x, ev->y);
  if (i >= 0) choose(a, i);
}

void overlay_event(struct app *a, const struct input_event *ev) {
  struct overlay *o = &a->overlay;
  app_changed(a);
  if (ev->kind == INPUT_MOUSE) {
    overlay_mouse(a, ev);
  } else if (ev->kind == INPUT_PASTE) {
    if (o->kind == OVERLAY_CHOOSE) return;
    line_insert(&o->line, ev->paste);
    check_line(a);
  } else if (ev->key == KEY_ESC || ev->key == 3) {
    close_overlay(a);
  } else if (o->kind == OVERLAY_ASK) {
    ask_key(a, ev->key, ev->modifiers);
  } else if (o->kind == OVERLAY_CHOOSE) {
    choose_key(a, ev->key, ev->modifiers);
  } else {
    palette_key(a, ev->key, ev->modifiers);
  }
}

/* --- drawing ------------------------------------------------------------------------------------------------------------------------ */

/* In the middle of the canvas, as large as wanted where there is room. */
static struct rect overlay_rect(const struct app *a, int rows, int columns) {
  struct rect all = canvas_rect(&a->canvas);
  int w = columns < all.w - 2 ? columns : all.w - 2, h = rows < all.h - 2 ? rows : all.h - 2;
  return (struct rect){(all.w - w) / 2, (all.h - h) / 3, w, h};
}

static struct rect draw_frame(struct app *a, struct rect r) {
  canvas_cover_pictures(&a->canvas, r);
  canvas_fill(&a->canvas, r, STYLE_TEXT);
  return rect_inset(canvas_box(&a->canvas, r, STYLE_FOCUS, a->overlay.title), 1, 0, 1, 0);
}

/* The line with its cursor; the part around the cursor where it is longer than w. */
static void draw_line(struct app *a, int x, int y, int w, const struct line_edit *l) {
  char upto[LINE_BYTES];
  text_put(upto, sizeof upto, "%.*s", (int)l->at, l->text);
  bool utf8 = a->canvas.utf8;
  const char *from = l->text;
  int column = text_columns(upto, utf8);
  struct grapheme g;
  while (column >= w && grapheme_next(&from, utf8, &g)) column -= g.width;
  canvas_field(&a->canvas, x, y, w, ALIGN_LEFT, STYLE_INPUT, "");
  char shown[LINE_BYTES];
  text_put(shown, sizeof shown, "%.*s", (int)text_fit(from, w, utf8, NULL), from);
  canvas_text(&a->canvas, x, y, STYLE_INPUT, shown);
  canvas_mark(&a->canvas, (struct rect){x + column, y, 1, 1}, MARK_REVERSE);
}

static void draw_ask(struct app *a) {
  struct overlay *o = &a->overlay;
  struct rect r = draw_frame(a, overlay_rect(a, 4, 72));
  draw_line(a, r.x, r.y, r.w, &o->line);
  if (*o->refusal)
    canvas_field(&a->canvas, r.x, r.y + 1, r.w, ALIGN_LEFT, STYLE_ERROR, o->refusal);
  else
    canvas_field(&a->canvas, r.x, r.y + 1, r.w, ALIGN_LEFT, STYLE_DIM,
                 o->path ? "Enter: take it   Tab: complete   Esc: leave it" : "Enter: take it   Esc: leave it");
}

static int choose_rows(const struct app *a) {
  return a->overlay.choices + text_lines(a->overlay.text, 64, a->canvas.utf8) + 3;
}

static int choice_row(const struct app *a, int x, int y) {
  struct rect r = overlay_rect(a, choose_rows(a), 70);
  int i = y - (r.y + r.h - 1 - a->overlay.choices);
  return rect_holds(r, x, y) && i >= 0 && i < a->overlay.choices ? i : -1;
}

static void draw_choose(struct app *a) {
  struct overlay *o = &a->overlay;
  struct rect r = draw_frame(a, overlay_rect(a, choose_rows(a), 70));
  canvas_paragraph(&a->canvas, rect_top(r, r.h - o->choices), 0, STYLE_TEXT, o->text);
  for (int i = 0; i < o->choices; i++) {
    int y = r.y + r.h - o->choices + i;
    canvas_field(&a->canvas, r.x, y, r.w, ALIGN_LEFT, i == o->selected ? STYLE_SELECTED : STYLE_TEXT, "");
    canvas_field(&a->canvas, r.x + 1, y, 6, ALIGN_LEFT, i == o->selected ? STYLE_SELECTED : STYLE_KEY, o->choice[i].key);
    canvas_field(&a->canvas, r.x + 8, y, r.w - 9, ALIGN_LEFT, i == o->selected ? STYLE_SELECTED : STYLE_TEXT, o->choice[i].label);
  }
}

static void draw_entry(struct app *a, struct rect r, const struct entry *x, bool selected) {
  char name[128], keys_of[64] = "";
  enum style style = selected ? STYLE_SELECTED : STYLE_TEXT;
  entry_name(x, name, sizeof name);
  if (x->action) action_keys(x->action, keys_of, sizeof keys_of);
  canvas_field(&a->canvas, r.x, r.y, r.w, ALIGN_LEFT, style, "");
  canvas_field(&a->canvas, r.x, r.y, 26, ALIGN_LEFT, style, name);
  canvas_field(&a->canvas, r.x + 27, r.y, 12, ALIGN_LEFT, selected ? style : STYLE_KEY, keys_of);
  canvas_field(&a->canvas, r.x + 40, r.y, r.w - 40, ALIGN_LEFT, selected ? style : STYLE_DIM, x->action ? x->action->help : x->key->help);
}

static void draw_palette(struct app *a) {
  struct overlay *o = &a->overlay;
  struct entry x;
  struct rect r = draw_frame(a, overlay_rect(a, a->canvas.h - 4, 110));
  draw_line(a, r.x, r.y, r.w, &o->line);
  int rows = r.h - 2;
  if (rows < 1) return;
  if (o->selected < o->first) o->first = o->selected;
  if (o->selected >= o->first + rows) o->first = o->selected - rows + 1;
  for (int i = 0; i < rows && entry_at(o->line.text, o->first + i, &x); i++) {
    draw_entry(a, (struct rect){r.x, r.y + 2 + i, r.w, 1}, &x, o->first + i == o->selected);
  }
}

void overlay_draw(struct app *a) {
  if (a->overlay.kind == OVERLAY_ASK) draw_ask(a);
  if (a->overlay.kind == OVERLAY_CHOOSE) draw_choose(a);
  if (a->overlay.kind == OVERLAY_PALETTE) draw_palette(a);
}
