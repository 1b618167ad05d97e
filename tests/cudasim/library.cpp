/* What the stand-ins share: existing objects, numbers, products, checks. */
#include "library.hpp"

#include <cudasim.h>

#include <string.h>
#include <map>
#include <string>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace cudasim {

struct object {
  const char *kind;
  void (*release)(void *);
};
static std::map<void *, object> &objects() {
  static auto *m = new std::map<void *, object>;
  return *m;
}

void library_add(void *made, const char *kind, void (*release)(void *)) { objects()[made] = {kind, release}; }

bool library_has(const void *object, const char *kind, const char *function) {
  auto i = objects().find(const_cast<void *>(object));
  if (i != objects().end() && strcmp(i->second.kind, kind) == 0) return true;
  if (!object)
    violation("%s: the %s is NULL", function, kind);
  else
    violation("%s: no such %s, or it was destroyed", function, kind);
  return false;
}

bool library_remove(const void *object, const char *kind, const char *function) {
  if (!library_has(object, kind, function)) return false;
  objects().erase(const_cast<void *>(object));
  return true;
}

static enum cudasim_refusal refusal;
bool refuses_shapes() { return refusal == CUDASIM_REFUSE_SHAPES; }
bool refuses_calls() { return refusal == CUDASIM_REFUSE_CALLS || (refusal == CUDASIM_REFUSE_CAPTURE && anything_captured()); }

static std::map<std::pair<std::string, int>, double> &times() {
  static auto *m = new std::map<std::pair<std::string, int>, double>;
  return *m;
}
void pass_time(const char *function, int algorithm) {
  auto i = times().find({function, algorithm});
  if (i != times().end()) advance_clock(i->second);
}

long library_leaks() { return (long)objects().size(); }
void library_reset() {
  for (auto &i : objects()) i.second.release(i.first);
  objects().clear();
  refusal = CUDASIM_REFUSE_NOTHING;
  times().clear();
}

/* --- numbers ------------------------------------------------------------------------------------------------------------------------------ */

float read_number(const void *from, number type, size_t at) {
  switch (type) {
    case number::f32: return ((const float *)from)[at];
    case number::f16: return float_of_half(((const unsigned short *)from)[at]);
    case number::bf16: return float_of_bf16(((const unsigned short *)from)[at]);
  }
  return 0;
}

void write_number(void *to, number type, size_t at, float value) {
  switch (type) {
    case number::f32: ((float *)to)[at] = value; break;
    case number::f16: ((unsigned short *)to)[at] = half_of(value); break;
    case number::bf16: ((unsigned short *)to)[at] = bf16_of(value); break;
  }
}

template <number type> static void read_all(float *to, const void *from, size_t n, size_t stride) {
  for (size_t i = 0; i < n; i++) to[i] = read_number(from, type, i * stride);
}

void read_numbers(float *to, const void *from, number type, size_t n, size_t stride) {
  switch (type) {
    case number::f32: read_all<number::f32>(to, from, n, stride); break;
    case number::f16: read_all<number::f16>(to, from, n, stride); break;
    case number::bf16: read_all<number::bf16>(to, from, n, stride); break;
  }
}

void round_to_tf32(float *x, size_t n) {
  for (size_t i = 0; i < n; i++) {
    unsigned u = bits<unsigned>(x[i]);
    if ((u & 0x7f800000u) != 0x7f800000u) x[i] = bits<float>((u + 0x1000u) & 0xffffe000u);
  }
}

/* --- products ------------------------------------------------------------------------------------------------------------------------------- */

enum : size_t { TILE_M = 4, TILE_N = 16, BLOCK_K = 256 };

/* TILE_M rows of c and TILE_N columns, k steps */
static inline __attribute__((always_inline)) void tile(size_t n, size_t k, size_t lda, const float *a, const float *b, float *c) {
  float s[TILE_M][TILE_N] = {};
  for (size_t p = 0; p < k; p++)
    for (size_t i = 0; i < TILE_M; i++)
      for (size_t j = 0; j < TILE_N; j++) s[i][j] += a[i * lda + p] * b[p * n + j];
  for (size_t i = 0; i < TILE_M; i++)
    for (size_t j = 0; j < TILE_N; j++) c[i * n + j] += s[i][j];
}

static void edge(size_t rows, size_t columns, size_t n, size_t k, size_t lda, const float *a, const float *b, float *c) {
  for (size_t i = 0; i < rows; i++)
    for (size_t p = 0; p < k; p++)
      for (size_t j = 0; j < columns; j++) c[i * n + j] += a[i * lda + p] * b[p * n + j];
}

static inline __attribute__((always_inline)) void rows_of(size_t m, size_t n, size_t k, size_t lda, const float *a, const float *b, float *c) {
  size_t j = 0;
  if (m == TILE_M)
    for (; j + TILE_N <= n; j += TILE_N) tile(n, k, lda, a, b + j, c + j);
  if (j < n) edge(m, n - j, n, k, lda, a, b + j, c + j);
}

typedef void rows_function(size_t m, size_t n, size_t k, size_t lda, const float *a, const float *b, float *c);
static void rows_plain(size_t m, size_t n, size_t k, size_t lda, const float *a, const float *b, float *c) { rows_of(m, n, k, lda, a, b, c); }
#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static void rows_avx2(size_t m, size_t n, size_t k, size_t lda, const float *a, const float *b, float *c) {
  rows_of(m, n, k, lda, a, b, c);
}
#endif

static rows_function *rows_best() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return rows_avx2;
#endif
  return rows_plain;
}

bool all_zero(const void *p, size_t bytes) {
  const char *c = (const char *)p; /* each byte equals the one before it */
  return bytes == 0 || (c[0] == 0 && memcmp(c, c + 1, bytes - 1) == 0);
}

void multiply(size_t m, size_t n, size_t k, const float *a, const float *b, float *c) {
  rows_function *rows = rows_best();
  for (size_t p = 0; p < k; p += BLOCK_K) {
    size_t depth = k - p < BLOCK_K ? k - p : (size_t)BLOCK_K;
    for (size_t i = 0; i < m; i += TILE_M) rows(m - i < TILE_M ? m - i : (size_t)TILE_M, n, depth, k, a + i * k + p, b + p * n, c + i * n);
  }
}

/* --- checks ----------------------------------------------------------------------------------------------------------------------------------- */

bool expect_operand(const void *p, size_t bytes, size_t align, const char *what) {
  if (!p) {
    violation("%s is NULL", what);
    return false;
  }
  if ((uintptr_t)p % align) {
    violation("%s is not aligned to %zu bytes", what, align);
    return false;
  }
  return expect_device(p, bytes, what);
}

void spoil_workspace(void *p, size_t bytes) {
  if (p) memset(p, 0xff, bytes);
}

void expect_written(const void *p, size_t bytes, const char *what) {
  size_t at;
  if (unwritten(p, bytes, &at)) violation("%s holds memory that was never written (byte %zu of %zu)", what, at, bytes);
}

}  // namespace cudasim

void cudasim_time(const char *function, int algorithm, double ms) {
  cudasim::make_up_clock(true);
  cudasim::times()[{function, algorithm}] = ms;
}
void cudasim_refuse(enum cudasim_refusal what) { cudasim::refusal = what; }
