/* Kernels for one instruction set: The portable one: whatever the compiler makes of vectors of four. */
#define VW 4
#define MR 4
#define NV 2
#define TABLE kernels_sse2
#define TABLE_NAME "SSE2"
#define FMA(a, b, c) ((a) * (b) + (c))
#include "kernels.inc"
