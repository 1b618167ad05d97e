/* Strings of the program: an owner of many, checks, and joined paths. */
#ifndef PDMBOOTH_SRC_TEXT_H
#define PDMBOOTH_SRC_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Owns every string that was added; zero-initialised is empty. Strings live until strings_release. */
struct strings {
  struct string_block *first;
};
const char *strings_add(struct strings *s, const char *text, size_t n); /* a copy with NUL; NULL: out of memory */
const char *strings_printf(struct strings *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void strings_release(struct strings *s);

/* text with every occurrence of from replaced; NULL: out of memory. */
const char *strings_replace(struct strings *s, const char *text, const char *from, const char *to);

/* Length of the UTF-8 sequence that starts at p (n bytes are left), 0 where it is not valid. */
size_t utf8_step(const unsigned char *p, size_t n);
int edit_distance(const char *a, const char *b); /* Levenshtein, of at most 63 characters each */

/* Keeps letters, digits, '.', '_' and '-', others become '_': a name that is one path component. Never empty, never starting with '.'. */
void file_name_from(const char *text, char *out, size_t n);
/* printf into out; false where it was cut. */
bool text_put(char *out, size_t n, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* "12G", "800M", "1.5GiB" (units of 1024) as a number of bytes; false where it is none or above max. */
bool text_bytes(const char *text, double max, int64_t *out);
bool is_directory(const char *path);
bool is_file(const char *path);

#endif
