/* Completions for the shells, made from the tables of commands and of keys. */
#ifndef PDMBOOTH_SRC_COMPLETIONS_H
#define PDMBOOTH_SRC_COMPLETIONS_H

#include "cmdline.h"
#include "keys.h"

/* What may stand for a value, told by how the tables write it. */
enum completion { COMPLETE_NOTHING, COMPLETE_WORDS, COMPLETE_FOLDERS, COMPLETE_FILES, COMPLETE_MODELS, COMPLETE_KEYS };
enum completion completion_of(const struct option_spec *o);

/* The words of an option, or of a key that has some ("true false", the choices), separated by blanks; "" for others. Returns buf. */
const char *completion_words(const struct option_spec *o, char *buf, size_t n);
const char *completion_key_words(const struct key *k, char *buf, size_t n);

void completions_bash(FILE *out);
void completions_zsh(FILE *out);
void completions_fish(FILE *out);

#endif
