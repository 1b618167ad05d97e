#include "ui/ui.h"

#include <stdio.h>

enum { USAGE_STATUS = 2 };

int ui_run(void) {
  fputs("\nThe interactive interface is not part of this release; use --batch.\n", stderr);
  return USAGE_STATUS;
}
