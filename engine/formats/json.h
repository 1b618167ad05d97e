/* Thin, checked access to JSON (cJSON): every getter says file and key when something is wrong. */
#ifndef PDMBOOTH_FORMATS_JSON_H
#define PDMBOOTH_FORMATS_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "formats/source.h"

struct json; /* a parsed file, or a value inside it (children live as long as the root) */

struct json *json_parse(const void *text, size_t n, const char *name, struct err *e); /* name: the file, for messages; copied */
struct json *json_open(const struct source *s, const char *relative, struct err *e);
void json_close(struct json *root);
const char *json_name(const struct json *root);

/* Getters: key absent or null -> fallback (true returned); wrong type -> false, ERR_INPUT naming file, key and what is expected. */
bool json_int(const struct json *j, const char *key, int64_t fallback, int64_t min, int64_t max, int64_t *out, struct err *e);
bool json_float(const struct json *j, const char *key, double fallback, double *out, struct err *e);
bool json_bool(const struct json *j, const char *key, bool fallback, bool *out, struct err *e);
bool json_string(const struct json *j, const char *key, const char *fallback, char *out, size_t n, struct err *e);
/* An integer, or a list of 1 to n integers. n_out: items in the list (out beyond them untouched), 0 for a scalar (all n filled), -1 for absent (out untouched). */
bool json_ints(const struct json *j, const char *key, int64_t min, int64_t max, int64_t *out, int n, int *n_out, struct err *e);
/* Strings of a list into out (pointers live as long as the root); more than max is an error. *n_out -1 when absent. */
bool json_strings(const struct json *j, const char *key, const char **out, int max, int *n_out, struct err *e);
bool json_has(const struct json *j, const char *key); /* present and not null */
bool json_is_list(const struct json *j, const char *key);

/* The underlying library's node, for code that walks a document itself (tokenizer, safetensors header). */
struct cJSON;
const struct cJSON *json_node(const struct json *j);

#endif
