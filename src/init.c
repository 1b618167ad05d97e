#include "init.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "assets/embedded.h"
#include "commands.h"
#include "hub.h"
#include "profile.h"

static const char *const mode_words[] = {"full", "lora", NULL};

struct init_options {
  const char *images, *class_name, *name, *token, *model;
  int mode; /* in mode_words; -1: not given */
  int steps, size[2];
  bool yes;
};

enum { MAX_VALUES = 24 };
static const char default_model[] = "runwayml/stable-diffusion-v1-5";

struct init {
  const struct init_options *o;
  struct strings s;
  const char *file;  /* of the profile */
  char dir[4096];    /* its directory, absolute */
  char images[4096]; /* absolute */
  struct photos photos;
  const char *class_name, *name, *token, *model, *mode;
  int w, h;
  bool model_known; /* it is on this machine and can be used */
  struct init_value value[MAX_VALUES];
  int n;
};

static bool no_memory(struct err *e) {
  return err_set(e, ERR_FAILED, "out of memory");
}

static bool ends_with(const char *text, const char *end) {
  size_t n = strlen(text), m = strlen(end);
  return n >= m && !strcmp(text + n - m, end);
}

/* DIR or FILE.ini to the profile's file and directory; nothing that exists is ever written over. */
static bool choose_file(struct init *i, const char *where, struct err *e) {
  const char *dir = where && *where ? where : ".", *slash;
  i->file = is_directory(dir) ? strings_printf(&i->s, "%s%sprofile.ini", strcmp(dir, ".") ? dir : "",
                                               !strcmp(dir, ".")     ? ""
                                               : ends_with(dir, "/") ? ""
                                                                     : "/")
                              : dir;
  if (!i->file) return no_memory(e);
  if (!is_directory(dir) && !ends_with(dir, ".ini"))
    return err_set(e, ERR_INPUT, "%s: there is no such directory (the name of a profile ends with .ini)", dir);
  if (!access(i->file, F_OK))
    return err_set(e, ERR_USAGE, "%s exists and is not written over; name another file, such as %s", i->file, "other.ini");
  slash = strrchr(i->file, '/');
  const char *folder = !slash ? "." : slash == i->file ? "/" : strings_printf(&i->s, "%.*s", (int)(slash - i->file), i->file);
  if (!folder || !realpath(folder, i->dir)) return err_set_errno(e, ERR_INPUT, "cannot write into %s", folder ? folder : "");
  return true;
}

/* The photographs: --images, or those beside the profile. */
static bool choose_images(struct init *i, struct err *e) {
  const char *given = i->o->images ? i->o->images : photos_any(i->dir) ? i->dir : NULL;
  if (!given) return err_set(e, ERR_USAGE, "there are no photographs in %s; name their directory with --images", i->dir);
  if (!realpath(given, i->images)) return err_set_errno(e, ERR_INPUT, "cannot read the directory of photographs %s", given);
  if (!photos_look(&i->photos, i->images, e)) return false;
  const struct photos *p = &i->photos;
  if (!p->n && p->unreadable) return err_set(e, ERR_INPUT, "no photograph in %s can be read: %s", i->images, p->first_bad);
  return p->n || err_set(e, ERR_INPUT, "%s: no photographs here (PNG, JPEG or WebP)", i->images);
}

static void show_photos(const struct init *i) {
  const struct photos *p = &i->photos;
  printf("%d photograph%s in %s", p->n, p->n == 1 ? "" : "s", i->images);
  if (p->least_w == p->most_w && p->least_h == p->most_h) printf(", %d x %d", p->least_w, p->least_h);
  if (p->least_w != p->most_w || p->least_h != p->most_h) printf(", %d x %d to %d x %d", p->least_w, p->least_h, p->most_w, p->most_h);
  if (p->turned) printf(", %d turned as EXIF says", p->turned);
  printf(p->masks == p->n ? ", each with a mask\n" : p->masks ? ", %d with a mask\n" : ", without masks\n", p->masks);
  if (p->unreadable) printf("note: %d cannot be read and must be removed before a run: %s\n", p->unreadable, p->first_bad);
  if (p->n < 3) printf("note: three to five photographs are usual\n");
}

/* --- proposals -------------------------------------------------------------------------------------------------------------- */

/* The first model of the cache that can be used; where there is none, the name of the usual one. */
static bool propose_model(struct init *i, struct err *e) {
  char cache[4096];
  int n = 0;
  const char **name = hub_list(&i->s, cache, sizeof cache, &n);
  if (!name) return no_memory(e);
  i->model = default_model;
  for (int j = 0; j < n; j++) {
    struct err no = {0};
    struct model_facts f;
    const char *path = model_resolve(name[j], i->dir, &i->s, &no);
    if (!path || !engine_check_model(path, embedded_files, &f, &no)) continue;
    i->model = name[j];
    break;
  }
  free(name);
  return true;
}

static bool propose(struct init *i, struct err *e) {
  const struct init_options *o = i->o;
  const char *slash = strrchr(i->images, '/'), *last = slash && slash[1] ? slash + 1 : "subject";
  char text[256];
  double rate;
  struct err no_cuda = {0};
  i->name = o->name ? o->name : strings_printf(&i->s, "%s", last);
  i->class_name = o->class_name ? o->class_name : class_of_name(last, &i->s);
  i->token = o->token ? o->token : "sks";
  i->mode = mode_words[o->mode >= 0 ? o->mode : !engine_try_device("cuda", 0, 0, text, sizeof text, &rate, &no_cuda)];
  i->model = o->model;
  return i->name && i->class_name ? o->model || propose_model(i, e) : no_memory(e);
}

/* --- questions -------------------------------------------------------------------------------------------------------------- */

/* The answer, or the proposal where there is none. */
static const char *ask(struct init *i, const char *question, const char *proposal) {
  char line[1024];
  printf(*proposal ? "%s [%s]: " : "%s: ", question, proposal);
  fflush(stdout);
  if (!fgets(line, sizeof line, stdin)) return proposal;
  size_t n = strcspn(line, "\n");
  while (n && (line[n - 1] == ' ' || line[n - 1] == '\t' || line[n - 1] == '\r')) n--;
  const char *start = line + strspn(line, " \t");
  const char *answer = line + n > start ? strings_add(&i->s, start, (size_t)(line + n - start)) : NULL;
  return answer ? answer : proposal;
}

static void ask_all(struct init *i) {
  const struct init_options *o = i->o;
  if (!o->class_name) i->class_name = ask(i, "What is it (one or two words, such as dog)", i->class_name);
  if (!o->name) i->name = ask(i, "Its name, for the run directory", i->name);
  if (!o->token) i->token = ask(i, "The rare word that will mean it", i->token);
  if (!o->model) i->model = ask(i, "Base model (directory, hub name in the local cache, or embedded)", i->model);
  while (o->mode < 0) {
    i->mode = ask(i, "Train all weights (full) or adapters (lora)", i->mode);
    if (!strcmp(i->mode, "full") || !strcmp(i->mode, "lora")) break;
    printf("full or lora\n");
    i->mode = "lora";
  }
}

/* --- the profile ------------------------------------------------------------------------------------------------------------ */

/* The model's own size; what is usual where the model is not here. */
static bool choose_size(struct init *i) {
  struct err no = {0};
  struct model_facts f;
  char here[4096];
  const char *path = getcwd(here, sizeof here) ? model_resolve(i->model, here, &i->s, &no) : NULL;
  i->w = i->h = 512;
  i->model_known = path && engine_check_model(path, embedded_files, &f, &no);
  if (i->model_known) i->w = i->h = f.side;
  if (i->o->size[0]) i->w = i->o->size[0], i->h = i->o->size[1];
  /* a directory given relative to here is written so that it is found from anywhere */
  if (path && strcmp(i->model, "embedded") && is_directory(i->model)) i->model = strings_printf(&i->s, "%s", path);
  if (!i->model_known) printf("note: %s\n", no.text);
  return i->model != NULL;
}

static void add(struct init *i, const char *section, const char *name, const char *text) {
  if (i->n < MAX_VALUES) i->value[i->n++] = (struct init_value){section, name, text};
}

/* Below the profile's directory: relative to it, so that both can be moved. NULL: out of memory. */
static const char *images_text(struct init *i) {
  size_t n = strlen(i->dir);
  if (!strcmp(i->images, i->dir)) return ".";
  if (n > 1 && !strncmp(i->images, i->dir, n) && i->images[n] == '/') return strings_printf(&i->s, "./%s", i->images + n + 1);
  return strings_printf(&i->s, "%s", i->images);
}

static bool collect(struct init *i, struct err *e) {
  const char *images = images_text(i), *size = strings_printf(&i->s, "%dx%d", i->w, i->h),
             *steps = strings_printf(&i->s, "%d", i->o->steps);
  if (!images || !size || !steps) return no_memory(e);
  add(i, "model", "path", i->model);
  add(i, "subject", "name", i->name);
  add(i, "subject", "token", i->token);
  add(i, "subject", "class", i->class_name);
  add(i, "subject", "images", images);
  add(i, "prompts", "test", "a photo of {token} {class}");
  add(i, "prompts", "test", "a {token} {class} in the snow");
  add(i, "prompts", "test", "a {token} {class} on the beach");
  add(i, "train", "mode", i->mode);
  if (i->o->steps) add(i, "train", "steps", steps);
  add(i, "train", "resolution", size);
  if (i->photos.masks < i->photos.n)
    printf("note: masks that %s/masks lacks are derived; look at them with pdmbooth-tui masks before training\n", i->images);
  return true;
}

static bool check_answers(const struct init *i, struct err *e) {
  if (!*i->class_name) return err_set(e, ERR_USAGE, "what the subject is cannot be told from %s; say it with --class", i->images);
  if (!*i->name || !*i->token || !*i->model) return err_set(e, ERR_USAGE, "--name, --token and --model must not be empty");
  return true;
}

static bool write_profile(struct init *i, struct err *e) {
  char *text = init_text(i->file, i->value, i->n, e);
  bool ok = text && write_file(i->file, text, strlen(text), e);
  free(text);
  return ok;
}

/* What the program itself says of the profile. */
static bool try_profile(struct init *i, struct err *e) {
  struct profile p;
  struct err inner = {0};
  bool ok = profile_load(&p, i->file, embedded_files, NULL, 0, &inner);
  profile_release(&p);
  return ok || inner.code == ERR_INPUT || err_set(e, inner.code, "%s", inner.text); /* the model alone may be missing */
}

static bool run_init(struct init *i, const char *where, struct err *e) {
  bool ask_user = !i->o->yes && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
  if (!choose_file(i, where, e) || !choose_images(i, e)) return false;
  show_photos(i);
  if (!propose(i, e)) return false;
  if (ask_user) ask_all(i);
  if (!check_answers(i, e)) return false;
  if (!choose_size(i)) return no_memory(e);
  if (!collect(i, e) || !write_profile(i, e) || !try_profile(i, e)) return false;
  printf("%s is written: mode %s, model %s, class %s. Look through it, then:\n  pdmbooth-tui --batch %s\n", i->file, i->mode, i->model,
         i->class_name, i->file);
  return true;
}

static int init_main(void *options, int operands, char **operand) {
  struct err e = {0};
  struct init *i = calloc(1, sizeof *i);
  if (!i) {
    no_memory(&e);
  } else if (operands > 1) {
    err_set(&e, ERR_USAGE, "init takes one directory or file; %s is a second one", operand[1]);
  } else {
    i->o = options;
    run_init(i, operand[0], &e);
    strings_release(&i->s);
  }
  free(i);
  return e.code ? say_error(&e) : 0;
}

#define AT(field) .offset = offsetof(struct init_options, field)

static const struct option_spec init_table[] = {
    {"images", "DIR", "directory of the photographs (default: where the profile will be)", OPTION_TEXT, AT(images)},
    {"class", "WORD", "what kind of thing the subject is (default: as the directory's name suggests)", OPTION_TEXT, AT(class_name)},
    {"name", "NAME", "name of the subject (default: the directory's)", OPTION_TEXT, AT(name)},
    {"token", "WORD", "the rare word that will mean the subject (default sks)", OPTION_TEXT, AT(token)},
    {"model", "MODEL", "directory, hub name or embedded (default: a model in the local Hugging Face cache that can be used)", OPTION_TEXT,
     AT(model)},
    {"mode", NULL, "what to train (default: lora, full with the CUDA engine)", OPTION_WORD, AT(mode), .words = mode_words},
    {"steps", "N", "optimiser steps (default 700)", OPTION_WHOLE, AT(steps), 1, 1e7},
    {"size", "WxH", "size of the training pictures (default: the model's own)", OPTION_SIZE, AT(size), 8, 4096},
    {"yes", NULL, "ask nothing: take what is proposed", OPTION_FLAG, AT(yes)},
    {0},
};

const struct command_spec init_command = {
    .name = "init",
    .operands = "[DIR|FILE.ini]",
    .summary = "write a profile to begin with",
    .about =
        "Looks at the photographs (number, sizes, EXIF, masks) and writes a profile in which every key is explained: DIR/profile.ini "
        "(default: here) or "
        "FILE.ini. On a terminal it asks what is not given and proposes an answer; elsewhere, and with --yes, it takes its proposals. A "
        "file that "
        "exists is never written over.",
    .options = init_table,
    .options_size = sizeof(struct init_options),
    .defaults = &(const struct init_options){.mode = -1},
    .run = init_main,
};
