/* The files of assets/ that travel inside the program: default model, demo photographs, profiles, prompts.
 * The table is made by assets/embed.sh during the build. */
#ifndef PDMBOOTH_ASSETS_EMBEDDED_H
#define PDMBOOTH_ASSETS_EMBEDDED_H

#include "formats/source.h"

/* Paths are relative to assets/, in byte order, e.g. "tiny-sd/unet/config.json"; the table ends with path NULL. Data is 64-byte aligned,
   static and read-only, and a NUL byte (not counted in size) follows it, so that a text file can be read as a string. */
extern const struct embedded_file embedded_files[];

#endif
