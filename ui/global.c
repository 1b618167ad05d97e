/* Actions that every screen has, and the list of screens. */
#include <stdlib.h>
#include <string.h>

#include "ui/app.h"
#include "ui/screens/screens.h"

const struct screen *const screens[SCREEN_COUNT] = {
    [SCREEN_SUBJECTS] = &subjects_screen, [SCREEN_MASKS] = &masks_screen, [SCREEN_PROMPTS] = &prompts_screen,
    [SCREEN_PROFILE] = &profile_screen,   [SCREEN_TRAIN] = &train_screen, [SCREEN_COMPARE] = &compare_screen,
    [SCREEN_LOG] = &log_screen,           [SCREEN_HELP] = &help_screen,
};

static void quit(struct app *a, const char *argument) {
  (void)argument;
  training_quit(a);
}

static void palette(struct app *a, const char *argument) {
  (void)argument;
  overlay_palette(a);
}

static void redraw(struct app *a, const char *argument) {
  (void)argument;
  a->redraw_all = true;
}

static void suspend(struct app *a, const char *argument) {
  (void)argument;
  if (a->plain) return;
  term_suspend();
  int w, h;
  term_resized(&a->facts, &w, &h);
  canvas_resize(&a->canvas, w, h);
  a->redraw_all = true;
}

static void next_screen(struct app *a, const char *argument) {
  (void)argument;
  app_go(a, (a->screen + 1) % SCREEN_COUNT);
}

static void previous_screen(struct app *a, const char *argument) {
  (void)argument;
  app_go(a, (a->screen + SCREEN_COUNT - 1) % SCREEN_COUNT);
}

static void help(struct app *a, const char *argument) {
  (void)argument;
  if (a->screen == SCREEN_HELP)
    app_go(a, a->screen_before);
  else
    app_go(a, SCREEN_HELP);
}

static void set_theme(struct app *a, const char *name) {
  struct err e = {0};
  struct theme t;
  if (!theme_load(name, a->theme.depth, &t, &e)) {
    app_complain(a, "%s", e.text);
    return;
  }
  a->theme = t;
  a->redraw_all = true;
}

static void theme(struct app *a, const char *argument) {
  if (argument && *argument)
    set_theme(a, argument);
  else
    overlay_ask(a, "Theme: dark, light, high-contrast, colour-blind, or a file", a->theme.name, set_theme, NULL);
}

#define GO(lower, upper)                                        \
  static void go_##lower(struct app *a, const char *argument) { \
    (void)argument;                                             \
    app_go(a, SCREEN_##upper);                                  \
  }
GO(subjects, SUBJECTS)
GO(masks, MASKS)
GO(prompts, PROMPTS)
GO(profile, PROFILE)
GO(train, TRAIN)
GO(compare, COMPARE)
GO(log, LOG)
GO(help, HELP)

const struct action global_actions[] = {
    {"help", "? F1", "help", "What can be done here, and by which key; again: back.", help},
    {"palette", ":", "all actions", "Find any action or any key of the profile by a part of its name.", palette},
    {"quit", "q Ctrl-C", "quit", "Leave the program; a training under way is asked about.", quit},
    {"next-screen", "Tab", NULL, "The next screen.", next_screen},
    {"previous-screen", "Shift-Tab", NULL, "The screen before.", previous_screen},
    {"go.subjects", "1", NULL, "The subjects and their photographs.", go_subjects},
    {"go.masks", "2", NULL, "Where the subject is in each photograph.", go_masks},
    {"go.prompts", "3", NULL, "What samples are drawn of.", go_prompts},
    {"go.profile", "4", NULL, "The settings of the subject's training.", go_profile},
    {"go.train", "5", NULL, "The run: losses, progress, samples.", go_train},
    {"go.compare", "6", NULL, "Steps by prompts, side by side.", go_compare},
    {"go.log", "7", NULL, "What the run has said.", go_log},
    {"go.help", "8", NULL, "What can be done, and by which key.", go_help},
    {"redraw", "Ctrl-L", NULL, "Draw everything anew.", redraw},
    {"suspend", "Ctrl-Z", NULL, "Give the terminal back until the shell's fg.", suspend},
    {"theme", "", NULL, "Choose the colours.", theme},
    {0},
};
