#include "ui/theme.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assets/embedded.h"
#include "profile.h"

static const char *const style_names[STYLE_COLOURS] = {
#define X(name, text) text,
    STYLE_TABLE(X)
#undef X
};

static const char *const theme_names[] = {"dark", "light", "high-contrast", "colour-blind", NULL};

const char *theme_name(int i) {
  int n = (int)(sizeof theme_names / sizeof *theme_names);
  return i >= 0 && i < n ? theme_names[i] : NULL;
}

/* A colour as written: the palette's standard colour or 24 bits, until it is known which depth it is for. */
struct ink {
  enum { INK_NONE, INK_DEFAULT, INK_STANDARD, INK_RGB } kind;
  uint32_t value; /* 0 to 15, or 0xRRGGBB */
};

struct spec {
  struct ink fg, bg;
  unsigned marks;
};

struct reading {
  struct theme *theme;
  struct spec specs[STYLE_COLOURS];
  const char *name; /* of the file, for messages */
};

static bool read_hex(const char *digits, uint32_t *out) {
  char *end;
  *out = (uint32_t)strtoul(digits, &end, 16);
  return *end == 0 && strlen(digits) == 6 && strspn(digits, "0123456789abcdefABCDEF") == 6;
}

static bool read_ink(const char *word, struct ink *out) {
  static const char *const names[] = {"black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"};
  if (word[0] == '#') {
    out->kind = INK_RGB;
    return read_hex(word + 1, &out->value);
  }
  if (strcmp(word, "default") == 0) {
    *out = (struct ink){INK_DEFAULT, 0};
    return true;
  }
  bool bright = strncmp(word, "bright-", 7) == 0;
  for (uint32_t i = 0; i < 8; i++) {
    if (strcmp(word + (bright ? 7 : 0), names[i]) != 0) continue;
    *out = (struct ink){INK_STANDARD, i + (bright ? 8 : 0)};
    return true;
  }
  return false;
}

static unsigned read_mark(const char *word) {
  static const struct {
    const char *word;
    unsigned mark;
  } marks[] = {{"bold", MARK_BOLD}, {"dim", MARK_DIM}, {"underline", MARK_UNDERLINE}, {"reverse", MARK_REVERSE}};
  for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
    if (strcmp(word, marks[i].word) == 0) return marks[i].mark;
  }
  return 0;
}

/* One word of a style's value; *background: the next colour is the background's. */
static bool read_word(const char *word, struct spec *out, bool *background) {
  unsigned mark = read_mark(word);
  if (mark != 0) {
    out->marks |= mark;
    return true;
  }
  if (strcmp(word, "on") == 0) {
    *background = true;
    return true;
  }
  bool known = read_ink(word, *background ? &out->bg : &out->fg);
  *background = false;
  return known;
}

static bool read_spec(const char *value, struct spec *out, char *bad, size_t bad_n) {
  bool background = false;
  *out = (struct spec){0};
  while (*(value += strspn(value, " \t")) != 0) {
    char word[32];
    size_t n = strcspn(value, " \t");
    snprintf(word, sizeof word, "%.*s", (int)n, value);
    if (n >= sizeof word || !read_word(word, out, &background)) {
      snprintf(bad, bad_n, "%.*s", (int)n, value);
      return false;
    }
    value += n;
  }
  return true;
}

static int style_by_name(const char *name) {
  for (int i = 0; i < STYLE_COLOURS; i++) {
    if (strcmp(name, style_names[i]) == 0) return i;
  }
  return -1;
}

/* Whether a section speaks to the depth; *known false: there is no such section. */
static bool section_counts(const char *section, enum colour_depth depth, bool *known) {
  bool full = strcmp(section, "styles") == 0, few = strcmp(section, "styles.16") == 0, mono = strcmp(section, "styles.mono") == 0;
  *known = full || few || mono;
  if (depth == DEPTH_MONO) return mono;
  return full || (few && depth <= DEPTH_16);
}

/* ini_read's handler of one value. */
static bool take(void *user, const char *section, const char *name, const char *value, int line, struct err *e) {
  struct reading *r = user;
  bool known;
  if (strcmp(section, "theme") == 0) {
    if (strcmp(name, "name") == 0) snprintf(r->theme->name, sizeof r->theme->name, "%s", value);
    return true;
  }
  bool counts = section_counts(section, r->theme->depth, &known);
  int style = style_by_name(name);
  if (!known)
    return err_set(e, ERR_USAGE, "%s:%d: there is no section [%s] in a theme; use styles, styles.16 or styles.mono", r->name, line,
                   section);
  if (style < 0) return err_set(e, ERR_USAGE, "%s:%d: there is no style `%s`", r->name, line, name);
  struct spec spec;
  char bad[64];
  if (!read_spec(value, &spec, bad, sizeof bad)) {
    return err_set(e, ERR_USAGE,
                   "%s:%d: `%s` is neither a colour (#rrggbb, default, red, bright-red ...) nor bold, dim, underline or reverse", r->name,
                   line, bad);
  }
  if (counts) r->specs[style] = spec;
  return true;
}

static int32_t ink_value(struct ink ink, enum colour_depth depth) {
  switch (ink.kind) {
    case INK_NONE:
    case INK_DEFAULT:
      return COLOUR_DEFAULT;
    case INK_STANDARD:
      return depth == DEPTH_TRUE ? (int32_t)colour_of_index((int)ink.value) : (int32_t)ink.value;
    case INK_RGB:
      return colour_nearest(depth, ink.value);
  }
  return COLOUR_DEFAULT;
}

static struct look resolve(const struct spec *spec, const struct spec *text, enum colour_depth depth) {
  struct look look = {COLOUR_DEFAULT, COLOUR_DEFAULT, spec->marks};
  if (depth == DEPTH_MONO) return look;
  look.fg = ink_value(spec->fg.kind == INK_NONE ? text->fg : spec->fg, depth);
  look.bg = ink_value(spec->bg.kind == INK_NONE ? text->bg : spec->bg, depth);
  if (depth == DEPTH_8 && look.fg >= 8) {
    look.fg -= 8;
    look.marks |= MARK_BOLD;
  }
  if (depth == DEPTH_8 && look.bg >= 8) look.bg -= 8;
  return look;
}

bool theme_parse(const char *ini, const char *name, enum colour_depth depth, struct theme *out, struct err *e) {
  struct reading r = {.theme = out, .name = name};
  *out = (struct theme){.depth = depth};
  snprintf(out->name, sizeof out->name, "%s", name);
  if (!ini_read(name, ini, strlen(ini), take, &r, e)) return false;
  for (int i = 0; i < STYLE_COLOURS; i++) out->looks[i] = resolve(&r.specs[i], &r.specs[STYLE_TEXT], depth);
  return true;
}

static char *read_text_file(const char *path, struct err *e) {
  enum { MOST = 1 << 20 };
  FILE *f = fopen(path, "re");
  if (f == NULL) {
    err_set_errno(e, ERR_INPUT, "the theme %s cannot be opened", path);
    return NULL;
  }
  char *text = malloc(MOST + 1);
  size_t n = text != NULL ? fread(text, 1, MOST, f) : 0;
  if (text != NULL) text[n] = 0;
  if (text == NULL) err_set(e, ERR_FAILED, "no memory for the theme %s", path);
  fclose(f);
  return text;
}

static const char *embedded_theme(const char *name) {
  char path[128];
  snprintf(path, sizeof path, "themes/%s.ini", name);
  for (const struct embedded_file *f = embedded_files; f->path != NULL; f++) {
    if (strcmp(f->path, path) == 0) return (const char *)f->data;
  }
  return NULL;
}

bool theme_load(const char *name, enum colour_depth depth, struct theme *out, struct err *e) {
  size_t n = strlen(name);
  if (strchr(name, '/') == NULL && (n < 4 || strcmp(name + n - 4, ".ini") != 0)) {
    const char *ini = embedded_theme(name);
    if (ini != NULL) return theme_parse(ini, name, depth, out, e);
    return err_set(e, ERR_USAGE, "there is no theme `%s`; there are dark, light, high-contrast and colour-blind, or name a file (./%s.ini)",
                   name, name);
  }
  char *ini = read_text_file(name, e);
  bool ok = ini != NULL && theme_parse(ini, name, depth, out, e);
  free(ini);
  return ok;
}

struct look theme_look(const struct theme *theme, const struct cell *cell) {
  struct look look = {COLOUR_DEFAULT, COLOUR_DEFAULT, 0};
  if (cell->style != STYLE_COLOURS) {
    look = theme->looks[cell->style];
  } else if (theme->depth != DEPTH_MONO) {
    look.fg = colour_nearest(theme->depth, cell->fg);
    look.bg = colour_nearest(theme->depth, cell->bg);
  }
  look.marks ^= cell->marks & MARK_REVERSE; /* marked reverse on a reversed style is plain again, so that it shows */
  look.marks |= cell->marks & ~(unsigned)MARK_REVERSE;
  return look;
}
