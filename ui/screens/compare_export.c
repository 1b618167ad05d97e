/* Writing a checkpoint in the form that another program reads, by `pdmbooth-tui export` in a process of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assets/embedded.h"
#include "interchange.h"
#include "profile.h"
#include "ui/screens/compare.h"

struct form {
  const char *word, *text;
};
static const struct form forms[EXPORT_FORM_COUNT] = {
#define X(name, word, text) {word, text},
    EXPORT_FORMS(X)
#undef X
};

static bool merges(int form) {
  return form == EXPORT_DIFFUSERS || form == EXPORT_SINGLE_FILE;
}

static bool column_is_lora(const struct compare_state *s) {
  return s->column[s->x].run->lora;
}

static void ended(struct app *a, const struct job_end *end) {
  if (end->status)
    app_complain(a, "%s", *end->text ? end->text : "the export failed");
  else
    app_say(a, "exported, read again and compared: %s", end->job.what);
}

/* The parent of a path is made where it is not there. */
static bool make_parent(const char *path, struct err *e) {
  char dir[4096];
  const char *slash = strrchr(path, '/');
  if (!slash || slash == path) return true;
  text_put(dir, sizeof dir, "%.*s", (int)(slash - path), path);
  return make_dirs(dir, e);
}

static bool start(struct app *a, const char *out, struct err *e) {
  const struct compare_state *s = compare_state(a);
  const struct compare_column *c = &s->column[s->x];
  const char *word[16] = {"export"};
  char profile[3600], checkpoint[4096], scale[32];
  struct profile p = {0};
  int n = 1;
  run_checkpoint_path(c->run, compare_checkpoint(c), checkpoint, sizeof checkpoint);
  if (c->run->lora) text_put(checkpoint + strlen(checkpoint), sizeof checkpoint - strlen(checkpoint), "/pytorch_lora_weights.safetensors");
  text_put(profile, sizeof profile, "%s/profile.ini", c->run->path);
  text_put(scale, sizeof scale, "%.2f", s->scale);
  bool ok = profile_load(&p, profile, embedded_files, NULL, 0, e) && make_parent(out, e);
  const char *const always[] = {checkpoint, "--as", forms[s->export_form].word, "--out", out};
  for (int i = 0; i < 5; i++) word[n++] = always[i];
  if (c->run->lora) word[n++] = "--base", word[n++] = p.settings.model.path;
  if (c->run->lora && *p.settings.model.config) word[n++] = "--config", word[n++] = p.settings.model.config;
  if (c->run->lora && merges(s->export_form)) word[n++] = "--scale", word[n++] = scale;
  ok = ok && jobs_start(&a->jobs, word, false, true, out, e);
  if (ok) jobs_last(&a->jobs)->ended = ended, jobs_last(&a->jobs)->stays = true;
  profile_release(&p);
  return ok;
}

static void to_path(struct app *a, const char *text) {
  struct compare_state *s = compare_state(a);
  const char *home = getenv("HOME");
  struct err e = {0};
  bool tilde = !strncmp(text, "~/", 2) && home;
  text_put(s->exported, sizeof s->exported, "%s%s", tilde ? home : "", tilde ? text + 1 : text);
  if (!start(a, s->exported, &e)) app_complain(a, "%s", e.text);
  if (s->keeping) compare_delete(a, "quiet");
}

static bool check_path(struct app *a, const char *text, char *why, size_t n) {
  (void)a;
  return *text ? true : (text_put(why, n, "a file, or a directory"), false);
}

static void ask_path(struct app *a, int form) {
  struct compare_state *s = compare_state(a);
  const struct compare_column *c = &s->column[s->x];
  char path[4000], title[120];
  bool folder = form == EXPORT_DIFFUSERS || form == EXPORT_LORA_PEFT;
  s->export_form = form;
  text_put(path, sizeof path, "%s/export/%s-%d-%s%s", c->run->path, c->run->subject, c->step, forms[form].word,
           folder ? "" : ".safetensors");
  text_put(title, sizeof title, "%s, to", forms[form].text);
  overlay_ask_path(a, title, path, to_path, check_path);
}

/* Row `index` of the choices: forms that fit the column; -1 behind the last. */
static int form_at(const struct compare_state *s, int index) {
  for (int i = 0; i < EXPORT_FORM_COUNT; i++) {
    if ((column_is_lora(s) || merges(i)) && index-- == 0) return i;
  }
  return -1;
}

static void chosen(struct app *a, int index) {
  struct compare_state *s = compare_state(a);
  int form = form_at(s, index - s->keeping);
  if (form >= 0)
    ask_path(a, form);
  else if (s->keeping && index == 0)
    compare_delete(a, "quiet");
}

void compare_ask_export(struct app *a, const char *title, const char *text) {
  static const char *const key[] = {"1", "2", "3", "4", "5", "6"};
  struct compare_state *s = compare_state(a);
  struct choice choice[MAX_CHOICES];
  int n = 0, form;
  if (s->keeping) choice[n++] = (struct choice){"k", "no file for another program now"};
  for (int i = 0; (form = form_at(s, i)) >= 0; i++) {
    choice[n++] = (struct choice){key[i], column_is_lora(s) && merges(form)
                                              ? form == EXPORT_DIFFUSERS ? "merged into its model: a directory that diffusers loads"
                                                                         : "merged into its model: one checkpoint in the LDM layout"
                                              : forms[form].text};
  }
  overlay_choose(a, title, text, choice, n, chosen);
}

/* argument: "lora-kohya PATH". */
static void export_as(struct app *a, const char *argument) {
  struct compare_state *s = compare_state(a);
  size_t n = strcspn(argument, " ");
  for (int i = 0, form; (form = form_at(s, i)) >= 0; i++) {
    if (n != strlen(forms[form].word) || strncmp(argument, forms[form].word, n)) continue;
    s->export_form = form;
    if (argument[n])
      to_path(a, argument + n + 1);
    else
      ask_path(a, form);
    return;
  }
  app_complain(a, "%.*s is no form that this checkpoint is exported in", (int)n, argument);
}

void compare_export(struct app *a, const char *argument) {
  struct compare_state *s = compare_state(a);
  if (!s || !s->columns) return;
  s->keeping = false;
  if (!compare_checkpoint(&s->column[s->x]))
    app_complain(a, "no checkpoint was written at step %d", s->column[s->x].step);
  else if (argument)
    export_as(a, argument);
  else
    compare_ask_export(a, "Export", "Written, read again and compared before it appears under its name.");
}
