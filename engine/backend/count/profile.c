#include "backend/count/profile.h"

#include <stdlib.h>
#include <string.h>

static bool same(const struct op_line *a, const struct op_line *b) {
  return a->kind == b->kind && a->type == b->type && a->frozen == b->frozen && memcmp(a->dim, b->dim, sizeof a->dim) == 0;
}

void op_profile_add(struct op_profile *p, const struct op_line *line, double calls) {
  for (int i = p->n - 1; i >= 0; i--) /* shapes come in runs */
    if (same(&p->line[i], line)) {
      p->line[i].calls += calls;
      return;
    }
  if (p->n == p->cap) {
    int cap = p->cap > 0 ? 2 * p->cap : 256;
    struct op_line *more = realloc(p->line, (size_t)cap * sizeof *more);
    p->failed |= more == NULL;
    if (more == NULL) return;
    p->line = more;
    p->cap = cap;
  }
  p->line[p->n] = *line;
  p->line[p->n++].calls = calls;
}

void op_profile_release(struct op_profile *p) {
  free(p->line);
  *p = (struct op_profile){.line = NULL};
}

void count_profile(struct backend *b, struct op_profile *p) {
  b->state = p;
}

void op_note(const struct backend *b, enum op_kind kind, const struct tensor *x, const struct param *w, struct op_dims dims, double flops) {
  struct op_line line = {.kind = kind, .type = (int32_t)x->type, .frozen = w && w->frozen, .flops = flops};
  memcpy(line.dim, dims.d, sizeof line.dim);
  if (b->state) op_profile_add(b->state, &line, 1);
}

void op_note_move(const struct backend *b, const struct tensor *y) {
  op_note(b, OP_MOVE, y, NULL, (struct op_dims){{tensor_count(y)}}, 0);
}

void op_note_linear(const struct backend *b, enum op_kind kind, const struct tensor *x, const struct tensor *y, const struct param *w,
                    bool bias, double flops) {
  op_note(b, kind, x, w, (struct op_dims){{tensor_rows(x), tensor_last(x), tensor_last(y), bias}}, flops);
}

void op_note_conv(const struct backend *b, enum op_kind kind, const struct tensor *x, const struct tensor *y, const struct param *w,
                  const struct conv_shape *s, double flops) {
  op_note(b, kind, x, w,
          (struct op_dims){
              {x->dim[0], x->dim[1], x->dim[2], x->dim[3], y->dim[1], y->dim[2], y->dim[3], s->kh, s->stride, s->pad_top, s->pad_bottom}},
          flops);
}

void op_note_attention(const struct backend *b, enum op_kind kind, const struct tensor *q, const struct tensor *k,
                       const struct attention_shape *s, double flops) {
  op_note(b, kind, q, NULL, (struct op_dims){{q->dim[0], q->dim[1], k->dim[1], tensor_last(q), s->heads, s->causal}}, flops);
}
