/* Bytes that a terminal sends, as events: keys, mouse, pasted text. Pure: no terminal is touched here.
 *
 * Understood are UTF-8, the cursor and function keys of xterm, VT220, rxvt and the Linux console with xterm's modifiers, Alt as a leading escape, SGR mouse
 * reports (DEC mode 1006) and bracketed paste (2004). Replies to queries that come late are swallowed. */
#ifndef PDMBOOTH_UI_INPUT_H
#define PDMBOOTH_UI_INPUT_H

#include <stdbool.h>
#include <stddef.h>

/* Keys that are no character; characters are their code points, control keys are 1 to 26. */
enum key_code {
  KEY_NONE = 0,
  KEY_TAB = 9,
  KEY_RETURN = 13,
  KEY_ESC = 27,
  KEY_DEL = 127, /* backspace */
  KEY_FIRST = 0x110000,
  KEY_ARROW_UP = KEY_FIRST,
  KEY_ARROW_DOWN,
  KEY_ARROW_LEFT,
  KEY_ARROW_RIGHT,
  KEY_TO_HOME,
  KEY_TO_END,
  KEY_PAGE_UP,
  KEY_PAGE_DOWN,
  KEY_INSERT,
  KEY_DELETE,
  KEY_BACKTAB,
  KEY_F1, /* to F12 = KEY_F1 + 11 */
  KEY_LAST = KEY_F1 + 12
};
enum key_modifier { MOD_SHIFT = 1, MOD_ALT = 2, MOD_CTRL = 4 };
enum input_kind { INPUT_KEY, INPUT_MOUSE, INPUT_PASTE };
enum mouse_kind { MOUSE_PRESS, MOUSE_RELEASE, MOUSE_DRAG, MOUSE_WHEEL_UP, MOUSE_WHEEL_DOWN };

struct input_event {
  enum input_kind kind;
  int key, modifiers; /* INPUT_KEY: a code point or enum key_code; Shift is told for keys that are no character only */
  enum mouse_kind mouse;
  int button, x, y;  /* INPUT_MOUSE: 1 to 3; cell, from 0 at the upper left */
  const char *paste; /* INPUT_PASTE: UTF-8 text without control characters but new lines; valid until the next input_feed */
};

enum { INPUT_BYTES = 4096, INPUT_PASTE_BYTES = 65536 };

/* Zero-initialised is empty. */
struct input {
  unsigned char byte[INPUT_BYTES];
  size_t n;
  bool pasting;
  size_t pasted;
  char paste[INPUT_PASTE_BYTES + 1]; /* what is beyond is dropped */
};

/* Takes as many of the n bytes as there is room for; returns how many. */
size_t input_feed(struct input *in, const void *bytes, size_t n);
/* The next event; false: more bytes are needed. patient: a sequence that has begun may go on (an escape alone may become one); without it what is
   there is taken as it is, which is right when nothing has come for some 50 ms. */
bool input_next(struct input *in, bool patient, struct input_event *out);

/* "Up", "Ctrl-X", "F5", "x": as help and footer name it. Returns buf. */
const char *key_text(int key, int modifiers, char *buf, size_t n);
/* The reverse, for scripts; false: no key is called so. */
bool key_parse(const char *text, int *key, int *modifiers);

#endif
