/* Other runs whose curves stand beside those of the run that is looked at. */
#include <stdlib.h>
#include <string.h>

#include "ui/app.h"
#include "ui/screens/train.h"

static int find_beside(const struct train_state *s, const char *path) {
  for (int i = 0; i < s->n_beside; i++) {
    if (!strcmp(s->beside[i]->path, path)) return i;
  }
  return -1;
}

static void drop(struct train_state *s, int i) {
  run_view_close(s->beside[i]);
  free(s->beside[i]);
  memmove(s->beside + i, s->beside + i + 1, (size_t)(--s->n_beside - i) * sizeof *s->beside);
}

static void add(struct app *a, struct train_state *s, const char *path) {
  if (s->n_beside == MAX_BESIDE) {
    app_complain(a, "%d runs beside one are all that can be told apart", MAX_BESIDE);
    return;
  }
  struct run_view *v = malloc(sizeof *v);
  if (!v) return;
  run_view_open(v, path);
  run_view_update(v);
  s->beside[s->n_beside++] = v;
}

static void toggle(struct app *a, const char *path) {
  struct train_state *s = train_state(a);
  if (!s) return;
  int i = find_beside(s, path);
  if (i >= 0)
    drop(s, i);
  else if (!strcmp(path, a->runs.view.path))
    app_say(a, "that is the run that is shown");
  else
    add(a, s, path);
}

void train_beside_changed(struct app *a) {
  struct train_state *s = train_state(a);
  for (int i = s ? s->n_beside - 1 : -1; i >= 0; i--) {
    if (!strcmp(s->beside[i]->path, a->runs.view.path))
      drop(s, i);
    else
      run_view_update(s->beside[i]);
  }
}

void train_release(struct app *a) {
  struct train_state *s = a->state[SCREEN_TRAIN];
  while (s && s->n_beside) drop(s, 0);
}

/* --- choosing ----------------------------------------------------------------------------------------------------------------------- */

static void chosen(struct app *a, int i) {
  struct train_state *s = train_state(a);
  if (s && i < s->n_listed) toggle(a, a->runs.item[s->listed[i]].path);
}

static void list_run(struct app *a, struct train_state *s, int i) {
  const struct run_item *x = &a->runs.item[i];
  int n = s->n_listed;
  if (n == MAX_CHOICES || !strcmp(x->path, a->runs.view.path)) return;
  text_put(s->label[n], sizeof s->label[n], "%s %s %s, %s", find_beside(s, x->path) >= 0 ? "[x]" : "[ ]", x->subject, x->name,
           run_state_name(x->state));
  s->listed[s->n_listed++] = i;
}

static void choose(struct app *a, struct train_state *s) {
  static const char *const key[MAX_CHOICES] = {"1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b", "c"};
  struct choice choices[MAX_CHOICES];
  s->n_listed = 0;
  for (int own = 1; own >= 0; own--) { /* those of this subject first */
    for (int i = 0; i < a->runs.n; i++) {
      if ((strcmp(a->runs.item[i].subject, a->runs.view.subject) == 0) == own) list_run(a, s, i);
    }
  }
  for (int i = 0; i < s->n_listed; i++) choices[i] = (struct choice){key[i], s->label[i]};
  if (s->n_listed)
    overlay_choose(a, "Beside it", "The run whose curve is to be shown as well, or no longer:", choices, s->n_listed, chosen);
  else
    app_say(a, "there is no other run");
}

void train_beside(struct app *a, const char *argument) {
  struct train_state *s = train_state(a);
  if (!s) return;
  if (!argument) {
    choose(a, s);
    return;
  }
  for (int i = 0; i < a->runs.n; i++) {
    if (strcmp(a->runs.item[i].name, argument) && strcmp(a->runs.item[i].path, argument)) continue;
    toggle(a, a->runs.item[i].path);
    return;
  }
  app_complain(a, "there is no run %.100s", argument);
}

void train_alone(struct app *a, const char *argument) {
  (void)argument;
  train_release(a);
}
