/* masks: only derives the masks of a profile's photographs, to look at before training. */
#include <stdlib.h>
#include <string.h>

#include "assets/embedded.h"
#include "commands.h"
#include "profile.h"
#include "progress.h"
#include "sheet.h"
#include "signals.h"

enum { MOST = 256 };

struct masks_options {
  struct text_list set;
  const char *out;
  const char *device; /* NULL: as the profile says */
  int threads;
  bool quiet;
};

struct masks {
  struct progress progress;
  struct strings owner;
  const char *overlay[MOST], *label[MOST];
  int n;
};

static void on_log(void *user, enum log_level level, const char *text) {
  struct masks *k = user;
  progress_line(&k->progress, level, text);
}

static void on_progress(void *user, const char *stage, int64_t done, int64_t total) {
  struct masks *k = user;
  progress_show(&k->progress, stage, done, total);
}

static void on_mask(void *user, const char *photograph, const char *overlay, double share, double confidence) {
  struct masks *k = user;
  char label[400];
  if (k->n == MOST) return;
  if (confidence < 1)
    text_put(label, sizeof label, "%s %.0f %% confidence %.2f", photograph, 100 * share, confidence);
  else
    text_put(label, sizeof label, "%s %.0f %% given", photograph, 100 * share);
  k->overlay[k->n] = strings_add(&k->owner, overlay, strlen(overlay));
  k->label[k->n] = strings_add(&k->owner, label, strlen(label));
  k->n += k->overlay[k->n] && k->label[k->n];
}

static bool write_sheet(const struct masks *k, const char *dir, char *path, size_t size, struct err *e) {
  text_put(path, size, "%s/sheet.png", dir);
  const struct sheet s = {.columns = k->n < 5 ? k->n : 5, .column_label = k->n <= 5 ? k->label : NULL};
  return k->n == 0 || sheet_write_files(path, &s, k->overlay, k->n, e);
}

static bool make(struct masks *k, const char *file, const struct masks_options *o, char *sheet, size_t size, struct err *e) {
  struct profile p = {0};
  char dir[4000];
  const struct sink sink = {.user = k, .log = on_log, .progress = on_progress, .mask = on_mask, .poll = signals_poll};
  bool ok = profile_load(&p, file, embedded_files, o->set.text, o->set.n, e);
  if (ok) {
    if (o->device) p.settings.engine.device = o->device;
    if (o->threads) p.settings.engine.threads = o->threads;
    if (o->out)
      text_put(dir, sizeof dir, "%s", o->out);
    else
      text_put(dir, sizeof dir, "%s-masks", p.settings.subject.name);
    ok = engine_masks(&p.settings, embedded_files, &sink, dir, e);
    progress_end(&k->progress);
    ok = ok && write_sheet(k, dir, sheet, size, e);
  }
  profile_release(&p);
  return ok;
}

static int masks_main(void *options, int operands, char **operand) {
  const struct masks_options *o = options;
  struct err e = {0};
  char sheet[4100] = "";
  if (operands != 1) return err_set(&e, ERR_USAGE, "masks takes one profile; see pdmbooth-tui masks --help"), say_error(&e);
  struct masks *k = calloc(1, sizeof *k);
  if (!k) return err_set(&e, ERR_FAILED, "out of memory"), say_error(&e);
  signals_catch();
  bool ok = progress_init(&k->progress, o->quiet, false, &e) && make(k, operand[0], o, sheet, sizeof sheet, &e);
  for (int i = 0; ok && i < k->n; i++) puts(k->overlay[i]);
  if (ok && *sheet) puts(sheet);
  strings_release(&k->owner);
  free(k);
  return ok ? 0 : say_error(&e);
}

#define AT(field) .offset = offsetof(struct masks_options, field)

static const struct option_spec masks_table[] = {
    {"out", "DIR", "where masks, overlays and sheet.png go (default: SUBJECT-masks here)", OPTION_TEXT, AT(out)},
    {"set", "SECTION.KEY=VALUE", "override a key of the profile (repeat for more)", OPTION_LIST, AT(set)},
    {"device", NULL, "where to compute (default: as the profile says)", OPTION_NAME, AT(device), .words = device_words,
     .accepts = engine_device_is_known},
    {"threads", "N", "threads to compute with", OPTION_WHOLE, AT(threads), 1, 4096},
    {"quiet", NULL, "say nothing but errors on standard error", OPTION_FLAG, AT(quiet)},
    {0},
};

const struct command_spec masks_command = {
    .name = "masks",
    .operands = "PROFILE.ini",
    .summary = "derive the subject masks of a profile, to look at before training",
    .about =
        "Derives the masks that no file gives, from the photographs and the model, and writes NAME.png (white where the subject is), "
        "NAME-overlay.png and sheet.png. Masks that files give are shown too and lend their photographs' knowledge to the others. Files "
        "that this program did not write are never replaced.\n"
        "A mask that is wrong can be corrected in any paint program and put into masks/ beside the photographs; then the others are "
        "derived from it.\n"
        "The paths of overlays and sheet go to standard output.",
    .options = masks_table,
    .options_size = sizeof(struct masks_options),
    .run = masks_main,
};
