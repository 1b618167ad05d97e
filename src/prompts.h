/* The prompts of `sample`: given one by one, or in a file. */
#ifndef PDMBOOTH_SRC_PROMPTS_H
#define PDMBOOTH_SRC_PROMPTS_H

#include "pdmbooth.h"
#include "text.h"

struct prompts {
  const char **text; /* [n], owned; the strings by owner */
  int n;
  struct strings owner;
};

bool prompts_add(struct prompts *p, const char *text, struct err *e);
/* A text file, one prompt on a line, lines of blanks or beginning with # left out; or (name ends in .ini, or "embedded:NAME") an INI
   file, of which section ("live" stands for "prompts live") is taken; NULL: the only one whose name begins with "prompts". */
bool prompts_read(struct prompts *p, const char *path, const char *section, const struct embedded_file *embedded, struct err *e);
/* Replaces {token} and {class}. ERR_USAGE where {class} stands in a prompt and class_name is "". */
bool prompts_fill(struct prompts *p, const char *token, const char *class_name, struct err *e);
void prompts_release(struct prompts *p);

#endif
