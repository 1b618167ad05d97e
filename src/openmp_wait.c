#include "openmp_wait.h"

#include <stdlib.h>
#include <unistd.h>

void openmp_wait_briefly(char **argv) {
  if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT"))
    return;
  /* about ten microseconds: longer than the usual difference between two threads' shares, shorter than a time slice by far */
  if (setenv("GOMP_SPINCOUNT", "3000", 0) == 0)
    execv("/proc/self/exe", argv);
}
