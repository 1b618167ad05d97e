/* Operations that move, repeat or gather. */
#include "backend/ref/ref.h"

#include <stdlib.h>

/* y[n, r, c] = x[n, r, c] + e[n, c]: PyTorch's x + e[:, :, None, None] (there in NCHW) */
void ref_add_rows(struct backend *b, struct tensor *y, const struct tensor *x, const struct tensor *e) {
  (void)b;
  int64_t n = tensor_rows(e), c = tensor_last(e), rows = tensor_count(y) / (n * c);
  for (int64_t i = 0; i < n * rows; i++)
    for (int64_t j = 0; j < c; j++) ref_set(y, i * c + j, ref_get(x, i * c + j) + ref_get(e, i / rows * c + j));
}

/* de[n, c] = sum over r of dy[n, r, c] */
void ref_sum_rows(struct backend *b, struct tensor *de, const struct tensor *dy) {
  (void)b;
  int64_t n = tensor_rows(de), c = tensor_last(de), rows = tensor_count(dy) / (n * c);
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < c; j++) {
      double sum = 0;
      for (int64_t r = 0; r < rows; r++) sum += ref_get(dy, (i * rows + r) * c + j);
      ref_set(de, i * c + j, (float)sum);
    }
}

/* torch.cat((x1, x2), dim=-1) */
void ref_concat(struct backend *b, struct tensor *y, const struct tensor *x1, const struct tensor *x2) {
  (void)b;
  int64_t m = tensor_rows(y), c1 = tensor_last(x1), c2 = tensor_last(x2), c = c1 + c2;
  for (int64_t i = 0; i < m; i++) {
    for (int64_t j = 0; j < c1; j++) ref_set(y, i * c + j, ref_get(x1, i * c1 + j));
    for (int64_t j = 0; j < c2; j++) ref_set(y, i * c + c1 + j, ref_get(x2, i * c2 + j));
  }
}

/* torch.split(y, (c1, c2), dim=-1); a part that is NULL is not wanted */
void ref_split(struct backend *b, struct tensor *x1, struct tensor *x2, const struct tensor *y) {
  (void)b;
  int64_t m = tensor_rows(y), c = tensor_last(y), c1 = x1 ? tensor_last(x1) : c - tensor_last(x2), c2 = c - c1;
  for (int64_t i = 0; i < m; i++) {
    for (int64_t j = 0; x1 && j < c1; j++) ref_set(x1, i * c1 + j, ref_get(y, i * c + j));
    for (int64_t j = 0; x2 && j < c2; j++) ref_set(x2, i * c2 + j, ref_get(y, i * c + c1 + j));
  }
}

/* Element [n, floor(y h / H), floor(x w / W), 0] of small [n, h, w, c] for element [n, y, x, 0] of large [n, H, W, c]. */
static int64_t nearest(const struct tensor *small, const struct tensor *large, int64_t n, int64_t y, int64_t x) {
  int64_t h = small->dim[1], w = small->dim[2];
  return ((n * h + y * h / large->dim[1]) * w + x * w / large->dim[2]) * small->dim[3];
}

/* torch.nn.functional.interpolate(x, size=(H, W), mode="nearest") */
void ref_upsample(struct backend *b, struct tensor *y, const struct tensor *x) {
  (void)b;
  int64_t out = 0, c = y->dim[3];
  for (int64_t n = 0; n < y->dim[0]; n++)
    for (int64_t i = 0; i < y->dim[1]; i++)
      for (int64_t k = 0; k < y->dim[2]; k++) {
        int64_t in = nearest(x, y, n, i, k);
        for (int64_t j = 0; j < c; j++) ref_set(y, out++, ref_get(x, in + j));
      }
}

/* dx = sum of dy over the places that x was copied to; summed in fp32, rounded once */
void ref_upsample_bwd(struct backend *b, struct tensor *dx, const struct tensor *dy) {
  int64_t in = 0, c = dy->dim[3], count = tensor_count(dx);
  float *sum = ref_floats(b, count);
  if (!sum) return;
  for (int64_t n = 0; n < dy->dim[0]; n++)
    for (int64_t i = 0; i < dy->dim[1]; i++)
      for (int64_t k = 0; k < dy->dim[2]; k++) {
        int64_t out = nearest(dx, dy, n, i, k);
        for (int64_t j = 0; j < c; j++) sum[out + j] += ref_get(dy, in++);
      }
  ref_store(dx, 0, count, sum);
  free(sum);
}

/* y[n, t] = table[ids[n, t]] + position[t]: transformers' CLIPTextEmbeddings */
void ref_embed(struct backend *b, struct tensor *y, const struct tensor *ids, const struct param *table, const struct param *position) {
  (void)b;
  const int32_t *id = ids->data;
  int64_t m = tensor_count(ids), t = tensor_last(ids), c = tensor_last(y);
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < c; j++) ref_set(y, i * c + j, table->w[id[i] * c + j] + position->w[i % t * c + j]);
}

void ref_embed_bwd(struct backend *b, struct param *table, struct param *position, const struct tensor *ids, const struct tensor *dy) {
  (void)b;
  const int32_t *id = ids->data;
  int64_t m = tensor_count(ids), t = tensor_last(ids), c = tensor_last(dy);
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < c; j++) {
      float d = ref_get(dy, i * c + j);
      if (ref_trained(table)) table->g[id[i] * c + j] += d;
      if (ref_trained(position)) position->g[i % t * c + j] += d;
    }
}
