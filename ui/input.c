#include "ui/input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

size_t input_feed(struct input *in, const void *bytes, size_t n) {
  size_t room = sizeof in->byte - in->n;
  if (n > room) n = room;
  memcpy(in->byte + in->n, bytes, n);
  in->n += n;
  return n;
}

static void drop(struct input *in, size_t n) {
  memmove(in->byte, in->byte + n, in->n - n);
  in->n -= n;
}

static bool give_key(struct input_event *out, int key, int modifiers) {
  *out = (struct input_event){.kind = INPUT_KEY, .key = key, .modifiers = modifiers};
  return key != KEY_NONE;
}

/* --- sequences ---------------------------------------------------------------------------------------------------------------- */

struct sequence {
  char final, prefix; /* prefix: '<', '?', '>' or 0 */
  int number[4], numbers;
};

/* CSI: parameters and one final byte from '@' to '~'. Returns its length, 0: more bytes are needed. */
static size_t parse_csi(const unsigned char *p, size_t n, struct sequence *s) {
  size_t i = 2;
  *s = (struct sequence){.numbers = 1};
  if (i < n && p[i] == '[') return i + 1 < n ? (s->prefix = '[', s->final = (char)p[i + 1], i + 2) : 0; /* Linux console: F1 is CSI [ A */
  for (; i < n; i++) {
    if (p[i] >= '<' && p[i] <= '?')
      s->prefix = (char)p[i];
    else if (p[i] == ';' && s->numbers < 4)
      s->numbers++;
    else if (p[i] >= '0' && p[i] <= '9' && s->number[s->numbers - 1] < 100000)
      s->number[s->numbers - 1] = s->number[s->numbers - 1] * 10 + p[i] - '0';
    else if ((p[i] >= '@' && p[i] <= '~') || p[i] == '$') {
      if (p[i] == '$') continue; /* an intermediate byte: a reply; or rxvt's Shift */
      s->final = (char)p[i];
      return i + 1;
    } else if (p[i] < 0x20)
      return i; /* broken off */
  }
  return 0;
}

static int letter_key(char c) {
  static const char letter[] = "ABCDHFZPQRS";
  static const int key[] = {KEY_ARROW_UP, KEY_ARROW_DOWN, KEY_ARROW_RIGHT, KEY_ARROW_LEFT, KEY_TO_HOME, KEY_TO_END,
                            KEY_BACKTAB,  KEY_F1,         KEY_F1 + 1,      KEY_F1 + 2,     KEY_F1 + 3};
  const char *at = c ? strchr(letter, c) : NULL;
  return at ? key[at - letter] : KEY_NONE;
}

static int number_key(int n) {
  static const int key[] = {[1] = KEY_TO_HOME,   [2] = KEY_INSERT,  [3] = KEY_DELETE, [4] = KEY_TO_END,   [5] = KEY_PAGE_UP,
                            [6] = KEY_PAGE_DOWN, [7] = KEY_TO_HOME, [8] = KEY_TO_END, [11] = KEY_F1,      KEY_F1 + 1,
                            KEY_F1 + 2,          KEY_F1 + 3,        KEY_F1 + 4,       [17] = KEY_F1 + 5,  KEY_F1 + 6,
                            KEY_F1 + 7,          KEY_F1 + 8,        KEY_F1 + 9,       [23] = KEY_F1 + 10, KEY_F1 + 11};
  return n > 0 && n < (int)(sizeof key / sizeof *key) ? key[n] : KEY_NONE;
}

/* CSI < button ; column ; row M (or m where it is let go) */
static bool give_mouse(const struct sequence *s, struct input_event *out) {
  int b = s->number[0];
  *out = (struct input_event){.kind = INPUT_MOUSE, .button = (b & 3) + 1, .x = s->number[1] - 1, .y = s->number[2] - 1};
  out->modifiers = (b & 4 ? MOD_SHIFT : 0) | (b & 8 ? MOD_ALT : 0) | (b & 16 ? MOD_CTRL : 0);
  if (s->numbers < 3 || out->x < 0 || out->y < 0 || b >= 128) return false;
  out->mouse = s->final == 'm' ? MOUSE_RELEASE : b & 32 ? MOUSE_DRAG : MOUSE_PRESS;
  if (b & 64) out->mouse = b & 1 ? MOUSE_WHEEL_DOWN : MOUSE_WHEEL_UP;
  return !(b & 64 && b & 2) && !(b & 32 && (b & 3) == 3);
}

static bool give_csi(struct input *in, const struct sequence *s, struct input_event *out) {
  int m = s->numbers > 1 && s->number[1] > 1 ? s->number[1] - 1 : 0;
  int modifiers = (m & 1 ? MOD_SHIFT : 0) | (m & 2 ? MOD_ALT : 0) | (m & 4 ? MOD_CTRL : 0);
  if (s->prefix == '[') return give_key(out, s->final >= 'A' && s->final <= 'E' ? KEY_F1 + s->final - 'A' : KEY_NONE, 0);
  if (s->prefix == '<' && (s->final == 'M' || s->final == 'm')) return give_mouse(s, out);
  if (s->prefix) return false; /* a reply */
  if (s->final == '~' && s->number[0] == 200) {
    in->pasting = true;
    in->pasted = 0;
    return false;
  }
  if (s->final == '~') return give_key(out, number_key(s->number[0]), modifiers);
  if (s->final == 'u') return give_key(out, s->number[0], modifiers);
  return give_key(out, letter_key(s->final), modifiers);
}

/* DCS, OSC and the like: a reply that came late, up to its end. Returns its length, 0: it goes on. */
static size_t string_length(const unsigned char *p, size_t n) {
  for (size_t i = 2; i < n; i++) {
    if (p[i] == 7) return i + 1;
    if (p[i] == 27 && i + 1 < n) return i + 2;
  }
  return 0;
}

/* --- plain bytes -------------------------------------------------------------------------------------------------------------------- */

static int decode(const unsigned char *p, size_t n) {
  if (n == 1) return p[0];
  int c = p[0] & (0xff >> (n + 1));
  for (size_t i = 1; i < n; i++) c = c << 6 | (p[i] & 63);
  return c;
}

/* How many bytes a character that begins so has. */
static size_t announced(unsigned char c) {
  return c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
}

/* One character at p. Returns its length, 0: more bytes are needed. */
static size_t take_character(const unsigned char *p, size_t n, bool patient, int *key) {
  size_t len = utf8_step(p, n);
  *key = KEY_NONE;
  if (!len && patient && n < announced(p[0])) return 0;
  if (!len) return 1; /* not UTF-8: dropped */
  *key = decode(p, len);
  if (*key == 8) *key = KEY_DEL;
  if (*key == 10) *key = KEY_RETURN;
  if (*key == 0) *key = ' '; /* Ctrl-Space */
  return len;
}

static bool take_escape(struct input *in, bool patient, struct input_event *out, bool *more) {
  const unsigned char *p = in->byte;
  struct sequence s;
  size_t len = 0;
  bool given = false;
  *more = false;
  if (in->n == 1) {
    *more = patient;
    return !patient && (drop(in, 1), give_key(out, KEY_ESC, 0));
  }
  if (p[1] == '[' || p[1] == 'O') {
    if (p[1] == '[')
      len = parse_csi(p, in->n, &s);
    else if (in->n > 2)
      len = 3;
    if (len) given = p[1] == '[' ? give_csi(in, &s, out) : give_key(out, letter_key((char)p[2]), 0);
  } else if (strchr("P]_^X", p[1])) {
    len = string_length(p, in->n);
  } else if (p[1] == 27) {
    len = 1;
    given = give_key(out, KEY_ESC, 0);
  } else {
    int key;
    len = take_character(p + 1, in->n - 1, patient, &key);
    if (len) given = give_key(out, key, MOD_ALT), len++;
  }
  if (!len && patient && in->n < sizeof in->byte) return *more = true, false;
  if (!len) len = 1, given = give_key(out, KEY_ESC, 0);
  drop(in, len);
  return given;
}

/* Collects up to CSI 201 ~. */
static bool take_paste(struct input *in, struct input_event *out) {
  static const char end[] = "\033[201~";
  while (in->n) {
    if (in->byte[0] == 27) {
      size_t n = in->n < 6 ? in->n : 6;
      if (!memcmp(in->byte, end, n)) {
        if (n < 6) return false;
        drop(in, 6);
        in->pasting = false;
        in->paste[in->pasted] = 0;
        *out = (struct input_event){.kind = INPUT_PASTE, .paste = in->paste};
        return true;
      }
    }
    unsigned char c = in->byte[0] == '\r' ? '\n' : in->byte[0];
    if ((c >= 32 || c == '\n') && c != 127 && in->pasted < INPUT_PASTE_BYTES) in->paste[in->pasted++] = (char)c;
    drop(in, 1);
  }
  return false;
}

bool input_next(struct input *in, bool patient, struct input_event *out) {
  while (in->n) {
    bool more;
    int key;
    if (in->pasting) {
      if (take_paste(in, out)) return true;
      if (in->pasting) return false;
      continue;
    }
    if (in->byte[0] == 27) {
      if (take_escape(in, patient, out, &more)) return true;
      if (more) return false;
      continue;
    }
    size_t len = take_character(in->byte, in->n, patient, &key);
    if (!len) return false;
    drop(in, len);
    if (give_key(out, key, 0)) return true;
  }
  return false;
}

/* --- names ---------------------------------------------------------------------------------------------------------------------------- */

static const struct {
  int key;
  const char *name;
} names[] = {
    {KEY_RETURN, "Enter"},      {KEY_TAB, "Tab"},         {KEY_ESC, "Esc"},         {KEY_DEL, "Backspace"},     {' ', "Space"},
    {KEY_ARROW_UP, "Up"},       {KEY_ARROW_DOWN, "Down"}, {KEY_ARROW_LEFT, "Left"}, {KEY_ARROW_RIGHT, "Right"}, {KEY_TO_HOME, "Home"},
    {KEY_TO_END, "End"},        {KEY_PAGE_UP, "PgUp"},    {KEY_PAGE_DOWN, "PgDn"},  {KEY_INSERT, "Ins"},        {KEY_DELETE, "Del"},
    {KEY_BACKTAB, "Shift-Tab"},
};
enum { NAMES = sizeof names / sizeof *names };

static void put_utf8(int c, char *out) {
  size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
  for (size_t i = n; i-- > 1; c >>= 6) out[i] = (char)(0x80 | (c & 63));
  out[0] = (char)(lead[n] | c);
  out[n] = 0;
}

const char *key_text(int key, int modifiers, char *buf, size_t n) {
  char base[16];
  const char *name = NULL;
  for (int i = 0; i < NAMES && !name; i++) {
    if (names[i].key == key) name = names[i].name;
  }
  if (!name && key >= KEY_F1 && key < KEY_LAST)
    text_put(base, sizeof base, "F%d", key - KEY_F1 + 1);
  else if (!name && key > 0 && key < 27)
    text_put(base, sizeof base, "Ctrl-%c", 'A' + key - 1);
  else if (!name)
    put_utf8(key, base);
  text_put(buf, n, "%s%s%s%s", modifiers & MOD_CTRL ? "Ctrl-" : "", modifiers & MOD_ALT ? "Alt-" : "",
           modifiers & MOD_SHIFT ? "Shift-" : "", name ? name : base);
  return buf;
}

bool key_parse(const char *text, int *key, int *modifiers) {
  static const struct {
    const char *word;
    int bit;
  } prefix[] = {{"Ctrl-", MOD_CTRL}, {"Alt-", MOD_ALT}, {"Shift-", MOD_SHIFT}};
  *modifiers = 0;
  if (!strcmp(text, "Shift-Tab")) return *key = KEY_BACKTAB, true;
  for (int i = 0; i < 3; i++) {
    size_t len = strlen(prefix[i].word);
    if (strncmp(text, prefix[i].word, len)) continue;
    *modifiers |= prefix[i].bit;
    text += len;
    i = -1;
  }
  for (int i = 0; i < NAMES; i++) {
    if (!strcmp(names[i].name, text)) return *key = names[i].key, true;
  }
  if (text[0] == 'F' && text[1] >= '1' && text[1] <= '9') return *key = KEY_F1 + atoi(text + 1) - 1, *key < KEY_LAST;
  size_t n = strlen(text);
  if (!n || utf8_step((const unsigned char *)text, n) != n) return false;
  *key = decode((const unsigned char *)text, n);
  if (*modifiers & MOD_CTRL && *key >= 'A' && *key <= 'z') *key &= 31, *modifiers &= ~MOD_CTRL;
  return true;
}
