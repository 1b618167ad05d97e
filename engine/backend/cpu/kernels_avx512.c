/* Kernels for one instruction set: AVX-512 (F, BW, DQ, VL). */
#include <immintrin.h>

#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#define VW 16
#define MR 8
#define NV 2
#define TABLE kernels_avx512
#define TABLE_NAME "AVX-512"
#define FMA(a, b, c) ((vf)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define MAX(a, b) ((vf)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define MIN(a, b) ((vf)_mm512_min_ps((__m512)(a), (__m512)(b)))
#include "kernels.inc"
