#include "ui/verdicts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/source.h"
#include "profile.h"

static bool take_line(void *user, const char *section, const char *name, const char *value, int line, struct err *e) {
  struct verdicts *v = user;
  (void)line;
  (void)e;
  if (strncmp(section, "step ", 5)) return true;
  struct verdict *x = verdicts_give(v, atoi(section + 5));
  if (!x) return true;
  if (!strcmp(name, "stars")) x->stars = atoi(value);
  if (x->stars < 0 || x->stars > MOST_STARS) x->stars = 0;
  if (!strcmp(name, "rejected")) x->rejected = !strcmp(value, "true");
  if (!strcmp(name, "note")) text_put(x->note, sizeof x->note, "%s", value);
  return true;
}

void verdicts_read(struct verdicts *v, const char *run) {
  size_t n;
  struct err ignored = {0};
  *v = (struct verdicts){.n = 0};
  text_put(v->path, sizeof v->path, "%s/verdicts.ini", run);
  char *text = is_file(v->path) ? text_file_read(v->path, NULL, "", &n, &ignored) : NULL;
  if (text) ini_read(v->path, text, n, take_line, v, &ignored);
  free(text);
}

const struct verdict *verdicts_at(const struct verdicts *v, int step) {
  for (int i = 0; i < v->n; i++) {
    if (v->of[i].step == step) return &v->of[i];
  }
  return NULL;
}

struct verdict *verdicts_give(struct verdicts *v, int step) {
  for (int i = 0; i < v->n; i++) {
    if (v->of[i].step == step) return &v->of[i];
  }
  if (v->n == MAX_VERDICTS) return NULL;
  v->of[v->n] = (struct verdict){.step = step};
  return &v->of[v->n++];
}

bool verdicts_write(const struct verdicts *v, struct err *e) {
  char *text = NULL;
  size_t n = 0;
  FILE *f = open_memstream(&text, &n);
  if (!f) return err_set(e, ERR_FAILED, "out of memory");
  fputs("; what was thought of the steps of this run, kept by pdmbooth-tui\n", f);
  for (int i = 0; i < v->n; i++) {
    const struct verdict *x = &v->of[i];
    if (!x->stars && !x->rejected && !*x->note) continue;
    fprintf(f, "\n[step %d]\nstars = %d\nrejected = %s\n", x->step, x->stars, x->rejected ? "true" : "false");
    if (*x->note) fprintf(f, "note = %s\n", x->note);
  }
  bool ok = !fclose(f) && write_file(v->path, text, n, e);
  free(text);
  return ok;
}
