/* The compiled format is described in term(5): header, names, booleans, numbers, strings, and the same once more for extended names. */
#include "ui/description.h"

#include <curses.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <term.h>
#include <unistd.h>

enum { MAGIC = 01036 /* numbers of 32 bits */, ABSENT = 0xFFFF, LIMIT = 32768 };

/* One part of the description after the other; what does not fit sets `full`. */
struct bytes {
  unsigned char data[LIMIT];
  size_t n;
  bool full;
};

static void put(struct bytes *b, const void *data, size_t n) {
  if (b->full || b->n + n > sizeof b->data) {
    b->full = true;
    return;
  }
  memcpy(b->data + b->n, data, n);
  b->n += n;
}

static void put16(struct bytes *b, unsigned v) {
  put(b, (unsigned char[]){(unsigned char)v, (unsigned char)(v >> 8)}, 2);
}

static void put32(struct bytes *b, int32_t v) {
  uint32_t u = (uint32_t)v;
  put16(b, u & 0xFFFF);
  put16(b, u >> 16);
}

static void even(struct bytes *b) {
  if (b->n % 2 != 0) put(b, "", 1);
}

/* Semicolons: every terminal with 24 bits takes them, the colons of the standard some do not. */
static const char foreground[] = "\033[%?%p1%{8}%<%t3%p1%d%e38;2;%p1%{65536}%/%d;%p1%{256}%/%{255}%&%d;%p1%{255}%&%d%;m";
static const char background[] = "\033[%?%p1%{8}%<%t4%p1%d%e48;2;%p1%{65536}%/%d;%p1%{256}%/%{255}%&%d;%p1%{255}%&%d%;m";

static bool is_one_of(const char *name, const char *const *list) {
  while (*list != NULL && strcmp(name, *list) != 0) list++;
  return *list != NULL;
}

static const char *string_of(const char *name, bool direct) {
  static const char *const scrolling[] = {"csr", "ind", "ri", "indn", "rin", "il1", "dl1", "il", "dl", NULL};
  static const char *const palette[] = {"initc", "initp", "oc", NULL};
  if (is_one_of(name, scrolling)) return NULL;
  if (direct && strcmp(name, "setaf") == 0) return foreground;
  if (direct && strcmp(name, "setab") == 0) return background;
  if (direct && is_one_of(name, palette)) return NULL; /* it is not for changing */
  const char *value = tigetstr((char *)name);
  return value == (char *)-1 ? NULL : value;
}

static int number_of(const char *name, bool direct) {
  if (direct && strcmp(name, "colors") == 0) return 1 << 24;
  if (direct && strcmp(name, "pairs") == 0) return 1 << 16;
  int value = tigetnum((char *)name);
  return value < 0 ? -1 : value;
}

static bool flag_of(const char *name, bool direct) {
  return !(direct && strcmp(name, "ccc") == 0) && tigetflag((char *)name) > 0;
}

static unsigned count(const char *const *names) {
  unsigned n = 0;
  while (names[n] != NULL) n++;
  return n;
}

/* Offsets into table, and the table's bytes. */
static void put_strings(struct bytes *out, struct bytes *table, const char *const *names, unsigned n, bool direct) {
  for (unsigned i = 0; i < n; i++) {
    const char *value = string_of(names[i], direct);
    put16(out, value != NULL ? (unsigned)table->n : ABSENT);
    if (value != NULL) put(table, value, strlen(value) + 1);
  }
}

static void put_standard(struct bytes *out, struct bytes *table, const char *term, bool direct) {
  unsigned flags = count((const char *const *)boolnames), numbers = count((const char *const *)numnames),
           strings = count((const char *const *)strnames);
  struct bytes *offsets = calloc(1, sizeof *offsets);
  if (offsets == NULL) {
    out->full = true;
    return;
  }
  put_strings(offsets, table, (const char *const *)strnames, strings, direct);
  for (unsigned i = 0; i < 6; i++) {
    const unsigned header[6] = {MAGIC, (unsigned)strlen(term) + 1, flags, numbers, strings, (unsigned)table->n};
    put16(out, header[i]);
  }
  put(out, term, strlen(term) + 1);
  for (unsigned i = 0; i < flags; i++) put(out, flag_of(boolnames[i], direct) ? "\1" : "", 1);
  even(out);
  for (unsigned i = 0; i < numbers; i++) put32(out, number_of(numnames[i], direct));
  put(out, offsets->data, offsets->n);
  put(out, table->data, table->n);
  out->full = out->full || table->full || offsets->full;
  free(offsets);
}

/* What descriptions have beyond the standard and ncurses or this program use: modified keys, mouse, cursor shapes, pasting. */
static const char *const extended[] = {
    "BD",    "BE",    "Cr",    "Cs",    "E3",    "Ms",    "PE",    "PS",    "Se",    "Ss",    "XM",    "kDC3",  "kDC4",  "kDC5",
    "kDC6",  "kDC7",  "kDN",   "kDN3",  "kDN4",  "kDN5",  "kDN6",  "kDN7",  "kEND3", "kEND4", "kEND5", "kEND6", "kEND7", "kHOM3",
    "kHOM4", "kHOM5", "kHOM6", "kHOM7", "kIC3",  "kIC4",  "kIC5",  "kIC6",  "kIC7",  "kLFT3", "kLFT4", "kLFT5", "kLFT6", "kLFT7",
    "kNXT3", "kNXT4", "kNXT5", "kNXT6", "kNXT7", "kPRV3", "kPRV4", "kPRV5", "kPRV6", "kPRV7", "kRIT3", "kRIT4", "kRIT5", "kRIT6",
    "kRIT7", "kUP",   "kUP3",  "kUP4",  "kUP5",  "kUP6",  "kUP7",  "ka2",   "kb1",   "kb3",   "kc2",   "kp5",   "kpADD", "kpCMA",
    "kpDIV", "kpDOT", "kpMUL", "kpSUB", "kpZRO", "kxIN",  "kxOUT", "rmxx",  "smxx",  "xm",    NULL};

/* Three booleans (AX: default colours can be had back; RGB: 24-bit colours; XT), no numbers, the strings that are there. */
static void put_extended(struct bytes *out, struct bytes *table, bool direct) {
  static const char *const flags[] = {"AX", "RGB", "XT"};
  const char *names[sizeof extended / sizeof *extended + 3];
  unsigned strings = 0, all = 0, name_at = 0;
  for (unsigned i = 0; extended[i] != NULL; i++) strings += string_of(extended[i], direct) != NULL;
  for (unsigned i = 0; i < 3; i++) names[all++] = flags[i];
  for (unsigned i = 0; extended[i] != NULL; i++) {
    if (string_of(extended[i], direct) != NULL) names[all++] = extended[i];
  }
  table->n = 0;
  for (unsigned i = 3; i < all; i++) put(table, string_of(names[i], direct), strlen(string_of(names[i], direct)) + 1);
  for (unsigned i = 0; i < all; i++) put(table, names[i], strlen(names[i]) + 1);
  even(out);
  const unsigned header[5] = {3, 0, strings, strings + all, (unsigned)table->n};
  for (unsigned i = 0; i < 5; i++) put16(out, header[i]);
  for (unsigned i = 0; i < 3; i++) put(out, (i == 1 && direct) || tigetflag((char *)flags[i]) > 0 ? "\1" : "", 1);
  even(out);
  for (unsigned i = 3, at = 0; i < all; i++) {
    put16(out, at);
    at += (unsigned)strlen(string_of(names[i], direct)) + 1;
  }
  for (unsigned i = 0; i < all; i++) { /* counted from the first name */
    put16(out, name_at);
    name_at += (unsigned)strlen(names[i]) + 1;
  }
  put(out, table->data, table->n);
}

static char *as_hex(const struct bytes *b) {
  static const char digits[] = "0123456789ABCDEF";
  char *out = malloc(2 * b->n + 5);
  if (out == NULL) return NULL;
  memcpy(out, "hex:", 4);
  for (size_t i = 0; i < b->n; i++) {
    out[4 + 2 * i] = digits[b->data[i] >> 4];
    out[5 + 2 * i] = digits[b->data[i] & 15];
  }
  out[4 + 2 * b->n] = 0;
  return out;
}

char *description_copy(const char *term, bool direct) {
  int rc;
  char *out = NULL;
  struct bytes *all = calloc(2, sizeof *all);
  if (all == NULL || setupterm(term, STDOUT_FILENO, &rc) != OK) {
    free(all);
    return NULL;
  }
  bool numbered = tigetnum((char *)"RGB") > 0; /* bits of each colour, which the copy has no place for */
  if (tigetflag((char *)"RGB") > 0 || tigetnum((char *)"colors") < 8) direct = false; /* it has them, or no colours at all */
  put_standard(&all[0], &all[1], term, direct);
  put_extended(&all[0], &all[1], direct);
  if (!numbered && !all[0].full && !all[1].full) out = as_hex(&all[0]);
  del_curterm(cur_term);
  free(all);
  return out;
}

const char *description_type(bool palette, char *buf, size_t n) {
  const char *type = getenv("TERM");
  int rc, colours;
  if (!palette || type == NULL || strstr(type, "256") != NULL || setupterm(type, STDOUT_FILENO, &rc) != OK) return type;
  colours = tigetnum((char *)"colors");
  del_curterm(cur_term);
  snprintf(buf, n, "%s-256color", type);
  if (colours < 8 || colours >= 256 || setupterm(buf, STDOUT_FILENO, &rc) != OK) return type;
  del_curterm(cur_term);
  return buf;
}

static char *before; /* TERMINFO as it was */
static bool in_place;

bool description_begin(const char *type, bool told) {
  const char *more = getenv("COLORTERM"), *no = getenv("NO_COLOR"), *had = getenv("TERMINFO");
  if (more != NULL && (strcmp(more, "truecolor") == 0 || strcmp(more, "24bit") == 0)) told = true;
  char *description = type != NULL && !in_place ? description_copy(type, told && (no == NULL || *no == 0)) : NULL;
  if (description == NULL) return false;
  before = had != NULL ? strdup(had) : NULL;
  in_place = setenv("TERMINFO", description, 1) == 0;
  free(description);
  return in_place;
}

void description_end(void) {
  if (!in_place) return;
  if (before != NULL) {
    setenv("TERMINFO", before, 1);
  } else {
    unsetenv("TERMINFO");
  }
  free(before);
  before = NULL;
  in_place = false;
}
