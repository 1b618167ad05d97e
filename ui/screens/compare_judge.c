/* What one thinks of the steps of the runs in the grid, and what was measured. */
#include <math.h>
#include <string.h>

#include "ui/screens/compare.h"

struct verdicts *compare_verdicts(struct compare_state *s, const struct app *a, int x) {
  const struct run_view *v = s->column[x].run;
  return v == &a->runs.view ? &s->verdicts[0] : &s->verdicts[1 + (v - s->extra)];
}

const struct verdict *compare_verdict(struct compare_state *s, const struct app *a, int x) {
  return verdicts_at(compare_verdicts(s, a, x), s->column[x].step);
}

bool compare_probe(const struct compare_state *s, int x, double *out) {
  const struct metrics *m = run_row_at(s->column[x].run, s->column[x].step);
  if (!m || m->step != s->column[x].step || !isfinite(m->probe)) return false;
  *out = m->probe;
  return true;
}

/* That of the step in the cursor's column; NULL: none can be given. */
static struct verdict *here(struct app *a) {
  struct compare_state *s = compare_state(a);
  return s && s->columns ? verdicts_give(compare_verdicts(s, a, s->x), s->column[s->x].step) : NULL;
}

static void write_verdicts(struct app *a) {
  struct compare_state *s = compare_state(a);
  struct err e = {0};
  if (!verdicts_write(compare_verdicts(s, a, s->x), &e)) app_complain(a, "%s", e.text);
}

void compare_star(struct app *a, const char *argument) {
  struct verdict *v = here(a);
  (void)argument;
  if (!v) return;
  v->stars = (v->stars + 1) % (MOST_STARS + 1);
  write_verdicts(a);
}

void compare_reject(struct app *a, const char *argument) {
  struct verdict *v = here(a);
  (void)argument;
  if (!v) return;
  v->rejected = !v->rejected;
  write_verdicts(a);
}

static void set_note(struct app *a, const char *text) {
  struct verdict *v = here(a);
  if (!v) return;
  text_put(v->note, sizeof v->note, "%s", text);
  for (char *p = v->note; (p = strstr(p, " ;"));) p[1] = ',';
  write_verdicts(a);
}

void compare_note(struct app *a, const char *argument) {
  struct verdict *v = here(a);
  if (!v) return;
  if (argument)
    set_note(a, argument);
  else
    overlay_ask(a, "Note", v->note, set_note, NULL);
}
