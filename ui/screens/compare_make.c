/* Pictures that no run has drawn yet: of other checkpoints, prompts, seeds and strengths of the LoRA, made while one goes on looking. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "profile.h"
#include "prompts.h"
#include "ui/screens/compare.h"

static const double most_scale = 2, scale_step = 0.25;

bool compare_key_of(const struct compare_state *s, int x, struct order_key *out) {
  const struct compare_column *c = &s->column[x];
  double scale = c->run->lora || s->scale == 0 ? s->scale : 1;
  *out = (struct order_key){.run = c->run, .checkpoint = compare_checkpoint(c), .scale = scale, .seed = s->seed};
  return out->checkpoint || scale == 0;
}

/* A process has ended: its pictures are there, the next one begins. */
static void ended(struct app *a, const struct job_end *end) {
  struct compare_state *s = compare_state(a);
  struct err e = {0};
  orders_end(&s->orders);
  if (end->status && end->status != 143) app_complain(a, "%s", *end->text ? end->text : "the pictures could not be drawn");
  while (!orders_start(&s->orders, &a->jobs, ended, &e)) app_complain(a, "%s", e.text);
  if (!end->status && !s->orders.n) app_say(a, "the pictures that were asked for are there");
}

static void begin(struct app *a, int n, int without) {
  struct compare_state *s = compare_state(a);
  struct err e = {0};
  if (!n && without)
    app_complain(a, "no checkpoint was written at that step; [checkpoints] every asks for them");
  else if (!n)
    app_say(a, "nothing is missing here");
  else
    app_say(a, "%d pictures are drawn at the lowest priority; c stops that", orders_pictures(&s->orders));
  while (!orders_start(&s->orders, &a->jobs, ended, &e)) app_complain(a, "%s", e.text);
  a->update_at = 1e-9;
}

/* Asks for the cell where it is missing. Returns 1 where it was, -1 where it cannot be drawn. */
static int order(struct app *a, int x, int y) {
  struct compare_state *s = compare_state(a);
  struct order_key k;
  char path[4096];
  if (compare_cell(s, x, y, path, sizeof path)) return 0;
  return compare_key_of(s, x, &k) && order_add(&s->orders, &k, s->prompt[y]) ? 1 : -1;
}

void compare_make(struct app *a, const char *argument) {
  struct compare_state *s = compare_state(a);
  (void)argument;
  if (!s || !s->columns || !s->rows) return;
  int got = order(a, s->x, s->y);
  begin(a, got > 0, got < 0);
}

void compare_make_all(struct app *a, const char *argument) {
  struct compare_state *s = compare_state(a);
  int n = 0, without = 0;
  (void)argument;
  for (int i = 0; s && i < s->columns; i++) {
    for (int y = 0; y < s->rows; y++) {
      int x = (s->x + i) % s->columns, got = order(a, x, y); /* from the cursor on */
      n += got > 0;
      without += got < 0;
    }
  }
  if (s) begin(a, n, without);
}

void compare_cancel(struct app *a, const char *argument) {
  struct compare_state *s = compare_state(a);
  (void)argument;
  if (!s || !s->orders.n) return app_say(a, "no pictures are being drawn");
  orders_cancel(&s->orders, &a->jobs);
  app_say(a, "no more pictures are drawn; those that are there stay");
}

/* --- strength of the LoRA -------------------------------------------------------------------------------------------------------- */

static bool any_lora(const struct compare_state *s) {
  for (int i = 0; i < s->columns; i++) {
    if (s->column[i].run->lora) return true;
  }
  return false;
}

static void set_scale(struct app *a, double scale) {
  struct compare_state *s = compare_state(a);
  if (!s) return;
  if (!any_lora(s)) scale = scale < s->scale || scale <= 0 ? 0 : 1; /* a full fine-tune, or the base model */
  s->scale = fmin(fmax(round(scale * 100) / 100, 0), most_scale);
  if (s->scale == 0) app_say(a, "0: the base model");
}

void compare_weaker(struct app *a, const char *argument) {
  (void)argument;
  if (compare_state(a)) set_scale(a, compare_state(a)->scale - scale_step);
}

void compare_stronger(struct app *a, const char *argument) {
  (void)argument;
  if (compare_state(a)) set_scale(a, compare_state(a)->scale + scale_step);
}

static bool check_scale(struct app *a, const char *text, char *why, size_t n) {
  char *end;
  double v = strtod(text, &end);
  (void)a;
  return (end != text && !*end && v >= 0 && v <= most_scale) || (text_put(why, n, "a number from 0 (the base model) to 2"), false);
}

static void typed_scale(struct app *a, const char *text) {
  set_scale(a, strtod(text, NULL));
}

void compare_scale(struct app *a, const char *argument) {
  char now[32], why[100];
  if (!compare_state(a)) return;
  text_put(now, sizeof now, "%.2f", compare_state(a)->scale);
  if (!argument)
    overlay_ask(a, "Strength of the LoRA, 0: the base model", now, typed_scale, check_scale);
  else if (check_scale(a, argument, why, sizeof why))
    typed_scale(a, argument);
  else
    app_complain(a, "%s", why);
}

/* --- prompts of one's own ---------------------------------------------------------------------------------------------------------- */

static void typed_path(const char *run, char *buf, size_t n) {
  text_put(buf, n, "%s/compare/prompts.txt", run);
}

void compare_read_typed(struct compare_state *s, const char *run) {
  struct prompts p = {.n = 0};
  struct err ignored = {0};
  char path[4096];
  s->typed_n = 0;
  typed_path(run, path, sizeof path);
  if (is_file(path) && prompts_read(&p, path, NULL, NULL, &ignored)) {
    for (int i = 0; i < p.n && s->typed_n < MAX_TYPED; i++)
      s->typed_n += text_put(s->typed[s->typed_n], sizeof s->typed[0], "%s", p.text[i]);
  }
  prompts_release(&p);
}

static bool write_typed(const struct compare_state *s, const char *run, struct err *e) {
  char path[4096], dir[4096], *text = NULL;
  size_t n = 0;
  text_put(dir, sizeof dir, "%s/compare", run);
  typed_path(run, path, sizeof path);
  FILE *f = open_memstream(&text, &n);
  for (int i = 0; f && i < s->typed_n; i++) fprintf(f, "%s\n", s->typed[i]);
  bool ok = f && !fclose(f) ? make_dirs(dir, e) && write_file(path, text, n, e) : err_set(e, ERR_FAILED, "out of memory");
  free(text);
  return ok;
}

static void take_prompt(struct app *a, const char *text) {
  struct compare_state *s = compare_state(a);
  const struct subject *x = app_subject(a);
  struct strings owner = {0};
  struct err e = {0};
  const char *t = x ? strings_replace(&owner, text, "{token}", x->token) : text;
  if (t && x) t = strings_replace(&owner, t, "{class}", x->class_name);
  if (s->typed_n == MAX_TYPED) app_complain(a, "%d prompts are the most", MAX_TYPED);
  if (t && *t && s->typed_n < MAX_TYPED && text_put(s->typed[s->typed_n], sizeof s->typed[0], "%s", t)) {
    s->typed_n++;
    if (!write_typed(s, a->runs.view.path, &e)) app_complain(a, "%s", e.text);
    compare_gather(a);
    s->y = s->rows - 1;
    app_say(a, "m draws it for this step, M for all");
  }
  strings_release(&owner);
}

static bool check_prompt(struct app *a, const char *text, char *why, size_t n) {
  (void)a;
  return (*text && *text != '#' && strlen(text) < 900) || (text_put(why, n, "some words"), false);
}

void compare_prompt(struct app *a, const char *argument) {
  if (!compare_state(a) || !*a->runs.view.path) return;
  if (argument)
    take_prompt(a, argument);
  else
    overlay_ask(a, "Another prompt, {token} and {class} are replaced", "a photo of {token} {class} ", take_prompt, check_prompt);
}
