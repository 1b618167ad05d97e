/* The .yaml that lies beside a single-file checkpoint: what it says beyond the tensors. */
#ifndef PDMBOOTH_CONVERT_LDM_YAML_H
#define PDMBOOTH_CONVERT_LDM_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct ldm_yaml {            /* 0 or "" where the file does not say */
  char parameterization[16]; /* "eps" or "v" */
  double beta_start, beta_end, scale_factor;
  int timesteps, heads, head_channels;
};

/* ERR_INPUT where it is no YAML. A build without libyaml says that it cannot read it. */
bool ldm_yaml_read(const void *text, size_t n, const char *name, struct ldm_yaml *out, struct err *e);

#endif
