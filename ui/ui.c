#include "ui/ui.h"

#include <stdio.h>

enum { USAGE_STATUS = 2 };

int ui_run(const char *usage) {
  fprintf(stderr, "%s\nThe interactive interface is not part of this release; use --batch.\n", usage);
  return USAGE_STATUS;
}
