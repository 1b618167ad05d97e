#include "base/percent.h"

#include <string.h>

static const char digits[] = "0123456789ABCDEF";

static bool plain(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("._-", c));
}

bool percent_encode(const char *text, char *out, size_t n) {
  size_t w = 0;
  for (const char *p = text; *p; p++) {
    unsigned char c = (unsigned char)*p;
    size_t room = plain(c) || c == ' ' ? 1 : 3;
    if (w + room >= n) return *out = 0, false;
    if (room == 1) {
      out[w++] = c == ' ' ? '+' : *p;
    } else {
      out[w++] = '%';
      out[w++] = digits[c >> 4];
      out[w++] = digits[c & 15];
    }
  }
  out[w] = 0;
  return true;
}

static int value_of(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool percent_decode(const char *text, char *out, size_t n) {
  size_t w = 0;
  for (const char *p = text; *p; p++) {
    int high = *p == '%' ? value_of(p[1]) : 0, low = *p == '%' && high >= 0 ? value_of(p[2]) : 0;
    bool wrong = *p == '%' && (high < 0 || low < 0 || high + low == 0);
    if (wrong || w + 1 >= n) return *out = 0, false;
    bool coded = *p == '%'; /* out may be text */
    out[w++] = coded ? (char)(high * 16 + low) : *p == '+' ? ' ' : *p;
    if (coded) p += 2;
  }
  out[w] = 0;
  return true;
}
