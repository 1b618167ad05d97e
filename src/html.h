/* Writing HTML: everything that is not markup goes through html_text. */
#ifndef PDMBOOTH_SRC_HTML_H
#define PDMBOOTH_SRC_HTML_H

#include <stdio.h>

/* & < > " ' as entities; bytes that XML does not know (controls) as U+FFFD. For text and for attributes in either quote. */
void html_text(FILE *out, const char *text);
/* printf, escaped; what is longer than 2000 bytes is cut. */
void html_printf(FILE *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* data:image/png;base64,... */
void html_png(FILE *out, const unsigned char *png, size_t n);

#endif
