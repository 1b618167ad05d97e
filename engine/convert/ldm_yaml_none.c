/* Stands in for ldm_yaml.c in a build without libyaml. */
#include "convert/ldm_yaml.h"

bool ldm_yaml_read(const void *text, size_t n, const char *name, struct ldm_yaml *out, struct err *e) {
  (void)text;
  (void)n;
  *out = (struct ldm_yaml){0};
  return err_set(e, ERR_INPUT,
                 "%s: this build cannot read YAML (it was made without libyaml): move the file away, or put the model's diffusers "
                 "directory beside the checkpoint",
                 name);
}
