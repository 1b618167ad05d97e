/* Text as a file name or a field of a CSV row: bytes other than letters, digits, '.', '_' and '-' become %XX (RFC 3986, 2.1), a blank becomes '+'. */
#ifndef PDMBOOTH_BASE_PERCENT_H
#define PDMBOOTH_BASE_PERCENT_H

#include <stdbool.h>
#include <stddef.h>

/* False: it does not fit; out is then "". */
bool percent_encode(const char *text, char *out, size_t n);
/* False: it does not fit, a % without two hexadecimal digits, or a NUL in it; out is then "". text may be out. */
bool percent_decode(const char *text, char *out, size_t n);

#endif
