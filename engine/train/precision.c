#include "train/precision.h"

enum dtype precision_type(enum precision p) {
  return p == PRECISION_BF16 ? DT_BF16 : p == PRECISION_FP16 ? DT_F16 : DT_F32;
}

void precision_apply(struct backend *b, enum precision p, const struct sink *sink) {
  if (p == PRECISION_TF32 && !backend_use_tf32(b))
    tell(sink, LOG_INFO, "this device has no TF32: it computes in fp32, which is no less exact");
}

const char *precision_engine(const struct backend *b) {
  return b->tf32 ? "tf32" : b->op->name;
}

/* --- the scale: torch/amp/grad_scaler.py ------------------------------------------------------------------------------------------ */

struct loss_scale loss_scale_begin(enum precision p) {
  return (struct loss_scale){.scale = p == PRECISION_FP16 ? 65536 : 0};
}

double loss_scale_factor(const struct loss_scale *s) {
  return s->scale > 0 ? s->scale : 1;
}

bool loss_scale_changes(struct loss_scale *s, bool finite) {
  static const double most = 0x1p120; /* the scale itself must stay inside of F32, its factors of the losses, too */
  if (s->scale <= 0) return false;
  s->updates = finite ? s->updates + 1 : 0;
  if (!finite) {
    s->scale /= 2;
    return true;
  }
  if (s->updates < LOSS_SCALE_GROWS_AFTER) return false;
  s->updates = 0;
  if (s->scale >= most) return false;
  s->scale *= 2;
  return true;
}

bool loss_scale_spent(const struct loss_scale *s) {
  return s->scale > 0 && s->scale < 1;
}
