/* What the fuzzers share. Each file fuzz_NAME.c defines the function that libFuzzer calls and nothing else; driver.c stands in for libFuzzer where
 * the compiler has none. A finding is a fault that a sanitizer sees, or a call of fuzz_fail. */
#ifndef PDMBOOTH_TESTS_FUZZ_H
#define PDMBOOTH_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "formats/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
/* Of libFuzzer or of driver.c: changes data [n] at random, at most to max bytes; returns how many there are then. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t max);
/* A fuzzer may have its own (container.c has one for safetensors files). */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed) __attribute__((weak));

/* Ends the program as a sanitizer does: what was promised does not hold. */
void fuzz_fail(const char *what);
/* A failed call must have said why, in a sentence with a status of the table; one that did not fail must not. */
void fuzz_check_error(bool ok, const struct err *e);

/* So that what was read counts as used. */
void fuzz_use(double sum);

/* The data as a file of memory, by a path that open() takes; one at a time. NULL: cannot be made. */
const char *fuzz_file(const uint8_t *data, size_t n);

/* Parts of an input that holds several texts: cut at the byte 0xFF (no UTF-8 text holds one). files: [max + 1] with paths set, the data are filled in;
   those without a part keep size 0. */
void fuzz_split(const uint8_t *data, size_t n, struct embedded_file *files, int max);

/* The data with a NUL behind, to be freed. */
char *fuzz_text(const uint8_t *data, size_t n);

#endif
