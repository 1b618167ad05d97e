#include <string.h>

#include "text.h"
#include "ui/overlay.h"

void line_set(struct line_edit *l, const char *text) {
  *l = (struct line_edit){.n = 0};
  line_insert(l, text);
}

void line_insert(struct line_edit *l, const char *text) {
  for (size_t step; *text; text += step) {
    step = utf8_step((const unsigned char *)text, strlen(text));
    if (!step) step = 1;
    if (l->n + step >= sizeof l->text || (unsigned char)*text == 127 || ((unsigned char)*text < 32 && *text != '\n')) continue;
    memmove(l->text + l->at + step, l->text + l->at, l->n - l->at + 1);
    memcpy(l->text + l->at, *text == '\n' ? " " : text, step);
    l->at += step;
    l->n += step;
  }
}

static size_t before(const struct line_edit *l, size_t at) {
  while (at && ((unsigned char)l->text[--at] & 0xc0) == 0x80) continue;
  return at;
}

static size_t after(const struct line_edit *l, size_t at) {
  if (at < l->n) at++;
  while (at < l->n && ((unsigned char)l->text[at] & 0xc0) == 0x80) at++;
  return at;
}

static void cut(struct line_edit *l, size_t from, size_t to) {
  memmove(l->text + from, l->text + to, l->n - to + 1);
  l->n -= to - from;
  l->at = from;
}

static size_t word_before(const struct line_edit *l) {
  size_t at = l->at;
  while (at && l->text[at - 1] == ' ') at--;
  while (at && l->text[at - 1] != ' ') at--;
  return at;
}

static void type(struct line_edit *l, int c) {
  char text[5];
  utf8_encode((uint32_t)c, text);
  line_insert(l, text);
}

bool line_key(struct line_edit *l, int key, int modifiers) {
  enum { CTRL_A = 1, CTRL_E = 5, CTRL_K = 11, CTRL_U = 21, CTRL_W = 23 };
  switch (key) {
    case KEY_ARROW_LEFT:
      return l->at = before(l, l->at), true;
    case KEY_ARROW_RIGHT:
      return l->at = after(l, l->at), true;
    case KEY_TO_HOME:
    case CTRL_A:
      return l->at = 0, true;
    case KEY_TO_END:
    case CTRL_E:
      return l->at = l->n, true;
    case KEY_DEL:
      return cut(l, before(l, l->at), l->at), true;
    case KEY_DELETE:
      return cut(l, l->at, after(l, l->at)), true;
    case CTRL_K:
      return cut(l, l->at, l->n), true;
    case CTRL_U:
      return cut(l, 0, l->at), true;
    case CTRL_W:
      return cut(l, word_before(l), l->at), true;
    default:
      break;
  }
  if (key < 32 || key >= KEY_FIRST || key == 127 || modifiers & (MOD_ALT | MOD_CTRL)) return false;
  type(l, key);
  return true;
}
