/* Compare: steps of a run (and of others) by prompts, with the same seeds. */
#include "ui/screens/compare.h"

#include <stdlib.h>
#include <string.h>

#include "ui/screens/screens.h"

struct compare_state *compare_state(struct app *a) {
  if (!a->state[SCREEN_COMPARE]) {
    struct compare_state *s = calloc(1, sizeof *s);
    if (s) s->other_x = -1, s->scale = 1;
    a->state[SCREEN_COMPARE] = s;
  }
  return a->state[SCREEN_COMPARE];
}

/* --- columns and rows -------------------------------------------------------------------------------------------------------------- */

static void add_prompts(struct compare_state *s, const struct run_view *v) {
  for (int i = 0; i < v->prompts; i++) {
    bool there = false;
    for (int k = 0; k < s->rows; k++) there |= !strcmp(s->prompt[k], v->prompt[i]);
    if (!there && s->rows < MAX_ROWS) s->prompt[s->rows++] = v->prompt[i];
  }
}

static void add_step(struct compare_state *s, const struct run_view *v, int step) {
  int at = s->columns, first = at;
  while (first > 0 && s->column[first - 1].run == v) first--;
  for (int i = first; i < s->columns; i++) {
    if (s->column[i].step == step) return;
  }
  if (at == MAX_COLUMNS) return;
  for (; at > first && s->column[at - 1].step > step; at--) s->column[at] = s->column[at - 1];
  s->column[at] = (struct compare_column){v, step};
  s->columns++;
}

/* All its steps that have samples or a checkpoint, or only the last one. */
static void add_steps(struct compare_state *s, const struct run_view *v, bool all) {
  int first = s->columns;
  for (int i = 0; i < v->n_samples; i++) add_step(s, v, v->samples[i].step);
  for (int i = 0; i < v->n_checkpoints; i++) add_step(s, v, v->checkpoints[i].step);
  if (all || s->columns - first < 2) return;
  s->column[first] = s->column[s->columns - 1];
  s->columns = first + 1;
}

/* Another run than before: its newest step is looked at first. */
static void begin_run(struct compare_state *s, const char *path) {
  verdicts_read(&s->verdicts[0], path);
  compare_read_typed(s, path);
  s->x = MAX_COLUMNS;
  s->other_x = -1;
  s->scale = 1;
  s->y = s->picture = s->first_x = s->first_y = 0;
}

void compare_gather(struct app *a) {
  struct compare_state *s = compare_state(a);
  const struct run_view *v = &a->runs.view;
  char verdicts[3600];
  if (!s) return;
  text_put(verdicts, sizeof verdicts, "%s/verdicts.ini", v->path);
  if (strcmp(verdicts, s->verdicts[0].path)) begin_run(s, v->path);
  s->seed = v->seed + (uint64_t)s->picture;
  s->columns = s->rows = 0;
  add_prompts(s, v);
  add_steps(s, v, true);
  for (int i = 0; i < s->extras; i++) {
    run_view_update(&s->extra[i]);
    add_prompts(s, &s->extra[i]);
    add_steps(s, &s->extra[i], s->all_steps);
  }
  for (int i = 0; i < s->typed_n && s->rows < MAX_ROWS; i++) s->prompt[s->rows++] = s->typed[i];
  if (s->x >= s->columns) s->x = s->columns ? s->columns - 1 : 0;
  if (s->y >= s->rows) s->y = s->rows ? s->rows - 1 : 0;
  if (s->other_x >= s->columns) s->other_x = -1;
}

const struct run_checkpoint *compare_checkpoint(const struct compare_column *c) {
  for (int i = c->run->n_checkpoints; i-- > 0;) {
    if (c->run->checkpoints[i].step == c->step) return &c->run->checkpoints[i];
  }
  return NULL;
}

/* What the run itself drew at that step. */
static bool own_sample(const struct compare_state *s, int x, int y, uint64_t seed, char *buf, size_t n) {
  const struct run_view *v = s->column[x].run;
  for (int i = 0; i < v->n_samples; i++) {
    const struct run_sample *p = &v->samples[i];
    if (p->step != s->column[x].step || v->seed + (uint64_t)p->picture != seed || p->prompt >= v->prompts) continue;
    if (strcmp(v->prompt[p->prompt], s->prompt[y])) continue;
    run_sample_path(v, p, buf, n);
    return true;
  }
  return false;
}

bool compare_cell(const struct compare_state *s, int x, int y, char *buf, size_t n) {
  struct order_key k;
  if (x < 0 || x >= s->columns || y < 0 || y >= s->rows) return false;
  bool drawable = compare_key_of(s, x, &k);
  if (k.scale == 1 && own_sample(s, x, y, s->seed, buf, n)) return true;
  return drawable && is_file(order_picture(&k, s->prompt[y], buf, n));
}

/* --- actions ------------------------------------------------------------------------------------------------------------------------- */

static void move(struct app *a, int dx, int dy) {
  struct compare_state *s = compare_state(a);
  if (!s) return;
  if (s->x + dx >= 0 && s->x + dx < s->columns) s->x += dx;
  if (s->y + dy >= 0 && s->y + dy < s->rows) s->y += dy;
  s->flipped = false;
}

#define MOVE(name, dx, dy)                                \
  static void name(struct app *a, const char *argument) { \
    (void)argument;                                       \
    move(a, dx, dy);                                      \
  }
MOVE(left, -1, 0)
MOVE(right, 1, 0)
MOVE(up, 0, -1)
MOVE(down, 0, 1)

/* One further, or back to the first behind those that the runs have drawn, unless more is asked for. */
static void seed(struct app *a, bool more) {
  struct compare_state *s = compare_state(a);
  int most = 0;
  if (!s) return;
  for (int i = 0; i < a->runs.view.n_samples; i++)
    if (a->runs.view.samples[i].picture > most) most = a->runs.view.samples[i].picture;
  s->picture = more || s->picture < most ? s->picture + 1 : 0;
  s->seed = a->runs.view.seed + (uint64_t)s->picture;
}

static void next_seed(struct app *a, const char *argument) {
  (void)argument;
  seed(a, false);
}

static void further_seed(struct app *a, const char *argument) {
  (void)argument;
  seed(a, true);
}

static void mark_other(struct app *a, const char *argument) {
  struct compare_state *s = compare_state(a);
  (void)argument;
  if (!s || !s->columns) return;
  s->other_x = s->other_x == s->x ? -1 : s->x;
  if (s->other_x >= 0) app_say(a, "step %d is B now: move to another column, then f flips between the two", s->column[s->x].step);
}

static bool need_other(struct app *a) {
  struct compare_state *s = compare_state(a);
  if (s && s->other_x >= 0) return true;
  app_say(a, "b on a column marks it as B, to compare others with");
  return false;
}

static void flip(struct app *a, const char *argument) {
  (void)argument;
  if (need_other(a)) compare_state(a)->flipped = !compare_state(a)->flipped;
}

static void set_view(struct app *a, enum compare_view view) {
  struct compare_state *s = compare_state(a);
  if (!s || (view >= VIEW_BESIDE && !need_other(a))) return;
  s->view = s->view == view ? VIEW_GRID : view;
}

#define VIEW(name, view)                                  \
  static void name(struct app *a, const char *argument) { \
    (void)argument;                                       \
    set_view(a, view);                                    \
  }
VIEW(large, VIEW_LARGE)
VIEW(beside, VIEW_BESIDE)
VIEW(difference, VIEW_DIFFERENCE)

static void photographs(struct app *a, const char *argument) {
  (void)argument;
  if (compare_state(a)) compare_state(a)->photographs = !compare_state(a)->photographs;
}

/* --- other runs in the grid ------------------------------------------------------------------------------------------------------------------ */

static int offered[MAX_CHOICES];

static void add_offered(struct app *a, int index) {
  struct compare_state *s = compare_state(a);
  if (s->extras == MAX_OTHER_RUNS) {
    app_complain(a, "%d other runs are the most", MAX_OTHER_RUNS);
    return;
  }
  const char *path = a->runs.item[offered[index]].path;
  verdicts_read(&s->verdicts[1 + s->extras], path);
  run_view_open(&s->extra[s->extras++], path);
  compare_gather(a);
}

static void add_run(struct app *a, const char *argument) {
  static struct choice choices[MAX_CHOICES];
  static const char *const keys_of[] = {"1", "2", "3", "4", "5", "6", "7", "8", "9", "0"};
  int n = 0;
  (void)argument;
  for (int i = 0; i < a->runs.n && n < 10; i++) {
    const struct run_item *x = &a->runs.item[i];
    if (strcmp(x->subject, a->runs.view.subject) || !strcmp(x->path, a->runs.view.path)) continue;
    offered[n] = i;
    choices[n] = (struct choice){keys_of[n], x->name};
    n++;
  }
  if (n)
    overlay_choose(a, "Another run", "Its last samples become a column.", choices, n, add_offered);
  else
    app_say(a, "%s has no other run", a->runs.view.subject);
}

static void drop_runs(struct app *a, const char *argument) {
  struct compare_state *s = compare_state(a);
  (void)argument;
  while (s && s->extras) run_view_close(&s->extra[--s->extras]);
  compare_gather(a);
}

static void all_steps(struct app *a, const char *argument) {
  struct compare_state *s = compare_state(a);
  (void)argument;
  if (!s) return;
  s->all_steps = !s->all_steps;
  compare_gather(a);
}

static const struct action actions[] = {
    {"compare.large", "Enter z", "large", "The picture as large as the window; again: the grid.", large},
    {"compare.make", "m", "draw", "Draw the picture that is missing here, at low priority while you go on looking.", compare_make},
    {"compare.mark", "b", "mark B", "Mark the column as B, to compare others with.", mark_other},
    {"compare.flip", "f Space", "flip", "Show B at the same place, and back.", flip},
    {"compare.star", "*", "star", "One star more, up to three.", compare_star},
    {"compare.reject", "x", "reject", "Reject the checkpoint of this step, or take that back.", compare_reject},
    {"compare.keep", "K", "keep", "Make its checkpoint the subject's chosen one, export it, and delete the rejected ones.", compare_keep},
    {"compare.weaker", "<", "scale", "A weaker LoRA; 0 is the base model.", compare_weaker},
    {"compare.beside", "v", "beside", "A and B side by side.", beside},
    {"compare.difference", "d", "difference", "Where A and B differ, as a heat map.", difference},
    {"compare.seed", "n", "seed", "The pictures of the next seed.", next_seed},
    {"compare.make-all", "M", NULL, "Draw everything that is missing in the grid.", compare_make_all},
    {"compare.cancel", "c", NULL, "Draw no more of what is missing.", compare_cancel},
    {"compare.stronger", ">", NULL, "A stronger LoRA.", compare_stronger},
    {"compare.scale", "w", NULL, "Type the strength of the LoRA.", compare_scale},
    {"compare.further-seed", "+", NULL, "The next seed, also one that no run has drawn.", further_seed},
    {"compare.prompt", "i", NULL, "Another prompt, as a row of its own.", compare_prompt},
    {"compare.export", "e", NULL, "Write the checkpoint in the form that another program reads.", compare_export},
    {"compare.note", "N", NULL, "A note for this step.", compare_note},
    {"compare.delete", "X", NULL, "Delete the checkpoints of rejected steps, after showing the space that this frees.", compare_delete},
    {"compare.photographs", "p", NULL, "The subject's photographs beside, or not.", photographs},
    {"compare.add-run", "a", NULL, "Put the last samples of another run of the subject beside.", add_run},
    {"compare.drop-runs", "A", NULL, "Only the run that is looked at.", drop_runs},
    {"compare.all-steps", "g", NULL, "All steps of the other runs, or only their last.", all_steps},
    {"compare.sheet", "s", NULL, "Write the grid as a contact sheet, a PNG in the run's directory.", compare_sheet},
    {"compare.left", "Left h", NULL, "The step before.", left},
    {"compare.right", "Right l", NULL, "The next step.", right},
    {"compare.up", "Up k", NULL, "The prompt above.", up},
    {"compare.down", "Down j", NULL, "The prompt below.", down},
    {0},
};

static void mouse(struct app *a, struct rect r, const struct input_event *ev) {
  struct compare_state *s = compare_state(a);
  (void)r;
  if (!s) return;
  if (ev->mouse == MOUSE_WHEEL_UP) move(a, 0, -1);
  if (ev->mouse == MOUSE_WHEEL_DOWN) move(a, 0, 1);
  if (ev->mouse != MOUSE_PRESS || s->view != VIEW_GRID || !rect_holds(s->grid, ev->x, ev->y) || s->cell_w < 1 || s->cell_h < 1) return;
  int x = s->first_x + (ev->x - s->grid.x) / s->cell_w, y = s->first_y + (ev->y - s->grid.y) / s->cell_h;
  if (x == s->x && y == s->y) set_view(a, VIEW_LARGE);
  if (x < s->columns) s->x = x;
  if (y < s->rows) s->y = y;
}

static void release(struct app *a) {
  struct compare_state *s = compare_state(a);
  while (s->extras) run_view_close(&s->extra[--s->extras]);
  orders_release(&s->orders);
}

const struct screen compare_screen = {.title = "Compare",
                                      .actions = actions,
                                      .enter = compare_gather,
                                      .changed = compare_gather,
                                      .draw = compare_draw,
                                      .mouse = mouse,
                                      .release = release};
