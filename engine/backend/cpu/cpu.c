/* Life of the cpu backend, and its table. */
#include "cpu.h"

#include <stdio.h>
#include <stdlib.h>

#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "backend/ref/ref.h"

#ifdef __x86_64__
static const struct kernels *choose_kernels(void) {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return &kernels_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &kernels_avx2;
  return &kernels_sse2;
}

/* AVX512_BF16: cpuid leaf 7, subleaf 1, bit 5 of eax. */
static bool has_bf16(void) {
  unsigned a, x, c, d;
  return __get_cpuid_count(7, 1, &a, &x, &c, &d) && (a & 1u << 5);
}
static bool has_avx512(const struct kernels *k) {
  return k == &kernels_avx512;
}
#else
static const struct kernels *choose_kernels(void) {
  return &kernels_sse2;
} /* plain vectors of four */
static bool has_bf16(void) {
  return false;
}
static bool has_avx512(const struct kernels *k) {
  return !k;
}
#endif

static bool cpu_open(struct backend *b, struct err *e) {
  struct cpu *c = calloc(1, sizeof *c);
  if (!c) return err_set(e, ERR_FIT, "no memory for the cpu backend");
  b->state = c;
  if (b->threads < 1) b->threads = 1;
  c->k = choose_kernels();
  c->wide_vectors = has_avx512(c->k);
  c->bf16_products = c->wide_vectors && has_bf16();
  cpu_moments_open(c);
  dnnl_open(b);
  const char *lib = dnnl_name(b);
  snprintf(c->text, sizeof c->text, "cpu: %s%s%s, %d thread%s", lib ? lib : "", lib ? ", " : "", c->k->name, b->threads,
           b->threads == 1 ? "" : "s");
  return true;
}

static void cpu_close(struct backend *b) {
  struct cpu *c = cpu_of(b);
  if (!c) return;
  dnnl_close(b);
  ref_release(b, c->scratch.p, c->scratch.bytes);
  ref_release(b, c->scratch2.p, c->scratch2.bytes);
  free(c);
  b->state = NULL;
}

static const char *cpu_describe(const struct backend *b) {
  return cpu_of(b)->text;
}

static void cpu_rehearse(struct backend *b, bool on) {
  struct cpu *c = cpu_of(b);
  c->rehearsing = on;
  if (!on) return;
  c->scratch.rehearsed = c->scratch2.rehearsed = 0;
  b->need = (struct backend_need){0};
}

static float *note(struct backend *b, struct cpu_buffer *s, size_t bytes) {
  struct cpu *c = cpu_of(b);
  if (bytes > s->rehearsed) s->rehearsed = bytes;
  b->need.scratch = 0;
  if (c->scratch.rehearsed) b->need.scratch += ref_taken(c->scratch.rehearsed);
  if (c->scratch2.rehearsed) b->need.scratch += ref_taken(c->scratch2.rehearsed);
  return NULL;
}

static float *grown(struct backend *b, struct cpu_buffer *s, int64_t n) {
  size_t bytes = (size_t)(n > 0 ? n : 1) * sizeof(float);
  if (cpu_of(b)->rehearsing) return note(b, s, bytes);
  if (s->p && bytes <= s->bytes) return s->p;
  ref_release(b, s->p, s->bytes);
  s->p = ref_alloc(b, bytes, &b->fault);
  s->bytes = s->p ? bytes : 0;
  return s->p;
}

float *cpu_scratch(struct backend *b, int64_t n) {
  return grown(b, &cpu_of(b)->scratch, n);
}
float *cpu_scratch2(struct backend *b, int64_t n) {
  return grown(b, &cpu_of(b)->scratch2, n);
}

const struct backend_ops backend_cpu = {
    .name = "cpu",
    .host_memory = true,
    .open = cpu_open,
    .close = cpu_close,
    .describe = cpu_describe,
    .alloc = ref_alloc,
    .release = ref_release,
    .upload = ref_copy,
    .download = ref_copy,
    .move = ref_copy,
    .drop_pack = cpu_drop_pack,
    .taken = ref_taken,
    .rehearse = cpu_rehearse,
    .host_alloc = ref_alloc,
    .host_release = ref_release,
    .host_taken = ref_taken,
    .mark = ref_mark,
    .send = ref_copy_at_once,
    .fetch = ref_copy_at_once,
    .follow = ref_mark,
    .wait = ref_mark,
    .copy_bytes = ref_copy_bytes,
    .copy_fill = ref_copy_fill,
    .fill = cpu_fill,
    .cast = cpu_cast,
    .axpby = cpu_axpby,
    .add = cpu_add,
    .act = cpu_act,
    .act_bwd = cpu_act_bwd,
    .geglu = cpu_geglu,
    .geglu_bwd = cpu_geglu_bwd,
    .add_rows = cpu_add_rows,
    .sum_rows = cpu_sum_rows,
    .concat = cpu_concat,
    .split = cpu_split,
    .upsample = cpu_upsample,
    .upsample_bwd = cpu_upsample_bwd,
    .embed = ref_embed,
    .embed_bwd = ref_embed_bwd,
    .linear = cpu_linear,
    .linear_dx = cpu_linear_dx,
    .linear_dw = cpu_linear_dw,
    .conv = cpu_conv,
    .conv_dx = cpu_conv_dx,
    .conv_dw = cpu_conv_dw,
    .group_norm = cpu_group_norm,
    .group_norm_bwd = cpu_group_norm_bwd,
    .layer_norm = cpu_layer_norm,
    .layer_norm_bwd = cpu_layer_norm_bwd,
    .attention = cpu_attention,
    .attention_bwd = cpu_attention_bwd,
    .normal = cpu_normal,
    .posterior = ref_posterior,
    .mse = ref_mse,
    .sum_squares = cpu_sum_squares,
    .adamw = cpu_adamw,
    .adamw8 = cpu_adamw8,
};
