/* export: a model or a LoRA in the form that another program reads. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "assets/embedded.h"
#include "base/tensor.h"
#include "commands.h"
#include "hub.h"
#include "interchange.h"
#include "text.h"

enum { DTYPE_SOURCE = -1 };

struct export_options {
  const char *base, *config, *merge, *out;
  double scale;
  int as, dtype;
  bool force;
};

static const char *const form_words[] = {
#define X(name, word, text) word,
    EXPORT_FORMS(X)
#undef X
        NULL};

static void on_log(void *user, enum log_level level, const char *text) {
  (void)user;
  if (level != LOG_DEBUG) fprintf(stderr, "%s%s\n", level == LOG_WARN ? "warning: " : "", text);
}

/* CHECKPOINT, --base and --merge to model and LoRA. */
static bool choose_inputs(struct export_job *j, const char *checkpoint, const struct export_options *o, struct strings *s, struct err *e) {
  char here[4096];
  bool lora = engine_is_lora(checkpoint);
  const char *model = lora ? o->base : checkpoint;
  if (lora && o->merge)
    return err_set(e, ERR_USAGE, "%s is a LoRA: --merge adds one to a model; name the model, or give --base", checkpoint);
  if (!lora && o->base) return err_set(e, ERR_USAGE, "--base is for a LoRA, and %s is none", checkpoint);
  if (o->merge && j->form >= EXPORT_LORA_DIFFUSERS)
    return err_set(e, ERR_USAGE, "--merge makes a whole model: --as diffusers or single-file");
  if (!getcwd(here, sizeof here)) return err_set_errno(e, ERR_INPUT, "cannot tell the current directory");
  j->lora = lora ? checkpoint : o->merge ? o->merge : "";
  j->model = model ? model_resolve(model, here, s, e) : "";
  return j->model != NULL;
}

static int export_main(void *options, int operands, char **operand) {
  const struct export_options *o = options;
  struct err e = {0};
  struct strings owner = {0};
  struct export_result r;
  struct export_job j = {.config = o->config ? o->config : "",
                         .scale = o->scale,
                         .form = (enum export_form)o->as,
                         .dtype = o->dtype == DTYPE_SOURCE ? EXPORT_SOURCE_DTYPE : o->dtype,
                         .out = o->out ? o->out : "",
                         .force = o->force};
  const struct sink sink = {.log = on_log};
  bool ok;
  if (operands != 1)
    ok = err_set(&e, ERR_USAGE, "export takes one checkpoint: a model or a LoRA; see pdmbooth-tui export --help");
  else if (o->as < 0)
    ok = err_set(
        &e, ERR_USAGE,
        "export needs --as, the form to write: diffusers, single-file, lora-diffusers, lora-diffusers-old, lora-peft or lora-kohya");
  else
    ok = choose_inputs(&j, operand[0], o, &owner, &e) && engine_export(&j, embedded_files, &sink, &r, &e);
  for (int i = 0; ok && i < r.paths; i++) puts(r.path[i]);
  if (ok) fprintf(stderr, "%d tensors written, read again and compared\n", r.tensors);
  strings_release(&owner);
  return ok ? 0 : say_error(&e);
}

#define AT(field) .offset = offsetof(struct export_options, field)

static const struct option_spec export_table[] = {
    {"as", NULL, "the form to write", OPTION_WORD, AT(as), .words = form_words},
    {"out", "PATH", "where to: a file or, for diffusers and lora-peft, a directory", OPTION_TEXT, AT(out)},
    {"base", "MODEL", "the model that a LoRA belongs to: to merge it into, to check it against, for its metadata", OPTION_TEXT, AT(base)},
    {"config", "DIR", "a diffusers directory for what the tensors of a single-file checkpoint do not tell", OPTION_TEXT, AT(config)},
    {"merge", "LORA", "a LoRA to add to the model's weights", OPTION_TEXT, AT(merge)},
    {"scale", "X", "strength of the LoRA that is merged (default 1)", OPTION_NUMBER, AT(scale), -100, 100},
    {"dtype", NULL, "type of the numbers (default: as in CHECKPOINT)", OPTION_WORD, AT(dtype), .words = dtype_words},
    {"force", NULL, "replace what an earlier export wrote there", OPTION_FLAG, AT(force)},
    {0},
};

static const struct export_options export_defaults = {.scale = 1, .as = -1, .dtype = DTYPE_SOURCE};

const struct command_spec export_command = {
    .name = "export",
    .operands = "CHECKPOINT",
    .summary = "write a model or a LoRA in the form that another program reads",
    .about =
        "CHECKPOINT is whatever sample takes. What is written is read again and compared before it appears under its name; paths go to "
        "standard "
        "output. A LoRA with --base and --as diffusers or single-file is merged into that model.\n"
        "single-file also writes PATH-config/ (configs and tokenizer) and, for Stable Diffusion 2.x and models that predict v, PATH.yaml, "
        "which "
        "programs look for beside the file.",
    .options = export_table,
    .options_size = sizeof(struct export_options),
    .defaults = &export_defaults,
    .run = export_main,
};
