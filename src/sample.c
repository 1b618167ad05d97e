/* sample: pictures of prompts from a model or a LoRA file; and sheet: pictures to a contact sheet. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "assets/embedded.h"
#include "commands.h"
#include "hub.h"
#include "progress.h"
#include "prompts.h"
#include "rundir.h"
#include "sheet.h"
#include "signals.h"

struct sampling {
  const struct options *options;
  struct prompts prompts;
  struct progress progress;
  struct image *picture; /* [prompts * count], kept where a sheet is wanted */
  const char *out;       /* directory, NULL: none */
};

static void on_log(void *user, enum log_level level, const char *text) {
  struct sampling *s = user;
  char line[1200];
  text_put(line, sizeof line, "%s%s", level == LOG_WARN ? "warning: " : "", text);
  if (level != LOG_DEBUG) progress_line(&s->progress, line);
}

static void on_progress(void *user, const char *stage, int64_t done, int64_t total) {
  struct sampling *s = user;
  progress_show(&s->progress, stage, done, total);
}

static bool write_picture(const struct sampling *s, const struct sample_event *event, struct err *e) {
  char path[4096];
  struct png_text text[SAMPLE_TEXTS];
  struct strings owner = {0};
  int n = sample_texts(event, event->picture, &owner, text);
  text_put(path, sizeof path, "%s/%02d-%llu.png", s->out, event->prompt_index + 1, (unsigned long long)event->seed);
  bool ok = image_write_png(path, event->picture, text, n, e);
  if (ok) puts(path);
  strings_release(&owner);
  return ok;
}

static bool keep_picture(struct sampling *s, const struct sample_event *event, struct err *e) {
  const struct image *p = event->picture;
  struct image *copy = &s->picture[event->prompt_index * s->options->count + event->picture_index];
  image_release(copy);
  if (!image_new(copy, p->w, p->h, p->channels)) return err_set(e, ERR_FAILED, "out of memory");
  memcpy(copy->px, p->px, (size_t)p->w * (size_t)p->h * (size_t)p->channels);
  return true;
}

static bool on_sample(void *user, const struct sample_event *event, struct err *e) {
  struct sampling *s = user;
  return (!s->out || write_picture(s, event, e)) && (!s->options->sheet || keep_picture(s, event, e));
}

static bool write_sheet(struct sampling *s, struct err *e) {
  const struct options *o = s->options;
  struct strings owner = {0};
  const char **seed = calloc((size_t)o->count, sizeof *seed);
  bool ok = seed != NULL;
  for (int i = 0; ok && i < o->count; i++) {
    seed[i] = strings_printf(&owner, "seed %llu", (unsigned long long)(o->seed + (uint64_t)i));
    ok = seed[i] != NULL;
  }
  struct sheet sheet = {
      .columns = o->count, .picture = s->picture, .pictures = s->prompts.n * o->count, .row_label = s->prompts.text, .column_label = seed};
  ok = ok ? sheet_write(o->sheet, &sheet, e) : err_set(e, ERR_FAILED, "out of memory");
  if (ok) puts(o->sheet);
  strings_release(&owner);
  free(seed);
  return ok;
}

/* A LoRA is a file, or a directory that holds one under diffusers' name, as a run's checkpoints do; "" for a model. */
static const char *lora_path(struct sampling *s) {
  const char *path = s->options->checkpoint;
  if (is_file(path)) return path;
  const char *inside = strings_printf(&s->prompts.owner, "%s/pytorch_lora_weights.safetensors", path);
  return inside && is_file(inside) ? inside : "";
}

/* CHECKPOINT and --base to the job's model and lora. */
static bool choose_model(struct sampling *s, struct sample_job *j, struct err *e) {
  const struct options *o = s->options;
  char here[4096];
  j->lora = lora_path(s);
  bool lora = *j->lora;
  if (!getcwd(here, sizeof here)) return err_set_errno(e, ERR_INPUT, "cannot tell the current directory");
  if (lora && !o->base)
    return err_set(e, ERR_USAGE, "%s is a LoRA file: it needs --base MODEL, the model that it belongs to", o->checkpoint);
  if (!lora && o->base) return err_set(e, ERR_USAGE, "--base is for a LoRA file, and %s is none", o->checkpoint);
  j->model = model_resolve(lora ? o->base : o->checkpoint, here, &s->prompts.owner, e);
  return j->model != NULL;
}

static bool collect_prompts(struct sampling *s, struct err *e) {
  const struct options *o = s->options;
  bool ok = true;
  for (int i = 0; ok && i < o->prompts; i++) ok = prompts_add(&s->prompts, o->prompt[i], e);
  if (ok && o->prompts_file) ok = prompts_read(&s->prompts, o->prompts_file, o->section, embedded_files, e);
  return ok && prompts_fill(&s->prompts, o->token, o->class_name, e);
}

static bool prepare(struct sampling *s, struct sample_job *j, struct err *e) {
  const struct options *o = s->options;
  if (!collect_prompts(s, e) || !choose_model(s, j, e)) return false;
  s->out = o->out ? o->out : o->sheet || o->dump ? NULL : "samples";
  if (s->out && !make_dirs(s->out, e)) return false;
  if (o->dump && !make_dirs(o->dump, e)) return false;
  s->picture = calloc((size_t)s->prompts.n * (size_t)o->count, sizeof *s->picture);
  return s->picture || err_set(e, ERR_FAILED, "out of memory");
}

int sample_run(const struct options *o) {
  struct err e = {0};
  struct sampling s = {.options = o};
  struct sample_job j = {.scale = o->scale,
                         .negative = o->negative,
                         .count = o->count,
                         .seed = o->seed,
                         .sampler = o->sampler,
                         .steps = o->steps,
                         .batch = o->batch,
                         .width = o->width,
                         .height = o->height,
                         .guidance = o->guidance,
                         .precision = o->precision,
                         .device = *o->device ? o->device : "auto",
                         .threads = o->threads,
                         .latents_in = o->latents ? o->latents : "",
                         .dump_dir = o->dump ? o->dump : ""};
  const struct sink sink = {.user = &s, .log = on_log, .progress = on_progress, .sample = on_sample, .poll = signals_poll};
  progress_init(&s.progress);
  signals_catch();
  bool ok = prepare(&s, &j, &e);
  j.prompts = s.prompts.text;
  j.n_prompts = s.prompts.n;
  ok = ok && engine_sample(&j, embedded_files, &sink, &e);
  progress_end(&s.progress);
  ok = ok && (!o->sheet || write_sheet(&s, &e));
  for (int i = 0; s.picture && i < s.prompts.n * o->count; i++) image_release(&s.picture[i]);
  free(s.picture);
  prompts_release(&s.prompts);
  return ok ? 0 : say_error(&e);
}

int sheet_run(const struct options *o) {
  struct err e = {0};
  int rows = (o->files + o->columns - 1) / o->columns;
  const char **row = calloc((size_t)rows, sizeof *row), **column = calloc((size_t)o->columns, sizeof *column);
  if (!row || !column) {
    err_set(&e, ERR_FAILED, "out of memory");
  } else {
    for (int i = 0; i < rows; i++) row[i] = i < o->labels ? o->label[i] : "";
    for (int i = 0; i < o->columns; i++) column[i] = i < o->column_labels ? o->column_label[i] : "";
    for (int i = 0; i < o->files; i++) {
      if (!strcmp(o->file[i], "-")) o->file[i] = NULL;
    }
    struct sheet s = {
        .title = o->title, .columns = o->columns, .row_label = o->labels ? row : NULL, .column_label = o->column_labels ? column : NULL};
    sheet_write_files(o->out, &s, o->file, o->files, &e);
  }
  free(row);
  free(column);
  return e.code ? say_error(&e) : 0;
}
