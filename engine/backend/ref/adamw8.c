/* AdamW with moments in 8 bits: torch.optim.AdamW's update on what a block's bytes stand for, whose results become bytes again (moments8.h). */
#include "backend/moments8.h"

#include <float.h>
#include <math.h>

#include "backend/ref/ref.h"

static const float map_m[MOMENT_LAST_M + 1] = MOMENT_MAP_M, map_v[MOMENT_LAST_V + 1] = MOMENT_MAP_V;

/* Elements [first, last) share their scales; of them [from, to) are updated. */
static void block(float *w, const float *g, const struct moments8 *s, int64_t first, int64_t last, int64_t from, int64_t to,
                  const struct adamw *a) {
  float step_size = (float)(a->lr / (1 - pow(a->beta1, a->step))), root = (float)sqrt(1 - pow(a->beta2, a->step));
  float keep = (float)(1 - (double)a->lr * a->weight_decay), m[MOMENT_BLOCK], r[MOMENT_BLOCK], most_m = 0, most_r = 0;
  float *m_scale = s->m_scale + first / MOMENT_BLOCK, *v_scale = s->v_scale + first / MOMENT_BLOCK;
  for (int64_t i = first; i < last; i++) {
    float mean = moment_value_m(map_m, s->m[i], *m_scale), square_root = moment_value_v(map_v, s->v[i], *v_scale);
    if (i >= from && i < to) {
      float grad = a->grad_scale * g[i];
      mean = a->beta1 * mean + (1 - a->beta1) * grad;
      square_root = sqrtf(a->beta2 * (square_root * square_root) + (1 - a->beta2) * grad * grad);
      w[i] = keep * w[i] - step_size * mean / (square_root / root + a->eps);
    }
    m[i - first] = mean, r[i - first] = square_root;
    most_m = fmaxf(most_m, fabsf(mean)), most_r = fmaxf(most_r, square_root);
  }
  *m_scale = fminf(most_m, FLT_MAX), *v_scale = fminf(most_r, FLT_MAX);
  for (int64_t i = first; i < last; i++) {
    s->m[i] = moment_byte_m(map_m, m[i - first], *m_scale);
    s->v[i] = moment_byte_v(map_v, r[i - first], *v_scale);
  }
}

void ref_adamw8(struct backend *b, float *w, const float *g, const struct moments8 *s, int64_t from, int64_t to, const struct adamw *a) {
  (void)b;
  for (int64_t first = from / MOMENT_BLOCK * MOMENT_BLOCK; first < to; first += MOMENT_BLOCK)
    block(w, g, s, first, first + MOMENT_BLOCK < s->count ? first + MOMENT_BLOCK : s->count, from, to, a);
}
