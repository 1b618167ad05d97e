/* AdamW with moments in 8 bits (backend/moments8.h): a block of threads a block of moments, a thread an element; ref/adamw8.c bit for bit, since nothing is
 * fused. The maps lie in shared memory, where the lanes' searches go apart without waiting for one another much. */
#include "kernel.h"

#include <math.h>

#define MOMENT_FUNCTION __device__ static inline
#include "backend/moments8.h"

/* What a search in the maps adds up to, and the product of decoding, are single operations: none can be fused. */
__device__ static const float map_m[MOMENT_LAST_M + 1] = MOMENT_MAP_M;
__device__ static const float map_v[MOMENT_LAST_V + 1] = MOMENT_MAP_V;

enum { BLOCKS_EACH = 8 }; /* moment blocks that a block of threads loads the maps for */

static_assert((int)BLOCK == (int)MOMENT_BLOCK, "a thread an element");

struct step8 {
  float beta1, rest1, beta2, rest2, eps, keep, step_size, root, grad_scale;
};

/* The largest of a block of threads, in every thread; part: shared, [BLOCK / WARP]. At most the largest float, which a scale must not exceed. */
__device__ static inline float block_most(float x, float *part) {
  for (int step = WARP / 2; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
  __syncthreads();
  if (threadIdx.x % WARP == 0) part[threadIdx.x / WARP] = x;
  __syncthreads();
  float most = 0;
  for (int i = 0; i < BLOCK / WARP; i++) most = fmaxf(most, part[i]);
  return fminf(most, 3.402823466e38f);
}

__device__ static inline float updated_mean(float mean, float grad, const struct step8 *a) {
  return __fadd_rn(__fmul_rn(a->beta1, mean), __fmul_rn(a->rest1, grad));
}
__device__ static inline float updated_root(float root, float grad, const struct step8 *a) {
  float square = MISTAKE(13, __fmul_rn(root, root), root);
  return __fsqrt_rn(__fadd_rn(__fmul_rn(a->beta2, square), __fmul_rn(__fmul_rn(a->rest2, grad), grad)));
}
__device__ static inline float updated_weight(float w, float mean, float root, const struct step8 *a) {
  return __fadd_rn(__fmul_rn(a->keep, w), -__fdiv_rn(__fmul_rn(a->step_size, mean), __fadd_rn(__fdiv_rn(root, a->root), a->eps)));
}

__global__ void adamw8_kernel(float *w, const float *g, uint8_t *m, uint8_t *v, float *m_scale, float *v_scale, int64_t count, int64_t first_block,
                              int64_t from, int64_t to, struct step8 a) {
  SHARED(float, of_m, [MOMENT_LAST_M + 1]);
  SHARED(float, of_v, [MOMENT_LAST_V + 1]);
  SHARED(float, part, [BLOCK / WARP]);
  if (threadIdx.x <= MOMENT_LAST_M) of_m[threadIdx.x] = map_m[threadIdx.x];
  of_v[threadIdx.x] = map_v[threadIdx.x];
  __syncthreads();
  for (int k = 0; k < BLOCKS_EACH; k++) {
    int64_t block = first_block + (int64_t)blockIdx.x * BLOCKS_EACH + k, i = block * MOMENT_BLOCK + threadIdx.x;
    float mean = 0, root = 0;
    if (block * MOMENT_BLOCK >= to) return; /* the same for all threads */
    if (i < count) mean = moment_value_m(of_m, m[i], m_scale[block]), root = moment_value_v(of_v, v[i], v_scale[block]);
    if (i >= from && i < to) {
      float grad = __fmul_rn(a.grad_scale, g[i]);
      mean = updated_mean(mean, grad, &a);
      root = updated_root(root, grad, &a);
      w[i] = updated_weight(w[i], mean, root, &a);
    }
    float most_m = block_most(fabsf(mean), part), most_v = block_most(root, part); /* with barriers: all have read the scales */
    if (i < count) m[i] = moment_byte_m(of_m, mean, most_m), v[i] = moment_byte_v(of_v, root, most_v);
    if (threadIdx.x == 0) m_scale[block] = most_m, v_scale[block] = most_v;
  }
}

void cuda_adamw8(struct backend *b, float *w, const float *g, const struct moments8 *s, int64_t from, int64_t to, const struct adamw *a) {
  struct step8 t;
  t.beta1 = a->beta1, t.rest1 = 1 - a->beta1, t.beta2 = a->beta2, t.rest2 = 1 - a->beta2, t.eps = a->eps, t.grad_scale = a->grad_scale;
  t.keep = (float)(1 - (double)a->lr * a->weight_decay);
  t.step_size = (float)(a->lr / (1 - pow((double)a->beta1, a->step)));
  t.root = (float)sqrt(1 - pow((double)a->beta2, a->step));
  int64_t first = from / MOMENT_BLOCK, blocks = pieces(to, MOMENT_BLOCK) - first;
  if (cuda_idle(b)) return;
  RUN(b, adamw8_kernel, pieces(blocks, BLOCKS_EACH), BLOCK, w, g, s->m, s->v, s->m_scale, s->v_scale, s->count, first, from, to, t);
}
