/* Command lines from tables: a command names its operands and options once, and reading, --help, pdmbooth-tui(1) and the shell completions are all
 * made from that. */
#ifndef PDMBOOTH_SRC_CMDLINE_H
#define PDMBOOTH_SRC_CMDLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

/* What an option's value is, and the type of its place in the command's options struct. */
enum option_type {
  OPTION_FLAG,   /* bool: takes no value */
  OPTION_TEXT,   /* const char *, points into argv */
  OPTION_LIST,   /* struct text_list: the option may be repeated */
  OPTION_WHOLE,  /* int, min to max */
  OPTION_NUMBER, /* double, min to max */
  OPTION_SEED,   /* uint64_t */
  OPTION_WORD,   /* int: index in words */
  OPTION_NAME,   /* const char *, points into argv: one of words, or another that `accepts` takes */
  OPTION_SIZE,   /* int[2], width and height, each min to max: "512" or "512x768" */
  OPTION_BYTES,  /* int64_t, 0 to max: "12G" */
};

struct text_list {
  const char **text; /* [n], owned by the command line; the texts point into argv */
  int n;
};

struct option_spec {
  const char *name;  /* without the two minus signs; NULL ends a table */
  const char *value; /* what stands for the value in the help: "DIR"; NULL: none, or the words of OPTION_WORD and OPTION_NAME */
  const char *help;  /* what it does, with its default; begins small, ends without a full stop */
  enum option_type type;
  size_t offset; /* of its place in the command's options struct */
  double min, max;
  const char *const *words;          /* OPTION_WORD, OPTION_NAME; NULL ends */
  bool (*accepts)(const char *text); /* OPTION_NAME */
};

struct command_spec {
  const char *name;     /* "sample"; "--batch" is the one that looks like an option */
  const char *operands; /* "CHECKPOINT", "OUT.png PICTURE..."; "" for none */
  const char *summary;  /* a few words for the list of commands */
  const char *about;    /* paragraphs, separated by new lines */
  const struct option_spec *options;
  size_t options_size;                                     /* of the options struct */
  const void *defaults;                                    /* an options struct to start from; NULL: all zero */
  int (*run)(void *options, int operands, char **operand); /* the process's exit status; says itself what is wrong */
};

/* A command line that was read; zero-initialised is empty. */
struct cmdline {
  const struct command_spec *command;
  void *options;  /* the command's struct, owned */
  char **operand; /* [operands], owned; the texts point into argv */
  int operands;
  bool help; /* --help or -h: nothing after it was looked at */
};

/* argv: [argc] without program and command name. Options and operands may stand in any order; "--name=value" is "--name value"; after "--" all are
   operands. ERR_USAGE with one sentence for anything wrong. cmdline_release in either case. */
bool cmdline_read(struct cmdline *l, const struct command_spec *c, int argc, char **argv, struct err *e);
void cmdline_release(struct cmdline *l);

/* The option that "--name" or "--name=value" names; NULL: the command has none of that name. */
const struct option_spec *option_find(const struct command_spec *c, const char *text);
/* "DIR", or "auto|cpu|cuda" made of the words, or "" for a flag. Returns buf or a part of the table. */
const char *option_value(const struct option_spec *o, char *buf, size_t n);

/* Help of one command, and of the program from the list of all (NULL ends it); lines of at most width columns. */
void cmdline_help(const struct command_spec *c, int width, FILE *out);
void cmdline_general_help(const struct command_spec *const *commands, int width, FILE *out);
/* text from column at on; further lines are indented by as much. Each new line in text begins a line; at the end there is one. */
void cmdline_wrap(const char *text, int at, int width, FILE *out);
/* Columns of the terminal on standard output, from 40 to 120; 80 where that is none. */
int cmdline_width(void);

#endif
