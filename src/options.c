#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diffusion/sampler.h"
#include "text.h"

static const char general_help[] =
    "Usage: pdmbooth-tui --batch PROFILE.ini [OPTION...]   personalise a model as the profile says\n"
    "       pdmbooth-tui sample CHECKPOINT [OPTION...]     draw pictures with a model or a LoRA file\n"
    "       pdmbooth-tui sheet OUT.png PICTURE...          compose pictures into a contact sheet\n"
    "       pdmbooth-tui --help | --version\n"
    "\n"
    "Each command has its own --help, such as pdmbooth-tui sample --help.\n"
    "Try it: pdmbooth-tui --batch embedded:demo   trains the model inside the program on photographs inside the program.\n"
    "Manual: pdmbooth-tui(1), profiles: pdmbooth-profile(5).\n";

static const char batch_help[] =
    "Usage: pdmbooth-tui --batch PROFILE.ini [OPTION...]\n"
    "\n"
    "Runs a profile from start to finish: class images, PDM targets, training, samples, checkpoints, final model.\n"
    "PROFILE.ini is a file, or embedded:NAME (demo, sd15-full, sd15-lora) for one inside the program.\n"
    "Progress goes to standard error; one line of JSON on standard output says how it ended.\n"
    "\n"
    "  --set SECTION.KEY=VALUE   override a key of the profile (repeat for more)\n"
    "  --run-dir DIR             use exactly this directory (default: runs/SUBJECT/TIME-PROFILE here)\n"
    "  --resume                  go on with the run in --run-dir, or with the newest run of this profile; begin where there is none\n"
    "  --device auto|cpu|cuda|ref  where to compute; ref: plain and slow, for comparison (default: as the profile says)\n"
    "  --threads N               threads to compute with\n"
    "  --dump-steps N            with --dump: write all that goes into and comes out of the first N steps, as safetensors\n"
    "  --dump DIR                where to write that\n";

static const char sample_help[] =
    "Usage: pdmbooth-tui sample CHECKPOINT [OPTION...]\n"
    "\n"
    "CHECKPOINT is a directory in the diffusers layout, a hub name in the local cache, embedded, or a LoRA file with --base.\n"
    "\n"
    "  --base MODEL              the model that a LoRA file belongs to\n"
    "  --scale X                 strength of the LoRA (default 1)\n"
    "  --prompt TEXT             a prompt (repeat for more)\n"
    "  --prompts FILE            more prompts: text, one on a line, or an INI file; embedded:dreambooth is inside the program\n"
    "  --section NAME            section of the INI file (live, object)\n"
    "  --token WORD              replaces {token} in prompts (default sks)\n"
    "  --class WORD              replaces {class} in prompts\n"
    "  --negative TEXT           negative prompt (default empty)\n"
    "  --seed N                  seed of the first picture of each prompt, the next has N + 1 (default 0)\n"
    "  --count N                 pictures of each prompt (default 1)\n"
    "  --steps N                 sampling steps (default 50)\n"
    "  --guidance X              guidance (default 7.5; 1 or less: none)\n"
    "  --sampler NAME            pndm, ddim, dpmpp_2m or euler (default dpmpp_2m)\n"
    "  --size WxH                size of the pictures (default: the model's own)\n"
    "  --batch-size N            pictures made at a time (default 4)\n"
    "  --out DIR                 write each picture as DIR/PROMPT-SEED.png (default samples where no --sheet or --dump is given)\n"
    "  --sheet FILE.png          write a contact sheet with labels\n"
    "  --latents IN.npy          begin with this noise, [pictures, channels, height, width]\n"
    "  --dump DIR                write noise.npy, latents.npy, text.npy and negative.npy\n"
    "  --precision fp32|bf16     type of the computation (default fp32)\n"
    "  --device auto|cpu|cuda|ref  where to compute; ref: plain and slow, for comparison (default auto)\n"
    "  --threads N               threads to compute with\n";

static const char sheet_help[] =
    "Usage: pdmbooth-tui sheet OUT.png [OPTION...] PICTURE...\n"
    "\n"
    "Pictures (PNG, JPEG, WebP) are laid out row by row; small ones are enlarged; a picture named - leaves its cell empty.\n"
    "\n"
    "  --columns N               pictures in a row (default: as many as --column-label, or 4)\n"
    "  --label TEXT              label of a row (repeat, from the top)\n"
    "  --column-label TEXT       label of a column (repeat, from the left)\n"
    "  --title TEXT              heading\n";

const char *options_help(const char *command) {
  if (!strcmp(command, "batch")) return batch_help;
  if (!strcmp(command, "sample")) return sample_help;
  return !strcmp(command, "sheet") ? sheet_help : general_help;
}

/* One letter or number for each long option; those of one command are refused by the others. */
enum option_id {
  OPT_HELP = 1000,
  OPT_VERSION,
  OPT_BATCH,
  OPT_SET,
  OPT_RUN_DIR,
  OPT_RESUME,
  OPT_DEVICE,
  OPT_THREADS,
  OPT_DUMP_STEPS,
  OPT_DUMP,
  OPT_BASE,
  OPT_SCALE,
  OPT_PROMPT,
  OPT_PROMPTS,
  OPT_SECTION,
  OPT_TOKEN,
  OPT_CLASS,
  OPT_NEGATIVE,
  OPT_SEED,
  OPT_COUNT,
  OPT_STEPS,
  OPT_GUIDANCE,
  OPT_SAMPLER,
  OPT_SIZE,
  OPT_BATCH_SIZE,
  OPT_OUT,
  OPT_SHEET,
  OPT_LATENTS,
  OPT_PRECISION,
  OPT_COLUMNS,
  OPT_LABEL,
  OPT_COLUMN_LABEL,
  OPT_TITLE,
  OPT_PRINT_KEYS
};

static const struct option batch_options[] = {{"help", no_argument, NULL, OPT_HELP},
                                              {"version", no_argument, NULL, OPT_VERSION},
                                              {"batch", required_argument, NULL, OPT_BATCH},
                                              {"set", required_argument, NULL, OPT_SET},
                                              {"run-dir", required_argument, NULL, OPT_RUN_DIR},
                                              {"resume", no_argument, NULL, OPT_RESUME},
                                              {"device", required_argument, NULL, OPT_DEVICE},
                                              {"threads", required_argument, NULL, OPT_THREADS},
                                              {"dump", required_argument, NULL, OPT_DUMP},
                                              {"dump-steps", required_argument, NULL, OPT_DUMP_STEPS},
                                              {"print-keys", required_argument, NULL, OPT_PRINT_KEYS},
                                              {NULL, 0, NULL, 0}};

static const struct option sample_options[] = {{"help", no_argument, NULL, OPT_HELP},
                                               {"base", required_argument, NULL, OPT_BASE},
                                               {"scale", required_argument, NULL, OPT_SCALE},
                                               {"prompt", required_argument, NULL, OPT_PROMPT},
                                               {"prompts", required_argument, NULL, OPT_PROMPTS},
                                               {"section", required_argument, NULL, OPT_SECTION},
                                               {"token", required_argument, NULL, OPT_TOKEN},
                                               {"class", required_argument, NULL, OPT_CLASS},
                                               {"negative", required_argument, NULL, OPT_NEGATIVE},
                                               {"seed", required_argument, NULL, OPT_SEED},
                                               {"count", required_argument, NULL, OPT_COUNT},
                                               {"steps", required_argument, NULL, OPT_STEPS},
                                               {"guidance", required_argument, NULL, OPT_GUIDANCE},
                                               {"sampler", required_argument, NULL, OPT_SAMPLER},
                                               {"size", required_argument, NULL, OPT_SIZE},
                                               {"batch-size", required_argument, NULL, OPT_BATCH_SIZE},
                                               {"out", required_argument, NULL, OPT_OUT},
                                               {"sheet", required_argument, NULL, OPT_SHEET},
                                               {"latents", required_argument, NULL, OPT_LATENTS},
                                               {"dump", required_argument, NULL, OPT_DUMP},
                                               {"precision", required_argument, NULL, OPT_PRECISION},
                                               {"device", required_argument, NULL, OPT_DEVICE},
                                               {"threads", required_argument, NULL, OPT_THREADS},
                                               {NULL, 0, NULL, 0}};

static const struct option sheet_options[] = {
    {"help", no_argument, NULL, OPT_HELP},         {"columns", required_argument, NULL, OPT_COLUMNS},
    {"label", required_argument, NULL, OPT_LABEL}, {"column-label", required_argument, NULL, OPT_COLUMN_LABEL},
    {"title", required_argument, NULL, OPT_TITLE}, {NULL, 0, NULL, 0}};

static bool wrong(struct err *e, const char *option, const char *text, const char *allowed) {
  return err_set(e, ERR_USAGE, "%s %s is not allowed: it must be %s", option, text, allowed);
}

static bool whole(const char *option, const char *text, long min, long max, int *out, struct err *e) {
  char *end, allowed[80];
  errno = 0;
  long v = strtol(text, &end, 10);
  if (end == text || *end || errno || v < min || v > max) {
    text_put(allowed, sizeof allowed, "a whole number from %ld to %ld", min, max);
    return wrong(e, option, text, allowed);
  }
  *out = (int)v;
  return true;
}

static bool number(const char *option, const char *text, double min, double max, double *out, struct err *e) {
  char *end, allowed[80];
  double v = strtod(text, &end);
  if (end == text || *end || !isfinite(v) || v < min || v > max) {
    text_put(allowed, sizeof allowed, "a number from %g to %g", min, max);
    return wrong(e, option, text, allowed);
  }
  *out = v;
  return true;
}

static bool seed_value(const char *text, uint64_t *out, struct err *e) {
  char *end;
  errno = 0;
  *out = strtoull(text, &end, 10);
  return (end != text && !*end && !errno && !strchr(text, '-')) ||
         wrong(e, "--seed", text, "a whole number from 0 to 18446744073709551615");
}

static bool size_value(const char *text, int *w, int *h, struct err *e) {
  char *end;
  long a = strtol(text, &end, 10), b = a;
  bool ok = end != text;
  if (ok && (*end == 'x' || *end == 'X')) {
    const char *second = end + 1;
    b = strtol(second, &end, 10);
    ok = end != second;
  }
  if (!ok || *end || a < 8 || a > 4096 || b < 8 || b > 4096) return wrong(e, "--size", text, "a size such as 512x768, each from 8 to 4096");
  *w = (int)a;
  *h = (int)b;
  return true;
}

static bool word_of(const char *option, const char *text, const char *const *words, int n, int *index, struct err *e) {
  char allowed[128];
  size_t w = 0;
  for (int i = 0; i < n; i++) {
    if (!strcmp(text, words[i])) return *index = i, true;
    w += (size_t)snprintf(allowed + w, sizeof allowed - w, "%s%s", !i ? "" : i == n - 1 ? " or " : ", ", words[i]);
  }
  return wrong(e, option, text, allowed);
}

static bool device_value(const char *text, const char **out, struct err *e) {
  static const char *const words[] = {"auto", "cpu", "cuda", "ref"};
  int index = 0;
  if (!word_of("--device", text, words, 4, &index, e)) return false;
  *out = words[index];
  return true;
}

static bool precision_value(const char *text, enum precision *out, struct err *e) {
  static const char *const words[] = {"fp32", "bf16"};
  int index = 0;
  if (!word_of("--precision", text, words, 2, &index, e)) return false;
  *out = index ? PRECISION_BF16 : PRECISION_FP32;
  return true;
}

static bool append(const char ***list, int *n, const char *text, struct err *e) {
  const char **more = realloc(*list, (size_t)(*n + 1) * sizeof *more);
  if (!more) return err_set(e, ERR_FAILED, "out of memory");
  more[(*n)++] = text;
  *list = more;
  return true;
}

static bool take_general(struct options *o, int id, const char *arg, struct err *e) {
  switch (id) {
    case OPT_VERSION:
      o->command = COMMAND_VERSION;
      return true;
    case OPT_PRINT_KEYS:
      o->command = COMMAND_PRINT_KEYS;
      o->print = arg;
      return true;
    case OPT_BATCH:
      if (o->profile) return err_set(e, ERR_USAGE, "--batch takes one profile; %s is a second one", arg);
      o->command = COMMAND_BATCH;
      o->profile = arg;
      return true;
    case OPT_SET:
      return append(&o->set, &o->sets, arg, e);
    case OPT_RUN_DIR:
      o->run_dir = arg;
      return true;
    case OPT_RESUME:
      o->resume = true;
      return true;
    case OPT_DUMP_STEPS:
      return whole("--dump-steps", arg, 1, 1000000, &o->dump_steps, e);
    case OPT_DUMP:
      o->dump = arg;
      return true;
    case OPT_DEVICE:
      return device_value(arg, &o->device, e);
    case OPT_THREADS:
      return whole("--threads", arg, 1, 4096, &o->threads, e);
    default:
      return err_set(e, ERR_FAILED, "an option is not handled");
  }
}

static bool take_sample_text(struct options *o, int id, const char *arg, struct err *e) {
  switch (id) {
    case OPT_BASE:
      o->base = arg;
      return true;
    case OPT_PROMPT:
      return append(&o->prompt, &o->prompts, arg, e);
    case OPT_PROMPTS:
      o->prompts_file = arg;
      return true;
    case OPT_SECTION:
      o->section = arg;
      return true;
    case OPT_TOKEN:
      o->token = arg;
      return true;
    case OPT_CLASS:
      o->class_name = arg;
      return true;
    case OPT_NEGATIVE:
      o->negative = arg;
      return true;
    case OPT_OUT:
      o->out = arg;
      return true;
    case OPT_SHEET:
      o->sheet = arg;
      return true;
    case OPT_LATENTS:
      o->latents = arg;
      return true;
    default:
      return take_general(o, id, arg, e);
  }
}

static bool take_sample(struct options *o, int id, const char *arg, struct err *e) {
  switch (id) {
    case OPT_SCALE:
      return number("--scale", arg, -100, 100, &o->scale, e);
    case OPT_SEED:
      return seed_value(arg, &o->seed, e);
    case OPT_COUNT:
      return whole("--count", arg, 1, 10000, &o->count, e);
    case OPT_STEPS:
      return whole("--steps", arg, 1, 1000, &o->steps, e);
    case OPT_GUIDANCE:
      return number("--guidance", arg, 0, 100, &o->guidance, e);
    case OPT_SAMPLER:
      return word_of("--sampler", arg, sampler_names, SAMPLER_KINDS, &o->sampler, e);
    case OPT_SIZE:
      return size_value(arg, &o->width, &o->height, e);
    case OPT_BATCH_SIZE:
      return whole("--batch-size", arg, 1, 256, &o->batch, e);
    case OPT_PRECISION:
      return precision_value(arg, &o->precision, e);
    default:
      return take_sample_text(o, id, arg, e);
  }
}

static bool take_sheet(struct options *o, int id, const char *arg, struct err *e) {
  switch (id) {
    case OPT_COLUMNS:
      return whole("--columns", arg, 1, 1000, &o->columns, e);
    case OPT_LABEL:
      return append(&o->label, &o->labels, arg, e);
    case OPT_COLUMN_LABEL:
      return append(&o->column_label, &o->column_labels, arg, e);
    case OPT_TITLE:
      o->title = arg;
      return true;
    default:
      return err_set(e, ERR_FAILED, "an option is not handled");
  }
}

struct syntax {
  const char *name; /* of its help */
  const struct option *options;
  bool (*take)(struct options *o, int id, const char *arg, struct err *e);
};

/* getopt's own messages are off; argv[optind - 1] is the option at fault. */
static bool read_options(struct options *o, int argc, char **argv, const struct syntax *s, struct err *e) {
  opterr = 0;
  optind = 1;
  for (int id; (id = getopt_long(argc, argv, ":h", s->options, NULL)) != -1;) {
    const char *command = o->profile ? "--batch" : s->name, *blank = *command ? " " : "";
    if (id == '?') return err_set(e, ERR_USAGE, "unknown option %s; see pdmbooth-tui%s%s --help", argv[optind - 1], blank, command);
    if (id == ':') return err_set(e, ERR_USAGE, "%s needs a value; see pdmbooth-tui%s%s --help", argv[optind - 1], blank, command);
    if (id == 'h' || id == OPT_HELP) {
      o->help = o->profile ? "batch" : s->name;
      o->command = COMMAND_HELP;
      return true;
    }
    if (!s->take(o, id, optarg, e)) return false;
  }
  return true;
}

static bool parse_general(struct options *o, int argc, char **argv, struct err *e) {
  static const struct syntax syntax = {"", batch_options, take_general};
  /* "pdmbooth-tui --batch --help": the help, not a profile of that name */
  if (argc == 3 && !strcmp(argv[1], "--batch") && !strcmp(argv[2], "--help")) {
    o->command = COMMAND_HELP;
    o->help = "batch";
    return true;
  }
  if (!read_options(o, argc, argv, &syntax, e)) return false;
  if (o->command == COMMAND_HELP || o->command == COMMAND_VERSION) return true;
  if (optind < argc) {
    return err_set(e, ERR_USAGE, "%s is not a command; see pdmbooth-tui --help (a profile is run by pdmbooth-tui --batch PROFILE.ini)",
                   argv[optind]);
  }
  if (o->command == COMMAND_NONE && argc > 1)
    return err_set(e, ERR_USAGE, "%s needs --batch PROFILE.ini; see pdmbooth-tui --help", argv[1]);
  if (!o->dump_steps != !o->dump) return err_set(e, ERR_USAGE, "--dump-steps and --dump go together");
  return true;
}

static bool parse_sample(struct options *o, int argc, char **argv, struct err *e) {
  static const struct syntax syntax = {"sample", sample_options, take_sample};
  o->command = COMMAND_SAMPLE;
  if (!read_options(o, argc, argv, &syntax, e) || o->command == COMMAND_HELP) return !e->code;
  if (optind >= argc)
    return err_set(e, ERR_USAGE,
                   "sample needs a checkpoint: a directory, embedded, or a LoRA file with --base; see pdmbooth-tui sample --help");
  o->checkpoint = argv[optind++];
  if (optind < argc)
    return err_set(e, ERR_USAGE, "sample takes one checkpoint; %s is a second one (a prompt is given by --prompt)", argv[optind]);
  if (!o->prompts && !o->prompts_file) return err_set(e, ERR_USAGE, "sample needs --prompt TEXT or --prompts FILE");
  return true;
}

static bool parse_sheet(struct options *o, int argc, char **argv, struct err *e) {
  static const struct syntax syntax = {"sheet", sheet_options, take_sheet};
  o->command = COMMAND_SHEET;
  if (!read_options(o, argc, argv, &syntax, e) || o->command == COMMAND_HELP) return !e->code;
  if (argc - optind < 2) return err_set(e, ERR_USAGE, "sheet needs OUT.png and at least one picture; see pdmbooth-tui sheet --help");
  o->out = argv[optind++];
  while (optind < argc) {
    if (!append(&o->file, &o->files, argv[optind++], e)) return false;
  }
  if (!o->columns) o->columns = o->column_labels ? o->column_labels : o->files < 4 ? o->files : 4;
  int rows = (o->files + o->columns - 1) / o->columns;
  if (o->labels > rows) return err_set(e, ERR_USAGE, "sheet has %d rows but %d --label", rows, o->labels);
  if (o->column_labels > o->columns)
    return err_set(e, ERR_USAGE, "sheet has %d columns but %d --column-label", o->columns, o->column_labels);
  return true;
}

bool options_parse(struct options *o, int argc, char **argv, struct err *e) {
  *o = (struct options){.help = "",
                        .token = "sks",
                        .class_name = "",
                        .negative = "",
                        .scale = 1,
                        .guidance = 7.5,
                        .count = 1,
                        .steps = 50,
                        .sampler = SAMPLER_DPMPP_2M,
                        .batch = 4,
                        .device = ""};
  if (argc > 1 && !strcmp(argv[1], "sample")) return parse_sample(o, argc - 1, argv + 1, e);
  if (argc > 1 && !strcmp(argv[1], "sheet")) return parse_sheet(o, argc - 1, argv + 1, e);
  return parse_general(o, argc, argv, e);
}

void options_release(struct options *o) {
  free(o->set);
  free(o->prompt);
  free(o->label);
  free(o->column_label);
  free(o->file);
}
