/* What the files of the preloaded library share: the count of points at which something can be made to fail.
 * Environment of the program that it is loaded into:
 *   FAULT_KIND    memory (allocations of the program's own code, and of the C library for it), library (those of the libraries that promise
 *                 to cope), file (opening to write, writing, syncing, renaming, making directories, truncating)
 *   FAULT_AT      number of the point that fails, counted from 1; 0: none, only count
 *   FAULT_STAYS   1: every later point of the kind fails too
 *   FAULT_ERRNO   errno of a file operation that fails; ENOSPC, EIO and EACCES by turns where it is not given
 *   FAULT_HALF    1: a write that is to fail first writes half of its bytes
 *   FAULT_REPORT  file that gets "hit FUNCTION OFFSET" (caller's offset in the program) and at the end "points N"; where nothing is to fail, a
 *                 second file REPORT.places gets for each point 32 bits that tell places in the code apart */
#ifndef PDMBOOTH_TESTS_FAULT_H
#define PDMBOOTH_TESTS_FAULT_H

#include <stdbool.h>
#include <stddef.h>

enum fault_kind { FAULT_NONE, FAULT_MEMORY, FAULT_LIBRARY, FAULT_FILE };

/* Counts one point; true: this call is to fail. function: its name, for the report; caller: __builtin_return_address(0). Keeps errno. */
bool fault_due(enum fault_kind kind, const char *function, const void *caller);
/* Whose code calls: FAULT_MEMORY for the program itself or the C library, FAULT_LIBRARY for a library that copes, FAULT_NONE for any other. */
enum fault_kind fault_owner(const void *caller);
/* The next definition of a function after this library's. */
void *fault_real(const char *name);
/* errno of a file operation that fails. */
int fault_errno(void);
bool fault_half(void);
/* write(2), where it is to a regular file a point of kind FAULT_FILE. */
long fault_write(int fd, const void *data, size_t n, const void *caller);

#endif
