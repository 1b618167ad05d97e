#include "html.h"

#include <stdarg.h>
#include <stddef.h>

void html_text(FILE *out, const char *text) {
  for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
    switch (*p) {
      case '&':
        fputs("&amp;", out);
        break;
      case '<':
        fputs("&lt;", out);
        break;
      case '>':
        fputs("&gt;", out);
        break;
      case '"':
        fputs("&quot;", out);
        break;
      case '\'':
        fputs("&#39;", out);
        break;
      default:
        if (*p < ' ' && *p != '\n' && *p != '\t') {
          fputs("\xef\xbf\xbd", out);
        } else {
          fputc(*p, out);
        }
    }
  }
}

void html_printf(FILE *out, const char *fmt, ...) {
  char text[2000];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  html_text(out, text);
}

void html_png(FILE *out, const unsigned char *png, size_t n) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  fputs("data:image/png;base64,", out);
  for (size_t i = 0; i < n; i += 3) {
    size_t left = n - i;
    unsigned v = (unsigned)png[i] << 16 | (left > 1 ? (unsigned)png[i + 1] << 8 : 0) | (left > 2 ? png[i + 2] : 0);
    fputc(digits[v >> 18], out);
    fputc(digits[v >> 12 & 63], out);
    fputc(left > 1 ? digits[v >> 6 & 63] : '=', out);
    fputc(left > 2 ? digits[v & 63] : '=', out);
  }
}
