/* What stands over a screen and takes the keys: a line to type into, a choice, the palette. */
#ifndef PDMBOOTH_UI_OVERLAY_H
#define PDMBOOTH_UI_OVERLAY_H

#include "ui/canvas.h"
#include "ui/input.h"

struct app;

enum overlay_kind { OVERLAY_NONE, OVERLAY_ASK, OVERLAY_CHOOSE, OVERLAY_PALETTE };
enum { LINE_BYTES = 2048, MAX_CHOICES = 12 };

/* A line that is typed: UTF-8, the cursor between two characters. */
struct line_edit {
  char text[LINE_BYTES];
  size_t n, at;
};
void line_set(struct line_edit *l, const char *text);
/* False: the key means nothing to a line. */
bool line_key(struct line_edit *l, int key, int modifiers);
void line_insert(struct line_edit *l, const char *text); /* new lines become blanks */

struct choice {
  const char *key, *label; /* "k", "keep on in the background" */
};

struct overlay {
  enum overlay_kind kind;
  char title[200];
  char text[1500]; /* OVERLAY_CHOOSE: what it is about */
  struct line_edit line;
  bool path;         /* OVERLAY_ASK: Tab completes it as a path */
  char refusal[300]; /* what is wrong with the line, while it is typed */
  void (*typed)(struct app *a, const char *text);
  /* Whether the text may stand; what is wrong into why. NULL: anything. */
  bool (*check)(struct app *a, const char *text, char *why, size_t n);
  struct choice choice[MAX_CHOICES];
  int choices, selected, first; /* first: row of a list at its top */
  void (*chosen)(struct app *a, int index);
};

/* Asks for a line: typed is called with it on Enter, not at all on Esc. */
void overlay_ask(struct app *a, const char *title, const char *initial, void (*typed)(struct app *, const char *),
                 bool (*check)(struct app *, const char *, char *, size_t));
/* The line that is asked for is a path: Tab completes it. */
void overlay_ask_path(struct app *a, const char *title, const char *initial, void (*typed)(struct app *, const char *),
                      bool (*check)(struct app *, const char *, char *, size_t));
/* Asks to choose: by the key, by Enter, by the mouse; Esc: nothing is called. choices [n] must outlive it. */
void overlay_choose(struct app *a, const char *title, const char *text, const struct choice *choices, int n,
                    void (*chosen)(struct app *, int));
void overlay_palette(struct app *a);
void overlay_event(struct app *a, const struct input_event *ev);
void overlay_draw(struct app *a);

#endif
