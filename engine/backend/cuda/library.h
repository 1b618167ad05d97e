/* NVIDIA's libraries, opened when a card is: the program starts, and runs on the CPU, where they are not installed, and nobody loads half a gigabyte of them who
 * computes on the CPU. Tables of their functions, named without the prefix: cublaslt(b)->Create is cublasLtCreate. (The runtime, cudart, is linked statically.) */
#ifndef PDMBOOTH_BACKEND_CUDA_LIBRARY_H
#define PDMBOOTH_BACKEND_CUDA_LIBRARY_H

#include "cuda.h"

#include <cublasLt.h>
#include <cudnn.h>

#define CUBLASLT_FUNCTIONS(X)                                                                                               \
  X(Create) X(Destroy) X(GetStatusString) X(GetVersion) X(Matmul) X(MatmulAlgoGetHeuristic) X(MatmulDescCreate) X(MatmulDescDestroy)      \
  X(MatmulDescSetAttribute) X(MatmulPreferenceCreate) X(MatmulPreferenceDestroy) X(MatmulPreferenceSetAttribute)            \
  X(MatrixLayoutCreate) X(MatrixLayoutDestroy)

#define CUDNN_FUNCTIONS(X)                                                                                                  \
  X(Create) X(Destroy) X(SetStream) X(GetErrorString) X(GetVersion) X(CreateTensorDescriptor) X(DestroyTensorDescriptor)    \
  X(SetTensor4dDescriptor) X(CreateFilterDescriptor) X(DestroyFilterDescriptor) X(SetFilter4dDescriptor)                    \
  X(CreateConvolutionDescriptor) X(DestroyConvolutionDescriptor) X(SetConvolution2dDescriptor) X(SetConvolutionMathType)    \
  X(GetConvolutionForwardAlgorithm_v7) X(GetConvolutionBackwardDataAlgorithm_v7) X(GetConvolutionBackwardFilterAlgorithm_v7) \
  X(ConvolutionForward) X(ConvolutionBackwardData) X(ConvolutionBackwardFilter)

#define MEMBER(name) __typeof__(cublasLt##name) *name;
struct cublaslt {
  CUBLASLT_FUNCTIONS(MEMBER)
};
#undef MEMBER
#define MEMBER(name) __typeof__(cudnn##name) *name;
struct cudnn {
  CUDNN_FUNCTIONS(MEMBER)
};
#undef MEMBER

struct cuda_libraries {
  struct cublaslt cublaslt;
  struct cudnn cudnn;
};

static inline const struct cublaslt *cublaslt(const struct backend *b) {
  return &cuda_of(b)->libraries->cublaslt;
}
static inline const struct cudnn *cudnn(const struct backend *b) {
  return &cuda_of(b)->libraries->cudnn;
}

#endif
