/* control: changes of a run under way, from another terminal or a script. */
#include "base/lock.h"
#include "commands.h"
#include "requests.h"
#include "text.h"

struct control_options {
  int at;
};

static void say_when(const char *run_dir, int at) {
  char path[4200], holder[LOCK_TEXT], when[64] = "at its next step";
  text_put(path, sizeof path, "%s/lock", run_dir);
  if (at > 0) text_put(when, sizeof when, "after step %d", at);
  if (lock_is_held(path, holder))
    printf("asked %s, which takes it %s\n", holder, when);
  else
    printf("no process is at work on this run now: it is taken when the run goes on\n");
}

/* Pause, go-on and stop mean a process, not the run. */
static bool check_all(const char *run_dir, int n, char **text, struct err *e) {
  char path[4200], lock[4200], holder[LOCK_TEXT];
  struct request r;
  if (!text_put(path, sizeof path, "%s/profile.ini", run_dir) || !is_file(path))
    return err_set(e, ERR_INPUT, "%s: not the directory of a run", run_dir);
  text_put(lock, sizeof lock, "%s/lock", run_dir);
  for (int i = 0; i < n; i++) {
    if (!request_parse(text[i], &r, e)) return false;
    if (r.kind != REQUEST_CHANGE && !lock_is_held(lock, holder))
      return err_set(e, ERR_FAILED, "%s: no process is at work on this run, there is nothing to %s", run_dir, text[i]);
  }
  return true;
}

static int control_run(void *options, int operands, char **operand) {
  const struct control_options *o = options;
  struct err e = {0};
  if (operands < 2) {
    err_set(&e, ERR_USAGE, "control needs the directory of a run and at least one request; see pdmbooth-tui control --help");
    return say_error(&e);
  }
  bool ok = check_all(operand[0], operands - 1, operand + 1, &e);
  for (int i = 1; ok && i < operands; i++) ok = request_send(operand[0], operand[i], o->at, &e);
  if (!ok) return say_error(&e);
  say_when(operand[0], o->at);
  return 0;
}

#define AT(field) .offset = offsetof(struct control_options, field)

static const struct option_spec control_table[] = {
    {"at", "STEP", "not before so many steps are done (default: at the next one)", OPTION_WHOLE, AT(at), .max = 1e7},
    {0},
};

const struct command_spec control_command = {
    .name = "control",
    .operands = "RUN_DIR REQUEST...",
    .summary = "change, pause or stop a run under way",
    .about =
        "Asks the process that is at work on a run for something. REQUEST is lr=X (the base of the learning rate's schedule), "
        "samples.every=N, "
        "checkpoints.every=N (0: only at the end), checkpoint or sample (one now), sample=PROMPT (of that prompt, in which {token} and "
        "{class} are "
        "replaced), pause, go-on, or stop (as SIGTERM does).\n"
        "Changes are written to journal.csv in the run directory, with the number of steps done, before they take effect; a run that is "
        "stopped and goes on repeats them at the same steps.",
    .options = control_table,
    .options_size = sizeof(struct control_options),
    .run = control_run,
};
