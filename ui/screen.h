/* What a screen is, and what an action is. */
#ifndef PDMBOOTH_UI_SCREEN_H
#define PDMBOOTH_UI_SCREEN_H

#include "ui/canvas.h"
#include "ui/input.h"

struct app;

enum screen_id {
  SCREEN_SUBJECTS,
  SCREEN_MASKS,
  SCREEN_PROMPTS,
  SCREEN_PROFILE,
  SCREEN_TRAIN,
  SCREEN_COMPARE,
  SCREEN_LOG,
  SCREEN_HELP,
  SCREEN_COUNT
};

/* One thing that can be done. Keys, footer, the Help screen, the palette and the tests all come from the tables of these. */
struct action {
  const char *name; /* "train.pause": in the palette and in tests; NULL ends a table */
  const char *keys; /* "p", "Up k" (ui/input.h names them); "": in the palette only */
  const char *hint; /* a word for the footer; NULL: not there */
  const char *help; /* a sentence */
  /* argument: what stands behind the name in the palette; NULL: none, then an action that needs one asks for it. */
  void (*run)(struct app *a, const char *argument);
};

struct screen {
  const char *title;
  const struct action *actions;
  void (*enter)(struct app *a); /* may be NULL, as all below */
  void (*leave)(struct app *a);
  void (*draw)(struct app *a, struct rect r);
  void (*mouse)(struct app *a, struct rect r, const struct input_event *ev);
  void (*changed)(struct app *a); /* subjects or runs were read again */
  void (*release)(struct app *a); /* what state holds, before it is freed */
};

extern const struct screen *const screens[SCREEN_COUNT];
extern const struct action global_actions[];

/* --- ui/actions.c ------------------------------------------------------------------------------------------------------------- */

/* The action that the key means on this screen: the screen's own first. NULL: none. */
const struct action *action_of_key(int screen, int key, int modifiers);
const struct action *action_named(const char *name);
/* The i-th of all actions, and the screen that it belongs to (-1: everywhere); NULL behind the last. */
const struct action *action_at(int i, int *screen);
/* "p", or "Up, k": for people. Returns buf. */
const char *action_keys(const struct action *x, char *buf, size_t n);
/* The first of its keys alone. */
const char *action_key(const struct action *x, char *buf, size_t n);

#endif
