/* The keys of a profile: one table gives name, type, defaults, limits, meaning and place in struct settings.
 * Reading, validation, the frozen copy, pdmbooth-profile(5) and the README's table are all made from it. */
#ifndef PDMBOOTH_SRC_KEYS_H
#define PDMBOOTH_SRC_KEYS_H

#include <stdio.h>

#include "pdmbooth.h"
#include "text.h"

enum key_type {
  KEY_BOOL,
  KEY_INT,
  KEY_SEED,   /* uint64_t */
  KEY_FLOAT,  /* double */
  KEY_STRING, /* const char * */
  KEY_CHOICE, /* int: index in choices */
  KEY_WORD,   /* const char *: one of choices, or another that `accepts` takes */
  KEY_SIZE,   /* two ints, width and height: "512" or "512x768" */
  KEY_BYTES,  /* int64_t: "12G", "800M" */
  KEY_PATH,   /* const char *, relative to the profile's directory */
  KEY_LIST,   /* const char *[], given by repeating the key; count_offset holds the int */
};

struct key {
  const char *section, *name;
  const char *aliases; /* further names, separated by blanks; NULL: none */
  enum key_type type;
  const char *full, *lora; /* default of each mode; "@section.name": the value of that key */
  double min, max;         /* numbers; KEY_LIST: max is the capacity */
  const char *choices;     /* "full|lora", in the order of the enum */
  const char *synonyms;    /* of choices: "no=fp32" */
  bool (*accepts)(const char *text); /* KEY_WORD; NULL: the choices only */
  size_t offset, count_offset;
  const char *help; /* one sentence */
};

extern const struct key keys[];
extern const int key_count;

/* By name or alias; NULL when there is none. */
const struct key *key_find(const char *section, const char *name);
/* The key whose name is the least number of edits away, the same section preferred; *distance gets that number. */
const struct key *key_nearest(const char *section, const char *name, int *distance);
bool key_section_exists(const char *section);

/* "a whole number from 1 to 4096": what may stand after the equals sign. Returns buf. */
const char *key_allowed(const struct key *k, char *buf, size_t n);
/* Stores text in *s; false where it is not allowed (nothing is stored) or memory ends (errno ENOMEM). A list grows by one. */
bool key_store(const struct key *k, const char *text, struct strings *owner, struct settings *s);
void key_copy(const struct key *to, const struct key *from, struct settings *s); /* numbers only: defaults "@section.name" */
void key_list_clear(const struct key *k, struct settings *s);
int key_values(const struct key *k, const struct settings *s); /* 1, or the length of a list */
/* Value i as a profile would give it; false when it is too long for buf. */
bool key_format(const struct key *k, const struct settings *s, int i, char *buf, size_t n);

/* Generated parts of the documentation: "markdown", "man" (keys), "exit-man", "exit-markdown", "synopsis-man", "commands-man". False: unknown
   kind. */
bool keys_print(const char *kind, FILE *out);

#endif
