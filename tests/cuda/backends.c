/* The list of backends of programs on the simulated device: cuda whatever was built; cpu where WITH_CPU says so. */
#undef HAVE_CUDA
#define HAVE_CUDA 1
#ifndef WITH_CPU
#undef HAVE_BACKEND_CPU
#endif
#include "../../engine/backend/backend.c"

extern int cuda_mistake; /* engine/backend/cuda/cuda.h */
int cuda_mistake;
