/* Stands in for the engine until engine/train/run.c is in the tree; then this file goes. */
#include "pdmbooth.h"

bool engine_run(const struct settings *s, const struct embedded_file *embedded, const struct sink *sink, struct run_result *out, struct err *e) {
  (void)s, (void)embedded, (void)sink, (void)out;
  return err_set(e, ERR_FAILED, "this build holds no engine");
}

bool engine_sample(const struct sample_job *j, const struct embedded_file *embedded, const struct sink *sink, struct err *e) {
  (void)j, (void)embedded, (void)sink;
  return err_set(e, ERR_FAILED, "this build holds no engine");
}
