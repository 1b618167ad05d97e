/* pdmbooth-tui: reads the command line and hands over to the command. */
#include <stdio.h>

#include "commands.h"
#include "info.h"
#include "keys.h"
#include "openmp_wait.h"
#include "ui/ui.h"

int say_error(const struct err *e) {
  bool stopped = e->code == ERR_SIGINT || e->code == ERR_SIGTERM;
  fprintf(stderr, "pdmbooth-tui: %s%s\n", stopped ? "" : "error: ", e->text);
  return e->code;
}

static int dispatch(const struct options *o) {
  switch (o->command) {
    case COMMAND_HELP:
      fputs(options_help(o->help), stdout);
      return 0;
    case COMMAND_VERSION:
      printf("pdmbooth-tui %s\n", program_version);
      return 0;
    case COMMAND_BATCH:
      return batch_run(o);
    case COMMAND_SAMPLE:
      return sample_run(o);
    case COMMAND_SHEET:
      return sheet_run(o);
    case COMMAND_PRINT_KEYS:
      return keys_print(o->print, stdout) ? 0 : ERR_USAGE;
    case COMMAND_NONE:
      break;
  }
  return ui_run(options_help(""));
}

int main(int argc, char **argv) {
  openmp_wait_briefly(argv);
  struct options o;
  struct err e = {0};
  int status = options_parse(&o, argc, argv, &e) ? dispatch(&o) : say_error(&e);
  options_release(&o);
  if (fflush(stdout) && !status) status = ERR_FAILED;
  return status;
}
