/* plan: what a run of a profile would take, without running it. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "assets/embedded.h"
#include "commands.h"
#include "plan_text.h"
#include "profile.h"
#include "rundir.h"

struct plan_command_options {
  struct text_list set;
  const char *run_dir;
  bool resume, json, measure, operations, wait_memory;
  const char *device; /* NULL: as the profile says */
  int threads;        /* 0: not given */
};

static void on_log(void *user, enum log_level level, const char *text) {
  (void)user;
  if (level == LOG_WARN) fprintf(stderr, "warning: %s\n", text);
}

/* A line of --operations, columns separated by tabs. */
static void on_operation(void *user, const struct plan_operation *op) {
  fprintf(user, "%s\t%s\t%s\t%.0f\t%.6g\t%.6g\n", op->name, op->type, op->shape, op->calls, op->flops, op->bytes);
}

static void put(const struct run_plan *p, const struct err *e, bool json) {
  if (!json) {
    if (p->memory > 0) plan_print(p, stdout);
    fflush(stdout); /* before what is said of it on standard error */
    return;
  }
  char *text = plan_json(p, e);
  if (text) puts(text);
  free(text);
}

static int plan_profile(const char *path, const struct plan_command_options *o) {
  struct err e = {0};
  struct profile profile = {0};
  struct rundir dir = {0};
  struct run_plan p = {.places = 0};
  const struct sink sink = {.log = on_log};
  struct settings *s = &profile.settings;
  bool ok = profile_load(&profile, path, embedded_files, o->set.text, o->set.n, &e) && profile_inputs(&profile, &e) &&
            rundir_find(&dir, &profile, o->run_dir, o->resume, &e);
  if (ok) {
    if (o->device) s->engine.device = o->device;
    if (o->threads) s->engine.threads = o->threads;
    s->engine.wait = o->wait_memory;
    s->run_dir = dir.path;
    s->resume = dir.resumed;
    s->dump_dir = "";
    if (o->operations) puts("operation\ttype\tshape\tcalls\tflops\tbytes");
    const struct plan_options options = {.measure = o->measure, .operation = o->operations ? on_operation : NULL, .user = stdout};
    ok = engine_plan(s, embedded_files, &sink, &options, &p, &e);
  }
  if (!o->operations) put(&p, &e, o->json);
  int status = ok ? 0 : say_error(&e);
  rundir_close(&dir);
  profile_release(&profile);
  return status;
}

static int plan_main(void *options, int operands, char **operand) {
  struct err e = {0};
  if (operands != 1) {
    err_set(&e, ERR_USAGE, "plan takes one profile; see pdmbooth-tui plan --help");
    return say_error(&e);
  }
  return plan_profile(operand[0], options);
}

#define AT(field) .offset = offsetof(struct plan_command_options, field)

static const struct option_spec plan_table[] = {
    {"set", "SECTION.KEY=VALUE", "override a key of the profile (repeat for more); the first --set of a list replaces the list",
     OPTION_LIST, AT(set)},
    {"run-dir", "DIR", "plan for this directory (default: runs/SUBJECT/TIME-PROFILE here)", OPTION_TEXT, AT(run_dir)},
    {"resume", NULL, "plan what is left of the run in --run-dir, or of the newest run of this profile", OPTION_FLAG, AT(resume)},
    {"measure", NULL, "time operations of the model's own shapes (seconds to half a minute) instead of estimating", OPTION_FLAG,
     AT(measure)},
    {"wait-memory", NULL, "plan for the whole memory of the machine or the card, as --batch --wait-memory does, not for what is free now",
     OPTION_FLAG, AT(wait_memory)},
    {"json", NULL, "print JSON", OPTION_FLAG, AT(json)},
    {"operations", NULL,
     "print the operations of a training step instead, one a line: calls, floating-point operations and bytes of a call", OPTION_FLAG,
     AT(operations)},
    {"device", NULL, "where it would compute (default: as the profile says)", OPTION_NAME, AT(device), .words = device_words,
     .accepts = engine_device_is_known},
    {"threads", "N", "threads that it would compute with", OPTION_WHOLE, AT(threads), 1, 4096},
    {0},
};

const struct command_spec plan_command = {
    .name = "plan",
    .operands = "PROFILE.ini",
    .summary = "say what memory, disk and time a profile will take",
    .about =
        "Prints peak memory, disk and time of every stage of a run, from the run's own code on a backend that only counts. Reads no "
        "weights and writes nothing. What does not fit is planned anew as a run would, and said; exit status 4 where nothing helps. "
        "With device cuda the memory is the card's, and the machine's stands beside it.",
    .options = plan_table,
    .options_size = sizeof(struct plan_command_options),
    .run = plan_main,
};
