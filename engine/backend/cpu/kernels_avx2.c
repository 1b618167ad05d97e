/* Kernels for one instruction set: AVX2 and FMA. */
#include <immintrin.h>

#pragma GCC target("avx2,fma")
#define VW 8
#define MR 6
#define NV 2
#define TABLE kernels_avx2
#define TABLE_NAME "AVX2"
#define FMA(a, b, c) ((vf)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define MAX(a, b) ((vf)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define MIN(a, b) ((vf)_mm256_min_ps((__m256)(a), (__m256)(b)))
#include "kernels.inc"
