/* sample: pictures of prompts from a model or a LoRA file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "assets/embedded.h"
#include "commands.h"
#include "diffusion/sampler.h"
#include "hub.h"
#include "interchange.h"
#include "progress.h"
#include "prompts.h"
#include "rundir.h"
#include "samples.h"
#include "sheet.h"
#include "signals.h"

struct sample_options {
  struct text_list prompt;
  const char *base, *config, *prompts, *section, *token, *class_name, *negative, *out, *sheet, *latents, *dump;
  double scale, guidance;
  uint64_t seed;
  int count, steps, sampler, size[2], batch, precision, threads, names;
  const char *device; /* NULL: auto */
  bool quiet, json;
};

enum { NAMES_NUMBER, NAMES_PROMPT };
static const char *const names_words[] = {"number", "prompt", NULL};

struct sampling {
  const struct sample_options *options;
  const char *checkpoint;
  struct prompts prompts;
  struct progress progress;
  struct image *picture; /* [prompts * count], kept where a sheet is wanted */
  const char *out;       /* directory, NULL: none */
};

static void on_log(void *user, enum log_level level, const char *text) {
  struct sampling *s = user;
  progress_line(&s->progress, level, text);
}

static void on_progress(void *user, const char *stage, int64_t done, int64_t total) {
  struct sampling *s = user;
  progress_show(&s->progress, stage, done, total);
}

static bool write_picture(struct sampling *s, const struct sample_event *event, struct err *e) {
  char path[4096], name[128];
  struct png_text text[SAMPLE_TEXTS];
  struct strings owner = {0};
  int n = sample_texts(event, event->picture, &owner, text);
  text_put(name, sizeof name, "%02d-%llu.png", event->prompt_index + 1, (unsigned long long)event->seed);
  if (s->options->names == NAMES_PROMPT) sample_file_name(event->prompt, event->seed, name, sizeof name);
  text_put(path, sizeof path, "%s/%s", s->out, name);
  bool ok = (n >= 0 || err_set(e, ERR_FIT, "out of memory")) && image_write_png(path, event->picture, text, n, e);
  if (ok) puts(path), fflush(stdout);
  if (ok) progress_sample(&s->progress, event, path);
  strings_release(&owner);
  return ok;
}

static bool keep_picture(struct sampling *s, const struct sample_event *event, struct err *e) {
  const struct image *p = event->picture;
  struct image *copy = &s->picture[event->prompt_index * s->options->count + event->picture_index];
  image_release(copy);
  if (!image_new(copy, p->w, p->h, p->channels)) return err_set(e, ERR_FIT, "out of memory");
  memcpy(copy->px, p->px, (size_t)p->w * (size_t)p->h * (size_t)p->channels);
  return true;
}

static bool on_sample(void *user, const struct sample_event *event, struct err *e) {
  struct sampling *s = user;
  return (!s->out || write_picture(s, event, e)) && (!s->options->sheet || keep_picture(s, event, e));
}

static bool write_sheet(struct sampling *s, struct err *e) {
  const struct sample_options *o = s->options;
  struct strings owner = {0};
  const char **seed = calloc((size_t)o->count, sizeof *seed);
  bool ok = seed != NULL;
  for (int i = 0; ok && i < o->count; i++) {
    seed[i] = strings_printf(&owner, "seed %llu", (unsigned long long)(o->seed + (uint64_t)i));
    ok = seed[i] != NULL;
  }
  struct sheet sheet = {
      .columns = o->count, .picture = s->picture, .pictures = s->prompts.n * o->count, .row_label = s->prompts.text, .column_label = seed};
  ok = ok ? sheet_write(o->sheet, &sheet, e) : err_set(e, ERR_FIT, "out of memory");
  if (ok) puts(o->sheet);
  strings_release(&owner);
  free(seed);
  return ok;
}

/* CHECKPOINT and --base to the job's model and lora. */
static bool choose_model(struct sampling *s, struct sample_job *j, struct err *e) {
  const struct sample_options *o = s->options;
  char here[4096];
  bool lora = engine_is_lora(s->checkpoint);
  j->lora = lora ? s->checkpoint : "";
  if (!getcwd(here, sizeof here)) return err_set_errno(e, ERR_INPUT, "cannot tell the current directory");
  if (lora && !o->base) return err_set(e, ERR_USAGE, "%s is a LoRA: it needs --base MODEL, the model that it belongs to", s->checkpoint);
  if (!lora && o->base) return err_set(e, ERR_USAGE, "--base is for a LoRA, and %s is none", s->checkpoint);
  j->model = model_resolve(lora ? o->base : s->checkpoint, here, &s->prompts.owner, e);
  return j->model != NULL;
}

static bool collect_prompts(struct sampling *s, struct err *e) {
  const struct sample_options *o = s->options;
  bool ok = true;
  for (int i = 0; ok && i < o->prompt.n; i++) ok = prompts_add(&s->prompts, o->prompt.text[i], e);
  if (ok && o->prompts) ok = prompts_read(&s->prompts, o->prompts, o->section, embedded_files, e);
  return ok && prompts_fill(&s->prompts, o->token, o->class_name, e);
}

static bool prepare(struct sampling *s, struct sample_job *j, struct err *e) {
  const struct sample_options *o = s->options;
  if (!collect_prompts(s, e) || !choose_model(s, j, e)) return false;
  s->out = o->out ? o->out : o->sheet || o->dump ? NULL : "samples";
  if (s->out && !make_dirs(s->out, e)) return false;
  if (o->dump && !make_dirs(o->dump, e)) return false;
  s->picture = calloc((size_t)s->prompts.n * (size_t)o->count, sizeof *s->picture);
  return s->picture || err_set(e, ERR_FIT, "out of memory");
}

static int draw(const char *checkpoint, const struct sample_options *o) {
  struct err e = {0};
  struct sampling s = {.options = o, .checkpoint = checkpoint};
  struct sample_job j = {.scale = o->scale,
                         .config = o->config ? o->config : "",
                         .negative = o->negative,
                         .count = o->count,
                         .seed = o->seed,
                         .sampler = o->sampler,
                         .steps = o->steps,
                         .batch = o->batch,
                         .width = o->size[0],
                         .height = o->size[1],
                         .guidance = o->guidance,
                         .precision = (enum precision)o->precision,
                         .device = o->device ? o->device : "auto",
                         .threads = o->threads,
                         .latents_in = o->latents ? o->latents : "",
                         .dump_dir = o->dump ? o->dump : ""};
  const struct sink sink = {.user = &s, .log = on_log, .progress = on_progress, .sample = on_sample, .poll = signals_poll};
  signals_catch();
  bool ok = progress_init(&s.progress, o->quiet, o->json, &e) && prepare(&s, &j, &e);
  j.prompts = s.prompts.text;
  j.n_prompts = s.prompts.n;
  ok = ok && engine_sample(&j, embedded_files, &sink, &e);
  progress_end(&s.progress);
  ok = ok && (!o->sheet || write_sheet(&s, &e));
  for (int i = 0; s.picture && i < s.prompts.n * o->count; i++) image_release(&s.picture[i]);
  free(s.picture);
  prompts_release(&s.prompts);
  return ok ? 0 : progress_error(&s.progress, &e);
}

static int sample_main(void *options, int operands, char **operand) {
  const struct sample_options *o = options;
  struct err e = {0};
  if (!operands) {
    err_set(&e, ERR_USAGE,
            "sample needs a checkpoint: a directory, a file, embedded, or a LoRA with --base; see pdmbooth-tui sample --help");
  } else if (operands > 1) {
    err_set(&e, ERR_USAGE, "sample takes one checkpoint; %s is a second one (a prompt is given by --prompt)", operand[1]);
  } else if (!o->prompt.n && !o->prompts) {
    err_set(&e, ERR_USAGE, "sample needs --prompt TEXT or --prompts FILE");
  }
  return e.code ? say_error(&e) : draw(operand[0], o);
}

#define AT(field) .offset = offsetof(struct sample_options, field)

static const struct option_spec sample_table[] = {
    {"base", "MODEL", "the model that a LoRA belongs to", OPTION_TEXT, AT(base)},
    {"config", "DIR", "a diffusers directory for what the tensors of a single-file checkpoint do not tell", OPTION_TEXT, AT(config)},
    {"scale", "X", "strength of the LoRA (default 1)", OPTION_NUMBER, AT(scale), -100, 100},
    {"prompt", "TEXT", "a prompt (repeat for more)", OPTION_LIST, AT(prompt)},
    {"prompts", "FILE",
     "more prompts: text, one on a line, or an INI file; embedded:dreambooth, inside the program, holds the 25 prompts of the DreamBooth "
     "data set "
     "(sections live and object)",
     OPTION_TEXT, AT(prompts)},
    {"section", "NAME", "section of the INI file", OPTION_TEXT, AT(section)},
    {"token", "WORD", "replaces {token} in prompts (default sks)", OPTION_TEXT, AT(token)},
    {"class", "WORD", "replaces {class} in prompts", OPTION_TEXT, AT(class_name)},
    {"negative", "TEXT", "negative prompt (default empty)", OPTION_TEXT, AT(negative)},
    {"seed", "N", "seed of the first picture of each prompt, the next has N + 1 (default 0)", OPTION_SEED, AT(seed)},
    {"count", "N", "pictures of each prompt (default 1)", OPTION_WHOLE, AT(count), 1, 10000},
    {"steps", "N", "sampling steps (default 50)", OPTION_WHOLE, AT(steps), 1, 1000},
    {"guidance", "X", "guidance (default 7.5; 1 or less: none)", OPTION_NUMBER, AT(guidance), 0, 100},
    {"sampler", NULL, "how to sample (default dpmpp_2m)", OPTION_WORD, AT(sampler), .words = sampler_words},
    {"size", "WxH", "size of the pictures (default: the model's own)", OPTION_SIZE, AT(size), 8, 4096},
    {"batch-size", "N", "pictures made at a time (default 4)", OPTION_WHOLE, AT(batch), 1, 256},
    {"out", "DIR", "write each picture as DIR/PROMPT-SEED.png (default samples where no --sheet or --dump is given)", OPTION_TEXT, AT(out)},
    {"names", NULL, "PROMPT in those names: its number (default), or its words", OPTION_WORD, AT(names), .words = names_words},
    {"sheet", "FILE.png", "write a contact sheet with labels", OPTION_TEXT, AT(sheet)},
    {"latents", "IN.npy", "begin with this noise, [pictures, channels, height, width]", OPTION_TEXT, AT(latents)},
    {"dump", "DIR", "write noise.npy, latents.npy, text.npy and negative.npy", OPTION_TEXT, AT(dump)},
    {"precision", NULL, "type of the computation (default fp32)", OPTION_WORD, AT(precision), .words = precision_words},
    {"device", NULL, "where to compute; ref: plain and slow, for comparison (default auto)", OPTION_NAME, AT(device), .words = device_words,
     .accepts = engine_device_is_known},
    {"threads", "N", "threads to compute with", OPTION_WHOLE, AT(threads), 1, 4096},
    {"quiet", NULL, "say nothing but errors on standard error", OPTION_FLAG, AT(quiet)},
    {"json", NULL, "say everything on standard error as JSON, one object a line; see pdmbooth-tui(1)", OPTION_FLAG, AT(json)},
    {0},
};

static const struct sample_options sample_defaults = {.token = "sks",
                                                      .class_name = "",
                                                      .negative = "",
                                                      .scale = 1,
                                                      .guidance = 7.5,
                                                      .count = 1,
                                                      .steps = 50,
                                                      .sampler = SAMPLER_DPMPP_2M,
                                                      .batch = 4};

const struct command_spec sample_command = {
    .name = "sample",
    .operands = "CHECKPOINT",
    .summary = "draw pictures with a model or a LoRA file",
    .about =
        "Draws pictures. CHECKPOINT is a directory in the diffusers layout, a single-file checkpoint (.safetensors), a hub name in the "
        "local "
        "Hugging Face cache, embedded, or, with --base, a LoRA: a file of kohya's, diffusers' or PEFT's dialect, or a PEFT directory. The "
        "paths of what is written go to standard output.",
    .options = sample_table,
    .options_size = sizeof(struct sample_options),
    .defaults = &sample_defaults,
    .run = sample_main,
};
