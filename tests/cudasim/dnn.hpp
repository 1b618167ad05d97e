/* cuDNN's descriptors, and a convolution of them: shared by dnn_desc.cpp and dnn.cpp. */
#ifndef CUDASIM_DNN_H
#define CUDASIM_DNN_H

#include <cudnn.h>

#include "library.hpp"

struct cudnnContext {
  cudaStream_t stream;
};
/* Pictures: n, c, h, w. Filters: outputs, inputs, rows, columns. */
struct cudnnTensorStruct {
  cudnnDataType_t type;
  long size[4], stride[4];
};
struct cudnnFilterStruct {
  cudnnDataType_t type;
  cudnnTensorFormat_t format;
  long size[4], stride[4];
};
struct cudnnConvolutionStruct {
  int pad[2], step[2], dilation[2], groups;
  cudnnConvolutionMode_t mode;
  cudnnDataType_t compute;
  cudnnMathType_t math;
};

namespace cudasim {

extern const char *const DNN_HANDLE, *const DNN_TENSOR, *const DNN_FILTER, *const DNN_CONVOLUTION;

cudnnStatus_t dnn_status(cudaError_t e);
#define DNN_API                           \
  cudasim::call api_call(__func__, true); \
  if (api_call.error != cudaSuccess) return dnn_status(api_call.error)
#define DNN_HOST_API                       \
  cudasim::call api_call(__func__, false); \
  if (api_call.error != cudaSuccess) return dnn_status(api_call.error)

enum direction { FORWARD, TO_DATA, TO_FILTER };

struct convolution {
  cudnnTensorStruct x, y;
  cudnnFilterStruct w;
  cudnnConvolutionStruct c;
};

/* size of y along height (0) or width (1) */
long output_size(const convolution &v, int axis);
/* 0 where the algorithm is not one for this convolution */
bool algorithm_holds(const convolution &v, direction way, int algo);
size_t workspace_of(const convolution &v, direction way, int algo);
/* Descriptors that exist and fit together; violations name the function. */
bool get_convolution(convolution *v, cudnnHandle_t handle, const cudnnTensorDescriptor_t x, const cudnnFilterDescriptor_t w,
                     const cudnnConvolutionDescriptor_t c, const cudnnTensorDescriptor_t y, const char *f);
void run_convolution(const convolution &v, direction way, float alpha, const void *a, const void *b, float beta, void *out);
size_t tensor_bytes(const cudnnTensorStruct &t);
size_t filter_bytes(const cudnnFilterStruct &t);

}  // namespace cudasim

#endif
