/* The commands of the program. A new one is a file that defines its struct command_spec, and a line in commands.c. */
#ifndef PDMBOOTH_SRC_COMMANDS_H
#define PDMBOOTH_SRC_COMMANDS_H

#include "cmdline.h"

extern const struct command_spec *const commands[]; /* in the order of the help; NULL ends */
extern const struct command_spec batch_command, plan_command, control_command, sample_command, sheet_command, report_command,
    doctor_command, init_command, completions_command;
extern const struct command_spec export_command, inspect_command, masks_command, photos_command, queue_command;
const struct command_spec *command_find(const char *name); /* NULL: there is none */

/* Words of options that several commands have; NULL ends. */
extern const char *const device_words[], *const precision_words[], *const sampler_words[], *const dtype_words[];

/* "pdmbooth-tui: error: ..." on standard error; the code's exit status. */
int say_error(const struct err *e);

#endif
