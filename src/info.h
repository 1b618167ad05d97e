/* info.json of a run: versions, machine, and hashes of what went in. */
#ifndef PDMBOOTH_SRC_INFO_H
#define PDMBOOTH_SRC_INFO_H

#include "profile.h"

extern const char program_version[];
/* Name of the processor, or "unknown". Returns buf. */
const char *cpu_name(char *buf, size_t n);
/* As JSON text, owned by the caller; NULL: out of memory. A photograph or weight file that cannot be read is left out: the engine says so
   better. */
char *info_text(const struct settings *s, const struct embedded_file *embedded);

#endif
