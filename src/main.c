/* pdmbooth-tui: finds the command that the command line names, and runs it. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "info.h"
#include "keys.h"
#include "openmp_wait.h"
#include "ui/ui.h"

static int run_command(const struct command_spec *c, int argc, char **argv) {
  struct cmdline l;
  struct err e = {0};
  int status = 0;
  if (!cmdline_read(&l, c, argc, argv, &e)) {
    status = say_error(&e);
  } else if (l.help) {
    cmdline_help(c, cmdline_width(), stdout);
  } else {
    status = c->run(l.options, l.operands, l.operand);
  }
  cmdline_release(&l);
  return status;
}

/* --batch may stand after other options: it is taken out of argv, which then holds the profile and the options. */
static bool take_batch(int *argc, char **argv) {
  for (int i = 1; i < *argc; i++) {
    bool with_value = !strncmp(argv[i], "--batch=", 8);
    if (strcmp(argv[i], "--batch") && !with_value) continue;
    if (with_value) {
      argv[i] += 8;
    } else {
      memmove(argv + i, argv + i + 1, (size_t)(*argc - i) * sizeof *argv); /* with the NULL at the end */
      --*argc;
    }
    return true;
  }
  return false;
}

static int refuse(const char *first) {
  struct err e = {0};
  if (*first != '-') {
    err_set(&e, ERR_USAGE, "%s is not a command; see pdmbooth-tui --help (a profile is run by pdmbooth-tui --batch PROFILE.ini)", first);
  } else if (option_find(&batch_command, first)) {
    err_set(&e, ERR_USAGE, "%s needs --batch PROFILE.ini; see pdmbooth-tui --help", first);
  } else {
    err_set(&e, ERR_USAGE, "unknown option %s; see pdmbooth-tui --help", first);
  }
  return say_error(&e);
}

/* Of the program, or of the command that is named after it. */
static int print_help(const char *name) {
  const struct command_spec *c = name ? command_find(name) : NULL;
  if (name && !c) return refuse(name);
  if (c) {
    cmdline_help(c, cmdline_width(), stdout);
  } else {
    cmdline_general_help(commands, cmdline_width(), stdout);
  }
  return 0;
}

/* What documentation is made of, for man/update.sh. */
static int print_documentation(int argc, char **argv) {
  struct err e = {0};
  if (argc == 3 && keys_print(argv[2], stdout)) return 0;
  err_set(&e, ERR_USAGE, "--print-keys needs one of: markdown, man, exit-man, exit-markdown, synopsis-man, commands-man");
  return say_error(&e);
}

/* --plain and --attach RUN_DIR, in any order. */
static int open_workstation(int argc, char **argv) {
  const char *attach = NULL;
  bool plain = false;
  struct err e = {0};
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "--plain")) {
      plain = true;
    } else if (!strcmp(argv[i], "--attach")) {
      attach = argv[++i];
      if (!attach) return err_set(&e, ERR_USAGE, "--attach needs a value, the directory of a run"), say_error(&e);
    } else {
      return refuse(argv[i]);
    }
  }
  return ui_run(plain, attach);
}

static int dispatch(int argc, char **argv) {
  const char *first = argc > 1 ? argv[1] : "";
  const struct command_spec *c = command_find(first);
  if (c && c != &batch_command) return run_command(c, argc - 2, argv + 2);
  if (!strcmp(first, "--help") || !strcmp(first, "-h")) return print_help(argv[2]);
  if (!strcmp(first, "--version")) return printf("pdmbooth-tui %s\n", program_version), 0;
  if (!strcmp(first, "--print-keys")) return print_documentation(argc, argv);
  if (take_batch(&argc, argv)) return run_command(&batch_command, argc - 1, argv + 1);
  return open_workstation(argc, argv);
}

int main(int argc, char **argv) {
  openmp_wait_briefly(argv);
#ifdef M_MMAP_THRESHOLD
  mallopt(M_MMAP_THRESHOLD, 1 << 18); /* fixed: what is freed leaves the process, and the plan's peak holds */
#endif
  int status = dispatch(argc, argv);
  if (fflush(stdout) && !status) status = ERR_FAILED;
  return status;
}
