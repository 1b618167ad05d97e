/* How device code is written so that one file serves nvcc and the simulation (tests/cudasim, g++ -x c++).
 *
 * nvcc's own words are used through four macros, which the simulation's <cuda_runtime.h> defines for itself:
 *   LAUNCH(kernel, grid, block, shared_bytes, stream, arguments...)
 *   SHARED(type, name, dims)      shared memory of fixed size, e.g. SHARED(float, sum, [32])
 *   SHARED_TILE(type, name, dims) the same, aligned to 32 bytes, as loads of tensor cores want
 *   DYN_SHARED(type, name)        that which the launch gives the size of; name is a pointer
 * UNROLL before a loop over an array that is to stay in registers. */
#ifndef PDMBOOTH_BACKEND_CUDA_LAUNCH_H
#define PDMBOOTH_BACKEND_CUDA_LAUNCH_H

#include <cuda_runtime.h>

#ifdef __CUDACC__
#define UNROLL _Pragma("unroll")
#define UNROLL_SOME _Pragma("unroll 4")
#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...) kernel<<<grid, block, shared_bytes, stream>>>(__VA_ARGS__)
#define SHARED(type, name, dims) __shared__ type name dims
#define SHARED_TILE(type, name, dims) __shared__ __align__(32) type name dims
#define DYN_SHARED(type, name)                                  \
  extern __shared__ __align__(16) unsigned char name##_bytes[]; \
  type *name = (type *)name##_bytes
#else
#define UNROLL
#define UNROLL_SOME
#endif

#endif
