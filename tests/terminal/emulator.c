/* The emulator's ear and mouth: control sequences, answers, what tests ask. */
#include "terminal/emulator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "terminal/emulator_screen.h"

static void answer(struct emulator *e, const char *text) {
  size_t n = strlen(text);
  if (e->n_answers + n > sizeof e->answers) return;
  memcpy(e->answers + e->n_answers, text, n);
  e->n_answers += n;
}

static int within(int v, int low, int high) {
  return v < low ? low : v > high ? high : v;
}

static void go(struct emulator *e, int x, int y) {
  e->x = within(x, 0, e->o.w - 1);
  e->y = within(y, 0, e->o.h - 1);
  e->wrap_next = false;
}

/* --- SGR ------------------------------------------------------------------------------------------------------------------- */

/* 38;5;N and 38;2;R;G;B, also with colons: v[0] is 38 or 48; returns how many numbers belong to it. */
static int take_colour(const int *v, int n, int *out) {
  if (n >= 3 && v[1] == 5) {
    *out = v[2];
    return 3;
  }
  if (n >= 5 && v[1] == 2) {
    *out = EMU_RGB | v[2] << 16 | v[3] << 8 | v[4];
    return 5;
  }
  return n;
}

static void set_look(struct emulator *e, const int *v, int n) {
  struct emulator_look *look = &e->look;
  if (n == 0) *look = (struct emulator_look){EMU_DEFAULT, EMU_DEFAULT, 0};
  for (int i = 0; i < n; i++) {
    int p = v[i];
    if (p == 0) *look = (struct emulator_look){EMU_DEFAULT, EMU_DEFAULT, 0};
    if (p == 1) look->attributes |= EMU_BOLD;
    if (p == 2) look->attributes |= EMU_DIM;
    if (p == 4) look->attributes |= EMU_UNDERLINE;
    if (p == 7) look->attributes |= EMU_REVERSE;
    if (p == 22) look->attributes &= ~(unsigned)(EMU_BOLD | EMU_DIM);
    if (p == 24) look->attributes &= ~(unsigned)EMU_UNDERLINE;
    if (p == 27) look->attributes &= ~(unsigned)EMU_REVERSE;
    if (p >= 30 && p <= 37) look->fg = p - 30;
    if (p >= 40 && p <= 47) look->bg = p - 40;
    if (p >= 90 && p <= 97) look->fg = p - 90 + 8;
    if (p >= 100 && p <= 107) look->bg = p - 100 + 8;
    if (p == 39) look->fg = EMU_DEFAULT;
    if (p == 49) look->bg = EMU_DEFAULT;
    if (p == 38 || p == 48) i += take_colour(v + i, n - i, p == 38 ? &look->fg : &look->bg) - 1;
  }
}

/* --- modes ----------------------------------------------------------------------------------------------------------------- */

static void save_cursor(struct emulator *e) {
  e->saved[e->active] = (struct saved){e->x, e->y, e->look};
}

static void restore_cursor(struct emulator *e) {
  e->look = e->saved[e->active].look;
  go(e, e->saved[e->active].x, e->saved[e->active].y);
}

static void alternate(struct emulator *e, bool on, bool keeps_cursor) {
  if (on && keeps_cursor) save_cursor(e);
  e->active = on;
  e->modes.alternate = on;
  if (on) screen_clear(e, 0, 0, 0, e->o.h);
  if (!on && keeps_cursor) restore_cursor(e);
}

static void set_mode(struct emulator *e, int mode, bool on) {
  switch (mode) {
    case 1:
      e->modes.cursor_keys = on;
      break;
    case 25:
      e->modes.cursor_shown = on;
      break;
    case 47:
    case 1047:
      alternate(e, on, false);
      break;
    case 1048:
      on ? save_cursor(e) : restore_cursor(e);
      break;
    case 1049:
      alternate(e, on, true);
      break;
    case 1000:
    case 1002:
    case 1003:
      e->modes.mouse = on;
      break;
    case 1006:
      e->modes.mouse_sgr = on;
      break;
    case 2004:
      e->modes.bracketed_paste = on;
      break;
    case 2026:
      e->modes.in_update = on;
      break;
    default:
      break; /* blinking, wrapping, focus: nothing a test looks at */
  }
}

/* --- questions ------------------------------------------------------------------------------------------------------------- */

static void answer_window(struct emulator *e, int what) {
  char text[64] = "";
  if (what == 14) snprintf(text, sizeof text, "\033[4;%d;%dt", e->o.h * e->o.cell.h, e->o.w * e->o.cell.w);
  if (what == 16) snprintf(text, sizeof text, "\033[6;%d;%dt", e->o.cell.h, e->o.cell.w);
  if (what == 18) snprintf(text, sizeof text, "\033[8;%d;%dt", e->o.h, e->o.w);
  answer(e, text);
}

static void answer_graphics(struct emulator *e, const int *v) {
  char text[64] = "";
  if (!e->o.sixel) return; /* a terminal without them knows no such question */
  if (v[0] == 1) snprintf(text, sizeof text, "\033[?1;0;256S");
  if (v[0] == 2) snprintf(text, sizeof text, "\033[?2;0;%d;%dS", e->o.w * e->o.cell.w, e->o.h * e->o.cell.h);
  answer(e, text);
}

static void answer_mode(struct emulator *e, int mode) {
  char text[64];
  int state = mode == 2026 ? (!e->o.synchronized ? 0 : e->modes.in_update ? 1 : 2) : mode == 25 ? (e->modes.cursor_shown ? 1 : 2) : 0;
  snprintf(text, sizeof text, "\033[?%d;%d$y", mode, state);
  answer(e, text);
}

/* --- control sequences ------------------------------------------------------------------------------------------------------ */

enum { NUMBERS = 32 };

/* "?1;2" to numbers, 0 where one is left out; returns how many. The colon's form 38:2::r:g:b loses its empty colour space. */
static int numbers_of(const char *text, int *out) {
  int n = 0;
  memset(out, 0, NUMBERS * sizeof *out);
  if (*text == '?' || *text == '>' || *text == '<' || *text == '=') text++;
  if (*text == 0 || ((*text < '0' || *text > '9') && *text != ';')) return 0;
  for (char *end; n < NUMBERS; text = end + 1) {
    out[n++] = (int)strtol(text, &end, 10);
    if (*end == ':' && end[1] == ':' && n > 1 && out[n - 1] == 2) end++;
    if (*end != ';' && *end != ':') break;
  }
  return n;
}

static void erase(struct emulator *e, char final, int how) {
  int w = e->o.w;
  if (final == 'J' && how == 0) screen_clear(e, e->x, e->y, 0, e->o.h);
  if (final == 'J' && how == 1) screen_clear(e, 0, 0, e->x + 1, e->y);
  if (final == 'J' && how >= 2) screen_clear(e, 0, 0, 0, e->o.h);
  if (final == 'K' && how == 0) screen_clear(e, e->x, e->y, w, e->y);
  if (final == 'K' && how == 1) screen_clear(e, 0, e->y, e->x + 1, e->y);
  if (final == 'K' && how == 2) screen_clear(e, 0, e->y, w, e->y);
}

/* One that moves the cursor; false: another kind. */
static bool move(struct emulator *e, char final, int n, const int *v) {
  int low = e->y >= e->top ? e->top : 0, high = e->y <= e->bottom ? e->bottom : e->o.h - 1;
  switch (final) {
    case 'A':
      go(e, e->x, within(e->y - n, low, high));
      return true;
    case 'B':
    case 'e':
      go(e, e->x, within(e->y + n, low, high));
      return true;
    case 'C':
    case 'a':
      go(e, e->x + n, e->y);
      return true;
    case 'D':
      go(e, e->x - n, e->y);
      return true;
    case 'E':
      go(e, 0, e->y + n);
      return true;
    case 'F':
      go(e, 0, e->y - n);
      return true;
    case 'G':
    case '`':
      go(e, n - 1, e->y);
      return true;
    case 'd':
      go(e, e->x, n - 1);
      return true;
    case 'H':
    case 'f':
      go(e, (v[1] > 0 ? v[1] : 1) - 1, n - 1);
      return true;
    case 'I':
      go(e, (e->x / 8 + n) * 8, e->y);
      return true;
    case 'Z':
      go(e, ((e->x + 7) / 8 - n) * 8, e->y);
      return true;
    default:
      return false;
  }
}

static bool edit(struct emulator *e, char final, int n, const int *v) {
  bool inside = e->y >= e->top && e->y <= e->bottom;
  switch (final) {
    case 'J':
    case 'K':
      erase(e, final, v[0]);
      return true;
    case 'L':
    case 'M':
      if (inside) screen_scroll(e, e->y, e->bottom, final == 'L' ? -n : n);
      return true;
    case 'S':
      screen_scroll(e, e->top, e->bottom, n);
      return true;
    case 'T':
      screen_scroll(e, e->top, e->bottom, -n);
      return true;
    case '@':
      screen_shift(e, e->x, e->y, n);
      return true;
    case 'P':
      screen_shift(e, e->x, e->y, -n);
      return true;
    case 'X':
      screen_clear(e, e->x, e->y, within(e->x + n, 0, e->o.w), e->y);
      return true;
    case 'b':
      for (int i = 0; i < n && i < e->o.w * e->o.h; i++) screen_put(e, e->last);
      return true;
    default:
      return false;
  }
}

static void set_region(struct emulator *e, const int *v) {
  int top = v[0] > 0 ? v[0] - 1 : 0, bottom = v[1] > 0 && v[1] <= e->o.h ? v[1] - 1 : e->o.h - 1;
  if (top >= bottom) return;
  e->top = top;
  e->bottom = bottom;
  go(e, 0, 0);
}

static void control_sequence(struct emulator *e, char final) {
  int v[NUMBERS], count = numbers_of(e->string, v), n = v[0] > 0 ? v[0] : 1;
  char mark = e->string[0], before = e->n > 0 ? e->string[e->n - 1] : 0;
  bool plain = mark != '?' && mark != '>' && mark != '<' && mark != '=' && before != '$' && before != '!' && before != ' ';
  if (mark == '?' && (final == 'h' || final == 'l')) {
    for (int i = 0; i < count; i++) set_mode(e, v[i], final == 'h');
  } else if (mark == '?' && final == 'p' && before == '$') {
    answer_mode(e, v[0]);
  } else if (mark == '?' && final == 'S') {
    answer_graphics(e, v);
  } else if (plain && final == 'c') {
    answer(e, e->o.sixel ? "\033[?62;4;22c" : "\033[?62;22c");
  } else if (mark == '>' && final == 'c') {
    answer(e, "\033[>41;379;0c");
  } else if (plain && final == 'n' && v[0] == 6) {
    char text[32];
    snprintf(text, sizeof text, "\033[%d;%dR", e->y + 1, e->x + 1);
    answer(e, text);
  } else if (plain && final == 't') {
    answer_window(e, v[0]);
  } else if (plain && final == 'm') {
    set_look(e, v, count);
  } else if (plain && final == 'r') {
    set_region(e, v);
  } else if (plain && (final == 's' || final == 'u')) {
    final == 's' ? save_cursor(e) : restore_cursor(e);
  } else if (plain && (final == 'h' || final == 'l' || final == 'g')) {
    return; /* insert mode, tab stops: not used */
  } else if (!plain || (!move(e, final, n, v) && !edit(e, final, n, v))) {
    e->modes.unknown += !(mark == '>' || before == '!' || before == ' ' || (mark == '?' && (final == 's' || final == 'r')));
  }
}

static void whole_string(struct emulator *e) {
  char last = e->n > 0 ? e->string[0] : 0;
  size_t digits = strspn(e->string, "0123456789;");
  if (e->kind == 'P' && e->string[digits] == 'q' && e->o.sixel) screen_sixel(e, e->string, e->n);
  if (e->kind == ']' && strncmp(e->string, "11;?", 4) == 0) answer(e, "\033]11;rgb:1010/1010/1010\033\\");
  if (e->kind == ']' && strncmp(e->string, "10;?", 4) == 0) answer(e, "\033]10;rgb:d0d0/d0d0/d0d0\033\\");
  if (e->kind == ']' && strncmp(e->string, "4;255;?", 7) == 0 && e->o.colours >= 256) answer(e, "\033]4;255;rgb:eeee/eeee/eeee\033\\");
  bool attributes = e->kind == 'P' && strcmp(e->string, "$qm") == 0 && e->o.colours > 256;
  if (attributes) answer(e, "\033P1$r0;48:2::1:2:3m\033\\");
  if (e->kind == 'P' && !attributes && (last == '+' || last == '$')) answer(e, "\033P0+r\033\\");
}

/* --- bytes ----------------------------------------------------------------------------------------------------------------- */

static void collect(struct emulator *e, char byte) {
  if (e->n + 2 > e->room) {
    char *grown = realloc(e->string, 2 * e->room + 64);
    if (grown == NULL) return;
    e->string = grown;
    e->room = 2 * e->room + 64;
  }
  e->string[e->n++] = byte;
  e->string[e->n] = 0;
}

static void begin(struct emulator *e, enum parser_state state, char kind) {
  e->state = state;
  e->kind = kind;
  e->n = 0;
  collect(e, 0);
  e->n = 0;
}

static void escape(struct emulator *e, char byte) {
  e->state = GROUND;
  switch (byte) {
    case '[':
      begin(e, CSI, '[');
      break;
    case 'P':
    case ']':
    case '^':
    case '_':
    case 'X':
      begin(e, STRING, byte);
      break;
    case '7':
      save_cursor(e);
      break;
    case '8':
      restore_cursor(e);
      break;
    case 'D':
      screen_line_feed(e);
      break;
    case 'E':
      e->x = 0;
      screen_line_feed(e);
      break;
    case 'M':
      if (e->y == e->top) {
        screen_scroll(e, e->top, e->bottom, -1);
      } else {
        go(e, e->x, e->y - 1);
      }
      break;
    case '(':
    case ')':
    case '*':
    case '+':
    case '#':
    case '%':
    case ' ':
      e->state = ESCAPE_SKIP;
      break;
    default:
      break; /* keypad modes, the end of a string */
  }
}

static void ground(struct emulator *e, unsigned char byte) {
  if (byte == '\033') {
    e->state = ESCAPE;
  } else if (byte == '\r') {
    go(e, 0, e->y);
  } else if (byte == '\n' || byte == '\v' || byte == '\f') {
    screen_line_feed(e);
  } else if (byte == '\b') {
    go(e, e->x - 1, e->y);
  } else if (byte == '\t') {
    go(e, (e->x / 8 + 1) * 8, e->y);
  } else if (byte < 0x20 || byte == 0x7F) {
    return;
  } else if (byte < 0x80 || !e->o.utf8) {
    screen_put(e, byte);
  } else if (byte >= 0xC0) {
    e->more = byte >= 0xF0 ? 3 : byte >= 0xE0 ? 2 : 1;
    e->code = byte & (0x3Fu >> e->more);
  } else if (e->more > 0) {
    e->code = e->code << 6 | (byte & 0x3F);
    if (--e->more == 0) screen_put(e, e->code);
  }
}

static void take(struct emulator *e, char byte) {
  switch (e->state) {
    case GROUND:
      ground(e, (unsigned char)byte);
      break;
    case ESCAPE:
      escape(e, byte);
      break;
    case ESCAPE_SKIP:
      e->state = GROUND;
      break;
    case CSI:
      if (byte >= '@' && byte <= '~') {
        e->state = GROUND;
        control_sequence(e, byte);
      } else {
        collect(e, byte);
      }
      break;
    case STRING:
      if (byte == '\033') {
        e->state = STRING_ESCAPE;
      } else if (byte == '\a') {
        e->state = GROUND;
        whole_string(e);
      } else {
        collect(e, byte);
      }
      break;
    case STRING_ESCAPE:
      whole_string(e);
      e->state = GROUND;
      if (byte != '\\') escape(e, byte);
      break;
  }
}

void emulator_feed(struct emulator *e, const char *bytes, size_t n) {
  for (size_t i = 0; i < n; i++) take(e, bytes[i]);
}

/* --- life and questions of tests --------------------------------------------------------------------------------------------- */

struct emulator *emulator_new(const struct emulator_options *options) {
  struct emulator *e = calloc(1, sizeof *e);
  if (e == NULL) return NULL;
  e->o = *options;
  e->look = (struct emulator_look){EMU_DEFAULT, EMU_DEFAULT, 0};
  e->bottom = options->h - 1;
  e->modes.cursor_shown = true;
  e->last = ' ';
  if (screens_new(e, options->w, options->h)) return e;
  emulator_free(e);
  return NULL;
}

void emulator_free(struct emulator *e) {
  if (e == NULL) return;
  screens_free(e);
  free(e->string);
  free(e);
}

void emulator_resize(struct emulator *e, int w, int h) {
  struct emulator old = *e;
  if (!screens_new(e, w, h)) return;
  for (int y = 0; y < h && y < old.o.h; y++) {
    for (int x = 0; x < w && x < old.o.w; x++) e->screens[e->active].cells[y * w + x] = old.screens[e->active].cells[y * old.o.w + x];
  }
  screens_free(&old);
  e->top = 0;
  e->bottom = h - 1;
  go(e, e->x, e->y);
}

size_t emulator_answers(struct emulator *e, char *out, size_t n) {
  size_t take_n = e->n_answers < n ? e->n_answers : n;
  memcpy(out, e->answers, take_n);
  memmove(e->answers, e->answers + take_n, e->n_answers - take_n);
  e->n_answers -= take_n;
  return take_n;
}

const struct emulator_cell *emulator_at(const struct emulator *e, int x, int y) {
  return x >= 0 && y >= 0 && x < e->o.w && y < e->o.h ? &e->screens[e->active].cells[y * e->o.w + x] : NULL;
}

static size_t row_text(const struct emulator *e, int y, char *out) {
  size_t at = 0, end = 0;
  for (int x = 0; x < e->o.w; x++) {
    const char *text = emulator_at(e, x, y)->text;
    memcpy(out + at, text, strlen(text));
    at += strlen(text);
    if (*text != 0 && strcmp(text, " ") != 0) end = at;
  }
  out[end] = 0;
  return end;
}

char *emulator_text(const struct emulator *e) {
  char *out = malloc((size_t)e->o.h * ((size_t)e->o.w * EMULATOR_TEXT + 2) + 1);
  size_t at = 0;
  if (out == NULL) return NULL;
  for (int y = 0; y < e->o.h; y++) {
    at += row_text(e, y, out + at);
    out[at++] = '\n';
  }
  out[at] = 0;
  return out;
}

bool emulator_contains(const struct emulator *e, const char *text, int *x, int *y) {
  char *row = malloc((size_t)e->o.w * EMULATOR_TEXT + 1), *found = NULL;
  for (int at = 0; row != NULL && at < e->o.h && found == NULL; at++) {
    row_text(e, at, row);
    found = strstr(row, text);
    if (found == NULL) continue;
    size_t bytes = 0;
    *y = at;
    for (*x = 0; bytes < (size_t)(found - row); ++*x) bytes += strlen(emulator_at(e, *x, at)->text);
  }
  free(row);
  return found != NULL;
}

static bool is_set(const struct emulator *e, int x, int y) {
  return e->screens[e->active].set[(size_t)y * (size_t)(e->o.w * e->o.cell.w) + (size_t)x] != 0;
}

static bool cell_has_pixels(const struct emulator *e, int x, int y) {
  if (emulator_at(e, x, y) == NULL) return false;
  for (int i = 0; i < e->o.cell.w * e->o.cell.h; i++) {
    if (is_set(e, x * e->o.cell.w + i % e->o.cell.w, y * e->o.cell.h + i / e->o.cell.w)) return true;
  }
  return false;
}

bool emulator_pixels(const struct emulator *e, struct rect r, struct image *out, bool *whole) {
  int set = 0, width = e->o.w * e->o.cell.w;
  *whole = false;
  *out = (struct image){0};
  r = rect_meet(r, (struct rect){0, 0, e->o.w, e->o.h});
  if (rect_empty(r) || !image_new(out, r.w * e->o.cell.w, r.h * e->o.cell.h, 3)) return false;
  int last = -1; /* the last row of pixels that is set: below it only the rest of a band may be missing */
  for (int y = 0; y < out->h; y++) {
    for (int x = 0; x < out->w; x++) {
      int px = r.x * e->o.cell.w + x, py = r.y * e->o.cell.h + y;
      if (!is_set(e, px, py)) continue;
      memcpy(out->px + 3 * (y * out->w + x), e->screens[e->active].px + 3 * ((size_t)py * (size_t)width + (size_t)px), 3);
      set++;
      last = y;
    }
  }
  *whole = set == out->w * (last + 1) && out->h - (last + 1) < 6;
  if (last >= 0) out->h = last + 1;
  if (set == 0) image_release(out);
  return set > 0;
}

bool emulator_picture_at(const struct emulator *e, int x, int y, struct rect *r) {
  if (!cell_has_pixels(e, x, y)) return false;
  int left = x, right = x, top = y, bottom = y;
  while (cell_has_pixels(e, left - 1, y)) left--;
  while (cell_has_pixels(e, right + 1, y)) right++;
  while (cell_has_pixels(e, x, top - 1)) top--;
  while (cell_has_pixels(e, x, bottom + 1)) bottom++;
  *r = (struct rect){left, top, right - left + 1, bottom - top + 1};
  return true;
}

int emulator_pictures(const struct emulator *e) {
  int n = 0;
  for (int y = 0; y < e->o.h; y++) {
    for (int x = 0; x < e->o.w; x++) n += cell_has_pixels(e, x, y) && !cell_has_pixels(e, x - 1, y) && !cell_has_pixels(e, x, y - 1);
  }
  return n;
}

struct emulator_modes emulator_modes(const struct emulator *e) {
  struct emulator_modes modes = e->modes;
  modes.width = e->o.w;
  modes.height = e->o.h;
  modes.cursor_x = e->x;
  modes.cursor_y = e->y;
  return modes;
}
