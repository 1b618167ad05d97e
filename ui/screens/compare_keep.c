/* What becomes of checkpoints after looking: one is kept, rejected ones are deleted, the grid becomes a picture. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "sheet.h"
#include "ui/screens/compare.h"

void compare_keep(struct app *a, const char *argument) {
  struct compare_state *s = compare_state(a);
  char path[4096], title[200], text[400];
  struct err e = {0};
  int i = store_find(&a->store, a->subject);
  if (!s || !s->columns || i < 0) return;
  const struct compare_column *c = &s->column[s->x];
  const struct run_checkpoint *k = compare_checkpoint(c);
  if (!k) return app_complain(a, "no checkpoint was written at step %d; [checkpoints] every asks for them", c->step);
  run_checkpoint_path(c->run, k, path, sizeof path);
  if (!store_choose(&a->store, i, path, &e)) return app_complain(a, "%s", e.text);
  app_say(a, "step %d is the chosen checkpoint of %s: %s", c->step, a->subject, path);
  s->keeping = true;
  text_put(title, sizeof title, "Step %d is kept", c->step);
  text_put(text, sizeof text, "It is the chosen checkpoint of %s now. Shall it be exported as well?", a->subject);
  if (argument)
    compare_delete(a, "quiet");
  else
    compare_ask_export(a, title, text);
}

/* --- deleting ------------------------------------------------------------------------------------------------------------------------ */

/* Bytes of the files in a directory and below. */
static double tree_bytes(const char *path) {
  char below[4096];
  struct stat st;
  double sum = 0;
  DIR *d = opendir(path);
  for (struct dirent *x; d && (x = readdir(d));) {
    if (!strcmp(x->d_name, ".") || !strcmp(x->d_name, "..") || !text_put(below, sizeof below, "%s/%s", path, x->d_name)) continue;
    if (lstat(below, &st)) continue;
    sum += S_ISDIR(st.st_mode) ? tree_bytes(below) : (double)st.st_blocks * 512;
  }
  if (d) closedir(d);
  return sum;
}

/* The i-th checkpoint that may go: of this run, rejected, not the chosen one, and not the final model. */
static bool rejected_at(struct app *a, int i, char *path, size_t n) {
  struct compare_state *s = compare_state(a);
  const struct run_view *v = &a->runs.view;
  const struct subject *x = app_subject(a);
  for (int k = 0; k < v->n_checkpoints; k++) {
    const struct verdict *d = verdicts_at(&s->verdicts[0], v->checkpoints[k].step);
    if (v->checkpoints[k].final || !d || !d->rejected) continue;
    run_checkpoint_path(v, &v->checkpoints[k], path, n);
    if (x && !strcmp(path, x->chosen)) continue;
    if (i-- == 0) return true;
  }
  return false;
}

static void delete_rejected(struct app *a, int how) {
  char path[4096];
  int n = 0;
  if (how != 0) return;
  while (rejected_at(a, 0, path, sizeof path)) {
    fs_remove_tree(path);
    if (is_directory(path)) break;
    run_view_update(&a->runs.view);
    n++;
  }
  app_say(a, "%d deleted; their samples stay", n);
  compare_gather(a);
}

void compare_delete(struct app *a, const char *argument) {
  static const struct choice choices[] = {{"y", "delete them"}, {"Esc", "keep them"}};
  char path[4096], text[300];
  double bytes = 0;
  int n = 0;
  if (!compare_state(a)) return;
  for (; rejected_at(a, n, path, sizeof path); n++) bytes += tree_bytes(path);
  bool working = run_is_at_work(a->runs.view.state);
  if (working && !argument) app_say(a, "not while the run is under way");
  if (!working && !n && !argument) app_say(a, "no checkpoint of a rejected step is there (x rejects; the chosen and the final one stay)");
  if (!n || working) return;
  text_put(text, sizeof text, "%d rejected checkpoint%s %.1f MiB. Deleting cannot be undone; the samples stay.", n,
           n == 1 ? " takes" : "s take", bytes / (1 << 20));
  overlay_choose(a, "Delete checkpoints", text, choices, 2, delete_rejected);
}

/* --- contact sheet ----------------------------------------------------------------------------------------------------------------------- */

/* "step 200", with the run where several are in the grid, and the strength of a LoRA. */
static const char *column_label(const struct compare_state *s, int x, struct strings *o) {
  const struct compare_column *c = &s->column[x];
  char run[300] = "", scale[40] = "";
  if (s->scale == 0) return strings_add(o, "base", 4);
  if (s->extras) text_put(run, sizeof run, "%s ", c->run->name);
  if (c->run->lora && s->scale != 1) text_put(scale, sizeof scale, ", scale %.2f", s->scale);
  return strings_printf(o, "%sstep %d%s", run, c->step, scale);
}

static bool write_sheet(const struct compare_state *s, const char *path, const char *title, struct strings *o, struct err *e) {
  int cells = s->rows * s->columns;
  const char **file = calloc((size_t)cells, sizeof *file), *label[MAX_COLUMNS];
  char picture[4096];
  bool ok = file != NULL;
  for (int i = 0; ok && i < cells; i++) {
    file[i] = compare_cell(s, i % s->columns, i / s->columns, picture, sizeof picture) ? strings_add(o, picture, strlen(picture)) : "";
    ok = file[i] != NULL;
  }
  for (int i = 0; ok && i < s->columns; i++) ok = (label[i] = column_label(s, i, o)) != NULL;
  struct sheet sheet = {.title = title, .columns = s->columns, .row_label = s->prompt, .column_label = label};
  ok = ok ? sheet_write_files(path, &sheet, file, cells, e) : err_set(e, ERR_FAILED, "out of memory");
  free(file);
  return ok;
}

void compare_sheet(struct app *a, const char *argument) {
  struct compare_state *s = compare_state(a);
  struct strings owner = {0};
  struct err e = {0};
  char path[4096], title[500];
  (void)argument;
  if (!s || !s->columns || !s->rows) return;
  text_put(path, sizeof path, "%s/compare.png", a->runs.view.path);
  text_put(title, sizeof title, "%s, %s, seed %llu", a->runs.view.subject, a->runs.view.name, (unsigned long long)s->seed);
  if (write_sheet(s, path, title, &owner, &e))
    app_say(a, "written: %s", path);
  else
    app_complain(a, "%s", e.text);
  strings_release(&owner);
}
