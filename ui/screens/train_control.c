/* What a run under way can be asked for on the Train screen. */
#include <stdlib.h>
#include <string.h>

#include "requests.h"
#include "ui/app.h"
#include "ui/screens/train.h"

static bool at_work(struct app *a) {
  bool yes = run_is_at_work(a->runs.view.state);
  if (!yes) app_complain(a, "no process is at work on this run");
  return yes;
}

void train_pause(struct app *a, const char *argument) {
  (void)argument;
  training_request(a, a->runs.view.state == RUN_PAUSED ? "go-on" : "pause");
}

static void stop_it(struct app *a, int how) {
  if (how == 0) training_request(a, "stop");
}

void train_stop(struct app *a, const char *argument) {
  static const struct choice choices[] = {{"s", "save and stop after this step"}, {"Esc", "let it go on"}};
  (void)argument;
  if (at_work(a)) overlay_choose(a, "Stop", "The run can go on later from where it stopped (r).", choices, 2, stop_it);
}

void train_resume(struct app *a, const char *argument) {
  (void)argument;
  if (a->runs.view.state == RUN_STOPPED || a->runs.view.state == RUN_FAILED)
    training_resume(a, a->runs.view.path);
  else
    app_complain(a, "the run is %s", *a->runs.view.path ? run_state_name(a->runs.view.state) : "not there");
}

void train_checkpoint(struct app *a, const char *argument) {
  (void)argument;
  training_request(a, "checkpoint");
}

/* --- requests with a value ------------------------------------------------------------------------------------------------------- */

static void ask_for(struct app *a, const char *what, const char *value) {
  char text[LINE_BYTES + 40];
  text_put(text, sizeof text, "%s%s%s", what, *value ? "=" : "", value);
  training_request(a, text);
}

static void sample_of(struct app *a, const char *prompt) {
  ask_for(a, "sample", prompt);
}

static void set_rate(struct app *a, const char *value) {
  ask_for(a, "lr", value);
}

static void set_samples(struct app *a, const char *value) {
  ask_for(a, "samples.every", value);
}

static void set_checkpoints(struct app *a, const char *value) {
  ask_for(a, "checkpoints.every", value);
}

static bool check_request(const char *what, const char *value, char *why, size_t n) {
  char text[LINE_BYTES + 40];
  struct request r;
  struct err e = {0};
  text_put(text, sizeof text, "%s=%s", what, value);
  if (request_parse(text, &r, &e)) return true;
  const char *told = strstr(e.text, "the value must be ");
  return text_put(why, n, "%s", told ? told : "a number is needed"), false;
}

static bool check_rate(struct app *a, const char *text, char *why, size_t n) {
  (void)a;
  return check_request("lr", text, why, n);
}

static bool check_steps(struct app *a, const char *text, char *why, size_t n) {
  (void)a;
  return check_request("samples.every", text, why, n);
}

/* The argument, or a line that is asked for. */
static void ask(struct app *a, const char *argument, const char *title, const char *now, void (*typed)(struct app *, const char *),
                bool (*check)(struct app *, const char *, char *, size_t)) {
  if (!at_work(a)) return;
  if (argument)
    typed(a, argument);
  else
    overlay_ask(a, title, now, typed, check);
}

void train_sample(struct app *a, const char *argument) {
  ask(a, argument, "Samples now, of this prompt; empty: of the test prompts", "", sample_of, NULL);
}

/* The base of the schedule: as the journal has it, or the profile. */
static void rate_now(const struct run_view *v, char *out, size_t n) {
  text_put(out, n, "%g", v->rate);
  for (int i = 0; i < v->n_marks; i++) {
    if (!strcmp(v->marks[i].what, "lr") || !strcmp(v->marks[i].what, "halve lr")) text_put(out, n, "%g", atof(v->marks[i].value));
  }
}

void train_rate(struct app *a, const char *argument) {
  char now[40];
  rate_now(&a->runs.view, now, sizeof now);
  ask(a, argument, "Base of the learning rate from the next step on", now, set_rate, check_rate);
}

void train_samples_every(struct app *a, const char *argument) {
  ask(a, argument, "Steps between samples; 0: only at the end", "", set_samples, check_steps);
}

void train_checkpoints_every(struct app *a, const char *argument) {
  ask(a, argument, "Steps between checkpoints; 0: only at the end", "", set_checkpoints, check_steps);
}

/* --- the queue ---------------------------------------------------------------------------------------------------------------------- */

static void take_out(struct app *a, int i) {
  char name[QUEUE_NAME];
  if (i >= a->queue.n) return;
  text_put(name, sizeof name, "%s", a->queue.name[i]);
  queue_remove(&a->queue, name);
  app_say(a, "%s waits no longer", name);
}

void train_queue(struct app *a, const char *argument) {
  static const char *const key[MAX_CHOICES] = {"1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b", "c"};
  struct choice choices[MAX_CHOICES];
  (void)argument;
  queue_read(&a->queue);
  int n = a->queue.n < MAX_CHOICES ? a->queue.n : MAX_CHOICES;
  for (int i = 0; i < n; i++) choices[i] = (struct choice){key[i], a->queue.name[i]};
  if (n)
    overlay_choose(a, "Queue", "They are trained one after the other. Which one is to wait no longer?", choices, n, take_out);
  else
    app_say(a, "the queue is empty: T on the first screen trains all marked subjects");
}
