/* Tables of Unicode as the Rust library behind CLIPTokenizer knows it: generated, sorted by their first member. */
#ifndef PDMBOOTH_FORMATS_UNICODE_TABLES_H
#define PDMBOOTH_FORMATS_UNICODE_TABLES_H

#include <stdint.h>

struct unicode_range {
  uint32_t first, last;
};
struct unicode_class {
  uint32_t first, last, value;
};
struct unicode_map {
  uint32_t from, to, more; /* more: second code point of the result, 0 where there is none */
};
struct unicode_pair {
  uint32_t first, second, joined;
};

#define UNICODE_TABLE(kind, name)                                                                                                          \
  extern const struct kind name[];                                                                                                         \
  extern const int name##_n;
UNICODE_TABLE(unicode_range, unicode_letter)
UNICODE_TABLE(unicode_range, unicode_number)
UNICODE_TABLE(unicode_range, unicode_space)
UNICODE_TABLE(unicode_class, unicode_combining) /* canonical combining class; 0 where absent */
UNICODE_TABLE(unicode_map, unicode_lower)
UNICODE_TABLE(unicode_map, unicode_decompose) /* one step; Hangul by arithmetic */
UNICODE_TABLE(unicode_pair, unicode_compose)
#undef UNICODE_TABLE

#endif
