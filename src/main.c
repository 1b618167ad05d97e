/* The program's entry: command line in, exit status out. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--version") == 0) {
    printf("%s %s\n", PACKAGE_NAME, PACKAGE_VERSION);
    return ERR_OK;
  }
  FILE *out = argc == 2 && strcmp(argv[1], "--help") == 0 ? stdout : stderr;
  fprintf(out, "usage: %s --version | --help\n", PACKAGE_NAME);
  return out == stdout ? ERR_OK : ERR_USAGE;
}
