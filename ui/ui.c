#include "ui/ui.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/source.h"
#include "ui/app.h"
#include "ui/plain.h"

static void divert_errors(void) {
  char dir[3000], path[3100];
  struct err ignored = {0};
  if (state_path("", dir, sizeof dir) && make_dirs(dir, &ignored) && text_put(path, sizeof path, "%s/errors.txt", dir))
    term_divert_errors(path);
}

static bool load_theme(struct app *a, struct err *e) {
  struct err first = {0};
  const char *fitting = a->facts.light ? "light" : "dark";
  if (theme_load(strcmp(a->config.theme, "auto") ? a->config.theme : fitting, flush_depth(), &a->theme, &first)) return true;
  app_complain(a, "%s", first.text);
  return theme_load("dark", flush_depth(), &a->theme, e);
}

static int run_screens(struct app *a, struct err *e) {
  int status = ERR_FAILED;
  if (!term_open(&a->facts, e)) return e->code;
  a->canvas.utf8 = a->facts.utf8;
  if (load_theme(a, e)) {
    divert_errors();
    status = app_loop(a);
  }
  term_close();
  return status;
}

int ui_run(bool plain, const char *attach) {
  struct err e = {0};
  struct app *a = calloc(1, sizeof *a);
  int status = ERR_FAILED, saved = -1;
  if (!a) return fputs("pdmbooth-tui: error: out of memory\n", stderr), status;
  a->plain = plain;
  saved = term_keep_errors();
  if (app_open(a, attach, &e)) status = plain ? plain_loop(a, &e) : run_screens(a, &e);
  term_restore_errors(saved);
  if (e.code) {
    fprintf(stderr, "pdmbooth-tui: error: %s\n", e.text);
    status = e.code;
  }
  if (*a->parting) fputs(a->parting, stdout);
  app_close(a);
  free(a);
  return status;
}
