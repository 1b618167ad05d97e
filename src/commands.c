#include "commands.h"

#include <string.h>

/* clang-format off */
const struct command_spec *const commands[] = {
    &batch_command,
    &plan_command,
    &control_command,
    &queue_command,
    &init_command,
    &sample_command,
    &masks_command,
    &photos_command,
    &sheet_command,
    &report_command,
    &export_command,
    &inspect_command,
    &doctor_command,
    &completions_command,
    NULL,
};
/* clang-format on */

const char *const device_words[] = {"auto", "cpu", "cuda", "ref", NULL};         /* and "cuda:1": backend_name_is_valid */
const char *const precision_words[] = {"fp32", "bf16", "fp16", "tf32", NULL};    /* enum precision */
const char *const sampler_words[] = {"pndm", "ddim", "dpmpp_2m", "euler", NULL}; /* enum sampler_kind */

const char *const dtype_words[] = {"fp32", "bf16", "fp16", NULL}; /* enum dtype */

const struct command_spec *command_find(const char *name) {
  for (int i = 0; commands[i]; i++) {
    if (!strcmp(commands[i]->name, name)) return commands[i];
  }
  return NULL;
}

int say_error(const struct err *e) {
  bool stopped = e->code == ERR_SIGINT || e->code == ERR_SIGTERM;
  fprintf(stderr, "pdmbooth-tui: %s%s\n", stopped ? "" : "error: ", e->text);
  return e->code;
}
