#include "cmdline.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

static bool wrong(struct err *e, const struct option_spec *o, const char *text, const char *allowed) {
  return err_set(e, ERR_USAGE, "--%s %s is not allowed: it must be %s", o->name, text, allowed);
}

static bool take_whole(const struct option_spec *o, const char *text, int *out, struct err *e) {
  char *end, allowed[80];
  errno = 0;
  long v = strtol(text, &end, 10);
  if (end == text || *end || errno || (double)v < o->min || (double)v > o->max) {
    text_put(allowed, sizeof allowed, "a whole number from %.0f to %.0f", o->min, o->max);
    return wrong(e, o, text, allowed);
  }
  *out = (int)v;
  return true;
}

static bool take_number(const struct option_spec *o, const char *text, double *out, struct err *e) {
  char *end, allowed[80];
  double v = strtod(text, &end);
  if (end == text || *end || !isfinite(v) || v < o->min || v > o->max) {
    text_put(allowed, sizeof allowed, "a number from %g to %g", o->min, o->max);
    return wrong(e, o, text, allowed);
  }
  *out = v;
  return true;
}

static bool take_seed(const struct option_spec *o, const char *text, uint64_t *out, struct err *e) {
  char *end;
  errno = 0;
  *out = strtoull(text, &end, 10);
  return (end != text && !*end && !errno && !strchr(text, '-')) || wrong(e, o, text, "a whole number from 0 to 18446744073709551615");
}

static bool take_word(const struct option_spec *o, const char *text, int *out, struct err *e) {
  char allowed[256] = "";
  size_t w = 0;
  for (int i = 0; o->words[i]; i++) {
    if (!strcmp(text, o->words[i])) return *out = i, true;
    const char *before = !i ? "" : o->words[i + 1] ? ", " : " or ";
    if (w < sizeof allowed) w += (size_t)snprintf(allowed + w, sizeof allowed - w, "%s%s", before, o->words[i]);
  }
  return wrong(e, o, text, allowed);
}

static bool take_name(const struct option_spec *o, const char *text, const char **out, struct err *e) {
  int ignored;
  *out = text;
  return o->accepts(text) || take_word(o, text, &ignored, e);
}

static bool take_size(const struct option_spec *o, const char *text, int out[2], struct err *e) {
  char *end, allowed[80];
  long w = strtol(text, &end, 10), h = w;
  bool ok = end != text;
  if (ok && (*end == 'x' || *end == 'X')) {
    const char *second = end + 1;
    h = strtol(second, &end, 10);
    ok = end != second;
  }
  if (!ok || *end || (double)w < o->min || (double)w > o->max || (double)h < o->min || (double)h > o->max) {
    text_put(allowed, sizeof allowed, "a size such as 512x768, each from %.0f to %.0f", o->min, o->max);
    return wrong(e, o, text, allowed);
  }
  out[0] = (int)w;
  out[1] = (int)h;
  return true;
}

static bool no_memory(struct err *e) {
  return err_set(e, ERR_FIT, "out of memory");
}

static bool take_item(const char *text, struct text_list *list, struct err *e) {
  const char **more = realloc(list->text, (size_t)(list->n + 1) * sizeof *more);
  if (!more) return no_memory(e);
  more[list->n++] = text;
  list->text = more;
  return true;
}

static void *place(const struct cmdline *l, const struct option_spec *o) {
  return (char *)l->options + o->offset;
}

static bool take_option(struct cmdline *l, const struct option_spec *o, const char *text, struct err *e) {
  void *p = place(l, o);
  switch (o->type) {
    case OPTION_FLAG:
      return *(bool *)p = true;
    case OPTION_TEXT:
      *(const char **)p = text;
      return true;
    case OPTION_LIST:
      return take_item(text, p, e);
    case OPTION_WHOLE:
      return take_whole(o, text, p, e);
    case OPTION_NUMBER:
      return take_number(o, text, p, e);
    case OPTION_SEED:
      return take_seed(o, text, p, e);
    case OPTION_WORD:
      return take_word(o, text, p, e);
    case OPTION_NAME:
      return take_name(o, text, p, e);
    case OPTION_SIZE:
      return take_size(o, text, p, e);
    case OPTION_BYTES:
      return text_bytes(text, o->max, p) || wrong(e, o, text, "a number of bytes such as 12G or 800M");
  }
  return false;
}

const struct option_spec *option_find(const struct command_spec *c, const char *text) {
  if (strncmp(text, "--", 2)) return NULL;
  const char *name = text + 2;
  size_t n = strcspn(name, "=");
  for (const struct option_spec *o = c->options; o && o->name; o++) {
    if (strlen(o->name) == n && !memcmp(o->name, name, n)) return o;
  }
  return NULL;
}

/* argv[*i] is an option; *i moves past its value. */
static bool read_option(struct cmdline *l, int argc, char **argv, int *i, struct err *e) {
  const char *text = argv[*i], *name = l->command->name;
  const struct option_spec *o = option_find(l->command, text);
  const char *value = strchr(text, '=');
  if (value) value++;
  if (!o) return err_set(e, ERR_USAGE, "unknown option %s; see pdmbooth-tui %s --help", text, name);
  if (o->type == OPTION_FLAG && value) return err_set(e, ERR_USAGE, "--%s takes no value; see pdmbooth-tui %s --help", o->name, name);
  if (o->type == OPTION_FLAG || value) return take_option(l, o, value, e);
  if (*i + 1 >= argc) return err_set(e, ERR_USAGE, "%s needs a value; see pdmbooth-tui %s --help", text, name);
  return take_option(l, o, argv[++*i], e);
}

static bool start(struct cmdline *l, const struct command_spec *c, int argc, struct err *e) {
  *l = (struct cmdline){.command = c};
  l->options = calloc(1, c->options_size ? c->options_size : 1);
  l->operand = calloc((size_t)argc + 1, sizeof *l->operand);
  if (!l->options || !l->operand) return no_memory(e);
  if (c->defaults) memcpy(l->options, c->defaults, c->options_size);
  return true;
}

bool cmdline_read(struct cmdline *l, const struct command_spec *c, int argc, char **argv, struct err *e) {
  bool plain = false; /* after "--" */
  if (!start(l, c, argc, e)) return false;
  for (int i = 0; i < argc; i++) {
    if (plain || argv[i][0] != '-' || !argv[i][1]) {
      l->operand[l->operands++] = argv[i];
    } else if (!strcmp(argv[i], "--")) {
      plain = true;
    } else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
      return l->help = true;
    } else if (!read_option(l, argc, argv, &i, e)) {
      return false;
    }
  }
  return true;
}

void cmdline_release(struct cmdline *l) {
  for (const struct option_spec *o = l->command && l->options ? l->command->options : NULL; o && o->name; o++) {
    if (o->type == OPTION_LIST) free(((struct text_list *)place(l, o))->text);
  }
  free(l->options);
  free(l->operand);
  *l = (struct cmdline){0};
}
